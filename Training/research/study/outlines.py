"""How well a mask follows an outline: errors near it, and how good it could be there.

Label maps are (K, J, I) and ``spacing`` is in that order, in mm. A voxel lies *on the outline* if a
face neighbour has another label. 2D images are volumes of one slice.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.metrics.scores import score_labels
from MorseCore.metrics.surface import surface_distances
from MorseCore.network import Network
from MorseCore.store.model_folder import ModelInfo
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.validation import STAGES, on_drawn_grid

__all__ = ["CEILINGS", "MEASURES", "Scores", "follow_outline", "on_outline", "predict_case",
           "score_outlines", "with_truth_near"]  # fmt: skip

CEILINGS = (1, 2, 3)
"""Voxels from the coarse mask's outline within which the reference is put in its place."""
BAND = 2.0
"""mm from the reference's outline within which errors are counted."""
TOLERANCES = (0.5, 1.0)
"""mm: a surface voxel nearer to the other surface than this agrees with it."""
MEASURES = ("dice", "hd95", "asd", "band_error", "surface_0.5", "surface_1.0")
Scores = dict[str, dict[str, float]]
"""``coarse``, ``refined``, ``ceiling_1`` … -> measure -> mean over structures."""


def predict_case(network: Network, info: ModelInfo, case: PreparedCase) -> GridPrediction:
    """Both probability maps of a case, by the predictor's own path."""
    image = torch.from_numpy(np.ascontiguousarray(case.image))
    return predict_volume(network, image, PredictOptions().window_settings(info))


def score_outlines(network: Network, info: ModelInfo, case: PreparedCase) -> Scores:
    """Both masks of a case, and what the coarse one would be with the truth near its outline."""
    prediction = predict_case(network, info, case)
    masks = {}
    for stage in STAGES:
        masks[stage], labels, spacing = on_drawn_grid(getattr(prediction, stage), case)
    for voxels in CEILINGS:
        masks[f"ceiling_{voxels}"] = with_truth_near(masks["coarse"], labels, voxels)
    values = range(1, info.num_classes)
    return {name: follow_outline(mask, labels, values, spacing) for name, mask in masks.items()}


def follow_outline(
    mask: np.ndarray, labels: np.ndarray, values: Sequence[int], spacing: Sequence[float]
) -> dict[str, float]:
    """The measures of one mask, means over structures.

    ``band_error``: share of the voxels within 2 mm of the reference's outline that have a wrong
    label; NaN if there is no outline. ``surface_…``: share of both surfaces' voxels that lie within
    the tolerance of the other surface (surface Dice by voxels).
    """
    scores = score_labels(mask, labels, values, spacing).values()
    found = {m: float(np.mean([getattr(s, m) for s in scores])) for m in ("dice", "hd95", "asd")}
    outline = on_outline(labels)
    if outline.any():
        band = ndimage.distance_transform_edt(~outline, sampling=spacing) <= BAND
        found["band_error"] = float(np.mean(mask[band] != labels[band]))
    else:
        found["band_error"] = float("nan")
    distances = [surface_distances(mask == v, labels == v, spacing) for v in values]
    both = [np.concatenate([d.to_target, d.to_prediction]) for d in distances]
    for tolerance in TOLERANCES:
        shares = [float(np.mean(d <= tolerance)) for d in both]
        found[f"surface_{tolerance}"] = float(np.mean(shares))
    return found


def on_outline(labels: np.ndarray) -> np.ndarray:
    """Voxels with a face neighbour of another label, (K, J, I) bool."""
    result = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        differs = np.diff(labels.astype(np.int16), axis=axis) != 0
        here, there = [slice(None)] * labels.ndim, [slice(None)] * labels.ndim
        here[axis], there[axis] = slice(None, -1), slice(1, None)
        result[tuple(here)] |= differs
        result[tuple(there)] |= differs
    return result


def with_truth_near(mask: np.ndarray, labels: np.ndarray, voxels: int) -> np.ndarray:
    """The mask with the reference's labels up to ``voxels`` voxels from the mask's own outline.

    No choice of points within that distance could do better.
    """
    outline = on_outline(mask)
    if not outline.any():
        return mask
    near = ndimage.distance_transform_edt(~outline) < voxels
    return np.where(near, labels, mask)
