"""The module's widget as Slicer would make it, with its real .ui file."""

import importlib.util
import types
from pathlib import Path
from typing import Any

import slicer

from slicerqt import processEvents

MODULE_FILE = Path(__file__).parents[2] / "MorseSegment" / "MorseSegment.py"


def load_module() -> types.ModuleType:
    """MorseSegment.py, known to slicer.modules."""
    spec = importlib.util.spec_from_file_location("MorseSegment", MODULE_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    slicer.modules.morsesegment = types.SimpleNamespace(path=str(MODULE_FILE))
    return module


def open_widget() -> Any:
    """The widget after setup() and enter()."""
    widget = load_module().MorseSegmentWidget()
    widget.setup()
    widget.enter()
    return widget


def close_widget(widget: Any) -> None:
    """What Slicer does when it quits."""
    widget.exit()
    widget.cleanup()
    processEvents()
    widget.parent.delete()
