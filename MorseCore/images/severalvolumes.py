"""Files that hold several volumes: repetitions of a scan along a fourth axis, or in a list."""

from pathlib import Path

import SimpleITK

from MorseCore.errors import ImageError
from MorseCore.images.itkpath import itk_path
from MorseCore.images.nifti import is_nifti, read_nifti_header
from MorseCore.images.textheaders import read_nrrd_kinds

__all__ = ["check_volume", "count_volumes", "pick_volume", "read_one_volume"]

_LISTS = ("list", "time")  # NRRD's kinds of an axis along which whole volumes follow each other


def check_volume(source: str, volume: int | None, count: int) -> None:
    """:raises ImageError: if a volume was asked for that an image does not have."""
    if volume is not None and not 0 <= volume < count:
        has = "one volume" if count == 1 else f"{count} volumes, counted from 0"
        raise ImageError(f"{source} has {has}; there is no volume {volume} in it.")


def pick_volume(source: str, volume: int | None, count: int, *, differing: str = "") -> int:
    """Which of several volumes to read.

    :param differing: in what they differ, for the message.
    :raises ImageError: if none was asked for and there are several, or there is no such one.
    """
    check_volume(source, volume, count)
    if volume is None and count > 1:
        raise ImageError(
            f"{source} holds {count} volumes{differing}; choose one with --volume 0 to {count - 1}."
        )
    return volume or 0


def count_volumes(path: Path) -> int:
    """How many volumes a file holds.

    :raises RuntimeError: of SimpleITK's, if the file cannot be read.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(itk_path(path))
    reader.ReadImageInformation()
    size = reader.GetSize()
    if len(size) == 4:
        return int(size[3])
    return int(reader.GetNumberOfComponents()) if _is_list(path) else 1


def read_one_volume(path: Path, volume: int | None) -> tuple[SimpleITK.Image, int | None]:
    """Read a file, or one volume of a file with several; also the number of that volume.

    :param volume: which one, counted from 0; None for a file with a single one.
    :return: the image, and the volume's number where there is a fourth axis.
    :raises ImageError: if there are several and none was chosen, or there is no such volume.
    :raises RuntimeError: of SimpleITK's, if the file cannot be read.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(itk_path(path))
    if is_nifti(path) and _axes_of_nifti(path) <= 3:  # known without ITK, which unpacks for it
        check_volume(path.name, volume, 1)
        return reader.Execute(), None
    reader.ReadImageInformation()
    size = tuple(reader.GetSize())
    if len(size) > 4:
        raise ImageError(
            f"{path.name} has {len(size)} axes ({_shown(size)}); three are expected, or four of "
            "which the last counts volumes."
        )
    if len(size) == 4:
        number = pick_volume(path.name, volume, size[3], differing=f" of {_shown(size[:3])} voxels")
        reader.SetExtractIndex((0, 0, 0, number))
        reader.SetExtractSize((*size[:3], 0))
        return reader.Execute(), number
    if reader.GetNumberOfComponents() > 1 and _is_list(path):
        count = reader.GetNumberOfComponents()
        number = pick_volume(path.name, volume, count, differing=f" of {_shown(size)} voxels")
        return SimpleITK.VectorIndexSelectionCast(reader.Execute(), number), number
    check_volume(path.name, volume, 1)
    return reader.Execute(), None


def _axes_of_nifti(path: Path) -> int:
    """Axes up to the last one with more than one voxel."""
    size = read_nifti_header(path).size
    return max((n for n, count in enumerate(size, start=1) if count > 1), default=1)


def _is_list(path: Path) -> bool:
    """Whether an NRRD file's values of a voxel are volumes, not the parts of a vector."""
    return any(kind in _LISTS for kind in read_nrrd_kinds(path))


def _shown(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
