"""Slices in the order of their positions: alike, parallel, evenly spaced, none twice."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MorseCore.errors import GeometryError
from MorseCore.geometry import Geometry
from MorseCore.images.dicom.alike import check_alike, check_directions, check_doubles
from MorseCore.images.dicom.frames import DicomFrame
from MorseCore.images.dicom.volumes import choose_volume
from MorseCore.images.severalvolumes import check_volume
from MorseCore.system.acceptance import Acceptance

__all__ = ["Stack", "stack_frames"]

logger = logging.getLogger(__name__)

_UNEVEN = 0.05  # of the slice distance; the hand-rounded positions of some scanners stay below
_SIDEWAYS = 0.02  # of the slice distance: 1 degree of gantry tilt
_DOUBLE = 1.5  # times the stated distance: every second slice is missing


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one volume, in order, and the grid that they make."""

    frames: list[DicomFrame]
    geometry: Geometry
    notes: list[str]
    """Sentences for the report, already logged."""


def stack_frames(
    frames: Sequence[DicomFrame], name: str, *, volume: int | None, accepted: Acceptance
) -> Stack:
    """Order slices along their normal.

    :param name: of the folder or file, for messages.
    :param volume: which one, if there are several volumes at the same places.
    :param accepted: refusals to overrule (``missing-spacing``).
    :raises ImageError: if the slices do not fit together, or there are several volumes.
    :raises GeometryError: if they are unevenly spaced, doubled, turned or shifted sideways.
    """
    check_doubles(frames)
    check_alike(frames, name)
    if len(frames) == 1:
        check_volume(f"'{name}'", volume, 1)
        return _single(frames[0], accepted)
    for frame in frames:
        if frame.position is None or frame.axes is None:
            raise GeometryError(f"{frame.name} does not say where in the patient its slice lies.")
    check_directions(frames, name)
    axes = np.asarray(frames[0].axes)
    normal = np.cross(axes[0], axes[1])
    depths = np.array([frame.position @ normal for frame in frames])
    chosen = choose_volume(frames, depths, volume, name)
    if len(chosen) == 1:
        return _single(chosen[0], accepted)
    positions = np.array([frame.position for frame in chosen])
    step = _check_steps(chosen, positions, normal, name)
    notes = _note_scales(chosen, name)
    if len(chosen) == len(frames):
        notes += _check_numbers(chosen, step, name)
    spacing, more = _spacing(chosen[0], accepted)
    geometry = _grid(chosen[0], len(chosen), spacing, positions[0], axes, step)
    return Stack(chosen, geometry, notes + more)


def _grid(
    frame: DicomFrame,
    count: int,
    spacing: tuple[float, float],
    position: np.ndarray,
    axes: np.ndarray,
    step: float,
) -> Geometry:
    shape = (count, *frame.file.size)
    directions = np.column_stack([axes[0], axes[1], np.cross(axes[0], axes[1])])
    return Geometry.from_lps(
        shape, spacing=(spacing[1], spacing[0], step), origin=tuple(map(float, position)),
        direction=tuple(map(float, directions.ravel())),
    )  # fmt: skip


def _single(frame: DicomFrame, accepted: Acceptance) -> Stack:
    """One slice alone; an X-ray does not say where in the patient it lies."""
    spacing, notes = _spacing(frame, accepted)
    position, axes = frame.position, frame.axes
    if position is None or axes is None:
        position, axes = np.zeros(3), np.eye(3)[:2]
    distance = frame.distance if frame.distance is not None else 1.0
    return Stack([frame], _grid(frame, 1, spacing, position, axes, distance), notes)


def _spacing(frame: DicomFrame, accepted: Acceptance) -> tuple[tuple[float, float], list[str]]:
    """Row and column distance in mm, and sentences about where they come from."""
    name, source = frame.file.name, frame.spacing_source
    is_section = frame.position is not None and frame.axes is not None
    if frame.spacing is None or (source == "ImagerPixelSpacing" and is_section):
        error = GeometryError(f"{name} does not say how large its pixels are (PixelSpacing).")
        if is_section:
            raise error
        return (1.0, 1.0), [accepted.refuse("missing-spacing", error)]
    if source == "PixelSpacing":
        return frame.spacing, []
    where = "at the detector, where the body is magnified" if source[0] == "I" else "as scanned"
    size = f"{frame.spacing[1]:g} x {frame.spacing[0]:g} mm"
    return frame.spacing, _note(f"{name}: its pixels are {size} large {where} ({source}).")


def _note(sentence: str) -> list[str]:
    logger.warning("%s", sentence)
    return [sentence]


def _check_steps(
    frames: Sequence[DicomFrame], positions: np.ndarray, normal: np.ndarray, name: str
) -> float:
    """The distance in mm of slices that are evenly spaced along the normal.

    :param positions: (K, 3) of the slices in order, LPS mm.
    """
    steps = np.diff(positions, axis=0)
    gaps = steps @ normal
    usual = float(np.median(gaps))
    if np.abs(gaps - usual).max() > _UNEVEN * usual:
        widest = int(gaps.argmax())
        raise GeometryError(
            f"The slices in '{name}' are {gaps.min():.2f} to {gaps.max():.2f} mm apart (furthest "
            f"between {frames[widest].name} and {frames[widest + 1].name}); even distances are "
            "expected, so slices may be missing."
        )
    sideways = float(np.linalg.norm(steps - gaps[:, None] * normal, axis=1).max())
    if sideways > _SIDEWAYS * usual:
        raise GeometryError(
            f"The slices in '{name}' are shifted by {sideways:.2f} mm against each other (tilted "
            "gantry); resample the series to a rectangular grid first."
        )
    return float(gaps.mean())


def _note_scales(frames: Sequence[DicomFrame], name: str) -> list[str]:
    """In CT one scale is usual; another one may be a damaged header."""
    scales = Counter(frame.rescale for frame in frames)
    if len(scales) == 1 or frames[0].file.elements.text("Modality") != "CT":
        return []
    usual = scales.most_common(1)[0][0]
    odd = next(frame for frame in frames if frame.rescale != usual)
    return _note(
        f"{name}: its slices have several scales, which is unusual in CT; {odd.name} has slope "
        f"{odd.rescale[0]:g} and intercept {odd.rescale[1]:g}."
    )


def _check_numbers(frames: Sequence[DicomFrame], step: float, name: str) -> list[str]:
    """Slices that are missing at the ends, or every second one, leave gaps in the numbers only."""
    try:
        numbers = {int(frame.label("InstanceNumber")) for frame in frames}
    except ValueError:
        return []
    span = max(numbers) - min(numbers) + 1
    if len(numbers) < len(frames) or span == len(frames):
        return []
    stated = frames[0].parts[-1].number("SpacingBetweenSlices")
    if stated is not None and step > _DOUBLE * abs(stated) > 0:
        raise GeometryError(
            f"The slices in '{name}' are {step:.2f} mm apart and say {abs(stated):.2f} mm, and "
            f"their numbers ({min(numbers)} to {max(numbers)}) have gaps: slices are missing."
        )
    return _note(
        f"{name}: its images are numbered {min(numbers)} to {max(numbers)}, and {len(frames)} of "
        f"these {span} are there; slices may be missing."
    )
