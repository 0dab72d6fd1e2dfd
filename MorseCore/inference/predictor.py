"""A scan in, a segmentation out: the whole path from a volume's voxels to masks on its own grid."""

import logging
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore import __version__
from MorseCore.errors import Cancelled, ImageError, ModelError, NotFiniteError
from MorseCore.geometry import Geometry
from MorseCore.images.imagechecks import check_is_intensity_image, clean_voxels
from MorseCore.images.imageio import Volume
from MorseCore.images.lazy import LazyImage
from MorseCore.images.modelgrid import canonical_axes, model_grid
from MorseCore.images.preparation import measure_intensity, prepare_scan
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.inference.assembly import MAX_LISTED_POINTS, Assembler, Placement
from MorseCore.inference.openvino import use_engine
from MorseCore.inference.options import PredictOptions, points_asked, renderer_parameters
from MorseCore.inference.sliding_window import GridPrediction, KeptFields, predict_slabs
from MorseCore.inference.stitching import Crops
from MorseCore.result import Segmentation
from MorseCore.store.model_folder import ModelInfo, load_network, read_model
from MorseCore.system.devices import describe_device, resolve_device, resolve_precision
from MorseCore.system.files import printable
from MorseCore.system.memory import check_memory, out_of_memory_explained
from MorseCore.system.stage_clock import StageClock

__all__ = ["MAX_LISTED_POINTS", "PredictOptions", "Predictor", "modality_warning", "view_warning"]

_SEED = 0
log = logging.getLogger(__name__)


