"""A scan in, a segmentation out: the whole path from a volume's voxels to masks on its own grid."""

import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore import __version__
from MorseCore.comparison import compare_masks
from MorseCore.devices import describe_device, resolve_device
from MorseCore.errors import ConfigError, DeviceError
from MorseCore.geometry import Geometry
from MorseCore.grids import nearest_voxels, to_model_grid
from MorseCore.imagechecks import check_is_intensity_image, clean_voxels
from MorseCore.imageio import Volume
from MorseCore.model_folder import load_network, read_model
from MorseCore.prediction import GridPrediction, Precision, predict_volume
from MorseCore.preparation import normalise
from MorseCore.renderers import RefineConfig
from MorseCore.restoring import to_input_grid_labels, to_input_grid_scalar
from MorseCore.result import RenderedPoints, Segmentation
from MorseCore.roi import Roi, roi_to_box

__all__ = ["MAX_LISTED_POINTS", "PredictOptions", "Predictor"]

MAX_LISTED_POINTS = 50_000  # worst first; a whole body would otherwise list millions
_LARGE = 1.6  # times the field of view of the training images that calls for a region of interest
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

    def renderer(self, default: RefineConfig) -> RefineConfig:
        """The model's renderer with the chosen numbers."""
        points = default.points if self.points is None else self.points
        passes = default.passes if self.passes is None else self.passes
        return replace(default, points=points, passes=passes)


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
        progress: Callable[[str, float], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Segmentation:
        """Segment a scan.

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
        with clock("prepare"):
            tell("prepare", 0.0)
            check_is_intensity_image(volume)
            volume = replace(volume, array=clean_voxels(volume.array)[0])
            box = roi_to_box(options.roi, volume.geometry) if options.roi else None
            part = _crop(volume, box) if box else volume
            warnings = self._warnings(part)
            array, grid = self._prepare(part)
        with clock("network"):
            prediction = self._predict(array, options, tell, should_stop)
        with clock("restore"):
            tell("restore", 0.0)
            result = self._restore(prediction, grid, volume, part, box, options)
            tell("restore", 1.0)
        result.report.update(
            self._report(volume, part, options, prediction, warnings), seconds=clock.seconds
        )
        return result

    def _prepare(self, part: Volume) -> tuple[np.ndarray, Geometry]:
        preparation = self.info.preparation
        # Before resampling: what a tilted scan's upright box holds beside the scan has no say.
        part = replace(part, array=normalise(part.array, preparation))
        return to_model_grid(
            part, spacing=preparation.spacing_xyz, spatial_dims=preparation.spatial_dims
        )

    def _predict(
        self,
        array: np.ndarray,
        options: PredictOptions,
        tell: Callable[[str, float], None],
        should_stop: Callable[[], bool] | None,
    ) -> GridPrediction:
        try:
            return predict_volume(
                self.network, torch.from_numpy(np.ascontiguousarray(array)),
                window=self.info.preparation.window_size,
                renderer=options.renderer(self.info.renderer).build(),
                windows=self.info.windows, scale=options.scale, precision=options.precision,
                progress=lambda share: tell("network", share), should_stop=should_stop,
            )  # fmt: skip
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise DeviceError(
                f"The memory of {describe_device(self.device)} is too small for this run; "
                "choose a region of interest, a smaller scale or another device."
            ) from error

    def _restore(
        self,
        prediction: GridPrediction,
        grid: Geometry,
        volume: Volume,
        part: Volume,
        box: Any,
        options: PredictOptions,
    ) -> Segmentation:
        """Masks, uncertainty and points on the input's grid, or on one ``scale`` times finer."""
        dims, scale = self.info.preparation.spatial_dims, options.scale
        fine = _finer(grid, scale, dims)
        target, whole = _finer(part.geometry, scale, dims), _finer(volume.geometry, scale, dims)
        uncertainty = _uncertainty(prediction.coarse)
        maps = {
            stage: to_input_grid_labels(
                getattr(prediction, stage), model_geometry=fine, input_geometry=target
            )
            for stage in ("coarse", "refined")
        }
        maps["uncertainty"] = to_input_grid_scalar(
            uncertainty, model_geometry=fine, input_geometry=target
        )
        if box is not None:
            start = _scaled(box[0], scale, dims)
            maps = {name: _paste(values, whole.shape, start) for name, values in maps.items()}
        structures = self.info.result_structures()
        points = _list_points(prediction, uncertainty, fine, whole)
        report = {
            "structures": compare_masks(
                maps["coarse"], maps["refined"], geometry=whole, structures=structures
            )
        }
        return Segmentation(
            whole, structures, maps["coarse"], maps["refined"], maps["uncertainty"], points, report
        )

    def _warnings(self, part: Volume) -> list[str]:
        view = self.info.field_of_view
        if view is None:
            return []
        extent = [
            n * mm for n, mm in zip(part.array.shape[::-1], part.geometry.spacing, strict=True)
        ]
        # Sorted, as the axes of a scan are not the patient's.
        if all(
            a <= _LARGE * b for a, b in zip(sorted(extent)[-len(view) :], sorted(view), strict=True)
        ):
            return []
        text = (
            f"The image measures {' x '.join(f'{x:.0f}' for x in extent)} mm, the model "
            f"'{self.info.name}' was trained on at most {' x '.join(f'{x:.0f}' for x in view)} mm; "
            "outside of such a box it may find structures where there are none: choose a region of "
            "interest."
        )
        log.warning(text)
        return [text]

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
                "name": volume.source,
                "shape_kji": list(volume.geometry.shape),
                "spacing_mm_ijk": [round(x, 6) for x in volume.geometry.spacing],
                "segmented_shape_kji": list(part.geometry.shape),
            },
            "versions": {
                "MorseSegment": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "device": describe_device(self.device),
            "seed": 0,
            "parameters": {
                **asdict(renderer), "scale": options.scale, "overlap": self.info.windows.overlap,
                "roi": asdict(options.roi) if options.roi else None,
            },
            "attention": _attention(prediction),
            "windows": prediction.windows,
            "points": {
                "evaluated": prediction.evaluations,
                "rendered_voxels": int(prediction.rendered.sum()),
            },
            "warnings": warnings,
        }  # fmt: skip


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 4)


