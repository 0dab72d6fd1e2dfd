"""Training samples: which crop of which case makes sample ``index`` of step ``step``."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from MorseCore.losses import Targets
from MorseCore.samplers import PrecomputedConfig
from MorseCore.system.seeds import generator_for, seed_for
from MorseCore.training.augmentation import AugmentationConfig, augment_located
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.identity import digest_of
from MorseCore.training.presampling import draw_points, points_in_crop

__all__ = ["CropDataset", "Minibatch", "MixedSamples", "Samples", "StepSampler"]


class Minibatch(NamedTuple):
    """Samples of one step; also one sample, without B. ``*O`` crop, ``D`` its dimensions."""

    image: Tensor
    """(B, C_in, *O) float32."""
    labels: Tensor
    """(B, *O) int64."""
    to_source: Tensor
    """(B, D, D + 1) float32, from coordinates in the crop to those in the source image."""
    points: Tensor
    """(B, P, D) float32, coordinates in the crop of points drawn before training; P may be 0."""

    shares: Tensor = torch.empty(0, dtype=torch.uint8)
    """(B, N, *O) uint8, labels at N places inside each pixel: a soft label is how often each class
    is among them. N may be 0, which is also what an empty tensor means: each pixel is one class."""

    unannotated: Tensor = torch.empty(0, dtype=torch.bool)
    """(B, 256) bool, the classes that were not drawn, which background may hide; empty: none."""

    def to(self, device: torch.device) -> "Minibatch":
        """On a device."""
        return Minibatch(*(part.to(device, non_blocking=True) for part in self))

    @property
    def targets(self) -> Targets:
        """What the field is compared with."""
        return Targets(
            self.labels,
            self.points if self.points.shape[-2] else None,
            self.shares if self.shares.numel() else None,
            self.unannotated if self.unannotated.numel() else None,
        )


log = logging.getLogger(__name__)
_KEPT_VOXELS = 20_000  # foreground positions kept a case to draw crop centres from


class Samples(torch.utils.data.Dataset[Minibatch], ABC):
    """What a training learns from: any number of samples, each always the same.

    Item n is sample ``n % batch`` of step ``n // batch``, without B.
    """

    digest: str
    """Of the data, to tell a resumed run's from others."""
    is_on_cpu: bool
    """Whether samples are made in the CPU's memory."""

    @abstractmethod
    def __len__(self) -> int: ...


