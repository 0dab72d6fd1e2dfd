"""Segment the cases of a split and score both masks of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from MorseCore.dataset import PreparedCase
from MorseCore.metrics import StructureScore, Summary, score_labels, summarise
from MorseCore.network import Network
from MorseCore.prediction import Precision, WindowConfig, predict_volume
from MorseCore.renderers import Renderer

__all__ = ["STAGES", "Validator"]

STAGES = ("coarse", "refined")


@dataclass(frozen=True)
class Validator:
    """Scores a network on prepared cases, by the predictor's own path."""

    window: tuple[int, ...]
    renderer: Renderer
    windows: WindowConfig
    labels: Sequence[int]
    """Foreground values."""
    precision: Precision = "auto"

    def scores(
        self, network: Network, cases: Iterable[PreparedCase]
    ) -> dict[str, list[dict[int, StructureScore]]]:
        """Per stage, one ``{label: StructureScore}`` a case."""
        network.eval()
        result: dict[str, list[dict[int, StructureScore]]] = {stage: [] for stage in STAGES}
        for case in cases:
            prediction = predict_volume(
                network, torch.from_numpy(np.ascontiguousarray(case.image)), window=self.window,
                renderer=self.renderer, windows=self.windows, precision=self.precision,
            )  # fmt: skip
            for stage in STAGES:
                mask = getattr(prediction, stage).max(0).indices.numpy()
                result[stage].append(score_labels(mask, case.labels, self.labels, case.spacing))
        return result

    def summary(self, network: Network, cases: Iterable[PreparedCase]) -> dict[str, Summary]:
        """Per stage, means over structures and cases."""
        return {stage: summarise(scores) for stage, scores in self.scores(network, cases).items()}
