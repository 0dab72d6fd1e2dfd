"""The points in the panel and in the scene."""

from typing import Any

import numpy as np
import pytest

from panel import ranks
from slicerqt import install, waitFor

install()

from MorseCore.result import Segmentation
from MorseSegmentLib.scene.pointtable import PointTable, fillPointTable
from MorseSegmentLib.scene.record import SceneResult
from panel_fixtures import a_result, shown

__all__ = ["a_result", "shown"]  # fixtures


def test_the_worst_points_are_listed_worst_first(a_widget: Any, shown: SceneResult) -> None:
    assert ranks(a_widget) == [1, 2, 3, 4]
    table = a_widget.ui.pointTable
    line = [table.item(1, column).text() for column in range(table.columnCount)]
    assert line == ["2", "0.700", "0.50 Background", "0.90 Tail", "yes", ""]
    assert "4 points" in a_widget.ui.pointLabel.text


def test_points_are_filtered_by_uncertainty_structure_and_change(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    ui = a_widget.ui
    ui.uncertaintySlider.value = 0.6
    assert ranks(a_widget) == [1, 2]
    hidden = a_scene.GetNodeByID(shown.points[1]).GetDisplayNode()
    assert not hidden.GetVisibility()
    ui.uncertaintySlider.value = 0
    assert ranks(a_widget) == [1, 2, 3, 4, 5]
    ui.pointStructureSelector.currentIndex = ui.pointStructureSelector.findData(2)
    assert ranks(a_widget) == [2, 5]
    ui.pointChangeSelector.currentIndex = ui.pointChangeSelector.findData("changed")
    assert ranks(a_widget) == [2]


def test_selecting_a_line_moves_every_view_to_the_point(
    a_widget: Any, shown: SceneResult, an_axial_view: Any
) -> None:
    a_widget.ui.pointTable.setCurrentCell(3, 1)
    assert an_axial_view.GetSliceOffset() == pytest.approx(10.0)
    assert "Point 4: Head before, Background after" in a_widget.ui.pointLabel.text


def test_next_and_previous_walk_through_what_is_shown(
    a_widget: Any, shown: SceneResult, an_axial_view: Any
) -> None:
    a_widget.ui.nextPointButton.click()
    assert "Point 1:" in a_widget.ui.pointLabel.text
    a_widget.ui.nextPointButton.click()
    assert a_widget.ui.pointTable.currentRow() == 1
    assert an_axial_view.GetSliceOffset() == pytest.approx(4.0)
    a_widget.ui.previousPointButton.click()
    a_widget.ui.previousPointButton.click()
    assert "Point 4:" in a_widget.ui.pointLabel.text


def test_a_decision_goes_on_to_the_next_point(a_widget: Any, shown: SceneResult) -> None:
    ui = a_widget.ui
    assert not ui.acceptPointButton.enabled
    ui.nextPointButton.click()
    ui.acceptPointButton.click()
    ui.flagPointButton.click()
    assert "Point 3:" in ui.pointLabel.text
    assert "1 accepted, 1 flagged, 3 left" in ui.pointLabel.text
    assert [ui.pointTable.item(row, 5).text() for row in range(3)] == ["accepted", "flagged", ""]


def test_a_result_that_is_removed_empties_the_panel(a_widget: Any, shown: SceneResult) -> None:
    a_widget.logic.removeResult(shown)
    assert a_widget.ui.pointTable.rowCount == 0
    assert not a_widget.ui.uncertaintySlider.enabled
    assert not a_widget.ui.coarseViewButton.enabled


def test_pressing_the_current_line_again_goes_back_to_its_point(
    a_widget: Any, shown: SceneResult, an_axial_view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = a_widget.ui.pointTable
    table.setCurrentCell(1, 0)
    an_axial_view.SetSliceOffset(0.0)
    table._native.cellPressed.emit(1, 0)
    assert an_axial_view.GetSliceOffset() == 0.0, "the same press of the mouse"
    a_widget.panels.points._lines._chosenAt -= 1.0
    table._native.cellPressed.emit(1, 0)
    assert an_axial_view.GetSliceOffset() == pytest.approx(4.0)


def test_points_that_a_local_rendering_replaced_are_read_again(
    a_widget: Any, shown: SceneResult, a_scene: Any, a_result: Segmentation
) -> None:
    table = PointTable.read(a_scene.GetNodeByID(shown.pointTable))
    fewer = np.array([1, 3])
    reviews = ["accepted", "undecided"]
    fillPointTable(table.node, table.points.take(fewer), table.ranks[fewer], reviews)
    waitFor(lambda: ranks(a_widget) == [2, 4], seconds=5)
    assert a_widget.ui.pointTable.item(0, 5).text() == "accepted"
    drawn = [a_scene.GetNodeByID(i).GetNumberOfControlPoints() for i in shown.points]
    assert sum(drawn[1:]) >= 2
    a_widget.ui.pointTable.setCurrentCell(1, 0)
    assert "Point 4:" in a_widget.ui.pointLabel.text


def test_a_decision_does_not_read_the_points_again(
    a_widget: Any, shown: SceneResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    panel = a_widget.panels.points
    monkeypatch.setattr(panel, "_read", lambda: read.append(1))
    a_widget.ui.nextPointButton.click()
    a_widget.ui.acceptPointButton.click()
    waitFor(lambda: not panel._timer.isActive(), seconds=5)
    assert not read
