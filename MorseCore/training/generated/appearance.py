"""How a generated image looks: intensities by label, a scanner's traces, and the model's own scale.

Shapes: ``E`` entries of the label table, ``*O`` the window, axes (K, J, I).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from MorseCore.training.generated.label_table import TISSUES, LabelTable
from MorseCore.training.generated.ranges import Contrast, Ranges
from MorseCore.training.generated.shape import smooth_field, uniform

__all__ = ["Look", "add_bias", "add_noise", "blur", "cut_view", "draw_look", "paint", "split_air"]

_FWHM = 2.3548  # of a Gaussian, in standard deviations
_ORDERED = ((0.05, 0.3), (0.35, 0.6), 0.12, 0.95)  # CSF; grey; white is brighter by so much; most


@dataclass(frozen=True, eq=False)
class Look:
    """Intensity of each label."""

    means: Tensor
    """(E,) 0..1."""
    deviations: Tensor
    """(E,) inside a label."""


def draw_look(table: LabelTable, ranges: Ranges, generator: torch.Generator) -> Look:
    """Draw what is bright."""
    means = torch.rand(len(table.values), generator=generator)
    spread = torch.rand(len(table.values), generator=generator)
    if tissues := _draw_tissues(ranges, generator):
        near = uniform(*ranges.tissue_spread, generator)
        for entry, tissue in enumerate(table.tissues):
            if tissue >= 0:
                means[entry] = tissues[tissue] + near * (2 * float(means[entry]) - 1)
    deviations = spread * uniform(*ranges.noise_within, generator)
    if uniform(0, 1, generator) < ranges.same_sides:
        first = [min(n, partner) for n, partner in enumerate(table.partners)]
        means, deviations = means[first], deviations[first]
    if uniform(0, 1, generator) < ranges.dark_background:
        means[0] = uniform(0, 0.05, generator)
        deviations[0] *= 0.3
    if uniform(0, 1, generator) < ranges.skull_stripped:
        hidden = [n for n, c in enumerate(table.classes) if c == 0]
        if uniform(0, 1, generator) < 0.5:
            csf = TISSUES.index("csf")
            hidden += [n for n, t in enumerate(table.tissues) if t == csf and _is_outer(table, n)]
        means[hidden], deviations[hidden] = means[0].clone(), deviations[0].clone()
    return Look(means, deviations)


def _is_outer(table: LabelTable, entry: int) -> bool:
    """CSF around a brain has no side and is no ventricle."""
    name = table.names[table.classes[entry]].lower()
    return "ventricle" not in name


def _draw_tissues(ranges: Ranges, generator: torch.Generator) -> tuple[float, ...]:
    """Mean of each of :data:`TISSUES`; nothing where each label has its own."""
    free, tissue, _ = ranges.contrasts
    pick = uniform(0, 1, generator)
    kind: Contrast = "free" if pick < free else "tissue" if pick < free + tissue else "t1"
    if kind == "free":
        return ()
    if kind == "tissue":
        return tuple(torch.rand(len(TISSUES), generator=generator).tolist())
    csf, grey, more, most = _ORDERED
    middle = uniform(*grey, generator)
    return uniform(*csf, generator), middle, uniform(middle + more, most, generator)


def paint(inside: Tensor, centre: Tensor, look: Look, generator: torch.Generator) -> Tensor:
    """An image (*O) of entries at places inside each pixel (N, *O) and at its centre (*O).

    A pixel's mean is that of its places, which makes partial volume; its noise is the centre's.
    """
    device = centre.device
    means, deviations = look.means.to(device), look.deviations.to(device)
    image = means[inside[0].int()]
    for place in inside[1:]:
        image += means[place.int()]
    image /= len(inside)
    noise = torch.randn(centre.shape, generator=generator).to(device)
    return image.addcmul_(deviations[centre.int()], noise)


def split_air(
    image: Tensor,
    is_air: Tensor,
    *,
    ranges: Ranges,
    spacing: tuple[float, ...],
    generator: torch.Generator,
) -> Tensor:
    """Fill what no label covers with random tissues: level sets of a smooth noise."""
    kinds = int(torch.randint(ranges.blobs[0], ranges.blobs[1] + 1, (1,), generator=generator))
    nodes_mm = uniform(*ranges.blob_size, generator)
    size = tuple(image.shape)
    nodes = tuple(max(2, round(n * mm / nodes_mm) + 1) for n, mm in zip(size, spacing, strict=True))
    field = smooth_field(
        size, nodes=nodes, amplitude=1.0, channels=1, generator=generator, device=image.device
    )[0]
    cuts = torch.randn(kinds - 1, generator=generator).sort().values.to(image.device)
    means = torch.rand(kinds, generator=generator).to(image.device)
    deviation = uniform(*ranges.noise_within, generator)
    noise = torch.randn(size, generator=generator).to(image.device)
    return torch.where(is_air, means[torch.bucketize(field, cuts)] + deviation * noise, image)


def add_bias(
    image: Tensor, *, ranges: Ranges, spacing: tuple[float, ...], generator: torch.Generator
) -> Tensor:
    """Multiply by a smooth field around one."""
    size = tuple(image.shape)
    nodes = tuple(
        max(2, round(n * mm / ranges.bias_nodes) + 1) for n, mm in zip(size, spacing, strict=True)
    )
    field = smooth_field(
        size, nodes=nodes, amplitude=uniform(0, ranges.bias, generator), channels=1,
        generator=generator, device=image.device,
    )  # fmt: skip
    return image * field[0].exp_()


def blur(
    image: Tensor, *, ranges: Ranges, spacing: tuple[float, ...], generator: torch.Generator
) -> Tensor:
    """Thick slices along one axis, or the same blur along all, or neither."""
    pick = uniform(0, 1, generator)
    if pick < ranges.thick_slices:
        axis = int(torch.randint(3, (1,), generator=generator))
        thickness = uniform(*ranges.slice_thickness, generator) / spacing[axis]
        if thickness > 1:
            image = _along(image, _slices(image.shape[axis], thickness), axis)
    elif pick < ranges.thick_slices + ranges.blurred:
        deviation = uniform(*ranges.blur, generator)
        for axis, mm in enumerate(spacing):
            image = _along(image, _gaussian(image.shape[axis], deviation / mm), axis)
    return image


def add_noise(image: Tensor, *, ranges: Ranges, generator: torch.Generator) -> Tensor:
    """Noise on top, then gamma; of an image between 0 and about 1."""
    deviation = uniform(0, ranges.noise, generator)
    image = image + deviation * torch.randn(image.shape, generator=generator).to(image.device)
    gamma = math.exp(ranges.gamma * float(torch.randn(1, generator=generator)))
    return image.clamp_(min=0).pow_(gamma)


def cut_view(
    shape: tuple[int, ...], *, ranges: Ranges, generator: torch.Generator
) -> tuple[slice, ...] | None:
    """What lies beyond the field of view's end, if it ends inside the window."""
    if uniform(0, 1, generator) >= ranges.cut:
        return None
    axis = int(torch.randint(3, (1,), generator=generator))
    count = round(uniform(*ranges.cut_share, generator) * shape[axis])
    is_low = uniform(0, 1, generator) < 0.5
    where = [slice(None)] * len(shape)
    where[axis] = slice(0, count) if is_low else slice(shape[axis] - count, None)
    return tuple(where)


