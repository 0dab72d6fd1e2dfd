"""From a scan's voxels to masks on its own grid: the steps in order, and a second attempt."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from MorseCore.errors import ImageError, ModelError, MorseError, NotFiniteError
from MorseCore.field import Field
from MorseCore.images.imageio import Volume
from MorseCore.inference.assembly import Assembler
from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.brain import keep_one_piece, measure_brain, volumes_of
from MorseCore.inference.checking import (
    Passes,
    ask_again,
    check_result,
    disputed_slices,
    mirror_of,
)
from MorseCore.inference.locator import (
    CoarseMap,
    box_in_scan,
    find_window,
    fits_window,
    label_coarsely,
    mean_dice,
    window_around,
)
from MorseCore.inference.openvino import use_engine
from MorseCore.inference.options import (
    UNWATCHED,
    PredictOptions,
    RunMonitor,
    ShouldStop,
    StageProgress,
)
from MorseCore.inference.ready_scan import ReadyScan, prepare
from MorseCore.inference.report import report_segmentation
from MorseCore.inference.scan_voxels import FieldPoints, ScanVoxelAssembler
from MorseCore.inference.sliding_window import (
    KeptFields,
    each_field,
    predict_slabs,
    window_begins,
)
from MorseCore.network import averaged
from MorseCore.result import Segmentation, brain_values
from MorseCore.store.model_folder import load_network, read_model
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.devices import describe_device, resolve_device, resolve_precision
from MorseCore.system.files import printable
from MorseCore.system.memory import memory_limited, out_of_memory_explained
from MorseCore.system.stage_clock import StageClock

__all__ = ["VolumePredictor"]

_SEED = 0
_FIELDS = 2 * 2**30  # bytes of fields that are kept for points; of more, windows are computed again
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Run:
    """One segmentation under way: what was asked, and by whom."""

    options: PredictOptions
    kept: KeptFields | None
    progress: StageProgress | None
    should_stop: ShouldStop | None
    clock: StageClock = field(default_factory=StageClock)
    coarse: list[Tensor] = field(default_factory=list)
    """Labels before rendering, slab by slab, where further passes are compared with them."""

    def monitor(self, stage: str) -> RunMonitor:
        return RunMonitor.of_stage(stage, self.progress, self.should_stop)


class VolumePredictor:
    """A loaded model on a device; segments one volume after the other.

    Example::

        predictor = VolumePredictor(Path("MorseCore/models/hippocampus-t1"))
        result = predictor.segment(read_volume(Path("brain.nii.gz")), PredictOptions(roi=roi))

    :param folder: of the model.
    :param device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    :param engine: what computes the backbone, see :mod:`MorseCore.inference.openvino`.
    :raises ModelError: if the model folder cannot be used.
    :raises DeviceError: if the device is not there, or not for the engine.
    :raises ConfigError: if there is no such engine.
    """

    def __init__(self, folder: Path, *, device: str = "auto", engine: str = "torch") -> None:
        started = time.perf_counter()
        self.info = read_model(folder)
        self.device = resolve_device(device)
        with out_of_memory_explained(self.device):
            self.network = load_network(folder, self.info, device=self.device)
        self.engine = use_engine(
            self.network, engine, device=self.device,
            window=self.info.preparation.window_size, channels=self.info.network.in_channels,
        )  # fmt: skip
        self.engine_name = engine
        self.load_seconds = time.perf_counter() - started

    @property
    def needs_finder(self) -> bool:
        """Whether another model has to find where in a whole scan this one works."""
        return self.info.locator is not None and not self.sees_whole_scans

    @property
    def sees_whole_scans(self) -> bool:
        """Whether this model finds its own place in a scan."""
        return self.info.locator is not None and self.info.locator.model == self.info.name

    def segment(
        self,
        volume: Volume,
        options: PredictOptions | None = None,
        *,
        kept: KeptFields | None = None,
        progress: StageProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Segmentation:
        """Segment a scan; outside of the region of interest all is background.

        :param volume: (K, J, I) of any real numbers; voxels that are NaN or infinite are taken as
            background, and have no say in how the others are normalised.
        :param kept: collects the fields for further questions (:mod:`MorseCore.inference.session`).
        :param progress: called with the stage (``prepare``, ``network``, ``restore``) and 0..1.
        :param should_stop: asked before each batch of windows, and once they are done.
        :return: maps (K, J, I) on the scan's own grid, or ``options.scale`` times finer.
        :raises ImageError: if the volume is no scan (constant, a label map, half of it NaN, a line
            of voxels); some such errors can be overruled (``options.accept``).
        :raises GeometryError: if the region lies outside the image, or the voxels are of another
            scale than the model's.
        :raises ConfigError: if a number is chosen that the model's renderer does not have.
        :raises ModelError: if the model answers with values that are not numbers.
        :raises DeviceError: if the device has or runs out of memory.
        :raises Cancelled: if ``should_stop`` answered yes.
        """
        run = _Run(options or PredictOptions(), kept, progress, should_stop)
        # Nothing in inference draws at random; a model that does has one seed, and the caller's
        # own draws go on as if there had been none.
        drawing = [self.device] if self.device.type == "cuda" else []
        accepted = Acceptance(run.options.accept)
        with memory_limited(self.device, accepted), torch.random.fork_rng(devices=drawing):
            torch.manual_seed(_SEED)
            return self._segment(volume, run)

    def _segment(self, volume: Volume, run: _Run) -> Segmentation:
        if run.kept is None and self.info.asks_scan:  # points are asked once the map is there
            run = replace(run, kept=KeptFields(self.info.grid_window, limit=_FIELDS))
        with run.clock("prepare"), out_of_memory_explained(self.device):
            run.monitor("prepare").tell(0.0)
            scan = prepare(volume, self.info, run.options)
            scan = self._focused(scan, volume, run.options, run.monitor("prepare"))
            if run.kept is not None:
                run.kept.place = scan.place
            assembler = self._assembler(scan, run)
        retry = None
        try:
            self._fill(assembler, scan, run)
        except NotFiniteError as error:
            retry = self._in_single_precision(run, scan, error)
        if retry is not None:  # outside of the handler, which holds what was blended
            run = retry
            assembler = self._assembler(scan, run)
            self._fill(assembler, scan, run)
        monitor = run.monitor("restore")
        monitor.check()
        labels = self._coarse_labels(scan, run)
        passes = None if labels is None else self._passes(scan, labels, run)
        with run.clock("restore"), out_of_memory_explained(self.device):
            monitor.tell(0.0)
            result = assembler.result()
            result.report.update(report_segmentation(
                volume, scan.part, run.options, assembler, info=self.info, device=self.device,
                engine=self.engine, seed=_SEED, warnings=scan.warnings,
            ))  # fmt: skip
            if run.options.verdict != "off":
                result.report["verdict"] = check_result(
                    result, self.info, part=scan.part, place=scan.place, passes=passes,
                    mode=run.options.verdict,
                    is_partial=self.sees_whole_scans and run.options.roi is not None,
                )  # fmt: skip
                if labels is not None and passes is not None and passes.other is not None:
                    disputed = disputed_slices(
                        scan.image, labels, passes.other, scan.place.grid,
                        stride=self.info.grid_stride,
                    )  # fmt: skip
                    result = replace(result, disputed=disputed)
            monitor.tell(1.0)
        if "brain" in result.report:
            result.report["brain"]["by"] = self.info.name
        result.report["seconds"] = run.clock.seconds
        if self._must_agree(run.options):
            result.report["found"] = self._found(scan, passes)
        return result

    def coarse_map(
        self, volume: Volume, *, accept: tuple[str, ...] = (), monitor: RunMonitor = UNWATCHED
    ) -> tuple[CoarseMap, list[str]]:
        """What a model that sees whole scans says of one before rendering, to place others in it.

        :return: the map, and sentences for the report.
        :raises ImageError: if the scan shows nothing that the model trusts.
        :raises Cancelled: if the monitor wants to stop.
        """
        options = PredictOptions(accept=accept)
        with memory_limited(self.device, Acceptance(accept)), out_of_memory_explained(self.device):
            scan = self._focused(prepare(volume, self.info, options), volume, options, monitor)
            labels = label_coarsely(self.network, scan.image, self.info, monitor=monitor)
            passes = self._ask_again(scan, labels, options, monitor)
        agreement = _agreement_of(passes)
        grid, structures = scan.place.grid, self.info.result_structures()
        brain: dict[str, Any] = {}
        if brain_values(structures):
            keep_one_piece([labels], grid)
            volumes = volumes_of(labels, grid, structures)
            brain = {**measure_brain(labels, volumes, structures), "by": self.info.name}
        image = scan.image[...]
        seen = averaged(image[None, None], self.info.grid_stride)[0, 0].numpy()
        return CoarseMap(labels, grid, seen, agreement, brain), scan.warnings

    def _focused(
        self, scan: ReadyScan, volume: Volume, options: PredictOptions, monitor: RunMonitor
    ) -> ReadyScan:
        """Of a model that sees whole scans: one window, around what a first pass finds."""
        window, stride = self.info.grid_window, self.info.grid_stride
        if options.roi or not self.sees_whole_scans or fits_window(scan.place.grid.shape, window):
            return scan
        box = find_window(self.network, scan.image, self.info, monitor=monitor)
        if box is None:
            raise ImageError(f"{self._nothing_in(volume)}.")
        middle = scan.place.grid.crop(*box)
        # Once more, so that what lies outside of the window has no say in the intensities.
        roi = box_in_scan(middle, volume.geometry)
        part = prepare(volume, self.info, replace(options, roi=roi))
        start, stop = window_around(middle, part.place.grid, window)
        grid = part.place.grid.crop(start, stop)
        inside = [slice(a * stride, b * stride) for a, b in zip(start, stop, strict=True)]
        image = part.image[tuple(inside)]
        return replace(part, image=image, place=replace(part.place, grid=grid))

    def _must_agree(self, options: PredictOptions) -> bool:
        """Whether a result that its mirror image contradicts is refused."""
        return self.sees_whole_scans and options.roi is None

    def _asks_again(self, options: PredictOptions) -> bool:
        """Whether further coarse passes are made; of a part of a head there is no mirror image."""
        if self.sees_whole_scans:
            return options.roi is None
        if options.verdict == "fast":
            return mirror_of(self.info) is not None
        return options.verdict == "full"

    def _coarse_labels(self, scan: ReadyScan, run: _Run) -> np.ndarray | None:
        """The coarse map that further passes are compared with; None if none are made."""
        if not self._asks_again(run.options):
            return None
        if run.coarse:
            labels: np.ndarray = torch.cat(run.coarse).numpy()
            return labels
        # What was predicted lies on a finer grid.
        quiet = RunMonitor(should_stop=run.should_stop)
        with run.clock("network"), out_of_memory_explained(self.device):
            return label_coarsely(self.network, scan.image, self.info, monitor=quiet)

    def _passes(self, scan: ReadyScan, labels: np.ndarray, run: _Run) -> Passes | None:
        """What the network says when it is asked again."""
        with run.clock("network"), out_of_memory_explained(self.device):
            return self._ask_again(scan, labels, run.options, run.monitor("restore"))

    def _ask_again(
        self, scan: ReadyScan, labels: np.ndarray, options: PredictOptions, monitor: RunMonitor
    ) -> Passes | None:
        """:raises ImageError: if the mirror image contradicts a result that it must not."""
        # It stands still, but somebody who waits hears that it lives.
        beat = RunMonitor(lambda _: monitor.tell(0.0), monitor.should_stop)
        passes = ask_again(
            self.network, scan.image, labels, self.info, is_full=options.verdict == "full",
            monitor=beat,
        )  # fmt: skip
        if passes is None or not self._must_agree(options):
            return passes
        least = self.info.locator.least_agreement if self.info.locator else 0.0
        agreement = _agreement_of(passes)
        if agreement < least:
            error = ImageError(
                f"{self._nothing_in(scan.part)} that it trusts: for the scan and for its mirror "
                f"image it gives answers that agree by {agreement:.2f} ({least:.2f} is the least)"
            )
            accepted = Acceptance(options.accept)
            scan.warnings.append(accepted.refuse("nothing-found", error))
        return passes

    def _nothing_in(self, volume: Volume) -> str:
        subject = self.info.locator.subject if self.info.locator else "known anatomy"
        return f"'{self.info.name}' found no {subject} in {printable(volume.source)}"

    def _found(self, scan: ReadyScan, passes: Passes | None) -> dict[str, Any]:
        """For the report: where the window lies, and what the mirror image said."""
        start, shape = scan.place.start, scan.place.part.shape
        stop = tuple(a + n for a, n in zip(start, shape, strict=True))
        roi = {"lower": list(start[::-1]), "upper": list(stop[::-1]), "frame": "ijk"}
        subject = self.info.locator.subject if self.info.locator else ""
        return {
            "by": self.info.name, "agreement": round(_agreement_of(passes), 4),
            "regions": [{"name": subject, "roi": roi}],
        }  # fmt: skip

    def _assembler(self, scan: ReadyScan, run: _Run) -> Assembler | ScanVoxelAssembler:
        structures = self.info.result_structures()
        # In a region given by hand a brain may lie in several pieces.
        is_brain = run.options.roi is None and bool(brain_values(structures))
        if not self.info.asks_scan:
            return Assembler(scan.place, structures, is_brain=is_brain)
        settings = run.options.window_settings(self.info)

        def windows() -> Iterable[tuple[tuple[int, ...], Field]]:
            if run.kept is not None and run.kept.is_complete:
                return run.kept.windows()
            return each_field(self.network, scan.image, settings)

        points = FieldPoints(
            windows, window_begins(scan.image, settings), settings.window,
            renderer=self.renderer(run.options), temperature=settings.temperature,
            precision=settings.precision, monitor=RunMonitor(should_stop=run.should_stop),
        )  # fmt: skip
        return ScanVoxelAssembler(scan.place, structures, points, is_brain=is_brain)

    def renderer(self, options: PredictOptions) -> Any:
        """The model's renderer with what was chosen, of :data:`RENDERERS`."""
        return options.renderer(self.info.renderer, window=self.info.preparation.window_size)

    def _fill(self, assembler: Assembler | ScanVoxelAssembler, scan: ReadyScan, run: _Run) -> None:
        """Predict, and hand over what is done."""
        with out_of_memory_explained(self.device):
            slabs = predict_slabs(
                self.network, scan.image, run.options.window_settings(self.info),
                rolling=assembler.takes_slabs, keep=run.kept, monitor=run.monitor("network"),
            )  # fmt: skip
            while True:
                with run.clock("network"):
                    slab = next(slabs, None)
                if slab is None:
                    return
                with run.clock("restore"):
                    is_plain = run.options.scale == 1 or self.info.asks_scan
                    if is_plain and self._asks_again(run.options):
                        run.coarse.append(slab.coarse.max(0).indices.to(torch.int16))
                    self._hand_over(slab, assembler)

    def _in_single_precision(self, run: _Run, scan: ReadyScan, error: ModelError) -> _Run:
        """Another attempt where half precision overflowed, as on some older GPUs.

        :raises ModelError: ``error``, unless half precision was our choice.
        """
        asked = run.options.precision
        if asked != "auto" or resolve_precision(self.device, asked) != "fp16":
            raise error
        scan.warnings.append(
            f"On {describe_device(self.device)} half precision overflowed; the image was computed "
            "again in single precision."
        )
        log.warning(scan.warnings[-1])
        if run.kept is not None:
            run.kept.restart(precision="fp32")
        return replace(run, options=replace(run.options, precision="fp32"), coarse=[])

    def _hand_over(self, slab: GridPrediction, assembler: Assembler | ScanVoxelAssembler) -> None:
        try:
            assembler.add(slab)
        except MorseError:
            raise
        except ValueError:
            # Half precision can overflow; a NaN would pass for whatever class it is compared with.
            raise NotFiniteError(
                f"The model '{self.info.name}' answered with values that are not numbers on "
                f"{describe_device(self.device)}; try another device."
            ) from None


def _agreement_of(passes: Passes | None) -> float:
    """With the mirror image, over all structures; 1 where the model knows no mirror image."""
    if passes is None or passes.agreement is None:
        return 1.0
    return mean_dice(passes.agreement)
