"""The range of an image's values, and how they are normalised, whatever some of them are."""

import warnings

import numpy as np
import pytest
import SimpleITK

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, volume_from_itk
from MorseCore.images.lazy import LazyImage
from MorseCore.images.preparation import (
    Preparation,
    fill_missing,
    measure_intensity,
    normalise,
    prepare_scan,
)
from MorseCore.images.voxelvalues import has_value, measure_percentiles, measure_range, to_single

SCHEMES = {
    "zscore": Preparation((8, 8, 8)),
    "percentile": Preparation((8, 8, 8), normalisation="percentile", percentiles=(1.0, 99.0)),
    "range": Preparation((8, 8, 8), normalisation="range", intensity_range=(0.0, 200.0)),
}
BACKGROUND = {"zscore": 0.0, "percentile": 0.0, "range": -1.0}
"""After normalisation: what stands beyond an image, or air."""


@pytest.fixture(autouse=True)
def no_warning_of_numpy():
    """A person is not to see one, and each would be a sum that went wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def scan() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 30, (16, 12, 10)).astype(np.float32)


def as_volume(array: np.ndarray, step: float = 1.0) -> Volume:
    return Volume(array, Geometry(array.shape, np.diag([step, step, step, 1.0])), "scan")


def by_hand(known: np.ndarray, scheme: str) -> np.ndarray:
    """In double precision, as the three rules are written down."""
    known = known.astype(np.float64)
    if scheme == "range":
        return known.clip(0, 200) / 100 - 1
    low, high = np.percentile(known, SCHEMES[scheme].percentiles)
    if scheme == "percentile":
        return ((known - low) / (high - low)).clip(-0.2, 1.5)
    clipped = known.clip(low, high)
    return (clipped - clipped.mean()) / clipped.std()


@pytest.mark.parametrize("piece", [1, 1 << 24])
def test_a_range_is_that_of_the_voxels_with_a_value(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr("MorseCore.images.voxelvalues._PIECE", piece)
    array = scan()
    array[0] = np.nan
    array[3, 2, :4] = [np.inf, -np.inf, -500, 900]
    found = measure_range(array)
    assert (found.low, found.high) == (-500, 900)
    assert (found.missing, found.size) == (12 * 10 + 2, array.size)
    assert not found.is_constant
    assert measure_range(np.full((2, 2, 2), np.nan)).is_constant


def test_whole_numbers_of_64_bits_keep_their_last_digit() -> None:
    found = measure_range(np.array([[[-(2**63), 2**63 - 1]]]))
    assert (found.low, found.high) == (-(2**63), 2**63 - 1)
    assert measure_range(np.array([[[2**64 - 1]]], np.uint64)).high == 2**64 - 1


def test_what_single_precision_cannot_hold_is_no_value() -> None:
    assert has_value(np.array([1e300, -1e39, 3e38, np.nan])).tolist() == [False, False, True, False]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.float32])
def test_a_percentile_between_the_ends_of_a_type_does_not_overflow(dtype: type) -> None:
    ends = np.finfo(dtype) if dtype is np.float32 else np.iinfo(dtype)
    values = np.array([ends.min, ends.max], dtype)
    low, high = measure_percentiles(values, (25.0, 75.0), measure_range(values))
    width = float(ends.max) - float(ends.min)
    assert low == pytest.approx(float(ends.min) + width / 4, rel=1e-6)
    assert high == pytest.approx(float(ends.min) + width * 3 / 4, rel=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_ordinary_percentiles_are_numpy_s_to_the_bit(dtype: type) -> None:
    values = scan().astype(dtype)
    found = measure_percentiles(values, (0.5, 99.5), measure_range(values))
    assert found == tuple(float(x) for x in np.percentile(values, (0.5, 99.5)))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_voxels_without_a_value_have_no_say_and_become_background(
    scheme: str, missing: float
) -> None:
    array = scan()
    array[:5] = missing
    array[9, 9, 9] = -32768  # an outlier is clipped, not what the others are measured by
    known = np.isfinite(array)
    result = normalise(array, SCHEMES[scheme])
    np.testing.assert_allclose(result[known], by_hand(array[known], scheme), atol=2e-5)
    np.testing.assert_allclose(result[~known], BACKGROUND[scheme], atol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_lazy_image_has_the_same_background(scheme: str) -> None:
    array = scan()
    array[:5, ::2] = np.nan
    image = LazyImage(array, measure_intensity(array, SCHEMES[scheme]))
    assert np.array_equal(image[2:9].numpy(), normalise(array, SCHEMES[scheme])[2:9])


def test_resampling_loses_no_voxel_beside_one_without_a_value() -> None:
    array, preparation = scan(), Preparation((8, 8, 8), spacing=(1.0, 1.0, 1.0))
    whole = prepare_scan(as_volume(array, 2.0), preparation)[0]
    array[:5] = np.nan
    result = prepare_scan(as_volume(array, 2.0), preparation)[0]
    assert result.shape == whole.shape == (32, 24, 20)
    assert np.isfinite(result).all()
    # The statistics are of 11 of 16 slices now; beyond the neighbouring row the picture is one.
    assert np.corrcoef(result[12:].ravel(), whole[12:].ravel())[0, 1] > 0.999
    np.testing.assert_allclose(result[:9], 0, atol=1e-6)


def test_a_volume_is_filled_only_where_values_are_missing() -> None:
    array = scan()
    assert fill_missing(as_volume(array), SCHEMES["range"]).array is array
    array[0, 0, 0] = np.nan
    filled = fill_missing(as_volume(array), SCHEMES["range"]).array
    assert filled[0, 0, 0] == 0
    assert np.isnan(array[0, 0, 0])
    assert np.array_equal(filled.ravel()[1:], array.ravel()[1:])


ODD = {
    "near 1e38": (np.float32, 1e36, 0.0),
    "around zero up to 1e38": (np.float32, 2e36, -100.0),
    "denormal": (np.float32, 1e-42, 0.0),
    "1e-300": (np.float64, 1e-300, 0.0),
    "1e15 and a little": (np.float64, 1.0, 1e15),
    "32 bits": (np.int32, 1000, 2e6),
    "64 bits": (np.int64, 10**6, 10**9),
    "unsigned 64 bits": (np.uint64, 10**12, 10**6),
}


@pytest.mark.parametrize("scheme", ["zscore", "percentile"])
@pytest.mark.parametrize(("dtype", "factor", "offset"), ODD.values(), ids=ODD)
def test_odd_magnitudes_are_normalised_as_ordinary_ones(
    scheme: str, dtype: type, factor: float, offset: float
) -> None:
    plain = scan().astype(np.float64).clip(1, None)
    odd = ((plain + offset) * factor).astype(dtype)
    result = normalise(odd, SCHEMES[scheme])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, by_hand(plain, scheme), atol=0.01)


@pytest.mark.parametrize("scheme", ["zscore", "percentile"])
def test_coinciding_percentiles_leave_the_contrast_that_there_is(scheme: str) -> None:
    array = np.zeros((16, 12, 10), np.float32)
    array[3, 3, :3] = [5, 10, 20]
    result = normalise(array, SCHEMES[scheme])
    assert np.isfinite(result).all()
    assert np.argsort(result[3, 3, :4]).tolist() == [3, 0, 1, 2]


@pytest.mark.parametrize("scheme", ["zscore", "percentile"])
@pytest.mark.parametrize("value", [0, 7, -1e38])
def test_one_value_everywhere_is_zero(scheme: str, value: float) -> None:
    assert not normalise(np.full((4, 4, 4), value, np.float32), SCHEMES[scheme]).any()


def test_double_precision_is_kept_only_where_single_would_lose_the_contrast() -> None:
    fine = scan().astype(np.float64)
    assert to_single(fine).dtype == np.float32
    assert to_single(fine * 1e9).dtype == np.float32
    assert to_single(fine + 1e15).dtype == np.float64
    with_hole = fine + 1e15
    with_hole[0, 0, 0] = 0
    assert to_single(with_hole).dtype == np.float64
    overflowing = to_single(fine * np.where(fine > 150, 1e300, 1.0))
    assert np.isinf(overflowing).sum() == (fine > 150).sum() > 0
    assert np.isnan(to_single(np.full((2, 2, 2), np.nan))).all()
    assert np.isinf(to_single(np.full((2, 2, 2), 1e300))).all()
    assert to_single(np.zeros((2, 2, 2))).dtype == np.float32


def test_a_file_of_large_doubles_is_read_without_losing_its_contrast() -> None:
    fine = scan().astype(np.float64) + 1e12
    volume = volume_from_itk(SimpleITK.GetImageFromArray(fine), "scan.mha")
    np.testing.assert_allclose(
        normalise(volume.array, SCHEMES["zscore"]), by_hand(scan(), "zscore"), atol=1e-3
    )
