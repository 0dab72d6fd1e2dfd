"""A prediction that comes in slabs gives what the whole one gives, and holds no more."""

import numpy as np
import pytest
import torch

from MorseCore.geometry import Geometry
from MorseCore.images.inverse_resampling import to_input_grid_labels, to_input_grid_scalar
from MorseCore.images.lazy import LazyImage
from MorseCore.images.preparation import Preparation, measure_intensity, normalise
from MorseCore.images.slabs import SlabRestorer, can_come_in_slabs
from MorseCore.inference.assembly import Assembler, Placement
from MorseCore.inference.options import WindowSettings
from MorseCore.inference.sliding_window import join, predict_slabs, predict_volume
from MorseCore.renderers import RefineConfig
from MorseCore.result import Structure
from MorseCore.store.model_folder import WindowConfig
from networks import make_network
from turned_grids import centred, turned

MODEL = centred((13, 14, 15), (1.5, 1.5, 1.5), np.eye(4))
QUARTER = [[0.0, -1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]
SCANS = {
    "the same": MODEL,
    "finer": centred((24, 25, 21), (0.8, 0.9, 1.0), np.eye(4)),
    "thick slices": centred((4, 20, 22), (1.0, 1.0, 5.0), np.eye(4)),
    "upside down": centred((20, 18, 16), (1.0, 1.1, 1.2), np.diag([1.0, -1, -1, 1])),
    "lying": centred((17, 22, 19), (1.1, 1.2, 1.3), np.array(QUARTER)),
    "a part": centred((5, 5, 5), (0.7, 0.7, 0.7), np.eye(4)),
    "beyond": centred((40, 9, 9), (2.0, 2.0, 2.0), np.eye(4)),
}
CUTS = [(13,), (1, 12), (4, 5, 4), (1,) * 13]


def scores() -> torch.Tensor:
    """(4, K, J, I) soft blobs of probability."""
    noise = torch.randn(1, 4, 4, 4, 4, generator=torch.Generator().manual_seed(0)) * 3
    return torch.nn.functional.interpolate(noise, MODEL.shape, mode="trilinear")[0].softmax(0)


@pytest.mark.parametrize("cuts", CUTS, ids=str)
@pytest.mark.parametrize("scan", SCANS.values(), ids=list(SCANS))
def test_slabs_fill_the_scan_as_the_whole_map_does(scan: Geometry, cuts: tuple[int, ...]) -> None:
    probabilities = scores()
    restorer, first = SlabRestorer(MODEL, scan), 0
    for rows in cuts:
        part = probabilities[:, first : first + rows]
        restorer.add(first, {"mask": part}, {"first class": part[0]})
        first += rows
    grids = {"model_geometry": MODEL, "input_geometry": scan}
    expected = to_input_grid_labels(probabilities, **grids)
    assert np.array_equal(restorer.maps["mask"], expected)
    assert len(np.unique(expected)) == 4
    np.testing.assert_allclose(
        restorer.maps["first class"], to_input_grid_scalar(probabilities[0], **grids), atol=1e-5
    )


def test_a_tilted_scan_takes_the_whole_map_only() -> None:
    tilted = centred((20, 20, 20), (1.0, 1.0, 1.0), turned(20, 1))
    assert not can_come_in_slabs(MODEL, tilted)
    assert all(can_come_in_slabs(MODEL, scan) for scan in SCANS.values())
    restorer = SlabRestorer(MODEL, tilted)
    restorer.add(0, {"mask": scores()}, {})
    expected = to_input_grid_labels(scores(), model_geometry=MODEL, input_geometry=tilted)
    assert np.array_equal(restorer.maps["mask"], expected)


def volume(rows: int = 21) -> torch.Tensor:
    return torch.randn(rows, 18, 11, generator=torch.Generator().manual_seed(3))


def ask(dims: int, image: torch.Tensor, scale: int, batch: int) -> dict:
    window = (8, 16, 8) if dims == 3 else (16, 8)
    return {
        "network": make_network("unet3d" if dims == 3 else "unet", dims=dims), "volume": image,
        "settings": WindowSettings(
            window, RefineConfig(points=40).build(), WindowConfig(overlap=0.5, batch=batch),
            scale=scale,
        ),
    }  # fmt: skip


def own(part):
    """A part that outlives the next one."""
    copied = {n: torch.tensor(getattr(part, n).numpy()) for n in ("coarse", "refined", "rendered")}
    return type(part)(**copied, windows=part.windows, evaluations=part.evaluations,
                      first=part.first)  # fmt: skip


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("rows", "scale", "batch"), [(21, 1, 1), (21, 2, 3), (5, 1, 2)])
def test_parts_joined_are_the_whole(dims: int, rows: int, scale: int, batch: int) -> None:
    options = ask(dims, volume(rows), scale, batch)
    parts = [own(part) for part in predict_slabs(**options)]
    whole, joined = predict_volume(**options), join(parts)
    assert torch.allclose(joined.coarse, whole.coarse, atol=1e-6)
    assert torch.allclose(joined.refined, whole.refined, atol=1e-6)
    assert torch.equal(joined.rendered, whole.rendered)
    assert (joined.windows, joined.evaluations) == (whole.windows, whole.evaluations)
    firsts = np.cumsum([0] + [part.coarse.shape[1] for part in parts])
    assert [part.first for part in parts] == firsts[:-1].tolist()


