"""Requests to the worker, and ways to spoil the line of one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.training.phantoms import make_phantom

__all__ = ["LINE_MUTATIONS", "LineMutation", "write_images", "write_requests"]

Request = dict[str, Any]


def write_images(folder: Path) -> list[str]:
    """Arrays that are a scan, that are none, and what is no array at all; their paths."""
    phantom = make_phantom(7)[0]
    arrays = {
        "phantom": phantom, "zeros": np.zeros((9, 9, 9)), "labels": make_phantom(7)[1],
        "big-endian": phantom.astype(">f4"), "by-columns": np.asfortranarray(phantom),
        "doubles": phantom.astype(np.float64), "halves": phantom.astype(np.float16),
        "complex": phantom.astype(np.complex64), "yes-and-no": phantom > 0,
        "flat": phantom[0], "series": phantom[None], "empty": np.zeros((0, 3, 3)),
        "fields": np.zeros((3, 3, 3), [("a", "f4"), ("b", "f4")]), "text": np.full((2, 2, 2), "a"),
        "not-numbers": np.full((9, 9, 9), np.nan),
        "line": phantom[:1, :1], "slice": phantom[14:15], "unsigned": phantom.astype(np.uint64),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(folder / "several.npz", phantom)
    whole = (folder / "phantom.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[: len(whole) // 2])
    (folder / "boast.npy").write_bytes(whole.replace(b"(28, 28, 28)", b"(2800, 2800, 2800)"))
    (folder / "negative.npy").write_bytes(whole.replace(b"(28, 28, 28)", b"(-1, 28, 28)"))
    (folder / "nothing.npy").touch()
    return [str(path) for path in sorted(folder.iterdir())]


def write_requests(folder: Path) -> list[Request]:
    """A good one of each kind but ``shutdown``, without ids.

    :param folder: of the images; the answers' arrays go there, too.
    """
    output, matrix = str(folder), np.eye(4).tolist()
    segment = {
        "request": "segment", "image": str(folder / "phantom.npy"), "ijk_to_ras": matrix,
        "model": "phantom-tiny", "output": output, "name": "phantom", "modality": "MR",
        "device": "cpu", "points": 20, "passes": 1, "scale": 1, "roi": "ijk:0,28,0,28,10,20",
    }  # fmt: skip
    render = {"request": "render", "output": output, "box": "ijk:4,12,4,12,11,14", "points": 9}
    return [
        segment, segment, segment, render, {"request": "surface", "output": output, "structure": 1},
        {"request": "cancel", "target": 0}, {"request": "describe"},
    ]  # fmt: skip


@dataclass(frozen=True)
class LineMutation:
    """A way to spoil a request or its line."""

    name: str
    apply: Callable[[Request, np.random.Generator, list[str]], bytes]
    """Gets the request, a generator and paths of images."""
    keeps_id: bool
    """Whether the answer has to carry the request's id; else it may have any, or none."""


_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2.5, 7, 10**6, 10**18, 10**400, -(2**63), 1e300, 1e-300, "", " ",
    "x", "nan", "\x00", "a\x00b", "\ud800", "\udcff", "..", "~", "é" * 9, "x" * 5000, "/x" * 5000,
    "\n", "null", [], [[]], {}, {"id": 9}, [1, 2], [0] * 16, "ijk:0,1,0,1,0,1", "cuda:0", "cuda:99",
    "phantom-tiny-2d", "hippocampus-t1", "1e999,2,3,4,5,6", "inf,inf,inf,inf,inf,inf", "CT", "%s%n",
)  # fmt: skip
_RAW = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000, b"-" + b"9" * 5000, b"1.",
    b"01", b"+1", b"0x10", b"tru", b"'x'", b'"\\ud800"', b'"\\ud800\\udc00"', b'"\\u00"', b'"\\x"',
    b"[" * 1000 + b"]" * 1000, b'{"a":' * 1000 + b"1" + b"}" * 1000, b"[" * 900 + b"]" * 900,
    b"[" * 100000, b'"' + b"y" * 2000000 + b'"', b"\x00", b'"\xff"', b'"\x1b"', b"",
)  # fmt: skip


