"""Regions of interest: reading them, and the voxels they cover."""

import numpy as np
import pytest

from MorseCore.errors import ConfigError, GeometryError
from MorseCore.geometry import Geometry
from MorseCore.images.roi import Roi, parse_roi, roi_to_box

UNIT = Geometry((10, 20, 30), np.eye(4))  # voxel (i, j, k) is centred on r, a, s = i, j, k mm


def test_six_numbers_are_a_box_in_ras() -> None:
    assert parse_roi("-1,2, 3,4.5,5,6") == Roi((-1.0, 3.0, 5.0), (2.0, 4.5, 6.0), "ras")


def test_the_prefix_ijk_makes_it_a_box_of_voxels() -> None:
    assert parse_roi("ijk:0,10,1,5,2,3") == Roi((0.0, 1.0, 2.0), (10.0, 5.0, 3.0), "ijk")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,2,3,4,5", "found 5 value"),
        ("1,2,3,4,5,6,7", "found 7 value"),
        ("", "found 1 value"),
        ("1,2,3,4,5,six", "not all numbers"),
        ("1,2,3,4,5,", "not all numbers"),
        ("lps:1,2,3,4,5,6", "found 'lps:1,2,3,4,5,6'"),
        (":1,2,3,4,5,6", "found ':1,2,3,4,5,6'"),
        ("nan,2,3,4,5,6", "along r must be finite"),
        ("1,2,3,inf,5,6", "along a must be finite"),
        ("1,2,4,3,5,6", "along a must be below its upper bound; found 4 and 3"),
        ("1,2,3,4,5,5", "along s must be below"),
        ("ijk:0,1.5,0,1,0,1", "whole numbers; found 0 and 1.5 along i"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_roi(text)


def test_a_box_in_voxels_is_the_slice_of_the_array() -> None:
    assert roi_to_box(parse_roi("ijk:1,4,2,3,0,10"), UNIT) == ((0, 2, 1), (10, 3, 4))


def test_a_box_in_mm_covers_the_voxels_it_touches() -> None:
    # 1.4 lies in voxel 1 (0.5 to 1.5), 2.6 in voxel 3 (2.5 to 3.5).
    assert roi_to_box(parse_roi("1.4,2.6,0,1,0,1"), UNIT) == ((0, 0, 1), (2, 2, 4))


def test_a_box_that_ends_on_voxel_faces_takes_no_neighbour() -> None:
    assert roi_to_box(parse_roi("0.5,2.5,-0.5,0.5,3.5,4.5"), UNIT) == ((4, 0, 1), (5, 1, 3))


def test_a_box_smaller_than_a_voxel_is_that_voxel() -> None:
    assert roi_to_box(parse_roi("3.1,3.2,4.1,4.2,5.1,5.2"), UNIT) == ((5, 4, 3), (6, 5, 4))


def test_a_box_is_clipped_to_the_image() -> None:
    assert roi_to_box(parse_roi("-100,100,-100,100,-100,100"), UNIT) == ((0, 0, 0), (10, 20, 30))
    assert roi_to_box(parse_roi("ijk:-5,2,0,99,0,1"), UNIT) == ((0, 0, 0), (1, 20, 2))


def test_axes_that_run_left_and_posterior_are_followed() -> None:
    matrix = np.diag([-2.0, -1.0, 1.0, 1.0])
    box = roi_to_box(parse_roi("-21,-19,-3.2,-2.8,0,0.2"), Geometry((10, 20, 30), matrix))
    assert box == ((0, 3, 10), (1, 4, 11))  # r = -20 is i = 10


def test_an_oblique_image_gets_the_covering_box() -> None:
    half = np.sqrt(0.5)
    matrix = np.eye(4)
    matrix[:2, :2] = [[half, -half], [half, half]]  # 45 degrees about S
    geometry = Geometry((5, 41, 41), matrix)
    start, stop = roi_to_box(Roi((-5.0, 15.0, 1.0), (5.0, 25.0, 2.0)), geometry)
    # A square of 10 mm turned by 45 degrees is 14.1 mm wide: centre (0, 20) is i = j = 14.14.
    assert start == (1, 7, 7)
    assert stop == (3, 22, 22)


@pytest.mark.parametrize("text", ["30,40,0,5,0,5", "0,5,0,5,-9,-0.5", "ijk:30,31,0,1,0,1"])
def test_a_box_outside_the_image_is_refused_with_both_extents(text: str) -> None:
    with pytest.raises(GeometryError, match="lies outside the image, which covers"):
        roi_to_box(parse_roi(text), Geometry((10, 20, 30), np.eye(4)))


def test_the_extent_in_the_message_is_that_of_the_voxels_faces() -> None:
    with pytest.raises(GeometryError, match=r"R -0.5 to 29.5, A -0.5 to 19.5, S -0.5 to 9.5 mm"):
        roi_to_box(parse_roi("50,60,0,5,0,5"), UNIT)
