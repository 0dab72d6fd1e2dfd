"""Changes of brightness, contrast, noise and sharpness of one normalised image (C, *S).

Every function takes its strengths as arguments and draws nothing itself, but for `add_noise` and
`add_bias_field`, which draw from the generator they are given. ``C`` channels, ``*S`` space.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "add_bias_field",
    "add_noise",
    "apply_gamma",
    "blur",
    "lower_resolution",
    "stretch_contrast",
]

_SMALLEST = 1e-7  # keeps a constant image from dividing by zero


def add_noise(image: Tensor, *, std: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise."""
    noise = torch.randn(image.shape, generator=generator, device=generator.device)
    return image.add(noise.to(image.device), alpha=std)


def stretch_contrast(image: Tensor, *, factor: float, shift: float) -> Tensor:
    """Scale about each channel's mean by ``factor``, then add ``shift`` (normalised units)."""
    mean = image.flatten(1).mean(1).view(-1, *[1] * (image.ndim - 1))
    return torch.add(image * factor, mean * (1 - factor) + shift)


def apply_gamma(image: Tensor, *, gamma: float, invert: bool) -> Tensor:
    """Raise each channel, taken as 0..1 of its range, to a power; mean and deviation are kept.

    :param invert: bend the bright end instead of the dark one.
    """
    flat = -image.flatten(1) if invert else image.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    bent = ((flat - low) / (high - low).clamp_min(_SMALLEST)).clamp_(0, 1).pow_(gamma)
    mean, std = flat.mean(1, keepdim=True), flat.std(1, keepdim=True, correction=0)
    bent_std = bent.std(1, keepdim=True, correction=0).clamp_min(_SMALLEST)
    bent = (bent - bent.mean(1, keepdim=True)) * (std / bent_std) + mean
    return (-bent if invert else bent).view_as(image)


def blur(image: Tensor, *, sigma: float) -> Tensor:
    """Gaussian blur; ``sigma`` in voxels. At the border the kernel is cut and renormalised."""
    operators = []
    for n in image.shape[1:]:
        place = torch.arange(n, dtype=torch.float32, device=image.device)
        distance = (place[:, None] - place[None]).abs() / sigma
        # Cut at 4 sigma: further out the kernel becomes denormal, which is 10 times as slow.
        kernel = torch.where(distance <= 4, torch.exp(-0.5 * distance**2), 0.0)
        operators.append(kernel / kernel.sum(1, keepdim=True))
    return _along_axes(image, operators)


def lower_resolution(image: Tensor, *, zoom: float) -> Tensor:
    """As if acquired with voxels ``1 / zoom`` as large (nearest down, linear up); zoom in 0..1."""
    operators = []
    for n in image.shape[1:]:
        # The response of every voxel on its own is the operator's matrix.
        impulses = torch.eye(n, device=image.device)[None]
        few = functional.interpolate(impulses, size=max(1, round(n * zoom)), mode="nearest-exact")
        operators.append(functional.interpolate(few, size=n, mode="linear")[0].T.contiguous())
    return _along_axes(image, operators)


def add_bias_field(image: Tensor, *, strength: float, generator: torch.Generator) -> Tensor:
    """Multiply by a smooth positive field, exp(N(0, strength)) at 3 nodes an axis.

    Each channel is lifted to start at zero for it, since a normalised image has no true zero.
    """
    dims = image.ndim - 1
    nodes = torch.randn((1, 1, *[3] * dims), generator=generator, device=generator.device)
    mode = "bilinear" if dims == 2 else "trilinear"
    size = list(image.shape[1:])
    field = functional.interpolate(
        nodes.to(image.device) * strength, size=size, mode=mode, align_corners=True
    )
    low = image.flatten(1).amin(1).view(-1, *[1] * dims)
    return (image - low) * field[0].exp() + low


def _along_axes(image: Tensor, operators: Sequence[Tensor]) -> Tensor:
    """Apply one (n, n) matrix along each spatial axis."""
    for axis, operator in enumerate(operators, start=1):
        if axis == image.ndim - 1:
            image = image @ operator.T
        else:
            rows = image.shape[axis]
            image = (operator @ image.reshape(*image.shape[:axis], rows, -1)).view_as(image)
    return image
