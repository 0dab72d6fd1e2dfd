"""Slicer's scene and views without the application, for pictures and tests."""
