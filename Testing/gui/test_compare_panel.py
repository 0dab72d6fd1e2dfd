"""Compare: the two masks, their difference and its numbers, whatever changes them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from slicerqt import install, processEvents, waitFor

install()

from MorseCore.geometry import Geometry
from MorseCore.metrics.comparison import compare_masks
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.system.steps import finished
from MorseSegmentLib.logic.parameters import parameterNode, readParameters
from MorseSegmentLib.refine.localwrite import LocalWriter
from MorseSegmentLib.refine.undo import UndoStack
from MorseSegmentLib.scene.difference import DifferenceView
from MorseSegmentLib.scene.record import SceneResult, findResults

SHAPE = (8, 10, 12)
STRUCTURES = (
    Structure(1, "Head", (0.2, 0.7, 0.9)),
    Structure(2, "Tail", (0.9, 0.5, 0.1)),
)


@pytest.fixture
def a_result() -> Segmentation:
    """Voxels of 2 µl; rendering takes 20 voxels from the head and gives 16 to the tail."""
    geometry = Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
    coarse = np.zeros(SHAPE, np.uint8)
    coarse[1:4, 3:7, 3:8] = 1
    refined = coarse.copy()
    refined[1] = 0
    coarse[5, 3:7, 3:7] = refined[5:7, 3:7, 3:7] = 2
    report = {
        "structures": compare_masks(coarse, refined, geometry=geometry, structures=STRUCTURES)
    }
    shade = coarse.astype(np.float32)
    return Segmentation(
        geometry, STRUCTURES, coarse, refined, shade, RenderedPoints.empty(), report
    )


@pytest.fixture
def shown(a_widget: Any, a_result: Segmentation) -> SceneResult:
    return a_widget.logic.showResult(a_result)


def line(widget: Any, row: int) -> list[str]:
    table = widget.ui.structureTable
    return [table.item(row, column).text() for column in range(table.columnCount)]


def settle(widget: Any) -> None:
    """Until what is to be measured has been."""
    panel = widget.panels.compare
    waitFor(lambda: not panel._timer.isActive() and not panel._steps.isBusy, seconds=10)


def difference(scene: Any, shown: SceneResult) -> dict[str, int]:
    """Voxels of the difference's segments by name, as they are in the scene."""
    node = scene.GetNodeByID(DifferenceView(scene, shown).nodeID)
    found = {}
    for segmentID in node.GetSegmentation().GetSegmentIDs():
        segment = node.GetSegmentation().GetSegment(segmentID)
        voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(node, segmentID)
        found[segment.GetName()] = int((voxels == segment.GetLabelValue()).sum())
    return found


def paint(scene: Any, nodeID: str, where: tuple[slice, ...]) -> None:
    """Edit the head by hand: it is here, and nowhere else."""
    node = scene.GetNodeByID(nodeID)
    voxels = np.zeros(SHAPE, np.uint8)
    voxels[where] = 1
    volume = slicer.util.addVolumeFromArray(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, "Head", volume)
    scene.RemoveNode(volume)


