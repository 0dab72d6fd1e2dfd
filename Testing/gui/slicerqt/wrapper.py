"""PythonQt's view of a Qt object: properties are attributes, and no others can be added."""

import enum
import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore

from slicerqt import slots
from slicerqt.values import fromQt, isQtValue, toProperty

__all__ = ["ObjectWrapper", "ValueWrapper", "unwrap", "wrap", "wrapperClass"]

# A property whose name is a static method's: PythonQt finds the method.
_METHODS_FIRST = {("QTimer", "singleShot")}
# What PySide adds to every object and PythonQt does not have, or has by another way.
_MISSING = {"connect", "disconnect", "emit", "tr", "sender", "receivers"}
_classes: dict[type, type] = {}
_alive: weakref.WeakValueDictionary[int, "ObjectWrapper"] = weakref.WeakValueDictionary()


class Method:
    """A method of a Qt object; takes positional arguments only."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function, self._name = function, name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise ValueError(f"{self._name} takes no keyword arguments")
        try:
            return wrap(self._function(*map(unwrap, arguments)))
        except TypeError as error:
            raise ValueError(f"{self._name} called with wrong arguments: {error}") from error


class WrapperType(type):
    """A class such as ``qt.QProcess``: its enumerators and static methods."""

    def __getattr__(cls, name: str) -> Any:
        native = cls.__dict__.get("_class")
        member = None if native is None or name.startswith("_") else getattr(native, name, None)
        if isinstance(member, enum.Enum):
            return wrap(member)
        if callable(member) and not isinstance(member, type):
            return Method(member, f"{cls.__name__}.{name}")
        raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")


class Wrapper(metaclass=WrapperType):
    """Base of both kinds."""

    __slots__ = ("__weakref__", "_native")
    _class: type

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        make = Method(type(self)._class, type(self).__name__)
        self._hold(unwrap(make(*arguments, **keywords)))

    def _hold(self, native: Any) -> None:
        object.__setattr__(self, "_native", native)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wrapper) and self._native == other._native

    def __hash__(self) -> int:
        return hash(self._native)

    def __repr__(self) -> str:
        return f"{type(self).__name__} (C++ at {id(self._native):#x})"

    def _method(self, name: str) -> Method:
        owner = type(self._native)
        if name.startswith("_") or name in _MISSING or not callable(getattr(owner, name, None)):
            raise AttributeError(f"{owner.__name__} has no attribute named '{name}'")
        return Method(getattr(self._native, name), f"{owner.__name__}.{name}")


class ValueWrapper(Wrapper):
    """A value such as a QColor or a QTableWidgetItem: methods only."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return self._method(name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("creating new attributes on C++ objects is not allowed")


