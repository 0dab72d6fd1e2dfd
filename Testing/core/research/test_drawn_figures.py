"""What the figures show, and where in them; and the spread over seeds in a table."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from MorseCore.commands.demo_figure import draw_slices
from MorseCore.field import Field
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.preparation import Preparation, normalise
from MorseCore.result import RenderedPoints, Segmentation, Structure
from Training.research.figures import GateMaps, draw_gates, gate_maps
from Training.research.study.results import RowResult

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


def test_the_deviation_over_seeds_is_that_of_a_sample() -> None:
    row = RowResult({}, {"dice": [0.8, 0.9, 1.0], "asd": [2.0, 4.0], "hd95": [1.0]}, 0, 0.0)
    assert row.sd("dice") == pytest.approx(0.1)  # sqrt(0.02 / 2), not sqrt(0.02 / 3)
    assert row.sd("asd") == pytest.approx(2**0.5)
    assert row.sd("hd95") is None
