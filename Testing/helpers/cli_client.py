"""Phantom scans as files, and the command line as its user meets it."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MorseCore.commands.cli import main
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, write_volume
from MorseCore.training.phantoms import make_phantom

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (24, 24, 24)  # one window of phantom-tiny
RESULT_FILES = {
    "coarse.nii.gz", "refined.nii.gz", "uncertainty.nii.gz", "points.csv", "points.mrk.json",
    "report.json",
}  # fmt: skip
COHORT_FILES = {"summary.csv", "volumes.csv", "report.html", "pictures"}
"""What a batch leaves in its folder beside the cases."""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The only line on stderr."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


class CommandLine:
    """Runs commands in this process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *words: str | Path) -> Outcome:
        self._capture.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        out, err = self._capture.readouterr()
        assert "Traceback" not in out + err
        return Outcome(code, out, err)

    def segment(
        self, *inputs: str | Path, output: Path, model: str | Path = "phantom-tiny", **options: Any
    ) -> Outcome:
        """``segment`` with ``--name value`` for every further keyword."""
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        return self("segment", *inputs, "--model", model, "--output", output, *words)


def _hear_interruptions() -> None:
    """A shell starts what runs in the background with SIGINT ignored, and children inherit it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*words: str | Path) -> "subprocess.Popen[str]":
    """``python -m MorseCore`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "MorseCore", *map(str, words)], cwd=ROOT, text=True,
        encoding="utf-8", errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=None if os.name == "nt" else _hear_interruptions,
    )  # fmt: skip


def phantom_volume(seed: int = 35, matrix: np.ndarray | None = None) -> Volume:
    """A phantom of :data:`SHAPE` as a volume; 1 mm and upright without a matrix."""
    image, _ = make_phantom(seed, shape=SHAPE)
    return Volume(image, Geometry(SHAPE, np.eye(4) if matrix is None else matrix), "phantom")


def write_scan(path: Path, *, seed: int = 35, matrix: np.ndarray | None = None) -> Path:
    """Write :func:`phantom_volume`; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = phantom_volume(seed, matrix)
    write_volume(path, volume.array, volume.geometry)
    return path


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file below a folder, hidden ones included."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names(folder: Path) -> set[str]:
    """What a folder holds, hidden entries included."""
    return {path.name for path in folder.iterdir()}


def read_report(folder: Path) -> dict[str, Any]:
    """``report.json`` of a case."""
    data: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return data


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
