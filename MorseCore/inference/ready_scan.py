"""A scan that is ready for the network: checked, cut to its region, on the model's grid."""

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor
from torch.nn.functional import pad

from MorseCore.images.imagechecks import check_is_intensity_image, check_spacing, check_values
from MorseCore.images.imageio import Volume
from MorseCore.images.lazy import LazyChannels, LazyImage
from MorseCore.images.modelgrid import canonical_axes, model_grid
from MorseCore.images.preparation import measure_intensity, prepare_scan
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.images.slabs import can_come_in_slabs
from MorseCore.inference.assembly import Placement, coarser
from MorseCore.inference.blending import Crops
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.report import check_channels, warn_about_scan
from MorseCore.store.model_folder import ModelInfo
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.memory import check_memory

__all__ = ["ReadyScan", "cut_region", "prepare"]


@dataclass(frozen=True, eq=False)
class ReadyScan:
    """A scan that is ready for the network."""

    part: Volume
    """What of it is segmented."""
    image: Crops
    """(K, J, I) float32 on the model's grid, normalised; (C, K, J, I) of several channels."""
    place: Placement
    warnings: list[str]
    """Sentences about it, for the report."""


def prepare(volume: Volume, info: ModelInfo, options: PredictOptions) -> ReadyScan:
    """Check a scan, cut the region out and bring it to the model's grid.

    :raises ImageError: if the volume is no scan that the model can use, unless overruled.
    :raises GeometryError: if the region lies outside the image.
    :raises DeviceError: if the memory does not suffice.
    """
    accepted, preparation = Acceptance(options.accept), info.preparation
    check_channels(volume, info)
    part, start = cut_region(volume, options.roi)
    notes, is_region = [], options.roi is not None
    for whole in volume.channels:
        notes += check_is_intensity_image(whole, accepted)
    for channel, own in zip(part.channels, preparation.by_channel(), strict=True):
        notes += check_values(channel, own, accepted, is_region=is_region)
    notes += check_spacing(part, preparation, accepted)
    source, grid = model_grid(
        part.geometry, spacing=preparation.spacing_xyz, spatial_dims=preparation.spatial_dims
    )
    place = Placement(
        coarser(grid, info.grid_stride), part.geometry, volume.geometry, start,
        preparation.spatial_dims, scale=options.scale,
    )  # fmt: skip
    is_copied = grid is not source or info.asks_scan
    copied = 0
    if is_copied:
        copied = 4 * (prod(source.shape) + preparation.in_channels * prod(grid.shape))
    notes += check_memory(copied + _held_bytes(place, info), accepted)
    notes += warn_about_scan(part, info)
    return ReadyScan(part, _image(part, place, info, is_copied=is_copied), place, notes)


def _image(part: Volume, place: Placement, info: ModelInfo, *, is_copied: bool) -> Crops:
    """What the network sees of a scan."""
    preparation = info.preparation
    if is_copied:
        image = torch.from_numpy(prepare_scan(part, preparation)[0])
        return _whole_cells(image, info.grid_stride)
    axes = canonical_axes(part.geometry, spatial_dims=place.spatial_dims)
    images = [
        LazyImage(axes.apply(channel.array), measure_intensity(channel.array, own))
        for channel, own in zip(part.channels, preparation.by_channel(), strict=True)
    ]
    return images[0] if len(images) == 1 else LazyChannels(images)


def _held_bytes(place: Placement, info: ModelInfo) -> int:
    """What a run holds at least: maps. What a window takes on the way is not known before."""
    dims, scale = place.spatial_dims, place.scale
    window = info.grid_window
    if info.asks_scan:
        scale = 1
    # Of a window's rows, or of all; coarse and refined, while they blend.
    rolling = not info.asks_scan and can_come_in_slabs(
        place.fine(place.grid), place.fine(place.part)
    )
    sizes = [max(n, w) for n, w in zip(place.grid.shape[-dims:], window, strict=True)]
    rows = (min(sizes[0], window[0]) if rolling else sizes[0]) * scale if dims == 3 else 1
    blended = 4 * info.num_classes * 2 * prod(sizes[-2:]) * scale**2 * rows
    masks = 6 * prod(place.part.shape) * place.scale**dims  # two of one byte, uncertainty
    return blended + masks


def _whole_cells(image: Tensor, stride: int) -> Tensor:
    """An image (…, K, J, I) with zeros at its end, so that every side is a multiple of the stride.

    Its mirror image then has the same cells.
    """
    missing = [-n % stride for n in image.shape[-3:]]
    return pad(image, [n for end in reversed(missing) for n in (0, end)]) if any(missing) else image


def cut_region(volume: Volume, roi: Roi | None) -> tuple[Volume, tuple[int, int, int]]:
    """The part of a volume inside a region, and its first voxel (K, J, I).

    :param roi: None takes the whole volume.
    :raises GeometryError: if the region lies outside the image.
    """
    if roi is None:
        return volume, (0, 0, 0)
    start, stop = roi_to_box(roi, volume.geometry)
    where = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    geometry = volume.geometry.crop(start, stop)
    first, *others = (replace(c, array=c.array[where], geometry=geometry) for c in volume.channels)
    return replace(first, others=tuple(others)), start
