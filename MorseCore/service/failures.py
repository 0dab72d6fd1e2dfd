"""What the worker says of an error, and whether it can go on after it."""

import os
import platform
import sys
import traceback
from typing import Any

from MorseCore import __version__
from MorseCore.errors import MorseError

__all__ = ["INTERPRETER", "error_event", "missing_package", "spoils_device"]

INTERPRETER = "MORSESEGMENT_PYTHON"
"""Environment variable that names another Python than Slicer's for the worker."""


def error_event(number: int | None, error: BaseException) -> dict[str, Any]:
    """The event ``error``: one sentence for a person, and the details for a report.

    :param number: of the request; None if it is not known.
    """
    kind = type(error).__name__
    if isinstance(error, MorseError):
        message = str(error)
    elif isinstance(error, ModuleNotFoundError):
        kind = "MissingPackage"
        message = missing_package(error.name or "?")
    elif isinstance(error, MemoryError):
        message = "The memory is too small for this run; choose a region of interest."
    elif spoils_device(error):
        message = (
            f"The GPU failed ({str(error).strip().splitlines()[0]}); try again, with the CPU as "
            "the device if it happens once more."
        )
    else:
        message = f"The worker met an unexpected problem ({kind}); see the details."
    detail = "".join(traceback.format_exception(error))
    versions = f"MorseSegment {__version__}, Python {platform.python_version()}, {sys.platform}"
    event: dict[str, Any] = {
        "event": "error", "message": message, "kind": kind, "detail": f"{detail}\n{versions}"
    }  # fmt: skip
    if isinstance(error, ModuleNotFoundError):
        event["package"] = error.name
    return event if number is None else {**event, "id": number}


def missing_package(name: str) -> str:
    """The sentence for a package that the worker's Python lacks."""
    if other := os.environ.get(INTERPRETER):  # not Slicer's, into which Install would put it
        return f"The Python package '{name}' is missing; install it: {other} -m pip install {name}"
    return f"The Python package '{name}' is missing; press Install under Environment."


def spoils_device(error: BaseException) -> bool:
    """Whether a GPU answers no more in this process: an illegal access, or it was lost.

    torch calls these ``AcceleratorError``; lack of memory is another error, and does no harm.
    """
    torch: Any = sys.modules.get("torch")
    kind = getattr(torch, "AcceleratorError", None)
    return kind is not None and isinstance(error, kind) and "out of memory" not in str(error)
