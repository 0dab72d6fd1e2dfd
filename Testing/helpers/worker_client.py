"""A client of a real worker process, for tests."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


class WorkerClient:
    """Starts ``python -m MorseCore worker`` and speaks its protocol.

    :param code: what it runs instead, to which ``worker`` is MorseCore.service.worker.
    :param limit: seconds after which it is ended: a test that waits for ever fails.
    """

    def __init__(self, code: str | None = None, *, limit: float = 200.0) -> None:
        command = ["-m", "MorseCore", "worker"]
        if code is not None:
            command = ["-c", f"import MorseCore.service.worker as worker\n{code}\nworker.main()"]
        self.process = subprocess.Popen(
            [sys.executable, "-u", *command], cwd=ROOT,
            encoding="utf-8", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._limit = threading.Timer(limit, self.process.kill)
        self._limit.daemon = True
        self._limit.start()

    def read(self) -> dict[str, Any]:
        """The next event; fails if the worker ended."""
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.events.append(json.loads(line))
        return self.events[-1]

    def send(self, request: str, **values: Any) -> int:
        """Send a request; returns its id."""
        self._number += 1
        self.write(json.dumps({"request": request, "id": self._number, **values}))
        return self._number

    def write(self, line: str | bytes) -> None:
        """Send any line."""
        data = line if isinstance(line, bytes) else line.encode("utf-8")
        self.process.stdin.buffer.write(data + b"\n")
        self.process.stdin.flush()

    def answer(self, number: int | None) -> dict[str, Any]:
        """The result or error of a request, which may have come before another one's."""
        seen = iter([] if number is None else list(self.events))
        while True:
            event = next(seen, None) or self.read()
            if event["event"] in ("result", "error") and event.get("id") == number:
                return event

    def ask(self, request: str, **values: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        return self.answer(self.send(request, **values))

    def close(self) -> int:
        """Close the worker's stdin and wait for its end."""
        self.process.stdin.close()
        code = self.process.wait(timeout=30)
        self._limit.cancel()
        self.process.stdout.close()
        self.process.stderr.close()
        return code


def save_image(folder: Path, image: np.ndarray) -> dict[str, Any]:
    """Arguments of *segment* for an image of 1 mm voxels."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "image.npy", image)
    output = folder / "output"
    output.mkdir(exist_ok=True)
    matrix = np.eye(4).tolist()
    return {"image": str(folder / "image.npy"), "ijk_to_ras": matrix, "output": str(output)}
