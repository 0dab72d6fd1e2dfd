"""What is refused or remarked on before a network sees it: values, label maps, sizes of voxels."""

import numpy as np
import pytest

from image_files import SHAPE, grey_voxels
from MorseCore.errors import GeometryError, ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imagechecks import check_is_intensity_image, check_spacing, check_values
from MorseCore.images.imageio import Volume
from MorseCore.images.modelgrid import model_grid
from MorseCore.images.preparation import Preparation
from MorseCore.system.acceptance import Acceptance


@pytest.fixture
def scan() -> np.ndarray:
    return grey_voxels()


def as_volume(array: np.ndarray) -> Volume:
    return Volume(array, Geometry(array.shape, np.eye(4)), "scan.nii.gz")


def organs(dtype: type) -> np.ndarray:
    labels: np.ndarray = np.zeros((20, 20, 20), dtype)
    labels[2:12, 2:12, 2:12] = 1
    labels[12:19, 4:15, 4:15] = 2
    return labels


@pytest.mark.parametrize("value", [0, 7])
def test_an_image_of_one_value_is_refused(value: int) -> None:
    with pytest.raises(ImageError, match=rf"scan\.nii\.gz: every voxel has the value {value}"):
        check_is_intensity_image(as_volume(np.full(SHAPE, value, np.int16)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_label_map_is_refused_whatever_its_type(dtype: type) -> None:
    with pytest.raises(ImageError, match=r"looks like a segmentation \(2 label\(s\), 0 to 2\)"):
        check_is_intensity_image(as_volume(organs(dtype)))


def coarse_noise() -> np.ndarray:
    """An MR of a low-dose kind rounded to 12 grey values: a label map by its values alone."""
    return np.random.default_rng(0).rayleigh(3, (20, 20, 20)).clip(0, 11).astype(np.uint8)


@pytest.mark.parametrize(
    "array",
    [
        organs(np.uint8) * 100,
        (organs(np.uint8) > 0).astype(np.uint8) * 255,
        organs(np.int16) - 1024,
        organs(np.float32) * 0.5,
        coarse_noise(),
        np.random.default_rng(0).integers(0, 256, (8, 8, 8), np.uint8),
        np.random.default_rng(0).normal(0, 300, (8, 8, 8)).astype(np.int16),
    ],
    ids=["phantom", "black-and-white", "ct", "fractions", "coarse", "8-bit", "16-bit"],
)
def test_an_image_is_let_through(array: np.ndarray) -> None:
    check_is_intensity_image(as_volume(array))


def checked(array: np.ndarray, *accept: str, **preparation: object) -> list[str]:
    """The sentences of all three checks, as a model with 1 mm asks for them."""
    volume = array if isinstance(array, Volume) else as_volume(array)
    values: dict = {"window": (8, 8, 8), "spacing": (1.0, 1.0, 1.0)} | preparation
    chosen = Preparation(**values)
    accepted = Acceptance(accept)
    return [
        *check_is_intensity_image(volume, accepted),
        *check_values(volume, chosen, accepted, is_region=False),
        *check_spacing(volume, chosen, accepted),
    ]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 30, shape or (8, 8, 8)).astype(np.float32)


def test_a_scan_gets_no_word() -> None:
    assert checked(noise()) == []


def test_few_voxels_without_a_value_are_a_sentence_with_count_and_share(
    caplog: pytest.LogCaptureFixture,
) -> None:
    array = noise()
    array[0, 0, :5] = [np.nan, np.inf, -np.inf, np.nan, np.nan]
    [sentence] = checked(array)
    assert "5 of 512 voxels (1.0 %) have no value (NaN or infinite)" in sentence
    assert sentence in caplog.text


def test_more_than_half_without_a_value_is_refused_and_can_be_accepted() -> None:
    array = noise()
    array[:4] = np.nan
    assert "256 of 512 voxels (50.0 %)" in checked(array)[0]
    array[4, 0, 0] = np.nan
    with pytest.raises(ImageError, match=r"257 of 512 .*more than half.*--accept missing-values"):
        checked(array)
    assert "accepted: missing-values" in checked(array, "missing-values")[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_without_any_value_is_refused(value: float) -> None:
    with pytest.raises(ImageError, match="No voxel of the image has a value"):
        checked(np.full(SHAPE, value, np.float32), "missing-values")


def test_values_that_single_precision_cannot_hold_are_no_values() -> None:
    with pytest.raises(ImageError, match="No voxel of the image has a value"):
        checked(noise().astype(np.float64) * 1e300)


def test_an_image_with_one_odd_voxel_is_as_good_as_constant() -> None:
    array = np.full((8, 8, 8), 7, np.int16)
    array[1, 2, 3] = 9
    with pytest.raises(
        ImageError, match=r"all but 1 of 512 voxels have the value 7.*--accept flat"
    ):
        checked(array)
    assert "accepted: flat-image" in checked(array, "flat-image")[0]


def test_little_contrast_is_a_sentence() -> None:
    array = np.zeros((16, 16, 16), np.float32)
    array[:3, :3, :3] = noise(3, 3, 3)
    assert (
        "all but 27 of 4,096 voxels have the value 0; there is little to go by" in checked(array)[0]
    )


def test_a_value_that_a_scanner_pads_with_is_pointed_out() -> None:
    array = (10 * noise()).astype(np.int16)
    array[:2] = -32768
    assert "25.0 % of the voxels have the value -32768, far from all others" in checked(array)[0]
    array[:2] = 0  # the background of an MR
    assert checked(array) == []


@pytest.mark.parametrize("dtype", [bool, np.complex64, "U3", object])
def test_voxels_that_are_no_real_numbers_are_refused(dtype: object) -> None:
    with pytest.raises(ImageError, match="real numbers are expected"):
        checked(np.ones(SHAPE, dtype))  # type: ignore[call-overload]


def test_an_array_that_does_not_fit_its_grid_is_refused() -> None:
    volume = Volume(noise(4, 5, 6), Geometry((4, 5, 7), np.eye(4)), "scan")
    with pytest.raises(GeometryError, match=r"\(4, 5, 6\) on a grid of \(4, 5, 7\)"):
        checked(volume)


@pytest.mark.parametrize("offset", [2**62, -(2**62)])
def test_whole_numbers_too_large_to_be_told_apart_are_refused(offset: int) -> None:
    with pytest.raises(ImageError, match="too large to be told apart"):
        checked(noise().astype(np.int64) + offset)
    spread = (noise() * 1e15).astype(np.int64) + offset  # whose differences are as large
    assert checked(spread) == []


@pytest.mark.parametrize("shape", [(1, 1, 9), (1, 9, 1), (9, 1, 1)])
def test_a_line_of_voxels_is_refused(shape: tuple[int, ...]) -> None:
    for window in ((8, 8, 8), (8, 8)):
        with pytest.raises(ImageError, match=r"a single line of voxels \(.* x .* x .*\)"):
            checked(noise(*shape), window=window, spacing=None)


def test_slices_of_one_line_are_refused_for_a_2d_model_alone() -> None:
    with pytest.raises(ImageError, match="each slice is a single line of voxels"):
        checked(noise(9, 1, 9), window=(8, 8), spacing=None)
    assert checked(noise(9, 1, 9)) == checked(noise(1, 9, 9), window=(8, 8), spacing=None) == []


def spaced(*steps: float) -> Volume:
    return Volume(noise(), Geometry((8, 8, 8), np.diag([*steps, 1.0])), "scan.nii.gz")


@pytest.mark.parametrize(
    "steps",
    [(60.0, 60.0, 60.0), (1.0, 1.0, 17.0), (1e-6, 1e-6, 1e-6), (0.06, 1.0, 1.0), (1e5,) * 3],
)
def test_voxels_of_another_scale_than_the_model_s_are_refused(steps: tuple[float, ...]) -> None:
    with pytest.raises(GeometryError, match=r"and the model sees 1 x 1 x 1 mm.*--accept spacing"):
        checked(spaced(*steps))
    assert "accepted: spacing" in checked(spaced(*steps), "spacing")[0]


def test_voxels_of_a_far_scale_are_a_sentence_and_of_a_near_one_nothing() -> None:
    assert "most of what it sees is interpolated" in checked(spaced(1.0, 1.0, 10.0))[0]
    assert checked(spaced(0.5, 0.5, 6.0)) == checked(spaced(60.0, 60.0, 60.0), spacing=None) == []


def test_the_distance_of_slices_is_nothing_to_a_2d_model() -> None:
    flat = {"window": (8, 8), "spacing": (1.0, 1.0)}
    assert checked(spaced(1.0, 1.0, 60.0), **flat) == []
    with pytest.raises(GeometryError, match="spacing"):
        checked(spaced(60.0, 1.0, 1.0), **flat)


def test_values_outside_of_what_a_ct_model_sees_are_refused() -> None:
    with pytest.raises(ImageError, match=r"the model sees -1000 to 1000 \(Hounsfield units"):
        checked(noise() + 5000, normalisation="range")


@pytest.mark.parametrize("far", [1e9, -1e30, 1e300])
def test_a_position_more_than_a_kilometre_away_is_refused(far: float) -> None:
    matrix = np.eye(4)
    matrix[1, 3] = far
    with pytest.raises(GeometryError, match="more than a kilometre"):
        checked(Volume(noise(), Geometry((8, 8, 8), matrix), "scan"))


@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_a_grid_that_would_be_too_large_is_refused_however_large(turn: float) -> None:
    c, s = np.cos(turn), np.sin(turn)
    matrix = np.diag([9e5, 9e5, 9e5, 1.0])
    matrix[:2, :2] = 9e5 * np.array([[c, -s], [s, c]])
    with pytest.raises(GeometryError, match="more than can be held"):
        model_grid(Geometry((8, 8, 8), matrix), spacing=(1e-9,) * 3)
