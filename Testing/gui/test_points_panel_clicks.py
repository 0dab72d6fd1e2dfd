"""A click into a view, flat or 3D, finds the point and its line in the panel."""

from typing import Any

import pytest
import slicer
import vtk

from panel import ranks
from slicerqt import install, processEvents

install()

from MorseSegmentLib.scene.record import SceneResult
from panel_fixtures import a_result, shown

__all__ = ["a_result", "shown"]  # fixtures


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
    clicks = a_widget.panels.points._clicks
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
    a_widget.panels.points._clicks.listen(made)
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
