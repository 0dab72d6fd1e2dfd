"""Turn what was predicted on the model's grid into a segmentation on the scan's own grid."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from MorseCore.geometry import Geometry
from MorseCore.images.grids import inside_source, nearest_voxels
from MorseCore.images.slabs import SlabRestorer, can_come_in_slabs
from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.brain import keep_one_piece, measure_brain
from MorseCore.metrics.comparison import compare_masks
from MorseCore.points import top_two
from MorseCore.result import RenderedPoints, Segmentation, Structure

__all__ = [
    "MAX_LISTED_POINTS",
    "Assembler",
    "Placement",
    "coarse_ml",
    "coarser",
    "finer",
    "finish",
    "uncertainty_of",
]

_PIECE = 1 << 21  # voxels of a slab that are worked on at once
MAX_LISTED_POINTS = 50_000  # worst first; a whole body would otherwise list millions


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a prediction belongs. All grids at the image's own resolution."""

    grid: Geometry
    """The model's grid."""
    part: Geometry
    """The part of the scan that was segmented."""
    whole: Geometry
    """The grid of the result: the scan's, or the part's."""
    start: tuple[int, int, int]
    """First voxel of the part in the whole, (K, J, I)."""
    spatial_dims: int
    scale: int = 1
    """The result is this many times finer, and so is the prediction, unless points are asked."""

    @property
    def corner(self) -> tuple[int, ...]:
        """First voxel of the part in the whole, at the result's resolution, (K, J, I)."""
        return _scaled(self.start, self.scale, self.spatial_dims)

    def fine(self, geometry: Geometry) -> Geometry:
        """A grid at the result's resolution."""
        return finer(geometry, self.scale, self.spatial_dims)


