"""From stored pixels to values: complete, in their unit, each slice by its own scale."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np

from MorseCore.errors import ImageError
from MorseCore.images.dicom.decoding import decode
from MorseCore.images.dicom.encapsulation import COMPRESSED, find_frames
from MorseCore.images.dicom.frames import DicomFrame
from MorseCore.images.dicom.headers import DicomFile, syntax_name
from MorseCore.images.filechecks import check_size

__all__ = ["Filling", "check_pixels", "is_inverted", "is_turned", "read_pixels"]

_PLAIN = ("", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2",
          "1.2.840.10008.1.2.1.99")  # fmt: skip
_INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32)
_SUMS = frozenset({"CR", "DX", "MG", "XA", "RF", "IO", "PX", "RG"})
"""Modalities whose values have no unit: X-rays that went through the whole body."""


@dataclass(frozen=True, eq=False)
class Filling:
    """How much of each slice holds something, to find those that were lost."""

    share: np.ndarray
    """(K,) of the pixels that are stored as another number than 0; 0 if all are one number."""
    rows: np.ndarray
    """(K,) up to the last row with such a pixel."""

    @classmethod
    def of(cls, count: int) -> "Filling":
        """For slices that are still to be read."""
        return cls(np.zeros(count), np.zeros(count, np.int64))

    def note(self, n: int, filled: np.ndarray) -> None:
        """Take down a slice: (J, I), other than zero or false where something is stored."""
        if _is_flat(filled):
            return
        self.share[n] = np.count_nonzero(filled) / filled.size
        is_whole = filled[-1].any()  # nearly always; the rows are counted if it is not
        rows = [len(filled) - 1] if is_whole else np.flatnonzero(filled.any(axis=1))[-1:]
        self.rows[n] = 1 + int(rows[0]) if len(rows) else 0


def _is_flat(values: np.ndarray) -> bool:
    """Whether a slice shows nothing: every pixel is as the first."""
    first = values.flat[0]  # the middle row is looked at first, as it nearly always says no
    return bool((values[len(values) // 2] == first).all() and (values == first).all())


def read_pixels(frames: Sequence[DicomFrame]) -> tuple[np.ndarray, Filling]:
    """The values of slices, (K, J, I) in the order given, and how much of each is filled.

    Whole numbers stay whole where slopes and intercepts are, else they become float32. Inverted
    X-rays are turned, so that in all images a large value is bright.

    :param frames: of files that :func:`check_pixels` has seen.
    :raises ImageError: if pixels cannot be read.
    """
    array = np.empty((len(frames), *frames[0].file.size), _type_of(frames))
    filling = Filling.of(len(frames))
    plain = [frame for frame in frames if _is_plain(frame.file)]
    packed = [frame for frame in frames if not _is_plain(frame.file)]
    numbers = {id(frame): n for n, frame in enumerate(frames)}
    for frame, stored in chain(_read_plain(plain), _read_packed(packed)):
        n = numbers[id(frame)]
        filling.note(n, stored)
        _rescale(stored, frame, array[n])
    return array, filling


def is_inverted(file: DicomFile) -> bool:
    """Whether viewers show large values dark."""
    return file.elements.text("PhotometricInterpretation").upper() == "MONOCHROME1"


def is_turned(file: DicomFile) -> bool:
    """Whether reading turns its values, which it must not do where they have a unit."""
    is_sum = file.elements.text("Modality").upper() in _SUMS
    return is_inverted(file) and is_sum and not file.float_bits


def check_pixels(file: DicomFile) -> None:
    """Refuse pixels that are not all there or cannot be read.

    :raises ImageError: in words: colour, too few bytes, a compression that is not known here.
    """
    elements = file.elements
    photometric = elements.text("PhotometricInterpretation").upper() or "MONOCHROME2"
    if (elements.whole("SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONO"):
        raise ImageError(
            f"{file.name} is a colour image ({photometric}); one grey value a pixel is expected."
        )
    rows, columns = file.size
    if min(rows, columns) < 1:
        raise ImageError(f"{file.name} has {columns} x {rows} pixels; there is nothing to read.")
    _check_bits(file)
    if file.syntax in COMPRESSED:
        if file.pixels is not None and file.pixels.length is not None:
            raise ImageError(
                f"{file.name} contradicts itself: it says that its pixels are compressed, and they "
                "are not; copy it again."
            )
        with file.opened() as stream:
            find_frames(file, stream)
    elif _is_plain(file):
        _check_length(file)
    else:
        raise ImageError(
            f"{file.name} is compressed in a way that is not read ({syntax_name(file.syntax)}); "
            "export it uncompressed."
        )


def _check_bits(file: DicomFile) -> None:
    """The type of the stored numbers is one that is read, and does not contradict itself."""
    if file.float_bits:
        return
    whole = file.elements.whole
    bits, stored = whole("BitsAllocated") or 0, whole("BitsStored") or 0
    if bits not in (8, 16, 32):
        raise ImageError(
            f"{file.name} has {bits} bits a pixel (BitsAllocated); 8, 16 or 32 are expected."
        )
    high = whole("HighBit")
    if not 1 <= stored <= bits or (high is not None and high != stored - 1):
        raise ImageError(
            f"{file.name} contradicts itself about its {bits} bits a pixel: BitsStored is {stored} "
            f"and HighBit {high}."
        )


def _check_length(file: DicomFile) -> None:
    """Plain pixels have as many bytes as rows, columns and frames ask for."""
    assert file.pixels is not None
    rows, columns = file.size
    row = columns * _stored_type(file).itemsize
    expected = rows * row * file.frames
    length = file.pixels.length
    if length is None:
        raise ImageError(
            f"{file.name} is damaged: its pixels are plain and have no length; copy it again."
        )
    check_size(file.name, found=min(length, file.pixels.there), expected=expected)
    if length > expected + row + 1:  # a scanner may fill up a block
        raise ImageError(
            f"{file.name} contradicts itself: its {columns} x {rows} pixels have {expected} bytes, "
            f"and it holds {length}."
        )


def _is_plain(file: DicomFile) -> bool:
    return file.syntax in _PLAIN


def _stored_type(file: DicomFile) -> np.dtype:
    """Of a plain file's numbers."""
    order = "<" if file.is_little_endian else ">"
    if file.float_bits:
        return np.dtype(f"{order}f{file.float_bits // 8}")
    bits, sign = file.elements.whole("BitsAllocated"), file.elements.whole("PixelRepresentation")
    return np.dtype(f"{order}{'i' if sign else 'u'}{(bits or 0) // 8}")


