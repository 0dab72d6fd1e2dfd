"""The points in the panel, in the views and in the scene."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from slicerqt import install, processEvents, waitFor

install()

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentLib.pointtable import PointTable, fillPointTable
from MorseSegmentLib.record import SceneResult, findResults

SHAPE = (8, 10, 12)
UNCERTAINTY = np.array([0.95, 0.7, 0.5, 0.3, 0.1], np.float32)


@pytest.fixture
def a_result() -> Segmentation:
    """Five points, one in each range; the second and the fourth were changed."""
    geometry = Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
    masks = np.zeros(SHAPE, np.uint8)
    masks[2:5, 3:7, 3:8] = 1
    masks[5:7, 3:7, 3:8] = 2
    ijk = np.array([[8, 3, 4], [3, 3, 2], [4, 6, 4], [7, 6, 5], [0, 9, 7]], np.int32)
    coarse = np.array([1, 0, 1, 1, 2], np.int32)
    refined = np.array([1, 2, 1, 0, 2], np.int32)
    half, sure = np.full(5, 0.5, np.float32), np.full(5, 0.9, np.float32)
    points = RenderedPoints(
        geometry.to_world(ijk.astype(float)), ijk, UNCERTAINTY, coarse, refined, half, sure
    )
    structures = (Structure(1, "Head", (0.2, 0.7, 0.9)), Structure(2, "Tail", (0.9, 0.5, 0.1)))
    changed = np.roll(masks, 1, axis=0)
    return Segmentation(geometry, structures, masks, changed, masks.astype(np.float32), points)


@pytest.fixture
def shown(a_widget: Any, a_result: Segmentation) -> SceneResult:
    return a_widget.logic.showResult(a_result)


def ranks(widget: Any) -> list[int]:
    table = widget.ui.pointTable
    return [int(table.item(row, 0).text()) for row in range(table.rowCount)]


@pytest.fixture
def an_axial_view(a_scene: Any) -> Any:
    node = slicer.vtkMRMLSliceNode()
    node.SetLayoutName("Red")
    node = a_scene.AddNode(node)
    node.SetOrientation("Axial")
    return node


def test_the_worst_points_are_listed_worst_first(a_widget: Any, shown: SceneResult) -> None:
    assert ranks(a_widget) == [1, 2, 3, 4]
    table = a_widget.ui.pointTable
    line = [table.item(1, column).text() for column in range(table.columnCount)]
    assert line == ["2", "0.700", "Background (0.50)", "Tail (0.90)", "yes", ""]
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


def test_a_click_into_a_view_selects_the_nearest_point(a_widget: Any, shown: SceneResult) -> None:
    class View:
        """What the panel asks of a layout manager, a slice widget and its view."""

        def __init__(self) -> None:
            self.slots: dict[str, Any] = {}
            self.place = (0, 0)
            self.matrix = slicer.vtkMRMLSliceNode().GetXYToRAS()
            self.matrix.Identity()

        def sliceViewNames(self) -> tuple[str, ...]:
            return ("Red",)

        def sliceWidget(self, name: str) -> "View":
            return self

        sliceView = interactor = mrmlSliceNode = lambda self: self

        def GetXYToRAS(self) -> Any:
            return self.matrix

        threeDViewCount = 0

        def AddObserver(self, event: str, slot: Any, priority: float) -> int:
            assert priority > 0, "or Slicer's own views keep the event from it"
            self.slots[event] = slot
            return len(self.slots)

        def RemoveObserver(self, tag: int) -> None:
            self.slots.clear()

        def GetEventPosition(self) -> tuple[int, int]:
            return self.place

        def click(self, *place: int, drag: int = 0) -> None:
            self.place = (place[0] - drag, place[1])
            self.slots["LeftButtonPressEvent"](self, "")
            self.place = (place[0], place[1])
            self.slots["LeftButtonReleaseEvent"](self, "")

    view = View()
    view.matrix.SetElement(2, 3, 8.0)  # the slice through points 1 and 3
    clicks = a_widget.board.points._clicks
    clicks.listen(view)
    view.click(4, 7)
    assert "Point 3:" in a_widget.ui.pointLabel.text
    view.click(8, 3, drag=10)
    assert "Point 3:" in a_widget.ui.pointLabel.text, "a drag is no click"
    view.click(9, 3)
    assert "Point 1:" in a_widget.ui.pointLabel.text
    view.click(200, 200)
    assert "Point 1:" in a_widget.ui.pointLabel.text
    a_widget.exit()
    assert not view.slots


def test_a_decision_goes_on_to_the_next_point_and_is_saved(
    a_widget: Any, shown: SceneResult, a_scene: Any, tmp_path: Path
) -> None:
    ui = a_widget.ui
    assert not ui.acceptPointButton.enabled
    ui.nextPointButton.click()
    ui.acceptPointButton.click()
    ui.flagPointButton.click()
    assert "Point 3:" in ui.pointLabel.text
    assert "1 accepted, 1 flagged, 3 left" in ui.pointLabel.text
    assert [ui.pointTable.item(row, 5).text() for row in range(3)] == ["accepted", "flagged", ""]
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    a_scene.Clear(False)
    assert ui.pointTable.rowCount == 0
    assert not ui.nextPointButton.enabled
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert len(findResults(a_scene)) == 1
    assert [ui.pointTable.item(row, 5).text() for row in range(3)] == ["accepted", "flagged", ""]


def test_added_and_removed_voxels_come_and_go(
    a_widget: Any, shown: SceneResult, a_scene: Any
) -> None:
    before = a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    a_widget.ui.differenceCheckBox.click()
    assert a_widget.ui.differenceCheckBox.checked
    kind = "vtkMRMLSegmentationNode"
    waitFor(lambda: a_scene.GetNumberOfNodesByClass(kind) == before + 1, seconds=5)
    node = a_scene.GetNthNodeByClass(before, "vtkMRMLSegmentationNode")
    assert node.GetSegmentation().GetNumberOfSegments() == 3
    assert a_widget.ui.differenceCheckBox.checked
    a_widget.ui.differenceCheckBox.click()
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == before


def test_a_result_that_is_removed_empties_the_panel(a_widget: Any, shown: SceneResult) -> None:
    a_widget.logic.removeResult(shown)
    assert a_widget.ui.pointTable.rowCount == 0
    assert not a_widget.ui.uncertaintySlider.enabled
    assert not a_widget.ui.coarseViewButton.enabled


class Views:
    """What the panel asks of a layout manager that has one 3D view."""

    threeDViewCount = 1

    def __init__(self) -> None:
        self.window, self.renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
        self.window.SetOffScreenRendering(True)
        self.window.SetSize(200, 200)
        self.window.AddRenderer(self.renderer)
        self.mouse = vtk.vtkRenderWindowInteractor()
        self.mouse.SetRenderWindow(self.window)
        self.mouse.SetInteractorStyle(None)
        camera = self.renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        camera.SetParallelScale(20.0)  # 200 pixels are 40 mm
        camera.SetFocalPoint(0.0, 0.0, 0.0)
        camera.SetPosition(0.0, 0.0, 100.0)  # from above: r to the right, a up
        camera.SetClippingRange(1.0, 200.0)

    def sliceViewNames(self) -> tuple[str, ...]:
        return ()

    def threeDWidget(self, number: int) -> "Views":
        return self

    def threeDView(self) -> "Views":
        return self

    def interactor(self) -> Any:
        return self.mouse

    def click(self, r: float, a: float) -> None:
        """Where a place in the world is drawn."""
        self.mouse.SetEventInformation(round(100 + 5 * r), round(100 + 5 * a))
        self.mouse.InvokeEvent("LeftButtonPressEvent")
        self.mouse.InvokeEvent("LeftButtonReleaseEvent")


@pytest.fixture
def views(a_widget: Any) -> Any:
    made = Views()
    a_widget.board.points._clicks.listen(made)
    return made


def test_a_click_on_a_point_in_a_3d_view_selects_its_line_and_moves_the_slices(
    a_widget: Any, shown: SceneResult, views: Views, an_axial_view: Any
) -> None:
    ui = a_widget.ui
    views.click(3.0, 3.0)
    assert "Point 2:" in ui.pointLabel.text
    assert ui.pointTable.currentRow() == 1
    assert an_axial_view.GetSliceOffset() == pytest.approx(4.0)
    views.click(8.4, 3.4)
    assert "Point 1:" in ui.pointLabel.text
    views.click(4.0, 6.0)
    assert "Point 1:" in ui.pointLabel.text, "the third is not drawn in 3D"
    views.click(-10.0, -10.0)
    assert "Point 1:" in ui.pointLabel.text


def test_a_click_in_3d_leaves_the_camera_where_it_is_but_a_line_does_not(
    a_widget: Any, shown: SceneResult, views: Views, a_scene: Any
) -> None:
    camera = a_scene.AddNewNodeByClass("vtkMRMLCameraNode")
    before = camera.GetFocalPoint()
    views.click(3.0, 3.0)
    assert camera.GetFocalPoint() == before
    a_widget.ui.pointTable.setCurrentCell(0, 0)
    assert camera.GetFocalPoint() == pytest.approx((8.0, 3.0, 8.0))


def test_a_click_that_places_a_markup_selects_nothing(
    a_widget: Any, shown: SceneResult, views: Views, a_scene: Any
) -> None:
    mode = a_scene.AddNewNodeByClass("vtkMRMLInteractionNode")
    mode.SetCurrentInteractionMode(mode.Place)
    views.click(3.0, 3.0)
    assert "Point 2:" not in a_widget.ui.pointLabel.text
    mode.SetCurrentInteractionMode(mode.ViewTransform)
    views.click(3.0, 3.0)
    assert "Point 2:" in a_widget.ui.pointLabel.text


def test_a_point_that_is_not_among_the_listed_gets_a_line_of_its_own(
    a_widget: Any, shown: SceneResult, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MorseSegmentLib.panels import points

    monkeypatch.setattr(points, "_LISTED", 1)
    a_widget.ui.uncertaintySlider.value = 0.3
    assert ranks(a_widget) == [1]
    views.click(3.0, 3.0)
    assert ranks(a_widget) == [1, 2]
    assert a_widget.ui.pointTable.currentRow() == 1
    views.click(8.0, 3.0)
    assert ranks(a_widget) == [1, 2]
    assert a_widget.ui.pointTable.currentRow() == 0
    a_widget.ui.nextPointButton.click()
    a_widget.ui.nextPointButton.click()
    assert ranks(a_widget) == [1, 3], "one guest at a time"


def test_pressing_the_current_line_again_goes_back_to_its_point(
    a_widget: Any, shown: SceneResult, an_axial_view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = a_widget.ui.pointTable
    table.setCurrentCell(1, 0)
    an_axial_view.SetSliceOffset(0.0)
    table._native.cellPressed.emit(1, 0)
    assert an_axial_view.GetSliceOffset() == 0.0, "the same press of the mouse"
    a_widget.board.points._lines._chosenAt -= 1.0
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
    panel = a_widget.board.points
    monkeypatch.setattr(panel, "_read", lambda: read.append(1))
    a_widget.ui.nextPointButton.click()
    a_widget.ui.acceptPointButton.click()
    waitFor(lambda: not panel._timer.isActive(), seconds=5)
    assert not read


def test_views_that_another_layout_brings_are_listened_to(
    a_scene: Any, a_widget: Any, shown: SceneResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = a_scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    a_widget.enter()
    made = Views()
    monkeypatch.setattr(type(slicer.app), "layoutManager", lambda self: made, raising=False)
    made.click(3.0, 3.0)
    assert "Point 2:" not in a_widget.ui.pointLabel.text
    layout.Modified()
    processEvents()
    made.click(3.0, 3.0)
    assert "Point 2:" in a_widget.ui.pointLabel.text
    a_widget.exit()
    layout.Modified()
    processEvents()
    made.click(8.0, 3.0)
    assert "Point 2:" in a_widget.ui.pointLabel.text
