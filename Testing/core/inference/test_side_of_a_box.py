"""The side of a box that was drawn by hand is known by the head around it, or not at all."""

from dataclasses import replace

import numpy as np
import pytest

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.modelgrid import AxisMap
from MorseCore.images.roi import Roi
from MorseCore.inference.two_sides import side_of_box

SHAPE = (80, 100, 100)  # K, J, I = S, A, R at 2 mm


def head(centre: float = 50.0, radius: float = 38.0) -> Volume:
    """An ellipsoid as wide as a head; I runs towards R, and 0 mm is voxel 50."""
    k, j, i = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    inside = ((k - 40) / 36) ** 2 + ((j - 50) / 45) ** 2 + ((i - centre) / radius) ** 2 < 1
    noise = np.random.default_rng(0).random(SHAPE)
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = -100, -100, -80
    return Volume((100 * inside + 5 * noise).astype(np.float32), Geometry(SHAPE, matrix), "head")


def box(r: float, half: float = 10.0) -> Roi:
    return Roi((r - half, -20.0, -20.0), (r + half, 20.0, 20.0))


@pytest.mark.parametrize(("r", "side"), [(-28, "left"), (28, "right"), (-12, "left"), (6, "")])
def test_a_box_beside_the_middle_has_a_side(r: float, side: str) -> None:
    assert side_of_box(head(), box(r)) == side


def test_it_is_the_heads_middle_that_counts_and_not_the_images() -> None:
    assert side_of_box(head(centre=58), box(2, half=5)) == "left"  # the head's middle is at 16 mm


@pytest.mark.parametrize("flip", [(True, False, False), (True, True, False), (False, True, True)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_order_of_the_voxels_does_not_matter(order, flip) -> None:
    turn, volume = AxisMap(order, flip), head()
    stored = replace(
        volume, array=np.ascontiguousarray(turn.apply(volume.array)),
        geometry=turn.geometry(volume.geometry),
    )  # fmt: skip
    assert side_of_box(stored, box(-28)) == "left"
    assert side_of_box(stored, box(28)) == "right"


def test_a_box_over_the_middle_has_none() -> None:
    assert side_of_box(head(), box(12, half=30)) == ""


def test_a_head_that_is_cut_off_a_crop_and_a_tilted_scan_say_nothing() -> None:
    whole = head()
    cut = replace(
        whole, array=whole.array[:, :, 30:], geometry=whole.geometry.crop((0, 0, 30), SHAPE)
    )
    assert side_of_box(cut, box(28)) == ""
    assert side_of_box(head(radius=20), box(28)) == ""  # 80 mm wide
    turn = np.eye(4)
    turn[:2, :2] = [[0.87, -0.5], [0.5, 0.87]]
    turn[:3, :3] /= np.linalg.norm(turn[:3, :3], axis=0)
    tilted = Geometry(SHAPE, turn @ whole.geometry.ijk_to_ras)
    assert side_of_box(replace(whole, geometry=tilted), box(28)) == ""


def test_two_middles_that_disagree_say_nothing() -> None:
    """A bright coil on one side moves the outline, not the mass."""
    volume = head()
    volume.array[:, 40:60, 89:94] = 100
    assert side_of_box(volume, box(12, half=4)) == ""
    assert side_of_box(head(), box(12, half=4)) == "right"
