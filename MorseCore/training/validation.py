"""Segment the cases of a split and score both masks of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from MorseCore.errors import Cancelled
from MorseCore.images.inverse_resampling import to_input_grid_labels
from MorseCore.inference.options import UNWATCHED, RunMonitor, WindowSettings
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.metrics.casetable import CaseScore
from MorseCore.metrics.scores import (
    MEASURES,
    Status,
    StructureScore,
    Summary,
    overlap,
    score_labels,
    summarise,
)
from MorseCore.network import Network
from MorseCore.renderers import Renderer
from MorseCore.store.model_folder import WindowConfig
from MorseCore.system.devices import Precision
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.distributed import ALONE, World

__all__ = [
    "STAGES",
    "CaseValidation",
    "DataFacts",
    "Figures",
    "SeenCase",
    "Validation",
    "Validator",
    "WorstCase",
    "on_drawn_grid",
    "summarise_cases",
]


@dataclass(frozen=True, eq=False)
class SeenCase:
    """What a network made of a case, on its own grid; axes (K, J, I)."""

    name: str
    image: np.ndarray
    """Of several channels the first."""
    labels: np.ndarray
    """As drawn."""
    mask: np.ndarray
    """As found."""
    spacing: tuple[float, ...]
    """mm."""
    dice: float
    """Mean over structures."""


@dataclass(frozen=True)
class Figures:
    """Means over structures and images, by stage (``coarse``, ``refined``)."""

    means: dict[str, dict[str, float]]
    """Stage -> measure -> value; ``dice`` is always there."""
    missed: dict[str, int]
    """Stage -> structures that were not found at all, summed over images."""
    structures: dict[str, float] = field(default_factory=dict)
    """Structure -> DSC of the last stage, where that is to be written down as well."""
    worst: SeenCase | None = None
    """The image with the lowest DSC; None on all processes but the one that looked at it."""


class Validation(Protocol):
    """Images that are set aside, and how a network is measured on them."""

    def measure(
        self,
        network: Network,
        *,
        world: World,
        should_stop: Callable[[], bool] | None = None,
    ) -> Figures:
        """Measure a network.

        :raises Cancelled: on every process, if ``should_stop`` answered yes on one.
        """


@dataclass(frozen=True)
class DataFacts:
    """What a model's card says of the data it learned from."""

    labels: dict[int, str]
    """Value -> name, background (0) included."""
    splits: dict[str, int]
    """Number of cases, or label maps, by split."""
    licence: str
    figures: dict[str, Any] = field(default_factory=dict)
    """Split -> stage -> structure or ``mean`` -> measures."""
    field_of_view: tuple[float, ...] | None = None
    """Largest extent in mm along x, y, z of the training images; None: no limit."""
    is_generated: bool = False
    """Whether the images were drawn from label maps."""
    accepted: tuple[str, ...] = ()
    """Refusals that the person overruled, as sentences."""
    volumes: dict[int, list[float]] = field(default_factory=dict)
    """ml of each label, and of all (0), in the training's cases."""
    channels: tuple[str, ...] = ()
    """Names of the images of a case, where there are several."""


STAGES = ("coarse", "refined")
_STATUSES = get_args(Status)
_FIELDS = fields(StructureScore)


@dataclass(frozen=True)
class Validator:
    """Scores a network on prepared cases, by the predictor's own path."""

    window: tuple[int, ...]
    """Array order."""
    renderer: Renderer
    windows: WindowConfig
    labels: Sequence[int]
    """Foreground values."""
    precision: Precision = "auto"
    temperature: float = 1.0
    """Of the probabilities; where windows overlap it has a say in the blended mask."""

    def scores(
        self,
        network: Network,
        cases: Sequence[PreparedCase],
        *,
        world: World = ALONE,
        monitor: RunMonitor = UNWATCHED,
        seen: Callable[[SeenCase], None] = lambda case: None,
    ) -> dict[str, list[CaseScore]]:
        """Per stage, one score a case.

        :param world: processes that share the cases out; all get all scores.
        :param monitor: checked before each batch of windows.
        :param seen: is shown each case that this process scored.
        :raises Cancelled: on every process, if the monitor of one wants to stop.
        """
        network.eval()
        table = torch.zeros(
            len(cases), len(STAGES), len(self.labels) + 1, len(_FIELDS), dtype=torch.float64
        )
        stopped = False
        try:
            for n in world.share_of(range(len(cases))):
                table[n], case = self._score(network, cases[n], monitor)
                seen(case)
        except Cancelled:
            stopped = True
        if world.any(stopped):
            raise Cancelled("The validation was cancelled.")
        rows = world.total(table).tolist()
        return {
            stage: [
                CaseScore(
                    {v: _from_row(row) for v, row in zip(self.labels, case[n][:-1], strict=True)},
                    case[n][-1][0],
                )
                for case in rows
            ]
            for n, stage in enumerate(STAGES)
        }

    def _score(
        self, network: Network, case: PreparedCase, monitor: RunMonitor
    ) -> tuple[Tensor, SeenCase]:
        """(stages, structures + 1, numbers) of one case; the last row begins with background's."""
        image = torch.from_numpy(np.ascontiguousarray(case.image))
        prediction = predict_volume(network, image, self._settings(), monitor=monitor)
        rows, dice = [], 0.0
        for stage in STAGES:
            mask, labels, spacing = on_drawn_grid(getattr(prediction, stage), case)
            scores = score_labels(mask, labels, self.labels, spacing)
            background = overlap(mask == 0, labels == 0)[1]
            last = [background] + [0.0] * (len(_FIELDS) - 1)
            rows.append([*(_to_row(scores[label]) for label in self.labels), last])
            dice = float(np.mean([scores[label].dice for label in self.labels]))
        found = getattr(prediction, STAGES[-1]).max(0).indices.to(torch.uint8).numpy()
        first = case.image if case.image.ndim == 3 else case.image[0]
        seen = SeenCase(case.name, first, case.labels, found, case.spacing, dice)
        return torch.tensor(rows, dtype=torch.float64), seen

    def _settings(self) -> WindowSettings:
        return WindowSettings(
            self.window, self.renderer, self.windows,
            temperature=self.temperature, precision=self.precision,
        )  # fmt: skip


