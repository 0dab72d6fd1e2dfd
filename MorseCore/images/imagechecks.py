"""Whether an image is one that can be segmented: its kind, its values, and the size of its voxels.

Each check raises one sentence, or gives back sentences for the report, which it has logged. What
can be a scan in spite of how it looks may be accepted by name (:mod:`MorseCore.system.acceptance`).
"""

import logging
from typing import Any

import numpy as np

from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.imageio import Volume
from MorseCore.images.modelgrid import canonical_geometry
from MorseCore.images.preparation import Preparation
from MorseCore.images.voxelvalues import VoxelRange, has_value, measure_range, pieces
from MorseCore.system.acceptance import NOTHING, Acceptance

__all__ = ["check_is_intensity_image", "check_missing", "check_spacing", "check_values"]

log = logging.getLogger(__name__)

_LABEL_LIMIT = 32  # labels are counted from 0; a scan that uses fewer grey values shows nothing
_MOST_LABELS = 16
_FLAT = 0.5  # share of neighbours with one label
_MOST_MISSING = 0.5  # share of the voxels without a value, from which on there is no image left
_FEW, _HARDLY, _LITTLE = 8, 1e-5, 0.01  # voxels, and shares, that differ from all the others
_EXACT, _LEVELS = 2**53, 10_000  # whole numbers that are exact, and steps of grey to tell apart
_SEVERAL, _FAR = 10, 3.0  # values, and times their range, that make another one stand apart
_FARTHEST = 1e6  # mm
_SAMPLE = 100_000  # voxels that tell whether the others are worth counting
_COARSE, _OFF = 8.0, 16.0  # times the model's spacing: worth a word, and no scan for that model


def check_is_intensity_image(volume: Volume, accepted: Acceptance = NOTHING) -> list[str]:
    """Refuse what holds no real numbers, an image of one value, and a label map chosen by mistake.

    A label map is recognised by all of: whole numbers from 0 to below 32, at most 16 different
    ones, and mostly flat, that is, where two neighbours are not both 0, they agree more often than
    not. In a scan noise forbids the last even if it was rounded that coarsely; a phantom or a
    picture in black and white (0 and 255) is let through.

    :param accepted: refusals to overrule (``label-map``).
    :return: sentences for the report.
    :raises ImageError: in either case.
    :raises GeometryError: if the array does not fit its grid, or lies beyond all measure.
    """
    array = volume.array
    if array.dtype.kind not in "iuf":
        raise ImageError(
            f"{volume.source} has voxels of the type {array.dtype}; real numbers are expected."
        )
    if array.shape != volume.geometry.shape:
        raise GeometryError(
            f"{volume.source} has voxels of shape {array.shape} on a grid of "
            f"{volume.geometry.shape}."
        )
    _check_place(volume)
    found = measure_range(array)
    if found.missing == found.size:
        raise ImageError(
            f"No voxel of the image has a value: all {found.size:,} of {volume.source} are NaN or "
            "infinite."
        )
    if found.is_constant:
        raise ImageError(
            f"{volume.source}: every voxel has the value {found.low:g}; there is nothing to "
            "segment."
        )
    labels = _count_labels(array, found)
    if not labels:
        return []
    error = ImageError(
        f"{volume.source} looks like a segmentation ({labels - 1} label(s), 0 to {found.high:g}); "
        "a scan is expected."
    )
    return [accepted.refuse("label-map", error)]


