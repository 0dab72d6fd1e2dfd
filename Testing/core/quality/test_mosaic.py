"""The pictures of a case: what lies on which side, in which colour, and how large the file is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.quality.mosaic import (
    LARGEST_PICTURES,
    draw_disputed,
    draw_mosaic,
    write_disputed,
    write_mosaic,
)
from MorseCore.result import DisputedSlice, RenderedPoints, Segmentation, Structure

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


def disputed(matrix: np.ndarray, size: int = 40) -> DisputedSlice:
    """An axial slice in which the coarse mask is a red box and the other pass moves it."""
    coarse, other = (np.zeros((1, size, size), np.uint8) for _ in range(2))
    coarse[0, 10:20, 10:20], other[0, 10:20, 14:24] = 1, 1
    image = np.random.default_rng(0).normal(0, 1, (1, size, size)).astype(np.float32)
    return DisputedSlice(Geometry((1, size, size), matrix), image, coarse, other)


def test_both_outlines_are_drawn_and_what_is_disputed_is_filled() -> None:
    item = disputed(np.eye(4))
    result = two_boxes(np.eye(4))[1]
    black = replace(item, image=np.zeros_like(item.image))
    picture = draw_disputed(replace(result, disputed=(black,))).astype(int)
    letters = picture[-18:].copy()
    picture[-18:] = 0
    red = (picture == [255, 0, 0]).all(-1)
    white = (picture == 255).all(-1)
    filled = (picture == [round(255 * 0.35), 0, 0]).all(-1)
    across = np.arange(picture.shape[1])
    assert (letters == 255).any()
    # R is at the left: with rising i, which goes to the right side, one goes left.
    means = [(x.sum(0) * across).sum() / x.sum() for x in (red, white)]
    assert means[1] < means[0]
    assert filled.any()
    assert not filled[:, : across[red.any(0)].min() - 1][:, : across[white.any(0)].min()].any()


def test_each_side_has_its_row(tmp_path: Path) -> None:
    result = two_boxes(np.eye(4))[1]
    one = draw_disputed(replace(result, disputed=(disputed(np.eye(4)),) * 3))
    two = draw_disputed(replace(result, disputed=(disputed(np.eye(4)),) * 6))
    assert two.shape == (2 * one.shape[0], one.shape[1], 3)


def test_the_files_of_a_noisy_scan_are_small_enough(tmp_path: Path) -> None:
    shape = (64, 64, 64)
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    labels = np.zeros(shape, np.uint8)
    labels[10:50, 10:50, 10:50] = 1
    geometry = Geometry(shape, np.eye(4))
    result = result_of(labels, labels, geometry)
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    write_mosaic(paths[0], Volume(noise, geometry, "x"), result)
    write_disputed(paths[1], replace(result, disputed=(disputed(np.eye(4), 200),) * 6))
    assert sum(path.stat().st_size for path in paths) <= LARGEST_PICTURES
    for path in paths:
        assert SimpleITK.ReadImage(str(path)).GetNumberOfComponentsPerPixel() == 3
