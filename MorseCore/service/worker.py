"""The worker: computes for the Slicer module, in a process of its own (see protocol.py).

It keeps the loaded model and the last image's fields, so that a further question is answered at
once. It ends when its stdin is closed or its parent is gone: neither a killed launcher nor a killed
Slicer leaves it.
"""

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from MorseCore import __version__
from MorseCore.config import shorten
from MorseCore.errors import Cancelled, ConfigError, ImageError, MorseError, OutputError
from MorseCore.images.arrays import volume_from_array
from MorseCore.images.imageio import Volume
from MorseCore.service.exchange import load_array, save_array, save_segmentation
from MorseCore.service.failures import error_event, spoils_device
from MorseCore.service.lines import ByteStream, Line, find_id, read_lines
from MorseCore.service.protocol import (
    Cancel,
    Describe,
    Load,
    Render,
    Request,
    Segment,
    SegmentCase,
    Shutdown,
    Surface,
    encode_event,
    parse_request,
)
from MorseCore.system.allocation import SMALL, give_back_freed_memory, keep_freed_memory
from MorseCore.system.files import printable
from MorseCore.system.processes import end_with_parent, peak_memory
from MorseCore.system.signals import terminating

__all__ = ["Worker", "main"]

_SPANS = {
    "read": (0, 0),
    "prepare": (0, 5),
    "network": (5, 90),
    "restore": (90, 100),
}  # percent of the whole
_PAUSE = 0.05  # seconds between two progress events
_LAST_WORDS = 0.2  # seconds for refusing what was sent after *shutdown*
_LONGEST_NAME = 300  # characters of an image's, in messages and in the report
_LONGEST_PATH = 32767  # characters, on Windows; other systems take fewer


