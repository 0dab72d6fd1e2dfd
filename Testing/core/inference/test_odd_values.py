"""Scans with odd values, segmented: by arrays as Slicer and Python send them."""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from MorseCore.errors import DeviceError, GeometryError, ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.roi import parse_roi
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.report import unit_warning
from MorseCore.metrics.scores import overlap
from MorseCore.training.phantoms import make_phantom

SEED = 27  # its ball and rod leave the slices from 19 on empty
SLAB = np.s_[19:]
KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mr": lambda image: 400 * image + 500,
    "ct": lambda image: (200 * image - 100).astype(np.float32),
}


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray]:
    return make_phantom(SEED, shape=(24, 24, 24))


def as_volume(array: np.ndarray, step: float = 1.0) -> Volume:
    return Volume(array, Geometry(array.shape, np.diag([step, step, step, 1.0])), "scan")


def dice(mask: np.ndarray, labels: np.ndarray) -> list[float]:
    return [overlap(mask == value, labels == value)[0] for value in (1, 2)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outlier", [-32768.0, 32767.0, None])
def test_a_slab_without_values_beside_an_outlier_costs_nearly_nothing(
    predictor, phantom, kind: str, outlier: float | None
) -> None:
    image, labels = phantom
    assert not labels[SLAB].any()
    scan = KINDS[kind](image)
    plain = dice(predictor.segment(as_volume(scan)).refined, labels)
    spoilt = scan.copy()
    spoilt[SLAB] = np.nan
    if outlier is not None:
        spoilt[0, 0, 0] = outlier
    result = predictor.segment(as_volume(spoilt))
    found = dice(result.refined, labels)
    assert min(plain) > 0.85
    assert all(b > a - 0.05 for a, b in zip(plain, found, strict=True)), (plain, found)
    [sentence] = result.report["warnings"]
    assert "2,880 of 13,824 voxels (20.8 %) have no value" in sentence


def test_a_slab_without_values_of_a_slice_s_model_is_found_empty(slice_predictor) -> None:
    image, labels = make_phantom(3, shape=(32, 32))
    scan = np.stack([image] * 5)
    plain = slice_predictor.segment(as_volume(scan)).refined
    scan[3:] = np.nan
    result = slice_predictor.segment(as_volume(scan)).refined
    assert dice(result[0], labels) == pytest.approx(dice(plain[0], labels), abs=0.05)
    assert not result[3:].any()


def test_values_are_measured_inside_the_region_alone(predictor, phantom) -> None:
    image, _ = phantom
    options = PredictOptions(roi=parse_roi("ijk:0,23,0,23,0,18"))
    plain = predictor.segment(as_volume(image), options)
    spoilt = image.copy()
    spoilt[SLAB] = np.nan
    spoilt[20, 0, 0] = -32768
    result = predictor.segment(as_volume(spoilt), options)
    assert np.array_equal(plain.refined, result.refined)
    assert result.report["warnings"] == plain.report["warnings"]
    with pytest.raises(ImageError, match="Inside the region no voxel has a value"):
        predictor.segment(as_volume(spoilt), PredictOptions(roi=parse_roi("ijk:0,9,0,9,21,23")))


def test_what_was_accepted_stays_in_the_report(predictor, phantom) -> None:
    spoilt = phantom[0].copy()
    spoilt[:13] = np.nan
    with pytest.raises(ImageError, match="more than half"):
        predictor.segment(as_volume(spoilt))
    report = predictor.segment(as_volume(spoilt), PredictOptions(accept=("missing-values",))).report
    assert report["parameters"]["accept"] == ["missing-values"]
    assert "(accepted: missing-values)" in report["warnings"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(np.float64) * 1e-300,
        lambda x: (x * 1e38).astype(np.float32),
        lambda x: (x * 1e-42).astype(np.float32),
        lambda x: x.astype(np.float64) + 1e12,
        lambda x: (x * 1e6).astype(np.int64) + 2**40,
        lambda x: (x * 1e6 + 1e7).astype(np.uint64),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype(">f4"),
        np.asfortranarray,
    ],
    ids=["1e-300", "1e38", "denormal", "1e12", "int64", "uint64", "half", "long", "big", "fortran"],
)  # fmt: skip
def test_an_odd_type_or_magnitude_changes_nothing(
    predictor, phantom, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    image, labels = phantom
    plain = predictor.segment(as_volume(image)).refined
    result = predictor.segment(as_volume(change(image)))
    assert result.report["warnings"] == []
    assert dice(result.refined, labels) == pytest.approx(dice(plain, labels), abs=0.02)


@pytest.mark.parametrize("shape", [(1, 24, 24), (24, 1, 24), (24, 24, 1)])
def test_one_slice_is_segmented_by_a_3d_model_with_a_warning(
    predictor, phantom, shape: tuple[int, int, int]
) -> None:
    k, j, i = shape
    result = predictor.segment(as_volume(phantom[0][:k, :j, :i].copy()))
    assert result.refined.shape == shape
    assert any("the image is one slice" in text for text in result.report["warnings"])


def test_voxels_of_60_mm_are_refused_before_the_work(predictor, phantom, monkeypatch) -> None:
    monkeypatch.setattr("MorseCore.inference.ready_scan.prepare_scan", None)
    with pytest.raises(GeometryError, match="60 x 60 x 60 mm, and the model sees 1 x 1 x 1 mm"):
        predictor.segment(as_volume(phantom[0], 60.0))


def test_memory_is_compared_before_anything_is_resampled(
    predictor, phantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("MorseCore.inference.ready_scan.prepare_scan", None)
    monkeypatch.setattr("MorseCore.system.memory.physical_memory", lambda: 1 << 32)
    options = PredictOptions(accept=("spacing",))
    with pytest.raises(
        DeviceError, match=r"at least [\d.,]+ GiB of memory.*4\.0 GiB.*--accept memory"
    ):
        predictor.segment(as_volume(phantom[0][:12, :12, :12], 100.0), options)


def test_memory_that_is_said_to_be_enough_is_believed(
    predictor, phantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("MorseCore.system.memory.physical_memory", lambda: 1 << 10)
    report = predictor.segment(as_volume(phantom[0]), PredictOptions(accept=("memory",))).report
    assert "(accepted: memory)" in report["warnings"][0]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's overcommitment")
def test_a_window_beyond_the_free_memory_is_a_sentence_and_not_the_end(
    predictor, phantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("MorseCore.system.memory.available_memory", lambda: 1 << 27)
    monkeypatch.setattr("MorseCore.system.memory._meminfo", lambda name: 0)
    preparation = replace(predictor.info.preparation, window=(256, 256, 256))
    monkeypatch.setattr(predictor, "info", replace(predictor.info, preparation=preparation))
    with pytest.raises(DeviceError, match="too small for this run"):
        predictor.segment(as_volume(phantom[0]))


def test_a_ct_without_a_negative_value_is_asked_about(predictor, phantom) -> None:
    preparation = replace(predictor.info.preparation, normalisation="range")
    info = replace(predictor.info, modality="CT", preparation=preparation)
    assert "No voxel of the image lies below 0" in unit_warning(as_volume(phantom[0] + 1000), info)
    assert unit_warning(as_volume(phantom[0] - 1000), info) == ""
    assert unit_warning(as_volume(phantom[0] + 1000), predictor.info) == ""


def test_slices_far_apart_are_no_fault_of_the_model(slice_predictor, phantom) -> None:
    matrix = np.diag([1.0, 0.5, 1e5, 1.0])
    volume = Volume(phantom[0][:, :3, :7].copy(), Geometry((24, 3, 7), matrix), "scan")
    with pytest.raises(GeometryError, match="more than a kilometre"):
        slice_predictor.segment(volume)
