"""What the worker's machine offers: devices, models, versions; and how it is asked. No Qt."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from MorseCore.service.protocol import Describe
from MorseSegmentLib.worker.launch import CANCELLED, Failure
from MorseSegmentLib.worker.runner import WorkerRunner
from MorseSegmentLib.worker.signals import Signals

__all__ = ["Catalog", "Describer", "Model"]

_COARSE = 0
_FACTORS = (0, 0.25, 0.5, 1, 2, 4, 4)  # points at each level of quality
_MORE_PASSES_FROM = 6
_NAMED = 4  # structures on a model's card; the panel lists groups of all


@dataclass(frozen=True)
class Model:
    """One entry of the list of models."""

    name: str
    title: str
    card: str
    """For a person: what it is for, what it finds, its licence."""
    points: int = 0
    """Its own choice for a window and pass; 0 if its renderer has no such number."""
    passes: int = 0
    window: tuple[int, ...] = ()
    """Voxels in array order, (K,) J, I."""
    spacing: tuple[float, ...] | None = None
    """Of the voxels, mm along x, y[, z]; None if the scan's own is kept."""
    overlap: float = 0.0
    leavesCertain: bool = False
    """Whether points that are certain are left out, unless more are asked for than its own."""
    asksScan: bool = False
    """Whether points are the scan's own voxels; certain ones are then left out in any case."""
    findsPlace: bool = False
    """Whether it needs no region in a whole scan."""
    structures: tuple[str, ...] = ()
    """Names of what it finds."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""

    @classmethod
    def fromAnswer(cls, entry: Mapping[str, Any]) -> "Model":
        """From one of the worker's ``models``."""
        if "broken" in entry:
            return cls(entry["name"], entry["name"], "", problem=entry["broken"])
        modality = entry.get("modality", "any")
        names = tuple(entry.get("structures", ()))
        some = ", ".join(names[:_NAMED])
        if len(names) > _NAMED:
            some = f"{some} and {len(names) - _NAMED} more"
        lines = [
            entry["task"],
            f"{some} ({modality if modality != 'any' else '-'})",
            entry.get("licence", ""),
        ]
        card = "\n".join(line for line in lines if line)
        spacing = entry.get("spacing")
        channels = entry.get("channels") or ()
        problem = (
            f"'{entry['name']}' sees {len(channels)} images of a case ({', '.join(channels)}), and "
            "this panel gives one; run it from the command line: morsesegment segment "
            f"CASE_0000.nii.gz --model {entry['name']}."
        )
        return cls(
            entry["name"],
            entry["title"],
            card,
            entry["points"] or 0,
            entry["passes"] or 0,
            tuple(entry.get("window", ())),
            None if spacing is None else tuple(spacing),
            entry.get("overlap", 0.0),
            entry.get("leaves_certain", False),
            entry.get("asks_scan", False),
            entry.get("finds_place", False),
            names,
            problem if channels else "",
        )

    @property
    def hasQuality(self) -> bool:
        """Whether there is something to choose."""
        return self.points > 0 and self.passes > 0

    def rendering(self, quality: int) -> tuple[int | None, int | None]:
        """Points for a window and pass, and passes, at a level of quality; level 3 is its own.

        None if the model's renderer has no such numbers.
        """
        if not self.hasQuality:
            return None, None
        points = max(1, round(self.points * _FACTORS[quality]))
        if quality == _COARSE:
            return self.points, 0
        return points, self.passes * (2 if quality >= _MORE_PASSES_FROM else 1)

    def relativeCost(self, quality: int) -> float:
        """Points to be rendered, as a multiple of the model's own choice."""
        points, passes = self.rendering(quality)
        if points is None or passes is None:
            return 1.0
        return points * passes / (self.points * self.passes)


@dataclass(frozen=True)
class Catalog:
    """The worker's answer to *describe*."""

    devices: tuple[tuple[str, str], ...] = ()
    """(id, title)."""
    models: tuple[Model, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def fromAnswer(cls, message: Mapping[str, Any]) -> "Catalog":
        """From the worker's result."""
        return cls(
            tuple((device["id"], device["title"]) for device in message["devices"]),
            tuple(Model.fromAnswer(entry) for entry in message["models"]),
            tuple(message["versions"].items()),
        )

    def model(self, name: str) -> Model | None:
        """A model by its name, if there is one that can be used."""
        return next((m for m in self.models if m.name == name and not m.problem), None)


class Describer:
    """Asks the worker for its catalog, one request at a time.

    Signals: ``answered`` (a :class:`Catalog`), ``failed`` (a
    :class:`~MorseSegmentLib.worker.launch.Failure`). A cancel is told to nobody.
    """

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner, self._isAsking = runner, False
        self.signals = Signals("answered", "failed")

    def ask(self) -> None:
        """Ask, unless an answer is on its way."""
        if not self._isAsking:
            self._isAsking = True
            task = self._runner.open()
            task.signals.connect("result", self._onResult)
            task.signals.connect("failed", self._onFailed)
            self._runner.send(Describe(id=task.number))

    def _onResult(self, message: Mapping[str, Any], _folder: Path) -> None:
        self._isAsking = False
        self.signals.emit("answered", Catalog.fromAnswer(message))

    def _onFailed(self, failure: Failure) -> None:
        self._isAsking = False
        if failure.kind != CANCELLED.kind:
            self.signals.emit("failed", failure)
