"""Slicer's own modules for a result."""

from typing import Any

import slicer

__all__ = ["openInSegmentEditor", "openInSegmentStatistics"]


def openInSegmentEditor(segmentation: Any, volume: Any) -> None:
    """Correct a mask by hand.

    :param volume: that the mask is painted on; may be None.
    """
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.util.getModuleWidget("SegmentEditor").editor
    editor.setSegmentationNode(segmentation)
    if volume is not None:
        editor.setSourceVolumeNode(volume)


def openInSegmentStatistics(segmentation: Any, volume: Any) -> None:
    """Measure a mask, and the volume's intensities within it."""
    slicer.util.selectModule("SegmentStatistics")
    widget = slicer.util.getModuleWidget("SegmentStatistics")
    widget.segmentationSelector.setCurrentNode(segmentation)
    if volume is not None:
        widget.scalarSelector.setCurrentNode(volume)
