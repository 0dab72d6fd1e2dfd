"""``figures.py``: rendered points over the masks, and the gates of a head, where they belong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from MorseCore.commands.demo_figure import draw_slices
from MorseCore.config import decode
from MorseCore.field import Field
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.preparation import Preparation, normalise
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.network import NetworkConfig
from MorseCore.points import grid_coords, pixel_axes
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import read_model, write_model
from networks import IMPLICIT, make_image, make_network
from Training.research.figures import GateMaps, draw_gates, gate_maps
from training_runs import script

SHAPE = (6, 8, 12)  # (K, J, I)


def volume_of(shape: tuple[int, int, int]) -> Volume:
    """Every voxel has another value; axes are the patient's."""
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Volume(array, Geometry(shape, np.eye(4)), "a scan")


class SlopedGates(Field):
    """Two gates whose shares rise along x, less along y, and least along z; one bright slice."""

    batch = 1
    device = torch.device("cpu")
    slopes = torch.tensor([0.3, 0.1, 0.05])
    bright = 4

    def __init__(self, size: tuple[int, ...]) -> None:
        self.size = size

    def coarse(self, coords: torch.Tensor) -> torch.Tensor:
        inside = torch.ones_like(coords[..., 0])
        if len(self.size) == 3:
            inside = 1 - 2 * ((coords[..., 2] + 1) * 3 - 0.5 - self.bright).abs()
        return torch.stack([-inside, inside], dim=-1)

    def logits(self, coords: torch.Tensor) -> torch.Tensor:
        return self.coarse(coords)

    def gates(self, coords: torch.Tensor) -> torch.Tensor:
        first = 0.5 + (coords * self.slopes[: coords.shape[-1]]).sum(-1)
        return torch.stack([first, 1 - first], dim=-1)

    def memory(self) -> int:
        return 0