def _along(image: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """A matrix (n, n) applied along one axis."""
    matrix = matrix.to(image.device)
    if axis == 0:
        return (matrix @ image.flatten(1)).view_as(image)
    if axis == image.ndim - 1:
        return image @ matrix.T
    return matrix @ image


def _gaussian(n: int, deviation: float, centres: Tensor | None = None) -> Tensor:
    """Rows of weights that average around each centre, by default around each pixel."""
    ticks = torch.arange(n, dtype=torch.float32)
    centres = ticks if centres is None else centres
    weights = torch.exp(-0.5 * ((ticks[None] - centres[:, None]) / deviation) ** 2)
    return weights / weights.sum(1, keepdim=True)


def _slices(n: int, thickness: float) -> Tensor:
    """(n, n): averaged over slices so many pixels thick, then interpolated linearly back."""
    count = max(4, round(n / thickness))
    centres = (torch.arange(count) + 0.5) * n / count - 0.5
    down = _gaussian(n, max(0.3, 0.85 * thickness / _FWHM), centres)
    position = ((torch.arange(n) + 0.5) * count / n - 0.5).clamp(0, count - 1)
    low = position.floor().long().clamp(max=count - 2)
    share = position - low
    up = torch.zeros(n, count)
    rows = torch.arange(n)
    up[rows, low], up[rows, low + 1] = 1 - share, share
    return up @ down
