"""What was predicted on the model's grid, as a segmentation on the scan's own grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from MorseCore.geometry import Geometry
from MorseCore.images.grids import inside_source, nearest_voxels
from MorseCore.images.restoring import to_input_grid_labels, to_input_grid_scalar
from MorseCore.points import top_two
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.scoring.comparison import compare_masks
from MorseCore.stitching import GridPrediction

__all__ = ["MAX_LISTED_POINTS", "Placement", "assemble", "attention", "finer"]

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
    """The prediction, and so the result, is this many times finer."""

    def fine(self, geometry: Geometry) -> Geometry:
        """A grid at the result's resolution."""
        return finer(geometry, self.scale, self.spatial_dims)


def assemble(
    prediction: GridPrediction, place: Placement, structures: Sequence[Structure]
) -> Segmentation:
    """Masks, uncertainty, points and what changed; outside of the part all is background."""
    grid, part, whole = (place.fine(g) for g in (place.grid, place.part, place.whole))
    uncertainty = _uncertainty(prediction.coarse)
    maps = {
        stage: to_input_grid_labels(
            getattr(prediction, stage), model_geometry=grid, input_geometry=part
        )
        for stage in ("coarse", "refined")
    }
    maps["uncertainty"] = to_input_grid_scalar(
        uncertainty, model_geometry=grid, input_geometry=part
    )
    if part.shape != whole.shape:
        start = _scaled(place.start, place.scale, place.spatial_dims)
        maps = {name: _paste(values, whole.shape, start) for name, values in maps.items()}
    points = _list_points(prediction, uncertainty, grid=grid, part=part, output=whole)
    changes = compare_masks(maps["coarse"], maps["refined"], geometry=whole, structures=structures)
    return Segmentation(
        whole, structures, maps["coarse"], maps["refined"], maps["uncertainty"], points,
        {"structures": changes},
    )  # fmt: skip


def finer(geometry: Geometry, scale: int, dims: int) -> Geometry:
    """The same extent with ``scale`` times as many voxels; slices stay in 2D."""
    if scale == 1:
        return geometry
    steps = np.array([scale, scale, scale if dims == 3 else 1], dtype=np.float64)  # i, j, k
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] = geometry.to_world((1 / steps - 1) / 2)
    matrix[:3, :3] = matrix[:3, :3] / steps
    k, j, i = _scaled(geometry.shape, scale, dims)
    return Geometry((k, j, i), matrix)


def attention(prediction: GridPrediction) -> float:
    """How much a person should look at this case first: the uncertainty that rendering left.

    Sum of 1 - (largest - second largest probability) after rendering, over the voxels where it
    exceeds 0.2, divided by the number of foreground voxels.
    """
    left = _uncertainty(prediction.refined)
    near = left > 0.2
    foreground = int((prediction.refined.max(0).indices > 0).sum())
    return round(float(left[near].sum()) / max(1, foreground), 4)


def _paste(values: np.ndarray, shape: tuple[int, ...], start: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, values.dtype)
    whole[tuple(slice(a, a + n) for a, n in zip(start, values.shape, strict=True))] = values
    return whole


def _scaled(index: tuple[int, ...], scale: int, dims: int) -> tuple[int, ...]:
    return tuple(n * (scale if axis or dims == 3 else 1) for axis, n in enumerate(index))


def _uncertainty(probabilities: torch.Tensor) -> torch.Tensor:
    """1 - (largest - second largest probability): (C, K, J, I) -> (K, J, I)."""
    first, second = top_two(probabilities, dim=0)
    return 1 - (first - second)


def _list_points(
    prediction: GridPrediction,
    uncertainty: torch.Tensor,
    *,
    grid: Geometry,
    part: Geometry,
    output: Geometry,
) -> RenderedPoints:
    """The rendered voxels of the model's grid, most uncertain first, placed in the output's.

    The upright grid around a tilted scan has voxels beside the scan, where nothing is segmented.
    """
    rendered = prediction.rendered & torch.from_numpy(inside_source(part, grid))
    flat = rendered.flatten().nonzero()[:, 0]
    values = uncertainty.flatten()[flat]
    order = values.argsort(descending=True, stable=True)[:MAX_LISTED_POINTS]
    flat, values = flat[order], values[order]
    coarse, refined = (
        x.flatten(1)[:, flat].max(0) for x in (prediction.coarse, prediction.refined)
    )
    k, j, i = np.unravel_index(flat.numpy(), grid.shape)
    nearest, positions = nearest_voxels(
        np.stack([i, j, k], axis=1), model_geometry=grid, input_geometry=output
    )
    return RenderedPoints(
        positions, nearest, values.numpy().astype(np.float32),
        coarse.indices.numpy().astype(np.int32), refined.indices.numpy().astype(np.int32),
        coarse.values.numpy(), refined.values.numpy(),
    )  # fmt: skip
