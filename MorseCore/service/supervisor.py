"""A worker that is watched: whatever ends it or makes it hang costs one request, not the program.

Files are opened and networks computed by native code, which can crash, hang, or ask for more
memory than there is. A program that has many scans to go through lets a worker do it
(:mod:`MorseCore.service.worker`) and starts another one when that is lost. Needs no torch.
"""

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import MorseCore
from MorseCore import errors
from MorseCore.errors import Cancelled, MorseError
from MorseCore.service.failures import describe_end
from MorseCore.service.protocol import Cancel, Request, request_line
from MorseCore.system.processes import oom_kills

__all__ = [
    "NO_WINDOW",
    "SupervisedWorker",
    "WorkerCommand",
    "WorkerLostError",
    "answer_or_raise",
    "own_command",
]

_TICK = 0.2  # seconds between two looks at whether to stop
_SLEPT = 5.0  # seconds; a longer tick is a computer that slept, not a worker that hangs
_START_LIMIT = 300.0  # seconds; torch from a cold network drive
_PATIENCE = 3.0  # seconds for each further way of ending a worker
_REMEMBERED = 8192  # bytes of stderr
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_AGAIN = "run it again to try once more"
_LOOK = "run it with --verbose and look at the details"

NO_WINDOW: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""Windows opens a console for a program that a windowed one starts."""

log = logging.getLogger(__name__)
Events = Callable[[Mapping[str, Any]], None]


class WorkerLostError(MorseError):
    """The worker ended or hung while it had something to do; the next request starts another."""


@dataclass(frozen=True)
class WorkerCommand:
    """How a worker is started."""

    program: str
    arguments: tuple[str, ...]
    without_variables: tuple[str, ...] = ()
    """Of the environment, which it must not inherit."""


def own_command() -> WorkerCommand:
    """A worker under this very Python, whatever folder the program was started in."""
    root = str(Path(MorseCore.__file__).resolve().parents[1])
    code = (
        f"import sys; root = {root!r}; root in sys.path or sys.path.insert(0, root); "
        "from MorseCore.service.worker import main; sys.exit(main())"
    )
    # -P: a file torch.py in the current folder is none of ours.
    return WorkerCommand(sys.executable, ("-P", "-X", "utf8", "-u", "-c", code))


@dataclass(eq=False)
class _Running:
    """A process and what it has said; threads of its own listen."""

    process: "subprocess.Popen[bytes]"
    events: "queue.Queue[dict[str, Any] | None]" = field(default_factory=queue.Queue)
    """What it said, line by line; None once there is no more."""
    errors: bytes = b""
    peak: int | None = None
    """Bytes of memory that it held at most, as far as it has told."""
    oom_kills: int | None = field(default_factory=oom_kills)
    """Programs that the system had ended for lack of memory when this one was started."""

    def listen(self) -> None:
        for stream, read in (
            (self.process.stdout, self._read_events), (self.process.stderr, self._read_errors)
        ):  # fmt: skip
            threading.Thread(target=read, args=(stream,), daemon=True).start()

    def _read_events(self, stream: IO[bytes]) -> None:
        for line in stream:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # what a library printed
            if isinstance(event, dict) and "event" in event:
                self.events.put(event)
        self.events.put(None)

    def _read_errors(self, stream: IO[bytes]) -> None:
        while data := os.read(stream.fileno(), 1 << 12):
            self.errors = (self.errors + data)[-_REMEMBERED:]

    def write(self, request: Request) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(request_line(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return  # it has ended, which its stdout says


class SupervisedWorker:
    """Asks a worker one thing after the other.

    Example::

        with SupervisedWorker() as worker:
            worker.ask(Load(id=0, model="hippocampus-t1"))
            for n, path in enumerate(paths, start=1):
                answer = worker.ask(SegmentCase(id=n, input=str(path), ...), silence={"read": 60})

    :param command: None: under this Python.
    :param threads: that it computes with; None: as many as its libraries like.
    """

    def __init__(self, command: WorkerCommand | None = None, *, threads: int | None = None) -> None:
        self._command = command or own_command()
        self._threads = threads
        self._running: _Running | None = None
        self._open: Request | None = None
        self.warm_up: Request | None = None
        """Asked of every process that is started, before anything else: it loads a model."""

    def __enter__(self) -> "SupervisedWorker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the process; None if there is none now."""
        return None if self._running is None else self._running.process.pid

    def ask(
        self,
        request: Request,
        *,
        on_event: Events = lambda event: None,
        silence: Mapping[str, float] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer.

        :param on_event: called with each event ``progress``.
        :param silence: seconds without a word after which a stage counts as hanging; key ``""``
            for all others. None: it may take for ever.
        :param should_stop: asked several times a second.
        :raises WorkerLostError: if the worker ended, hung, or could not be started.
        :raises Cancelled: if ``should_stop`` answered yes.
        :raises MorseError: the worker's own, of the class that it names.
        """
        for is_second in (False, True):
            running = self._running or self._start(should_stop)
            answer, has_begun = self._ask(running, request, on_event, silence, should_stop)
            if answer is not None:
                return answer_or_raise(answer)
            end = self._lost(running)
            # One that ended before it took the request up had done so after its last answer.
            if has_begun or is_second:
                raise WorkerLostError(end)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the worker: at once if it waits, in some seconds if it has to be forced."""
        running, self._running = self._running, None
        if running is None:
            return
        process, request = running.process, self._open
        self._open = None
        if request is not None:
            running.write(Cancel(id=request.id + 1, target=request.id))
            self._drain(running, until=time.monotonic() + _PATIENCE, answer_of=request.id)
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        for insist in (process.terminate, process.kill):
            try:
                process.wait(_PATIENCE)
                return
            except subprocess.TimeoutExpired:
                insist()
        process.wait()

    def _start(self, should_stop: Callable[[], bool]) -> _Running:
        command, pipe = self._command, subprocess.PIPE
        environment = {
            name: text for name, text in os.environ.items() if name not in command.without_variables
        }
        if self._threads is not None:
            environment |= dict.fromkeys(_THREADS, str(self._threads))
        try:
            process = subprocess.Popen(
                [command.program, *command.arguments], stdin=pipe, stdout=pipe, stderr=pipe,
                env=environment, creationflags=NO_WINDOW,
            )  # fmt: skip
        except OSError as error:
            raise WorkerLostError(
                f"The Python program '{command.program}' could not be started: {error.strerror}."
            ) from error
        running = self._running = _Running(process)
        running.listen()
        event = self._next(running, _START_LIMIT, should_stop)
        while event is not None and event["event"] != "ready":
            event = self._next(running, _START_LIMIT, should_stop)
        if event is None:
            raise WorkerLostError(self._lost(running, is_started=False))
        if self.warm_up is not None:
            limits = {"": _START_LIMIT}
            answer, _ = self._ask(running, self.warm_up, lambda _: None, limits, should_stop)
            if answer is None:
                raise WorkerLostError(self._lost(running, is_started=False))
            answer_or_raise(answer)
        return running

    def _ask(
        self,
        running: _Running,
        request: Request,
        on_event: Events,
        silence: Mapping[str, float] | None,
        should_stop: Callable[[], bool],
    ) -> tuple[dict[str, Any] | None, bool]:
        """The answer, None if the worker ended first; and whether it had begun with it."""
        stage, has_begun, self._open = "", False, request
        running.write(request)
        while True:
            limit = None if silence is None else silence.get(stage, silence.get(""))
            event = self._next(running, limit, should_stop)
            if event is None:
                self._open = None
                return None, has_begun
            kind, number = event["event"], event.get("id")
            if kind == "log":
                level = logging.WARNING if event.get("level") == "warning" else logging.INFO
                log.log(level, "%s", event.get("message"))
            elif number != request.id:
                continue
            elif kind == "progress":
                stage, has_begun = str(event.get("stage")), True
                running.peak = event.get("memory") or running.peak
                on_event(event)
            elif kind in ("result", "error"):
                self._open = None
                return event, True

    def _next(
        self,
        running: _Running,
        limit: float | None,
        should_stop: Callable[[], bool],
    ) -> dict[str, Any] | None:
        """What the worker says next; None if it has ended.

        :param limit: seconds that it may be silent.
        :raises WorkerLostError: if it is silent for longer; it is ended then.
        :raises Cancelled: if the caller wants to stop.
        """
        waited, last = 0.0, time.monotonic()
        while True:
            if should_stop():
                self.close()
                raise Cancelled("Stopped; finished cases are kept.")
            try:
                return running.events.get(timeout=_TICK)
            except queue.Empty:
                now = time.monotonic()
                waited, last = waited + min(now - last, _SLEPT), now
            if limit is not None and waited > limit:
                self._kill(running)
                raise WorkerLostError(
                    f"There was no sign of progress for {waited:.0f} s; it was given up."
                )

    def _kill(self, running: _Running) -> None:
        running.process.kill()
        running.process.wait()
        self._running = self._open = None

    def _lost(self, running: _Running, *, is_started: bool = True) -> str:
        """Why there is no answer, once the worker has closed its output."""
        try:
            code = running.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            running.process.kill()
            code = running.process.wait()
        self._running = None
        kills, before = oom_kills(), running.oom_kills
        end = describe_end(
            abs(code), signalled=code < 0, started=is_started, peak=running.peak,
            errors=running.errors.decode("utf-8", "replace"),
            oom_kills=None if kills is None or before is None else kills - before,
            again=_AGAIN, look=_LOOK,
        )  # fmt: skip
        log.debug("%s", end.detail)
        return end.message

    def _drain(self, running: _Running, *, until: float, answer_of: int) -> None:
        """Wait for the answer to a request that was cancelled."""
        while (left := until - time.monotonic()) > 0:
            try:
                event = running.events.get(timeout=left)
            except queue.Empty:
                return
            if event is None or (
                event["event"] in ("result", "error") and event.get("id") == answer_of
            ):
                return


def answer_or_raise(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that is a result; an error is raised here as it was there."""
    if answer["event"] == "result":
        return answer
    log.debug("%s", answer.get("detail"))
    kind, message = str(answer.get("kind")), str(answer.get("message"))
    if answer.get("package"):
        raise ModuleNotFoundError(f"No module named '{answer['package']}'", name=answer["package"])
    known = getattr(errors, kind, MorseError)
    raise (known if isinstance(known, type) and issubclass(known, MorseError) else MorseError)(
        message
    )