class ObjectWrapper(Wrapper):
    """A QObject."""

    __slots__ = ()

    def _hold(self, native: Any) -> None:
        super()._hold(native)
        _alive[shiboken6.getCppPointer(native)[0]] = self

    def __bool__(self) -> bool:
        return shiboken6.isValid(self._native)

    def __getattr__(self, name: str) -> Any:
        native = self._native
        if not self:
            raise ValueError(f"trying to read '{name}' of a destroyed {type(self).__name__}")
        if name == "name":
            return native.objectName()
        meta = native.metaObject()
        index = meta.indexOfProperty(name)
        if index >= 0 and (type(self).__name__, name) not in _METHODS_FIRST:
            return _readProperty(native, meta.property(index))
        if isinstance(getattr(type(native), name, None), QtCore.Signal):
            return slots.Signal(native, name, wrap)
        try:
            return self._method(name)
        except AttributeError:
            child = next((c for c in native.children() if c.objectName() == name), None)
            if not name or child is None:
                raise
            return wrap(child)

    def __setattr__(self, name: str, value: Any) -> None:
        if not self:
            raise AttributeError(f"trying to set '{name}' on a destroyed object")
        meta = self._native.metaObject()
        index = meta.indexOfProperty("objectName" if name == "name" else name)
        if index < 0 or (type(self).__name__, name) in _METHODS_FIRST:
            raise AttributeError(f"{name}: creating new attributes on C++ objects is not allowed")
        _writeProperty(self._native, meta.property(index), value)

    def connect(self, signature: str, slot: Callable[..., Any]) -> bool:
        """Whether the signal, with its argument types, exists."""
        return slots.connect(self._native, signature, slot, wrap)

    def disconnect(self, signature: str, *slot: Callable[..., Any]) -> bool:
        """Whether there was a connection."""
        return slots.disconnect(self._native, signature, *slot)

    def property(self, name: str) -> Any:
        """A property, also a dynamic one; None if there is none."""
        index = self._native.metaObject().indexOfProperty(name)
        if index < 0:
            return wrap(self._native.property(name))
        return getattr(self, name)

    def setProperty(self, name: str, value: Any) -> bool:
        """Set a property, also a dynamic one."""
        if self._native.metaObject().indexOfProperty(name) < 0:
            return self._native.setProperty(name, unwrap(value))
        setattr(self, name, value)
        return True

    def className(self) -> str:
        """Name of the C++ class."""
        return self._native.metaObject().className()

    def delete(self) -> None:
        """Destroy the C++ object at once."""
        shiboken6.delete(self._native)

    def exec_(self, *arguments: Any) -> Any:
        """Run a dialog."""
        return self._method("exec")(*arguments)

    def findChild(self, kind: Any, name: str = "") -> Any:
        """The first descendant of a class, given by name or as ``qt.X``, or None."""
        return next(iter(self.findChildren(kind, name)), None)

    def findChildren(self, *kindAndName: Any) -> tuple[Any, ...]:
        """All descendants of a class."""
        if not kindAndName:
            raise ValueError("findChildren needs a class")
        kind, name = (*kindAndName, "")[:2]
        className = kind if isinstance(kind, str) else kind.__name__
        every = self._native.findChildren(QtCore.QObject)
        return tuple(
            wrap(c) for c in every if c.inherits(className) and name in ("", c.objectName())
        )


def _readProperty(native: QtCore.QObject, meta: QtCore.QMetaProperty) -> Any:
    if meta.isEnumType() or meta.isFlagType():
        return int(getattr(type(native), meta.name())(native).value)
    value = meta.read(native)
    if meta.name() == "toolTip" and value and not value.startswith("<p>"):
        return f"<p>{value}</p>"  # as Slicer's tool-tip trapper makes it
    return wrap(value)


def _writeProperty(native: QtCore.QObject, meta: QtCore.QMetaProperty, value: Any) -> None:
    try:
        converted = toProperty(value, meta.typeName())
        written = native.setProperty(meta.name(), unwrap(converted))
    except (TypeError, RuntimeError) as error:
        raise AttributeError(f"{meta.name()} cannot be set to {value!r}: {error}") from error
    if not written:
        raise AttributeError(f"{meta.name()} cannot be set to {value!r}")


def wrapperClass(native: type) -> type:
    """The class that Python sees for a class of Qt or of our own widgets."""
    if native not in _classes:
        base = ObjectWrapper if issubclass(native, QtCore.QObject) else ValueWrapper
        _classes[native] = WrapperType(
            native.__name__, (base,), {"_class": native, "__slots__": ()}
        )
    return _classes[native]


def wrap(value: Any) -> Any:
    """What Python sees of a value that came from Qt."""
    if isinstance(value, Wrapper) or not isQtValue(value) or isinstance(value, enum.Enum):
        return fromQt(value, wrap)
    if isinstance(value, QtCore.QObject):
        known = _alive.get(shiboken6.getCppPointer(value)[0])
        if known is not None and known._native is value:
            return known
    made = object.__new__(wrapperClass(type(value)))
    made._hold(value)
    return made


def unwrap(value: Any) -> Any:
    """What Qt gets of a value that came from Python."""
    if isinstance(value, Wrapper):
        return value._native
    if hasattr(value, "member"):
        return value.member
    if callable(value) and not isinstance(value, type) and not hasattr(value, "IsA"):
        return slots.guarded(value, wrap)
    return list(map(unwrap, value)) if isinstance(value, tuple | list) else value
