"""Which cases are of one subject, and how many subjects a training learns from."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import torch

from MorseCore.metrics.casetable import CaseScore
from MorseCore.metrics.subjects import mean_by_subject, read_subjects
from MorseCore.system.seeds import generator_for
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import Decathlon

__all__ = ["subjects_of", "values_by_subject", "with_share"]

log = logging.getLogger(__name__)


def subjects_of(dataset: Path) -> dict[str, str]:
    """Case -> subject by ``cases.csv`` beside ``dataset.json``; empty if it does not say.

    Two cases of one subject are no two independent observations. A case whose subject is left
    empty is not in it.

    :raises DatasetError: if the file is no table with a column ``case``.
    """
    path = dataset.parent / "cases.csv"
    return read_subjects(path) if path.is_file() else {}


def values_by_subject(
    cases: Mapping[str, Mapping[str, CaseScore]],
    subjects: Mapping[str, str],
    *,
    stage: str,
    measure: str,
) -> dict[str, float]:
    """Subject -> mean over structures, then over the subject's cases.

    :param cases: by name, then by stage.
    :param measure: of a structure's score, or ``miou``: Jaccard, background included.
    """
    values = {name: value_of(stages[stage], measure) for name, stages in cases.items()}
    return mean_by_subject(values, subjects)


def value_of(case: CaseScore, measure: str) -> float:
    """Mean over the structures of a case; see :func:`values_by_subject`."""
    is_miou = measure == "miou"
    name = "jaccard" if is_miou else measure
    values = [getattr(score, name) for score in case.structures.values()]
    return float(np.mean([case.background_jaccard, *values] if is_miou else values))


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
