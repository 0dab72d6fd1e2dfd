"""Compressed frames through ITK's decoders, several together, as each call costs time.

The decoders get a new file with nothing in it but pixels: what else may be in a file has made them
run for ever, and they have ideas of their own about scales and inversion.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import SimpleITK

from MorseCore.errors import ImageError
from MorseCore.images.dicom.encapsulation import find_frames, join
from MorseCore.images.dicom.frames import DicomFrame
from MorseCore.images.dicom.headers import DicomFile
from MorseCore.images.itkpath import itk_path

__all__ = ["decode"]

_TOGETHER = 16  # frames; more are not faster, and need memory
_ALIKE = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation")
_CLASS = "1.2.840.10008.5.1.4.1.1.7.3"  # pictures of many frames, without a place
_UID = "1.2.826.0.1.3680043.10.543.1"


def decode(frames: Iterable[DicomFrame]) -> Iterator[tuple[DicomFrame, np.ndarray]]:
    """The stored numbers (J, I) of compressed frames, in their order.

    :raises ImageError: naming the file, if one is damaged or contradicts its header.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "frames.dcm"
        for _, alike in groupby(frames, key=lambda frame: _type_of(frame.file)):
            members = iter(alike)
            while batch := list(islice(members, _TOGETHER)):
                yield from zip(batch, _decoded(batch, place), strict=True)


def _type_of(file: DicomFile) -> tuple[object, ...]:
    """What is one for frames that are decoded together."""
    return (file.syntax, *(file.elements.whole(keyword) for keyword in _ALIKE))


def _decoded(frames: Sequence[DicomFrame], place: Path) -> Iterator[np.ndarray]:
    try:
        yield from _decoded_together(frames, place)
    except _DecodingError as error:
        if len(frames) == 1:
            raise ImageError(f"{frames[0].file.name} {error}") from error
        for frame in frames:  # one after the other, to find the one
            yield from _decoded([frame], place)


class _DecodingError(Exception):
    """What is wrong with a file, without its name."""


def _decoded_together(frames: Sequence[DicomFrame], place: Path) -> np.ndarray:
    """(N, J, I) of frames of one type."""
    file = frames[0].file
    _write(file, _collected(frames), place)
    try:
        image = SimpleITK.ReadImage(itk_path(place), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise _DecodingError(
            "is damaged: its compressed pixels cannot be decoded; copy it again."
        ) from error
    array = SimpleITK.GetArrayFromImage(image)
    if array.shape != (len(frames), *file.size):
        rows, columns = file.size
        raise _DecodingError(
            f"contradicts itself: its header says {columns} x {rows} pixels, and its compressed "
            f"pixels are {' x '.join(map(str, array.shape[:0:-1]))}."
        )
    return array


def _collected(frames: Sequence[DicomFrame]) -> list[bytes]:
    """The compressed bytes of each frame."""
    found: list[bytes] = []
    for file, members in groupby(frames, key=lambda frame: frame.file):
        with file.opened() as stream:
            places = find_frames(file, stream)
            found += [join(places[frame.index], stream) for frame in members]
    return found


def _write(file: DicomFile, frames: Sequence[bytes], place: Path) -> None:
    """Write frames as a file that says no more than how to decode them."""
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    meta, data = FileMetaDataset(), Dataset()
    meta.TransferSyntaxUID = UID(file.syntax)
    meta.MediaStorageSOPClassUID = data.SOPClassUID = UID(_CLASS)
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = UID(_UID)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.NumberOfFrames = len(frames)
    for keyword in _ALIKE:
        setattr(data, keyword, file.elements.whole(keyword))
    data.HighBit = data.BitsStored - 1
    data.PixelData = encapsulate(list(frames), has_bot=False)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    whole = FileDataset(
        str(place), data, bytes(128), meta, is_implicit_VR=False, is_little_endian=True
    )
    dcmwrite(place, whole)
