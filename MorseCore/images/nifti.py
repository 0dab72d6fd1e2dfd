"""NIfTI files: what the header says, whether it can be believed, and the voxels that ITK loses."""

import gzip
import itertools
import logging
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.filechecks import (
    check_is_regular,
    check_size,
    damaged,
    is_gzip,
    note_surplus,
    unpacked_length,
)
from MorseCore.system.acceptance import NOTHING, Acceptance

__all__ = [
    "NiftiHeader",
    "check_nifti",
    "is_nifti",
    "pair_of",
    "read_missing_voxels",
    "read_nifti_header",
]

logger = logging.getLogger(__name__)

_HEADER = 348
_FIRST = 352  # byte at which voxels can begin behind a header, in the same file
_FLOATS = (16, 64)  # NIfTI's codes for float32 and float64
_BITS = {
    1: 1, 2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32,
    1024: 64, 1280: 64, 1536: 128, 1792: 128, 2048: 256, 2304: 32,
}  # fmt: skip
"""Bits a voxel by code of the type."""
_ONE_FILE, _TWO_FILES = b"n+1", b"ni1"
_PAIR = (".hdr", ".hdr.gz", ".img", ".img.gz")
_BLOCK = 1 << 16  # voxels looked at together
_SHORTEST = 1e-6  # of an axis; the file's unit
_OPPOSITE = -0.5  # cosine between two directions
_APART = 0.5  # voxels


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The fields of a NIfTI-1 header that decide whether the file can be believed."""

    size: tuple[int, ...]
    """Voxels along each axis, i first."""
    spacing: tuple[float, ...]
    """Voxel size along i, j, k in the file's unit."""
    offset: float
    """Bytes from the (unpacked) file's start to its voxels."""
    kind: int
    """Code of the voxels' type."""
    bits: int
    """A voxel, as the header says."""
    magic: bytes
    """``n+1``: the voxels follow in the same file, ``ni1``: in one beside it; Analyze has none."""
    sform: np.ndarray | None
    """3x4 matrix from indices to RAS, if the file has one."""
    qform: np.ndarray | None
    """The same from the header's quaternion, if the file has one."""
    scale: tuple[float, float]
    """Slope and intercept; a slope of zero or NaN says that voxels are stored as they are."""
    floats: np.dtype[np.floating] | None
    """Type of the voxels as stored, if they are real numbers that may be NaN or infinite."""

    @property
    def data_end(self) -> int:
        """Bytes from the start of the voxels' file to their end."""
        return int(self.offset) + math.prod(max(n, 1) for n in self.size) * self.bits // 8


def is_nifti(path: Path) -> bool:
    """Whether the name is one of a NIfTI file, or of a header with its voxels in a file beside."""
    return path.name.lower().endswith((".nii", ".nii.gz", *_PAIR))


def pair_of(path: Path) -> tuple[Path, Path] | None:
    """Header and voxels, where these are two files (``.hdr`` and ``.img``); None for others.

    :raises ImageError: if one of the two is not there, or no regular file.
    """
    name = path.name
    end = next((end for end in _PAIR if name.lower().endswith(end)), None)
    if end is None:
        return None
    stem, is_upper = name[: -len(end)], name[-len(end) :].isupper()
    found = []
    for kind in (".hdr", ".img"):
        names = [stem + (e.upper() if is_upper else e) for e in (kind, f"{kind}.gz")]
        part = next((p for n in names if (p := path.with_name(n)).exists()), None)
        if part is None:
            what = "its header" if kind == ".hdr" else "the file with its voxels"
            raise ImageError(f"{name} lacks {what}, '{names[0]}'.")
        check_is_regular(part)
        found.append(part)
    return found[0], found[1]


def check_nifti(path: Path, accepted: Acceptance = NOTHING) -> list[str]:
    """Refuse what ITK would accept in silence.

    :param accepted: refusals to overrule (``mirrored-position``).
    :return: sentences for the report.
    :raises ImageError: if a field makes no sense, or voxels are missing.
    :raises GeometryError: if spacing or position are no proper numbers, or the two positions that
        a header can hold exchange left and right: one mirrors the other, or turns it half-way.
    """
    if is_gzip(path) and not path.name.lower().endswith(".gz"):
        raise ImageError(
            f"{path.name} is packed with gzip, and its name does not say so; call it "
            f"'{path.name}.gz'."
        )
    header = read_nifti_header(path)
    _check_fields(path, header)
    pair = pair_of(path)
    notes = _check_kind(path, header, is_pair=pair is not None, accepted=accepted)
    notes += _check_positions(path, header, accepted) + _note_scale(path, header)
    end, voxels = header.data_end, pair[1] if pair else path
    found_bytes = (
        unpacked_length(voxels, expected=end) if is_gzip(voxels) else voxels.stat().st_size
    )
    check_size(voxels.name, found=found_bytes, expected=end)
    return notes + note_surplus(voxels.name, found=found_bytes, expected=end)


