"""The picture of a case: what lies on which side, in which colour, and how large the file is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.quality.mosaic import LARGEST_PICTURE, draw_mosaic, write_mosaic
from MorseCore.result import RenderedPoints, Segmentation, Structure

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
SHAPE = (20, 30, 40)


def result_of(coarse: np.ndarray, refined: np.ndarray, geometry: Geometry) -> Segmentation:
    none = np.zeros(0, np.float32)
    points = RenderedPoints(
        np.zeros((0, 3)), np.zeros((0, 3), np.int32), none, none.astype(np.int32),
        none.astype(np.int32), none, none,
    )  # fmt: skip
    structures = (Structure(1, "Left ball", RED), Structure(2, "Right ball", BLUE))
    uncertainty = np.zeros(coarse.shape, np.float32)
    return Segmentation(geometry, structures, coarse, refined, uncertainty, points, {})


def two_boxes(matrix: np.ndarray) -> tuple[Volume, Segmentation]:
    """Label 1 on the patient's left and 2 on the right, whichever way the grid runs."""
    geometry = Geometry(SHAPE, matrix)
    labels = np.zeros(SHAPE, np.uint8)
    sides = geometry.to_world(np.stack(np.indices(SHAPE)[::-1], -1).reshape(-1, 3).astype(float))
    right = sides[:, 0].reshape(SHAPE)
    middle = (right.max() + right.min()) / 2
    inside = np.zeros(SHAPE, bool)
    inside[6:14, 10:20] = True
    labels[inside & (right < middle - 5) & (right > middle - 14)] = 1
    labels[inside & (right > middle + 5) & (right < middle + 14)] = 2
    return Volume(np.zeros(SHAPE, np.float32), geometry, "x"), result_of(labels, labels, geometry)


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_the_patients_right_is_at_the_left_of_the_picture(flip: float) -> None:
    volume, result = two_boxes(np.diag([flip, 1.0, 1.0, 1.0]))
    tile = draw_mosaic(volume, result)[:100, :192].astype(int)
    reds, blues = tile[..., 0] - tile[..., 2], tile[..., 2] - tile[..., 0]
    across = np.arange(192)
    red, blue = ((np.clip(x, 0, None).sum(0) * across).sum() / np.clip(x, 0, None).sum()
                 for x in (reds, blues))  # fmt: skip
    assert blue < 96 < red


def test_fill_is_the_refined_and_outline_the_coarse_mask() -> None:
    volume, result = two_boxes(np.eye(4))
    empty = np.zeros(SHAPE, np.uint8)
    filled = draw_mosaic(volume, replace(result, coarse=empty)).astype(int)
    outlined = draw_mosaic(volume, replace(result, refined=empty)).astype(int)
    fill, line = (x[..., 0] - x[..., 1] for x in (filled, outlined))
    assert fill.max() == pytest.approx(255 * 0.35, abs=1)
    assert line.max() == 255
    assert (line > 0).sum() < (fill > 0).sum()


@pytest.mark.parametrize("after", [1, 0])
def test_a_point_is_drawn_where_it_lies_in_the_slice_that_changed_most_or_is_most_unsure(
    after: int,
) -> None:
    volume, result = two_boxes(np.eye(4))
    place = np.array([[20, 15, 13]], np.int32)  # i, j, k between the two boxes
    one, label = np.ones(1, np.float32), np.zeros(1, np.int32)
    points = RenderedPoints(place.astype(float), place, one, label, label + after, one, one)
    plain = draw_mosaic(volume, result)
    dotted = draw_mosaic(volume, replace(result, points=points))
    first = dotted[:, :192].astype(int)
    assert ((first[..., 0] > 240) & (first[..., 1] == 60) & (first[..., 2] == 40)).any()
    assert not ((plain[..., 1] == 60) & (plain[..., 2] == 40)).any()


@pytest.mark.parametrize("shape", [(1, 40, 50), (30, 1, 50), (30, 40, 50), (1, 1, 1)])
def test_flat_and_empty_images_have_a_picture_too(shape: tuple[int, int, int]) -> None:
    nothing = np.zeros(shape, np.uint8)
    geometry = Geometry(shape, np.eye(4))
    volume = Volume(np.full(shape, np.nan, np.float32), geometry, "x")
    assert draw_mosaic(volume, result_of(nothing, nothing, geometry)).ndim == 3


def test_the_file_of_a_noisy_scan_is_small_enough(tmp_path: Path) -> None:
    shape = (64, 64, 64)
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    labels[10:50, 10:50, 10:50] = 1
    geometry = Geometry(shape, np.eye(4))
    path = tmp_path / "a.jpg"
    write_mosaic(path, Volume(noise, geometry, "x"), result_of(labels, labels, geometry))
    assert 0 < path.stat().st_size <= LARGEST_PICTURE
    assert SimpleITK.ReadImage(str(path)).GetNumberOfComponentsPerPixel() == 3