def test_no_part_has_more_rows_than_a_window() -> None:
    longest = {}
    for rows in (21, 60):
        parts = list(predict_slabs(**ask(3, volume(rows), 2, 1)))
        assert len(parts) > 2
        longest[rows] = max(part.coarse.untyped_storage().nbytes() for part in parts)
    assert longest[21] == longest[60] == 3 * 16 * 36 * 22 * 4  # classes, rows, columns, bytes


@pytest.mark.parametrize("scan", ["the same", "lying"])
@pytest.mark.parametrize("piece", [1, 3 * 18 * 11, 10**9])  # voxels: a row, three rows, a slab
def test_a_segmentation_from_slabs_is_that_from_the_whole(
    scan: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("MorseCore.inference.assembly.MAX_LISTED_POINTS", 60)
    model = centred((21, 18, 11), (1.5, 1.5, 1.5), np.eye(4))
    part = SCANS[scan] if scan != "the same" else model
    place = Placement(model, part, part, (0, 0, 0), 3)
    structures = [Structure(n, f"S{n}", (1.0, 0.0, 0.0)) for n in (1, 2)]
    options, found = ask(3, volume(), 1, 1), []
    for parts, voxels in (([predict_volume(**options)], 10**9), (predict_slabs(**options), piece)):
        monkeypatch.setattr("MorseCore.inference.assembly._PIECE", voxels)
        assembler = Assembler(place, structures)
        assert assembler.takes_slabs
        for slab in parts:
            assembler.add(slab)
        found.append((assembler, assembler.result()))
    (one, whole), (two, slabs) = found
    assert np.array_equal(whole.coarse, slabs.coarse)
    assert np.array_equal(whole.refined, slabs.refined)
    np.testing.assert_allclose(whole.uncertainty, slabs.uncertainty, atol=1e-5)
    assert len(whole.points) == 60
    np.testing.assert_array_equal(whole.points.positions, slabs.points.positions)
    np.testing.assert_array_equal(whole.points.refined_label, slabs.points.refined_label)
    assert one.attention == two.attention
    assert one.rendered_voxels == two.rendered_voxels > 0
    assert whole.report == slabs.report


def test_what_is_no_number_is_not_taken_for_a_class() -> None:
    bad = own(predict_volume(**ask(3, volume(), 1, 1)))
    bad.refined[1, 3, 3, 3] = float("nan")
    place = Placement(*[centred((21, 18, 11), (1.0, 1.0, 1.0), np.eye(4))] * 3, (0, 0, 0), 3)
    with pytest.raises(ValueError, match="no number"):
        Assembler(place, []).add(bad)


@pytest.mark.parametrize("rule", ["zscore", "range"])
def test_a_lazy_image_reads_as_the_normalised_one(rule: str) -> None:
    scan = np.random.default_rng(0).normal(100, 40, (9, 8, 7)).astype(np.int16)[:, ::-1]
    preparation = Preparation((4, 4, 4), normalisation=rule, intensity_range=(50.0, 170.0))
    image = LazyImage(scan, measure_intensity(scan, preparation))
    expected = normalise(scan, preparation)
    assert image.shape == (9, 8, 7)
    assert np.array_equal(image[2:5, 1:8, :3].numpy(), expected[2:5, 1:8, :3])
    assert np.array_equal(image[3].numpy(), expected[3])
    clipped = scan.astype(np.float64).clip(
        *(np.percentile(scan, (0.5, 99.5)) if rule == "zscore" else (50, 170))
    )
    wanted = (
        (clipped - clipped.mean()) / clipped.std() if rule == "zscore" else (clipped - 110) / 60
    )
    np.testing.assert_allclose(expected, wanted, atol=1e-5)


def test_intensities_of_a_large_image_are_measured_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan = np.random.default_rng(0).normal(100, 40, (9, 8, 7)).astype(np.float32)
    preparation = Preparation((4, 4, 4))
    whole = measure_intensity(scan, preparation)
    for size in (scan.nbytes // 4, 1):
        monkeypatch.setattr("MorseCore.images.preparation._PIECE", size)
        pieces = measure_intensity(scan, preparation)
        assert pieces.shift == pytest.approx(whole.shift, rel=1e-12)
        assert pieces.scale == pytest.approx(whole.scale, rel=1e-12)
