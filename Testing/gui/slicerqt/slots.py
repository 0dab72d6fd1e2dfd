"""Signals and slots: signatures as text, arguments fitted to the callable, errors only printed."""

import inspect
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

__all__ = ["Signal", "connect", "disconnect", "guarded", "slotErrors"]

slotErrors: list[str] = []
"""What went wrong in slots; Qt would only print it, so the tests look here."""

# Qt 5 names of what Qt 6 calls otherwise.
_RENAMED = {"currentIndexChanged(QString)": "currentTextChanged(QString)"}
# .connect without a signature takes the first overload that Qt 5 declares.
_FIRST = {("QProcess", "finished"): "finished(int)"}


class Signal:
    """What ``widget.clicked`` gives."""

    __slots__ = ("_name", "_native", "_wrap")

    def __init__(self, native: QtCore.QObject, name: str, wrap: Callable[[Any], Any]) -> None:
        self._native, self._name, self._wrap = native, name, wrap

    def connect(self, slot: Callable[..., Any]) -> bool:
        """Connect the first overload."""
        return connect(self._native, self._signature(), slot, self._wrap)

    def disconnect(self, *slot: Callable[..., Any]) -> bool:
        """Disconnect one slot, or all."""
        return disconnect(self._native, self._signature(), *slot)

    def _signature(self) -> str:
        return next(
            (
                signature
                for (owner, name), signature in _FIRST.items()
                if name == self._name and self._native.inherits(owner)
            ),
            _signatures(self._native, self._name)[0],
        )


def _signatures(native: QtCore.QObject, name: str) -> list[str]:
    meta = native.metaObject()
    every = [meta.method(n) for n in range(meta.methodCount())]
    return [
        method.methodSignature().data().decode()
        for method in every
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal
        and method.name().data().decode() == name
    ]


def _known(native: QtCore.QObject, signature: str) -> str | None:
    """The signal as Qt names it, or None if there is none."""
    text = _RENAMED.get(signature, signature)
    # A signal of our own stand-ins passes MRML nodes as Python objects.
    text = re.sub(r"(vtk\w+|qMRML\w+) ?\*", "PyObject", text)
    if not re.fullmatch(r"\w+\(.*\)", text):
        return None
    normal = QtCore.QMetaObject.normalizedSignature(text).data().decode()
    return normal if native.metaObject().indexOfSignal(normal) >= 0 else None


def connect(
    native: QtCore.QObject, signature: str, slot: Callable[..., Any], wrap: Callable[[Any], Any]
) -> bool:
    """Connect; False if the object has no such signal."""
    known = _known(native, signature)
    if known is None:
        return False
    receiver = guarded(slot, wrap)
    QtCore.QObject.connect(native, QtCore.SIGNAL(known), receiver)
    if not hasattr(native, "_connections"):
        native._connections = []
    native._connections.append((known, slot, receiver))
    return True


def disconnect(native: QtCore.QObject, signature: str, *slot: Callable[..., Any]) -> bool:
    """Disconnect; False if there was no such connection."""
    known, kept, found = _known(native, signature), [], False
    for entry in getattr(native, "_connections", []):
        if entry[0] == known and (not slot or entry[1] == slot[0]):
            QtCore.QObject.disconnect(native, QtCore.SIGNAL(entry[0]), entry[2])
            found = True
        else:
            kept.append(entry)
    native._connections = kept
    return found


def guarded(slot: Callable[..., Any], wrap: Callable[[Any], Any]) -> Callable[..., None]:
    """A receiver that passes as many arguments as the slot takes and swallows its errors."""

    def receive(*values: Any) -> None:
        try:
            fewest, most = _arity(slot)
            if len(values) < fewest:
                raise TypeError(f"{slot} needs {fewest} arguments, the signal has {len(values)}")
            slot(*(wrap(value) for value in values[:most]))
        except Exception:
            slotErrors.append(traceback.format_exc())
            print(slotErrors[-1], file=sys.stderr)

    return receive


def _arity(slot: Callable[..., Any]) -> tuple[int, int]:
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return 0, 99
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 0, 99
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in places), len(places)
