"""A scan in, a segmentation out: the whole path from a volume's voxels to masks on its own grid."""

import logging
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore import __version__
from MorseCore.assembly import MAX_LISTED_POINTS, Placement, assemble, attention
from MorseCore.devices import check_memory, describe_device, resolve_device
from MorseCore.errors import Cancelled, ConfigError, DeviceError, ImageError, ModelError
from MorseCore.files import printable
from MorseCore.geometry import Geometry
from MorseCore.images.grids import to_model_grid
from MorseCore.images.imagechecks import check_is_intensity_image, clean_voxels
from MorseCore.images.imageio import Volume
from MorseCore.images.preparation import normalise
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.model_folder import ModelInfo, load_network, read_model
from MorseCore.prediction import GridPrediction, KeptFields, Precision, predict_volume
from MorseCore.renderers import RENDERERS
from MorseCore.result import Segmentation

__all__ = ["MAX_LISTED_POINTS", "PredictOptions", "Predictor"]

_LARGE = 1.6  # times the field of view of the training images that calls for a region of interest
_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictOptions:
    """What a user may choose for one run; None takes the model's default."""

    roi: Roi | None = None
    """Segment only inside this box."""
    points: int | None = None
    """Points rendered per window and pass."""
    passes: int | None = None
    """Rendering passes; 0 renders nothing, refined = coarse."""
    scale: int = 1
    """Output grid this many times finer than the input's, asked from the field."""
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.scale not in (1, 2, 3, 4):
            raise ConfigError(f"The scale must be 1, 2, 3 or 4; found {self.scale}.")
        if self.points is not None and self.points < 1:
            raise ConfigError(
                f"The number of points must be positive; found {self.points}. "
                "To render nothing, ask for 0 passes."
            )
        if self.passes is not None and self.passes < 0:
            raise ConfigError(f"The number of passes must not be negative; found {self.passes}.")

    def renderer(self, default: Any) -> Any:
        """The model's renderer, of :data:`RENDERERS`, with the chosen numbers.

        :raises ConfigError: if a number is chosen that this renderer does not have.
        """
        wanted = {"points": self.points, "passes": self.passes}
        chosen = {name: value for name, value in wanted.items() if value is not None}
        for name in chosen:
            if not hasattr(default, name):
                raise ConfigError(
                    f"The model renders by '{RENDERERS.name_of(default)}', which has no number of "
                    f"{name} to choose."
                )
        if "points" in chosen and hasattr(default, "points_fraction"):
            return replace(default, points_fraction=0.0, **chosen)  # the number counts, not a share
        return replace(default, **chosen)


