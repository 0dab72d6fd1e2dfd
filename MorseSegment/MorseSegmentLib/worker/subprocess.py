"""The worker for scripts without an event loop: threads read, the caller's thread hands on."""

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO

from MorseSegmentLib.worker.launch import NO_WINDOW, Failure, WorkerCommand
from MorseSegmentLib.worker.runner import Runner

__all__ = ["SubprocessRunner"]

_PIECE = 1 << 16


class SubprocessRunner(Runner):
    """Answers are only told within :meth:`wait`.

    Example::

        runner = SubprocessRunner(workerCommand())
        task = runner.open()
        task.signals.connect("result", show)
        runner.send(Describe(id=task.number))
        runner.wait()
        runner.stop()
    """

    def __init__(self, command: WorkerCommand, temporaryPath: str | None = None) -> None:
        super().__init__(command, temporaryPath)
        self._process: subprocess.Popen[bytes] | None = None
        self._events: queue.Queue[Callable[[], None]] = queue.Queue()
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def isRunning(self) -> bool:
        """Whether there is a process whose end was not yet reported."""
        return self._process is not None

    def wait(self, *, until: Callable[[], bool] | None = None) -> None:
        """Hand answers on until every request is answered, or until a condition holds."""
        while self._entries and not (until and until()):
            for item in [item for item in self._timers if item[0] <= time.monotonic()]:
                self._timers.remove(item)
                item[1]()
            try:
                self._events.get(timeout=0.05)()
            except queue.Empty:
                continue

    def _start(self) -> None:
        removed = self._command.without_variables
        environment = {name: text for name, text in os.environ.items() if name not in removed}
        command = [self._command.program, *self._command.arguments]
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, bufsize=0,
                creationflags=NO_WINDOW,
            )  # fmt: skip
        except OSError as error:
            text = f"The Python program '{self._command.program}' could not be started: {error}."
            self._events.put(lambda: self._failAll(Failure(text)))
            return
        self._process = process
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        errors = threading.Thread(
            target=self._read, args=(process, process.stderr, self._receivedErrors), daemon=True
        )
        errors.start()
        self._read(process, process.stdout, self._received)
        errors.join()
        code = process.wait()
        self._events.put(lambda: self._finished(process, code))

    def _read(
        self,
        process: subprocess.Popen[bytes],
        stream: IO[bytes] | None,
        receive: Callable[[bytes], None],
    ) -> None:
        while stream is not None and (data := os.read(stream.fileno(), _PIECE)):
            self._events.put(lambda data=data: self._pass(process, receive, data))  # type: ignore[misc]

    def _pass(
        self, process: subprocess.Popen[bytes], receive: Callable[[bytes], None], data: bytes
    ) -> None:
        if process is self._process:
            receive(data)

    def _finished(self, process: subprocess.Popen[bytes], code: int) -> None:
        if process is self._process:
            self._process = None
            self._ended(abs(code), signalled=code < 0)

    def _write(self, data: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(data)
                self._process.stdin.flush()
            except OSError:
                return  # it has ended; that is reported by itself

    def _terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, action))

    def _detach(self) -> None:
        self._process = None
        self._timers.clear()