@dataclass(frozen=True)
class CaseValidation:
    """The validation split: cases, and what scores them."""

    validator: Validator
    cases: Sequence[PreparedCase]
    names: Mapping[int, str] = field(default_factory=dict)
    """Of the structures whose DSC is written down, by value; those without a name are left out."""

    def measure(
        self,
        network: Network,
        *,
        world: World = ALONE,
        should_stop: Callable[[], bool] | None = None,
    ) -> Figures:
        """See :class:`MorseCore.training.validation.Validation`."""
        worst = WorstCase()
        scores = self.validator.scores(
            network, self.cases, world=world, monitor=RunMonitor(should_stop=should_stop),
            seen=worst.see,
        )  # fmt: skip
        summaries = {stage: summarise_cases(parts) for stage, parts in scores.items()}
        means = {
            stage: {m.name: getattr(summary.mean, m.name).mean for m in MEASURES if m.is_shown}
            for stage, summary in summaries.items()
        }
        missed = {stage: summary.mean.n_missed for stage, summary in summaries.items()}
        found = summaries[STAGES[-1]].structures
        structures = {
            self.names[value]: round(part.dice.mean, 5)
            for value, part in found.items() if value in self.names
        }  # fmt: skip
        dice = [np.mean([s.dice for s in c.structures.values()]) for c in scores[STAGES[-1]]]
        name = self.cases[int(np.argmin(dice))].name
        return Figures(means, missed, structures, worst.if_called(name))


class WorstCase:
    """Keeps the case with the lowest DSC of those that it is shown."""

    def __init__(self) -> None:
        self._worst: SeenCase | None = None

    def see(self, case: SeenCase) -> None:
        """One case more."""
        if self._worst is None or case.dice < self._worst.dice:
            self._worst = case

    def if_called(self, name: str) -> SeenCase | None:
        """The case, unless the worst of all processes' has another name."""
        return self._worst if self._worst is not None and self._worst.name == name else None


def on_drawn_grid(
    probabilities: Tensor, case: PreparedCase
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Mask and labels on the grid on which the labels were drawn, and its spacing (K, J, I).

    Labels brought to the model's grid would be scored against masks as smooth as they are.
    """
    drawn = case.drawn
    if drawn is None:
        return probabilities.max(0).indices.numpy(), case.labels, case.spacing
    mask = to_input_grid_labels(
        probabilities, model_geometry=drawn.model_geometry, input_geometry=drawn.geometry
    )
    k, j, i = drawn.geometry.spacing[::-1]
    return mask, drawn.labels, (k, j, i)


def summarise_cases(cases: Sequence[CaseScore]) -> Summary:
    """Means over structures and cases, mIoU included."""
    return summarise(
        [case.structures for case in cases], background=[case.background_jaccard for case in cases]
    )


def _to_row(score: StructureScore) -> list[float]:
    """The values of a score as numbers, which processes can add up."""
    values = vars(score) | {"status": _STATUSES.index(score.status)}
    return [float(values[item.name]) for item in _FIELDS]


def _from_row(row: Sequence[float]) -> StructureScore:
    values: dict[str, Any] = {item.name: x for item, x in zip(_FIELDS, row, strict=True)}
    values["status"] = _STATUSES[round(values["status"])]
    for name in ("prediction_voxels", "target_voxels"):
        values[name] = round(values[name])
    return StructureScore(**values)