class Predictor:
    """A loaded model on a device; segments one volume after the other.

    Example::

        predictor = Predictor(Path("MorseCore/models/hippocampus-t1"))
        result = predictor.segment(read_volume(Path("brain.nii.gz")), PredictOptions(roi=roi))

    :raises ModelError: if the model folder cannot be used.
    :raises DeviceError: if the device is not there, or not for the engine.
    :raises ConfigError: if there is no such engine.
    """

    def __init__(self, folder: Path, *, device: str = "auto", engine: str = "torch") -> None:
        """:param engine: what computes the backbone, see :mod:`MorseCore.inference.openvino`."""
        started = time.perf_counter()
        self.info = read_model(folder)
        self.device = resolve_device(device)
        with out_of_memory_explained(self.device):
            self.network = load_network(folder, self.info, device=self.device)
        self.engine = use_engine(
            self.network, engine, device=self.device,
            window=self.info.preparation.window_size, channels=self.info.network.in_channels,
        )  # fmt: skip
        self.load_seconds = time.perf_counter() - started

    def segment(
        self,
        volume: Volume,
        options: PredictOptions | None = None,
        *,
        kept: KeptFields | None = None,
        progress: Callable[[str, float], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Segmentation:
        """Segment a scan.

        :param kept: collects the fields for further questions (:mod:`MorseCore.inference.session`).
        :param progress: called with the stage (``prepare``, ``network``, ``restore``) and 0..1.
        :raises ImageError: if the volume is no scan (constant, a label map, nothing but NaN).
        :raises GeometryError: if the region lies outside the image.
        :raises DeviceError: if the device runs out of memory.
        :raises Cancelled: if ``should_stop`` answered yes.
        """
        options = options or PredictOptions()
        tell = progress or (lambda stage, share: None)
        # Nothing in inference draws at random; a model that does has one seed, and the caller's
        # own draws go on as if there had been none.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(_SEED)
            return self._segment(volume, options, kept, tell, should_stop)

    def _segment(
        self,
        volume: Volume,
        options: PredictOptions,
        kept: KeptFields | None,
        tell: Callable[[str, float], None],
        should_stop: Callable[[], bool] | None,
    ) -> Segmentation:
        clock = StageClock()
        with clock("prepare"), out_of_memory_explained(self.device):
            tell("prepare", 0.0)
            voxels, lost = clean_voxels(volume.array)
            volume = replace(volume, array=voxels)
            check_is_intensity_image(volume)
            part, start = cut_region(volume, options.roi)
            warnings = self._warnings(part, lost)
            image, grid = self._prepare(part)
            place = Placement(
                grid, part.geometry, volume.geometry, start,
                self.info.preparation.spatial_dims, scale=options.scale,
            )  # fmt: skip
            assembler = Assembler(place, self.info.result_structures())
            self._check_memory(grid.shape, options.scale, rolling=assembler.takes_slabs)
        precision = options.precision
        try:
            self._fill(assembler, image, options, clock, kept, tell, should_stop)
        except NotFiniteError as error:
            options = self._in_single_precision(options, kept, warnings, error)
        if options.precision != precision:  # outside of the handler, which holds what was blended
            assembler = Assembler(place, self.info.result_structures())
            self._fill(assembler, image, options, clock, kept, tell, should_stop)
        if should_stop is not None and should_stop():
            raise Cancelled("The segmentation was cancelled.")
        with clock("restore"), out_of_memory_explained(self.device):
            tell("restore", 0.0)
            result = assembler.result()
            tell("restore", 1.0)
        report = self._report(volume, part, options, assembler, warnings)
        result.report.update(report, seconds=clock.seconds)
        return result

    def _prepare(self, part: Volume) -> tuple[Crops, Geometry]:
        """What the network sees of a scan, and the grid of that."""
        preparation = self.info.preparation
        dims, spacing = preparation.spatial_dims, preparation.spacing_xyz
        if part.array.min() == part.array.max():
            raise ImageError("Inside the region every voxel has one value; choose another region.")
        source, target = model_grid(part.geometry, spacing=spacing, spatial_dims=dims)
        if target is source:  # nothing is interpolated
            axes = canonical_axes(part.geometry, spatial_dims=dims)
            intensity = measure_intensity(part.array, preparation)
            return LazyImage(axes.apply(part.array), intensity), source
        array, grid = prepare_scan(part, preparation)
        return torch.from_numpy(array), grid

    def _renderer(self, options: PredictOptions) -> Any:
        return options.renderer(self.info.renderer, window=self.info.preparation.window_size)

    def _check_memory(self, shape: tuple[int, ...], scale: int, *, rolling: bool) -> None:
        """Refuse what would not fit: Linux would end the program without a word.

        :param rolling: a window's rows are held at a time, not all.
        """
        dims, window = self.info.preparation.spatial_dims, self.info.preparation.window_size
        sizes = [max(n, w) for n, w in zip(shape[-dims:], window, strict=True)]
        plane = prod(sizes[-2:]) * scale**2
        rows = (min(sizes[0], window[0]) if rolling else sizes[0]) * scale if dims == 3 else 1
        held = 4 * self.info.num_classes * 2 * plane * rows  # coarse and refined, while they blend
        masks = 6 * prod(shape) * scale**dims  # two of one byte, uncertainty
        check_memory(held + masks)

    def _fill(
        self,
        assembler: Assembler,
        image: Crops,
        options: PredictOptions,
        clock: StageClock,
        kept: KeptFields | None,
        tell: Callable[[str, float], None],
        should_stop: Callable[[], bool] | None,
    ) -> None:
        """Predict, and hand over what is done."""
        with out_of_memory_explained(self.device):
            slabs = predict_slabs(
                self.network, image,
                window=self.info.preparation.window_size,
                renderer=self._renderer(options).build(),
                windows=self.info.windows, scale=options.scale, temperature=self.info.temperature,
                precision=options.precision, rolling=assembler.takes_slabs, keep=kept,
                progress=lambda share: tell("network", share), should_stop=should_stop,
            )  # fmt: skip
            while True:
                with clock("network"):
                    slab = next(slabs, None)
                if slab is None:
                    return
                with clock("restore"):
                    self._hand_over(slab, assembler)

    def _in_single_precision(
        self,
        options: PredictOptions,
        kept: KeptFields | None,
        warnings: list[str],
        error: ModelError,
    ) -> PredictOptions:
        """Options for another attempt where half precision overflowed, as on some older GPUs.

        :raises ModelError: ``error``, unless half precision was our choice.
        """
        chosen = resolve_precision(self.device, options.precision)
        if options.precision != "auto" or chosen != "fp16":
            raise error
        warnings.append(
            f"On {describe_device(self.device)} half precision overflowed; the image was computed "
            "again in single precision."
        )
        log.warning(warnings[-1])
        if kept is not None:
            kept.restart(precision="fp32")
        return replace(options, precision="fp32")

    def _hand_over(self, slab: GridPrediction, assembler: Assembler) -> None:
        try:
            assembler.add(slab)
        except ValueError:
            # Half precision can overflow; a NaN would pass for whatever class it is compared with.
            raise NotFiniteError(
                f"The model '{self.info.name}' answered with values that are not numbers on "
                f"{describe_device(self.device)}; try another device."
            ) from None

    def _warnings(self, part: Volume, lost: int) -> list[str]:
        """Sentences about what may have spoilt the result; those not logged yet are logged."""
        found = [view_warning(part, self.info)]
        if part.ndim == 2 and self.info.preparation.spatial_dims == 3:
            found.append(f"'{self.info.name}' was trained on volumes; the image is one slice.")
        found.append(modality_warning(part, self.info))
        texts = [text for text in found if text]
        for text in texts:
            log.warning("%s: %s", printable(part.source), text)
        if lost:
            texts.append(f"{lost} voxels without a value were taken as background.")
        return texts

    def _report(
        self,
        volume: Volume,
        part: Volume,
        options: PredictOptions,
        assembled: Assembler,
        warnings: list[str],
    ) -> dict[str, Any]:
        renderer = self._renderer(options)
        asked = points_asked(renderer, window=self.info.preparation.window_size)
        return {
            "model": {"name": self.info.name, "sha256": self.info.sha256},
            "input": {
                "name": printable(volume.source),
                "shape_kji": list(volume.geometry.shape),
                "spacing_mm_ijk": [round(x, 6) for x in volume.geometry.spacing],
                "segmented_shape_kji": list(part.geometry.shape),
            },
            "versions": {
                "MorseSegment": __version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
                "system": platform.platform(),
            },
            "device": describe_device(self.device),
            "engine": self.engine,
            "seed": _SEED,
            "parameters": {
                **renderer_parameters(renderer),
                "scale": options.scale, "overlap": self.info.windows.overlap,
                "precision": resolve_precision(self.device, options.precision),
                "roi": asdict(options.roi) if options.roi else None,
            },
            "attention": assembled.attention,
            "windows": assembled.windows,
            "points": {"asked": None if asked is None else asked * assembled.windows,
                       "evaluated": assembled.evaluations,
                       "rendered_voxels": assembled.rendered_voxels},
            "warnings": warnings,
        }  # fmt: skip


def cut_region(volume: Volume, roi: Roi | None) -> tuple[Volume, tuple[int, int, int]]:
    """The part of a volume inside a region, and its first voxel (K, J, I).

    :raises GeometryError: if the region lies outside the image.
    """
    if roi is None:
        return volume, (0, 0, 0)
    start, stop = roi_to_box(roi, volume.geometry)
    array = volume.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    return replace(volume, array=array, geometry=volume.geometry.crop(start, stop)), start


_LARGE = 1.6  # times the field of view of the training images that calls for a region of interest
_SMALL = 0.3  # times it: a side that short is no region that somebody meant
_MODALITIES = dict.fromkeys(("CR", "DX", "MG", "XA", "RF"), "XR") | {"OT": ""}  # DICOM's -> ours


def modality_warning(part: Volume, info: ModelInfo) -> str:
    """A sentence if the file says that it is of another modality than the model's, else nothing."""
    modality = _MODALITIES.get(part.modality, part.modality)
    if not modality or info.modality in ("any", modality):
        return ""
    return (
        f"The image is {modality}, the model '{info.name}' was trained on {info.modality}: what it "
        "finds may mean nothing."
    )


def view_warning(part: Volume, info: ModelInfo) -> str:
    """A sentence if the image is much larger or smaller than the training images, else nothing."""
    if info.field_of_view is None:
        return ""
    view = info.field_of_view
    extent = [n * mm for n, mm in zip(part.array.shape[::-1], part.geometry.spacing, strict=True)]
    # Sorted, as the axes of a scan are not the patient's; a 2D model sees i and j only.
    seen = sorted(extent[: info.preparation.spatial_dims])
    pairs = list(zip(seen, sorted(view), strict=True))
    is_picture = part.ndim < info.preparation.spatial_dims  # which is said anyway
    if not is_picture and any(a < _SMALL * b for a, b in pairs):
        return (
            f"What is segmented measures {' x '.join(f'{x:.0f}' for x in extent)} mm, the training "
            f"images of '{info.name}' up to {' x '.join(f'{x:.0f}' for x in view)} mm: in so small "
            "a part it has little to go by; choose a larger region."
        )
    if all(a <= _LARGE * b for a, b in pairs):
        return ""
    return (
        f"The image measures {' x '.join(f'{x:.0f}' for x in extent)} mm, the model "
        f"'{info.name}' was trained on at most {' x '.join(f'{x:.0f}' for x in view)} mm; "
        "outside of such a box it may find structures where there are none: choose a region of "
        "interest."
    )
