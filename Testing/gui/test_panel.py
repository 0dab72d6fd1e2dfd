"""The whole panel, pressed and read as a person would, with a worker that computes nothing."""

import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from panel import choose, load_module, press_segment, wait_until_idle
from slicerqt import install, processEvents, waitFor

install()
import qt

from MorseCore.inference import files
from MorseCore.inference.files import read_result, write_result
from MorseCore.result import Segmentation
from MorseSegmentLib.logic.parameters import parameterNode, readParameters
from MorseSegmentLib.panels.costs import costText
from MorseSegmentLib.scene.record import findResults, readRecord
from MorseSegmentLib.scene.voxels import labelsOf
from MorseSegmentLib.worker.catalog import Model
from MorseSegmentLib.worker.runtimes import RunTimes
from panel_fixtures import a_result, a_volume

__all__ = ["a_result", "a_volume"]  # fixtures


def test_slicer_learns_title_and_category(a_scene: Any) -> None:
    parent = types.SimpleNamespace()
    load_module().MorseSegment(parent)
    assert parent.title == "Morse Segment"
    assert parent.categories == ["Segmentation"]


def test_every_control_has_a_tool_tip(a_widget: Any) -> None:
    kinds = (
        "QPushButton", "QComboBox", "QTableWidget", "ctkSliderWidget", "qMRMLNodeComboBox",
        "QPlainTextEdit", "QProgressBar", "QCheckBox",
    )  # fmt: skip
    named = [w for w in vars(a_widget.ui).values() if w.className() in kinds]
    own = [w for w in named if not w.objectName.startswith("qt_")]
    assert len(own) > 10
    assert [w.objectName for w in own if not w.toolTip] == []


def test_the_button_says_what_is_missing(a_widget: Any, a_volume: Any) -> None:
    button, reason = a_widget.ui.segmentButton, a_widget.ui.reasonLabel
    assert not button.enabled
    assert (reason.text, reason.isHidden()) == (
        "Choose a volume to segment.", False,
    )  # fmt: skip
    a_widget.ui.volumeSelector.setCurrentNode(a_volume)
    assert button.enabled
    assert reason.isHidden()
    choose(a_widget, a_volume, "broken")
    assert not button.enabled
    assert reason.text == "Choose a model."
    assert "damaged" in a_widget.ui.modelCardLabel.text


def test_what_can_not_be_refined_says_why(a_widget: Any, a_volume: Any, a_scene: Any) -> None:
    ui = a_widget.ui
    assert ui.refineReasonLabel.text == "There is no result in the scene."
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    assert ui.renderWholeButton.enabled
    assert not ui.renderBoxButton.enabled
    assert "choose one" in ui.refineReasonLabel.text
    ui.boxSelector.addNode()
    assert ui.renderBoxButton.enabled
    assert ui.refineReasonLabel.text == ""


def test_with_the_scene_go_the_words_about_it_but_not_the_model(
    a_widget: Any, a_volume: Any, a_scene: Any
) -> None:
    ui = a_widget.ui
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    assert ui.messageLabel.text == "The result is in the scene."
    assert ui.pointLabel.text.startswith("1 points are shown. Choose one")
    a_scene.Clear(False)
    processEvents()
    assert ui.messageLabel.text == ui.stageLabel.text == ""
    assert ui.pointLabel.text == ui.measureLabel.text == "There is no result in the scene."
    assert ui.modelSelector.currentText == "quick"
    assert ui.reasonLabel.text == "Choose a volume to segment."
    again = slicer.util.addVolumeFromArray(np.full((8, 9, 10), 60, np.int16), name="Next scan")
    ui.volumeSelector.setCurrentNode(again)
    assert ui.segmentButton.enabled


def test_the_quality_says_what_it_costs(a_widget: Any, a_volume: Any) -> None:
    choose(a_widget, a_volume, "quick")
    assert "100 points" in a_widget.ui.costLabel.text
    a_widget.ui.qualitySlider.value = 4.4
    assert "200 points" in a_widget.ui.costLabel.text
    assert "2 x the model's choice" in a_widget.ui.costLabel.text
    a_widget.ui.qualitySlider.value = 0
    assert "No points" in a_widget.ui.costLabel.text