class Assembler:
    """Collects masks, uncertainty, points and what changed; outside of the part is background.

    Takes a prediction whole or in slabs (:func:`predict_slabs`) and keeps of each what the result
    needs, so that no map of probabilities is held.

    Example::

        assembler = Assembler(place, info.result_structures())
        for slab in predict_slabs(network, image, settings, rolling=assembler.takes_slabs):
            assembler.add(slab)
        segmentation = assembler.result()

    :param is_brain: the structures are a whole brain's, and all of the scan is segmented: pieces
        apart from the largest are no brain, and the volumes are measured.
    """

    def __init__(
        self, place: Placement, structures: Sequence[Structure], *, is_brain: bool = False
    ) -> None:
        self._place, self._structures, self._is_brain = place, structures, is_brain
        self._grid, self._part, self._whole = (
            place.fine(g) for g in (place.grid, place.part, place.whole)
        )
        self._restorer = SlabRestorer(self._grid, self._part)
        self._points: list[_Candidates] = []
        self._left = 0.0
        count = len(structures) + 1
        self._sums = {
            name: torch.zeros(count, dtype=torch.float64) for name in ("coarse", "refined")
        }
        self._foreground = self.windows = self.evaluations = self.rendered_voxels = 0

    @property
    def takes_slabs(self) -> bool:
        """Whether the prediction may come in slabs; else it has to be whole."""
        return can_come_in_slabs(self._grid, self._part)

    def add(self, part: GridPrediction) -> None:
        """Use the next rows of the model's grid.

        :raises ValueError: if a probability is no number.
        """
        if not (part.coarse.sum().isfinite() and part.refined.sum().isfinite()):
            raise ValueError("a probability is no number")
        for piece in _pieces(part) if self.takes_slabs else (part,):
            self._add(piece)
        self.windows += part.windows
        self.evaluations += part.evaluations

    def _add(self, part: GridPrediction) -> None:
        uncertainty = uncertainty_of(part.coarse)
        labels = {"coarse": part.coarse, "refined": part.refined}
        self._restorer.add(part.first, labels, {"uncertainty": uncertainty})
        inside = self._inside(part)
        rendered = part.rendered & inside
        self._keep_points(part, uncertainty, rendered)
        left = uncertainty if part.refined is part.coarse else uncertainty_of(part.refined)
        self._left += float(left[inside & (left > 0.2)].sum(dtype=torch.float64))
        self._foreground += int(((part.refined.max(0).indices > 0) & inside).sum())
        self.rendered_voxels += int(rendered.sum())
        self._sum_up(part, inside)

    def _sum_up(self, part: GridPrediction, inside: Tensor) -> None:
        """Add a slab's probabilities, by class: volumes that no voxel's vote rounds."""
        weights = inside.flatten().float()
        coarse = (part.coarse.flatten(1).float() @ weights).double()
        is_rendered = part.refined is not part.coarse
        self._sums["coarse"] += coarse
        self._sums["refined"] += (
            (part.refined.flatten(1).float() @ weights).double() if is_rendered else coarse
        )

    @property
    def attention(self) -> float:
        """How much a person should look at this case first: the uncertainty that rendering left.

        Sum of 1 - (largest - second largest probability) after rendering, over the voxels where it
        exceeds 0.2, divided by the number of foreground voxels.
        """
        return round(self._left / max(1, self._foreground), 4)

    def result(self) -> Segmentation:
        """The segmentation, once all rows were added; its maps are (K, J, I) of the whole."""
        points = _place_points(_worst(self._points), grid=self._grid, output=self._whole)
        voxel = self._grid.voxel_volume / 1000
        volumes = {name: sums.numpy() * voxel for name, sums in self._sums.items()}
        return finish(
            self._place, self._structures, self._restorer.maps, points, volumes,
            is_brain=self._is_brain,
        )  # fmt: skip

    def _inside(self, part: GridPrediction) -> Tensor:
        """Bool (K, J, I): which voxels of a slab lie in the scan.

        The upright grid around a tilted scan has voxels beside it, where nothing is segmented.
        """
        rows, j, i = part.rendered.shape
        grid = self._grid.crop((part.first, 0, 0), (part.first + rows, j, i))
        return torch.from_numpy(inside_source(self._part, grid))

    def _keep_points(self, part: GridPrediction, uncertainty: Tensor, rendered: Tensor) -> None:
        """Of the rendered voxels of a slab those that can be among the most uncertain of all."""
        _, j, i = rendered.shape
        flat = rendered.flatten().nonzero()[:, 0]
        values = uncertainty.flatten()[flat]
        order = values.argsort(descending=True, stable=True)[:MAX_LISTED_POINTS]
        flat, values = flat[order], values[order]
        coarse, refined = (x.flatten(1)[:, flat].max(0) for x in (part.coarse, part.refined))
        self._points.append(_Candidates(
            flat + part.first * j * i, values, coarse.indices, refined.indices, coarse.values,
            refined.values,
        ))  # fmt: skip
        if sum(len(c.flat) for c in self._points) > 4 * MAX_LISTED_POINTS:
            self._points = [_worst(self._points)]


def finish(
    place: Placement,
    structures: Sequence[Structure],
    maps: Mapping[str, np.ndarray],
    points: RenderedPoints,
    volumes: Mapping[str, np.ndarray],
    *,
    is_brain: bool,
) -> Segmentation:
    """Put the part that was segmented into the whole, and measure it.

    :param maps: ``coarse``, ``refined`` and ``uncertainty`` of the part, (K, J, I).
    :param points: with voxels of the whole.
    :param volumes: of ``coarse`` and ``refined`` (C,) ml, by integrated probability.
    :param is_brain: keep one piece, and measure the brain.
    """
    whole = place.fine(place.whole)
    if place.part.shape != place.whole.shape:
        maps = {name: _paste(values, whole.shape, place.corner) for name, values in maps.items()}
    report: dict[str, Any] = {}
    if is_brain:
        removed = keep_one_piece([maps["coarse"], maps["refined"]], whole)
        k, j, i = points.indices.T[::-1]
        places = np.ravel_multi_index((k, j, i), whole.shape)
        points = points.take(np.flatnonzero(~np.isin(places, removed)))
        report["brain"] = {"removed_ml": round(len(removed) * whole.voxel_volume / 1000, 3)}
    report["structures"] = changes = compare_masks(
        maps["coarse"], maps["refined"], geometry=whole, structures=structures
    )
    if is_brain:
        sizes = {row["value"]: row["refined_ml"] for row in changes}
        report["brain"] |= measure_brain(maps["refined"], sizes, structures)
    for row in changes:
        for name, ml in volumes.items():
            row[f"{name}_probability_ml"] = round(float(ml[row["value"]]), 4)
    return Segmentation(
        whole, tuple(structures), maps["coarse"], maps["refined"], maps["uncertainty"], points,
        report,
    )  # fmt: skip


