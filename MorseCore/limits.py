"""The largest numbers, lists and texts that a configuration may hold.

Every bound lies far beyond what was ever useful. Beyond it a value is a slip of the keyboard or an
attack: it would only use up memory and time.
"""

from collections.abc import Mapping
from typing import Any

from MorseCore.errors import ConfigError

__all__ = ["MAX_DEPTH", "check_bounds", "check_depth", "check_magnitudes", "check_network"]

MAX_DEPTH = 64  # levels; a configuration has five
_WIDEST, _STRONGEST, _LONGEST = 65_536, 1e6, 64  # layers' widths, losses' weights, lists
_REPEATED = {
    "layers": 256, "gate_depth": 64, "blocks": 256, "units": 256, "scale": 64, "learners": 64,
    "frequencies": 4096, "neighbours": 256, "spo_copies": 256,
}  # fmt: skip
"""Options of backbones and heads of which each is a layer, a copy or a power of two."""
_LONGEST_TEXT = 4096  # characters; no system has longer paths
_SHOWN = 60  # characters of a wrong value


def check_depth(data: Any, where: str, *, most: int = MAX_DEPTH) -> None:
    """Refuse data that are nested so deeply that Python could not walk through them.

    :param where: what they are, the beginning of a sentence.
    :raises ConfigError: beyond ``most`` lists and objects in each other.
    """
    level = [data] if isinstance(data, (Mapping, list, tuple)) else []
    for _ in range(most):
        inner: list[Any] = []
        for item in level:
            inner += item.values() if isinstance(item, Mapping) else item
        level = [item for item in inner if isinstance(item, (Mapping, list, tuple))]
    if level:
        raise ConfigError(f"{where} is nested more than {MAX_DEPTH} levels deep.")


def check_bounds(config: Any, **bounds: tuple[float, float]) -> None:
    """Refuse numbers of a dataclass that lie outside of what makes sense.

    :param bounds: field -> lowest and highest value; each item of a tuple counts, None does not.
    :raises ConfigError: naming the field, the bounds and the value.
    """
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        for number in numbers:
            if not low <= number <= high:
                wanted = _wanted(number, low, high)
                raise ConfigError(f"'{name}' {wanted}; found {_show(value)}.")


def check_magnitudes(
    where: str, value: Any, *, integer: int = 2**53, real: float = 1e12, length: int = 2**20
) -> None:
    """Refuse numbers, lists and texts that no component is made for, wherever they stand.

    :param where: dotted place of ``value``.
    :param integer: largest whole number, with either sign.
    :param real: largest other number, with either sign.
    :param length: of a list.
    :raises ConfigError: naming the place.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            place = f"{where}.{key}" if where else str(key)
            check_magnitudes(place, item, integer=integer, real=real, length=length)
    elif isinstance(value, (list, tuple)):
        if len(value) > length:
            raise ConfigError(f"'{where}' may hold {length} values; found {len(value)}.")
        for item in value:
            check_magnitudes(where, item, integer=integer, real=real, length=length)
    elif isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise ConfigError(
                f"'{where}' may have {_LONGEST_TEXT:,} characters; found {len(value):,}."
            )
        if "\0" in value or not _is_text(value):
            raise ConfigError(f"'{where}' holds a character that no file can have.")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        most = integer if isinstance(value, int) else real
        if not abs(value) <= most:
            raise ConfigError(f"'{where}' may be {_number(most)} at most; found {_show(value)}.")


def check_network(part: str, options: Mapping[str, Any]) -> None:
    """Refuse the options of a backbone or a head that no network comes near.

    :param part: ``backbone`` or ``head``.
    :raises ConfigError: naming the option.
    """
    check_magnitudes(part, options, integer=_WIDEST, real=_STRONGEST, length=_LONGEST)
    for key, most in _REPEATED.items():
        check_magnitudes(f"{part}.{key}", options.get(key), integer=most)


def _wanted(number: float, low: float, high: float) -> str:
    if number > high:
        return f"may be {_number(high)} at most"
    if number <= 0 < low:
        return "must be positive"
    return "must not be negative" if low == 0 else f"must be {_number(low)} at least"


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # half a letter, as JSON can hold
        return False
    return True


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _show(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**30:
        return "an enormous number"
    text = f"{value}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