@pytest.mark.parametrize(
    ("level", "text"),
    [(1, "Up to 2 x 250 points are rendered in a window, uncertain ones only."),
     (3, "Up to 2 x 1000 points are rendered in a window, uncertain ones only."),
     (4, "2 x 2000 points are rendered in a window, certain ones too."),
     (0, "No points are rendered: the refined mask is the coarse one.")],
)  # fmt: skip
def test_of_a_model_that_leaves_certain_points_out_no_cost_is_promised(
    level: int, text: str
) -> None:
    entry = {"name": "m", "title": "M", "task": "", "points": 1000, "passes": 2}
    model = Model.fromAnswer({**entry, "leaves_certain": True})
    assert costText(model, level, None, RunTimes(), 1) == text


def test_of_points_at_the_scans_voxels_certain_ones_are_never_rendered() -> None:
    entry = {"name": "m", "title": "M", "task": "", "points": 1000, "passes": 2}
    model = Model.fromAnswer({**entry, "leaves_certain": True, "asks_scan": True})
    text = "Up to 2 x 2000 points are rendered in a window, uncertain ones only."
    assert costText(model, 4, None, RunTimes(), 1) == text


def test_the_time_of_a_run_is_told_once_it_was_measured(a_widget: Any, a_volume: Any) -> None:
    slicer.app.userSettings().remove("MorseSegment")
    choose(a_widget, a_volume, "quick")
    text = a_widget.ui.costLabel
    assert "One window, up to 200 points: the first such run" in text.text
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    assert "about 42 s" in text.text
    a_widget.ui.qualitySlider.value = 4
    assert "One window, up to 400 points: the first such run" in text.text
    choose(a_widget, a_volume, "slow")
    assert "unknown" in text.text, "another model"
    a_widget.ui.qualitySlider.value = 3
    choose(a_widget, a_volume, "quick")
    a_widget.ui.deviceSelector.currentIndex = a_widget.ui.deviceSelector.findData("cpu")
    assert "unknown" in text.text, "another device"


def test_the_cost_follows_the_region(a_widget: Any, a_volume: Any, a_scene: Any) -> None:
    slicer.app.userSettings().remove("MorseSegment")
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    text = a_widget.ui.costLabel
    assert "about 42 s" in text.text
    region = a_scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    region.SetXYZ(4.5, 4, 3.5)
    region.SetRadiusXYZ(5, 4.5, 2)
    a_widget.ui.regionSelector.setCurrentNode(region)
    assert "about 41 s" in text.text, "half of the voxels"
    region.SetRadiusXYZ(5, 4.5, 4)
    waitFor(lambda: "about 42 s" in text.text, seconds=5)
    region.SetXYZ(500, 4, 3.5)
    waitFor(lambda: "window, " not in text.text, seconds=5)
    assert "200 points" not in text.text, "there is no such run"


def test_a_run_shows_progress_and_ends_with_the_result_in_the_scene(
    a_widget: Any, a_volume: Any, a_scene: Any
) -> None:
    press_segment(a_widget, a_volume, "quick")
    assert a_widget.ui.segmentButton.text == "Cancel"
    seen: set[int] = set()
    waitFor(lambda: (seen.add(a_widget.ui.runProgressBar.value), 12 in seen)[1], seconds=30)
    wait_until_idle(a_widget)
    (shown,) = findResults(a_scene)
    refined = a_scene.GetNodeByID(shown.refined)
    found = slicer.util.arrayFromSegmentBinaryLabelmap(refined, "Bright", a_volume)
    np.testing.assert_array_equal(found > 0, slicer.util.arrayFromVolume(a_volume) > 50)
    assert a_widget.ui.segmentButton.text == "Segment"
    assert readParameters(parameterNode(a_scene)).result == shown.record


def test_quality_and_region_reach_the_worker(a_widget: Any, a_volume: Any, a_scene: Any) -> None:
    region = a_scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Box")
    region.SetXYZ(5, 5, 4)
    region.SetRadiusXYZ(2, 3, 1)
    a_widget.ui.regionSelector.setCurrentNode(region)
    a_widget.ui.qualitySlider.value = 5
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    from MorseSegmentLib.scene.record import readRecord

    (shown,) = findResults(a_scene)
    asked = readRecord(a_scene, shown).report["asked"]
    assert (asked["points"], asked["passes"]) == (400, 2)
    assert [float(n) for n in asked["roi"].split(",")] == [3, 7, 2, 8, 3, 5]


def test_a_new_box_lies_in_the_middle_of_the_volume(
    a_widget: Any, a_volume: Any, a_scene: Any
) -> None:
    a_widget.ui.volumeSelector.setCurrentNode(a_volume)
    box = a_widget.ui.regionSelector.addNode()
    assert a_widget.ui.regionSelector.currentNode() is box
    assert list(box.GetSize()) == pytest.approx([5.0, 4.5, 4.0])
    assert list(box.GetCenter()) == pytest.approx([4.5, 4.0, 3.5])


