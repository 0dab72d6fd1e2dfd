"""Points at the scan's own voxels: a coarse map says which are decided, the fields say the rest.

The coarse map stays at the backbone's resolution. A *cell* lies between eight of its voxels. Where
all eight are certain of one class, so is every voxel of the scan in the cell. At all others the
field is asked at the voxel's own centre. So no map of C probabilities is made at the scan's
resolution, and a point sees the image as finely as it is, whatever the grid of the scan.

``C`` classes, ``P`` points; arrays are (K, J, I), places are in voxels of the coarse map.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from MorseCore.field import CHUNK, Field
from MorseCore.geometry import Geometry
from MorseCore.images.inverse_resampling import over_cells, to_input_grid_scalar
from MorseCore.images.resampling import EDGE, Box, ObliqueInterpolator, chunks
from MorseCore.inference.assembly import (
    MAX_LISTED_POINTS,
    Placement,
    coarse_ml,
    finish,
    uncertainty_of,
)
from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.options import UNWATCHED, RunMonitor
from MorseCore.points import top_two
from MorseCore.renderers import RefineConfig
from MorseCore.renderers.renderer import fill_up
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.system.devices import Precision, autocast

__all__ = ["FieldPoints", "ScanVoxelAssembler", "Undecided", "find_undecided"]

_BLOCK = 32  # voxels an axis: points of one block are asked together, and share what they look at
_DOUBT = 0.2  # uncertainty from which a voxel counts for ``attention``
Windows = Callable[[], Iterable[tuple[tuple[int, ...], Field]]]
"""Gives first voxel (of the coarse map) and field of every window, each time anew."""


@dataclass(frozen=True, eq=False)
class Undecided:
    """A scan of which a coarse map decides most."""

    labels: np.ndarray
    """(K, J, I) of the scan; 0 where it is undecided."""
    index: Tensor
    """(P,) flat numbers of the undecided voxels, block by block."""
    places: Tensor
    """(P, 3) float32, where they lie in the coarse map (k, j, i)."""


def find_undecided(
    probabilities: Tensor, grid: Geometry, scan: Geometry, *, margin: float
) -> Undecided:
    """Tell the voxels of a scan whose class is plain from those that have to be asked.

    Between eight logits that have one winner, which leads every other by ``margin``, interpolated
    ones have that winner, and it leads by as much. So none is missed.

    :param probabilities: (C, K, J, I) of the coarse map.
    :param grid: of the coarse map.
    :param scan: any grid; outside of the map is background.
    :param margin: of logits.
    """
    cells = _decided_cells(probabilities, margin)
    labels = np.zeros(scan.shape, np.uint8 if len(probabilities) <= 256 else np.uint16)
    index, places = [torch.zeros(0, dtype=torch.long)], [torch.zeros(0, 3)]
    lookup = ObliqueInterpolator(grid, scan)
    for box in _boxes(cells, lookup):
        where, decided = _look_up(cells, grid.shape, lookup, box)
        labels[tuple(slice(a, b) for a, b in zip(*box, strict=True))] = decided.clamp_min(0).numpy()
        unsure = (decided < 0).nonzero(as_tuple=True)
        flat = torch.zeros_like(unsure[0])
        for n, size, first in zip(unsure, scan.shape, box[0], strict=True):
            flat = flat * size + n + first
        index.append(flat)
        places.append(torch.stack([axis[unsure] for axis in where], dim=-1).float())
    found, place = torch.cat(index), torch.cat(places)
    order = _block_of(found, scan.shape).argsort(stable=True)
    return Undecided(labels, found[order], place[order])


def _decided_cells(probabilities: Tensor, margin: float) -> Tensor:
    """(K - 1, J - 1, I - 1) int16: the class of a cell, or -1. An axis of one voxel has one."""
    winners = probabilities.max(dim=0).indices.to(torch.int16)
    first, second = top_two(probabilities, dim=0)
    is_unsure = (first < second * math.exp(margin)).to(torch.uint8)
    for axis, n in enumerate(winners.shape):
        if n == 1:
            winners, is_unsure = (x.repeat_interleave(2, axis) for x in (winners, is_unsure))
    lowest, highest = (over_cells(winners, choose) for choose in (torch.minimum, torch.maximum))
    is_decided = (lowest == highest) & (over_cells(is_unsure, torch.maximum) == 0)
    return torch.where(is_decided, lowest, -1)


def _boxes(cells: Tensor, lookup: ObliqueInterpolator) -> list[Box]:
    """Boxes of the scan outside of which all is background."""
    hit = (cells != 0).nonzero()
    if not len(hit):
        return []
    k, j, i = hit.min(0).values.tolist()
    last_k, last_j, last_i = (hit.max(0).values + 2).tolist()
    (k0, j0, i0), (k1, j1, i1) = lookup.reach(((k, j, i), (last_k, last_j, last_i)))
    if not (k0 < k1 and j0 < j1 and i0 < i1):
        return []
    slabs = chunks((k1 - k0, j1 - j0, i1 - i0))
    return [((k0 + a, j0, i0), (k0 + b, j1, i1)) for (a, _, _), (b, _, _) in slabs]


def _look_up(
    cells: Tensor, size: Sequence[int], lookup: ObliqueInterpolator, box: Box
) -> tuple[list[Tensor], Tensor]:
    """Places (k, j, i) of a box's voxels in a map of ``size``, and what their cells decide."""
    x, y, z = lookup.positions(box)
    where, inside = [], torch.ones(x.shape, dtype=torch.bool)
    cell = torch.zeros(x.shape, dtype=torch.long)
    for place, n, count in zip((z, y, x), size, cells.shape, strict=True):
        inside &= (place >= -0.5 - EDGE) & (place <= n - 0.5 + EDGE)
        where.append(place.clamp(0, n - 1))
        cell = cell * count + where[-1].floor().clamp_(max=count - 1).long()
    return where, cells.flatten()[cell].masked_fill_(~inside, 0)


