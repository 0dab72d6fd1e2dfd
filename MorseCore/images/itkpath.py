"""Paths for ITK, which on Windows opens files by names in the system's code page."""

import sys
from pathlib import Path

from MorseCore.errors import ImageError

__all__ = ["itk_path"]

_UTF8 = 65001
_LONGEST = 32768


def itk_path(path: Path) -> str:
    """A name by which ITK finds a file, or can make it in a folder that is there.

    SimpleITK hands UTF-8 to functions of Windows that expect the system's code page, so that
    ``C:/Users/Jürgen/brain.nii.gz`` cannot be opened. Such a folder or file has a short name, too,
    without umlauts, unless the disk's owner has switched that off.

    :raises ImageError: if there is no name that ITK can open.
    """
    text = str(path)
    if sys.platform != "win32" or text.isascii() or _code_page() == _UTF8:
        return text
    known = path if path.exists() else path.parent
    short = _short_name(str(known.resolve()))
    if short is not None and known != path:
        short = str(Path(short) / path.name)
    if short is None or not short.isascii():
        raise ImageError(
            f"{path}: on Windows files are read and written in folders whose names have plain "
            "letters (a to z) only; move or rename it."
        )
    return short


def _code_page() -> int:
    """Windows' code page for names of eight bits; in Slicer it is UTF-8."""
    import ctypes

    return int(ctypes.windll.kernel32.GetACP())  # type: ignore[attr-defined]


def _short_name(name: str) -> str | None:
    """The short form (``JRGEN~1``) of an existing name; None if there is none."""
    import ctypes

    buffer = ctypes.create_unicode_buffer(_LONGEST)
    found = ctypes.windll.kernel32.GetShortPathNameW(  # type: ignore[attr-defined]
        name, buffer, _LONGEST
    )
    return buffer.value if found else None