def _stored_range(file: DicomFile) -> tuple[int, int]:
    """The least and the largest number that the file's bits can hold."""
    bits = file.elements.whole("BitsStored") or 0
    if file.elements.whole("PixelRepresentation"):
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def _type_of(frames: Sequence[DicomFrame]) -> np.dtype:
    """The smallest type of whole numbers that holds all values, or float32.

    :raises ImageError: if a scale leads beyond float32.
    """
    ends, is_whole = [], True
    for file, slope, intercept in {(frame.file, *frame.rescale) for frame in frames}:
        low, high = (-1, 1) if file.float_bits else _stored_range(file)
        both = [slope * low + intercept, slope * high + intercept]
        if max(map(abs, both)) > float(np.finfo(np.float32).max):
            raise ImageError(
                f"{file.name} has a RescaleSlope of {slope:g} and a RescaleIntercept of "
                f"{intercept:g}; no scanner's values are that large."
            )
        is_whole &= not file.float_bits and slope == int(slope) and intercept == int(intercept)
        ends += both
    for kind in _INTEGERS if is_whole else ():
        if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.float32)


def _read_plain(frames: Iterable[DicomFrame]) -> Iterator[tuple[DicomFrame, np.ndarray]]:
    """The stored numbers (J, I) of uncompressed frames, in their order."""
    for file, members in groupby(frames, key=lambda frame: frame.file):
        assert file.pixels is not None
        kind, (rows, columns) = _stored_type(file), file.size
        size = rows * columns * kind.itemsize
        unused = 8 * kind.itemsize - (file.elements.whole("BitsStored") or 0)
        with file.opened() as stream:
            for frame in members:
                stream.seek(file.pixels.start + frame.index * size)
                data = stream.read(size)
                check_size(file.name, found=len(data), expected=size)
                values = np.frombuffer(data, kind).reshape(rows, columns)
                values = values.astype(kind.newbyteorder("="), copy=False)
                if unused and not file.float_bits:  # they may hold an overlay
                    values = (values << unused) >> unused
                yield frame, values


def _read_packed(frames: Iterable[DicomFrame]) -> Iterator[tuple[DicomFrame, np.ndarray]]:
    """The same of compressed frames, whose decoders go by what the compressed data say."""
    for frame, values in decode(frames):
        low, high = _stored_range(frame.file)
        if values.min() < low or values.max() > high:
            raise ImageError(
                f"{frame.file.name} contradicts itself: its compressed pixels have more bits than "
                "its header says."
            )
        yield frame, values


def _rescale(stored: np.ndarray, frame: DicomFrame, out: np.ndarray) -> None:
    """Write what stored numbers mean."""
    slope, intercept = frame.rescale
    if np.issubdtype(out.dtype, np.integer) and slope == 1:
        np.copyto(out, stored, casting="unsafe")  # modulo 2^n, and the sum fits again
        if intercept != 0:
            out += int(intercept)
    elif np.issubdtype(out.dtype, np.integer):
        out[...] = stored.astype(np.int64) * int(slope) + int(intercept)
    else:
        out[...] = stored.astype(np.float64) * slope + intercept
    if is_turned(frame.file):
        out[...] = _inverted(out, frame)


def _inverted(values: np.ndarray, frame: DicomFrame) -> np.ndarray:
    """Values with the darkest and the brightest that the file can hold exchanged."""
    slope, intercept = frame.rescale
    both = slope * sum(_stored_range(frame.file)) + 2 * intercept
    if np.issubdtype(values.dtype, np.integer):
        return int(both) - values.astype(np.int64)
    return both - values
