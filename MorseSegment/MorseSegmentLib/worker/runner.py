"""Asks the worker and hands its answers on, whatever carries the bytes."""

import json
import shutil
import tempfile
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from MorseCore.service.protocol import Cancel, Request, request_line
from MorseSegmentLib.worker.launch import (
    CANCELLED,
    Failure,
    WorkerCommand,
    describeEnd,
    killProcess,
)
from MorseSegmentLib.worker.signals import Signals

__all__ = ["EventLines", "Runner", "Task", "WorkerRunner"]

_PATIENCE = 1.0  # seconds from asking for a stop to terminating
_MORE_PATIENCE = 0.5  # and to killing: the whole is over within two seconds
_REMEMBERED = 8192  # bytes of stderr


@dataclass(frozen=True)
class Task:
    """A request's number, a folder of its own that goes when it is answered, and its answers.

    Signals: ``progress`` (stage, percent, seconds left or None), ``log`` (level, message), and at
    the end one of ``result`` (the worker's message, the folder, which is removed afterwards) and
    ``failed`` (a :class:`~MorseSegmentLib.worker.launch.Failure`), once. If what hears a result
    raises, ``failed`` follows.
    """

    number: int
    folder: Path
    signals: Signals = field(
        default_factory=lambda: Signals("progress", "log", "result", "failed"), compare=False
    )


class WorkerRunner(Protocol):
    """What panels and scripts need.

    Example::

        task = runner.open()
        task.signals.connect("result", show)
        runner.send(Segment(id=task.number, output=str(task.folder), ...))
        runner.cancel(task)
    """

    def open(self) -> Task: ...

    def send(self, request: Request) -> None: ...

    def cancel(self, task: Task) -> None: ...

    def stop(self) -> None: ...

    def isRunning(self) -> bool: ...

    @property
    def worker(self) -> int | None: ...


@dataclass
class _Entry:
    task: Task
    cancelled: bool = False


