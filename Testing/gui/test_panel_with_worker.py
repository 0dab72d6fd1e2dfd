"""The whole panel with the real worker and a tiny model."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import slicer

from listeners import children, isAlive
from panel import close_widget, load_module, open_widget
from slicerqt import install, processEvents, waitFor

install()

from MorseCore.training.phantoms import make_phantom
from MorseSegmentLib.logic.parameters import parameterNode, readParameters
from MorseSegmentLib.scene.record import findResults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def the_widget() -> Iterator[Any]:
    """One for all tests of this file: to start a worker takes seconds."""
    widget = open_widget()
    waitFor(lambda: widget.ui.modelSelector.count > 0, seconds=120)
    yield widget
    close_widget(widget)
    waitFor(lambda: not children(), seconds=5)


@pytest.fixture
def a_widget(the_widget: Any, a_scene: Any) -> Any:
    return the_widget


def a_volume(shape: tuple[int, int, int] = (28, 28, 28)) -> Any:
    return slicer.util.addVolumeFromArray(make_phantom(7, shape=shape)[0], name="Phantom")


def press_segment(widget: Any, volume: Any) -> None:
    widget.ui.volumeSelector.setCurrentNode(volume)
    widget.ui.modelSelector.currentIndex = widget.ui.modelSelector.findData("phantom-tiny")
    widget.ui.segmentButton.click()


def test_a_phantom_is_segmented_in_the_scene_as_by_the_library(a_widget: Any, a_scene: Any) -> None:
    volume = a_volume()
    press_segment(a_widget, volume)
    seen: list[int] = []
    waitFor(
        lambda: (
            seen.append(a_widget.ui.runProgressBar.value) or not a_widget.panels.segmenter.isBusy
        ),
        seconds=120,
    )
    assert any(0 < percent < 100 for percent in seen), "progress was shown"
    (shown,) = findResults(a_scene)
    from MorseCore.geometry import Geometry
    from MorseCore.images.imageio import Volume
    from MorseCore.inference.predictor import VolumePredictor
    from MorseCore.store.library import find_model

    image = slicer.util.arrayFromVolume(volume)
    geometry = Geometry(image.shape, slicer.util.arrayFromVTKMatrix(ijk_to_ras(volume)))
    expected = VolumePredictor(find_model("phantom-tiny"), device="cpu").segment(
        Volume(image, geometry, "Phantom")
    )
    refined = a_scene.GetNodeByID(shown.refined)
    for structure in expected.structures:
        found = slicer.util.arrayFromSegmentBinaryLabelmap(refined, structure.name, volume)
        assert (found > 0).any()
        np.testing.assert_array_equal(found > 0, expected.refined == structure.value)
    assert a_widget.ui.structureTable.rowCount == 2
    assert readParameters(parameterNode(a_scene)).model == "phantom-tiny"


def ijk_to_ras(volume: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def started(widget: Any) -> None:
    """Wait until the network is at work."""
    waitFor(lambda: widget.ui.runProgressBar.value > 0, seconds=120)


def refined_voxels(scene: Any) -> int:
    """Voxels of the ball in the result that is looked at."""
    node = scene.GetNodeByID(findResults(scene)[-1].refined)
    return int((slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, "ball") == 1).sum())


def test_a_box_the_whole_and_a_surface_are_made_and_taken_back(a_widget: Any, a_scene: Any) -> None:
    ui = a_widget.ui
    assert not ui.renderWholeButton.enabled
    press_segment(a_widget, a_volume())
    waitFor(lambda: not a_widget.panels.segmenter.isBusy, seconds=120)
    box = a_scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    box.SetXYZ(14, 14, 14)
    box.SetRadiusXYZ(10, 10, 10)
    ui.boxSelector.setCurrentNode(box)
    before, nodes = refined_voxels(a_scene), a_scene.GetNumberOfNodes()

    def press(button: Any) -> None:
        assert button.enabled
        button.click()
        waitFor(lambda: not a_widget.panels.refiner.isBusy, seconds=60)
        processEvents()

    press(ui.renderBoxButton)
    assert "voxels were changed" in ui.refineLabel.text
    if ui.undoButton.enabled:
        press(ui.undoButton)
    assert refined_voxels(a_scene) == before
    press(ui.renderWholeButton)
    assert len(findResults(a_scene)) == 2
    assert 5 < refined_voxels(a_scene) / before < 11, "twice as fine along three axes"
    press(ui.undoButton)
    assert len(findResults(a_scene)) == 1
    assert ui.renderWholeButton.enabled, "the field is still there"
    press(ui.surfaceButton)
    model = a_scene.GetNthNodeByClass(
        a_scene.GetNumberOfNodesByClass("vtkMRMLModelNode") - 1, "vtkMRMLModelNode"
    )
    assert model.GetPolyData().GetNumberOfPolys() > 100
    press(ui.undoButton)
    assert a_scene.GetNumberOfNodes() == nodes
    assert not ui.undoButton.enabled


def test_cancel_leaves_no_process_and_the_scene_as_it_was(a_widget: Any, a_scene: Any) -> None:
    volume = a_volume((80, 80, 80))
    press_segment(a_widget, volume)
    started(a_widget)
    before = a_scene.GetNumberOfNodes()
    assert children()
    a_widget.ui.segmentButton.click()
    waitFor(lambda: not a_widget.panels.segmenter.isBusy, seconds=10)
    processEvents()
    assert not children()
    assert a_scene.GetNumberOfNodes() == before
    assert not findResults(a_scene)


def test_a_killed_worker_is_one_sentence_with_what_to_do(a_widget: Any, a_scene: Any) -> None:
    press_segment(a_widget, a_volume((80, 80, 80)))
    started(a_widget)
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    waitFor(lambda: not a_widget.panels.segmenter.isBusy, seconds=10)
    assert not isAlive(pid)
    assert "region of interest" in a_widget.ui.messageLabel.text
    assert not findResults(a_scene)
    assert a_widget.ui.segmentButton.enabled


def test_a_script_segments_in_one_call(a_scene: Any) -> None:
    logic = load_module().MorseSegmentLogic()
    shown = logic.segment(a_volume(), "phantom-tiny", device="cpu")
    assert findResults(a_scene) == [shown]
    assert not children()
    logic.removeResult(shown)
    assert not findResults(a_scene)


def test_a_script_is_told_why_it_did_not_work(a_scene: Any) -> None:
    from MorseCore.errors import MorseError

    logic = load_module().MorseSegmentLogic()
    before = a_scene.GetNumberOfNodes()
    volume = a_volume()
    with pytest.raises(MorseError, match="no-such-model"):
        logic.segment(volume, "no-such-model")
    assert a_scene.GetNumberOfNodes() == before + 2, "the volume and its display"
    assert not children()