def _block_of(index: Tensor, shape: Sequence[int]) -> Tensor:
    """Flat numbers of voxels -> numbers of the cubes of :data:`_BLOCK` in which they lie."""
    k, j, i = torch.unravel_index(index, tuple(shape))
    wide, deep = (-(-n // _BLOCK) for n in shape[1:])
    return (k // _BLOCK * wide + j // _BLOCK) * deep + i // _BLOCK


@dataclass(frozen=True, eq=False)
class Answers:
    """What the fields say at places, in their order."""

    coarse: Tensor
    """(P, C) probabilities before rendering."""
    rendered: Tensor
    """(Q,) which of the places were rendered: the most uncertain ones."""
    label: Tensor
    """(Q,) the most probable class after rendering."""
    probability: Tensor
    """(Q,) of that class."""
    uncertainty: Tensor
    """(Q,) after rendering."""
    gain: Tensor
    """(C,) sum over the rendered places of refined minus coarse probabilities, float64."""


class FieldPoints:
    """Asks the fields of a volume's windows at places, each in the window nearest to it.

    :param windows: first voxel and field of every window.
    :param starts: the first voxels, in the same order.
    :param size: of a window in voxels of the coarse map, array order.
    :param renderer: says how many points a window are rendered, and which are certain.
    :param temperature: of the probabilities.
    """

    def __init__(
        self,
        windows: Windows,
        starts: Sequence[Sequence[int]],
        size: Sequence[int],
        *,
        renderer: RefineConfig,
        temperature: float = 1.0,
        precision: Precision = "auto",
        monitor: RunMonitor = UNWATCHED,
    ) -> None:
        self._windows, self._starts, self._size = windows, starts, tuple(size)
        self._temperature, self._precision, self._monitor = temperature, precision, monitor
        self.margin = renderer.certain_margin / temperature
        """Of the logarithms of probabilities; from there on a place is certain."""
        self._most = renderer.most_points(math.prod(size))

    @torch.inference_mode()
    def __call__(self, places: Tensor, num_classes: int) -> Answers:
        """What is said at places (P, 3).

        :raises Cancelled: if the monitor wants to stop.
        """
        owner = self._owners(places)
        coarse = torch.zeros(len(places), num_classes)
        gain = torch.zeros(num_classes, dtype=torch.float64)
        rendered, kept = [torch.zeros(0, dtype=torch.long)], [torch.zeros(3, 0)]
        for n, (start, field) in enumerate(self._windows()):
            self._monitor.tell(n / max(1, len(self._starts)))
            own = (owner == n).nonzero()[:, 0]
            if not len(own):
                continue
            coords = self._coords(places[own], start).to(field.device)
            with autocast(field.device, self._precision):
                before = self._probabilities(field.coarse, coords)
                coarse[own], chosen = before, self._choose(before)
                if not len(chosen):
                    continue
                after = self._probabilities(field.logits, coords[chosen.to(coords.device)])
            rendered.append(own[chosen])
            gain += (after - before[chosen]).sum(0, dtype=torch.float64)
            kept.append(torch.stack([after.max(1).indices.float(), *_summary(after)]))
        label, probability, uncertainty = torch.cat(kept, dim=1)
        return Answers(coarse, torch.cat(rendered), label.long(), probability, uncertainty, gain)

    def _owners(self, places: Tensor) -> Tensor:
        """(P,) number of the window in whose middle a place lies most."""
        starts = torch.tensor([tuple(start) for start in self._starts])
        owner = torch.zeros(len(places), dtype=torch.long)
        least = torch.full((len(places),), math.inf)
        for n, start in enumerate(starts):
            middle = start + (torch.tensor(self._size) - 1) / 2
            away = ((places - middle) / torch.tensor(self._size)).abs().amax(1)
            owner = torch.where(away < least, n, owner)
            least = torch.minimum(least, away)
        return owner

    def _coords(self, places: Tensor, start: Sequence[int]) -> Tensor:
        """Places (P, 3) in the map -> coordinates (P, 3) in a window, (x, y, z)."""
        inside = places - torch.tensor(tuple(start))
        return ((2 * inside + 1) / torch.tensor(self._size) - 1).flip(1)

    def _probabilities(self, query: Callable[[Tensor], Tensor], coords: Tensor) -> Tensor:
        """(P, 3) -> (P, C), on the CPU in single precision."""
        parts = []
        for part in fill_up(coords[None]).split(CHUNK, dim=1):
            self._monitor.check()
            parts.append((query(part)[0].float() / self._temperature).softmax(1).cpu())
        return torch.cat(parts)[: len(coords)]

    def _choose(self, probabilities: Tensor) -> Tensor:
        """Which of (P, C) are rendered: those that are not certain, at most the most uncertain."""
        first, second = top_two(probabilities, dim=1)
        chosen = (first < second * math.exp(self.margin)).nonzero()[:, 0]
        if len(chosen) > self._most:
            worst = (second - first)[chosen].topk(self._most).indices
            chosen = chosen[worst].sort().values  # neighbours stay together
        return chosen


def _summary(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Of (P, C) the largest, and 1 - (largest - second largest)."""
    first, second = top_two(probabilities, dim=1)
    return first, 1 - (first - second)


class ScanVoxelAssembler:
    """Makes a segmentation of a coarse map, and of what the fields say where it is undecided.

    It is used as :class:`Assembler` is; the prediction has to be whole.

    :param place: its grid is the coarse map's.
    :param points: asks the fields, once the map is there.
    """

    takes_slabs = False

    def __init__(
        self,
        place: Placement,
        structures: Sequence[Structure],
        points: FieldPoints,
        *,
        is_brain: bool = False,
    ) -> None:
        self._place, self._structures, self._points = place, structures, points
        self._is_brain = is_brain
        self._asked: tuple[Tensor, Undecided, Answers] | None = None
        self.windows = self.evaluations = self.rendered_voxels = 0
        self.attention = 0.0
        """See :attr:`Assembler.attention`."""

    def add(self, part: GridPrediction) -> None:
        """Take the coarse map, and ask the fields what it leaves open.

        :raises ValueError: if a probability is no number.
        :raises Cancelled: if the points' monitor wants to stop.
        """
        place, coarse = self._place, part.coarse
        undecided = find_undecided(
            coarse, place.grid, place.fine(place.part), margin=self._points.margin
        )
        answers = self._points(undecided.places, len(coarse))
        sums = (coarse.sum(), answers.coarse.sum(), answers.gain.sum())
        if not all(total.isfinite() for total in sums):
            raise ValueError("a probability is no number")
        self._asked, self.windows = (coarse, undecided, answers), part.windows

    def result(self) -> Segmentation:
        """The segmentation; its maps are (K, J, I) of the whole."""
        assert self._asked is not None  # the map is added first
        (coarse, undecided, answers), place = self._asked, self._place
        part = place.fine(place.part)
        uncertainty = to_input_grid_scalar(
            uncertainty_of(coarse), model_geometry=place.grid, input_geometry=part
        )
        labels = undecided.labels
        maps = {"coarse": labels, "refined": labels.copy(), "uncertainty": uncertainty}
        before = answers.coarse.max(1).indices.numpy()
        best, doubt = _summary(answers.coarse)
        index, chosen = undecided.index.numpy(), answers.rendered.numpy()
        maps["coarse"].flat[index] = maps["refined"].flat[index] = before
        maps["refined"].flat[index[chosen]] = answers.label.numpy()
        uncertainty.flat[index] = doubt.numpy()
        self._count(maps, index[chosen], answers)
        points = _listed(index[chosen], before[chosen], best[chosen], doubt[chosen], answers, place)
        ml = {"coarse": coarse_ml(coarse, place)}
        ml["refined"] = ml["coarse"] + answers.gain.numpy() * part.voxel_volume / 1000
        return finish(place, self._structures, maps, points, ml, is_brain=self._is_brain)

    def _count(self, maps: dict[str, np.ndarray], rendered: np.ndarray, answers: Answers) -> None:
        """What the report says of the points."""
        self.evaluations = self.rendered_voxels = len(rendered)
        left = maps["uncertainty"].copy()
        left.flat[rendered] = answers.uncertainty.numpy()
        foreground = int(np.count_nonzero(maps["refined"]))
        self.attention = round(float(left[left > _DOUBT].sum()) / max(1, foreground), 4)


def _listed(
    index: np.ndarray,
    label: np.ndarray,
    probability: Tensor,
    uncertainty: Tensor,
    answers: Answers,
    place: Placement,
) -> RenderedPoints:
    """The most uncertain of the rendered voxels (flat numbers in the part that was segmented)."""
    part = place.fine(place.part)
    order = uncertainty.argsort(descending=True, stable=True)[:MAX_LISTED_POINTS]
    chosen = order.numpy()
    k, j, i = np.unravel_index(index[chosen], part.shape)
    voxels = np.stack([i, j, k], axis=1)
    return RenderedPoints(
        part.to_world(voxels.astype(np.float64)),
        (voxels + np.array(place.corner[::-1])).astype(np.int32),
        uncertainty[order].numpy(), label[chosen].astype(np.int32),
        answers.label[order].numpy().astype(np.int32),
        probability[order].numpy(), answers.probability[order].numpy(),
    )  # fmt: skip