def check_values(
    part: Volume, preparation: Preparation, accepted: Acceptance = NOTHING, *, is_region: bool
) -> list[str]:
    """Refuse a part of a scan whose voxels hold too little to go by.

    :param part: what is segmented.
    :param accepted: refusals to overrule (``missing-values``, ``flat-image``).
    :param is_region: whether it is a region of a larger image, which the sentences then say.
    :return: sentences for the report, about voxels without a value and about little contrast.
    :raises ImageError: if it is one line of voxels; if more than half of them have no value; if all
        that have one, or nearly all, have the same, or are the same to the model.
    """
    where = "Inside the region" if is_region else f"{part.source}:"
    _check_is_no_line(part, preparation, where)
    found = measure_range(part.array)
    notes = check_missing(found, accepted, where=where)
    if found.is_constant:
        advice = "choose another region" if is_region else "there is nothing to segment"
        raise ImageError(f"{where} every voxel has one value; {advice}.")
    low, high = preparation.intensity_range
    if preparation.normalisation == "range" and (found.low >= high or found.high <= low):
        raise ImageError(
            f"{where} the values go from {found.low:g} to {found.high:g}, and the model sees "
            f"{low:g} to {high:g} (Hounsfield units, if it is a CT); there is nothing to segment."
        )
    _check_precision(part.array, found, where)
    return notes + _check_contrast(part.array, found, accepted, where)


def check_missing(found: VoxelRange, accepted: Acceptance = NOTHING, *, where: str) -> list[str]:
    """Refuse an image of which more than half has no value.

    :param found: what was measured of the image, or of its region.
    :param accepted: refusals to overrule (``missing-values``).
    :param where: how sentences begin.
    :return: sentences for the report, with count and share where fewer are missing.
    :raises ImageError: if so.
    """
    if not found.missing:
        return []
    if found.missing == found.size:
        raise ImageError(f"{where} no voxel has a value (all {found.size:,} are NaN or infinite).")
    count = (
        f"{where} {found.missing:,} of {found.size:,} voxels ({_percent(found.share)}) have no "
        "value (NaN or infinite)"
    )
    if found.share <= _MOST_MISSING:
        return _noted(f"{count}; they are taken as background.")
    error = ImageError(f"{count}, more than half; export the image again or choose a region")
    return [accepted.refuse("missing-values", error)]


def check_spacing(
    volume: Volume, preparation: Preparation, accepted: Acceptance = NOTHING
) -> list[str]:
    """Refuse voxels of another scale than the model's, which its grid would multiply or swallow.

    At 60 mm instead of 1 mm one voxel becomes 216,000, none of which was measured; at 1e-6 mm a
    whole scan becomes one. Somebody mistook the unit, or it is no scan for this model.

    :param accepted: refusals to overrule (``spacing``).
    :return: sentences for the report.
    :raises GeometryError: if a voxel's side is more than 16 times the model's, or less than a 16th.
    """
    if preparation.spacing is None:
        return []
    source = canonical_geometry(volume.geometry, spatial_dims=preparation.spatial_dims)
    ratios = []
    sides = zip(source.shape[::-1], source.spacing, preparation.spacing, strict=False)  # 2D: i, j
    for size, have, want in sides:
        ratios.append(have / want)
        if size > 1:  # what is one voxel thick stays so
            ratios.append(want / have)
    worst = max(ratios)
    if worst <= _COARSE:
        return []
    found = " x ".join(f"{step:.4g}" for step in source.spacing)
    model = " x ".join(f"{step:.4g}" for step in preparation.spacing)
    sentence = f"{volume.source} has voxels of {found} mm, and the model sees {model} mm"
    if worst <= _OFF:
        return _noted(f"{sentence}: most of what it sees is interpolated, or averaged away.")
    error = GeometryError(
        f"{sentence}: is the unit right? Correct the header or choose another model"
    )
    return [accepted.refuse("spacing", error)]


def _check_place(volume: Volume) -> None:
    """Refuse what reaches farther than a kilometre, where a voxel's place is no longer exact."""
    matrix = volume.geometry.ijk_to_ras
    reach = np.abs(matrix[:3, :3]) @ volume.geometry.shape[::-1] + np.abs(matrix[:3, 3])
    if reach.max() > _FARTHEST:
        raise GeometryError(
            f"{volume.source} has an impossible size or position: it reaches {reach.max():.3g} mm "
            "from the origin, more than a kilometre."
        )


