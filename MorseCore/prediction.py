"""A prepared volume in, blended coarse and refined probabilities out: windows and their fields."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from MorseCore.errors import Cancelled, ConfigError
from MorseCore.field import Field
from MorseCore.network import Network
from MorseCore.precision import Precision, autocast
from MorseCore.renderers import Renderer
from MorseCore.stitching import GridBox, GridPrediction, Stitcher
from MorseCore.windows import pad_to_window, window_slices, window_starts

__all__ = [
    "GridPrediction",
    "KeptFields",
    "WindowConfig",
    "predict_volume",
]


@dataclass(frozen=True)
class WindowConfig:
    """How windows are laid over an image."""

    overlap: float = 0.25
    """Share of a window that neighbours have in common. TotalSegmentator measured 0.2 as harmless
    where 0.5 is the custom; an image has 4 times fewer windows so."""
    batch: int = 1
    """Windows evaluated at once."""

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"'overlap' must lie in [0, 1); found {self.overlap}.")
        if self.batch < 1:
            raise ConfigError(f"'batch' must be positive; found {self.batch}.")


@torch.inference_mode()
def predict_volume(
    network: Network,
    volume: Tensor,
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
    """Slide the window over a volume, render in each window, blend with Gaussian weights.

    Rendering happens on each window's field before blending (the released code does the same), so
    memory does not grow with the number of windows. A 2D network goes slice by slice.

    :param volume: (K, J, I) float32, normalised.
    :param window: array order; two sizes for a 2D network.
    :param scale: ask the fields on a grid this many times finer; a 2D network leaves K as it is.
    :param temperature: of the probabilities, see :class:`Stitcher`.
    :param keep: collects the fields, so that they can be asked again.
    :param progress: called with 0..1.
    :param should_stop: asked before each batch of windows.
    :return: maps on (K, J, I) times ``scale``.
    :raises Cancelled: if ``should_stop`` answered yes.
    """
    tell, layers = progress or (lambda share: None), _layers(volume, window)
    device = next(network.parameters()).device
    parts = []
    for n, layer in enumerate(layers):
        padded, padding = pad_to_window(layer[None], window)
        starts = window_starts(padded.shape[1:], window, overlap=windows.overlap)
        low = tuple(a for a, _ in padding)
        box = low, tuple(a + size for a, size in zip(low, layer.shape, strict=True))
        stitcher = Stitcher(window, box, scale=scale, temperature=temperature)
        for first in range(0, len(starts), windows.batch):
            if should_stop is not None and should_stop():
                raise Cancelled("The segmentation was cancelled.")
            batch = starts[first : first + windows.batch]
            crops = torch.stack([padded[(slice(None), *window_slices(s, window))] for s in batch])
            places = torch.stack([window_to_source(box, s, window) for s in batch])
            with autocast(device, precision):
                field = network(crops.to(device), to_source=places.to(device))
                stitcher.add(field, batch, renderer)
            if keep is not None:
                keep.add(n, tuple(a - b for a, b in zip(batch[0], low, strict=True)), field)
            tell((n + min(1.0, (first + len(batch)) / len(starts))) / len(layers))
        parts.append(stitcher.result())
    return parts[0] if len(window) == 3 else stack_slices(parts)


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
        predict_volume(network, volume, window=window, ..., keep=kept)
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

    def add(self, layer: int, start: tuple[int, ...], field: Field) -> None:
        """Keep the field of one window; ``start`` in voxels of the volume, may be negative."""
        self._bytes += field.memory()
        if field.batch != 1 or self._bytes > self._limit:
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
        return stack_slices(parts) if is_flat else parts[0]


def stack_slices(parts: Sequence[GridPrediction]) -> GridPrediction:
    """The predictions of slices (J, I) as one of a volume (K, J, I)."""
    return GridPrediction(
        torch.stack([part.coarse for part in parts], dim=1),
        torch.stack([part.refined for part in parts], dim=1),
        torch.stack([part.rendered for part in parts]),
        sum(part.windows for part in parts),
        sum(part.evaluations for part in parts),
    )


def _layers(volume: Tensor, window: Sequence[int]) -> list[Tensor]:
    return [volume] if len(window) == 3 else list(volume)
