"""Adds a model to the user's models, in a process of its own: checking it needs torch."""

from pathlib import Path
from typing import Any

import qt

from MorseSegmentLib.worker.launch import Failure, WorkerCommand
from MorseSegmentLib.worker.qprocess import processFor
from MorseSegmentLib.worker.signals import Signals

__all__ = ["ModelImport"]


class ModelImport:
    """Imports one model at a time.

    Signals: ``imported``, or ``failed`` (a :class:`~MorseSegmentLib.worker.launch.Failure`).
    """

    def __init__(self, command: WorkerCommand) -> None:
        self._command = command
        self.signals = Signals("imported", "failed")
        self._process: Any = None

    def start(self, path: str) -> None:
        """Import a zip file, or the folder of a model.json; nothing happens if one is under way."""
        if self._process is not None:
            return
        source = Path(path)
        folder = source.parent if source.name == "model.json" else source
        self._process = processFor(self._command)
        for signal, slot in (
            ("finished(int,QProcess::ExitStatus)", self._onFinished),
            ("errorOccurred(QProcess::ProcessError)", self._onErrorOccurred),
        ):
            if not self._process.connect(signal, slot):
                raise RuntimeError(f"QProcess has no signal {signal}")
        arguments = [*self._command.arguments, "models", "import", str(folder)]
        self._process.start(self._command.program, arguments)

    def stop(self) -> None:
        """End it without a word; the half-copied model goes with its temporary folder."""
        process = self._detach()
        if process is not None:
            process.kill()

    def _onFinished(self, code: int, status: int) -> None:
        process = self._detach()
        if process is None:
            return
        words = process.readAllStandardError().data().decode("utf-8", "replace").strip()
        if code == 0 and status == qt.QProcess.NormalExit:
            self.signals.emit("imported")
        else:
            last = words.splitlines()[-1] if words else f"exit code {code}"
            self.signals.emit("failed", Failure(last.removeprefix("error: "), words, "ModelError"))

    def _onErrorOccurred(self, error: int) -> None:
        if error == qt.QProcess.FailedToStart and self._detach() is not None:
            self.signals.emit("failed", Failure(f"'{self._command.program}' could not be started."))

    def _detach(self) -> Any:
        process, self._process = self._process, None
        if process is not None:  # not within a slot of its own
            qt.QTimer.singleShot(0, lambda: process.deleteLater())
        return process
