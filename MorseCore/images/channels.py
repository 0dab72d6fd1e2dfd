"""A case of several images (T1 and T2, CT and PET): the channels that a network sees together.

A case's channels are one file each, or the volumes of one file: then that file is named once a
channel. The first channel's grid is the case's; the others are brought to it.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from MorseCore.errors import ImageError
from MorseCore.images.grids import inside_source, resample
from MorseCore.images.imageio import ReadOptions, Volume, read_volume
from MorseCore.images.names import channel_number, name_without_suffix
from MorseCore.images.severalvolumes import count_volumes

__all__ = ["join_channels", "read_channel", "read_channels"]

_APART = 0.5  # share of the first channel's voxels about which another may say nothing
log = logging.getLogger(__name__)


def read_channels(paths: Sequence[Path], options: ReadOptions | None = None) -> Volume:
    """A case's image with all its channels; see :func:`read_channel` and :func:`join_channels`."""
    return join_channels([read_channel(paths, n, options) for n in range(len(paths))])


def read_channel(paths: Sequence[Path], number: int, options: ReadOptions | None = None) -> Volume:
    """One channel of a case, as it lies in its file.

    :param paths: of all channels.
    :raises ImageError: if it cannot be read, or one file for all has not one volume a channel.
    :raises GeometryError: if its grid is impossible.
    """
    options, path = options or ReadOptions(), paths[number]
    if len(paths) == 1 or len(set(paths)) > 1:
        return read_volume(path, options)
    if options.volume is not None:
        raise ImageError(
            f"The volumes of {path.name} are the channels of a case; choose none of them."
        )
    volume = read_volume(path, replace(options, volume=number))  # tells first what is wrong with it
    count = 1 if path.is_dir() else count_volumes(path)
    if count != len(paths):
        holds = "one volume" if count == 1 else f"{count} volumes"
        case, channel = channel_number(name_without_suffix(path.name))
        way_out = "files of one channel each are called CASE_0000, CASE_0001 …"
        if channel and channel < len(paths):
            way_out = f"the first channel, {case}_0000, is missing beside it"
        raise ImageError(
            f"{path.name} holds {holds}, and {len(paths)} channels are expected; {way_out}."
        )
    return volume


def join_channels(volumes: Sequence[Volume]) -> Volume:
    """The first volume with the others as its further channels, on its grid.

    A channel on another grid is interpolated; where it does not reach, its voxels have no value.

    :raises ImageError: if a channel lies elsewhere, or pictures differ in size.
    """
    first, *rest = volumes
    others = tuple(_on_grid_of(first, other) for other in rest)
    notes = tuple(note for volume in (first, *others) for note in volume.notes)
    return replace(first, notes=tuple(dict.fromkeys(notes)), others=others)


def _on_grid_of(first: Volume, other: Volume) -> Volume:
    """A channel on the first one's grid, which is noted."""
    is_picture = first.ndim == other.ndim == 2  # pictures lie nowhere
    if first.geometry.is_close(other.geometry):
        return replace(other, geometry=first.geometry)
    inside = inside_source(other.geometry, first.geometry)
    if is_picture or inside.mean() < _APART:
        raise ImageError(
            f"{other.source} ({_grid(other)}) and {first.source} ({_grid(first)}) are channels of "
            "one case, and do not lie in the same place; register them, or correct a header."
        )
    note = (
        f"The channel {other.source} ({_grid(other)}) was brought to the grid of {first.source} "
        f"({_grid(first)})."
    )
    log.info("%s", note)
    kind = np.float64 if other.array.dtype == np.float64 else np.float32
    moving = torch.from_numpy(np.ascontiguousarray(other.array, dtype=kind))
    array = resample(moving, other.geometry, first.geometry).numpy()
    array[~inside] = np.nan
    return replace(other, array=array, geometry=first.geometry, notes=(*other.notes, note))


def _grid(volume: Volume) -> str:
    size = " x ".join(map(str, volume.geometry.shape[::-1]))
    spacing = " x ".join(f"{mm:.3g}" for mm in volume.geometry.spacing)
    return f"{size} voxels of {spacing} mm"
