"""A process beside Slicer that keeps a model loaded and answers one request after another."""
