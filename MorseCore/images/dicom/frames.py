"""The slices in DICOM files: where each lies, how large its pixels are, what its values mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.dicom.elements import Elements
from MorseCore.images.dicom.headers import DicomFile

__all__ = ["DicomFrame", "frames_of"]

_UNIT = 0.01  # how far a direction's length may be from 1; some files round to two decimals
_RIGHT_ANGLE = 1e-3  # largest cosine between the directions of rows and columns
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


@dataclass(frozen=True, eq=False)
class DicomFrame:
    """One slice: a file, or one of the frames in it."""

    file: DicomFile
    index: int
    """Which of the file's frames, counted from 0."""
    parts: tuple[Elements, ...]
    """Where its elements are: in the frame's own groups, in those of all frames, in the file."""
    position: np.ndarray | None
    """(3,) centre of the first voxel, LPS mm."""
    axes: np.ndarray | None
    """(2, 3) unit vectors along rows and along columns, LPS."""
    spacing: tuple[float, float] | None
    """mm from row to row and from column to column."""
    spacing_source: str
    """The element that says so."""
    distance: float | None
    """mm to the next slice or, where no distance is stated, the slice's thickness."""
    rescale: tuple[float, float]
    """Slope and intercept: what a stored value means."""

    @property
    def name(self) -> str:
        """For messages."""
        count = self.file.frames
        return self.file.name if count == 1 else f"{self.file.name}, frame {self.index + 1}"

    def label(self, keyword: str) -> str:
        """What the nearest of the parts says; empty if none does."""
        return next((text for part in self.parts if (text := part.label(keyword))), "")


def frames_of(file: DicomFile) -> list[DicomFrame]:
    """The slices of a file, as they lie in it.

    :raises ImageError: if it does not say what is needed, or holds no stack of slices.
    :raises GeometryError: if sizes or directions are impossible.
    """
    own = file.elements
    count = file.frames
    if own.items("ModalityLUTSequence"):
        raise ImageError(
            f"{file.name} stores its grey values by a table (ModalityLUTSequence), which is not "
            "read; export it with plain values."
        )
    if "MOSAIC" in own.text("ImageType").upper().split("\\"):
        raise ImageError(
            f"{file.name} is a mosaic: all slices of a volume side by side in one picture; convert "
            "it to NIfTI first."
        )
    groups = own.items("PerFrameFunctionalGroupsSequence")
    if groups:
        return _grouped_frames(file, groups)
    if count == 1:
        return [_frame(file, 0, (own,))]
    return _stepped_frames(file)


def _grouped_frames(file: DicomFile, groups: list[Elements]) -> list[DicomFrame]:
    """Of an enhanced file, in which each frame has groups of elements."""
    if len(groups) != file.frames:
        raise ImageError(
            f"{file.name} contradicts itself: it has {file.frames} frame(s) and describes "
            f"{len(groups)}."
        )
    shared = file.elements.first("SharedFunctionalGroupsSequence")
    common = () if shared is None else tuple(_macros(shared))
    return [
        _frame(file, n, (*_macros(group), *common, file.elements)) for n, group in enumerate(groups)
    ]


_MACROS = (
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence",
    "PixelValueTransformationSequence", "FrameContentSequence", "MREchoSequence",
    "MRDiffusionSequence", "MRImageFrameTypeSequence", "CTImageFrameTypeSequence",
    "CardiacSynchronizationSequence", "CTXRayDetailsSequence", "CTReconstructionSequence",
)  # fmt: skip


def _macros(group: Elements) -> list[Elements]:
    found = [group.first(keyword) for keyword in _MACROS]
    return [item for item in found if item is not None]


def _stepped_frames(file: DicomFile) -> list[DicomFrame]:
    """Of nuclear medicine, whose frames are equally far from each other."""
    own = file.elements
    detector = own.first("DetectorInformationSequence")
    parts = (own,) if detector is None else (own, detector)
    first = _frame(file, 0, parts)
    step, slices = own.number("SpacingBetweenSlices"), own.whole("NumberOfSlices")
    if first.position is None or first.axes is None or not step:
        raise ImageError(
            f"{file.name} holds {file.frames} frames and does not say where in the patient each of "
            "them lies; a film is no volume."
        )
    if slices is not None and slices != file.frames:
        raise ImageError(
            f"{file.name} holds {file.frames} frames of {slices} slices and does not say which "
            "frame belongs to which volume."
        )
    normal = np.cross(first.axes[0], first.axes[1])
    return [
        DicomFrame(
            file, n, parts, first.position + n * step * normal, first.axes, first.spacing,
            first.spacing_source, first.distance, first.rescale,
        )
        for n in range(file.frames)
    ]  # fmt: skip


def _frame(file: DicomFile, index: int, parts: tuple[Elements, ...]) -> DicomFrame:
    position = _numbers(parts, "ImagePositionPatient", 3)
    spacing, source = _spacing(file, parts)
    between, thick = (
        _numbers(parts, keyword, 1) for keyword in ("SpacingBetweenSlices", "SliceThickness")
    )
    distance = next((abs(x[0]) for x in (between, thick) if x is not None and x[0] != 0), None)
    slope, intercept = (
        _numbers(parts, keyword, 1) for keyword in ("RescaleSlope", "RescaleIntercept")
    )
    if slope == (0.0,):
        raise ImageError(
            f"{file.name} has a RescaleSlope of 0, which makes all its values one; correct it."
        )
    return DicomFrame(
        file, index, parts, None if position is None else np.array(position), _axes(file, parts),
        spacing, source, distance, (1.0 if slope is None else slope[0],
                                    0.0 if intercept is None else intercept[0]),
    )  # fmt: skip


def _numbers(parts: Sequence[Elements], keyword: str, count: int) -> tuple[float, ...] | None:
    """Of the nearest part that has the element."""
    for part in parts:
        values = part.numbers(keyword, count)
        if values is not None:
            return values
    return None


def _spacing(file: DicomFile, parts: Sequence[Elements]) -> tuple[tuple[float, float] | None, str]:
    for keyword in _SPACINGS:
        values = _numbers(parts, keyword, 2)
        if values is None:
            continue
        if min(values) <= 0:
            raise GeometryError(
                f"{file.name} has pixels of {values[1]:g} x {values[0]:g} mm ({keyword}); each "
                "size must be a positive number."
            )
        return (values[0], values[1]), keyword
    return None, ""


def _axes(file: DicomFile, parts: Sequence[Elements]) -> np.ndarray | None:
    values = _numbers(parts, "ImageOrientationPatient", 6)
    if values is None:
        return None
    axes = np.array(values).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > _UNIT:
        found = " and ".join(f"{length:.3g}" for length in lengths)
        raise GeometryError(
            f"{file.name} has directions of length {found} (ImageOrientationPatient); unit vectors "
            "are expected."
        )
    axes /= lengths[:, None]
    cosine = abs(float(axes[0] @ axes[1]))
    if cosine > _RIGHT_ANGLE:
        raise GeometryError(
            f"The rows and columns of {file.name} are not at right angles (cosine {cosine:.4f}); "
            "resample it to a rectangular grid first."
        )
    return axes
