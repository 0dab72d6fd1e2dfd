"""The panel is as wide as Slicer makes it, whatever it shows."""

from dataclasses import replace
from typing import Any

import pytest

from MorseCore.result import Segmentation, Structure
from slicerqt import install, processEvents

install()
import qt

from MorseSegmentLib.scene.groups import GROUPS
from panel_fixtures import a_result

__all__ = ["a_result"]  # fixtures

WIDTH = 420  # pixels; the module panel of a new Slicer has some more
LONG = "Left inferior lateral ventricle of a very long name"


@pytest.fixture
def a_narrow_widget(a_widget: Any) -> Any:
    a_widget.parent.setFixedSize(WIDTH, 2000)
    a_widget.parent.show()
    processEvents()
    return a_widget


@pytest.fixture
def a_long_result(a_result: Segmentation) -> Segmentation:
    structures = tuple(replace(s, name=f"{LONG} {s.value}") for s in a_result.structures)
    row = {
        "coarse_ml": 1234.5, "refined_ml": 234.5, "change_ml": -1000.25, "change_percent": -99.9,
        "added_voxels": 9, "removed_voxels": 9, "shift_mean_mm": 10.25, "shift_p95_mm": 11.5,
    }  # fmt: skip
    rows = [{"value": s.value, "name": s.name, **row} for s in structures]
    return replace(a_result, structures=structures, report={"structures": rows})


def test_a_result_makes_the_panel_no_wider(
    a_narrow_widget: Any, a_long_result: Segmentation
) -> None:
    panel = a_narrow_widget.parent
    before = panel.minimumSizeHint.width()
    a_narrow_widget.logic.showResult(a_long_result)
    processEvents()
    assert panel.minimumSizeHint.width() == before <= WIDTH


def test_no_column_is_cut_off(a_narrow_widget: Any, a_long_result: Segmentation) -> None:
    ui = a_narrow_widget.ui
    a_narrow_widget.logic.showResult(a_long_result)
    ui.pointTable.selectRow(0)
    ui.acceptPointButton.click()
    processEvents()
    for table in (ui.structureTable, ui.pointTable):
        header = table.horizontalHeader()
        assert header.length() <= table.viewport().width
        for column in range(table.columnCount):
            title = table.horizontalHeaderItem(column).text()
            assert header.sectionSize(column) >= 30, title
            if LONG not in table.item(0, column).text():  # names may end in dots
                needed = max(header.sectionSizeHint(column), table.sizeHintForColumn(column))
                assert header.sectionSize(column) >= needed, title
    assert ui.pointTable.item(0, 5).text() == "accepted"
    assert LONG in ui.structureTable.item(0, 0).toolTip()


def test_the_table_of_a_whole_brain_has_readable_numbers(
    a_widget: Any, a_long_result: Segmentation
) -> None:
    structures = (Structure(1, "Brain", (1, 0, 0)),)
    rows = [{**a_long_result.report["structures"][0], "name": "Brain"}]
    a_widget.logic.showResult(
        replace(a_long_result, structures=structures, report={"structures": rows})
    )
    texts = [a_widget.ui.structureTable.item(0, n).text() for n in range(3)]
    assert texts == ["Brain", "1234.5", "234.5"]


def test_names_that_end_alike_or_begin_alike_can_be_told_apart(a_narrow_widget: Any) -> None:
    ui = a_narrow_widget.ui
    for table in (ui.structureTable, ui.pointTable):
        assert table.textElideMode == qt.Qt.ElideMiddle


def test_all_groups_of_a_brain_are_seen_without_scrolling(a_narrow_widget: Any) -> None:
    table = a_narrow_widget.ui.groupTable
    table.setRowCount(len(GROUPS))
    processEvents()
    assert table.verticalHeader().length() <= table.viewport().height


def test_a_model_s_title_has_room(a_narrow_widget: Any) -> None:
    ui = a_narrow_widget.ui
    assert ui.modelSelector.width > 2 * ui.importModelButton.width