def _check_is_no_line(part: Volume, preparation: Preparation, where: str) -> None:
    shape = part.array.shape[-preparation.spatial_dims :]  # of a slice for a 2D model
    if sum(n > 1 for n in shape) < 2:
        size = " x ".join(str(n) for n in part.array.shape[::-1])
        thing = "each slice is" if preparation.spatial_dims == 2 else "there is"
        raise ImageError(f"{where} {thing} a single line of voxels ({size}); an image is expected.")


def _noted(sentence: str) -> list[str]:
    log.warning("%s", sentence)
    return [sentence]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "less than 0.1 %"


def _check_precision(array: np.ndarray, found: VoxelRange, where: str) -> None:
    """Refuse 64-bit integers whose differences are lost as soon as one computes with them."""
    largest = max(abs(found.low), abs(found.high))
    if array.dtype.kind == "f" or largest <= _EXACT:
        return
    low, high = (
        int(np.percentile(array, q, method="nearest")) for q in (100 * _LITTLE, 100 - 100 * _LITTLE)
    )
    if high - low < _LEVELS * (largest / _EXACT):
        raise ImageError(
            f"{where} its whole numbers, up to {largest:.3g}, are too large to be told apart; "
            "subtract a constant from them, or save it in another type."
        )


def _check_contrast(
    array: np.ndarray, found: VoxelRange, accepted: Acceptance, where: str
) -> list[str]:
    """Sentences about one value that nearly all voxels have, or that stands for no value."""
    step = max(1, round((array.size / _SAMPLE) ** (1 / 3)))
    sample = array[::step, ::step, ::step]
    values, counts = np.unique(sample[has_value(sample)], return_counts=True)
    if not len(values):
        return []
    common, share = values[counts.argmax()], counts.max() / counts.sum()
    if share < 1 - 2 * _LITTLE:
        return _check_padding(values, common, share, where)
    known = found.size - found.missing
    others = known - sum(int(np.count_nonzero(piece == common)) for piece in pieces(array))
    if others >= _LITTLE * known:
        return _check_padding(values, common, share, where)
    sentence = f"{where} all but {others:,} of {known:,} voxels have the value {common:g}"
    if others > max(_FEW, _HARDLY * known):
        return _noted(f"{sentence}; there is little to go by.")
    return [accepted.refuse("flat-image", ImageError(f"{sentence}; there is nothing to segment"))]


def _check_padding(values: np.ndarray, common: Any, share: float, where: str) -> list[str]:
    """A sentence about a value far from all others, as -32768 that a scanner pads with.

    :param values: of a sample of the voxels, rising, each once.
    :param common: the one that most of them have.
    """
    others = values[values != common].astype(np.float64)
    if share < _LITTLE or len(others) < _SEVERAL:
        return []
    gap = max(others[0] - float(common), float(common) - others[-1])
    if gap <= _FAR * (others[-1] - others[0]):
        return []
    return _noted(
        f"{where} about {_percent(share)} of the voxels have the value {common:g}, far from all "
        "others; if it stands for voxels without a value, write NaN in its place."
    )


def _count_labels(array: np.ndarray, found: VoxelRange) -> int:
    """How many labels a label map has, background included; 0 for a scan."""
    if found.low != 0 or found.high >= _LABEL_LIMIT:
        return 0
    if found.missing:
        array = np.where(has_value(array), array, 0)
    if not np.array_equal(array, np.rint(array)):
        return 0
    codes = array.astype(np.uint8)
    used = int(np.count_nonzero(np.bincount(codes.ravel(), minlength=_LABEL_LIMIT)))
    return used if used <= _MOST_LABELS and _flatness(codes) > _FLAT else 0


def _flatness(codes: np.ndarray) -> float:
    """Among neighbours that are not both zero, the share with one value."""
    equal = total = 0
    for axis in range(codes.ndim):
        a = np.moveaxis(codes, axis, 0)
        shown = (a[1:] | a[:-1]) != 0
        equal += int(np.count_nonzero((a[1:] == a[:-1]) & shown))
        total += int(np.count_nonzero(shown))
    return equal / max(total, 1)
