"""Measure how good and spoilt results differ, and fit a model's verdict to that.

At the end of a training, in the minutes that its configuration allows, and by
``Training/verdict.py`` at leisure.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore.config import decode, encode
from MorseCore.errors import ConfigError, DatasetError, MorseError, OutputError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.preparation import prepare_scan
from MorseCore.inference.checking import thresholds_of
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.metrics.subjects import subjects_of
from MorseCore.quality.fitting import add_volumes, fit_thresholds, named_volumes, runs_of
from MorseCore.quality.rates import figures_of, format_figures
from MorseCore.quality.spoiling import KINDS, STRENGTHS, Spoilt, spoil, vary
from MorseCore.quality.thresholds import VerdictInfo
from MorseCore.store.model_folder import CARD, FORMAT, INFO, ModelInfo, read_card, read_model
from MorseCore.system.acceptance import NOTHING, Acceptance
from MorseCore.system.files import replaced_together, write_json, write_text
from MorseCore.system.seeds import generator_for, seed_for
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import Case, open_dataset, read_case
from MorseCore.training.generated.images import ImageGenerator
from MorseCore.training.generated.label_maps import find_label_maps, read_label_map, table_for
from MorseCore.training.validation import DataFacts

__all__ = [
    "LEAST_SUBJECTS",
    "GeneratedCases",
    "ReadCases",
    "first_of_each",
    "fit_after_training",
    "fit_verdict",
    "is_generated",
    "kinds_for",
    "measure_runs",
    "plan_within",
]

LEAST_SUBJECTS = 4
"""Of the validation split: of fewer nobody can say what is usual of a further one."""

_OVERRULED = ("nothing-found", "spacing", "label-map", "flat-image", "missing-values")
_PER_MAP = 3  # images of each label map that are good
_VARIED = 2  # copies of each good image that are as good
_DRAWN = 40  # deformed maps whose volumes count
_HEADING = "## When not to trust it\n"
_WORTH = 0.3  # mean DSC: results that are worse are no example of good ones
_SPOILT = 11.5  # times what the good runs of a case take; some headers make the grid larger
log = logging.getLogger(__name__)


def is_generated(info: ModelInfo) -> bool:
    """Whether a model learned from label maps alone."""
    data = (info.training.get("config") or {}).get("data") or {}
    return data.get("source") == "generated"


def kinds_for(info: ModelInfo) -> tuple[str, ...]:
    """What its images are spoilt by: a model of any contrast knows others."""
    data = (info.training.get("config") or {}).get("data") or {}
    knows_any = is_generated(info) or data.get("generated_share")
    return tuple(kind for kind in KINDS if kind != "contrast" or not knows_any)


def measure_runs(
    predictor: VolumePredictor, image: Volume, labels: np.ndarray, *, name: str, spoilt: bool
) -> list[dict[str, Any]]:
    """A row for the image as it is, for copies as good, and for spoilt ones: signals, and truth.

    :param labels: (K, J, I), of the image.
    :param name: of the case, on which the copies depend.
    :param spoilt: make the copies, too.
    """
    good = Spoilt(image, labels, np.bincount(labels.ravel()).astype(float))
    copies = [good] if not labels.any() else [
        good, *(vary(image, labels, seed=seed_for("vary", name, n)) for n in range(_VARIED))
    ]  # fmt: skip
    rows = [
        {"kind": "", "strength": n, **_run(predictor, copy, is_copy=n > 0)}
        for n, copy in enumerate(copies)
    ]
    for kind in kinds_for(predictor.info) if spoilt else ():
        for strength in STRENGTHS:
            copy = spoil(kind, strength, image, labels, seed=seed_for("spoil", name))
            rows.append({"kind": kind, "strength": strength, **_run(predictor, copy, is_copy=True)})
    return rows


def _run(predictor: VolumePredictor, copy: Spoilt, *, is_copy: bool) -> dict[str, Any]:
    """What is measured of one run; a refusal is one sentence."""
    # The limit of what ``full`` measures comes from good runs: copies need not pay for it.
    options = PredictOptions(verdict="fast" if is_copy else "full", accept=_OVERRULED)
    try:
        result = predictor.segment(copy.image, options)
        entropy = _entropy(predictor, copy.image)
    except MorseError as error:
        return {"refused": str(error)}
    verdict = result.report["verdict"]
    rules = [row for row in verdict["reasons"] if row["range"] == [None, None]]
    return {
        "signals": verdict["signals"],
        "rules": max((row["severity"] for row in rules), default=0.0),
        "quality": round(_quality(result.refined, copy), 4),
        **entropy,
    }


def _quality(mask: np.ndarray, copy: Spoilt) -> float:
    """Mean Dice over what is there; what is lost is missed, what is scaled overlaps less.

    Where nothing is there, an empty mask is right.
    """
    there = np.flatnonzero(copy.voxels[1:]) + 1
    if not len(there):
        return float(not mask.any())
    both = np.bincount(mask[mask == copy.labels].ravel(), minlength=len(copy.voxels))
    found = np.bincount(mask.ravel(), minlength=len(copy.voxels))
    dice = 2 * both[there] / (found[there] + copy.voxels[there])
    factor = copy.volume_factor
    return float(dice.mean()) * 2 * min(1.0, factor) / (1 + factor)


def _entropy(predictor: VolumePredictor, image: Volume) -> dict[str, float]:
    """The mean entropy that others rank by: over all voxels, and over the mask."""
    info = predictor.info
    passes = 0 if hasattr(info.renderer, "passes") else None
    settings = PredictOptions(passes=passes).window_settings(info)
    array = torch.from_numpy(np.ascontiguousarray(prepare_scan(image, info.preparation)[0]))
    coarse = predict_volume(predictor.network, array, settings).coarse
    each = -(coarse * coarse.clamp_min(1e-12).log()).sum(0)
    inside = coarse.argmax(0) > 0
    whole = float(each.mean())
    return {
        "entropy": round(whole, 6),
        "entropy_inside": round(float(each[inside].mean()) if inside.any() else 9.0, 6),
    }


class ReadCases:
    """Cases of a data set with labels.

    :param accepted: refusals to overrule.
    :raises ConfigError: for a model of several channels, whose copies would not fit together.
    """

    def __init__(self, info: ModelInfo, accepted: Acceptance = NOTHING) -> None:
        if info.channels:
            raise ConfigError(
                f"'{info.name}' sees {len(info.channels)} images of a case, and scans are spoilt "
                "one at a time: its verdict has the volumes of its training alone."
            )
        self._info, self._accepted = info, accepted

    def read(self, case: Case) -> tuple[Volume, np.ndarray]:
        """Image and labels (K, J, I). :raises DatasetError: if they cannot be read."""
        image, label = read_case(case, num_classes=self._info.num_classes, accepted=self._accepted)
        return image, label.array.astype(np.uint8)

    def volumes(self, cases: Sequence[Case]) -> dict[int, list[float]]:
        """ml of each structure, and of all (0), in the cases that have it."""
        found: dict[int, list[float]] = {}
        for case in cases:
            image, labels = self.read(case)
            add_volumes(found, labels, image.geometry.voxel_volume / 1000)
        return found


class GeneratedCases:
    """Images that are drawn from label maps, as in the model's training.

    :param folder: of the label maps. :param split: which of them were set aside.
    :raises ConfigError: if the model's training drew none.
    """

    def __init__(self, info: ModelInfo, folder: Path, split: Path | None) -> None:
        if not is_generated(info):
            raise ConfigError(f"'{info.name}' was trained on scans: give a dataset.json.")
        config = decode(RunConfig, info.training["config"], "")
        files = find_label_maps(folder, split, fold=config.data.fold)
        self._info, self._files = info, files.val
        self._table = table_for(files, config.generation, pairs=config.augmentation.mirror_pairs)
        self._draw = ImageGenerator(self._table, config.preparation, config.generation)

    def cases(self) -> list[Case]:
        """Some images of each map that was set aside; their names begin with the map's."""
        return [
            Case(f"{name}_{n}", path, path)
            for n in range(_PER_MAP)
            for name, path in self._files.items()
        ]

    def read(self, case: Case) -> tuple[Volume, np.ndarray]:
        """An image that depends on the case's name, and its labels (K, J, I)."""
        label_map = read_label_map(case.name, case.image, self._table)
        made = self._draw(label_map, generator_for("verdict", case.name))
        spacing = self._draw.spacing[::-1]
        k, j, i = made.image.shape
        geometry = Geometry((k, j, i), np.diag([*spacing, 1.0]))
        return Volume(made.image.numpy(), geometry, case.name), made.labels.numpy()

    def volumes(self, cases: Sequence[Case]) -> dict[int, list[float]]:
        """ml of each structure, and of all (0), in deformed maps: more than the few there are."""
        found: dict[int, list[float]] = {}
        for n in range(_DRAWN):
            case = cases[n % len(cases)]
            image, labels = self.read(replace(case, name=f"{case.name}_volume_{n}"))
            add_volumes(found, labels, image.geometry.voxel_volume / 1000)
        return found


