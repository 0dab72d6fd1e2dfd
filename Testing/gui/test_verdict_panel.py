"""The verdict of a result: its line, its colours, its reasons, and the buttons that go there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.quality.verdict import LEVELS
from MorseCore.result import Segmentation
from MorseSegmentLib.scene.record import SceneResult
from panel import press_segment, wait_until_idle
from panel_fixtures import a_result, a_volume
from slicerqt import install, processEvents, waitFor

install()
import qt

__all__ = ["a_result", "a_volume"]  # fixtures

LINES = {
    "ok": "Looks plausible, as far as checked",
    "check": "Check this result",
    "implausible": "Implausible",
}
BUTTON = "Show where"
READABLE = 4.5  # WCAG 2.2, contrast of text, level AA


def reason(signal: str, structure: str, words: str) -> dict[str, Any]:
    return {"signal": signal, "structure": structure, "words": words}


REASONS = [
    reason("volume", "Tail", "The volume of Tail is 9 ml."),
    reason("thickness", "", "The longest side of a voxel is 9 mm."),
    reason("attention", "", "The uncertainty of the whole is 0.9."),
]


def judged(result: Segmentation, level: str, reasons: list[dict[str, Any]]) -> Segmentation:
    rows = [
        {"value": s.value, "name": s.name, "coarse_ml": 0.1, "refined_ml": 0.1}
        for s in result.structures
    ]
    verdict = {"level": level, "reasons": reasons, "not_checked": ["stability"]}
    return replace(result, report={"structures": rows, "verdict": verdict})


def words(widget: Any) -> list[str]:
    """What stands below the line, from top to bottom."""
    processEvents()  # what is gone is deleted
    return [label.text for label in widget.ui.verdictReasons.findChildren(qt.QLabel)]


def buttons(widget: Any) -> list[Any]:
    processEvents()
    return list(widget.ui.verdictReasons.findChildren(qt.QPushButton))


def is_shown(widget: Any) -> bool:
    return not widget.ui.verdictLabel.isHidden()


def wait_for_the_search(widget: Any) -> None:
    waitFor(lambda: not widget.panels.verdict.isSearching, seconds=30)
    processEvents()


def luminance(color: str) -> float:
    """Of ``#rrggbb``, by WCAG."""
    shares = np.array([int(color[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def colors(widget: Any) -> tuple[str, str]:
    """Behind the line and of its letters, as drawn."""
    widget.parent.setFixedSize(420, 2000)
    widget.parent.show()
    processEvents()
    label = widget.ui.verdictLabel
    picture = label.grab().toImage()
    behind = picture.pixelColor(1, 1).name()
    line = {
        picture.pixelColor(x, y).name()
        for x in range(label.width)
        for y in range(label.height)
    }  # fmt: skip
    return behind, max(line, key=lambda color: abs(luminance(color) - luminance(behind)))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("theme", ["#ffffff", "#202020"])
def test_each_level_has_its_own_words_and_colours_in_any_theme(
    a_widget: Any, a_result: Segmentation, level: str, theme: str
) -> None:
    a_widget.logic.showResult(judged(a_result, level, []))
    assert a_widget.ui.verdictLabel.text == LINES[level]
    letters = "#000000" if theme == "#ffffff" else "#ffffff"
    a_widget.parent.setStyleSheet(f"QWidget {{ background: {theme}; color: {letters}; }}")
    behind, letter = colors(a_widget)
    light, dark = sorted((luminance(behind), luminance(letter)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= READABLE
    hue = qt.QColor(behind).hue()
    assert {"ok": 90 < hue < 150, "check": 30 < hue < 60, "implausible": hue in (0, 359)}[level]


def test_no_line_says_that_a_result_is_correct(a_widget: Any, a_result: Segmentation) -> None:
    a_widget.logic.showResult(judged(a_result, "ok", []))
    assert "correct" not in a_widget.ui.verdictLabel.text
    assert "Not checked: stability." in a_widget.ui.verdictLabel.toolTip
    assert words(a_widget) == []
    assert a_widget.ui.verdictReasons.isHidden()


def test_reasons_are_in_words_and_those_with_a_place_have_a_button(
    a_widget: Any, a_result: Segmentation
) -> None:
    a_widget.logic.showResult(judged(a_result, "check", REASONS))
    assert words(a_widget) == [reason["words"] for reason in REASONS]
    assert [button.text for button in buttons(a_widget)] == [BUTTON, BUTTON]
    labels = a_widget.ui.verdictReasons.findChildren(qt.QLabel)
    assert all(label.wordWrap for label in labels)
    a_widget.parent.setFixedSize(420, 2000)
    a_widget.parent.show()
    processEvents()
    tops = [buttons(a_widget)[n].geometry.center().y() for n in (0, 1)]
    assert tops == [labels[n].geometry.center().y() for n in (0, 2)], "beside its reason"
    assert labels[1].width > labels[0].width, "nothing stands beside it"


def test_a_button_moves_slices_and_cameras_there(
    a_widget: Any, a_scene: Any, a_result: Segmentation, an_axial_view: Any
) -> None:
    camera = a_scene.AddNewNodeByClass("vtkMRMLCameraNode")
    a_widget.logic.showResult(judged(a_result, "implausible", REASONS))
    tail, uncertain = buttons(a_widget)

    def voxel() -> tuple[int, ...]:
        wait_for_the_search(a_widget)
        place = [an_axial_view.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]
        assert camera.GetFocalPoint() == pytest.approx(place)
        i, j, k = a_result.geometry.to_index(np.array([place]))[0].round().astype(int).tolist()
        return k, j, i

    tail.click()
    assert a_result.refined[voxel()] == 2
    uncertain.click()
    assert voxel() == (4, 3, 8), "the first of the points"


def test_what_is_gone_is_said_and_moves_nothing(
    a_widget: Any, a_scene: Any, a_result: Segmentation, an_axial_view: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    told: list[str] = []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, _ms: told.append(text))
    holes = [reason("holes", "Head", "The share of holes in Head is 0.5.")]
    a_widget.logic.showResult(judged(a_result, "check", holes))
    before = an_axial_view.GetSliceToRAS().GetElement(2, 3)
    (button,) = buttons(a_widget)
    button.click()
    wait_for_the_search(a_widget)
    assert told[-1:] == ["This place is no longer in the masks."]
    assert an_axial_view.GetSliceToRAS().GetElement(2, 3) == before


def test_many_reasons_stay_short_and_none_is_lost(a_widget: Any, a_result: Segmentation) -> None:
    many = [reason("volume", "Head", f"Reason {n}.") for n in range(8)]
    a_widget.logic.showResult(judged(a_result, "implausible", many))
    assert words(a_widget) == [*(f"Reason {n}." for n in range(5)), "and 3 more"]
    tip = a_widget.ui.verdictReasons.findChildren(qt.QLabel)[-1].toolTip
    assert all(f"Reason {n}." in tip for n in (5, 6, 7))


def test_long_reasons_make_the_panel_no_wider(a_widget: Any, a_result: Segmentation) -> None:
    before = a_widget.parent.minimumSizeHint.width()
    long = [reason("volume", "Head", "The volume of " + "LeftInferiorLateralVentricle" * 4)]
    a_widget.logic.showResult(judged(a_result, "check", long))
    processEvents()
    assert a_widget.parent.minimumSizeHint.width() == before


def test_the_verdict_is_that_of_the_chosen_result(
    a_widget: Any, a_scene: Any, a_result: Segmentation
) -> None:
    a_widget.logic.showResult(judged(a_result, "implausible", REASONS))
    assert len(words(a_widget)) == 3
    shown: SceneResult = a_widget.logic.showResult(a_result)  # of an older version: none
    assert not is_shown(a_widget)
    assert words(a_widget) == []
    assert a_widget.ui.verdictReasons.isHidden()
    a_widget.logic.removeResult(shown)
    processEvents()
    assert is_shown(a_widget)
    assert a_widget.ui.verdictLabel.text == LINES["implausible"]
    assert len(words(a_widget)) == 3


def test_a_run_ends_with_a_verdict(a_widget: Any, a_volume: Any) -> None:
    assert not is_shown(a_widget)
    press_segment(a_widget, a_volume, "quick")
    wait_until_idle(a_widget)
    assert a_widget.ui.messageLabel.text == "The result is in the scene."
    assert a_widget.ui.verdictLabel.text == LINES["check"]
    assert words(a_widget) == ["The volume of Bright is 1.5 ml; at most 1 ml is expected."]


def test_a_closed_scene_has_no_verdict_and_a_loaded_one_has_its_own(
    a_widget: Any, a_scene: Any, a_result: Segmentation, tmp_path: Path
) -> None:
    a_widget.logic.showResult(judged(a_result, "implausible", REASONS))
    file = str(tmp_path / "scene.mrb")
    assert a_scene.WriteToMRB(file)
    a_scene.Clear(False)
    processEvents()
    assert not is_shown(a_widget)
    assert words(a_widget) == []
    assert a_scene.ReadFromMRB(file)
    processEvents()
    assert a_widget.ui.verdictLabel.text == LINES["implausible"]
    assert len(buttons(a_widget)) == 2


def test_a_record_of_another_frame_brings_its_own_verdict(
    a_widget: Any, a_scene: Any, a_result: Segmentation
) -> None:
    shown = a_widget.logic.showResult(judged(a_result, "check", REASONS))
    node = a_scene.GetNodeByID(shown.record)
    node.SetText(node.GetText().replace('"level": "check"', '"level": "implausible"'))
    assert a_widget.ui.verdictLabel.text == LINES["implausible"]
