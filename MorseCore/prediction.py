"""A prepared image in, blended coarse and refined probabilities out: windows, fields, rendering.

``C`` classes, ``*S`` space of the image (2 or 3 axes, array order), ``B`` windows a batch.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from MorseCore.errors import Cancelled, ConfigError
from MorseCore.network import Network
from MorseCore.renderers import Renderer
from MorseCore.windows import (
    WindowAccumulator,
    gaussian_weight,
    pad_to_window,
    unpad,
    window_slices,
    window_starts,
)

__all__ = ["GridPrediction", "Precision", "WindowConfig", "autocast", "predict_grid"]

Precision = Literal["auto", "fp32", "bf16", "fp16"]


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


@dataclass(frozen=True, eq=False)
class GridPrediction:
    """Everything on the grid of the prepared image."""

    coarse: Tensor
    """(C, *S) probabilities before rendering."""
    refined: Tensor
    """(C, *S) probabilities after rendering."""
    rendered: Tensor
    """(*S) bool: rendered in at least one window."""
    windows: int
    evaluations: int
    """Points that were rendered, counted once a window."""


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Mixed precision where the hardware has it; ``auto`` never uses it on a CPU without AMX.

    bf16 on a CPU without AMX was measured 30 times slower than float32.
    """
    if precision == "auto":
        if device.type == "cuda":
            capable = torch.cuda.get_device_capability(device) >= (8, 0)
            precision = "bf16" if capable else "fp16"
        else:
            precision = "fp32"
    if precision == "fp32":
        return nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)


@torch.inference_mode()
def predict_grid(
    network: Network,
    image: Tensor,
    *,
    window: Sequence[int],
    renderer: Renderer,
    windows: WindowConfig,
    scale: int = 1,
    precision: Precision = "auto",
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> GridPrediction:
    """Slide the window over an image, render in each, blend with Gaussian weights.

    Rendering happens in each window, on its field, before blending (the released code does the
    same); so memory does not grow with the number of windows.

    :param image: (C_in, *S) float32, normalised, on the CPU or the network's device.
    :param scale: ask the fields on a grid this many times finer; results are (C, *(S * scale)).
    :param progress: called with 0..1 after each batch of windows.
    :param should_stop: asked before each batch.
    :raises Cancelled: if ``should_stop`` answered yes.
    """
    device = next(network.parameters()).device
    padded, padding = pad_to_window(image, window)
    starts = window_starts(padded.shape[1:], window, overlap=windows.overlap)
    fine = tuple(n * scale for n in window)
    weight = gaussian_weight(fine)
    size = tuple(n * scale for n in padded.shape[1:])
    blends: list[WindowAccumulator] = []
    rendered = torch.zeros(size, dtype=torch.bool)
    evaluations = 0
    for first in range(0, len(starts), windows.batch):
        if should_stop is not None and should_stop():
            raise Cancelled("The segmentation was cancelled.")
        batch = starts[first : first + windows.batch]
        crops = torch.stack([padded[(slice(None), *window_slices(s, window))] for s in batch])
        with autocast(device, precision):
            result = renderer.render(network(crops.to(device)), fine)
        coarse, refined = (x.float().softmax(1).cpu() for x in (result.coarse, result.refined))
        if not blends:
            blends = [WindowAccumulator(coarse.shape[1], size) for _ in range(2)]
        for n, corner in enumerate(batch):
            start = tuple(a * scale for a in corner)
            for blend, values in zip(blends, (coarse, refined), strict=True):
                blend.add(start, values[n], weight)
            mask = torch.zeros(weight.numel(), dtype=torch.bool)
            mask[result.index[n].cpu()] = True
            rendered[window_slices(start, fine)] |= mask.view(weight.shape)
        evaluations += result.index.numel()
        if progress is not None:
            progress(min(1.0, (first + len(batch)) / len(starts)))
    added = tuple((a * scale, b * scale) for a, b in padding)
    before, after = (unpad(blend.result(), added) for blend in blends)
    return GridPrediction(before, after, unpad(rendered[None], added)[0], len(starts), evaluations)


def predict_volume(
    network: Network,
    volume: Tensor,
    *,
    window: Sequence[int],
    renderer: Renderer,
    windows: WindowConfig,
    scale: int = 1,
    precision: Precision = "auto",
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> GridPrediction:
    """:func:`predict_grid` for a prepared volume (K, J, I), slice by slice if the network is 2D.

    The result is on (K, J, I) times ``scale`` either way; a 2D network leaves K as it is.
    """
    arguments = {
        "window": window, "renderer": renderer, "windows": windows, "precision": precision,
        "scale": scale, "should_stop": should_stop,
    }  # fmt: skip
    if len(window) == 3:
        return predict_grid(network, volume[None], progress=progress, **arguments)  # type: ignore[arg-type]
    slices = []
    for k in range(len(volume)):
        slices.append(predict_grid(network, volume[k][None], **arguments))  # type: ignore[arg-type]
        if progress is not None:
            progress((k + 1) / len(volume))
    return GridPrediction(
        torch.stack([part.coarse for part in slices], dim=1),
        torch.stack([part.refined for part in slices], dim=1),
        torch.stack([part.rendered for part in slices]),
        sum(part.windows for part in slices),
        sum(part.evaluations for part in slices),
    )