def _check_fields(path: Path, header: NiftiHeader) -> None:
    """Where the voxels begin, how many bits they have, and how large they are."""
    least = _FIRST if header.magic == _ONE_FILE else 0
    if not (header.offset >= least and header.offset.is_integer()):
        raise ImageError(
            f"{path.name} says that its voxels begin at byte {header.offset:g}; a whole number "
            f"from {least} on is expected. Save it again with the program that made it."
        )
    if _BITS.get(header.kind, header.bits) != header.bits:
        raise ImageError(
            f"{path.name} contradicts itself: voxels of type {header.kind} have "
            f"{_BITS[header.kind]} bits, and its header says {header.bits}."
        )
    # Axes of one voxel are often left at zero.
    wrong = [s for s, n in zip(header.spacing, header.size, strict=False) if n > 1 and not s > 0]
    if wrong or not all(map(math.isfinite, header.spacing)):
        found = " x ".join(f"{value:g}" for value in header.spacing)
        raise GeometryError(
            f"{path.name} has voxels of {found} mm; each size must be a positive number."
        )


def _check_kind(
    path: Path, header: NiftiHeader, *, is_pair: bool, accepted: Acceptance
) -> list[str]:
    """The header says of its files what they are; Analyze does not say which side is left."""
    if header.magic == (_TWO_FILES if is_pair else _ONE_FILE):
        return []
    if not is_pair and header.magic != _TWO_FILES:
        raise ImageError(f"{path.name} is not a NIfTI-1 image, whatever its name says.")
    if not is_pair or header.magic == _ONE_FILE:
        raise ImageError(
            f"{path.name} contradicts itself: its header says that the voxels are in "
            f"{'the same file' if header.magic == _ONE_FILE else 'another file'}."
        )
    error = GeometryError(
        f"{path.name} is an Analyze image, which does not say which side is left; convert it to "
        "NIfTI with a program that knows"
    )
    return [accepted.refuse("unknown-sides", error)]


def _check_positions(path: Path, header: NiftiHeader, accepted: Acceptance) -> list[str]:
    """Both matrices are finite, and they agree on which side is left."""
    for name, matrix in (("sform", header.sform), ("qform", header.qform)):
        if matrix is not None and not np.isfinite(matrix).all():
            raise GeometryError(
                f"{path.name} has a position matrix ({name}) with values that are not numbers."
            )
    if header.sform is None:
        return []
    lengths = np.linalg.norm(header.sform[:, :3], axis=0)
    if header.qform is None:
        if lengths.min() < _SHORTEST:
            raise GeometryError(
                f"{path.name} has a position matrix (sform) in which an axis has no length."
            )
        return []
    return _compare_positions(path, header, header.sform, header.qform, accepted)


def _compare_positions(
    path: Path,
    header: NiftiHeader,
    sform: np.ndarray,
    qform: np.ndarray,
    accepted: Acceptance,
) -> list[str]:
    """A left side that is the right one in the other position is refused; else both are named."""
    hands = [float(np.linalg.det(matrix[:, :3])) for matrix in (sform, qform)]
    axes = [_unit_columns(matrix[:, :3]) for matrix in (sform, qform)]
    right = float(axes[0][0] @ axes[1][0])  # between what the two call the patient's right
    if hands[0] * hands[1] < 0 or right < _OPPOSITE:
        error = GeometryError(
            f"{path.name} states two positions that are mirror images of each other, or turned "
            "half-way round (sform and qform): left and right cannot be told apart; correct its "
            "header."
        )
        return [accepted.refuse("mirrored-position", error)]
    ends = [(0, max(n, 1) - 1) for n in (*header.size, 1, 1, 1)[:3]]
    corners = np.array(list(itertools.product(*ends)), dtype=np.float64)
    difference = sform - qform
    shift = np.abs(corners @ difference[:, :3].T + difference[:, 3]).max()
    voxels = shift / (max(header.spacing, default=0) or 1)
    if voxels < _APART:
        return []
    return _noted(
        f"{path.name} states two positions that lie up to {voxels:.1f} voxels apart (sform and "
        "qform); the one that Slicer uses is taken."
    )


