"""Values on their way between Python and Qt."""

import enum
from collections.abc import Callable
from typing import Any

__all__ = ["Enumerator", "fromQt", "isQtValue", "toProperty"]


class Enumerator(int):
    """An enumerator of Qt, which PythonQt shows as an int."""

    member: enum.Enum

    def __new__(cls, member: enum.Enum) -> "Enumerator":
        self = super().__new__(cls, member.value)
        self.member = member
        return self

    def __or__(self, other: int) -> "Enumerator":
        if not isinstance(other, Enumerator):
            return NotImplemented
        return Enumerator(self.member | other.member)


def isQtValue(value: Any) -> bool:
    """Whether PySide made the value's class or one of its bases."""
    return any(base.__module__.startswith("PySide6") for base in type(value).__mro__)


def fromQt(value: Any, wrap: Callable[[Any], Any]) -> Any:
    """What Python sees: lists as tuples, enumerators as ints, Qt's objects wrapped."""
    if isinstance(value, enum.Enum):
        return Enumerator(value)
    if isinstance(value, list | tuple):
        return tuple(fromQt(item, wrap) for item in value)
    return wrap(value) if isQtValue(value) else value


def toProperty(value: Any, typeName: str) -> Any:
    """A value as PythonQt converts it when a property is set.

    :raises TypeError: if it refuses to.
    """
    if typeName == "QString":
        return str(value)  # also None, which becomes "None"
    if typeName == "bool":
        return bool(value)  # also "False", which is true
    if typeName in ("int", "double", "float"):
        if isinstance(value, str) or value is None:
            raise TypeError(f"{value!r} is no number")
        return int(value) if typeName == "int" else float(value)
    if isinstance(value, Enumerator):
        return int(value)
    return list(value) if isinstance(value, tuple) else value