def first_of_each(cases: Sequence[Case], subjects: Mapping[str, str]) -> list[Case]:
    """The first case of each subject."""
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(subjects.get(case.name, case.name), case)
    return list(first.values())


def fit_verdict(
    folder: Path, found: Mapping[str, Mapping[str, Any]], volumes: Mapping[int, Sequence[float]]
) -> str:
    """Fit a model's limits and write them into ``model.json`` and their table into the card.

    :param found: case -> ``subject`` and ``runs``, the rows of :func:`measure_runs`.
    :param volumes: ml of each structure, and of all (0), in label maps.
    :return: the table, Markdown.
    :raises OutputError: if the model folder cannot be written.
    """
    info = read_model(folder)
    runs, named = runs_of(found), named_volumes(volumes, info.structures)
    figures = figures_of(runs, named, fixed=thresholds_of(replace(info, verdict=None)))
    is_drawn = is_generated(info)
    origin = (
        f"Fitted on {len(found)} {'generated images' if is_drawn else 'cases'} of "
        f"{figures['subjects']} {'label maps' if is_drawn else 'subjects'} that the training did "
        f"not see; volumes of {max(map(len, named.values()))} "
        f"{'deformed label maps' if is_drawn else 'label maps'}."
    )
    table = format_figures(figures)
    limits = fit_thresholds(runs, named, origin=origin)
    _store(folder, replace(limits, figures=figures), f"{origin}\n\n{table}")
    return table