def _unit_columns(matrix: np.ndarray) -> np.ndarray:
    """Directions without lengths; what has none stays 0."""
    lengths = np.linalg.norm(matrix, axis=0)
    return matrix / np.where(lengths > 0, lengths, 1)


def _note_scale(path: Path, header: NiftiHeader) -> list[str]:
    """A sentence about a scale that cannot be meant, which ITK applies as far as it goes."""
    slope, intercept = header.scale
    if math.isfinite(slope) and slope != 0:
        is_odd = not math.isfinite(intercept)
    else:
        is_odd = math.isinf(slope) or (math.isfinite(intercept) and intercept != 0)
    if not is_odd:
        return []
    return _noted(
        f"{path.name} states a scale that makes no sense (slope {slope:g}, intercept "
        f"{intercept:g}); check its values."
    )


def _noted(sentence: str) -> list[str]:
    logger.warning("%s", sentence)
    return [sentence]


def read_nifti_header(path: Path) -> NiftiHeader:
    """Read a header. :raises ImageError: if the file does not begin with one."""
    pair = pair_of(path)
    path = pair[0] if pair else path
    try:
        with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as stream:
            raw = stream.read(_HEADER)
    except PermissionError:  # whoever called says so
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise damaged(path) from error
    for order in "<>":
        if raw[:4] == struct.pack(f"{order}i", _HEADER) and len(raw) == _HEADER:
            return _parse(raw, order)
        if raw[:4] == struct.pack(f"{order}i", 540):
            raise ImageError(f"{path.name} is of the second NIfTI version; save it as NIfTI-1.")
    raise ImageError(f"{path.name} is not a NIfTI image, whatever its name says.")


def _parse(raw: bytes, order: str) -> NiftiHeader:
    """The fields of a NIfTI-1 header in a byte order ('<' or '>')."""
    axes, *size = struct.unpack_from(f"{order}8h", raw, 40)
    axes = min(max(axes, 0), 7)
    kind, bits = struct.unpack_from(f"{order}2h", raw, 70)
    face, *spacing = struct.unpack_from(f"{order}4f", raw, 76)
    offset, *scale = struct.unpack_from(f"{order}3f", raw, 108)
    qcode, scode = struct.unpack_from(f"{order}2h", raw, 252)
    quaternion = struct.unpack_from(f"{order}6f", raw, 256)
    sform = np.frombuffer(raw, f"{order}f4", 12, 280).reshape(3, 4).astype(np.float64)
    return NiftiHeader(
        tuple(size[:axes]),
        tuple(spacing[: min(axes, 3)]),
        offset,
        kind,
        bits,
        raw[344:347],
        sform if scode > 0 else None,
        _from_quaternion(quaternion, spacing, face) if qcode > 0 else None,
        (scale[0], scale[1]),
        np.dtype(f"{order}f{bits // 8}") if kind in _FLOATS and bits in (32, 64) else None,
    )


def _from_quaternion(values: tuple[float, ...], spacing: list[float], face: float) -> np.ndarray:
    """The 3x4 matrix of a quaternion's b, c, d and an offset, as NIfTI-1 defines it."""
    b, c, d, *offset = values
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d)) if math.isfinite(b + c + d) else math.nan
    turn = np.array([
        [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
        [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
        [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ])  # fmt: skip
    steps = np.array([spacing[0], spacing[1], -spacing[2] if face < 0 else spacing[2]])
    with np.errstate(invalid="ignore"):  # not numbers: the caller says so
        return np.column_stack([turn * steps, offset])


def read_missing_voxels(path: Path, volume: int | None = None) -> np.ndarray | None:
    """Bool, flat, i fastest: the voxels of a NIfTI file that are NaN or infinite; None if none are.

    ITK reads such voxels as 0, which in a CT is water.

    :param volume: which one of a file with four axes; None: all voxels.
    """
    header, pair = read_nifti_header(path), pair_of(path)
    if header.floats is None:
        return None
    path = pair[1] if pair else path
    size = [max(n, 1) for n in header.size]
    count, width, parts = math.prod(size), header.floats.itemsize, []
    start = header.data_end - count * width
    if volume is not None:
        count = math.prod(size[:3])
        start += volume * count * width
    with gzip.open(path, "rb") if is_gzip(path) else path.open("rb") as stream:
        stream.seek(start)
        for first in range(0, count, _BLOCK):
            block = stream.read(min(_BLOCK, count - first) * width)
            parts.append(~np.isfinite(np.frombuffer(block, header.floats)))
    return np.concatenate(parts) if any(part.any() for part in parts) else None
