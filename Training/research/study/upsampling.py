"""One case of the study *finer than the grid*: masks and surfaces from half the resolution.

Array order (K, J, I). The image is shown to the network ``factor`` times coarser; what it says is
compared with the label map at the image's own resolution. Surfaces need ``vtk``.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from MorseCore.errors import DatasetError, MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.inverse_resampling import to_input_grid_labels
from MorseCore.images.preparation import prepare_scan
from MorseCore.inference.assembly import finer
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.metrics.scores import score_labels
from MorseCore.network import Network
from MorseCore.renderers import DenseConfig
from MorseCore.store.model_folder import ModelInfo
from MorseCore.training.dataset import Case, read_case

__all__ = ["MASKS", "SURFACES", "check_is_finer", "check_vtk", "score_case"]

MASKS = ("nearest", "trilinear", "field")
"""The coarse label map repeated; its probabilities interpolated; the field asked in between."""
SURFACES = ("label map", "probabilities", "field")
"""Marching cubes of the coarse label map, of its probabilities, of the field asked in between."""
MEASURES = ("dice", "hd95", "asd", "assd")
_SAME = 1.01  # times the spacing
Scores = dict[str, dict[str, dict[str, float]]]


def score_case(case: Case, network: Network, info: ModelInfo, *, factor: int) -> Scores:
    """``masks`` and ``surfaces``: variant -> measure -> mean over structures.

    :param info: of the model that was trained ``factor`` times coarser.
    :raises DatasetError: as :func:`read_case`.
    """
    dims = info.preparation.spatial_dims
    pair = read_case(case, num_classes=info.num_classes)
    image, label = (whole_cells(volume, factor, dims) for volume in pair)
    array, grid = prepare_scan(image, info.preparation)
    fine = finer(grid, factor, dims)

    def predict(scale: int, *, dense: bool = False) -> Tensor:
        settings = PredictOptions(scale=scale).window_settings(info)
        if dense:
            settings = replace(settings, renderer=DenseConfig().build())
        image = torch.from_numpy(np.ascontiguousarray(array))
        return predict_volume(network, image, settings).refined

    plain, asked = predict(1), predict(factor)
    repeated = torch.from_numpy(one_hot(repeat(plain, factor, dims), len(plain)))
    masks = {
        name: to_input_grid_labels(p, model_geometry=g, input_geometry=label.geometry)
        for name, (p, g) in zip(
            MASKS, ((repeated, fine), (plain, grid), (asked, fine)), strict=True
        )
    }
    values = range(1, info.num_classes)
    spacing = label.geometry.spacing[::-1]
    result: Scores = {"masks": {}, "surfaces": {}}
    for name, mask in masks.items():
        scores = score_labels(mask, label.array.astype(np.int64), values, spacing).values()
        result["masks"][name] = {
            m: float(np.mean([getattr(s, m) for s in scores])) for m in MEASURES
        }
    if min(label.geometry.shape) > 1:  # a single slice has no surface
        result["surfaces"] = score_surfaces(
            label, values, plain, predict(factor, dense=True), grid, fine
        )
    return result


def check_is_finer(case: Case, spacing: Sequence[float]) -> None:
    """Refuse labels that lack the detail of the finer grid.

    :param spacing: of the finer grid, mm along x, y[, z].
    :raises DatasetError: if they were drawn on a coarser grid, or cannot be read.
    """
    try:
        drawn = read_volume(case.label).geometry
    except MorseError as error:
        raise DatasetError(f"Case '{case.name}': {error}") from error
    have, need = sorted(drawn.spacing[: len(spacing)]), sorted(spacing)
    if any(a > _SAME * b for a, b in zip(have, need, strict=True)):
        raise DatasetError(
            f"Case '{case.name}': its labels have voxels of {_sizes(have)}, the finer grid of "
            f"{_sizes(need)}: they say nothing of it."
        )


def _sizes(spacing: Sequence[float]) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing) + " mm"


def whole_cells(volume: Volume, factor: int, dims: int) -> Volume:
    """Without the last voxels of a side that is no multiple of ``factor``.

    Then a fine voxel is a voxel of the label map, and nothing is interpolated a second time.
    """
    step = (factor if dims == 3 else 1, factor, factor)
    k, j, i = (max(s, n - n % s) for n, s in zip(volume.geometry.shape, step, strict=True))
    shape = tuple(min(a, b) for a, b in zip((k, j, i), volume.geometry.shape, strict=True))
    stop = (shape[0], shape[1], shape[2])
    array = volume.array[: stop[0], : stop[1], : stop[2]]
    return replace(volume, array=array, geometry=volume.geometry.crop((0, 0, 0), stop))


def repeat(probabilities: Tensor, factor: int, dims: int) -> np.ndarray:
    """The label map of (C, K, J, I), each voxel ``factor`` times along every axis of the model."""
    labels = probabilities.max(0).indices.numpy()
    for axis in range(3 - dims, 3):
        labels = labels.repeat(factor, axis=axis)
    return labels


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(C, K, J, I) float32."""
    classes = np.arange(num_classes).reshape(-1, 1, 1, 1)
    return (labels[None] == classes).astype(np.float32)


