"""What the panel does for a whole head: sample, found regions, groups, views and surfaces."""

from typing import Any

import numpy as np
import pytest
import slicer

from panel import choose, press_segment, wait_until_idle
from slicerqt import install, processEvents, waitFor

install()
import qt

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentLib.logic.parameters import parameterNode, readParameters
from MorseSegmentLib.scene.record import findResults, readRecord
from MorseSegmentLib.scene.regions import regionIDs
from panel_fixtures import a_volume

__all__ = ["a_volume"]  # fixtures

CHECKED, UNCHECKED = qt.Qt.Checked, qt.Qt.Unchecked


@pytest.fixture
def a_brain() -> Segmentation:
    shape = (6, 7, 8)
    labels = np.zeros(shape, np.uint8)
    labels[1:3, 2:5, 2:5], labels[3:5, 2:5, 2:5] = 1, 2
    structures = (
        Structure(1, "Left cerebral cortex", (0.8, 0.2, 0.3)),
        Structure(2, "Third ventricle", (0.8, 0.7, 0.5)),
    )
    zeros = np.zeros(shape, np.float32)
    geometry = Geometry(shape, np.eye(4))
    return Segmentation(geometry, structures, labels, labels, zeros, RenderedPoints.empty(), {})


def table(widget: Any) -> list[tuple[str, int, int]]:
    groups = widget.ui.groupTable
    return [
        (
            groups.item(row, 0).text(),
            int(groups.item(row, 1).checkState()),
            int(groups.item(row, 2).checkState()),
        )
        for row in range(groups.rowCount)
    ]


def test_groups_are_those_of_the_model_and_of_the_result(
    a_widget: Any, a_volume: Any, a_brain: Segmentation
) -> None:
    choose(a_widget, a_volume, "quick")
    assert table(a_widget) == [("Others", 0, 2)]
    a_widget.logic.showResult(a_brain)
    assert table(a_widget) == [("Cortex", 2, 0), ("Ventricles and fluid", 2, 0), ("Others", 0, 2)]
    assert a_widget.ui.groupTable.item(0, 0).toolTip() == "Left cerebral cortex"


def test_a_tick_shows_and_hides_a_group(a_widget: Any, a_scene: Any, a_brain: Segmentation) -> None:
    shown = a_widget.logic.showResult(a_brain)
    node = a_scene.GetNodeByID(shown.refined)
    display, (cortex, ventricle) = node.GetDisplayNode(), node.GetSegmentation().GetSegmentIDs()
    a_widget.ui.groupTable.item(0, 1).setCheckState(UNCHECKED)
    assert not display.GetSegmentVisibility(cortex)
    assert display.GetSegmentVisibility(ventricle)
    a_widget.ui.groupTable.item(0, 1).setCheckState(CHECKED)
    assert display.GetSegmentVisibility(cortex)


def test_what_is_left_out_does_not_come_into_the_scene(
    a_widget: Any, a_volume: Any, a_scene: Any
) -> None:
    ui = a_widget.ui
    choose(a_widget, a_volume, "quick")
    ui.groupTable.item(0, 2).setCheckState(UNCHECKED)
    assert not ui.segmentButton.enabled
    assert "all that the model finds is left out" in ui.reasonLabel.text
    assert readParameters(parameterNode(a_scene)).leftOut == "others"
    ui.groupTable.item(0, 2).setCheckState(CHECKED)
    assert ui.segmentButton.enabled
    a_widget.panels.segmenter.start(a_volume, {"model": "quick"}, leftOut=["others"])
    wait_until_idle(a_widget)
    (shown,) = findResults(a_scene)
    assert readRecord(a_scene, shown).structures == ()


def test_a_found_region_that_is_moved_is_used(a_widget: Any, a_volume: Any, a_scene: Any) -> None:
    press_segment(a_widget, a_volume, "finds")
    wait_until_idle(a_widget)
    (shown,) = findResults(a_scene)
    (box,) = [a_scene.GetNodeByID(node_id) for node_id in regionIDs(a_scene, shown)]
    assert box.GetName() == "Bright thing region"
    assert a_widget.ui.regionSelector.currentNode() is None, "it only shows where that was"
    box.SetXYZ(5.0, 4.0, 4.0)
    processEvents()
    assert a_widget.ui.regionSelector.currentNode() is box
    a_widget.ui.segmentButton.click()
    wait_until_idle(a_widget)
    again = findResults(a_scene)[-1]
    asked = readRecord(a_scene, again).report["asked"]
    assert [float(n) for n in asked["roi"].split(",")] == [2.5, 7.5, 1.5, 6.5, 1.5, 6.5]
    assert regionIDs(a_scene, again) == [], "a region given by hand wins"


def test_after_a_run_the_views_show_the_result_with_its_surface(
    a_widget: Any, a_volume: Any, a_scene: Any, an_axial_view: Any
) -> None:
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    (shown,) = findResults(a_scene)
    place = [an_axial_view.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]
    i, j, k = np.rint(place).astype(int)
    assert slicer.util.arrayFromVolume(a_volume)[k, j, i] == 100
    node = a_scene.GetNodeByID(shown.refined)

    def triangles() -> int:
        return int(node.GetClosedSurfaceInternalRepresentation("Bright").GetNumberOfPolys())

    waitFor(lambda: triangles() > 10, seconds=10)
    assert node.GetDisplayNode().GetVisibility3D()


def test_the_sample_is_one_click(a_widget: Any, a_scene: Any) -> None:
    a_widget.ui.sampleButton.click()
    volume = a_widget.ui.volumeSelector.currentNode()
    assert volume.GetName() == "Head, T1"
    assert volume.GetImageData().GetDimensions() == (154, 188, 150)
    assert a_widget.ui.segmentButton.enabled