class Predictor:
    """A loaded model on a device; segments one volume after the other.

    Example::

        predictor = Predictor(Path("MorseCore/models/hippocampus-t1"))
        result = predictor.segment(read_volume(Path("brain.nii.gz")), PredictOptions(roi=roi))

    :raises ModelError: if the model folder cannot be used.
    :raises DeviceError: if the device is not there.
    """

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        started = time.perf_counter()
        self.info = read_model(folder)
        self.device = resolve_device(device)
        self.network = load_network(folder, self.info, device=self.device)
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

        :param kept: collects the fields for further questions (:mod:`MorseCore.service.session`).
        :param progress: called with the stage (``prepare``, ``network``, ``restore``) and 0..1.
        :raises ImageError: if the volume is no scan (constant, a label map, nothing but NaN).
        :raises GeometryError: if the region lies outside the image.
        :raises DeviceError: if the device runs out of memory.
        :raises Cancelled: if ``should_stop`` answered yes.
        """
        options = options or PredictOptions()
        tell = progress or (lambda stage, share: None)
        clock = _Clock()
        torch.manual_seed(0)  # nothing in inference draws at random; this keeps it so for any model
        with clock("prepare"), out_of_memory_explained(self.device):
            tell("prepare", 0.0)
            voxels, lost = clean_voxels(volume.array)
            volume = replace(volume, array=voxels)
            check_is_intensity_image(volume)
            part, start = cut_region(volume, options.roi)
            warnings = self._warnings(part, lost)
            array, grid = self._prepare(part)
            self._check_memory(array.shape, options.scale)
        with clock("network"):
            prediction = self._predict(array, options, kept, tell, should_stop)
        if should_stop is not None and should_stop():
            raise Cancelled("The segmentation was cancelled.")
        with clock("restore"), out_of_memory_explained(self.device):
            tell("restore", 0.0)
            dims = self.info.preparation.spatial_dims
            place = Placement(
                grid, part.geometry, volume.geometry, start, dims, scale=options.scale
            )
            result = assemble(prediction, place, self.info.result_structures())
            tell("restore", 1.0)
        report = self._report(volume, part, options, prediction, warnings)
        result.report.update(report, seconds=clock.seconds)
        return result

    def _prepare(self, part: Volume) -> tuple[np.ndarray, Geometry]:
        preparation = self.info.preparation
        # Before resampling: what a tilted scan's upright box holds beside the scan has no say.
        if part.array.min() == part.array.max():
            raise ImageError("Inside the region every voxel has one value; choose another region.")
        part = replace(part, array=normalise(part.array, preparation))
        return to_model_grid(
            part, spacing=preparation.spacing_xyz, spatial_dims=preparation.spatial_dims
        )

    def _check_memory(self, shape: tuple[int, ...], scale: int) -> None:
        """Refuse what would not fit: Linux would end the program without a word."""
        dims, window = self.info.preparation.spatial_dims, self.info.preparation.window_size
        sizes = [max(n, w) for n, w in zip(shape[-dims:], window, strict=True)]
        voxels = prod(sizes) * prod(shape[:-dims]) * scale**dims
        copies = 2 if dims == 3 else 4  # coarse and refined; slices are stacked once more
        check_memory(4 * self.info.num_classes * copies * voxels)

    def _predict(
        self,
        array: np.ndarray,
        options: PredictOptions,
        kept: KeptFields | None,
        tell: Callable[[str, float], None],
        should_stop: Callable[[], bool] | None,
    ) -> GridPrediction:
        with out_of_memory_explained(self.device):
            prediction = predict_volume(
                self.network, torch.from_numpy(np.ascontiguousarray(array)),
                window=self.info.preparation.window_size,
                renderer=options.renderer(self.info.renderer).build(),
                windows=self.info.windows, scale=options.scale, temperature=self.info.temperature,
                precision=options.precision, keep=kept,
                progress=lambda share: tell("network", share), should_stop=should_stop,
            )  # fmt: skip
        # Half precision can overflow; a NaN would pass for whatever class it is compared with.
        if not (prediction.coarse.sum().isfinite() and prediction.refined.sum().isfinite()):
            raise ModelError(
                f"The model '{self.info.name}' answered with values that are not numbers on "
                f"{describe_device(self.device)}; try another device."
            )
        return prediction

    def _warnings(self, part: Volume, lost: int) -> list[str]:
        """Sentences about what may have spoilt the result; those not logged yet are logged."""
        found = [large_view_warning(part, self.info)] if self.info.field_of_view else []
        if part.ndim == 2 and self.info.preparation.spatial_dims == 3:
            found.append(f"'{self.info.name}' was trained on volumes; the image is one slice.")
        texts = [text for text in found if text]
        for text in texts:
            log.warning(text)
        if lost:
            texts.append(f"{lost} voxels without a value were taken as background.")
        return texts

    def _report(
        self,
        volume: Volume,
        part: Volume,
        options: PredictOptions,
        prediction: GridPrediction,
        warnings: list[str],
    ) -> dict[str, Any]:
        renderer = options.renderer(self.info.renderer)
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
            "seed": 0,
            "parameters": {
                **renderer_parameters(renderer),
                "scale": options.scale, "overlap": self.info.windows.overlap,
                "precision": options.precision, "roi": asdict(options.roi) if options.roi else None,
            },
            "attention": attention(prediction),
            "windows": prediction.windows,
            "points": {
                "evaluated": prediction.evaluations,
                "rendered_voxels": int(prediction.rendered.sum()),
            },
            "warnings": warnings,
        }  # fmt: skip


def renderer_parameters(renderer: Any) -> dict[str, Any]:
    """Of a report: the renderer's name and numbers."""
    return {"renderer": RENDERERS.name_of(renderer), **asdict(renderer)}


def large_view_warning(part: Volume, info: ModelInfo) -> str:
    """A sentence if the image is much larger than those the model was trained on, else nothing."""
    view = info.field_of_view or ()
    extent = [n * mm for n, mm in zip(part.array.shape[::-1], part.geometry.spacing, strict=True)]
    # Sorted, as the axes of a scan are not the patient's; a 2D model sees i and j only.
    seen = sorted(extent[: info.preparation.spatial_dims])
    if all(a <= _LARGE * b for a, b in zip(seen, sorted(view), strict=True)):
        return ""
    return (
        f"The image measures {' x '.join(f'{x:.0f}' for x in extent)} mm, the model "
        f"'{info.name}' was trained on at most {' x '.join(f'{x:.0f}' for x in view)} mm; "
        "outside of such a box it may find structures where there are none: choose a region of "
        "interest."
    )


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 4)


def cut_region(volume: Volume, roi: Roi | None) -> tuple[Volume, tuple[int, int, int]]:
    """The part of a volume inside a region, and its first voxel (K, J, I).

    :raises GeometryError: if the region lies outside the image.
    """
    if roi is None:
        return volume, (0, 0, 0)
    start, stop = roi_to_box(roi, volume.geometry)
    array = volume.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    return replace(volume, array=array, geometry=volume.geometry.crop(start, stop)), start


@contextmanager
def out_of_memory_explained(device: torch.device) -> Iterator[None]:
    """Turn a lack of memory into a sentence that says what to do.

    :raises DeviceError: instead of torch's and Python's own errors.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _MEMORY.search(str(error)):
            raise
        raise DeviceError(
            f"The memory of {describe_device(device)} is too small for this run; "
            "choose a region of interest, a smaller scale or another device."
        ) from error
