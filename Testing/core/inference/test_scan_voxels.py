"""Points at the scan's own voxels: each says what the field says there, and the rest is plain."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from cli_client import phantom_volume
from MorseCore.config import decode, encode
from MorseCore.errors import ConfigError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.modelgrid import model_grid
from MorseCore.images.resampling import ObliqueInterpolator
from MorseCore.images.roi import Roi
from MorseCore.inference import predictor as predicting
from MorseCore.inference.assembly import coarser
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.scan_voxels import FieldPoints, find_undecided
from MorseCore.inference.session import Session
from MorseCore.inference.sliding_window import KeptFields
from MorseCore.renderers import RefineConfig
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import ModelInfo, read_model, write_model
from MorseCore.training.phantoms import make_phantom
from networks import HEADS, make_network

MARGIN = 0.4
EXACT = PredictOptions(precision="fp32", verdict="off")


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> VolumePredictor:
    """A backbone at half of the resolution, and points that read the image at the scan's voxels."""
    info = read_model(find_model("phantom-tiny"))
    network = make_network("unet3d", "iar+moe_image", classes=info.num_classes, stride=2)
    data = encode(info)
    data["network"] |= {
        "backbone_stride": 2, "head": HEADS["iar+moe_image"],
        "backbone": {"name": "unet3d", "channels": [4, 6, 8]},
    }  # fmt: skip
    data["renderer"] = {
        "name": "refine", "points": 10**6, "passes": 1, "certain_margin": MARGIN, "voxels": "scan",
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("native") / "native"
    write_model(folder, decode(ModelInfo, data, ""), network.state_dict(), card="# Random\n")
    return VolumePredictor(folder, device="cpu")


def turned(degrees: float, spacing: tuple[float, float, float]) -> np.ndarray:
    a = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    matrix[:3, :3] *= spacing
    matrix[:3, 3] = (-40.0, 12.0, 7.0)
    return matrix


GRIDS = {
    "upright": np.eye(4),
    "other spacing": turned(0.0, (0.7, 0.9, 1.3)),
    "from right to left": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "tilted": turned(14.0, (0.9, 0.9, 1.1)),
}


def said_by_the_fields(
    predictor: VolumePredictor, kept: KeptFields, scan: Geometry, voxels: Geometry
) -> tuple[torch.Tensor, torch.Tensor]:
    """Coarse and refined logits (N, C) at the centres of voxels, each from the nearest window."""
    _, grid = model_grid(scan, spacing=predictor.info.preparation.spacing_xyz)
    size = torch.tensor(predictor.info.preparation.window_size)
    index = np.stack(np.indices(voxels.shape)[::-1], axis=-1).reshape(-1, 3)
    fine = torch.from_numpy(grid.to_index(voxels.to_world(index.astype(float)))[:, ::-1].copy())
    last = torch.tensor(coarser(grid, 2).shape) * 2.0
    fine = fine.maximum(torch.tensor(0.5)).minimum(last - 1.5)  # beyond the map stands its edge
    windows = [(2 * torch.tensor(start), field) for start, field in kept.windows()]
    away = torch.stack(
        [((fine - start - (size - 1) / 2) / size).abs().amax(1) for start, _ in windows]
    )
    both = torch.zeros(2, len(fine), predictor.info.num_classes)
    for n, (start, field) in enumerate(windows):
        own = away.argmin(0) == n
        coords = ((2 * (fine[own] - start) + 1) / size - 1).flip(1).float()[None]
        with torch.inference_mode():
            both[0, own], both[1, own] = field.coarse(coords)[0], field.logits(coords)[0]
    return both[0], both[1]


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("name", list(GRIDS))
def test_every_voxel_says_what_the_field_says_at_its_centre(
    native: VolumePredictor, name: str, scale: int
) -> None:
    image, _ = make_phantom(35, shape=(22, 25, 27))
    scan = Volume(image, Geometry(image.shape, GRIDS[name]), "phantom")
    kept = KeptFields(native.info.grid_window, limit=10**9)
    result = native.segment(scan, replace(EXACT, scale=scale), kept=kept)
    assert result.geometry.shape == tuple(scale * n for n in image.shape)
    coarse, refined = said_by_the_fields(native, kept, scan.geometry, result.geometry)
    first, second = coarse.topk(2, dim=1).values.unbind(1)
    lead = first - second
    assert 0.05 < float((lead < MARGIN).float().mean()) < 0.95  # both kinds are there
    # At the edge of a window the coarse map is blended, and rounding decides what is level.
    is_plain = ((lead - MARGIN).abs() > 1e-3) & (lead > 1e-3) if len(kept.windows()) == 1 else None
    expected = torch.where(lead < MARGIN, refined.max(1).indices, coarse.max(1).indices).numpy()
    same = result.refined.ravel() == expected
    if is_plain is not None:
        assert same[is_plain.numpy()].all()
        labels = coarse.max(1).indices.numpy()
        assert (result.coarse.ravel() == labels)[is_plain.numpy()].all()
    assert same.mean() > (0.999 if is_plain is not None else 0.95)
    assert (result.coarse != result.refined).any()


def test_points_are_voxels_of_the_scan_and_the_report_counts_them(native: VolumePredictor) -> None:
    scan = phantom_volume(35, GRIDS["other spacing"])
    result = native.segment(scan, EXACT)
    points = result.points
    np.testing.assert_allclose(
        points.positions, scan.geometry.to_world(points.indices.astype(float))
    )
    k, j, i = points.indices.T[::-1]
    np.testing.assert_array_equal(points.coarse_label, result.coarse[k, j, i])
    np.testing.assert_array_equal(points.refined_label, result.refined[k, j, i])
    np.testing.assert_allclose(points.uncertainty, result.uncertainty[k, j, i])
    assert (np.diff(points.uncertainty) <= 0).all()
    assert result.report["points"]["rendered_voxels"] == len(points)
    changed = np.argwhere(result.coarse != result.refined)[:, ::-1]
    assert {tuple(v) for v in changed} <= {tuple(v) for v in points.indices}


def test_the_volumes_by_probability_are_those_of_the_points(native: VolumePredictor) -> None:
    scan = phantom_volume()
    kept = KeptFields(native.info.grid_window, limit=10**9)
    result = native.segment(scan, EXACT, kept=kept)
    coarse, refined = said_by_the_fields(native, kept, scan.geometry, scan.geometry)
    first, second = coarse.topk(2, dim=1).values.unbind(1)
    open_ = first - second < MARGIN
    gain = (refined.softmax(1) - coarse.softmax(1))[open_].sum(0) / 1000
    for row in result.report["structures"]:
        found = row["refined_probability_ml"] - row["coarse_probability_ml"]
        assert found == pytest.approx(float(gain[row["value"]]), abs=2e-4)


def test_fields_that_are_too_large_to_keep_are_computed_again(
    native: VolumePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, _ = make_phantom(3, shape=(40, 30, 27))
    scan = Volume(image, Geometry(image.shape, np.eye(4)), "phantom")
    first = native.segment(scan, EXACT)
    assert first.report["windows"] > 1
    monkeypatch.setattr(predicting, "_FIELDS", 0)
    again = native.segment(scan, EXACT)
    np.testing.assert_array_equal(first.refined, again.refined)


def test_points_that_overflow_in_half_precision_are_asked_again_in_single(
    native: VolumePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on an older GPU; the coarse map itself is sound."""
    expected = native.segment(phantom_volume(), EXACT)
    ask, choose = FieldPoints._probabilities, predicting.resolve_precision

    def overflowing(self: FieldPoints, query: Any, coords: torch.Tensor) -> torch.Tensor:
        found = ask(self, query, coords)
        is_half = self._precision == "auto" and query.__name__ == "logits"
        return found * float("nan") if is_half else found

    monkeypatch.setattr(FieldPoints, "_probabilities", overflowing)
    monkeypatch.setattr(
        predicting, "resolve_precision",
        lambda device, precision: "fp16" if precision == "auto" else choose(device, precision),
    )  # fmt: skip
    result = native.segment(phantom_volume(), replace(EXACT, precision="auto"))
    assert any("computed again in single precision" in w for w in result.report["warnings"])
    np.testing.assert_array_equal(result.refined, expected.refined)


def test_a_region_and_a_second_question_lie_where_the_first_answer_lay(
    native: VolumePredictor,
) -> None:
    scan = phantom_volume(35, GRIDS["other spacing"])
    session = Session(native, scan, EXACT)
    whole = session.segment()
    i, j, k = (slice(6, 14), slice(5, 17), slice(8, 12))
    box = Roi((6.0, 5.0, 8.0), (14.0, 17.0, 12.0), "ijk")
    part = session.render(replace(EXACT, roi=box))
    np.testing.assert_array_equal(part.refined, whole.refined[k, j, i])
    np.testing.assert_array_equal(part.coarse, whole.coarse[k, j, i])
    finer = session.render(replace(EXACT, roi=box, scale=2))
    assert finer.refined.shape == (8, 24, 16)
    np.testing.assert_allclose(finer.geometry.spacing, np.array(scan.geometry.spacing) / 2)
    value = int(whole.structures[0].value)
    probability, grid = session.probability(value)
    assert max(grid.spacing) < 1.05  # mm, of the image that the model sees, not of its map
    assert 0 <= probability.min() <= probability.max() <= 1
    cut = native.segment(scan, replace(EXACT, roi=box))
    assert not cut.refined[: k.start].any()
    assert cut.points.indices[:, 2].min() >= k.start


def test_only_so_many_points_are_rendered_and_they_are_the_most_uncertain(
    native: VolumePredictor,
) -> None:
    scan = phantom_volume()
    every, few = native.segment(scan, EXACT), native.segment(scan, replace(EXACT, points=50))
    assert few.report["points"]["rendered_voxels"] == len(few.points) == 50
    np.testing.assert_allclose(few.points.uncertainty, every.points.uncertainty[:50], atol=1e-6)
    none = native.segment(scan, replace(EXACT, passes=0))
    assert not len(none.points)
    np.testing.assert_array_equal(none.refined, none.coarse)


def test_no_more_points_are_rendered_than_the_report_says_were_asked_for(
    native: VolumePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = phantom_volume()
    points = native.segment(scan, replace(EXACT, scale=2)).report["points"]
    assert math.prod(native.info.preparation.window) < points["evaluated"] <= points["asked"]
    share = replace(native.info.renderer, points_fraction=0.01)  # of the coarse map's voxels
    monkeypatch.setattr(native, "info", replace(native.info, renderer=share))
    points = native.segment(scan, EXACT).report["points"]
    assert (
        points["evaluated"] == points["asked"] == round(0.01 * math.prod(native.info.grid_window))
    )


def test_the_mirror_image_and_four_more_passes_are_asked_on_the_coarse_map(
    native: VolumePredictor,
) -> None:
    image, _ = make_phantom(35, shape=(23, 24, 21))  # odd sides: the last cell is half beyond
    scan = Volume(image, Geometry(image.shape, np.eye(4)), "phantom")
    result = native.segment(scan, replace(EXACT, verdict="full"))
    assert result.report["verdict"]["level"] in ("ok", "check", "implausible")
    assert len(result.disputed) == 3
    for part in result.disputed:  # on the coarse map's grid, also what the network saw
        assert part.image.shape == part.coarse.shape == part.other.shape == part.geometry.shape
        np.testing.assert_allclose(part.geometry.spacing, 2.0)
        assert (part.coarse != part.other).any()


def test_cells_are_plain_only_if_no_voxel_in_them_can_be_unsure() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = functional.interpolate(
        3 * torch.randn(1, 4, 4, 5, 4, generator=generator), size=(9, 12, 10), mode="trilinear"
    )[0]  # fmt: skip
    grid = Geometry((9, 12, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
    matrix = turned(9.0, (0.8, 0.9, 0.7))
    matrix[:3, 3] = (2.0, -1.0, 1.0)
    scan = Geometry((20, 31, 24), matrix)
    found = find_undecided(logits.softmax(0), grid, scan, margin=1.0)
    lookup = ObliqueInterpolator(grid, scan)
    box = (0, 0, 0), scan.shape
    dense = torch.stack([lookup.sample(channel.double(), box) for channel in logits])
    inside = lookup.inside(box)
    first, second = dense.topk(2, dim=0).values
    is_asked = torch.zeros(scan.shape, dtype=torch.bool)
    is_asked.view(-1)[found.index] = True
    assert not (is_asked & ~inside).any()
    plain = inside & ~is_asked
    assert plain.any()
    assert (first - second)[plain].min() >= 1.0 - 1e-4
    assert torch.equal(
        torch.from_numpy(found.labels.astype(np.int64))[plain], dense.max(0).indices[plain]
    )
    k, j, i = np.unravel_index(found.index.numpy(), scan.shape)
    places = grid.to_index(scan.to_world(np.stack([i, j, k], axis=1).astype(float)))[:, ::-1]
    limits = np.array(grid.shape) - 1
    np.testing.assert_allclose(found.places.numpy(), places.clip(0, limits), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"voxels": "scan"}, "The 'voxels' scan need a 'certain_margin' above 0"),
        ({"voxels": "here", "certain_margin": 1.0}, "'voxels' must be 'model' or 'scan'"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RefineConfig(**options)


def test_a_network_of_slices_has_no_points_at_the_scans_voxels(tmp_path: Path) -> None:
    data = encode(read_model(find_model("phantom-tiny-2d")))
    data["renderer"] = {"name": "refine", "certain_margin": 1.0, "voxels": "scan"}
    with pytest.raises(ConfigError, match="'voxels' scan are for networks of volumes"):
        decode(ModelInfo, data, "")
