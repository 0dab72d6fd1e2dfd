"""Which point a click meant: answers known by hand."""

import numpy as np

from MorseSegmentLib.scene.picking import Click3D, nearestProjected

FLAT = np.eye(4)  # as seen along the last axis, without perspective: -1..1 fills the view
PERSPECTIVE = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0.5], [0, 0, 1, 0]], float)


def click(x: int, y: int, matrix: np.ndarray = FLAT) -> Click3D:
    """Into a view of 200 x 100 pixels."""
    return Click3D(matrix, (200, 100), (x, y))


def test_the_middle_of_the_view_is_the_origin_and_up_is_up() -> None:
    points = np.array([[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]])
    assert nearestProjected(points, click(100, 50), 3) == 0
    assert nearestProjected(points, click(150, 50), 3) == 1
    assert nearestProjected(points, click(100, 75), 3) == 2
    assert nearestProjected(points, click(100, 25), 3) is None, "nothing is drawn below"


def test_a_click_beside_every_point_means_none() -> None:
    points = np.array([[0.0, 0, 0]])
    assert nearestProjected(points, click(104, 50), 4) == 0
    assert nearestProjected(points, click(105, 50), 4) is None
    assert nearestProjected(points, click(103, 53), 4) is None, "4.2 pixels away"
    assert nearestProjected(np.zeros((0, 3)), click(100, 50), 4) is None


def test_of_two_points_at_one_place_the_one_in_front_is_meant() -> None:
    points = np.array([[0.0, 0, 0.5], [0.01, 0, -0.5], [0.05, 0, -0.9]])
    assert nearestProjected(points, click(100, 50), 8) == 1, "1 pixel aside, but it hides the other"
    assert nearestProjected(points[:1], click(100, 50), 8) == 0


def test_a_farther_point_is_drawn_nearer_to_the_middle() -> None:
    points = np.array([[0.5, 0, 1.0], [0.5, 0, 2.0]])
    assert nearestProjected(points, click(150, 50, PERSPECTIVE), 3) == 0
    assert nearestProjected(points, click(125, 50, PERSPECTIVE), 3) == 1


def test_a_point_behind_the_camera_or_out_of_sight_is_not_meant() -> None:
    behind, beyond, seen = [0.0, 0, -1], [3.0, 0, 1], [0.0, 0, 1]
    middle = click(100, 50, PERSPECTIVE)
    assert nearestProjected(np.array([behind, beyond]), middle, 500) is None
    assert nearestProjected(np.array([behind, beyond, seen]), middle, 500) == 2
    assert nearestProjected(np.array([[0.0, 0, 1.2]]), click(100, 50), 500) is None