def _line(request: Request) -> bytes:
    return json.dumps(request).encode()


def _any_key(request: Request, rng: np.random.Generator, *, but: str = "") -> str:
    keys = [key for key in request if key != but]
    return keys[int(rng.integers(len(keys)))]


def _keep(request: Request, _rng: np.random.Generator, _images: list[str]) -> bytes:
    return _line(request)


def _other_value(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    value = _ODD[int(rng.integers(len(_ODD)))]
    return _line({**request, _any_key(request, rng, but="id"): value})


def _other_matrix(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    numbers = np.eye(4)
    for _ in range(int(rng.integers(1, 4))):
        value = rng.choice([0.0, -1.0, 0.1, 1e-9, 1e9, 1e-300, 1e300, 5.0, -2000.0])
        numbers[tuple(rng.integers(4, size=2))] = value
    return _line({**request, "ijk_to_ras": numbers.tolist()} if "image" in request else request)


def _other_image(request: Request, rng: np.random.Generator, images: list[str]) -> bytes:
    if "image" not in request:
        return _line(request)
    places = [*images, "/dev/null", "/dev/zero", "nowhere.npy", str(Path(images[0]).parent)]
    return _line({**request, "image": places[int(rng.integers(len(places)))], "roi": None})


def _other_id(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    return _line({**request, "id": _ODD[int(rng.integers(len(_ODD)))]})


def _raw_value(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    raw = _RAW[int(rng.integers(len(_RAW)))]
    # The id comes first: of what follows two megabytes, nothing is read.
    first = {"id": request["id"], **request, _any_key(request, rng, but="id"): "HERE"}
    return _line(first).replace(b'"HERE"', raw)


def _without_key(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    gone = _any_key(request, rng, but="id")
    return _line({key: value for key, value in request.items() if key != gone})


def _more_keys(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    name = ("colour", "Id", "ID", "request ", "\ud800", "é" * 300, "a\nb", "")[int(rng.integers(8))]
    return _line({**request, name: _ODD[int(rng.integers(len(_ODD)))]})


def _key_twice(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    key = _any_key(request, rng, but="id")
    return _line(request)[:-1] + b"," + _line({key: request[key]})[1:]


def _cut(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    line = _line(request)
    return line[: int(rng.integers(len(line)))]


def _flip(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    spoilt = bytearray(_line(request))
    for _ in range(int(rng.integers(1, 8))):
        spoilt[int(rng.integers(len(spoilt)))] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def _insert(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    line, place = _line(request), int(rng.integers(200))
    return line[:place] + _RAW[int(rng.integers(len(_RAW)))] + line[place:]


def _noise(_request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    return rng.bytes(int(rng.integers(300)))


def _wrapped(request: Request, rng: np.random.Generator, _images: list[str]) -> bytes:
    line = _line(request)
    return (b"[%b]", b'"%b"', b"%b %b", b"\xef\xbb\xbf%b", b"{%b}")[int(rng.integers(5))].replace(
        b"%b", line
    )


LINE_MUTATIONS = (
    LineMutation("none", _keep, True),
    LineMutation("other value", _other_value, True),
    LineMutation("other matrix", _other_matrix, True),
    LineMutation("other image", _other_image, True),
    LineMutation("other id", _other_id, False),
    LineMutation("raw value", _raw_value, True),
    LineMutation("without key", _without_key, True),
    LineMutation("more keys", _more_keys, True),
    LineMutation("key twice", _key_twice, True),
    LineMutation("cut", _cut, False),
    LineMutation("flip", _flip, False),
    LineMutation("insert", _insert, False),
    LineMutation("noise", _noise, False),
    LineMutation("wrapped", _wrapped, False),
)
