"""Errors for a person: one sentence naming the thing, what was expected and what was found."""

import sys
import unicodedata

__all__ = [
    "Cancelled",
    "ConfigError",
    "DatasetError",
    "DeviceError",
    "GeometryError",
    "ImageError",
    "ModelError",
    "MorseError",
    "NotFiniteError",
    "OutputError",
    "lacking",
    "one_line",
]


class MorseError(ValueError):
    """Base of every error whose message is for the user; any other exception is our defect."""

    plain: str = ""
    """The sentence without the command line's way to overrule it, where there is one."""
    accept: str = ""
    """The name by which it can be overruled, see :mod:`MorseCore.system.acceptance`."""

    def __str__(self) -> str:
        """The sentence. What a file's name smuggles into it (line ends, colours) is escaped."""
        return one_line(super().__str__())


class ConfigError(MorseError):
    """A configuration or an option that cannot be used."""


class DatasetError(MorseError):
    """A data set whose files do not fit together."""


class DeviceError(MorseError):
    """A device that was asked for and is not there, or ran out of memory."""


class GeometryError(MorseError):
    """A grid that is not a grid: zero spacing, sheared axes, a box outside the image."""


class ImageError(MorseError):
    """A file that cannot be read as one scalar image."""


class ModelError(MorseError):
    """A model folder that is incomplete, altered or made for something else."""


class NotFiniteError(ModelError):
    """A model that answers with infinity or NaN, as it may in half precision."""


class OutputError(MorseError):
    """A place that cannot be written to."""


class Cancelled(MorseError):
    """The caller asked to stop; nothing was written."""


def one_line(text: str) -> str:
    """Text that any terminal, log or file can hold in a line.

    Control characters, marks that turn the direction of writing, and bytes that are no UTF-8 become
    escapes like ``\\x1b``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(letter: str) -> str:
    """A letter, or the escape of what is none."""
    kind = unicodedata.category(letter)
    if (
        kind == "Cs" and "\udc80" <= letter <= "\udcff"
    ):  # Python's way to hold a byte of a file name
        return f"\\x{ord(letter) - 0xDC00:02x}"
    is_plain = kind not in ("Cc", "Cf", "Cs", "Zl", "Zp") or letter == "\u00ad"
    return letter if is_plain else letter.encode("unicode_escape").decode()


def lacking(error: ModuleNotFoundError) -> str:
    """What to say of a package that is not there; the module reads the first line."""
    return (
        f"ModuleNotFoundError: {error}\n"
        f"error: This Python ({sys.executable}) lacks the package '{error.name}'; use the one of "
        "the environment in which MorseCore was installed."
    )