def fit_after_training(folder: Path, config: RunConfig, facts: DataFacts, *, device: str) -> None:
    """Fit a new model's limits on its validation split, as far as the configuration gives time.

    Where that cannot be, the limits of volumes stay, and the card says why in a sentence.

    :raises OutputError: if the model folder cannot be written.
    """
    info = read_model(folder)
    try:
        _check_worth(config, facts)
        _fit_in_time(folder, config, facts, device=device)
    except OutputError:
        raise
    except MorseError as error:  # it costs no training that everything else is written
        kept = "Only volumes have limits, those of the training's label maps"
        sentence = f"{kept if info.verdict else 'Nothing has limits'}: {str(error).rstrip('.')}."
        log.info("verdict: %s", sentence)
        _store(folder, info.verdict and replace(info.verdict, origin=sentence), sentence)


def _check_worth(config: RunConfig, facts: DataFacts) -> None:
    """:raises DatasetError: if nothing is to be fitted, by what is known before."""
    if config.validation.verdict_minutes == 0:
        raise DatasetError("'validation.verdict_minutes' is 0")
    if facts.is_generated:
        raise DatasetError("of generated images 'Training/verdict.py' fits the rest")
    count = facts.splits["val"]
    if count < LEAST_SUBJECTS:
        raise DatasetError(
            f"the validation split has {count} cases, and {LEAST_SUBJECTS} are the least"
        )
    dice = facts.figures["validation"]["refined"]["mean"]["dice"]
    if not dice >= _WORTH:
        raise DatasetError(
            f"its masks are too poor (mean DSC {dice:.2f}) to say what good ones are like"
        )


