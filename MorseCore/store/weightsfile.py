"""What a safetensors file says of itself, compared with a network before anything is loaded.

Such a file is the length of its header (8 bytes, little-endian), a header in JSON that names type,
shape and place of each tensor, and the numbers. Nothing in it can run.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

from torch import Tensor

from MorseCore.errors import ModelError

__all__ = ["StoredTensor", "check_fits", "read_header"]

_LARGEST_HEADER = 2**24  # bytes; one of a thousand tensors has about 100,000
_REAL = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
_WHOLE = {"I8": 1, "U8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8, "BOOL": 1}
_BYTES = _REAL | _WHOLE
_SHOWN = 80  # characters of a name


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file."""

    kind: str
    """As safetensors calls it: ``F32``, ``I64`` …"""
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Read which tensors a file holds, and whether it holds them completely.

    :raises ModelError: if it is no such file, a pickle, damaged, larger than its tensors, or has
        numbers of another kind than real and whole ones (complex, 8-bit floats).
    :raises OSError: if it cannot be read.
    """
    name, size = f"{path.parent.name}/{path.name}", path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(9)
        length = int.from_bytes(head[:8], "little")
        if head[8:] != b"{" or length + 8 > size:
            raise _not_safetensors(path, head)
        if length > _LARGEST_HEADER:
            raise ModelError(
                f"'{name}' has a header of {length:,} bytes; {_LARGEST_HEADER:,} are the most."
            )
        stream.seek(8)
        raw = stream.read(length)
    try:
        header = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ModelError(f"'{name}' is damaged: its header cannot be read.") from None
    header.pop("__metadata__", None)
    tensors, total = {}, 0
    for key, entry in header.items():
        tensors[key], used = _read_entry(name, key, entry)
        total += used
    if total != size - 8 - length:
        raise ModelError(
            f"'{name}' is incomplete or damaged: its tensors have {total:,} bytes, and "
            f"{size - 8 - length:,} are there."
        )
    return tensors


def check_fits(
    name: str, stored: Mapping[str, StoredTensor], expected: Mapping[str, Tensor]
) -> None:
    """Refuse weights that are not a network's.

    :param name: of the model, for messages.
    :param expected: the network's own tensors; they may be without values (device ``meta``).
    :raises ModelError: naming the first tensor that is missing, of another shape or kind, or not
        the network's.
    """
    begin = f"The weights of '{name}' do not fit its network"
    if missing := [key for key in expected if key not in stored]:
        raise ModelError(f"{begin}: they lack '{_short(missing[0])}'{_more(missing)}.")
    if foreign := [key for key in stored if key not in expected]:
        raise ModelError(f"{begin}, which has no '{_short(foreign[0])}'{_more(foreign)}.")
    for key, tensor in expected.items():
        found = stored[key]
        if found.shape != tuple(tensor.shape):
            raise ModelError(
                f"{begin}: '{_short(key)}' has the shape {list(found.shape)} and should have "
                f"{list(tensor.shape)}."
            )
        if (found.kind in _REAL) != tensor.is_floating_point():
            wanted = "real" if tensor.is_floating_point() else "whole"
            raise ModelError(
                f"{begin}: '{_short(key)}' holds {found.kind}, and {wanted} numbers are expected."
            )


def _read_entry(name: str, key: str, entry: Any) -> tuple[StoredTensor, int]:
    """A tensor and how many bytes it takes."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    kind, shape, place = (fields.get(field) for field in ("dtype", "shape", "data_offsets"))
    if (
        not isinstance(kind, str)
        or not _are_sizes(shape)
        or not _are_sizes(place)
        or len(place) != 2
    ):
        raise ModelError(f"'{name}' is damaged: its header does not describe '{_short(key)}'.")
    if kind not in _BYTES:
        raise ModelError(
            f"'{name}' holds '{_short(key)}' as {_short(kind)}; weights must be real numbers of "
            f"the kinds {', '.join(_REAL)}."
        )
    used = prod(shape) * _BYTES[kind]
    if place[1] - place[0] != used:
        raise ModelError(
            f"'{name}' is damaged: '{_short(key)}' needs {used:,} bytes and has "
            f"{place[1] - place[0]:,}."
        )
    return StoredTensor(kind, tuple(shape)), used


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**48 for n in value)


def _not_safetensors(path: Path, head: bytes) -> ModelError:
    name = f"{path.parent.name}/{path.name}"
    if head[:1] == b"\x80" or zipfile.is_zipfile(path):  # torch.save: a pickle, alone or in a zip
        return ModelError(
            f"'{name}' is a Python pickle, which can run code and is never loaded; the weights "
            "must be in the safetensors format."
        )
    return ModelError(f"'{name}' is damaged or no safetensors file.")


def _short(text: str) -> str:
    """A name out of a file of others, fit for a terminal."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_SHOWN])
    return shown if len(text) <= _SHOWN else shown + "…"


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