def test_the_volume_that_is_shown_is_proposed(a_widget: Any, a_volume: Any, a_scene: Any) -> None:
    selection = slicer.app.applicationLogic().GetSelectionNode()
    selection.SetActiveVolumeID(a_volume.GetID())
    a_widget.exit()
    a_widget.enter()
    assert a_widget.ui.volumeSelector.currentNode() is a_volume


def test_the_table_shows_what_the_rendering_changed(a_widget: Any, a_volume: Any) -> None:
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    table = a_widget.ui.structureTable
    texts = [table.item(0, column).text() for column in range(table.columnCount)]
    assert texts == ["Bright", "1.000", "1.500", "+50.0", "0.25 (1.50)"]


def visible(scene: Any) -> tuple[bool, bool]:
    (shown,) = findResults(scene)
    displays = [scene.GetNodeByID(i).GetDisplayNode() for i in (shown.coarse, shown.refined)]
    return tuple(bool(display.GetVisibility()) for display in displays)  # type: ignore[return-value]


def test_three_buttons_and_a_key_flip_between_the_masks(
    a_widget: Any, a_volume: Any, a_scene: Any
) -> None:
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    assert visible(a_scene) == (True, True)
    a_widget.ui.coarseViewButton.click()
    assert visible(a_scene) == (True, False)
    a_widget.ui.refinedViewButton.click()
    assert visible(a_scene) == (False, True)
    a_widget.panels.compare.flip()
    assert visible(a_scene) == (True, False)
    assert a_widget.ui.coarseViewButton.checked


def test_the_key_exists_only_while_the_module_is_in_front(a_widget: Any) -> None:
    def keys() -> int:
        return len(a_widget.uiWidget.findChildren("QShortcut"))

    assert keys() == 1
    a_widget.exit()
    assert keys() == 0
    a_widget.enter()
    a_widget.enter()
    assert keys() == 1


def test_the_log_can_be_copied(a_widget: Any, a_volume: Any) -> None:
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    a_widget.ui.copyLogButton.click()
    assert qt.QApplication.clipboard().text() == a_widget.ui.logEdit.plainText != ""


def test_a_result_folder_is_shown_by_one_call(
    a_widget: Any, a_result: Segmentation, tmp_path: Path
) -> None:
    write_result(tmp_path / "case_07", a_result)
    shown = a_widget.logic.showResultFolder(tmp_path / "case_07")
    node = slicer.mrmlScene.GetFirstNodeByName("case_07 refined")
    assert node.GetID() == shown.refined
    np.testing.assert_array_equal(labelsOf(node, a_result.geometry), a_result.refined)


@pytest.fixture
def a_folder(a_result: Segmentation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A result that a batch wrote, which a person chooses in the dialog."""
    folder = tmp_path / "c7"
    write_result(folder, a_result)
    dialog = types.SimpleNamespace(getExistingDirectory=lambda parent, title: str(folder))
    monkeypatch.setattr(qt, "QFileDialog", dialog, raising=False)
    return folder


def test_a_result_folder_is_shown_by_the_button(
    a_widget: Any, a_volume: Any, a_scene: Any, a_folder: Path
) -> None:
    a_widget.ui.volumeSelector.setCurrentNode(a_volume)
    a_widget.ui.loadResultButton.click()
    waitFor(lambda: a_widget.ui.messageLabel.text == "Shown: c7", seconds=30)
    (shown,) = findResults(a_scene)
    assert readRecord(a_scene, shown).input == a_volume.GetID()


def test_a_faulty_result_folder_is_said_and_adds_nothing(
    a_widget: Any, a_scene: Any, a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, **_: told.append(text))
    (a_folder / "points.csv").unlink()
    a_widget.ui.loadResultButton.click()
    waitFor(lambda: bool(told), seconds=30)
    assert "lacks its points.csv" in told[0]
    assert a_widget.ui.messageLabel.text == ""
    assert findResults(a_scene) == []


def test_a_scene_that_is_closed_while_a_folder_is_read_stays_empty(
    a_widget: Any, a_scene: Any, a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def read_slowly(folder: Path) -> Segmentation:
        assert go_on.wait(30)
        return read_result(folder)

    monkeypatch.setattr(files, "read_result", read_slowly)
    a_widget.ui.loadResultButton.click()
    assert a_widget.ui.messageLabel.text == "Loading c7..."
    a_scene.Clear(False)
    go_on.set()
    processEvents()
    assert a_widget.ui.messageLabel.text == ""
    assert findResults(a_scene) == []
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