class Worker:
    """Answers requests one after the other; a thread of its own reads them, to hear *cancel*.

    :param stream: where requests come from, one a line.
    :param send: called with each event; may be called from both threads.
    """

    def __init__(self, stream: ByteStream, send: Callable[[Mapping[str, Any]], None]) -> None:
        self._stream, self._send = stream, send
        self._queue: queue.Queue[Request] = queue.Queue()
        self._cancelled: set[int] = set()
        self._open: set[int] = set()
        self._shutdown: int | None = None
        self._lock = threading.Lock()
        self._predictor: Any = None
        self._loaded: tuple[str, str, str, int | None] | None = None
        self._session: Any = None
        self._is_spoilt = False

    def run(self) -> None:
        """Until *shutdown*."""
        self._send({"event": "ready", "pid": os.getpid(), "version": __version__})
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        while True:
            request = self._queue.get()
            if isinstance(request, Shutdown):
                self._send({"event": "result", "id": request.id})
                reader.join(_LAST_WORDS)
                return
            self._answer(request)

    def _read(self) -> None:
        try:
            for line in read_lines(self._stream):
                self._hear(line)
        finally:
            # The other side is gone, or cannot be heard any more. The main thread may be deep in a
            # forward pass: do not wait for it.
            os._exit(0)

    def _hear(self, line: Line) -> None:
        """Queue a line's request or answer it at once; after any line the next one is heard."""
        try:
            answer = self._admit(parse_request(line.text()))
        except Exception as error:
            answer = error_event(find_id(line), error)
        if answer is not None:
            self._send(answer)

    def _admit(self, request: Request) -> dict[str, Any] | None:
        """Queue a request; the answer of one that need not wait.

        :raises ConfigError: if it must not come now.
        """
        with self._lock:
            if request.id in self._open:
                raise ConfigError(f"The request {request.id} is open; take another id.")
            if isinstance(request, Cancel):
                known = request.target in self._open and request.target != self._shutdown
                if known:
                    self._cancelled.add(request.target)
                return {"event": "result", "id": request.id, "cancelled": known}
            if self._shutdown is not None:
                raise ConfigError("The worker was told to shut down; start another one.")
            if isinstance(request, Shutdown):
                self._shutdown = request.id
            self._open.add(request.id)
        self._queue.put(request)
        return None

    def _answer(self, request: Request) -> None:
        event = self._event_for(request)
        with self._lock:  # before the answer is out: from then on there is nothing to cancel
            self._open.discard(request.id)
            self._cancelled.discard(request.id)
        self._send(event)
        if self._is_spoilt:  # whoever asks next starts another worker
            os._exit(1)
        _give_back_memory()  # the next question may be an hour away

    def _event_for(self, request: Request) -> dict[str, Any]:
        handlers: dict[type[Request], Callable[[Any], dict[str, Any]]] = {
            Describe: self._describe,
            Segment: self._segment,
            Load: self._load,
            SegmentCase: self._case,
            Render: self._render,
            Surface: self._surface,
        }
        try:
            self._check_cancelled(request.id)
            message = handlers[type(request)](request)
            return {"event": "result", "id": request.id, **message}
        except Exception as error:  # whatever it is, the request is answered
            self._is_spoilt = spoils_device(error)
            return error_event(request.id, error)

    def _describe(self, request: Describe) -> dict[str, Any]:
        from MorseCore.service.describing import (
            describe_devices,
            describe_models,
            describe_versions,
        )

        return {
            "devices": describe_devices(),
            "models": describe_models(),
            "versions": describe_versions(),
        }

    def _segment(self, request: Segment) -> dict[str, Any]:
        from MorseCore.images.roi import parse_roi
        from MorseCore.inference.options import PredictOptions
        from MorseCore.inference.whole_scan import open_session

        self._session = None  # its fields are of no use any more, and memory is
        _give_back_memory()
        output = _output_folder(request.output)
        volume = _load_volume(request)
        predictor = self._load_model(request.model, request.device)
        options = PredictOptions(
            roi=parse_roi(request.roi) if request.roi else None,
            points=request.points, passes=request.passes, scale=request.scale,
            accept=request.accept, verdict=request.verdict,
        )  # fmt: skip
        session = open_session(predictor, volume, options)
        result = session.segment(**self._watch(request.id))
        self._check_cancelled(request.id)
        message = save_segmentation(output, result)
        self._session = session
        return message

    def _load(self, request: Load) -> dict[str, Any]:
        from MorseCore.service.segment_case import check_choices

        predictor = self._load_model(request.model, request.device, request.engine)
        check_choices(request, predictor)
        info = predictor.info
        return {"sha256": info.sha256, "contrast": info.contrast, "channels": info.channels}

    def _case(self, request: SegmentCase) -> dict[str, Any]:
        from MorseCore.service.segment_case import segment_case

        self._session = None
        watch = self._watch(request.id)
        watch["progress"]("read", 0.0)  # from here on a lost worker costs this case
        predictor = self._load_model(request.model, request.device, request.engine)
        return segment_case(request, predictor, **watch)

    def _render(self, request: Render) -> dict[str, Any]:
        from MorseCore.images.roi import parse_roi
        from MorseCore.inference.options import PredictOptions

        output = _output_folder(request.output)
        options = PredictOptions(
            roi=parse_roi(request.box) if request.box else None,
            points=request.points, passes=request.passes, scale=request.scale,
        )  # fmt: skip
        result = self._asked().render(options, **self._watch(request.id))
        return save_segmentation(output, result)

    def _surface(self, request: Surface) -> dict[str, Any]:
        output = _output_folder(request.output)
        array, geometry = self._asked().probability(
            request.structure, scale=request.scale, **self._watch(request.id)
        )
        return {
            "geometry": {"shape": list(geometry.shape), "ijk_to_ras": geometry.ijk_to_ras.tolist()},
            "probability": save_array(output, "probability", array),
        }

    def _asked(self) -> Any:
        if self._session is None:
            raise MorseError("There is no segmented image to ask; press Segment first.")
        return self._session

    def _load_model(self, name: str, device: str, engine: str = "torch") -> Any:
        from MorseCore.inference.predictor import VolumePredictor
        from MorseCore.store.library import find_model

        folder = find_model(name)
        stamp = _written(folder / "model.json")
        wanted = (str(folder), device, engine, stamp)
        if self._loaded != wanted:
            self._predictor = self._loaded = None
            self._predictor = VolumePredictor(folder, device=device, engine=engine)
            self._loaded = wanted
        return self._predictor

    def _watch(self, number: int) -> dict[str, Any]:
        """Arguments that report progress of a request and hear its cancellation."""
        progress = _Progress(number, self._send)
        return {"progress": progress.tell, "should_stop": lambda: number in self._cancelled}

    def _check_cancelled(self, number: int) -> None:
        if number in self._cancelled:
            raise Cancelled("The request was cancelled.")


