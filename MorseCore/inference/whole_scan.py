"""A scan from end to end: find where the model works, segment there, make one result of it.

Example::

    predictor = VolumePredictor(find_model("hippocampus-t1"))
    session = open_session(predictor, read_volume("head.nii.gz"), PredictOptions())
    result = session.segment()        # both hippocampi, found by 'brain-mr'
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from MorseCore.errors import ImageError, ModelError, MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.inference.checking import thresholds_of
from MorseCore.inference.locator import contrast_of, region_around
from MorseCore.inference.options import PredictOptions, RunMonitor, ShouldStop, StageProgress
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.report import exceeds_view
from MorseCore.inference.session import Session
from MorseCore.inference.two_sides import SIDES, merge_sides, side_of_box
from MorseCore.quality.thresholds import Threshold
from MorseCore.result import Segmentation, Structure
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import LocatorInfo
from MorseCore.system.acceptance import Acceptance

__all__ = ["Finder", "FoundRegion", "ScanSession", "finder_of", "open_session"]


@dataclass(frozen=True)
class FoundRegion:
    """A box in which a model works."""

    name: str
    """Of the structure it lies around."""
    roi: Roi
    """In voxels of the scan."""

    @property
    def side(self) -> str:
        """``left``, ``right`` or nothing."""
        return _side_of(self.name)


@dataclass(frozen=True, eq=False)
class LocatedRegions:
    """What a locator says of a scan."""

    regions: tuple[FoundRegion, ...]
    contrast: str
    agreement: float
    brain: dict[str, Any]
    """Its volumes, where the locator sees a whole one."""
    notes: tuple[str, ...] = field(default=())
    """Sentences for the report."""


class Finder:
    """Another model's network, which finds the regions of this one.

    :param info: whose structures to look for.
    :raises ModelError: if that model is not installed, or lacks a structure.
    """

    def __init__(self, info: LocatorInfo, *, user: str, device: str, engine: str) -> None:
        try:
            folder = find_model(info.model)
        except ModelError:
            raise ModelError(
                f"'{user}' finds its place in a whole scan by the model '{info.model}', which is "
                f"not there: import '{info.model}', or give a region of interest."
            ) from None
        self._user, self._info = user, info
        self._predictor = VolumePredictor(folder, device=device, engine=engine)
        known = {item.name: item.value for item in self._predictor.info.structures}
        missing = [name for name in info.structures if name not in known]
        if missing:
            raise ModelError(
                f"The model '{info.model}' knows no '{missing[0]}', which '{user}' needs."
            )
        self._values = {name: known[name] for name in info.structures}
        sides = [_side_of(name) for name in info.structures]
        if len(sides) > 1 and sorted(sides) != list(SIDES):
            raise ModelError(
                f"'locator.structures' of '{user}' must name one structure, or a left and a right "
                f"one; found {', '.join(info.structures)}."
            )

    def find(self, volume: Volume, accept: tuple[str, ...], monitor: RunMonitor) -> LocatedRegions:
        """The regions in a scan; those of structures that are not in it are left out.

        :raises ImageError: if the scan shows nothing that the locating model trusts.
        :raises Cancelled: if the monitor wants to stop.
        """
        try:
            found, notes = self._predictor.coarse_map(volume, accept=accept, monitor=monitor)
        except ImageError as error:
            way_out = f"; with a region of interest '{self._user}' needs none."
            explained = ImageError(str(error).rstrip(".") + way_out)
            explained.plain = (error.plain or str(error)).rstrip(".") + way_out
            explained.accept = error.accept
            raise explained from error
        regions, missing = [], []
        for name, value in self._values.items():
            try:
                roi = region_around(found, [value], volume.geometry, self._info.margin)
            except ImageError:
                missing.append(name)
                continue
            regions.append(FoundRegion(name, roi))
        if not regions:
            raise ImageError(
                f"'{self._info.model}' found no {' and no '.join(self._values)} in "
                f"{volume.source}; give a region of interest if it is there."
            )
        notes += [f"'{self._info.model}' found no {name}." for name in missing]
        contrast = contrast_of(found, self._predictor.info)
        return LocatedRegions(tuple(regions), contrast, found.agreement, found.brain, tuple(notes))


def finder_of(predictor: VolumePredictor) -> Finder:
    """What finds a model's regions; loaded once and kept with it.

    :raises ModelError: if that model is not there.
    """
    info = predictor.info
    if info.locator is None:
        raise ModelError(f"The model '{info.name}' names none that finds its place in a scan.")
    if predictor not in _FINDERS:
        device, engine = str(predictor.device), predictor.engine_name
        _FINDERS[predictor] = Finder(info.locator, user=info.name, device=device, engine=engine)
    return _FINDERS[predictor]


_FINDERS: WeakKeyDictionary[VolumePredictor, Finder] = WeakKeyDictionary()


class ScanSession(Protocol):
    """A scan that is segmented once, and whose fields are asked again."""

    def segment(
        self, *, progress: StageProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Segmentation: ...

    def render(
        self,
        options: PredictOptions,
        *,
        progress: StageProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Segmentation: ...

    def probability(
        self,
        value: int,
        *,
        scale: int = 1,
        progress: StageProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> tuple[np.ndarray, Geometry]: ...


def open_session(
    predictor: VolumePredictor, volume: Volume, options: PredictOptions, *, keep: bool = True
) -> ScanSession:
    """How a scan is segmented with a model: in the given region, or where its locator finds some.

    An image that is no larger than the model's training images is such a region itself.

    :param keep: hold the fields for further questions.
    :raises GeometryError: if the region lies outside the image.
    :raises ModelError: if the model that finds the regions is not there.
    """
    # An image as large as the training's were; how large those were need not be known.
    is_a_region = predictor.info.field_of_view and not exceeds_view(volume, predictor.info)
    if options.roi is not None or not predictor.needs_finder or is_a_region:
        side = _side_of_region(predictor, volume, options.roi)
        return Session(predictor, volume, options, keep=keep, side=side)
    return _FoundSession(predictor, finder_of(predictor), volume, options, keep=keep)


def _side_of_region(predictor: VolumePredictor, volume: Volume, roi: Roi | None) -> str:
    """Of a box given by hand to a model that is else run on both sides; nothing elsewhere."""
    locator = predictor.info.locator
    has_sides = predictor.needs_finder and locator is not None and len(locator.structures) > 1
    return side_of_box(volume, roi) if roi is not None and has_sides else ""


class _FoundSession:
    """The sides of a head as one; each region has a session of its own."""

    def __init__(
        self,
        predictor: VolumePredictor,
        finder: Finder,
        volume: Volume,
        options: PredictOptions,
        *,
        keep: bool,
    ) -> None:
        self._predictor, self._finder = predictor, finder
        self._options, self._keep = options, keep
        self._volume: Volume | None = volume
        self._scan = volume.geometry
        self._sessions: dict[str, Session] = {}
        self._rois: dict[str, Roi] = {}

    def segment(
        self, *, progress: StageProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Segmentation:
        """See :meth:`Session.segment`; also:

        :raises ImageError: if the scan does not show what the model is for.
        """
        if self._volume is None:
            raise MorseError("This image has been segmented already.")
        volume, self._volume = self._volume, None
        options, info = self._options, self._predictor.info
        monitor = RunMonitor.of_stage("prepare", progress, should_stop)
        started = time.perf_counter()
        found = self._finder.find(volume, options.accept, monitor)
        seconds = round(time.perf_counter() - started, 4)
        notes = [*found.notes, *_check_contrast(found, self._predictor, volume, options)]
        results = {}
        for n, region in enumerate(found.regions):
            session = Session(self._predictor, volume, replace(options, roi=region.roi),
                              keep=self._keep)  # fmt: skip
            told = None if progress is None else _Share(progress, n, len(found.regions))
            results[region.side] = session.segment(progress=told, should_stop=should_stop)
            self._sessions[region.side], self._rois[region.side] = session, region.roi
        merged = _merged(results, info.result_structures(), thresholds_of(info))
        merged.report["found"] = {
            "by": info.locator.model if info.locator else "",
            "agreement": round(found.agreement, 4),
            "contrast": found.contrast,
            "regions": [{"name": r.name, "side": r.side, "roi": asdict(r.roi)}
                        for r in found.regions],
        }  # fmt: skip
        if found.brain:
            merged.report["brain"] = found.brain
        merged.report["seconds"] = {"find": seconds, **merged.report.get("seconds", {})}
        merged.report["warnings"] = [*notes, *merged.report.get("warnings", [])]
        return merged

    def render(
        self,
        options: PredictOptions,
        *,
        progress: StageProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Segmentation:
        """See :meth:`Session.render`. A box is asked of the side in which more of it lies."""
        structures = self._predictor.info.result_structures()
        sides = [self._side_of(options.roi)] if options.roi else list(self._asked())
        results = {}
        for n, side in enumerate(sides):
            told = None if progress is None else _Share(progress, n, len(sides))
            results[side] = self._sessions[side].render(
                options, progress=told, should_stop=should_stop
            )
        if len(results) > 1:
            results = _on_one_grid(results)
        return _merged(results, structures)

    def probability(
        self,
        value: int,
        *,
        scale: int = 1,
        progress: StageProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> tuple[np.ndarray, Geometry]:
        """See :meth:`Session.probability`; the value is one of both sides'."""
        count = len(self._predictor.info.structures)
        if "" in self._asked():
            return self._sessions[""].probability(
                value, scale=scale, progress=progress, should_stop=should_stop
            )
        side = SIDES[min((value - 1) // count, 1)]
        if side not in self._asked():
            raise MorseError(f"Nothing was segmented on the {side} side.")
        return self._sessions[side].probability(
            value - count * SIDES.index(side), scale=scale, progress=progress,
            should_stop=should_stop,
        )  # fmt: skip

    def _asked(self) -> Mapping[str, Session]:
        if not self._sessions:
            raise MorseError("There is no segmented image to ask; press Segment first.")
        return self._sessions

    def _side_of(self, roi: Roi) -> str:
        """The side whose region has most of a box. :raises GeometryError: if it is beside all."""
        start, stop = roi_to_box(roi, self._scan)
        common = {}
        for side in self._asked():
            low, high = roi_to_box(self._rois[side], self._scan)
            pairs = zip(start, stop, low, high, strict=True)
            common[side] = np.prod([max(0, min(b, d) - max(a, c)) for a, b, c, d in pairs])
        return max(common, key=lambda side: common[side])


def _side_of(structure: str) -> str:
    """``left``, ``right`` or nothing, by a structure's first word."""
    word = structure.split(" ")[0].lower()
    return word if word in SIDES else ""


def _merged(
    results: Mapping[str, Segmentation],
    structures: Sequence[Structure],
    thresholds: Sequence[Threshold] = (),
) -> Segmentation:
    """Both sides as one; the result itself where there are no sides."""
    if "" in results:
        return results[""]
    return merge_sides(results, structures, thresholds=thresholds)


class _Share:
    """The progress of one part of several equal ones, as that of the whole."""

    def __init__(self, tell: StageProgress, n: int, count: int) -> None:
        self._tell, self._n, self._count = tell, n, count

    def __call__(self, stage: str, share: float) -> None:
        # Preparing and restoring are short: the bar shows the network's share of each part.
        if stage == "network":
            self._tell(stage, (self._n + share) / self._count)
        elif stage == "restore" and self._n == self._count - 1:
            self._tell(stage, share)


def _check_contrast(
    found: LocatedRegions, predictor: VolumePredictor, volume: Volume, options: PredictOptions
) -> list[str]:
    """A model of one weighting is not run on another; returns sentences for the report."""
    wanted = predictor.info.contrast
    if wanted is None or found.contrast in ("", wanted):
        return []
    seen = f"it looks {found.contrast}-weighted" if found.contrast != "other" else "it is neither"
    error = ImageError(
        f"'{predictor.info.name}' was trained on {wanted}-weighted MR, and in {volume.source} "
        f"white matter, cortex and fluid are not as bright as there ({seen})"
    )
    return [Acceptance(options.accept).refuse("contrast", error)]


def _on_one_grid(results: Mapping[str, Segmentation]) -> dict[str, Segmentation]:
    """Results on parts of one lattice, on the smallest grid that holds them all."""
    first = next(iter(results.values())).geometry
    starts, stops = {}, {}
    for side, result in results.items():
        origin = first.to_index(result.geometry.to_world(np.zeros((1, 3))))[0][::-1]
        start = np.rint(origin).astype(int)
        if np.abs(origin - start).max() > 0.01:
            raise MorseError("The regions of the two sides do not lie on one grid.")
        starts[side], stops[side] = start, start + result.geometry.shape
    low = np.min(list(starts.values()), axis=0)
    shape = tuple((np.max(list(stops.values()), axis=0) - low).tolist())
    matrix = first.ijk_to_ras.copy()
    matrix[:3, 3] = first.to_world(low[::-1][None].astype(np.float64))[0]
    whole = Geometry(shape, matrix)
    pasted = {}
    for side, result in results.items():
        offset = starts[side] - low
        where = tuple(slice(a, a + n) for a, n in zip(offset, result.geometry.shape, strict=True))
        maps: dict[str, Any] = {}
        for name in ("coarse", "refined", "uncertainty"):
            values = getattr(result, name)
            maps[name] = np.zeros(shape, values.dtype)
            maps[name][where] = values
        indices = (result.points.indices + offset[::-1]).astype(np.int32)
        points = replace(result.points, indices=indices)
        pasted[side] = replace(result, geometry=whole, points=points, **maps)
    return pasted
