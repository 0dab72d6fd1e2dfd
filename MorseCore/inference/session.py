"""One scan and its fields: segment it once, then ask the fields again without a backbone pass."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.inference.assembly import Assembler, Placement
from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.options import PredictOptions, RunMonitor, ShouldStop, StageProgress
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.ready_scan import cut_region
from MorseCore.inference.report import report_rendering
from MorseCore.inference.scan_voxels import FieldPoints, ScanVoxelAssembler
from MorseCore.inference.sliding_window import KeptFields
from MorseCore.inference.two_sides import with_side
from MorseCore.renderers import DenseConfig, RefineConfig, Renderer
from MorseCore.result import Segmentation
from MorseCore.system.memory import check_memory, free_gpu_memory, out_of_memory_explained

__all__ = ["Session"]

FIELD_LIMIT = 4 * 2**30  # bytes of fields kept; more than a workstation has to spare is not kept
_Index = tuple[int, int, int]


class Session:
    """Segments one image and keeps its fields.

    :param options: of the first segmentation; its region bounds every later question.
    :param limit: bytes of fields kept at most; less where a GPU has less to spare.
    :param keep: hold the fields; else there are no further questions.
    :param side: of the patient on which the region lies, if that is known.
    :raises GeometryError: if the region lies outside the image.

    Example::

        session = Session(predictor, volume, PredictOptions(roi=roi))
        result = session.segment()
        detail = session.render(PredictOptions(roi=small_box, points=20_000, scale=2))
        probability, geometry = session.probability(1, scale=2)
    """

    def __init__(
        self,
        predictor: VolumePredictor,
        volume: Volume,
        options: PredictOptions,
        *,
        limit: int = FIELD_LIMIT,
        keep: bool = True,
        side: str = "",
    ) -> None:
        self._predictor, self._options, self._side = predictor, options, side
        self._part = cut_region(volume, options.roi)[0].geometry
        info = predictor.info
        if (free := free_gpu_memory(predictor.device)) is not None:
            limit = min(limit, free // 3)  # the fields lie there, and computing needs the most
        self._keep = keep
        self._kept = KeptFields(
            info.grid_window, limit=limit, temperature=info.temperature,
            precision=options.precision,
        )  # fmt: skip
        self._volume: Volume | None = volume
        self._result: Segmentation | None = None
        self._grid = self._part  # the model's, once it is known

    def segment(
        self, *, progress: StageProgress | None = None, should_stop: ShouldStop | None = None
    ) -> Segmentation:
        """Segment the image, once; see :meth:`VolumePredictor.segment` for arguments and errors.

        :raises MorseError: if it has been segmented already.
        """
        if self._volume is None:
            raise MorseError("This image has been segmented already.")
        result = self._predictor.segment(
            self._volume, self._options, kept=self._kept if self._keep else None,
            progress=progress, should_stop=should_stop,
        )  # fmt: skip
        result = with_side(result, self._side)
        self._volume, self._result = None, result
        if self._keep:
            self._grid, self._part = self._kept.place.grid, self._kept.place.part
        return result

    def render(
        self,
        options: PredictOptions,
        *,
        progress: StageProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Segmentation:
        """Render a box, or all that was segmented, with other numbers; no backbone pass.

        :param options: ``roi`` is the box.
        :param progress: called with the stage ``network`` and 0..1.
        :param should_stop: asked before each window.
        :return: on the grid of the box, ``options.scale`` times finer; maps are (K, J, I).
        :raises GeometryError: if the box lies outside of what was segmented.
        :raises ConfigError: if a number is chosen that the model's renderer does not have.
        :raises MorseError: if there is nothing to ask, or the image was too large to keep.
        :raises DeviceError: if the answer does not fit into memory.
        :raises Cancelled: if ``should_stop`` answered yes.
        """
        info = self._predictor.info
        renderer = self._predictor.renderer(options)
        monitor = RunMonitor.of_stage("network", progress, should_stop)
        first = self._segmented().report
        # In a box a brain may lie in several pieces.
        is_brain = options.roi is None and "brain" in first
        assembler: Assembler | ScanVoxelAssembler
        with out_of_memory_explained(self._predictor.device):
            structures = info.result_structures()
            if info.asks_scan:
                points, prediction, place = self._at_voxels(renderer, options, monitor)
                assembler = ScanVoxelAssembler(place, structures, points, is_brain=is_brain)
            else:
                prediction, place = self._ask(renderer.build(), options.roi, options.scale, monitor)
                assembler = Assembler(place, structures, is_brain=is_brain)
            assembler.add(prediction)
            result = assembler.result()
        if is_brain:
            result.report["brain"]["by"] = info.name
        result.report.update(report_rendering(first, options, assembler, info=info))
        return with_side(result, self._side)

    def probability(
        self,
        value: int,
        *,
        scale: int = 1,
        progress: StageProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> tuple[np.ndarray, Geometry]:
        """The rendered probability of a structure around it, and its grid (the model's own).

        :param value: of the structure.
        :param scale: the grid is this many times finer than the model's.
        :return: float32 (K, J, I); every voxel rendered, so that its surface is the field's.
        :raises MorseError: as :meth:`render`, or if the structure was not found in the image.
        """
        roi = self._around(value)
        monitor = RunMonitor.of_stage("network", progress, should_stop)
        scale *= self._predictor.info.grid_stride
        prediction, place = self._ask(DenseConfig().build(), roi, scale, monitor)
        return prediction.refined[value].numpy(), place.fine(place.grid)

    def _ask(
        self, renderer: Renderer, roi: Roi | None, scale: int, monitor: RunMonitor
    ) -> tuple[GridPrediction, Placement]:
        """What the fields say inside a region, and where that belongs."""
        part, box = self._region(roi)
        self._check_memory(box, scale)
        with out_of_memory_explained(self._predictor.device):
            prediction = self._kept.render(renderer, box, scale=scale, monitor=monitor)
        return prediction, self._place(part, box, scale)

    def _at_voxels(
        self, renderer: RefineConfig, options: PredictOptions, monitor: RunMonitor
    ) -> tuple[FieldPoints, GridPrediction, Placement]:
        """The coarse map of a region, and what asks the fields at the scan's voxels in it."""
        part, box = self._region(options.roi)
        coarse = replace(renderer, passes=0, coarse_stride=1).build()
        quiet = RunMonitor(should_stop=monitor.should_stop)
        prediction = self._kept.render(coarse, box, monitor=quiet)
        windows = [  # as seen from the box
            (tuple(a - b for a, b in zip(start, box[0], strict=True)), field)
            for start, field in self._kept.windows()
        ]
        info = self._predictor.info
        points = FieldPoints(
            lambda: windows, [start for start, _ in windows], info.grid_window,
            renderer=renderer, temperature=info.temperature, precision=self._options.precision,
            monitor=monitor,
        )  # fmt: skip
        return points, prediction, self._place(part, box, options.scale)

    def _region(self, roi: Roi | None) -> tuple[Geometry, tuple[_Index, _Index]]:
        """The part of the scan that is asked about, and the box of the model's grid around it."""
        self._segmented()
        if not (self._keep and self._kept.is_complete):
            raise MorseError(
                "The image was too large to keep its field; segment it inside a region of interest."
            )
        part = self._part
        if roi is not None:
            start, stop = roi_to_box(roi, part)
            part = part.crop(start, stop)
        return part, _cover(part, self._grid)

    def _place(self, part: Geometry, box: tuple[_Index, _Index], scale: int) -> Placement:
        dims = self._predictor.info.preparation.spatial_dims
        return Placement(self._grid.crop(*box), part, part, (0, 0, 0), dims, scale=scale)

    def _check_memory(self, box: tuple[_Index, _Index], scale: int) -> None:
        """Refuse what would not fit: Linux would end the worker without a word."""
        info = self._predictor.info
        voxels = prod(b - a for a, b in zip(*box, strict=True))
        voxels *= scale**info.preparation.spatial_dims
        check_memory(4 * info.num_classes * 2 * voxels)  # coarse and refined

    def _segmented(self) -> Segmentation:
        if self._result is None:
            raise MorseError("There is no segmented image to ask; press Segment first.")
        return self._result

    def _around(self, value: int) -> Roi:
        """A box around a structure of the first result, with a margin for its surface to close."""
        result = self._segmented()
        found = np.argwhere(result.refined == value)
        names = {s.value: s.name for s in result.structures}
        if value not in names or not len(found):
            raise MorseError(
                f"The structure '{names.get(value, value)}' was not found in this image."
            )
        low, high = found.min(axis=0)[::-1] - 3.5, found.max(axis=0)[::-1] + 3.5
        picks = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
        corners = result.geometry.to_world(np.stack([low, high])[picks, np.arange(3)])
        lower, upper = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return Roi((lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2]))


def _cover(part: Geometry, grid: Geometry) -> tuple[_Index, _Index]:
    """The box of the model's grid that covers a part of the scan, with a voxel to interpolate."""
    size = np.asarray(part.shape[::-1], dtype=np.float64)
    picks = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
    ends: Any = np.stack([np.full(3, -0.5), size - 0.5])
    corners = grid.to_index(part.to_world(ends[picks, np.arange(3)]))[:, ::-1]
    shape = np.asarray(grid.shape)
    low = np.clip(np.floor(corners.min(axis=0) + 0.5) - 1, 0, shape - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0) + 0.5) + 1, low + 1, shape).astype(int)
    (k0, j0, i0), (k1, j1, i1) = low.tolist(), high.tolist()
    return (k0, j0, i0), (k1, j1, i1)