class Runner(ABC):
    """A worker that is started by the first request and kept; subclasses carry the bytes.

    :param temporaryPath: where folders for the arrays are made; None: the system's place.
    """

    def __init__(self, command: WorkerCommand, temporaryPath: str | None = None) -> None:
        self._command = command
        self._temporaryPath = temporaryPath
        self._number = 0
        self._entries: dict[int, _Entry] = {}
        self._leftBehind: list[Path] = []
        self._forgetWorker()

    def open(self) -> Task:
        """Number and folder for a request; :meth:`send` or :meth:`cancel` must follow.

        :raises OSError: if the folder cannot be made.
        """
        self._removeFolders()
        self._number += 1
        folder = Path(tempfile.mkdtemp(prefix="morsesegment-", dir=self._temporaryPath))
        task = Task(self._number, folder)
        self._entries[task.number] = _Entry(task)
        return task

    def send(self, request: Request) -> None:
        """Ask the worker, which is started if it is not there; cancelled tasks are skipped."""
        if request.id not in self._entries:
            return
        line = request_line(request).encode() + b"\n"
        if not self.isRunning():
            self._forgetWorker()
            self._oomKills = _oomKills()
            self._unsent.append((request.id, line))
            self._start()
        elif self._pid is None:
            self._unsent.append((request.id, line))
        else:
            self._write(line)
            self._sent.add(request.id)

    def cancel(self, task: Task) -> None:
        """Stop a request; if the worker does not listen, end it."""
        entry = self._entries.get(task.number)
        if entry is None or entry.cancelled:
            return
        entry.cancelled = True
        if task.number not in self._sent:
            self._unsent = [item for item in self._unsent if item[0] != task.number]
            self._fail(task.number, CANCELLED)
            return
        self._number += 1
        self._write(request_line(Cancel(id=self._number, target=task.number)).encode() + b"\n")
        self._after(_PATIENCE, lambda: self._insist(task.number, self._terminate))
        self._after(_PATIENCE + _MORE_PATIENCE, lambda: self._insist(task.number, self._killAll))

    def stop(self) -> None:
        """End the worker now; open requests are answered as cancelled."""
        for entry in self._entries.values():
            entry.cancelled = True
        if self.isRunning():
            self._killAll()
        self._detach()
        self._forgetWorker()
        self._failAll(CANCELLED)
        self._removeFolders()

    @property
    def worker(self) -> int | None:
        """The worker's process, once it listens; what it holds is lost with it."""
        return self._pid

    @abstractmethod
    def isRunning(self) -> bool:
        """Whether there is a worker."""

    @abstractmethod
    def _start(self) -> None:
        """Start the process."""

    @abstractmethod
    def _write(self, data: bytes) -> None:
        """Send it bytes."""

    @abstractmethod
    def _terminate(self) -> None:
        """Ask it to end."""

    @abstractmethod
    def _kill(self) -> None:
        """End the process that was started, and wait until it has."""

    @abstractmethod
    def _detach(self) -> None:
        """Hear no more of the process."""

    @abstractmethod
    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` after so many seconds, in the thread of the caller."""

    def _forgetWorker(self) -> None:
        self._lines = EventLines()
        self._pid: int | None = None  # of the worker itself; what was started may be a launcher
        self._unsent: list[tuple[int, bytes]] = []
        self._sent: set[int] = set()
        self._errors = b""
        self._peak: int | None = None  # bytes of memory, as the worker told
        self._oomKills: int | None = None  # of the system, before the worker began

    def _insist(self, number: int, action: Callable[[], None]) -> None:
        if number in self._entries and self.isRunning():
            action()

    def _killAll(self) -> None:
        if self._pid is not None:
            killProcess(self._pid)
        self._kill()

    def _receivedErrors(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-_REMEMBERED:]  # pieces end anywhere in a line

    def _received(self, data: bytes) -> None:
        for event in self._lines.feed(data):
            if isinstance(event, str):
                self._receivedErrors(f"{event}\n".encode())
                continue
            try:
                self._handle(event)
            except (KeyError, TypeError, ValueError):  # a worker of another version
                self._receivedErrors(traceback.format_exc().encode())

    def _handle(self, event: Mapping[str, Any]) -> None:
        kind, number = event["event"], event.get("id")
        if kind == "ready":
            self._pid = int(event["pid"])
            for waiting, line in self._unsent:
                self._write(line)
                self._sent.add(waiting)
            self._unsent = []
        elif kind == "log":
            for entry in list(self._entries.values()):
                entry.task.signals.emit("log", str(event["level"]), str(event["message"]))
        elif number is None and kind == "error":  # to a line that it could not read at all
            self._receivedErrors(f"{event['message']}\n".encode())
        elif number not in self._entries:
            return  # the answer to a cancel, or to what was cancelled
        elif kind == "progress":
            self._peak = event.get("memory")
            self._entries[number].task.signals.emit(
                "progress", str(event["stage"]), float(event["percent"]), event["seconds_left"]
            )
        elif kind == "result":
            self._deliver(number, event)
        elif kind == "error":
            self._fail(number, _failure(event))

    def _deliver(self, number: int, event: Mapping[str, Any]) -> None:
        entry = self._entries.pop(number)
        try:
            if entry.cancelled:  # the answer was already on its way
                entry.task.signals.emit("failed", CANCELLED)
            else:
                entry.task.signals.emit("result", event, entry.task.folder)
        except Exception as error:
            entry.task.signals.emit(
                "failed", Failure(f"The result could not be shown: {error}", traceback.format_exc())
            )
        finally:
            self._removeFolders(entry.task.folder)

    def _fail(self, number: int, failure: Failure) -> None:
        entry = self._entries.pop(number)
        try:
            entry.task.signals.emit("failed", failure)
        finally:
            self._removeFolders(entry.task.folder)

    def _removeFolders(self, *folders: Path) -> None:
        """Remove folders, and those that could not be: Windows keeps a file that is in use."""
        waiting = [*self._leftBehind, *folders]
        for folder in waiting:
            shutil.rmtree(folder, ignore_errors=True)
        self._leftBehind = [folder for folder in waiting if folder.exists()]

    def _ended(self, code: int, *, signalled: bool) -> None:
        before, now = self._oomKills, _oomKills()
        failure = describeEnd(
            code,
            signalled=signalled,
            started=self._pid is not None,
            errors=self._errors.decode("utf-8", errors="replace"),
            peak=self._peak,
            oomKills=None if before is None or now is None else now - before,
        )
        self._forgetWorker()
        self._failAll(failure)

    def _failAll(self, failure: Failure) -> None:
        for number, entry in list(self._entries.items()):
            if number in self._entries:  # who hears of it may have stopped the worker
                self._fail(number, CANCELLED if entry.cancelled else failure)


def _oomKills() -> int | None:
    from MorseCore.system.processes import oom_kills  # not when Slicer starts

    return oom_kills()


def _failure(error: Mapping[str, Any]) -> Failure:
    """Of the worker's error; the command line's ``--accept`` in its message is nothing for here."""
    sentence, accept = error.get("plain") or error["message"], error.get("accept", "")
    return Failure(str(sentence), str(error["detail"]), str(error["kind"]), str(accept))


class EventLines:
    """Collects bytes and gives one event for each complete line.

    Bytes are split at line ends before they are decoded: a piece may end within a character.

    Example::

        lines = EventLines()
        list(lines.feed(b'{"event": "rea'))     # []
        list(lines.feed(b'dy"}\\nhello\\n'))      # [{"event": "ready"}, "hello"]
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any] | str]:
        """Events as dictionaries; a line that is none, as text."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        for line in complete:
            text = line.decode("utf-8", errors="replace").strip()
            if text:
                yield _event(text)


def _event(text: str) -> dict[str, Any] | str:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return event if isinstance(event, dict) and "event" in event else text
