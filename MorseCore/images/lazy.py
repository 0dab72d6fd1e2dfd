"""A scan that is normalised where it is looked at, so that no second copy of it is held."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from MorseCore.images.preparation import Intensity

__all__ = ["LazyChannels", "LazyImage"]


class LazyImage:
    """Voxels of any type, read as the normalised float32 tensor that it stands for.

    Example::

        image = LazyImage(volume.array, measure_intensity(volume.array, preparation))
        image.shape          # (K, J, I)
        image[..., 2:5, 0:9, :]   # a tensor: these voxels, normalised

    :param array: (K, J, I), may be a view with turned axes; not changed and not copied.
    """

    def __init__(self, array: np.ndarray, intensity: Intensity) -> None:
        self._array, self._intensity = array, intensity
        self.shape: tuple[int, ...] = array.shape

    def __getitem__(self, where: Any) -> Tensor:
        """The voxels of a part."""
        return torch.from_numpy(self._intensity(self._array[where]))


class LazyChannels:
    """Several such images on one grid, as (C, K, J, I); asked with an ellipsis in front."""

    def __init__(self, channels: Sequence[LazyImage]) -> None:
        self._channels = channels
        self.shape: tuple[int, ...] = (len(channels), *channels[0].shape)

    def __getitem__(self, where: Any) -> Tensor:
        """The voxels of a part, of every channel."""
        return torch.stack([channel[where] for channel in self._channels])