def test_the_key_flips_between_two_masks_and_both_is_a_choice_of_its_own(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    def views(presses: int) -> list[str]:
        seen = []
        for _ in range(presses):
            a_widget.panels.compare.flip()
            seen.append(readParameters(parameterNode(a_scene)).view)
        return seen

    assert a_widget.ui.bothViewButton.checked
    assert views(4) == ["coarse", "refined", "coarse", "refined"]
    a_widget.ui.bothViewButton.click()
    assert views(2) == ["coarse", "refined"]
    for button in ("coarseViewButton", "bothViewButton", "refinedViewButton"):
        assert "F8" in getattr(a_widget.ui, button).toolTip


def test_a_new_result_shows_the_worker_s_numbers_at_once(a_widget: Any, shown: SceneResult) -> None:
    expected = ["Head", "0.120", "0.080", "-33.3"]
    assert line(a_widget, 0)[:4] == expected
    settle(a_widget)
    assert a_widget.ui.measureLabel.text == "", "nothing had to be measured"


def test_the_numbers_follow_an_edit_by_hand(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    before = line(a_widget, 1)
    paint(a_scene, shown.refined, np.s_[1:4, 3:7, 3:8])  # as it was before rendering
    settle(a_widget)
    assert line(a_widget, 0) == ["Head", "0.120", "0.120", "+0.0", "0.00 (0.00)"]
    assert line(a_widget, 1) == before
    assert "as they are now" in a_widget.ui.measureLabel.text


def test_the_numbers_follow_a_local_rendering_and_its_undo(
    a_widget: Any, shown: SceneResult, a_scene: Any, a_result: Segmentation
) -> None:
    undo = UndoStack()
    before = line(a_widget, 0)
    block = a_result.geometry.crop((1, 3, 3), (2, 7, 8))
    finished(LocalWriter(a_scene, shown, undo).writeInSteps(np.ones((1, 4, 5), np.uint8), block))
    settle(a_widget)
    assert line(a_widget, 0)[2] == "0.120"
    undo.undo()
    settle(a_widget)
    assert line(a_widget, 0) == before


def test_many_changes_are_measured_once(
    a_widget: Any, shown: SceneResult, a_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, works = a_widget.panels.compare, []
    work = panel._work
    monkeypatch.setattr(panel, "_work", lambda result: (works.append(1), work(result))[1])
    for depth in (2, 3, 4, 5):
        paint(a_scene, shown.refined, np.s_[1:depth, 3:7, 3:8])
        processEvents()
    settle(a_widget)
    assert len(works) == 1
    assert line(a_widget, 0)[2] == "0.160"


def test_a_change_that_is_none_is_not_measured(
    a_widget: Any, shown: SceneResult, a_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, works = a_widget.panels.compare, []
    monkeypatch.setattr(panel, "_work", lambda result: works.append(1) or iter(()))
    a_scene.GetNodeByID(shown.refined).SetName("Mine")
    a_scene.GetNodeByID(shown.refined).Modified()
    settle(a_widget)
    assert not works


def test_what_was_edited_elsewhere_is_measured_when_the_module_comes_back(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    before = line(a_widget, 0)
    a_widget.exit()
    paint(a_scene, shown.refined, np.s_[1:2, 3:7, 3:8])
    settle(a_widget)
    assert line(a_widget, 0) == before, "painting needs the time"
    a_widget.enter()
    settle(a_widget)
    assert line(a_widget, 0)[2] == "0.040"


def test_a_line_restricts_the_difference_to_its_structure(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    ui = a_widget.ui
    ui.differenceCheckBox.click()
    settle(a_widget)
    assert difference(a_scene, shown) == {"Added": 16, "Removed": 20, "Other structure": 0}
    ui.structureTable.setCurrentCell(1, 2)
    settle(a_widget)
    assert difference(a_scene, shown) == {"Added": 16, "Removed": 0}
    assert ui.differenceStructureSelector.currentText == "Tail"
    ui.differenceStructureSelector.currentIndex = 0
    settle(a_widget)
    assert difference(a_scene, shown) == {"Added": 16, "Removed": 20, "Other structure": 0}
    assert not ui.structureTable.selectedItems()
    ui.structureTable.setCurrentCell(0, 0)
    settle(a_widget)
    assert difference(a_scene, shown) == {"Added": 0, "Removed": 20}
    ui.differenceCheckBox.click()
    assert DifferenceView(a_scene, shown).nodeID is None


def test_the_difference_follows_an_edit(a_widget: Any, shown: SceneResult, a_scene: Any) -> None:
    a_widget.ui.differenceCheckBox.click()
    settle(a_widget)
    paint(a_scene, shown.refined, np.s_[0:4, 3:7, 3:8])
    settle(a_widget)
    assert difference(a_scene, shown)["Added"] == 16 + 20
    assert difference(a_scene, shown)["Removed"] == 0
    assert a_widget.ui.differenceCheckBox.checked


def test_a_difference_that_a_person_removes_stays_away(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    a_widget.ui.differenceCheckBox.click()
    settle(a_widget)
    a_scene.RemoveNode(a_scene.GetNodeByID(DifferenceView(a_scene, shown).nodeID))
    assert not a_widget.ui.differenceCheckBox.checked
    paint(a_scene, shown.refined, np.s_[0:4, 3:7, 3:8])
    settle(a_widget)
    assert DifferenceView(a_scene, shown).nodeID is None


def test_a_double_click_on_a_line_moves_every_slice_view_there(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    axial = a_scene.AddNewNodeByClass("vtkMRMLSliceNode")
    axial.SetOrientation("Axial")
    table = a_widget.ui.structureTable
    table._native.cellDoubleClicked.emit(1, 0)
    assert axial.GetSliceOffset() == pytest.approx(11.0, abs=1.01), "slices 5 and 6 of 2 mm"
    table._native.cellDoubleClicked.emit(0, 0)
    assert axial.GetSliceOffset() == pytest.approx(5.0, abs=1.01)


def test_structure_difference_and_view_survive_save_and_reload(
    a_widget: Any, shown: SceneResult, a_scene: Any, tmp_path: Path
) -> None:
    a_widget.ui.differenceCheckBox.click()
    a_widget.ui.structureTable.setCurrentCell(1, 0)
    a_widget.panels.compare.flip()
    settle(a_widget)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    a_scene.Clear(False)
    assert a_widget.ui.structureTable.rowCount == 0
    assert not a_widget.ui.differenceCheckBox.checked
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    settle(a_widget)
    (again,) = findResults(a_scene)
    assert a_widget.ui.differenceCheckBox.checked
    assert a_widget.ui.differenceStructureSelector.currentText == "Tail"
    assert a_widget.ui.structureTable.currentRow() == 1
    assert a_widget.ui.coarseViewButton.checked
    assert difference(a_scene, again) == {"Added": 16, "Removed": 0}


def test_a_result_from_a_file_is_measured_anew(
    a_widget: Any, shown: SceneResult, a_scene: Any, tmp_path: Path
) -> None:
    a_widget.exit()
    paint(a_scene, shown.refined, np.s_[1:2, 3:7, 3:8])  # while nobody measures
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    a_scene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    a_widget.enter()
    settle(a_widget)
    assert line(a_widget, 0)[2] == "0.040"


def test_numbers_are_kept_while_another_result_is_looked_at(
    a_widget: Any, shown: SceneResult, a_scene: Any, a_result: Segmentation
) -> None:
    paint(a_scene, shown.refined, np.s_[1:2, 3:7, 3:8])
    settle(a_widget)
    other = a_widget.logic.showResult(a_result)
    assert line(a_widget, 0)[2] == "0.080"
    paint(a_scene, shown.refined, np.s_[1:3, 3:7, 3:8])  # not the one that is looked at
    a_widget.logic.removeResult(other)
    assert line(a_widget, 0)[2] == "0.040", "as measured before, at once"
    settle(a_widget)
    assert line(a_widget, 0)[2] == "0.080"


def test_a_mask_removed_while_it_is_measured_is_no_error(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    paint(a_scene, shown.refined, np.s_[1:2, 3:7, 3:8])
    a_widget.panels.compare._timer.stop()
    a_widget.panels.compare._onTimer()
    a_scene.RemoveNode(a_scene.GetNodeByID(shown.refined))
    settle(a_widget)
    assert a_widget.ui.structureTable.rowCount == 0
    assert not a_widget.ui.differenceCheckBox.enabled


def test_the_numbers_can_be_kept_as_a_table_in_the_scene(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    before = a_scene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    a_widget.ui.changesTableButton.click()
    a_widget.ui.changesTableButton.click()
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == before + 1
    table = a_scene.GetNthNodeByClass(before, "vtkMRMLTableNode").GetTable()
    assert table.GetValueByName(0, "refined_ml").ToDouble() == pytest.approx(0.08)
    a_widget.logic.removeResult(shown)
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0


def test_after_the_module_is_closed_nobody_listens_to_the_masks(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    node = a_scene.GetNodeByID(shown.refined)
    assert node.HasObserver(slicer.vtkSegmentation.SourceRepresentationModified)
    a_widget.cleanup()
    assert not node.HasObserver(slicer.vtkSegmentation.SourceRepresentationModified)


def test_masks_that_are_the_same_are_said_to_be(
    a_widget: Any, a_result: Segmentation, a_scene: Any
) -> None:
    same = a_result.refined
    rows = compare_masks(same, same, geometry=a_result.geometry, structures=STRUCTURES)
    plain = replace(a_result, coarse=same, report={"structures": rows})
    shown = a_widget.logic.showResult(plain)
    assert a_widget.ui.measureLabel.text == "Coarse and refined are the same, voxel by voxel."
    paint(a_scene, shown.refined, np.s_[1:4, 3:7, 3:8])
    settle(a_widget)
    assert a_widget.ui.measureLabel.text == "These are the numbers of the masks as they are now."
