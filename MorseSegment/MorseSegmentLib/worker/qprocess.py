"""The worker under qt.QProcess: answers come as signals, so Slicer never waits."""

from collections.abc import Callable
from typing import Any

import qt

from MorseCore.service.failures import INTERPRETER
from MorseSegmentLib.worker.launch import Failure, WorkerCommand
from MorseSegmentLib.worker.runner import Runner

__all__ = ["QProcessRunner", "processFor"]

_KILL_WAIT = 1000  # ms; a killed process is gone within a few


def processFor(command: WorkerCommand) -> Any:
    """A qt.QProcess with the command's environment, not started."""
    process = qt.QProcess()
    environment = qt.QProcessEnvironment.systemEnvironment()
    for name in command.without_variables:
        environment.remove(name)
    process.setProcessEnvironment(environment)
    return process


class QProcessRunner(Runner):
    """Runs in Slicer's event loop; see :class:`MorseSegmentLib.worker.runner.WorkerRunner`."""

    def __init__(self, command: WorkerCommand, temporaryPath: str | None = None) -> None:
        super().__init__(command, temporaryPath)
        self._process: Any = None  # without a reference, Qt would kill it

    def isRunning(self) -> bool:
        """Whether the process exists, be it still starting."""
        return self._process is not None

    def _start(self) -> None:
        process = processFor(self._command)
        self._process = process
        for signal, slot in (
            ("readyReadStandardOutput()", self._onOutput),
            ("readyReadStandardError()", self._onErrorOutput),
            ("finished(int,QProcess::ExitStatus)", self._onFinished),
            ("errorOccurred(QProcess::ProcessError)", self._onErrorOccurred),
        ):
            if not process.connect(signal, slot):
                raise RuntimeError(f"QProcess has no signal {signal}")
        process.start(self._command.program, list(self._command.arguments))

    def _write(self, data: bytes) -> None:
        self._process.write(data)

    def _terminate(self) -> None:
        self._process.terminate()

    def _kill(self) -> None:
        process = self._process
        process.kill()
        process.waitForFinished(_KILL_WAIT)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        qt.QTimer.singleShot(int(1000 * seconds), action)

    def _detach(self) -> None:
        # Later: this may run in a slot of the process, which Qt would destroy with the reference.
        process, self._process = self._process, None
        if process is not None:
            qt.QTimer.singleShot(0, lambda: process.deleteLater())

    def _onOutput(self) -> None:
        if self._process is not None:
            self._received(self._process.readAllStandardOutput().data())

    def _onErrorOutput(self) -> None:
        if self._process is not None:
            self._receivedErrors(self._process.readAllStandardError().data())

    def _onFinished(self, code: int, status: int) -> None:
        if self._process is None:
            return
        self._onOutput()
        self._onErrorOutput()
        self._detach()
        self._ended(code, signalled=status == qt.QProcess.CrashExit)

    def _onErrorOccurred(self, error: int) -> None:
        # Whatever else goes wrong also ends in finished(): a crash must be reported once.
        if error == qt.QProcess.FailedToStart and self._process is not None:
            self._detach()
            self._forgetWorker()
            failure = Failure(
                f"The Python program '{self._command.program}' could not be started; set the "
                f"environment variable {INTERPRETER} to one that has torch, and start Slicer again."
            )
            self._failAll(failure)