def score_surfaces(
    label: Volume,
    values: Sequence[int],
    plain: Tensor,
    dense: Tensor,
    grid: Geometry,
    fine: Geometry,
) -> dict[str, dict[str, float]]:
    """Variant -> distances in mm to the surface of the full-resolution label, where both are."""
    coarse_labels = plain.max(0).indices.numpy()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SURFACES}
    for value in values:
        target = surface_of((label.array == value).astype(np.float32), label.geometry)
        variants = (
            ((coarse_labels == value).astype(np.float32), grid),
            (plain[value].numpy(), grid),
            (dense[value].numpy(), fine),
        )
        surfaces = [surface_of(array, geometry) for array, geometry in variants]
        if target is None or any(surface is None for surface in surfaces):
            continue  # the tables of the masks count what is missed
        for name, surface in zip(SURFACES, surfaces, strict=True):
            found[name].append(surface_distance(surface, target))
    return {
        name: {"assd": float(np.mean([d[0] for d in pairs])),
               "hd95": float(np.mean([d[1] for d in pairs]))}
        for name, pairs in found.items() if pairs
    }  # fmt: skip


def check_vtk() -> None:
    """Check for vtk before hours of work that end with surfaces.

    :raises MorseError: if vtk is not there.
    """
    if importlib.util.find_spec("vtk") is None:
        raise MorseError("Surfaces need vtk: pip install vtk.")


def surface_of(array: np.ndarray, geometry: Geometry, *, level: float = 0.5) -> Any | None:
    """The surface where a map (K, J, I) crosses ``level``, as vtkPolyData in RAS mm; None if none.

    Beyond the image there is background, so that every surface is closed.

    :raises MorseError: if vtk is not there.
    """
    check_vtk()
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    padded = np.ascontiguousarray(np.pad(array.astype(np.float32), 1))
    image = vtk.vtkImageData()
    image.SetDimensions(*padded.shape[::-1])
    image.SetOrigin(-1, -1, -1)
    image.GetPointData().SetScalars(numpy_to_vtk(padded.ravel(), deep=True))
    cubes = vtk.vtkFlyingEdges3D()
    cubes.SetInputData(image)
    cubes.SetValue(0, level)
    cubes.ComputeNormalsOff()
    cubes.Update()
    surface = cubes.GetOutput()
    if not surface.GetNumberOfPoints():
        return None
    world = geometry.to_world(vtk_to_numpy(surface.GetPoints().GetData()).astype(np.float64))
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(world, deep=True))
    surface.SetPoints(points)
    return surface


def surface_distance(first: Any, second: Any) -> tuple[float, float]:
    """Mean distance in mm between two surfaces, and HD95.

    From each one's vertices to the other surface, not to its vertices. The mean is that of the two
    directions' means, HD95 the larger of the two directions': how fine either mesh is has no say.
    (:mod:`MorseCore.metrics.surface`, whose masks have one grid, takes the mean over all voxels.)
    """
    there, back = _to_surface(first, second), _to_surface(second, first)
    hd95 = max(float(np.percentile(d, 95)) for d in (there, back))
    return float(there.mean() + back.mean()) / 2, hd95


def _to_surface(vertices: Any, surface: Any) -> np.ndarray:
    """(P,) mm."""
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    locator = vtk.vtkStaticCellLocator()
    locator.SetDataSet(surface)
    locator.BuildLocator()
    points = vtk_to_numpy(vertices.GetPoints().GetData())
    nearest, cell = [0.0, 0.0, 0.0], vtk.reference(0)
    part, squared = vtk.reference(0), vtk.reference(0.0)
    distances = np.empty(len(points))
    for n, point in enumerate(points):
        locator.FindClosestPoint(point, nearest, cell, part, squared)
        distances[n] = float(squared) ** 0.5
    return distances
