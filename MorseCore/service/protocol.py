"""What module and worker say to each other: a JSON object a line, UTF-8, on stdin and stdout.

Requests (module to worker) carry ``request`` and ``id``, a whole number that all answers repeat.
As long as a request is open, no other may have its number:

``describe``
    Devices, versions (the graphics driver's among them), models. Answer: ``devices`` [{``id``,
    ``title`` with the free and the whole memory}], ``versions`` {name: text}, ``models``
    [{``name``, ``title``, ``task``, ``modality``, ``folder``, ``points``, ``passes`` (null if
    they cannot be chosen), ``leaves_certain`` (points, unless more are asked for than its own),
    ``asks_scan`` (points are the scan's own voxels, and certain ones never are), ``window`` (array
    order), ``spacing``, ``overlap``, ``finds_place`` (in a whole scan), ``channels`` (names of the
    images of a case; null: there is one, which is all that ``segment`` takes)}].
``segment``
    ``image`` (a .npy file, (K, J, I)), ``ijk_to_ras`` (4x4, by rows), ``model`` (name or folder),
    ``output`` (a folder for the answer's arrays, which exists); if wanted ``name``, ``modality``
    (DICOM's code: CT, MR …), ``device``, ``roi``, ``points``, ``passes``, ``scale``, ``accept``
    (refusals to overrule, by name), ``verdict`` (``fast``, ``full`` or ``off``). Answer: see
    :mod:`MorseCore.service.exchange`; its ``report`` has the ``verdict``.
``load``
    ``model``; if wanted ``device``, ``engine``, ``points``, ``passes``, ``scale``, ``roi``,
    ``format``, ``series``, ``volume``, ``accept``, ``verdict``, ``rerun``: make a model ready and
    check these choices, before the first ``case``. Answer: the model's ``sha256``, ``contrast``
    (null: any) and ``channels`` (names of the images of a case; null: there is one).
``case``
    ``input`` (a file or a DICOM folder), ``output`` (the folder of its results), ``name``,
    ``model``; if wanted ``others`` (of several channels the files after the first; one file with
    a fourth axis is named once a channel), what ``load`` takes, and ``picture`` (a JPEG to draw):
    a scan of a batch, from its file to its files. Answer: ``status`` (``done``, or ``done before``
    if a result made from the same content with the same settings is there and whole, and its
    verdict is not the one of ``rerun``), ``report``.
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
    Finish and end. Requests that come after it are refused, but for ``cancel``.

Events (worker to module) carry ``event`` and, where they belong to a request, its ``id``:

``ready``     the worker listens: ``pid``, ``version``.
``progress``  ``stage``, ``percent`` 0..100 of the whole, ``seconds_left`` or null, ``memory``: the
              most bytes of main memory that the worker has held so far, or null.
``log``       ``level`` (``info``, ``warning``) and ``message``.
``result``    the answer; its arrays are .npy files in the request's ``output`` folder.
``error``     ``message``: one sentence for a person; ``detail``: for a report; ``kind``: the
              error's class, ``Cancelled`` among them; ``plain``: of a refusal that can be
              overruled, the sentence without the command line's option; ``accept``: the name
              that overrules it.

Every line, an empty one too, is answered by exactly one ``result`` or ``error``, whatever is in it.
What cannot be read as a request gets an ``error``: with the ``id`` if the line tells one, else
without. A line may have 1 MiB. Both sides write ASCII only, with JSON's escapes for other letters;
in what the worker says, a number that is not finite is null. The worker ends when its stdin is
closed, or when the process that started it is gone.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from MorseCore.config import decode, nearest, parse_json, shorten
from MorseCore.errors import ConfigError

__all__ = [
    "REQUESTS",
    "Cancel",
    "SegmentCase",
    "CaseSettings",
    "Describe",
    "Load",
    "Render",
    "Request",
    "Segment",
    "Shutdown",
    "Surface",
    "encode_event",
    "encode_line",
    "parse_request",
    "request_line",
]


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
    modality: str = ""
    device: str = "auto"
    roi: str | None = None
    points: int | None = None
    passes: int | None = None
    scale: int = 1
    accept: tuple[str, ...] = ()
    verdict: Literal["fast", "full", "off"] = "fast"


@dataclass(frozen=True, kw_only=True)
class CaseSettings:
    """How the scans of a batch are segmented."""

    model: str
    device: str = "auto"
    engine: str = "torch"
    roi: str | None = None
    points: int | None = None
    passes: int | None = None
    scale: int = 1
    format: Literal["nii.gz", "seg.nrrd"] = "nii.gz"
    series: str | None = None
    volume: int | None = None
    accept: tuple[str, ...] = ()
    verdict: Literal["fast", "full", "off"] = "fast"
    rerun: Literal["implausible"] | None = None


@dataclass(frozen=True, kw_only=True)
class Load(CaseSettings, Request):
    """A model, and how cases will be segmented with it."""


@dataclass(frozen=True, kw_only=True)
class SegmentCase(Load):
    """A scan of a batch: read, segmented and written by the worker."""

    input: str
    output: str
    name: str
    picture: str | None = None
    others: tuple[str, ...] = ()


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
    "case": SegmentCase,
    "render": Render,
    "surface": Surface,
    "cancel": Cancel,
    "shutdown": Shutdown,
}


def parse_request(line: str) -> Request:
    """Read one line from the module.

    :raises ConfigError: if it is no request; names the nearest key or request.
    """
    data = parse_json(line, "The line")
    if not isinstance(data, dict) or not isinstance(data.get("request"), str):
        raise ConfigError("A request must be a JSON object with a 'request'.")
    name = data.pop("request")
    if name not in REQUESTS:
        raise ConfigError(f"There is no request '{shorten(name)}'{nearest(name, REQUESTS)}.")
    return decode(REQUESTS[name], data, name)


def encode_line(message: Mapping[str, Any]) -> str:
    """One line for the other side, without the line's end.

    ASCII: a file name with bytes that are no text, which Python has as lone surrogates, arrives as
    it was.

    :raises ValueError: if a value is not finite. :raises TypeError: if it is not JSON.
    """
    return json.dumps(message, allow_nan=False)


def encode_event(event: Mapping[str, Any]) -> str:
    """As :func:`encode_line`, with null for numbers that are not finite: one does not spoil all."""
    try:
        return encode_line(event)
    except ValueError:
        return encode_line(_finite(event))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def request_line(request: Request) -> str:
    """The line from which :func:`parse_request` makes an equal request."""
    name = next(key for key, value in REQUESTS.items() if type(request) is value)
    values = {key: value for key, value in vars(request).items() if value is not None}
    return encode_line({"request": name, **values})
