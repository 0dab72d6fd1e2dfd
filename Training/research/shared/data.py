"""The data that a model is scored on: a training's data set, or any other with labels.

Its structures are those of the model by number, or are paired with them by name.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import nan
from pathlib import Path

import numpy as np

from MorseCore.config import decode, nearest, read_configuration
from MorseCore.errors import ConfigError
from MorseCore.metrics.casetable import CaseScore
from MorseCore.store.model_folder import ModelInfo
from MorseCore.training.config import DataConfig
from MorseCore.training.dataset import Case, Decathlon, PreparedCase, open_dataset
from MorseCore.training.layouts import is_dataset

__all__ = ["PARTS", "cases_of", "compare_by_number", "default_split", "open_data",
           "open_training_data", "pair_labels", "paired", "without_background"]  # fmt: skip

PARTS = ("train", "val", "test", "all")


def open_training_data(where: DataConfig) -> Decathlon:
    """The data set that a training learns from.

    :raises DatasetError: if it cannot be used.
    """
    return open_dataset(Path(where.dataset), Path(where.split), fold=where.fold)


def open_data(path: Path, *, may_skip_numbers: bool = False) -> tuple[DataConfig, Decathlon]:
    """The data set that a training's configuration names, or that a ``dataset.json`` is.

    The latter has its splits in a ``splits.json`` beside it; without one all cases are ``test``.
    Nothing is trained, so there need not be cases for training.

    :param may_skip_numbers: labels are named one by one, so they need not be numbered through.
    :raises ConfigError: if the file is neither.
    :raises DatasetError: if the data set cannot be used.
    """
    content = read_configuration(path)
    split: Path | None
    if "data" in content:
        where = decode(DataConfig, content["data"], "data")
        split = Path(where.split)
    elif is_dataset(content):
        beside = path.parent / "splits.json"
        split = beside if beside.is_file() else None
        where = DataConfig(str(path), str(split or ""))
    else:
        raise ConfigError(
            f"'{path}' is neither a training's configuration nor a dataset.json: it has neither "
            "'data' nor 'training' nor, as nnU-Net's, 'file_ending'."
        )
    data = open_dataset(
        Path(where.dataset), split, fold=where.fold, may_lack_training=True,
        may_skip_numbers=may_skip_numbers,
    )  # fmt: skip
    return where, data


def compare_by_number(info: ModelInfo, data: Decathlon, *, advice: str = "") -> None:
    """Check that model and data set number their structures alike; print pairs whose names differ.

    :param advice: what to do if they do not.
    :raises ConfigError: if one has more structures than the other, or both have the same names in
        another order: by number every structure would be compared with another one.
    """
    if data.num_classes != info.num_classes:
        raise ConfigError(
            f"The model has {info.num_classes} classes and the data set {data.num_classes}{advice}."
        )
    pairs = [(s.name, data.labels[s.value]) for s in info.structures]
    ours, theirs = ([name.casefold() for name in names] for names in zip(*pairs, strict=True))
    if ours != theirs and sorted(ours) == sorted(theirs):
        spelt = {name.casefold(): name for _, name in pairs}
        same = ",".join(f"{name}={spelt[name.casefold()]}" for name, _ in pairs)
        raise ConfigError(
            "Model and data set number the same structures in another order; score.py compares "
            f'them by name with --labels "{same}".'
        )
    if ours != theirs:
        said = ", ".join(f"{a} = {b}" for a, b in pairs)
        print(f"compared by number, the model's = the data set's: {said}")


def default_split(data: Decathlon) -> str:
    """The split that is scored by default: ``val``, or all cases if ``val`` holds none."""
    return "val" if data.splits["val"] else "all"


def cases_of(data: Decathlon, split: str) -> tuple[Case, ...]:
    """The cases of a split, or of every split (``all``).

    :raises ConfigError: if there are none.
    """
    if split == "all":
        chosen = tuple(case for part in data.splits.values() for case in part)
    else:
        chosen = data.splits[split]
    if not chosen:
        others = ", ".join(f"'{p}' holds {len(c)}" for p, c in data.splits.items() if c)
        raise ConfigError(f"The split '{split}' holds no cases; {others or 'nor does any other'}.")
    return chosen


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
    """The case with the model's values; labels that are not paired become 0."""
    table = np.zeros(256, np.uint8)
    table[list(pairs)] = list(pairs.values())
    drawn = case.drawn and replace(case.drawn, labels=table[case.drawn.labels])
    return replace(case, labels=table[case.labels], drawn=drawn)


def without_background(stages: Mapping[str, CaseScore]) -> dict[str, CaseScore]:
    """Drop the background's score: one side's background may be a structure of the other."""
    return {stage: score._replace(background_jaccard=nan) for stage, score in stages.items()}
