"""Scans in, label maps out: reading, grids, resampling, windows; all geometry of files is here."""
