"""Strict configuration: frozen dataclasses read from JSON, where an unknown key is an error.

A component that can be chosen by name (backbone, head, sampler …) is a dataclass registered in a
:class:`Registry`; in JSON it is an object with a ``name``.
"""

import difflib
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from os.path import exists, isdir, isfile
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from MorseCore.errors import ConfigError
from MorseCore.limits import MAX_DEPTH, check_depth

__all__ = [
    "Registry", "apply_overrides", "check_is_plain", "decode", "encode", "nearest", "parse_json",
    "read_configuration", "read_json", "shorten",
]  # fmt: skip

T = TypeVar("T")
MAX_JSON_BYTES = 16 * 1024 * 1024  # a model.json is a few kB; anything larger is not ours
_SHOWN = 60  # characters of a wrong value; the place says which it is


class Registry(Generic[T]):
    """Names a config may use, each with its configuration dataclass and what builds it."""

    def __init__(self, kind: str, *, default: str | None = None) -> None:
        """:param default: the name meant by an object that has none."""
        self.kind, self.default = kind, default
        self._entries: dict[str, type[T]] = {}
        self._papers: dict[str, str] = {}

    def register(self, name: str, config: type[T], paper: str) -> None:
        """Add a configuration dataclass under ``name``.

        :param paper: where the method comes from, for the list of methods.
        :raises ValueError: if the name is taken; two components of one name are our defect.
        """
        if name in self._entries:
            raise ValueError(f"There already is a {self.kind} '{name}'.")
        self._entries[name], self._papers[name] = config, paper

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._entries:
            raise ConfigError(
                f"There is no {self.kind} '{name}'{nearest(name, self._entries)}; "
                f"known are {', '.join(sorted(self._entries))}."
            )
        return self._entries[name]

    def paper_of(self, name: str) -> str:
        """Where the method of this name comes from."""
        return self._papers[name]

    def name_of(self, config: T) -> str:
        """The name under which a configuration's class is registered."""
        for name, entry in self._entries.items():
            if type(config) is entry:
                return name
        raise ConfigError(f"{type(config).__name__} is not a registered {self.kind}.")

    def decode(self, data: Any, where: str) -> T:
        """Read ``{"name": ..., other keys}`` into the dataclass registered under the name."""
        name = data.get("name", self.default) if isinstance(data, Mapping) else None
        if not isinstance(name, str):
            raise ConfigError(f"'{where}' must be an object with a 'name'; found {_show(data)}.")
        try:
            entry = self[name]
        except ConfigError as error:
            raise ConfigError(f"In '{where}': {error}") from None
        rest = {key: value for key, value in data.items() if key != "name"}
        return decode(entry, rest, where)

    def encode(self, config: T) -> dict[str, Any]:
        """The JSON object from which :meth:`decode` builds an equal configuration."""
        return {"name": self.name_of(config), **encode(config)}


def nearest(name: str, known: Any) -> str:
    """``; did you mean 'x'?`` for the known name nearest to a misspelt one, or nothing."""
    match = difflib.get_close_matches(
        str(name)[:_SHOWN], [str(key) for key in known], n=1, cutoff=0.5
    )
    return f" (did you mean '{match[0]}'?)" if match else ""


def shorten(text: str, *, most: int = _SHOWN) -> str:
    """A wrong name for a message: one line, and of a long one only the beginning."""
    shown = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text[: most + 1]
    )
    return shown if len(shown) <= most else shown[: most - 3] + "..."


