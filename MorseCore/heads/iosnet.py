"""The IOSNet head: a static INR on features interpolated from all levels.

``B`` batch, ``P`` points, ``D`` dimensions of space, ``M`` samples a point, ``C`` classes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.heads.head import HeadConfig
from MorseCore.heads.parts.image_source import (
    ImageFeatures,
    ImageSourceKind,
    check_image_channels,
    make_image_source,
    needed_image,
)
from MorseCore.heads.parts.pointhead import PointField, PointHead
from MorseCore.heads.parts.pointwise import PointwiseMLP
from MorseCore.points import sample_rows, to_rows

__all__ = ["IosnetConfig", "IosnetField", "IosnetHead"]


@dataclass(frozen=True)
class IosnetConfig(HeadConfig):
    """Sizes of an :class:`IosnetHead`."""

    widths: tuple[int, ...] = (1024, 1024, 1024)
    """Hidden layers of the MLP."""
    global_pool: bool = False
    """Add the mean of the coarsest map to every point."""
    displacement: float = 0.0
    """Also sample the features this far to both sides along each axis, where the image is 2 wide;
    0 samples at the point alone. IF-Net, from which the idea comes, has 0.0722."""
    displaced: Literal["mean", "concat"] = "mean"
    """How the 2D + 1 samples are joined: averaged (the released code) or side by side (IF-Net)."""
    image: ImageSourceKind = "none"
    """What a point looks up in the image itself, beside the maps: see
    :mod:`MorseCore.heads.parts.image_source`. The released code can take the image as one more
    level, one intensity a point; ``raw`` is that and its neighbours."""
    image_channels: int = 12
    """Channels of an image ``stem``."""

    def __post_init__(self) -> None:
        check_image_channels(self.image_channels)
        if not self.widths or min(self.widths) < 1:
            raise ConfigError(f"'widths' needs one or more positive numbers; found {self.widths}.")
        if not 0 <= self.displacement < 2:
            raise ConfigError(f"'displacement' must lie in [0, 2); found {self.displacement}.")

    def build(self, spec: PyramidSpec, *, num_classes: int) -> "IosnetHead":
        """The head."""
        return IosnetHead(self, spec, num_classes=num_classes)


class IosnetHead(PointHead):
    """IOSNet (Khan 2022), as SwIPE's code has it: MLP([F_1(p), ..., F_L(p), p]).

    F_l(p) is the map of level l, linearly interpolated at p; all maps of the backbone take part
    (there: the stem and four residual stages). Two deviations from the released code: it divides
    coordinates by n - 1 and then samples with ``align_corners=False``, which misplaces features by
    up to half a pixel; here both follow one convention. And it takes its maps before batch
    normalisation and pads with zeros; here they are the backbone's and padded with their edge.
    """

    def __init__(self, config: IosnetConfig, spec: PyramidSpec, *, num_classes: int) -> None:
        super().__init__()
        self.config = config
        samples = 1
        if config.displacement and config.displaced == "concat":
            samples += 2 * spec.spatial_dims
        inputs = samples * sum(spec.channels) + spec.spatial_dims
        inputs += spec.channels[0] if config.global_pool else 0
        self.image = make_image_source(config.image, spec, channels=config.image_channels)
        inputs += 0 if self.image is None else self.image.channels
        self.hidden = PointwiseMLP((inputs, *config.widths))
        self.classify = nn.Linear(config.widths[-1], num_classes)

    def prepare(
        self,
        pyramid: Pyramid,
        *,
        image: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Field:
        """A field that samples the maps at each point it is asked for."""
        seen = None if self.image is None else self.image(needed_image(image))
        return IosnetField(self, pyramid, seen)


class IosnetField(PointField):
    """Logits of the MLP at the point itself."""

    def __init__(
        self, head: IosnetHead, pyramid: Pyramid, seen: ImageFeatures | None = None
    ) -> None:
        self.size, self.batch = pyramid.size, pyramid.levels[0].shape[0]
        self._head, self._seen = head, seen
        self._rows = [to_rows(level) for level in pyramid.levels]
        self._sizes = [level.shape[2:] for level in pyramid.levels]
        is_pooled = head.config.global_pool
        self._pooled = pyramid.levels[0].flatten(2).mean(-1) if is_pooled else None

    @property
    def device(self) -> torch.device:
        return self._rows[0].device

    def features(self, coords: Tensor) -> Tensor:
        """What the MLP is given: (B, P, D) -> (B, P, F)."""
        batch, points, dims = coords.shape
        offsets = _offsets(dims, self._head.config.displacement).to(coords)
        moved = (coords[:, None] + offsets[:, None]).flatten(1, 2)  # (B, M * P, D)
        levels = [
            sample_rows(rows, size, moved)
            for rows, size in zip(self._rows, self._sizes, strict=True)
        ]
        sampled = torch.cat(levels, dim=-1).view(batch, len(offsets), points, -1)
        if self._head.config.displaced == "mean":
            joined = sampled.mean(1)
        else:
            joined = sampled.transpose(1, 2).flatten(2)
        parts = [joined, coords.to(joined.dtype)]
        if self._pooled is not None:
            parts.append(self._pooled[:, None].expand(-1, points, -1).to(joined.dtype))
        if self._seen is not None:
            parts.append(self._seen(coords).to(joined.dtype))
        return torch.cat(parts, dim=-1)

    def logits(self, coords: Tensor) -> Tensor:
        logits: Tensor = self._head.classify(self._head.hidden(self.features(coords)))
        return logits

    def memory(self) -> int:
        maps = sum(rows.nbytes for rows in self._rows)
        return maps + (0 if self._seen is None else self._seen.memory())


def _offsets(dims: int, displacement: float) -> Tensor:
    """(M, D): the point itself and, unless the displacement is 0, both ways along each axis."""
    here = torch.zeros(1, dims)
    if not displacement:
        return here
    steps = displacement * torch.eye(dims)
    return torch.cat([here, steps, -steps])
