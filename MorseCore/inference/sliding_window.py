"""A prepared volume in, blended coarse and refined probabilities out: windows and their fields."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from typing import Any

import torch
from torch import Tensor

from MorseCore.field import Field
from MorseCore.inference.blending import (
    Crops,
    GridBox,
    GridPrediction,
    WindowBlender,
    crop_window,
    lay_windows,
)
from MorseCore.inference.options import UNWATCHED, RunMonitor, WindowSettings
from MorseCore.network import Network
from MorseCore.renderers import Renderer
from MorseCore.system.devices import Precision, autocast

__all__ = [
    "KeptFields",
    "each_field",
    "join",
    "predict_slabs",
    "predict_volume",
    "window_begins",
    "window_to_source",
]


def predict_volume(
    network: Network,
    volume: Crops,
    settings: WindowSettings,
    *,
    keep: "KeptFields | None" = None,
    monitor: RunMonitor = UNWATCHED,
) -> GridPrediction:
    """All parts of :func:`predict_slabs`, which takes the same arguments, as one.

    :return: maps on (K, J, I) times ``settings.scale``.
    :raises Cancelled: if the monitor wants to stop.
    """
    parts = predict_slabs(network, volume, settings, rolling=False, keep=keep, monitor=monitor)
    return join(list(parts))


@torch.inference_mode()
def predict_slabs(
    network: Network,
    volume: Crops,
    settings: WindowSettings,
    *,
    rolling: bool = True,
    keep: "KeptFields | None" = None,
    monitor: RunMonitor = UNWATCHED,
) -> Iterator[GridPrediction]:
    """Slide the window over a volume, render in each window, blend with Gaussian weights.

    Each window's field is rendered before windows are blended (the released code does the same).
    Rows that no further window touches are given out and forgotten, so memory grows neither with
    the number of windows nor with K. A 2D network goes slice by slice.

    :param volume: (K, J, I) float32, normalised, or (C, K, J, I); a tensor, or
        :class:`LazyImage`.
    :param rolling: give out rows as they are done; otherwise a 3D network's answer is one part.
    :param keep: collects the fields, so that they can be asked again; one window at a time then.
    :param monitor: checked before each batch of windows, told after it.
    :return: parts of the map on (K, J, I) times ``settings.scale``, in the order of their rows,
        each to be used before the next is asked for; a 2D network's have one row.
    :raises Cancelled: if the monitor wants to stop.
    """
    is_flat = len(settings.window) == 2
    count = volume.shape[-3] if is_flat else 1
    layers = (volume[..., n, :, :] for n in range(count)) if is_flat else [volume]
    for n, layer in enumerate(layers):
        parts = _slabs_of_layer(
            network, layer, settings, rolling=rolling and not is_flat,
            keep=None if keep is None else partial(keep.add, n), monitor=monitor.part(n, count),
        )  # fmt: skip
        for part in parts:
            yield as_row(part, n) if is_flat else part


def _slabs_of_layer(
    network: Network,
    layer: Crops,
    settings: WindowSettings,
    *,
    rolling: bool,
    keep: Callable[[tuple[int, ...], Field], None] | None,
    monitor: RunMonitor,
) -> Iterator[GridPrediction]:
    """:func:`predict_slabs` of one volume (K, J, I), or of one slice (J, I), or (C, …)."""
    window, device = settings.window, next(network.parameters()).device
    box, starts = _windows_of(layer, settings)
    blender = WindowBlender(
        window, box, scale=settings.scale, temperature=settings.temperature, rolling=rolling
    )
    done = 0
    for batch in batches(starts, settings.windows.batch if keep is None else 1):
        monitor.check()
        if rolling and (part := blender.finished(batch[0][0])) is not None:
            yield part
        begins = [tuple(a - b for a, b in zip(s, box[0], strict=True)) for s in batch]
        crops = torch.stack([_crop(layer, begin, settings) for begin in begins])
        places = torch.stack([window_to_source(box, s, window) for s in batch])
        with autocast(device, settings.precision):
            field = network(crops.to(device), to_source=places.to(device))
            blender.add(field, batch, settings.renderer)
        if keep is not None:
            keep(begins[0], field)
        del field, crops  # before the next pass, whose peak they would raise
        done += len(batch)
        monitor.tell(done / len(starts))
    yield blender.result()


@torch.inference_mode()
def each_field(
    network: Network, volume: Crops, settings: WindowSettings
) -> Iterator[tuple[tuple[int, ...], Field]]:
    """The field of every window of a volume, one at a time, as :class:`KeptFields` keeps them.

    :return: first voxel of the grid, which may be negative, and field.
    """
    device = next(network.parameters()).device
    box, starts = _windows_of(volume, settings)
    for start, begin in zip(starts, window_begins(volume, settings), strict=True):
        place = window_to_source(box, start, settings.window)
        with autocast(device, settings.precision):
            crop = _crop(volume, begin, settings)[None].to(device)
            yield begin, network(crop, to_source=place[None].to(device))


def window_begins(image: Crops, settings: WindowSettings) -> list[tuple[int, ...]]:
    """First voxel of the grid of every window, which may be negative."""
    box, starts = _windows_of(image, settings)
    return [tuple(a - b for a, b in zip(start, box[0], strict=True)) for start in starts]


def _windows_of(image: Crops, settings: WindowSettings) -> tuple[GridBox, list[tuple[int, ...]]]:
    """See :func:`lay_windows`; in voxels of the grid."""
    size = [-(-n // settings.stride) for n in image.shape[-len(settings.window) :]]
    return lay_windows(size, settings.window, overlap=settings.windows.overlap)


def _crop(image: Crops, begin: Sequence[int], settings: WindowSettings) -> Tensor:
    """What the network sees in a window that begins at a voxel of the grid: (C, *window)."""
    start, size = ([n * settings.stride for n in part] for part in (begin, settings.window))
    return crop_window(image, start, size).reshape(-1, *size)


def batches(starts: Sequence[tuple[int, ...]], size: int) -> Iterator[list[tuple[int, ...]]]:
    """At most ``size`` windows at a time, all of which begin at the same row."""
    for _, row in groupby(starts, key=lambda start: start[0]):
        while batch := list(islice(row, size)):
            yield batch


def window_to_source(box: GridBox, start: Sequence[int], window: Sequence[int]) -> Tensor:
    """(D, D + 1) map from coordinates in a window to those in the image, (x, y[, z]).

    :param box: where the image lies, (start, stop) in voxels of the padded image, array order.
    :param start: where the window begins, in voxels of the padded image, array order.
    :param window: size of a window in voxels, array order.
    """
    low, high = (torch.tensor(edge, dtype=torch.float32) for edge in box)
    length, size = torch.tensor(window, dtype=torch.float32), high - low
    shift = (2 * (torch.tensor(start) - low) + length) / size - 1
    return torch.cat([(length / size).flip(0).diag(), shift.flip(0)[:, None]], dim=1)


class KeptFields:
    """The fields of all windows of a volume, kept to be asked again without a backbone pass.

    Example::

        kept = KeptFields(window, limit=2 * 2**30)
        for part in predict_slabs(network, volume, settings, keep=kept): ...
        if kept.is_complete:
            finer = kept.render(renderer, box, scale=2)

    :param window: size of a window in voxels, array order; two sizes for a 2D network.
    :param limit: bytes; beyond it nothing is kept and :attr:`is_complete` is false.
    :param temperature: of the probabilities, see :class:`WindowBlender`.
    :param precision: in which the fields are asked, that in which they were computed.
    """

    def __init__(
        self,
        window: Sequence[int],
        *,
        limit: int,
        temperature: float = 1.0,
        precision: Precision = "auto",
    ) -> None:
        self._window, self._limit, self._precision = tuple(window), limit, precision
        self._temperature = temperature
        self._fields: list[tuple[int, tuple[int, ...], Field]] = []
        self._bytes, self.is_complete = 0, True
        self.place: Any = None
        """Where the volume lies (:class:`MorseCore.inference.assembly.Placement`), once known."""

    def restart(self, *, precision: Precision) -> None:
        """Forget all, to be filled anew in another precision."""
        self._fields.clear()
        self._bytes, self.is_complete, self._precision = 0, True, precision

    def add(self, layer: int, start: tuple[int, ...], field: Field) -> None:
        """Keep the field of one window, a batch of one.

        :param layer: the slice's number along K for a 2D network, else 0.
        :param start: in voxels of the volume, array order; may be negative.
        """
        self._bytes += field.memory()
        if self._bytes > self._limit:
            self.is_complete = False
            self._fields.clear()
        if self.is_complete:
            self._fields.append((layer, start, field))

    def windows(self) -> list[tuple[tuple[int, ...], Field]]:
        """Of a volume: first voxel, which may be negative, and field of every window."""
        return [(start, field) for _, start, field in self._fields]

    @torch.inference_mode()
    def render(
        self,
        renderer: Renderer,
        box: GridBox,
        *,
        scale: int = 1,
        monitor: RunMonitor = UNWATCHED,
    ) -> GridPrediction:
        """Render a box of the volume again.

        :param box: (start, stop) in voxels of the volume, (K, J, I).
        :param scale: ask the fields on a grid this many times finer.
        :param monitor: checked before each window, told after it.
        :return: maps on the box, (K, J, I) times ``scale``; a 2D network leaves K as it is.
        :raises Cancelled: if the monitor wants to stop.
        """
        is_flat = len(self._window) == 2
        layers = range(box[0][0], box[1][0]) if is_flat else range(1)
        plane = (box[0][1:], box[1][1:]) if is_flat else box
        blenders = {
            n: WindowBlender(self._window, plane, scale=scale, temperature=self._temperature)
            for n in layers
        }
        asked = [
            (blenders[layer], start, field)
            for layer, start, field in self._fields
            if layer in blenders and blenders[layer].overlaps(start)
        ]
        for n, (blender, start, field) in enumerate(asked):
            monitor.check("Rendering")
            with autocast(field.device, self._precision):
                blender.add(field, [start], renderer)
            monitor.tell((n + 1) / len(asked))
        parts = [blender.result() for blender in blenders.values()]
        return join([as_row(part, n) for n, part in enumerate(parts)] if is_flat else parts)


def as_row(part: GridPrediction, row: int) -> GridPrediction:
    """The prediction of a slice (J, I) as a row of a volume."""
    coarse = part.coarse[:, None]
    refined = coarse if part.refined is part.coarse else part.refined[:, None]
    return replace(part, coarse=coarse, refined=refined, rendered=part.rendered[None], first=row)


def join(parts: Sequence[GridPrediction]) -> GridPrediction:
    """Parts that follow each other along K, as one."""
    if len(parts) == 1:
        return parts[0]
    coarse = torch.cat([part.coarse for part in parts], dim=1)
    is_same = all(part.refined is part.coarse for part in parts)
    return GridPrediction(
        coarse,
        coarse if is_same else torch.cat([part.refined for part in parts], dim=1),
        torch.cat([part.rendered for part in parts]),
        sum(part.windows for part in parts),
        sum(part.evaluations for part in parts),
        parts[0].first,
    )
