"""DICOM: which files of a folder make one volume, and whether all of it is there."""
