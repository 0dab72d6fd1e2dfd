"""Reading a scan from a file or a DICOM folder, and writing maps on its grid."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK

from MorseCore.errors import GeometryError, ImageError, OutputError
from MorseCore.geometry import Geometry
from MorseCore.images.dicom.reading import is_dicom, read_dicom
from MorseCore.images.filechecks import check_is_regular
from MorseCore.images.itkpath import itk_path
from MorseCore.images.nifti import (
    check_nifti,
    is_nifti,
    read_missing_voxels,
)
from MorseCore.images.pictures import check_picture
from MorseCore.images.severalvolumes import read_one_volume
from MorseCore.images.textheaders import check_text_header
from MorseCore.images.voxelvalues import to_single
from MorseCore.system.acceptance import NOTHING, Acceptance
from MorseCore.system.files import atomic_path, printable

__all__ = [
    "ReadOptions",
    "check_is_there",
    "Volume",
    "read_volume",
    "volume_from_itk",
    "warn_about_spacing",
    "write_itk_image",
    "write_labels",
    "write_volume",
]

logger = logging.getLogger(__name__)

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_FORMATS = tuple(
    f"{name}ImageIO" for name in ("Nifti", "Nrrd", "Meta", "PNG", "JPEG", "BMP", "TIFF")
)
"""Of ITK's readers, those whose files are known to be whole before they are read."""
_WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
_PATH_ERRORS = {
    errno.ELOOP: "it is a link that leads back to itself",
    errno.EACCES: "permission was denied",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
}
_UNIT = 0.01  # how far a direction's length may be from 1, as in DICOM
_PLAUSIBLE = (0.02, 20.0)  # mm; outside, somebody mistook the unit


@dataclass(frozen=True)
class ReadOptions:
    """What a person chooses where a file holds several volumes or a doubtful one."""

    series: str | None = None
    """Of a DICOM folder: the UID of the series, its beginning or its end."""
    volume: int | None = None
    """Of a file or a series with several volumes: which one, counted from 0."""
    accepted: Acceptance = NOTHING
    """Refusals to overrule."""


@dataclass(frozen=True, eq=False)
class Volume:
    """One scalar image and where it is."""

    array: np.ndarray
    """(K, J, I), float32 or the file's integer type; NaN where the file has no number. float64 only
    where float32 would round the contrast away."""
    geometry: Geometry
    source: str
    """Name of the file or folder, without its path, which may name a patient."""
    ndim: int = 3
    """2 for a picture, whose array has one slice."""
    modality: str = ""
    """DICOM's code (CT, MR, …); empty where the file does not say."""
    notes: tuple[str, ...] = ()
    """Sentences about the file that a report must hold, already logged."""
    others: tuple["Volume", ...] = ()
    """Its further channels on the same grid; this is the first (:mod:`.channels`)."""

    @property
    def channels(self) -> tuple["Volume", ...]:
        """All channels, itself included."""
        return (self, *self.others)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The voxels, for numpy's functions."""
        return np.array(self.array, dtype=dtype, copy=copy)

    def to_sitk(self) -> SimpleITK.Image:
        """The volume as an image of SimpleITK's, a copy in LPS."""
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(self.array))
        spacing, origin, direction = self.geometry.lps()
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        image.SetDirection(direction)
        return image


def read_volume(path: Path, options: ReadOptions | None = None) -> Volume:
    """Read a NIfTI, NRRD, MetaImage, DICOM or picture file, or a folder with one DICOM series.

    :param options: what to choose, where there is a choice.

    :raises ImageError: if there is no such file, or it is damaged, or not one scalar image.
    :raises GeometryError: if its grid is impossible (spacing zero, axes not at right angles).
    """
    check_is_there(path)
    options = options or ReadOptions()
    _check_names(path)
    with _quiet_itk():
        notes = [] if path.is_dir() else _check_file(path, options.accepted)
        volume = _read_dicom(path, options) or _read_file(path, options)
    volume = replace(volume, notes=(*notes, *volume.notes))
    warn_about_spacing(volume)
    return volume


def _read_dicom(path: Path, options: ReadOptions) -> Volume | None:
    """A DICOM folder or file; None if the path is something else."""
    if path.is_file() and (is_nifti(path) or not is_dicom(path)):
        return None
    found = read_dicom(
        path, series=options.series, volume=options.volume, accepted=options.accepted
    )
    if found is None:
        return None
    return Volume(
        found.array, found.geometry, path.name, modality=found.modality, notes=tuple(found.notes)
    )