def _crop(volume: Volume, box: Any) -> Volume:
    start, stop = box
    array = volume.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    return replace(volume, array=array, geometry=volume.geometry.crop(start, stop))


def _paste(values: np.ndarray, shape: tuple[int, ...], start: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, values.dtype)
    whole[tuple(slice(a, a + n) for a, n in zip(start, values.shape, strict=True))] = values
    return whole


def _scaled(index: tuple[int, ...], scale: int, dims: int) -> tuple[int, ...]:
    return tuple(n * (scale if axis or dims == 3 else 1) for axis, n in enumerate(index))


def _finer(geometry: Geometry, scale: int, dims: int) -> Geometry:
    """The same extent with ``scale`` times as many voxels; slices stay in 2D."""
    if scale == 1:
        return geometry
    steps = np.array([scale, scale, scale if dims == 3 else 1], dtype=np.float64)  # i, j, k
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] = geometry.to_world((1 / steps - 1) / 2)
    matrix[:3, :3] = matrix[:3, :3] / steps
    k, j, i = _scaled(geometry.shape, scale, dims)
    return Geometry((k, j, i), matrix)


def _uncertainty(probabilities: torch.Tensor) -> torch.Tensor:
    """1 - (largest - second largest probability): (C, K, J, I) -> (K, J, I)."""
    top = probabilities.topk(2, dim=0).values
    return 1 - (top[0] - top[1])


def _attention(prediction: GridPrediction) -> float:
    """How much a person should look at this case first: the uncertainty that rendering left.

    Sum of 1 - (largest - second largest probability) after rendering, over the voxels where it
    exceeds 0.2, divided by the number of foreground voxels.
    """
    left = _uncertainty(prediction.refined)
    near = left > 0.2
    foreground = int((prediction.refined.max(0).indices > 0).sum())
    return round(float(left[near].sum()) / max(1, foreground), 4)


def _list_points(
    prediction: GridPrediction, uncertainty: torch.Tensor, grid: Geometry, output: Geometry
) -> RenderedPoints:
    """The rendered voxels of the model's grid, most uncertain first, placed in the output's."""
    flat = prediction.rendered.flatten().nonzero()[:, 0]
    values = uncertainty.flatten()[flat]
    order = values.argsort(descending=True, stable=True)[:MAX_LISTED_POINTS]
    flat, values = flat[order], values[order]
    coarse, refined = (
        x.flatten(1)[:, flat].max(0) for x in (prediction.coarse, prediction.refined)
    )
    k, j, i = np.unravel_index(flat.numpy(), grid.shape)
    nearest, positions = nearest_voxels(
        np.stack([i, j, k], axis=1), model_geometry=grid, input_geometry=output
    )
    return RenderedPoints(
        positions, nearest, values.numpy().astype(np.float32),
        coarse.indices.numpy().astype(np.int32), refined.indices.numpy().astype(np.int32),
        coarse.values.numpy(), refined.values.numpy(),
    )  # fmt: skip
