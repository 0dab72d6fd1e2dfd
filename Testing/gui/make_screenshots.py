"""Make the README's pictures: `python Testing/gui/make_screenshots.py`, from the repository's root.

overview.png is the demo's figure, drawn by Slicer's own displayable managers. panel.png is the
module's panel after a real run on the demo's brain; its widgets are the stand-ins of the tests, and
a line in the picture says so.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = map(str, (REPOSITORY, REPOSITORY / "MorseSegment", Path(__file__).parent))

from slicerqt import install, processEvents, waitFor

install()

import qt
import slicer

from MorseCore.commands.demo_run import HEAD, run_demo
from MorseCore.system.files import prepare_output_directory

CAPTION = "The module's panel after a run, drawn on stand-ins for Slicer's widgets"
MODEL = "brain-mr"
_WIDTH = 480  # pixels, about as wide as Slicer's own module panel
_MARGIN = 8


def main(words: Sequence[str] | None = None) -> int:
    """Write both pictures; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the pictures of the README.")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "Screenshots")
    options = parser.parse_args(words)
    prepare_output_directory(options.output)
    with tempfile.TemporaryDirectory() as folder:
        code = run_demo(Path(folder))
        if code or not (Path(folder) / "views").is_dir():
            print("error: the views of Slicer could not be drawn here", file=sys.stderr)
            return 1
        shutil.copyfile(Path(folder) / "figure.png", options.output / "overview.png")
        image = slicer.util.loadVolume(str(Path(folder) / HEAD.name))
        image.SetName("Head, T1")
        save_panel(options.output / "panel.png", image, MODEL)
    return 0


def save_panel(path: Path, volume_node: Any, model: str) -> None:
    """Segment a volume by pressing the panel's button, and save how the panel looks then."""
    manager = slicer.app.moduleManager()
    holder = manager.load(REPOSITORY / "MorseSegment" / "MorseSegment.py").widgetRepresentation()
    try:
        holder.resize(_WIDTH, 1000)
        holder.show()
        holder.enter()
        widget = holder.self()
        _run(widget, volume_node, model)
        _grab(widget.uiWidget, path)
    finally:
        manager.unload("MorseSegment")


def _run(widget: Any, volume_node: Any, model: str) -> None:
    ui = widget.ui
    waitFor(lambda: ui.modelSelector.findData(model) >= 0, seconds=300)
    ui.volumeSelector.setCurrentNode(volume_node)
    ui.modelSelector.currentIndex = ui.modelSelector.findData(model)
    ui.segmentButton.click()
    waitFor(lambda: not widget.panels.segmenter.isBusy, seconds=600)
    if not ui.structureTable.rowCount:
        raise RuntimeError(f"There is no result. {ui.messageLabel.text}")
    ui.pointTable.selectRow(0)
    processEvents()


def _grab(panel: Any, path: Path) -> None:
    """Save the whole panel, also what one would have to scroll to, over the caption."""
    panel.setFixedSize(_WIDTH, panel.heightForWidth(_WIDTH))
    processEvents()
    picture = panel.grab()
    below = panel.fontMetrics().height() + 2 * _MARGIN
    whole = qt.QPixmap(picture.width(), picture.height() + below)
    whole.fill(qt.QColor("white"))
    painter = qt.QPainter(whole)
    painter.drawPixmap(0, 0, picture)
    painter.drawText(_MARGIN, picture.height() + below - _MARGIN, CAPTION)
    painter.end()
    if not whole.save(str(path)):
        raise OSError(f"'{path}' could not be written")


if __name__ == "__main__":
    sys.exit(main())