def coarse_ml(probabilities: Tensor, place: Placement) -> np.ndarray:
    """(C,) ml of (C, K, J, I) on the placement's own grid, inside the scan: no vote rounds it."""
    weights = torch.from_numpy(inside_source(place.part, place.grid)).flatten().float()
    sums: np.ndarray = (probabilities.flatten(1).float() @ weights).double().numpy()
    return sums * place.grid.voxel_volume / 1000


class _Candidates(NamedTuple):
    """Rendered voxels: place in the flat grid, uncertainty, both classes and probabilities."""

    flat: Tensor
    uncertainty: Tensor
    coarse: Tensor
    refined: Tensor
    coarse_probability: Tensor
    refined_probability: Tensor


def _pieces(part: GridPrediction) -> Iterator[GridPrediction]:
    """Views of some rows at a time: what is computed of them in between stays small."""
    _, rows, *plane = part.coarse.shape
    step = max(1, _PIECE // prod(plane))
    for first in range(0, rows, step):
        here = slice(first, first + step)
        coarse = part.coarse[:, here]
        refined = coarse if part.refined is part.coarse else part.refined[:, here]
        yield replace(
            part, coarse=coarse, refined=refined, rendered=part.rendered[here],
            first=part.first + first,
        )  # fmt: skip


def coarser(geometry: Geometry, stride: int) -> Geometry:
    """The grid of which ``stride`` voxels an axis are one; the last may reach beyond."""
    if stride == 1:
        return geometry
    k, j, i = (-(-n // stride) for n in geometry.shape)
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] = geometry.to_world(np.full(3, (stride - 1) / 2))
    matrix[:3, :3] = matrix[:3, :3] * stride
    return Geometry((k, j, i), matrix)


def finer(geometry: Geometry, scale: int, dims: int) -> Geometry:
    """The same extent with ``scale`` times as many voxels an axis.

    :param dims: 2 leaves the slices (K) as they are.
    """
    if scale == 1:
        return geometry
    steps = np.array([scale, scale, scale if dims == 3 else 1], dtype=np.float64)  # i, j, k
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] = geometry.to_world((1 / steps - 1) / 2)
    matrix[:3, :3] = matrix[:3, :3] / steps
    k, j, i = _scaled(geometry.shape, scale, dims)
    return Geometry((k, j, i), matrix)


def _paste(values: np.ndarray, shape: tuple[int, ...], start: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, values.dtype)
    whole[tuple(slice(a, a + n) for a, n in zip(start, values.shape, strict=True))] = values
    return whole


def _scaled(index: tuple[int, ...], scale: int, dims: int) -> tuple[int, ...]:
    return tuple(n * (scale if axis or dims == 3 else 1) for axis, n in enumerate(index))


def uncertainty_of(probabilities: Tensor) -> Tensor:
    """1 - (largest - second largest probability): (C, K, J, I) -> (K, J, I)."""
    first, second = top_two(probabilities, dim=0)
    return 1 - (first - second)


def _worst(parts: Sequence[_Candidates]) -> _Candidates:
    """The most uncertain of all, at equal uncertainty in the order of the grid."""
    joined = [torch.cat(values) for values in zip(*parts, strict=True)]
    order = joined[1].argsort(descending=True, stable=True)[:MAX_LISTED_POINTS]
    return _Candidates(*(values[order] for values in joined))


def _place_points(points: _Candidates, *, grid: Geometry, output: Geometry) -> RenderedPoints:
    """Voxels of the model's grid, placed in the output's."""
    k, j, i = np.unravel_index(points.flat.numpy(), grid.shape)
    nearest, positions = nearest_voxels(
        np.stack([i, j, k], axis=1), model_geometry=grid, input_geometry=output
    )
    return RenderedPoints(
        positions, nearest, points.uncertainty.numpy().astype(np.float32),
        points.coarse.numpy().astype(np.int32), points.refined.numpy().astype(np.int32),
        points.coarse_probability.numpy(), points.refined_probability.numpy(),
    )  # fmt: skip
