"""The module's widget as Slicer would make it, with its real .ui file, and how it is used."""

import importlib.util
import types
from pathlib import Path
from typing import Any

import slicer

from slicerqt import processEvents, waitFor

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


def choose(widget: Any, volume: Any, model: str) -> None:
    widget.ui.volumeSelector.setCurrentNode(volume)
    widget.ui.modelSelector.currentIndex = widget.ui.modelSelector.findData(model)


def press_segment(widget: Any, volume: Any, model: str) -> None:
    choose(widget, volume, model)
    assert widget.ui.segmentButton.enabled, widget.ui.reasonLabel.text
    widget.ui.segmentButton.click()


def wait_until_idle(widget: Any) -> None:
    waitFor(lambda: not widget.panels.segmenter.isBusy, seconds=30)
    processEvents()


def ranks(widget: Any) -> list[int]:
    table = widget.ui.pointTable
    return [int(table.item(row, 0).text()) for row in range(table.rowCount)]


def nodes(scene: Any) -> set[str]:
    """What a person would call the scene's content."""
    found = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return {node.GetID() for node in found if not node.GetSingletonTag()}
