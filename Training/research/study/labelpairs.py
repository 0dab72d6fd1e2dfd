"""A model scored on a data set that numbers or names its structures in another way."""

from collections.abc import Mapping
from dataclasses import replace
from math import nan

import numpy as np

from MorseCore.config import nearest
from MorseCore.errors import ConfigError
from MorseCore.metrics.casetable import CaseScore
from MorseCore.store.model_folder import ModelInfo
from MorseCore.training.dataset import Decathlon, PreparedCase

__all__ = ["pair_labels", "paired", "without_background"]


def pair_labels(text: str, info: ModelInfo, data: Decathlon) -> dict[int, int]:
    """The data set's label -> the model's value, of ``Liver=liver,Spleen=spleen``.

    :raises ConfigError: if a name is not known, or named twice.
    """
    ours = {structure.name: structure.value for structure in info.structures}
    theirs = {name: value for value, name in data.labels.items() if value}
    pairs: dict[int, int] = {}
    for part in text.split(","):
        structure, sign, label = (word.strip() for word in part.partition("="))
        if not sign:
            raise ConfigError(f"--labels takes STRUCTURE=LABEL,…; found '{part}'.")
        for name, known, owner in (
            (structure, ours, f"model '{info.name}'"), (label, theirs, f"data set '{data.name}'"),
        ):  # fmt: skip
            if name not in known:
                raise ConfigError(
                    f"The {owner} has no structure '{name}'{nearest(name, known)}; "
                    f"it has {', '.join(known)}."
                )
        if theirs[label] in pairs or ours[structure] in pairs.values():
            raise ConfigError(f"--labels names a structure twice; found '{text}'.")
        pairs[theirs[label]] = ours[structure]
    return pairs


def paired(case: PreparedCase, pairs: Mapping[int, int]) -> PreparedCase:
    """With the model's values; what is not paired becomes 0."""
    table = np.zeros(256, np.uint8)
    table[list(pairs)] = list(pairs.values())
    drawn = case.drawn and replace(case.drawn, labels=table[case.drawn.labels])
    return replace(case, labels=table[case.labels], drawn=drawn)


def without_background(stages: Mapping[str, CaseScore]) -> dict[str, CaseScore]:
    """What one side calls background may be a structure of the other's."""
    return {stage: score._replace(background_jaccard=nan) for stage, score in stages.items()}
