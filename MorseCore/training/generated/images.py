"""A label map in, an image and soft labels out; and the samples of a training made so."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from MorseCore.images.preparation import CLIPPED, Preparation
from MorseCore.system.seeds import generator_for
from MorseCore.training.generated.appearance import (
    add_bias,
    add_noise,
    blur,
    cut_view,
    draw_look,
    paint,
    split_air,
)
from MorseCore.training.generated.config import GenerationConfig
from MorseCore.training.generated.label_maps import LabelMap
from MorseCore.training.generated.label_table import LabelTable
from MorseCore.training.generated.shape import Shape, draw_shape
from MorseCore.training.samples import Minibatch, Samples

__all__ = ["Generated", "GeneratedDataset", "ImageGenerator"]

_STEP = 3  # percentiles are taken of every third pixel along each axis

Clock = Callable[[str], AbstractContextManager[None]]


class Generated(NamedTuple):
    """One image. ``*O`` window, axes (K, J, I)."""

    image: Tensor
    """(*O) float32, normalised as a scan is."""
    labels: Tensor
    """(*O) uint8, the class at each pixel's centre."""
    shares: Tensor
    """(4, *O) uint8, the classes at four places inside each pixel."""


class ImageGenerator:
    """Draws images of any size from a label map.

    All random numbers are drawn on the CPU, so a GPU makes the same images.

    Example::

        draw = ImageGenerator(table, preparation, GenerationConfig())
        image, labels, shares = draw(label_map, generator_for(seed, "sample", 7))

    :raises ConfigError: if the model's images are flat, or scaled by fixed intensities.
    """

    def __init__(
        self, table: LabelTable, preparation: Preparation, config: GenerationConfig
    ) -> None:
        config.check_fits(preparation)
        x, y, z = preparation.spacing_xyz or (1.0, 1.0, 1.0)
        self.table, self.spacing = table, (z, y, x)
        self._preparation, self._ranges = preparation, config.drawn_from()

    def __call__(
        self,
        label_map: LabelMap,
        generator: torch.Generator,
        *,
        window: tuple[int, ...] | None = None,
        clock: Clock | None = None,
    ) -> Generated:
        """Draw one image.

        :param window: pixels along (K, J, I); None: the model's.
        :param clock: is told the stages.
        """
        timed = clock or (lambda stage: nullcontext())
        ranges, spacing = self._ranges, self.spacing
        with timed("shape"):
            shape = draw_shape(
                label_map, window=window or self._preparation.window_size, spacing=spacing,
                ranges=ranges, generator=generator,
            )  # fmt: skip
        with timed("labels"):
            centre, inside = shape.entries(), shape.entries_inside()
        with timed("intensities"):
            image = paint(inside, centre, draw_look(self.table, ranges, generator), generator)
            if ranges.blobs[1] and not self.table.is_surrounded:
                image = split_air(
                    image, centre == 0, ranges=ranges, spacing=spacing, generator=generator
                )
        with timed("bias"):
            image = add_bias(image, ranges=ranges, spacing=spacing, generator=generator)
        with timed("resolution"):
            image = blur(image, ranges=ranges, spacing=spacing, generator=generator)
        with timed("noise"):
            image = add_noise(_to_unit(image), ranges=ranges, generator=generator)
        with timed("normalise"):
            image = self._normalise(image)
        with timed("targets"):
            labels, shares = self._targets(shape, centre, inside)
            beyond = cut_view(tuple(image.shape), ranges=ranges, generator=generator)
            if beyond is not None:
                image[beyond] = 0
                labels[beyond] = 0
                shares[(slice(None), *beyond)] = 0
        return Generated(image, labels, shares)

    def _targets(self, shape: Shape, centre: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        classes = self.table.class_of(mirrored=shape.mirrored).to(centre.device)
        return classes[centre.int()], classes[inside.int()]

    def _normalise(self, image: Tensor) -> Tensor:
        """As :func:`MorseCore.images.preparation.measure_intensity` does with a scan."""
        low, high = _percentiles(image, self._preparation.percentiles)
        if self._preparation.normalisation == "percentile":
            return ((image - low) / (high - low).clamp_min(1e-6)).clamp_(*CLIPPED)
        image = image.clamp(low, high)
        return (image - image.mean()) / image.std().clamp_min(1e-6)


class GeneratedDataset(Samples):
    """Item n is sample ``n % batch`` of step ``n // batch``, always the same for one seed.

    :param windows: size (K, J, I) and share of the batches of each.
    """

    def __init__(
        self,
        maps: Sequence[LabelMap],
        draw: ImageGenerator,
        *,
        windows: Sequence[tuple[tuple[int, ...], float]],
        length: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._maps, self._draw, self._windows = maps, draw, windows
        self._length, self._batch_size, self._seed = length, batch_size, seed
        self.digest = _digest(maps, draw.table)
        self.is_on_cpu = maps[0].entries.device.type == "cpu"

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> Minibatch:
        """One sample, without B."""
        count = len(self._maps)
        epoch, place = divmod(item, count)
        order = torch.randperm(count, generator=generator_for(self._seed, "epoch", epoch))
        made = self._draw(
            self._maps[int(order[place])],
            generator_for(self._seed, "sample", item),
            window=self._window_of(item // self._batch_size),
        )
        return Minibatch(
            made.image[None], made.labels.long(), torch.eye(3, 4), torch.empty(0, 3), made.shares
        )

    def _window_of(self, batch: int) -> tuple[int, ...]:
        """All images of a batch have one size."""
        pick = float(torch.rand(1, generator=generator_for(self._seed, "window", batch)))
        for window, share in self._windows:
            if pick < share:
                return window
            pick -= share
        return self._windows[-1][0]


def _digest(maps: Sequence[LabelMap], table: LabelTable) -> str:
    """Of what is learned from."""
    digest = hashlib.blake2b(repr(table).encode(), digest_size=8)
    for part in maps:
        digest.update(f"{part.name} {tuple(part.entries.shape)} {part.spacing} ".encode())
        digest.update(part.entries.cpu().numpy().tobytes())
    return digest.hexdigest()


def _to_unit(image: Tensor) -> Tensor:
    low, high = _percentiles(image, (1.0, 99.0))
    return ((image - low) / (high - low).clamp_min(1e-6)).clamp_(*CLIPPED)


def _percentiles(image: Tensor, percentiles: tuple[float, float]) -> tuple[Tensor, Tensor]:
    values = image[::_STEP, ::_STEP, ::_STEP].flatten().sort().values
    low, high = (min(len(values) - 1, int(p / 100 * len(values))) for p in percentiles)
    return values[low], values[high]