def _fit_in_time(folder: Path, config: RunConfig, facts: DataFacts, *, device: str) -> None:
    """Measure what there is time for, and fit. :raises MorseError: if that cannot be."""
    where = config.data
    cases = open_dataset(Path(where.dataset), Path(where.split), fold=where.fold).splits["val"]
    subjects = subjects_of(Path(where.dataset))
    firsts = first_of_each(cases, subjects)
    if len(firsts) < LEAST_SUBJECTS:
        raise DatasetError(
            f"the validation split has {len(firsts)} subjects, and {LEAST_SUBJECTS} are the least"
        )
    predictor = VolumePredictor(folder, device=device)
    predictor.info = replace(predictor.info, verdict=None)
    source = ReadCases(predictor.info, config.acceptance())

    def measure(case: Case, *, spoilt: bool) -> dict[str, Any]:
        image, labels = source.read(case)
        with _without_warnings():
            rows = measure_runs(predictor, image, labels, name=case.name, spoilt=spoilt)
        return {"subject": subjects.get(case.name, case.name), "runs": rows}

    began, minutes = time.monotonic(), config.validation.verdict_minutes
    ordered = [*firsts, *(case for case in cases if case not in firsts)]
    found = _measure_in_time(measure, ordered, subjects=len(firsts), minutes=minutes)
    good = {case["subject"] for case in found.values() if "refused" not in case["runs"][0]}
    if len(good) < LEAST_SUBJECTS:
        raise DatasetError(f"the images of all but {len(good)} subjects were refused")
    fit_verdict(folder, found, facts.volumes)
    took = (time.monotonic() - began) / 60
    log.info("verdict: fitted in %.1f minutes; see %s", took, folder / CARD)


def _measure_in_time(
    measure: Callable[..., dict[str, Any]],
    cases: Sequence[Case],
    *,
    subjects: int,
    minutes: float,
) -> dict[str, dict[str, Any]]:
    """Case -> what is measured of it; how many there are, the first one's time decides.

    :param cases: one of each subject first.
    :raises DatasetError: if there is too little time.
    """
    began, limit = time.monotonic(), 60 * minutes
    found = {cases[0].name: measure(cases[0], spoilt=False)}
    once = time.monotonic() - began
    count, spoilt = plan_within(limit, once, len(cases), subjects)
    if not spoilt:
        raise DatasetError(
            f"the good copies of one case took {once:.0f} s, so that "
            f"{(LEAST_SUBJECTS + _SPOILT) * once / 60:.1f} minutes are the least, and "
            f"'validation.verdict_minutes' is {minutes:g}"
        )
    log.info(
        "verdict: %d cases, %d of them spoilt on purpose as well; about %.1f minutes",
        count, spoilt, (count + _SPOILT * spoilt) * once / 60,
    )  # fmt: skip
    last = cases[1 : 1 + spoilt]
    for case in [*cases[1 + spoilt : count], *last]:
        in_time = time.monotonic() - began < limit
        found[case.name] = measure(case, spoilt=case in last and in_time)
    return found


@contextmanager
def _without_warnings() -> Iterator[None]:
    """What is odd of a spoilt copy need not be told."""
    teller = logging.getLogger("MorseCore.inference")
    before = teller.level
    teller.setLevel(logging.ERROR)
    try:
        yield
    finally:
        teller.setLevel(before)


def plan_within(seconds: float, once: float, cases: int, subjects: int) -> tuple[int, int]:
    """How many cases are measured, and of how many of them spoilt copies, too.

    Good runs take a quarter of the time, where that is enough. None are spoilt: there is too little
    time.

    :param seconds: that there are. :param once: seconds that the good runs of a case take.
    :param cases: one of each subject first.
    """
    count = min(cases, max(LEAST_SUBJECTS, int(seconds / 4 / once)))
    return count, min(min(count, subjects) - 1, max(0, int((seconds / once - count) / _SPOILT)))


def _store(folder: Path, block: VerdictInfo | None, section: str) -> None:
    """Put limits into ``model.json`` and a section into the card; the weights stay.

    :raises OutputError: if it cannot be written.
    """
    info, card = read_model(folder), read_card(folder)
    before, _, after = card.partition(_HEADING)
    _, mark, rest = after.partition("\n## ")
    with replaced_together(folder, last=INFO) as staged:
        write_text(staged / CARD, f"{before.rstrip()}\n\n{_HEADING}\n{section}\n{mark}{rest}")
        changed = info if block is None else replace(info, verdict=block, format=FORMAT)
        write_json(staged / INFO, encode(changed))
    read_model(folder)