def parse_json(text: str, where: str) -> Any:
    """JSON, read strictly: no key twice in an object, no NaN, no number that Python cannot hold.

    :param where: what is read, the beginning of a sentence.
    :raises ConfigError: if it is anything else.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_parse_integer,
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except RecursionError:
        raise ConfigError(f"{where} cannot be read as JSON: it is nested too deeply.") from None
    except ValueError as error:
        raise ConfigError(f"{where} cannot be read as JSON: {error}.") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    :raises ConfigError: if the file is missing, too large, not JSON, or not an object, or if an
        object in it has a key twice (JSON readers silently take the last).
    """
    check_is_plain(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ConfigError(f"'{path}': the file is too large to be a configuration.")
        data = parse_json(path.read_text(encoding="utf-8-sig"), f"'{path}'")
    except FileNotFoundError:
        raise ConfigError(f"The file '{path}' does not exist{_looked_in(path)}.") from None
    except IsADirectoryError:
        raise ConfigError(f"'{path}' is a folder; a JSON file is expected.") from None
    except ConfigError:
        raise
    except UnicodeDecodeError:
        raise ConfigError(
            f"'{path}' cannot be read as JSON: it is no UTF-8 text; save it as that."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file can be called so"
        raise ConfigError(f"'{path}' cannot be read: {reason}.") from None
    check_depth(data, f"'{path}'")
    if not isinstance(data, dict):
        raise ConfigError(f"'{path}' must hold one JSON object; found {_show(data)}.")
    return data


def check_is_plain(path: Path) -> None:
    """Refuse pipes and devices, which a reader would wait for, or read for ever.

    :raises ConfigError: if it is neither a file nor a folder, and is there.
    """
    # os.path's, unlike Path's, also say no to what no path can be.
    if exists(path) and not (isfile(path) or isdir(path)):
        raise ConfigError(f"'{path}' is no regular file but a device, a pipe or a socket.")


def decode(cls: type[T], data: Any, where: str) -> T:
    """Build the dataclass ``cls`` from JSON data, checking every key and type.

    :param where: dotted place of ``data`` in the whole file, for messages.
    :raises ConfigError: for an unknown key (names the nearest), a missing key or a wrong type.
    """
    if not where:
        check_depth(data, "The configuration")
    if not isinstance(data, Mapping):
        raise ConfigError(f"'{where}' must be an object; found {_show(data)}.")
    hints = get_type_hints(cls)
    known = {item.name: item for item in fields(cls) if item.init}  # type: ignore[arg-type]
    gone: dict[str, str] = getattr(cls, "GONE", {})
    for key in data:
        if key in gone:
            raise ConfigError(f"The key '{_join(where, key)}' {gone[key]}.")
        if key not in known:
            raise ConfigError(
                f"Unknown key '{_join(where, shorten(key))}'{nearest(key, known)}; "
                f"known here are {', '.join(sorted(known))}."
            )
    values = {}
    for name, item in known.items():
        if name in data:
            decoder = item.metadata.get("registry")
            place = _join(where, name)
            values[name] = (
                decoder.decode(data[name], place)
                if decoder
                else _convert(hints[name], data[name], place)
            )
        elif item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"The key '{_join(where, name)}' is missing.")
    try:
        return cls(**values)
    except ConfigError as error:  # a value that has the right type and makes no sense
        raise ConfigError(f"In '{where}': {error}" if where else str(error)) from None


def encode(config: Any) -> dict[str, Any]:
    """The JSON object of a configuration dataclass (the inverse of :func:`decode`)."""
    result = {}
    for item in fields(config):
        value = getattr(config, item.name)
        registry = item.metadata.get("registry")
        result[item.name] = registry.encode(value) if registry else _plain(value)
    return result


def read_configuration(path: Path) -> dict[str, Any]:
    """Read a configuration file; one with the key ``extends`` changes keys of another.

    The other file's path starts at this one's folder. Every further key, such as ``network.head``,
    replaces that of the other.

    :raises ConfigError: as :func:`read_json`, or if the other file extends one itself.
    """
    changes = read_json(path)
    if "extends" not in changes:
        return changes
    base = changes.pop("extends")
    if not isinstance(base, str):
        raise ConfigError(f"'{path}': 'extends' must be the path of a configuration.")
    try:
        data = read_json(path.parent / base)
    except ConfigError as error:
        raise ConfigError(f"'{path}' extends '{base}', which cannot be used. {error}") from None
    if "extends" in data:
        raise ConfigError(f"'{path}' extends '{base}', which extends another; one step is allowed.")
    return apply_overrides(data, [f"{key}={json.dumps(value)}" for key, value in changes.items()])


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Apply ``a.b=value`` strings (JSON values, else text) to a copy of ``data``.

    :raises ConfigError: if an override has no ``=`` or walks through something that is no object.
    """
    check_depth(data, "The configuration")
    result = json.loads(json.dumps(data))
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"'{override}' is not of the form key=value.")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        *parents, last = key.split(".")
        check_depth(value, f"The value of '{key[:60]}'", most=MAX_DEPTH - len(parents))
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"'{key}' cannot be set: '{parent}' is not an object.")
        target[last] = value
    return result


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _parse_integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python reads at most 4300 digits
        raise ValueError(f"a number in it has {len(text.lstrip('-'))} digits") from None


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return encode(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _looked_in(path: Path) -> str:
    """Where a relative path began, which a person may have thought to be elsewhere."""
    return "" if path.is_absolute() else f" (looked for from '{Path.cwd()}')"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ConfigError(f"the key '{shorten(key)}' is there twice in one object.")
        result[key] = value
    return result


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)


def _show(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except ValueError:  # Python refuses to write a number of more than 4300 digits
        return "an enormous number"
    except RecursionError:
        return "a deeply nested list or object"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is Literal:
        if not any(type(value) is type(arg) and value == arg for arg in args):  # 3.0 == 3
            raise ConfigError(
                f"'{where}' must be one of {', '.join(map(str, args))}; found {_show(value)}"
                f"{nearest(str(value), args)}."
            )
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"'{where}' must be an object; found {_show(value)}.")
        return {str(k): _convert(args[1], v, _join(where, str(k))) for k, v in value.items()}
    if is_dataclass(hint):
        return decode(hint, value, where)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where)


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    kinds = [arg for arg in args if arg is not type(None)]
    if len(kinds) == 1:
        return _convert(kinds[0], value, where)
    for kind in kinds:
        try:
            return _convert(kind, value, where)
        except ConfigError:
            continue
    raise ConfigError(f"'{where}' has the unsuitable value {_show(value)}.")


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"'{where}' must be a list; found {_show(value)}.")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], v, f"{where}[{n}]") for n, v in enumerate(value))
    if len(value) != len(args):
        raise ConfigError(f"'{where}' must hold {len(args)} values; found {_show(value)}.")
    return tuple(
        _convert(arg, v, f"{where}[{n}]")
        for n, (arg, v) in enumerate(zip(args, value, strict=True))
    )


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"'{where}' must be finite; found {_show(value)}.") from None
    is_bool_for_number = isinstance(value, bool) and hint is not bool
    if hint is int and isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ConfigError(f"'{where}' may have 18 digits at most; found {_show(value)}.")
    if not isinstance(value, hint) or is_bool_for_number:
        names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
        raise ConfigError(f"'{where}' must be {names.get(hint, hint)}; found {_show(value)}.")
    if hint is float and (value != value or value in (float("inf"), float("-inf"))):
        raise ConfigError(f"'{where}' must be finite; found {value}.")
    return value
