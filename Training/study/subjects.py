"""Which cases are of one subject, and how many subjects a training learns from."""

import csv
import logging
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import torch

from MorseCore.errors import DatasetError
from MorseCore.learning.dataset import Decathlon
from MorseCore.learning.training_config import RunConfig
from MorseCore.scoring.casetable import CaseScore
from MorseCore.seeds import generator_for

__all__ = ["subjects_of", "values_by_subject", "with_share"]

log = logging.getLogger(__name__)


def subjects_of(dataset: Path) -> dict[str, str]:
    """Case -> subject by ``cases.csv`` beside ``dataset.json``; empty if it does not say.

    Two cases of one subject are no two independent observations. A case whose subject is left
    empty is not in it.

    :raises DatasetError: if the file is no table with a column ``case``.
    """
    path = dataset.parent / "cases.csv"
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:  # Excel begins with a mark
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"'{path}' cannot be read as a table: {error}.") from None
    key = next((k for k in ("subject", "patient") if rows and k in rows[0]), None)
    if key and "case" not in rows[0]:
        raise DatasetError(f"'{path}' names subjects, but has no column 'case'.")
    return {row["case"]: row[key] for row in rows if row[key]} if key else {}


def values_by_subject(
    cases: Mapping[str, Mapping[str, CaseScore]],
    subjects: Mapping[str, str],
    *,
    stage: str,
    measure: str,
) -> dict[str, float]:
    """Subject -> mean over structures, then over the subject's cases.

    :param cases: by name, then by stage.
    """
    grouped: dict[str, list[float]] = {}
    for name in sorted(cases):
        structures = cases[name][stage].structures.values()
        mean = float(np.mean([getattr(score, measure) for score in structures]))
        grouped.setdefault(subjects.get(name, name), []).append(mean)
    return {subject: float(np.mean(values)) for subject, values in grouped.items()}


def with_share(data: Decathlon, subjects: Mapping[str, str], config: RunConfig) -> Decathlon:
    """The data set with ``data.share`` of its training subjects (rounded up), all their cases.

    One seed puts the subjects in one order, of which each share is the beginning: what 25 % hold,
    50 % hold too. Validation and test stay whole. A case whose subject is not known is one of its
    own.
    """
    share = config.data.share
    if share == 1:
        return data
    train = data.splits["train"]
    names = sorted({subjects.get(case.name, case.name) for case in train})
    order = torch.randperm(len(names), generator=generator_for(config.seed, "share")).tolist()
    count = ceil(share * len(names) - 1e-9)  # 0.1 * 30 is a little more than 3
    chosen = {names[n] for n in order[:count]}
    kept = tuple(case for case in train if subjects.get(case.name, case.name) in chosen)
    log.info("train: %d of %d subjects", count, len(names))
    return replace(data, splits={**data.splits, "train": kept})
