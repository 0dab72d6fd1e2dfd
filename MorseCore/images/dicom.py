"""The files of one DICOM series, in the order of their positions in the patient."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.itkpath import itk_path

__all__ = ["MODALITY", "modality_of", "sorted_series"]

logger = logging.getLogger(__name__)

_DESCRIPTION, _POSITION, _ORIENTATION = "0008|103e", "0020|0032", "0020|0037"
MODALITY = "0008|0060"
"""DICOM's tag of what made an image."""
_CLEAR_MAJORITY = 0.9  # of a folder's images; the others are scouts then
_UNEVEN = 0.05  # of the slice distance; the hand-rounded positions of some scanners stay below
_SIDEWAYS = 0.02  # of the slice distance: 1 degree of gantry tilt


@dataclass(frozen=True, eq=False)
class _Slice:
    file: Path
    position: np.ndarray
    """(3,) centre of the first voxel, LPS mm."""
    axes: np.ndarray
    """(2, 3) directions of rows and columns, LPS."""


def sorted_series(folder: Path) -> list[Path]:
    """The files of the folder's only series, sorted along the slices' normal.

    Sub-folders are not searched. A series beside which there are only a few other images (scouts)
    counts as the only one.

    :raises ImageError: without DICOM images, or with several series (all are named).
    :raises GeometryError: if the slices are unevenly spaced, doubled, turned or shifted sideways.
    """
    reader = SimpleITK.ImageSeriesReader
    place = itk_path(folder)
    names = reader.GetGDCMSeriesIDs(place)
    found = [list(reader.GetGDCMSeriesFileNames(place, name)) for name in names]
    series = sorted(filter(None, found), key=len, reverse=True)
    if not series:
        raise ImageError(
            f"The folder '{folder.name}' holds no images, neither DICOM nor others; sub-folders "
            "are not searched."
        )
    largest, others = series[0], series[1:]
    if len(largest) < _CLEAR_MAJORITY * sum(map(len, series)):
        listed = "; ".join(f"{_described(files)}" for files in series)
        raise ImageError(
            f"The folder '{folder.name}' holds {len(series)} DICOM series and one is expected: "
            f"{listed}."
        )
    if others:
        logger.warning(
            "%s: %d other image(s) in the folder are left out.", folder.name, sum(map(len, others))
        )
    files = [Path(file) for file in largest]
    return files if len(files) == 1 else _sorted_along_normal(files, folder.name)


def modality_of(file: Path) -> str:
    """DICOM's code of a file's modality (CT, MR, …); empty if it does not say or is no DICOM."""
    try:
        return str(_header(file).GetMetaData(MODALITY)).strip()
    except RuntimeError:
        return ""


def _described(files: list[str]) -> str:
    try:
        text = _header(Path(files[0])).GetMetaData(_DESCRIPTION).strip()
    except RuntimeError:  # no description
        text = ""
    return f"'{text or 'no description'}' ({len(files)} images)"


def _header(file: Path) -> SimpleITK.ImageFileReader:
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(itk_path(file))
    reader.ReadImageInformation()
    return reader


def _read_slice(file: Path) -> _Slice:
    try:
        header = _header(file)
        position = np.array(header.GetMetaData(_POSITION).split("\\"), dtype=np.float64)
        axes = np.array(header.GetMetaData(_ORIENTATION).split("\\"), dtype=np.float64).reshape(
            2, 3
        )
    except (RuntimeError, ValueError) as error:
        raise GeometryError(
            f"{file.name} does not say where in the patient its slice lies."
        ) from error
    return _Slice(file, position, axes)


def _sorted_along_normal(files: list[Path], name: str) -> list[Path]:
    slices = [_read_slice(file) for file in files]
    axes = slices[0].axes
    if max(float(np.abs(item.axes - axes).max()) for item in slices) > 1e-3:
        raise GeometryError(
            f"The slices in '{name}' are turned against each other; parallel slices are expected."
        )
    normal = np.cross(axes[0], axes[1])
    normal /= np.linalg.norm(normal)
    slices.sort(key=lambda item: float(item.position @ normal))
    _check_steps(np.diff([item.position for item in slices], axis=0), normal, name)
    return [item.file for item in slices]


def _check_steps(steps: np.ndarray, normal: np.ndarray, name: str) -> None:
    """Steps (N - 1, 3) from slice to slice in mm: all alike, and along the normal."""
    gaps = steps @ normal
    usual = float(np.median(gaps))
    if gaps.min() < 1e-3:
        raise GeometryError(
            f"Two slices in '{name}' lie at one position; one volume (one phase, one echo) is "
            "expected."
        )
    if np.abs(gaps - usual).max() > _UNEVEN * usual:
        raise GeometryError(
            f"The slices in '{name}' are {gaps.min():.2f} to {gaps.max():.2f} mm apart; "
            "even distances are expected, so slices may be missing."
        )
    sideways = float(np.linalg.norm(steps - gaps[:, None] * normal, axis=1).max())
    if sideways > _SIDEWAYS * usual:
        raise GeometryError(
            f"The slices in '{name}' are shifted by {sideways:.2f} mm against each other (tilted "
            "gantry); resample the series to a rectangular grid first."
        )