def _read_file(path: Path, options: ReadOptions) -> Volume:
    """A file that is no DICOM, or one volume of it."""
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        raise ImageError(
            f"{path.name} is called a DICOM file, and its beginning is that of none; copy it again."
        )
    if options.series is not None:
        raise ImageError(f"{path.name} is no DICOM file and has no series to choose from.")
    image, number = _read(path, options.volume)
    volume = volume_from_itk(image, path.name)
    if np.issubdtype(volume.array.dtype, np.floating) and is_nifti(path):
        missing = read_missing_voxels(path, number)
        if missing is not None:
            volume.array[missing.reshape(volume.array.shape)] = np.nan
    return volume


def volume_from_itk(image: SimpleITK.Image, source: str) -> Volume:
    """A volume of an image of SimpleITK's; its voxels are copied.

    :param source: what messages call it.
    :raises ImageError: if it has several values a voxel, more than three axes, or complex voxels.
    :raises GeometryError: if its grid is impossible.
    """
    image = _as_scalar(image, Path(source))
    array = to_single(SimpleITK.GetArrayFromImage(image))
    geometry = geometry_of(image)
    return Volume(array.reshape(geometry.shape), geometry, source, image.GetDimension())


def write_volume(
    path: Path,
    array: np.ndarray,
    geometry: Geometry,
    *,
    kind: Literal["scalar", "labels"] = "scalar",
) -> None:
    """Write (K, J, I) as .nii.gz, .nii, .nrrd or .mha: as float32, or as labels.

    Labels are stored as uint8, or as uint16 if one is above 255.

    :raises OutputError: if the file cannot be written or its name ends otherwise.
    :raises GeometryError: if the array does not fit the grid.
    :raises ValueError: if labels are not whole numbers from 0 to 65535.
    """
    if not path.name.lower().endswith(_WRITABLE):
        raise OutputError(f"{path.name} must end in one of {', '.join(_WRITABLE)}.")
    values = _as_labels(array) if kind == "labels" else array.astype(np.float32, copy=False)
    write_itk_image(path, values, geometry)


def write_labels(path: Path, labels: np.ndarray, geometry: Geometry) -> None:
    """Write a label map; see :func:`write_volume`."""
    write_volume(path, labels, geometry, kind="labels")


def write_itk_image(
    path: Path, array: np.ndarray, geometry: Geometry, *, metadata: dict[str, str] | None = None
) -> None:
    """Write (K, J, I) as it is, compressed, in the suffix's format, and check that all arrived.

    :raises OutputError: if that fails. :raises GeometryError: if the array does not fit the grid.
    :raises ImageError: if ITK cannot open a file in that folder, see :func:`itk_path`.
    """
    if array.shape != geometry.shape:
        raise GeometryError(f"A map of shape {array.shape} does not fit the grid {geometry.shape}.")
    if not _is_text(path):
        raise OutputError(f"{printable(path.name)}: the path has bytes that are no UTF-8 text.")
    image = Volume(array, geometry, path.name).to_sitk()
    for key, value in (metadata or {}).items():
        image.SetMetaData(key, value)
    with atomic_path(path) as temporary, _quiet_itk():
        place = itk_path(temporary)
        try:
            SimpleITK.WriteImage(image, place, useCompression=True)
            _check_contents(temporary)  # a full disk does not make every ITK writer fail
        except (RuntimeError, ImageError) as error:
            raise OutputError(f"{path} cannot be written completely; is the disk full?") from error


@contextmanager
def _quiet_itk() -> Iterator[None]:
    """ITK writes warnings to the terminal; ours go through logging, with the reason in words."""
    before = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(before)


def check_is_there(path: Path) -> None:
    """:raises ImageError: with the system's reason, if there is no such file or folder."""
    if "\0" in str(path):
        raise ImageError(f"'{path.name}' is no path: it has a character of code zero in it.")
    try:
        path.stat()
    except FileNotFoundError:
        raise ImageError(f"There is no file or folder '{path.name}'.") from None
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ImageError:
    reason = _PATH_ERRORS.get(error.errno or 0, error.strerror or "unknown reason")
    return ImageError(f"{path.name} cannot be read: {reason}.")


def _check_names(path: Path) -> None:
    """SimpleITK ends the whole program when it is given a path that is no text, and waits for ever
    when it is given a pipe."""
    try:
        items = [path, *(path.iterdir() if path.is_dir() else ())]
    except OSError as error:
        raise _unreadable(path, error) from error
    for item in items:
        if item.exists():
            check_is_regular(item)
        if not _is_text(item):
            raise ImageError(
                f"{printable(item.name)}: its path has bytes that are no UTF-8 text; rename it."
            )