class _Progress:
    """Percent of the whole and seconds left, not more often than a person can read."""

    def __init__(self, number: int, send: Callable[[Mapping[str, Any]], None]) -> None:
        self._number, self._send = number, send
        self._started = self._last = time.monotonic()
        self._percent = 0.0
        self._stage = ""

    def tell(self, stage: str, share: float) -> None:
        low, high = _SPANS[stage]
        percent = max(self._percent, low + (high - low) * share)
        now = time.monotonic()
        if now - self._last < _PAUSE and percent < 100 and stage == self._stage:
            return
        self._last, self._percent, self._stage = now, percent, stage
        elapsed = now - self._started
        left = (
            round(elapsed * (100 - percent) / percent, 1)
            if percent > _SPANS["prepare"][1]
            else None
        )
        self._send(
            {
                "event": "progress", "id": self._number, "stage": stage,
                "percent": round(percent, 1), "seconds_left": left, "memory": peak_memory(),
            }
        )  # fmt: skip


class _EventHandler(logging.Handler):
    """Log records as events."""

    def __init__(self, send: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(logging.INFO)
        self._send_event = send

    def emit(self, record: logging.LogRecord) -> None:
        level = "warning" if record.levelno >= logging.WARNING else "info"
        self._send_event(
            {"event": "log", "level": level, "message": printable(record.getMessage())}
        )


def main() -> int:
    """Serve stdin and stdout; whatever else a library prints goes to stderr."""
    end_with_parent()
    stdin = os.fdopen(os.dup(0), "rb", buffering=0)
    stdout = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    # Libraries that look at descriptor 0 as they are loaded (scipy's Fortran runtime) would wait
    # on Windows until the reading thread has its next line: the pipe serves one at a time.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = sys.stderr
    lock = threading.Lock()

    def send(event: Mapping[str, Any]) -> None:
        line = _line(event)
        try:
            with lock:
                stdout.write(line + "\n")
                stdout.flush()
        except OSError:  # nobody listens any more
            os._exit(0)

    root = logging.getLogger("MorseCore")
    root.setLevel(logging.INFO)
    root.addHandler(_EventHandler(send))
    keep_freed_memory(largest=SMALL)
    try:
        with terminating():  # a signal unwinds, so that no half-written file stays
            Worker(stdin, send).run()
    except KeyboardInterrupt:
        return 1
    return 0


def _line(event: Mapping[str, Any]) -> str:
    """An event as it is sent; an answer that is no JSON becomes an error: there has to be one."""
    try:
        return encode_event(event)
    except (TypeError, ValueError, RecursionError) as error:
        return encode_event(error_event(event.get("id"), error))


def _give_back_memory() -> None:
    """Main memory, and what torch keeps of a GPU's: Slicer draws with it."""
    give_back_freed_memory()
    if sys.modules.get("torch") is not None:
        from MorseCore.system.memory import release_gpu_memory

        release_gpu_memory()


def _load_volume(request: Segment) -> Volume:
    name = shorten(request.name, most=_LONGEST_NAME)
    try:
        array = load_array(_path(request.image))
    except MorseError as error:
        raise ImageError(f"The image '{name}' did not reach the worker: {error}") from error
    return volume_from_array(array, request.ijk_to_ras, name, modality=shorten(request.modality))


def _output_folder(text: str) -> Path:
    """Where the answer's arrays go; looked at before anything is computed.

    :raises OutputError: if there is no such folder.
    """
    path = _path(text)
    if not os.path.isdir(path):
        found = "it is a file" if os.path.exists(path) else "it does not exist"
        raise OutputError(f"The folder '{shorten(text)}' cannot take the result: {found}.")
    return path


def _path(text: str) -> Path:
    """What a request calls a file or a folder.

    :raises ConfigError: if no file can be called so.
    """
    try:
        is_path = 0 < len(os.fsencode(text)) <= _LONGEST_PATH and "\0" not in text
    except UnicodeEncodeError:  # half a letter
        is_path = False
    if not is_path:
        raise ConfigError(f"'{shorten(text)}' is no path.")
    return Path(text)


def _written(path: Path) -> int | None:
    """When a file was written; None if it cannot be looked at, which reading it will explain."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(main())
