"""From a folder of scans and labels to a plan of a training: cases, names, measures, rules, trial.

A voxel of a label map takes this way: :mod:`layouts` finds its file, :mod:`names` says which
structure its number means there, :mod:`reading` brings it to the image's grid, :mod:`measures` and
:mod:`doubts` look at it, :mod:`rules`, :mod:`anycontrast` and :mod:`trial` decide how to
learn from it, and :mod:`planfile` writes all of that down, and hands it to the training.
"""