def _is_text(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_file(path: Path, accepted: Acceptance) -> list[str]:
    """Refuse what cannot be read rightly; returns sentences for the report."""
    if path.name.startswith("._"):
        raise ImageError(
            f"{path.name} is a companion file that macOS made, not an image; "
            f"choose '{path.name[2:]}'."
        )
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path.name} is empty (0 bytes).")
        return _check_contents(path, accepted)
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_contents(path: Path, accepted: Acceptance = NOTHING) -> list[str]:
    """Refuse what ITK would accept in silence: half a file, a spacing that is none."""
    if is_nifti(path):
        return check_nifti(path, accepted)
    check_picture(path)
    return check_text_header(path)


def _read(path: Path, volume: int | None) -> tuple[SimpleITK.Image, int | None]:
    """The image and, where there is a fourth axis, which volume it is."""
    if SimpleITK.ImageFileReader.GetImageIOFromFileName(itk_path(path)) not in _FORMATS:
        raise ImageError(
            f"{path.name} is not an image in a format that can be read (NIfTI, NRRD, MetaImage, "
            "DICOM, PNG, JPEG, BMP, TIFF); convert it to one of them."
        )
    try:
        return read_one_volume(path, volume)
    except RuntimeError as error:
        text = str(error)
        if "orthonormal" in text:
            raise GeometryError(
                f"The axes of {path.name} are not at right angles; "
                "resample it to a rectangular grid first."
            ) from error
        if "spacing" in text.lower():
            raise GeometryError(
                f"{path.name} has voxels of zero size; each size must be positive."
            ) from error
        raise ImageError(
            f"{path.name} cannot be read: it is damaged or of an unusual kind; export it again "
            "from the program that made it."
        ) from error


def _as_scalar(image: SimpleITK.Image, path: Path) -> SimpleITK.Image:
    if image.GetDimension() > 3:
        size = " x ".join(map(str, image.GetSize()))
        raise ImageError(
            f"{path.name} has {image.GetDimension()} dimensions ({size}); choose one volume of it."
        )
    if "complex" in image.GetPixelIDTypeAsString():
        raise ImageError(f"{path.name} has complex voxels; export its magnitude.")
    channels = image.GetNumberOfComponentsPerPixel()
    if channels == 1:
        return image
    if path.suffix.lower() in _PICTURES and channels == 3:
        planes = [SimpleITK.VectorIndexSelectionCast(image, n) for n in range(3)]
        first, *others = (SimpleITK.GetArrayViewFromImage(plane) for plane in planes)
        if all(np.array_equal(first, other) for other in others):  # grey, stored as colour
            return planes[0]
    raise ImageError(
        f"{path.name} has {channels} values a voxel (colour?); one grey value is expected."
    )


def geometry_of(image: SimpleITK.Image) -> Geometry:
    """The grid of an image of SimpleITK's; a picture is a volume of one slice."""
    spacing, origin, direction = image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    size = (*image.GetSize(), 1)[:3]
    if image.GetDimension() == 2:  # the picture lies in the plane of the first two LPS axes
        spacing, origin = (*spacing, 1.0), (*origin, 0.0)
        a, b, c, d = direction
        direction = (a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0)
    geometry = Geometry.from_lps(size[::-1], spacing=spacing, origin=origin, direction=direction)
    lengths = np.linalg.norm(np.reshape(direction, (3, 3)), axis=0)
    if np.abs(lengths - 1).max() > _UNIT:  # readers disagree about what such voxels measure
        found = " x ".join(f"{length:.3g}" for length in lengths)
        raise GeometryError(
            f"The image's directions have the lengths {found}, and 1 is expected; put the size of "
            "voxels into the spacing."
        )
    return geometry


def warn_about_spacing(volume: Volume) -> None:
    """Log it if the voxels have a size that no scan has."""
    low, high = _PLAUSIBLE
    if not all(low <= step <= high for step in volume.geometry.spacing):
        found = " x ".join(f"{step:g}" for step in volume.geometry.spacing)
        logger.warning(
            "%s has voxels of %s mm, which is implausible; is the unit right?", volume.source, found
        )


def _as_labels(labels: np.ndarray) -> np.ndarray:
    largest = int(labels.max(initial=0))
    if labels.min(initial=0) < 0 or largest > 65535 or not np.array_equal(labels, np.rint(labels)):
        raise ValueError("labels must be whole numbers from 0 to 65535")
    return labels.astype(np.uint8 if largest <= 255 else np.uint16)