class CropDataset(Samples):
    """Item n is sample ``n % batch`` of step ``n // batch``, always the same for one seed.

    That makes resuming exact and the result independent of the number of workers and processes.
    Each epoch of the data set is a new permutation of the cases. In 2D a case is a slice.

    :param length: number of items; any, as the cases are visited again and again.
    :param oversample: share of the crops centred on a foreground voxel, of images that have any.
    :param presample: the points to be drawn now, in each source image; None: no points.
    :param swapped: (256,) what each label becomes where left and right are exchanged, see
        :func:`swapped_labels`; None: each stays what it is.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        crop: tuple[int, ...],
        *,
        augmentation: AugmentationConfig,
        length: int,
        seed: int,
        oversample: float,
        presample: PrecomputedConfig | None = None,
        swapped: Tensor | None = None,
    ) -> None:
        self._crop, self._augmentation, self._swapped = crop, augmentation, swapped
        self._length, self._seed, self._oversample = length, seed, oversample
        self.digest, self.is_on_cpu = digest_of(cases), True
        is_partial = any(case.unannotated for case in cases)
        self._samples = [
            (*part, _marks(case.unannotated if is_partial else None))
            for case in cases for part in _split(case, len(crop))
        ]  # fmt: skip
        self._presample, self._points = presample, self._draw_points(presample)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> Minibatch:
        """One sample, without B."""
        count = len(self._samples)
        epoch, place = divmod(item, count)
        order = torch.randperm(count, generator=generator_for(self._seed, "epoch", epoch))
        number = int(order[place])
        image, labels, foreground, spacing, unannotated = self._samples[number]
        generator = generator_for(self._seed, "sample", item)
        crop, target, to_source, mirror = augment_located(
            image, labels, crop=self._crop,
            center=self._draw_center(labels.shape, foreground, generator),
            config=self._augmentation, generator=generator, spacing=spacing,
        )  # fmt: skip
        points = torch.empty(0, len(self._crop))
        if self._presample is not None:
            points = points_in_crop(
                self._points[number], to_source, count=self._presample.points, generator=generator
            )
        target = target.long()  # only here: eight bytes a voxel of a whole CT are a gigabyte
        if self._swapped is not None and len(self._crop) - 1 in mirror:
            target = self._swapped[target]
            unannotated = unannotated[self._swapped] if len(unannotated) else unannotated
        return Minibatch(crop, target, to_source, points, unannotated=unannotated)

    def _draw_points(self, presample: PrecomputedConfig | None) -> list[Tensor]:
        """(P, D) coordinates in each source image, the same whatever else is drawn."""
        if presample is None:
            return []
        points = [
            draw_points(labels.numpy(), presample, seed=seed_for(self._seed, "points", number))
            for number, (_, labels, *_) in enumerate(self._samples)
        ]
        total = sum(map(len, points))
        size = sum(part.nbytes for part in points) / 2**20
        log.info("%d points drawn in %d images, %.1f MiB", total, len(points), size)
        return points

    def _draw_center(
        self, size: Sequence[int], foreground: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """A crop inside the image where it fits; a small image lies anywhere inside the crop."""
        on_object = float(torch.rand(1, generator=generator)) < self._oversample
        around = None
        if on_object and len(foreground):
            pick = int(torch.randint(len(foreground), (1,), generator=generator))
            around = foreground[pick].tolist()
        center = []
        for axis, (n, crop) in enumerate(zip(size, self._crop, strict=True)):
            low, high = sorted((0, n - crop))
            if around is None:
                start = int(torch.randint(low, high + 1, (1,), generator=generator))
            else:
                start = min(max(around[axis] - crop // 2, low), high)
            center.append(start + (crop - 1) / 2)
        return tuple(center)


class MixedSamples(Samples):
    """Batches of one kind or of another; of which, the seed and the batch's number decide.

    :param share: of the batches that are of the second kind.
    """

    def __init__(
        self, first: Samples, second: Samples, *, share: float, batch_size: int, seed: int
    ) -> None:
        self._kinds, self._share = (first, second), share
        self._batch_size, self._seed = batch_size, seed
        self.digest = f"{first.digest} {second.digest}"
        self.is_on_cpu = first.is_on_cpu and second.is_on_cpu

    def __len__(self) -> int:
        return len(self._kinds[0])

    def __getitem__(self, item: int) -> Minibatch:
        """One sample, without B."""
        generator = generator_for(self._seed, "kind", item // self._batch_size)
        is_second = float(torch.rand(1, generator=generator)) < self._share
        return self._kinds[is_second][item]


class StepSampler(torch.utils.data.Sampler[int]):
    """The items of one process, from a step on.

    A step is ``processes`` times ``per_process`` items; process r takes the r-th part. So two
    processes see what one with twice as many items a step sees.
    """

    def __init__(
        self, *, first_step: int, steps: int, per_process: int, rank: int, processes: int
    ) -> None:
        self._steps, self._per_process = range(first_step, steps), per_process
        self._rank, self._processes = rank, processes

    def __len__(self) -> int:
        return len(self._steps) * self._per_process

    def __iter__(self) -> Iterator[int]:
        for step in self._steps:
            first = (step * self._processes + self._rank) * self._per_process
            yield from range(first, first + self._per_process)


_Sample = tuple[Tensor, Tensor, Tensor, tuple[float, ...]]


def _marks(unannotated: Sequence[int] | None) -> Tensor:
    """(256,) bool, true for each label of the list; empty for None."""
    if unannotated is None:
        return torch.empty(0, dtype=torch.bool)
    marks = torch.zeros(256, dtype=torch.bool)
    marks[list(unannotated)] = True
    return marks


def _split(case: PreparedCase, dims: int) -> list[_Sample]:
    if dims == 3:
        return [_sample(case.image, case.labels, case.spacing)]
    slices = case.image if case.image.ndim == 3 else case.image.swapaxes(0, 1)  # (K, C, J, I)
    pairs = zip(slices, case.labels, strict=True)
    return [_sample(image, labels, case.spacing[1:]) for image, labels in pairs]


def _sample(image: np.ndarray, labels: np.ndarray, spacing: tuple[float, ...]) -> _Sample:
    foreground = np.argwhere(labels > 0)
    step = max(1, len(foreground) // _KEPT_VOXELS)
    return (
        torch.from_numpy(np.ascontiguousarray(image)).reshape(-1, *labels.shape),  # (C, *S)
        torch.from_numpy(np.ascontiguousarray(labels)),
        torch.from_numpy(foreground[::step].astype(np.int32)),
        spacing,
    )