@pytest.mark.parametrize("dims", [2, 3])
def test_a_gate_map_holds_at_row_j_and_column_i_the_share_of_that_pixel(dims: int) -> None:
    shape = SHAPE if dims == 3 else (1, *SHAPE[1:])
    preparation = Preparation(shape[::-1][:dims])  # one window, as large as the image
    predictor = SimpleNamespace(
        info=SimpleNamespace(
            name="sloped", preparation=preparation, field_of_view=None, modality="any"
        ),
        device=torch.device("cpu"),
        network=lambda image, to_source: SlopedGates(tuple(image.shape[2:])),
    )
    maps = gate_maps(predictor, volume_of(shape))  # type: ignore[arg-type]
    x, y = ((2 * np.arange(n) + 1) / n - 1 for n in (12, 8))
    expected = 0.5 + 0.3 * x[None] + 0.1 * y[:, None]
    if dims == 3:  # the centre of slice 4 of 6
        expected += 0.05 * 0.5
    np.testing.assert_allclose(maps.gates, [expected, 1 - expected], atol=1e-6)
    bright = SlopedGates.bright if dims == 3 else 0
    scan = normalise(volume_of(shape).array, preparation)
    np.testing.assert_allclose(maps.image, scan[bright], atol=1e-6)  # it lies as the gates do
    assert maps.labels.all()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What matplotlib drew, by method: the axes, what it made, and the options."""
    calls: dict[str, list[Any]] = {"imshow": [], "scatter": []}
    for name, seen in calls.items():
        monkeypatch.setattr(Axes, name, recorded(getattr(Axes, name), seen))
    return calls


def recorded(draw: Callable[..., Any], seen: list[Any]) -> Callable[..., Any]:
    def draw_and_record(axes: Axes, *args: Any, **how: Any) -> Any:
        made = draw(axes, *args, **how)
        seen.append((axes, made, how))
        return made

    return draw_and_record


def test_the_gates_are_drawn_in_their_order_with_the_first_row_at_the_bottom(
    drawn: dict[str, list[Any]], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 12), np.int64)
    labels[2:5, 3:9] = 1
    maps = GateMaps(rng.random((8, 12)), labels, rng.random((2, 8, 12)), aspect=1.0)
    draw_gates(maps, tmp_path / "gates.png")
    for (_, picture, how), wanted in zip(drawn["imshow"], [maps.image, *maps.gates], strict=True):
        np.testing.assert_array_equal(picture.get_array(), wanted)
        assert how["origin"] == "lower"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_point_is_drawn_over_its_own_voxel_in_the_slice_that_holds_it(
    axis: int, drawn: dict[str, list[Any]], tmp_path: Path
) -> None:
    at = 3
    labels = np.zeros(SHAPE, np.uint8)  # a plate across the axis, so that the slice is its own
    labels[tuple(at if n == axis else slice(None) for n in range(3))] = 1
    voxels = [(10, 5, 2), (4, 7, 1), (9, 1, 4), (7, 6, 5)]  # (i, j, k)
    inside = [tuple(at if 2 - n == axis else v for n, v in enumerate(p)) for p in voxels[:3]]
    beyond = tuple(at + 1 if 2 - n == axis else v for n, v in enumerate(voxels[3]))
    found = np.array([*inside, beyond], np.int32)
    one, sure = np.ones(4, np.int32), np.ones(4, np.float32)
    doubt = np.array([0.9, 0.5, 0.2, 0.7], np.float32)
    points = RenderedPoints(found.astype(float), found, doubt, one, one, sure, sure)
    volume, structure = volume_of(SHAPE), Structure(1, "plate", (1.0, 0.0, 0.0))
    result = Segmentation(
        volume.geometry, [structure], labels, labels, np.zeros(SHAPE, np.float32), points
    )
    draw_slices(volume, result, tmp_path / "points.png")
    x_axis, y_axis = [n for n in range(3) if n != 2 - axis]  # of (i, j, k)
    axes, made, how = drawn["scatter"][axis]
    assert made.get_offsets().tolist() == [[p[x_axis], p[y_axis]] for p in inside]
    np.testing.assert_allclose(how["c"], [0.9, 0.5, 0.2], rtol=1e-6)
    picture = axes.get_images()[0]
    left, _, bottom, _ = picture.get_extent()
    for (i, j, k), (x, y) in zip(inside, made.get_offsets(), strict=True):
        assert picture.get_array()[int(y - bottom), int(x - left)] == volume.array[k, j, i]


def figures(*words: object) -> int:
    return script("figures").main([*map(str, words), "--device", "cpu"])


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def model_with(head: dict, folder: Path, *, dims: int = 3) -> Path:
    """A model folder with random weights."""
    name = "phantom-tiny" if dims == 3 else "phantom-tiny-2d"
    info = read_model(find_model(name))
    data = {"spatial_dims": dims, "backbone": {"name": "unet3d", "channels": [4, 6, 8]},
            "head": head}  # fmt: skip
    config = decode(NetworkConfig, data, "")
    torch.manual_seed(1)
    weights = config.build(num_classes=info.num_classes).state_dict()
    write_model(folder, replace(info, network=config), weights, card="# Random\n")
    return folder


def test_the_points_are_drawn(scan: Path, tmp_path: Path) -> None:
    assert figures("points", "phantom-tiny", scan, "--output", tmp_path / "points.png") == 0
    assert is_picture(tmp_path / "points.png")


def test_a_model_that_finds_nothing_is_drawn_all_the_same(scan: Path, tmp_path: Path) -> None:
    model = model_with({"name": "plain"}, tmp_path / "model")
    assert figures("points", model, scan, "--output", tmp_path / "points.png") == 0
    assert is_picture(tmp_path / "points.png")


@pytest.mark.parametrize("head", ["morse", "i2net", "i2net_points"])
def test_the_gates_are_drawn(scan: Path, tmp_path: Path, head: str) -> None:
    model = "phantom-tiny"
    if head != "morse":
        model = str(model_with(IMPLICIT[head], tmp_path / "model"))
    assert figures("gates", model, scan, "--output", tmp_path / "gates.png") == 0
    assert is_picture(tmp_path / "gates.png")


def test_gates_of_a_head_without_any_are_refused_in_one_sentence(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_with({"name": "plain"}, tmp_path / "model")
    assert figures("gates", model, scan, "--output", tmp_path / "gates.png") == 2
    assert "has no gates to draw." in capsys.readouterr().err
    assert not (tmp_path / "gates.png").exists()


@pytest.mark.parametrize("dims", [2, 3])
def test_gate_maps_are_the_shares_on_the_slice_with_most_foreground(
    scan: Path, dims: int, predictor: VolumePredictor, slice_predictor: VolumePredictor
) -> None:
    volume = read_volume(scan)
    maps = script("figures").gate_maps(predictor if dims == 3 else slice_predictor, volume)
    assert maps.gates.shape[1:] == maps.image.shape == maps.labels.shape
    np.testing.assert_allclose(maps.gates.sum(0), 1, atol=1e-5)
    assert np.ptp(maps.gates[0]) > 0
    assert maps.labels.any()
    # Only what the scan shows: neither the padding of a window nor another slice.
    inside = (volume.array - volume.array.mean()) / volume.array.std()
    assert maps.image.shape <= volume.array.shape[1:]
    assert maps.image.min() >= inside.min() - 0.1


@pytest.mark.parametrize("head", ["morse", "moe", "iar+moe"])
def test_the_gates_of_experts_are_the_weights_of_the_mixture(head: str) -> None:
    network = make_network(head=head, dims=2)
    with torch.no_grad():
        field = network(make_image(2))
        coords = grid_coords(pixel_axes((3, 5))).expand(2, -1, -1)
        gates = field.gates(coords)
    torch.testing.assert_close(gates, field.features.weights(coords))
    torch.testing.assert_close(gates.sum(-1), torch.ones(2, 15))


@pytest.mark.parametrize("head", ["plain", "iar", "pointrend", "swipe"])
def test_a_head_without_experts_has_no_gates(head: str) -> None:
    with torch.no_grad():
        field = make_network(head=head, dims=2)(make_image(2))
        assert field.gates(torch.zeros(2, 1, 2)) is None
