"""Clicks into Slicer's real views, off screen: with the styles that turn, pan and place."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import vtk

from MorseCore.result import Segmentation
from MorseSegmentLib.scene.picking import Click3D, ViewClicks, nearestProjected
from MorseSegmentLib.scene.pointfilter import PointCriteria, PointsFilter
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentPictures.probe import INSTALL_HINT, canRender
from MorseSegmentPictures.views import SliceView, ThreeDView

pytestmark = pytest.mark.skipif(not canRender(), reason=f"NOT TESTED: {INSTALL_HINT}")


class Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.places: list[tuple[float, float, float]] = []
        self.clicks: list[Click3D] = []
        self.views = ViewClicks(self.places.append, self.clicks.append)


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard()
    yield made
    made.views.close()


@pytest.fixture
def shown(a_scene: Any, a_result: Segmentation, a_volume_node: Any) -> SceneResult:
    return SceneWriter(a_scene).show(a_result, a_volume_node)


@pytest.fixture
def a_view(shown: SceneResult) -> Iterator[ThreeDView]:
    """On the points; its style is at work, as in Slicer: a drag turns the camera."""
    with closing(ThreeDView("1")) as view:
        work(view)
        view.fit(azimuth=35.0, elevation=20.0)
        view.render()
        yield view


def work(view: Any) -> None:
    """VTK's default style grabs the mouse; Slicer's views have one that does nothing itself."""
    view.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
    view.style.SetInteractor(view.interactor)


def move(view: Any, x: float, y: float) -> None:
    view.interactor.SetEventInformation(round(x), round(y), 0, 0, "\0", 0, None)
    view.interactor.MouseMoveEvent()


def click(view: Any, x: float, y: float, *, dragTo: tuple[float, float] | None = None) -> None:
    move(view, x, y)
    view.interactor.LeftButtonPressEvent()
    if dragTo is not None:
        move(view, *dragTo)
    view.interactor.LeftButtonReleaseEvent()


def drawn_at(view: ThreeDView, position: Any) -> tuple[float, float]:
    """Pixels from the lower left, by VTK's own arithmetic."""
    view.renderer.SetWorldPoint(*position, 1.0)
    view.renderer.WorldToDisplay()
    x, y, _ = view.renderer.GetDisplayPoint()
    return x, y


def test_a_click_on_a_point_in_3d_means_this_point(
    a_scene: Any, shown: SceneResult, a_view: ThreeDView, heard: Heard
) -> None:
    points = PointsFilter(a_scene, shown)
    assert points.apply(PointCriteria(lowest=0.0, lowest3D=0.0)) == 5
    rows = points.rowsIn3D()
    assert rows.tolist() == [0, 1, 2, 3, 4]
    positions = points.positions(rows)
    a_view.fit(azimuth=35.0, elevation=20.0)
    heard.views.listenTo3D(a_view.interactor)
    for row in rows:
        click(a_view, *drawn_at(a_view, positions[row]))
        assert nearestProjected(positions, heard.clicks[-1], 8) == row
    assert len(heard.clicks) == 5
    corner = np.array(heard.clicks[0].size) - 1
    click(a_view, *corner)
    assert nearestProjected(positions, heard.clicks[-1], 8) is None


def test_a_drag_in_3d_turns_the_camera_and_is_no_click(a_view: ThreeDView, heard: Heard) -> None:
    heard.views.listenTo3D(a_view.interactor)
    before = a_view.renderer.GetActiveCamera().GetPosition()
    click(a_view, 300, 300, dragTo=(380, 330))
    assert a_view.renderer.GetActiveCamera().GetPosition() != before
    assert not heard.clicks


def test_without_listening_nothing_is_heard(a_view: ThreeDView, heard: Heard) -> None:
    heard.views.listenTo3D(a_view.interactor)
    heard.views.close()
    click(a_view, 300, 300)
    assert not heard.clicks


def test_only_points_that_are_drawn_in_3d_can_be_meant(a_scene: Any, shown: SceneResult) -> None:
    points = PointsFilter(a_scene, shown)
    points.apply(PointCriteria())
    assert points.rowsIn3D().tolist() == [0, 1], "0.95 and 0.7"
    a_scene.GetNodeByID(shown.points[4]).GetDisplayNode().SetVisibility3D(False)
    assert points.rowsIn3D().tolist() == [1]
    points.apply(PointCriteria(lowest=0.8))
    assert points.rowsIn3D().tolist() == [0], "shown anew"


def test_a_click_into_a_slice_is_a_place_also_on_a_markup_that_can_be_moved(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any, shown: SceneResult, heard: Heard
) -> None:
    with closing(SliceView("Red")) as view:
        work(view)
        view.showVolume(a_volume_node)
        point = a_result.points.positions[0]
        view.frame(a_result.points.positions, through=point)
        view.render()
        heard.views.listenToSlice(view.interactor, view.node)
        row, column = view.pixelOf(tuple(point))
        place = (column, view.window.GetSize()[1] - 1 - row)
        click(view, *place)
        a_scene.GetNodeByID(shown.points[4]).SetLocked(False)
        click(view, *place)
    assert len(heard.places) == 2
    for found in heard.places:
        np.testing.assert_allclose(found, point, atol=0.1)


def test_points_under_a_transform_are_where_they_are_drawn(
    a_scene: Any, a_result: Segmentation, a_volume_node: Any
) -> None:
    shifted = vtk.vtkTransform()
    shifted.Translate(10.0, -20.0, 30.0)
    parent = a_scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    parent.SetMatrixTransformToParent(shifted.GetMatrix())
    a_volume_node.SetAndObserveTransformNodeID(parent.GetID())
    shown = SceneWriter(a_scene).show(replace(a_result), a_volume_node)
    points = PointsFilter(a_scene, shown)
    expected = a_result.points.positions[[2]] + [10.0, -20.0, 30.0]
    np.testing.assert_allclose(points.positions(np.array([2])), expected)
