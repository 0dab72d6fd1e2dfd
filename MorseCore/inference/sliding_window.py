"""A prepared volume in, blended coarse and refined probabilities out: windows and their fields."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice

import torch
from torch import Tensor

from MorseCore.errors import Cancelled
from MorseCore.field import Field
from MorseCore.inference.stitching import (
    Crops,
    GridBox,
    GridPrediction,
    Stitcher,
    crop_window,
    lay_windows,
)
from MorseCore.network import Network
from MorseCore.renderers import Renderer
from MorseCore.store.model_folder import WindowConfig
from MorseCore.system.devices import Precision, autocast

__all__ = [
    "GridPrediction",
    "KeptFields",
    "predict_slabs",
    "predict_volume",
]


def predict_volume(
    network: Network,
    volume: Crops,
    *,
    window: Sequence[int],
    renderer: Renderer,
    windows: WindowConfig,
    scale: int = 1,
    temperature: float = 1.0,
    precision: Precision = "auto",
    keep: "KeptFields | None" = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> GridPrediction:
    """All parts of :func:`predict_slabs`, which has the same arguments, as one."""
    parts = predict_slabs(
        network, volume, window=window, renderer=renderer, windows=windows, scale=scale,
        temperature=temperature, precision=precision, rolling=False, keep=keep,
        progress=progress, should_stop=should_stop,
    )  # fmt: skip
    return join(list(parts))


@torch.inference_mode()
def predict_slabs(
    network: Network,
    volume: Crops,
    *,
    window: Sequence[int],
    renderer: Renderer,
    windows: WindowConfig,
    scale: int = 1,
    temperature: float = 1.0,
    precision: Precision = "auto",
    rolling: bool = True,
    keep: "KeptFields | None" = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[GridPrediction]:
    """Slide the window over a volume, render in each window, blend with Gaussian weights.

    Rendering happens on each window's field before blending (the released code does the same). What
    no further window touches is given out and forgotten, so memory grows neither with the number of
    windows nor with K. A 2D network goes slice by slice.

    :param volume: (K, J, I) float32, normalised; a tensor, or :class:`LazyImage`.
    :param window: array order; two sizes for a 2D network.
    :param scale: ask the fields on a grid this many times finer; a 2D network leaves K as it is.
    :param temperature: of the probabilities, see :class:`Stitcher`.
    :param rolling: give out rows as they are done; otherwise a 3D network's answer is one part.
    :param keep: collects the fields, so that they can be asked again; one window at a time then.
    :param progress: called with 0..1.
    :param should_stop: asked before each batch of windows.
    :return: parts of the map on (K, J, I) times ``scale``, in the order of their rows, each to be
        used before the next is asked for; a 2D network's have one row.
    :raises Cancelled: if ``should_stop`` answered yes.
    """
    tell = progress or (lambda share: None)
    count = 1 if len(window) == 3 else volume.shape[0]
    layers = [volume] if len(window) == 3 else (volume[n] for n in range(count))
    device = next(network.parameters()).device
    box, starts = lay_windows(volume.shape[-len(window) :], window, overlap=windows.overlap)
    for n, layer in enumerate(layers):
        is_rolling = rolling and len(window) == 3
        stitcher = Stitcher(window, box, scale=scale, temperature=temperature, rolling=is_rolling)
        done = 0
        for batch in batches(starts, windows.batch if keep is None else 1):
            if should_stop is not None and should_stop():
                raise Cancelled("The segmentation was cancelled.")
            if is_rolling and (part := stitcher.finished(batch[0][0])) is not None:
                yield part
            begins = [tuple(a - b for a, b in zip(s, box[0], strict=True)) for s in batch]
            crops = torch.stack([crop_window(layer, begin, window)[None] for begin in begins])
            places = torch.stack([window_to_source(box, s, window) for s in batch])
            with autocast(device, precision):
                field = network(crops.to(device), to_source=places.to(device))
                stitcher.add(field, batch, renderer)
            if keep is not None:
                keep.add(n, begins[0], field)
            del field, crops  # before the next pass, whose peak they would raise
            done += len(batch)
            tell((n + done / len(starts)) / count)
        part = stitcher.result()
        yield part if len(window) == 3 else as_row(part, n)


def batches(starts: Sequence[tuple[int, ...]], size: int) -> Iterator[list[tuple[int, ...]]]:
    """At most ``size`` windows at a time, all of which begin at the same row."""
    for _, row in groupby(starts, key=lambda start: start[0]):
        while batch := list(islice(row, size)):
            yield batch


def window_to_source(box: GridBox, start: Sequence[int], window: Sequence[int]) -> Tensor:
    """(D, D + 1) map from coordinates in a window to those in the image, (x, y[, z]).

    :param box: where the image lies, and :param start: where the window begins, in voxels of the
        padded image.
    """
    low, high = (torch.tensor(edge, dtype=torch.float32) for edge in box)
    length, size = torch.tensor(window, dtype=torch.float32), high - low
    shift = (2 * (torch.tensor(start) - low) + length) / size - 1
    return torch.cat([(length / size).flip(0).diag(), shift.flip(0)[:, None]], dim=1)


class KeptFields:
    """The fields of all windows of a volume, kept to be asked again without a backbone pass.

    Example::

        kept = KeptFields(window, limit=2 * 2**30)
        for part in predict_slabs(network, volume, window=window, ..., keep=kept): ...
        if kept.is_complete:
            finer = kept.render(renderer, box, scale=2)

    :param limit: bytes; beyond it nothing is kept and :attr:`is_complete` is false.
    :param temperature: of the probabilities, see :class:`Stitcher`.
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

    def restart(self, *, precision: Precision) -> None:
        """Forget all, to be filled anew in another precision."""
        self._fields.clear()
        self._bytes, self.is_complete, self._precision = 0, True, precision

    def add(self, layer: int, start: tuple[int, ...], field: Field) -> None:
        """Keep the field of one window, a batch of one.

        :param start: in voxels of the volume, may be negative.
        """
        self._bytes += field.memory()
        if self._bytes > self._limit:
            self.is_complete = False
            self._fields.clear()
        if self.is_complete:
            self._fields.append((layer, start, field))

    @torch.inference_mode()
    def render(
        self,
        renderer: Renderer,
        box: GridBox,
        *,
        scale: int = 1,
        progress: Callable[[float], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> GridPrediction:
        """Render a box of the volume again.

        :param box: (start, stop) in voxels of the volume, (K, J, I).
        :return: maps on the box times ``scale``.
        :raises Cancelled: if ``should_stop`` answered yes.
        """
        is_flat = len(self._window) == 2
        layers = range(box[0][0], box[1][0]) if is_flat else range(1)
        plane = (box[0][1:], box[1][1:]) if is_flat else box
        stitchers = {
            n: Stitcher(self._window, plane, scale=scale, temperature=self._temperature)
            for n in layers
        }
        asked = [
            (stitchers[layer], start, field)
            for layer, start, field in self._fields
            if layer in stitchers and stitchers[layer].overlaps(start)
        ]
        for n, (stitcher, start, field) in enumerate(asked):
            if should_stop is not None and should_stop():
                raise Cancelled("Rendering was cancelled.")
            with autocast(field.device, self._precision):
                stitcher.add(field, [start], renderer)
            if progress is not None:
                progress((n + 1) / len(asked))
        parts = [stitcher.result() for stitcher in stitchers.values()]
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
