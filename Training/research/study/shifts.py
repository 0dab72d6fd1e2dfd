"""A model at another resolution than it was trained for: of its input, or of its output.

Array order (K, J, I); factors above 1 are finer. In 2D a shift leaves the slices' distance alone.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from MorseCore.errors import ConfigError
from MorseCore.geometry import Geometry
from MorseCore.images.grids import canonical_geometry, to_model_grid
from MorseCore.images.imageio import Volume
from MorseCore.images.inverse_resampling import to_input_grid_labels
from MorseCore.images.modelgrid import model_grid
from MorseCore.images.preparation import Preparation, fill_missing, prepare_scan
from MorseCore.inference.assembly import finer
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.metrics.casetable import CaseScore
from MorseCore.metrics.scores import overlap, score_labels
from MorseCore.training.dataset import Case, prepare_case, read_case
from MorseCore.training.validation import STAGES

__all__ = ["Shift", "score_shift", "shifted_image"]

_FINEST = 4  # PredictOptions.scale
_NO_TURN = 180.0  # degrees: a tilted scan keeps its own axes, too
_SAME = 1.01  # times the spacing


@dataclass(frozen=True)
class Shift:
    """One row of the study."""

    kind: Literal["input", "output"]
    factor: float
    """Pixels an axis: of the image given to the model over those that were taken (input), of the
    mask over those that the model sees (output)."""

    def __post_init__(self) -> None:
        if self.kind == "input" and not 0.1 <= self.factor <= 8:
            raise ConfigError(f"A factor of the input must lie in [0.1, 8]; found {self.factor}.")
        whole = self.factor if self.factor >= 1 else 1 / self.factor if self.factor > 0 else 0
        if self.kind == "output" and whole not in range(1, _FINEST + 1):
            raise ConfigError(
                f"A factor of the output must be 1, 2, 3, 4, 1/2, 1/3 or 1/4; found {self.factor}."
            )

    @property
    def name(self) -> str:
        """``input x 0.5``."""
        return f"{self.kind} x {self.factor:g}"


def score_shift(
    predictor: VolumePredictor, case: Case, shift: Shift
) -> dict[str, CaseScore] | None:
    """Scores by stage; None if the case has no labels at the resolution of the output.

    :raises DatasetError: as :func:`read_case`.
    """
    image, label = read_case(case, num_classes=predictor.info.num_classes)
    image = fill_missing(image, predictor.info.preparation)
    if shift.kind == "input":
        return _score_input(predictor, image, label, shift.factor)
    return _score_output(predictor, case, image, shift.factor)


def shifted_image(image: Volume, factor: float, *, spatial_dims: int) -> Volume:
    """The image with ``factor`` times as many voxels an axis over the same extent.

    Linear interpolation, smoothed first if it becomes much coarser.
    """
    if factor == 1:
        return image
    source = canonical_geometry(image.geometry, spatial_dims=spatial_dims)
    x, y, z = (mm / factor for mm in source.spacing)
    array, geometry = to_model_grid(
        image, spacing=(x, y, z), spatial_dims=spatial_dims, max_tilt=_NO_TURN
    )
    return Volume(array, geometry, image.source, image.ndim)


def _score_input(
    predictor: VolumePredictor, image: Volume, label: Volume, factor: float
) -> dict[str, CaseScore]:
    """A shifted image against the labels as they were drawn.

    A model without a spacing of its own sees larger or smaller structures then; one with a spacing
    sees the detail that is left. Where its grid became coarser by the shift, the field is asked on
    so much finer a grid (at most four times), as the labels lie on.
    """
    preparation = predictor.info.preparation
    moved = shifted_image(image, factor, spatial_dims=preparation.spatial_dims)
    before, now = (_grid(x.geometry, preparation).spacing for x in (image, moved))
    coarser = max(b / a for a, b in zip(before[:2], now[:2], strict=True))
    scale = min(_FINEST, max(1, round(coarser)))
    masks = _segment(predictor, moved, scale=scale, onto=label.geometry)
    return _score(predictor, masks, label.array, label.geometry.spacing[::-1])


def _score_output(
    predictor: VolumePredictor, case: Case, image: Volume, factor: float
) -> dict[str, CaseScore] | None:
    """The field asked on a finer or coarser grid than the model's, against labels on that grid.

    A coarser grid's centres are interpolated from the model's own. Labels on a finer grid count
    only if they were drawn on one that is as fine.
    """
    preparation = predictor.info.preparation
    dims = preparation.spatial_dims
    grid = _grid(image.geometry, preparation)
    wanted = replace(preparation, spacing=tuple(mm / factor for mm in grid.spacing[:dims]))
    onto = _grid(image.geometry, wanted)
    drawn = canonical_geometry(image.geometry, spatial_dims=dims).spacing[:dims]
    if factor > 1 and any(a > _SAME * b for a, b in zip(drawn, onto.spacing[:dims], strict=True)):
        return None
    prepared = prepare_case(case, wanted, num_classes=predictor.info.num_classes)
    masks = _segment(predictor, image, scale=max(1, round(factor)), onto=onto)
    return _score(predictor, masks, prepared.labels, prepared.spacing)


def _grid(geometry: Geometry, preparation: Preparation) -> Geometry:
    """What the model sees of an image."""
    return model_grid(
        geometry, spacing=preparation.spacing_xyz, spatial_dims=preparation.spatial_dims
    )[1]


def _segment(
    predictor: VolumePredictor, image: Volume, *, scale: int, onto: Geometry
) -> dict[str, np.ndarray]:
    """Masks by stage on the grid ``onto``: what the predictor does on the input's."""
    info, options = predictor.info, PredictOptions(scale=scale)
    dims = info.preparation.spatial_dims
    array, grid = prepare_scan(image, info.preparation)
    prediction = predict_volume(
        predictor.network, torch.from_numpy(np.ascontiguousarray(array)),
        options.window_settings(info),
    )  # fmt: skip
    return {
        stage: to_input_grid_labels(
            getattr(prediction, stage),
            model_geometry=finer(grid, scale, dims), input_geometry=onto,
        )
        for stage in STAGES
    }  # fmt: skip


def _score(
    predictor: VolumePredictor,
    masks: dict[str, np.ndarray],
    labels: np.ndarray,
    spacing: tuple[float, float, float],
) -> dict[str, CaseScore]:
    values = [structure.value for structure in predictor.info.structures]
    target = np.rint(labels).astype(np.uint8)
    return {
        stage: CaseScore(
            score_labels(mask, target, values, spacing), overlap(mask == 0, target == 0)[1]
        )
        for stage, mask in masks.items()
    }
