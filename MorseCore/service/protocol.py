"""What module and worker say to each other: a JSON object a line, UTF-8, on stdin and stdout.

Requests (module to worker) carry ``request`` and ``id``, a number that all answers repeat:

``describe``
    Devices, versions (the graphics driver's among them), models. Answer: ``devices`` [{``id``,
    ``title`` with the free and the whole memory}], ``versions`` {name: text}, ``models``
    [{``name``, ``title``, ``task``, ``modality``, ``folder``, ``points``, ``passes`` (null if
    they cannot be chosen), ``leaves_certain`` (points, unless more are asked for than its own),
    ``window`` (array order), ``spacing``, ``overlap``}].
``segment``
    ``image`` (a .npy file, (K, J, I)), ``ijk_to_ras`` (4x4, by rows), ``model`` (name or folder),
    ``output`` (a folder for the answer's arrays); if wanted ``name``, ``device``, ``roi``,
    ``points``, ``passes``, ``scale``. Answer: see :mod:`MorseCore.service.exchange`.
``load``
    ``model``; if wanted ``device``, ``engine``, ``points``, ``passes``, ``scale``, ``roi``,
    ``accept``: make a model ready and check these choices, before the first ``case``. Answer:
    ``sha256`` of the model.
``case``
    ``input`` (a file or a DICOM folder), ``output`` (the folder of its results), ``name``,
    ``model``; if wanted what ``load`` takes, ``format``, ``series``, ``volume``: a scan of a batch,
    from its file to its files. Answer: ``status`` (``done``, or ``done before`` if a result made
    from the same content with the same choices is there and whole), ``report``.
``render``
    Ask the field of the last ``segment`` again, without a backbone pass: ``output``; if wanted
    ``box`` (a region as in ``--roi``), ``points``, ``passes``, ``scale``. Answer: as for
    ``segment``, on the grid of the box.
``surface``
    ``output``, ``structure`` (its value); if wanted ``scale``: the field's probability of a
    structure around it, densely rendered, of which the module draws the surface of any level.
    Answer: ``geometry`` as in :mod:`MorseCore.service.exchange` and ``probability``, the name of
    a .npy file, float32 (K, J, I).
``cancel``
    ``target``: the id of a running or waiting request. Answer: ``cancelled``, true or false.
``shutdown``
    Finish and end.

Events (worker to module) carry ``event`` and, where they belong to a request, its ``id``:

``ready``     the worker listens: ``pid``, ``version``.
``progress``  ``stage``, ``percent`` 0..100 of the whole, ``seconds_left`` or null.
``log``       ``level`` (``info``, ``warning``) and ``message``.
``result``    the answer; its arrays are .npy files in the request's ``output`` folder.
``error``     ``message``: one sentence for a person; ``detail``: for a report; ``kind``: the
              error's class, ``Cancelled`` among them.

Every request is answered by exactly one ``result`` or ``error``. A line that is no request is
answered by an ``error`` without id. The worker ends when its stdin is closed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from MorseCore.config import decode, nearest
from MorseCore.errors import ConfigError

__all__ = [
    "REQUESTS",
    "Cancel",
    "Case",
    "Describe",
    "Load",
    "Render",
    "Request",
    "Segment",
    "Shutdown",
    "Surface",
    "encode_line",
    "parse_request",
    "request_line",
]

MAX_LINE = 1 << 20  # characters; requests are a few hundred


@dataclass(frozen=True)
class Request:
    """Base of all requests."""

    id: int


@dataclass(frozen=True)
class Describe(Request):
    """Devices, versions and models of the worker's machine."""


@dataclass(frozen=True)
class Segment(Request):
    """A new image."""

    image: str
    ijk_to_ras: tuple[tuple[float, float, float, float], ...]
    model: str
    output: str
    name: str = "image"
    device: str = "auto"
    roi: str | None = None
    points: int | None = None
    passes: int | None = None
    scale: int = 1


@dataclass(frozen=True)
class Load(Request):
    """A model, and how cases will be segmented with it."""

    model: str
    device: str = "auto"
    engine: str = "torch"
    roi: str | None = None
    points: int | None = None
    passes: int | None = None
    scale: int = 1
    accept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case(Request):
    """A scan of a batch: read, segmented and written by the worker."""

    input: str
    output: str
    name: str
    model: str
    device: str = "auto"
    engine: str = "torch"
    roi: str | None = None
    points: int | None = None
    passes: int | None = None
    scale: int = 1
    accept: tuple[str, ...] = ()
    format: Literal["nii.gz", "seg.nrrd"] = "nii.gz"
    series: str | None = None
    volume: int | None = None


@dataclass(frozen=True)
class Render(Request):
    """Another question to the last image's field."""

    output: str
    box: str | None = None
    points: int | None = None
    passes: int | None = None
    scale: int = 1


@dataclass(frozen=True)
class Surface(Request):
    """The probability of one structure, from the last image's field."""

    output: str
    structure: int
    scale: int = 1


@dataclass(frozen=True)
class Cancel(Request):
    """Stop another request."""

    target: int


@dataclass(frozen=True)
class Shutdown(Request):
    """End the worker."""


REQUESTS: Mapping[str, type[Request]] = {
    "describe": Describe,
    "segment": Segment,
    "load": Load,
    "case": Case,
    "render": Render,
    "surface": Surface,
    "cancel": Cancel,
    "shutdown": Shutdown,
}


def parse_request(line: str) -> Request:
    """Read one line from the module.

    :raises ConfigError: if it is no request; names the nearest key or request.
    """
    if len(line) > MAX_LINE:
        raise ConfigError(f"A request may have {MAX_LINE} characters; found {len(line)}.")
    try:
        data = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"The line is not JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("request"), str):
        raise ConfigError("A request must be a JSON object with a 'request'.")
    name = data.pop("request")
    if name not in REQUESTS:
        raise ConfigError(f"There is no request '{name}'{nearest(name, REQUESTS)}.")
    return decode(REQUESTS[name], data, name)


def encode_line(message: Mapping[str, Any]) -> str:
    """One line for the other side, without the line's end.

    :raises ValueError: if a value is not finite or not JSON.
    """
    return json.dumps(message, ensure_ascii=False, allow_nan=False)


def request_line(request: Request) -> str:
    """The line from which :func:`parse_request` makes an equal request."""
    name = next(key for key, value in REQUESTS.items() if type(request) is value)
    values = {key: value for key, value in vars(request).items() if value is not None}
    return encode_line({"request": name, **values})
