"""Stand-ins for what Slicer adds to Python: qt, ctk, slicer's widgets and scripted-module classes.

They run on PySide6 without a screen and behave as PythonQt was measured to: properties are
attributes, the set of attributes is closed, keyword arguments are refused, a click passes False.
What works here works in Slicer; a few things that work in Slicer are missing here.
"""

from slicerqt.events import processEvents, waitFor
from slicerqt.install import install
from slicerqt.slots import slotErrors

__all__ = ["install", "processEvents", "slotErrors", "waitFor"]
