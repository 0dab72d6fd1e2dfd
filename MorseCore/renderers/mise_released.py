"""What SwIPE's released code calls MISE: dilated foreground, for comparison."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.points import Axes, scatter_points
from MorseCore.renderers.lattice import pad_rows
from MorseCore.renderers.renderer import Rendering, ask_pixels

__all__ = ["ReleasedMiseConfig", "ReleasedMiseRenderer"]

_SURE = 20.0  # logit of the background where nobody asked: probability 1 - 2e-9


@dataclass(frozen=True)
class ReleasedMiseConfig:
    """Parameters of :class:`ReleasedMiseRenderer`."""

    stride: int = 4
    """Of the samples."""
    width: int = 5
    """Of the dilation, in pixels, odd; 2 * stride - 1 would reach every neighbouring sample."""

    def __post_init__(self) -> None:
        if self.stride < 1 or self.width < 1 or self.width % 2 == 0:
            raise ConfigError(
                "'stride' must be positive and 'width' positive and odd; "
                f"found {self.stride} and {self.width}."
            )

    def build(self) -> "ReleasedMiseRenderer":
        """The renderer."""
        return ReleasedMiseRenderer(self)

    def most_points(self, total: int) -> None:
        """None: the mask decides."""


class ReleasedMiseRenderer:
    """Ask every 4th pixel, dilate the foreground found by a 5-wide window, ask all pixels in it.

    This is no multi-resolution iso-surface extraction: the interior is asked in full, and a pixel
    of an object 3 pixels away from the nearest sample in it is left out, so that even a perfect
    field loses a part of its boundary. With discs of radius 5, 10, 40 and 100 at random places the
    DSC is 0.950, 0.977, 0.995 and 0.998. The released code also averages each pixel over
    neighbouring patches; here a field is asked as it is.
    """

    def __init__(self, config: ReleasedMiseConfig) -> None:
        self.config = config

    def render(self, field: Field, axes: Axes | None = None) -> Rendering:
        """See :class:`Renderer`; ``coarse`` is each sample, repeated over its cell."""
        axes, stride = axes or field.pixels(), self.config.stride
        size = [len(axis) for axis in axes]
        samples = field.query_grid([axis[::stride] for axis in axes], rendered=True)
        coarse = samples
        for n, length in enumerate(size):
            coarse = coarse.repeat_interleave(stride, dim=n + 2).narrow(n + 2, 0, length)
        asked = torch.zeros(samples.shape[0], *size, dtype=torch.bool, device=samples.device)
        every = (slice(None), *(slice(None, None, stride) for _ in size))
        asked[every] = samples.argmax(1) > 0
        asked = _dilate(asked, self.config.width)
        asked[every] = True
        index, count = pad_rows(asked.flatten(1))
        refined = torch.zeros_like(coarse)
        refined[:, 0] = _SURE
        refined = scatter_points(refined, index, ask_pixels(field, axes, index))
        return Rendering(coarse, refined, index, count)


def _dilate(mask: Tensor, width: int) -> Tensor:
    """(B, *S) bool, dilated by a box of odd width."""
    pool = functional.max_pool2d if mask.ndim == 3 else functional.max_pool3d
    return pool(mask[:, None].float(), width, stride=1, padding=width // 2)[:, 0] > 0
