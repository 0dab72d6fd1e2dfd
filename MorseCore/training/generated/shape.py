"""Where each pixel of a generated image lies in its label map: one affine map, smooth fields."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from MorseCore.training.generated.label_maps import LabelMap
from MorseCore.training.generated.ranges import Ranges
from MorseCore.training.warping import rotation_matrix

__all__ = ["Shape", "draw_shape", "smooth_field", "uniform"]

_PLACES = ((0.25, 0.25, 0.25), (-0.25, -0.25, 0.25), (-0.25, 0.25, -0.25), (0.25, -0.25, -0.25))
"""Places inside a pixel, in pixels: every other corner of a cube half as wide. On each axis and in
each diagonal plane they lie as eight would."""


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number between two others."""
    return low + (high - low) * float(torch.rand(1, generator=generator))


def smooth_field(
    size: tuple[int, ...],
    *,
    nodes: tuple[int, ...],
    amplitude: float,
    channels: int,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """(channels, *size) of normal random values on a few nodes, interpolated linearly."""
    values = torch.randn(1, channels, *nodes, generator=generator) * amplitude
    field: Tensor = functional.interpolate(
        values.to(device), size=size, mode="trilinear", align_corners=True
    )
    return field[0]


@dataclass(frozen=True, eq=False)
class Shape:
    """Where the pixels of a window lie in a label map. ``*O`` window, axes (K, J, I)."""

    label_map: LabelMap
    coords: Tensor
    """(3, *O) float32, voxels of the label map."""
    matrix: Tensor
    """(3, 3) from a step of one pixel to voxels."""
    mirrored: bool
    """Whether left and right are exchanged."""

    def entries(self) -> Tensor:
        """(*O) uint8 at the centre of each pixel."""
        return self._look_up((0.0, 0.0, 0.0))

    def entries_inside(self) -> Tensor:
        """(4, *O) uint8 at four places inside each pixel."""
        return torch.stack([self._look_up(place) for place in _PLACES])

    def _look_up(self, place: tuple[float, float, float]) -> Tensor:
        """What lies nearest; beyond the map the values of its faces go on."""
        shift = self.matrix @ torch.tensor(place)
        size = self.label_map.entries.shape
        flat = torch.zeros((), dtype=torch.int32, device=self.coords.device)
        for axis, n in enumerate(size):
            # Truncated, which below zero is not rounding: it lies outside either way.
            index = (self.coords[axis] + (float(shift[axis]) + 0.5)).to(torch.int32)
            flat = flat * n + index.clamp_(0, n - 1)
        return self.label_map.entries.flatten()[flat]


def draw_shape(
    label_map: LabelMap,
    *,
    window: tuple[int, ...],
    spacing: tuple[float, float, float],
    ranges: Ranges,
    generator: torch.Generator,
) -> Shape:
    """Draw where a window looks.

    :param window: pixels along (K, J, I).
    :param spacing: mm of a pixel along (K, J, I).
    """
    device = label_map.entries.device
    matrix, mirrored = _draw_affine(ranges, generator)
    voxel, pixel = torch.tensor(label_map.spacing), torch.tensor(spacing)
    extent = torch.tensor(window) * pixel
    centre = _draw_centre(label_map, extent, ranges, generator) / voxel
    to_voxels = matrix / voxel[:, None]  # mm in the window -> voxels
    steps = to_voxels * pixel  # pixels -> voxels
    coords = torch.zeros(3, *window, device=device)
    for nodes_mm, most in ranges.deformation:
        nodes = tuple(max(2, round(float(mm) / nodes_mm) + 1) for mm in extent)
        field = smooth_field(
            window, nodes=nodes, amplitude=uniform(0, most, generator), channels=3,
            generator=generator, device=device,
        )  # fmt: skip
        coords += field / voxel.to(device).view(3, 1, 1, 1)
    axes = [torch.arange(n, device=device) - (n - 1) / 2 for n in window]
    for row in range(3):
        coords[row] += float(centre[row])
        for axis, ticks in enumerate(axes):
            view = [1, 1, 1]
            view[axis] = -1
            coords[row] += float(steps[row, axis]) * ticks.view(view)
    return Shape(label_map, coords, steps, mirrored)


def _draw_affine(ranges: Ranges, generator: torch.Generator) -> tuple[Tensor, bool]:
    """(3, 3) from mm in the window to mm in the map; whether it exchanges left and right."""

    def either_side(limit: float) -> float:
        return uniform(-limit, limit, generator)

    turn = rotation_matrix([either_side(ranges.rotation) for _ in range(3)]).float()
    scale = torch.diag(torch.tensor([1 + either_side(ranges.scaling) for _ in range(3)]))
    off = torch.tensor([[either_side(ranges.shear) for _ in range(3)] for _ in range(3)])
    shear = torch.eye(3) + off * (1 - torch.eye(3))
    matrix = turn @ shear @ scale
    mirrored = uniform(0, 1, generator) < ranges.mirror
    if mirrored:
        matrix = matrix @ torch.diag(torch.tensor([1.0, 1.0, -1.0]))  # I runs towards R
    return matrix, mirrored


def _draw_centre(
    label_map: LabelMap, extent: Tensor, ranges: Ranges, generator: torch.Generator
) -> Tensor:
    """mm along (K, J, I) of the map, (3,)."""
    low, high = (torch.tensor(edge) * torch.tensor(label_map.spacing) for edge in label_map.box)
    travel = ((high - low - extent) / 2).clamp_min(0) + torch.tensor(ranges.translation)
    return (low + high) / 2 + travel * (2 * torch.rand(3, generator=generator) - 1)
