"""Compare a folder of predicted label maps with their references.

No case and no structure is left out: a missing one scores as missed (see
:mod:`MorseCore.metrics.scores`).
Arrays and spacings are in the order (K, J, I).
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from MorseCore.errors import DatasetError, GeometryError, MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.metrics.casetable import CaseScore, Unit, write_cases
from MorseCore.metrics.differences import (
    COMPARED,
    bootstrap_difference,
    by_subject,
    paired_comparison,
)
from MorseCore.metrics.evaluationtable import format_table
from MorseCore.metrics.pairing import CasePair, Pairing, pair_cases
from MorseCore.metrics.scores import Rule, overlap, score_labels, summarise
from MorseCore.system.files import prepare_output_directory, write_json

__all__ = ["evaluate_folder", "format_table", "summary_path"]

logger = logging.getLogger(__name__)

_LARGEST_LABEL = 65535

CaseScores = dict[str, CaseScore]
"""By stage."""


def evaluate_folder(
    prediction: Path,
    reference: Path,
    *,
    output: Path | None = None,
    labels: Mapping[int, str] | None = None,
    rule: Rule = "mm",
    subjects: Mapping[str, str] = MappingProxyType({}),
    only_predicted: bool = False,
    against: Path | None = None,
) -> dict[str, Any]:
    """Score every reference's prediction.

    :func:`~MorseCore.metrics.pairing.pair_cases` says what the folders hold.

    :param output: where to write the table of cases (``.csv``) and the summary (``.json``): a file
        name, of which the suffix is replaced, or an existing folder.
    :param labels: value -> name of the structures to score (0 is ignored); absent: every value that
        occurs in any reference.
    :param rule: unit of distances and what a missing structure counts, see `score_labels`.
    :param subjects: case -> subject; intervals are then over subjects, which are independent.
    :param only_predicted: leave out the cases without a prediction, instead of counting them as
        missed.
    :param against: another folder of predictions, to compare with case by case.
    :returns: the summary: what the JSON holds. Counts (``cases``, ``subjects``), ``missing``
        (cases by stage), ``left_out`` (values that are none of the structures), ``unpredicted``
        (cases that were left out), ``extra`` (predictions without reference), ``against``
        (see :func:`~MorseCore.metrics.differences.paired_comparison`), ``stages`` -> ``structures``
        and ``mean`` (see :class:`~MorseCore.metrics.scores.Summary`), and, with both stages,
        ``comparison`` (refined - coarse).
    :raises DatasetError: if the folders do not fit together, or a label map is not one.
    :raises GeometryError: if a prediction lies on another grid than its reference.
    :raises OutputError: if the output cannot be written.
    """
    pairing = pair_cases(prediction, reference)
    other = None if against is None else pair_cases(against, reference)
    pairing, other, unpredicted = _predicted(pairing, other, only=only_predicted)
    if subjects and not any(case.name in subjects for case in pairing.cases):
        raise DatasetError(
            f"The table of subjects names none of the cases; it has '{min(subjects)}' …, the "
            f"references are called '{pairing.cases[0].name}' …."
        )
    stem = _output_stem(output) if output is not None else None
    if pairing.extra:
        logger.warning("Not scored, since they have no reference: %s.", ", ".join(pairing.extra))
    found = _score_all(pairing, labels, rule)
    summary = _summary(found.scores, found.names, pairing.stages, subjects)
    summary |= {
        "rule": rule,
        "extra": list(pairing.extra),
        "left_out": found.left_out,
        "unpredicted": unpredicted,
        "missing": {
            stage: [case.name for case in pairing.cases if case.predictions[stage] is None]
            for stage in pairing.stages
        },
    }
    if other is not None:
        theirs = _score_all(other, found.names, rule)
        ours, rivals = (
            {name: case[part.stages[-1]] for name, case in scored.scores.items()}
            for scored, part in ((found, pairing), (theirs, other))
        )
        summary["against"] = paired_comparison(ours, rivals, found.names, subjects)
    if stem is not None:
        unit: Unit = "mm" if rule == "mm" else "voxels"
        write_cases(stem.with_name(stem.name + ".csv"), found.scores, found.names, unit=unit)
        write_json(stem.with_name(stem.name + ".json"), summary)
    return summary


@dataclass(frozen=True)
class _Scored:
    """A folder's scores."""

    scores: dict[str, CaseScores]
    names: Mapping[int, str]
    left_out: list[int]


def _predicted(
    pairing: Pairing, other: Pairing | None, *, only: bool
) -> tuple[Pairing, Pairing | None, list[str]]:
    """The pairings, without the cases that one of them lacks altogether, if so wished."""
    every = [part for part in (pairing, other) if part is not None]
    lacking = [
        case.name
        for part in every for case in part.cases if not any(case.predictions.values())
    ] if only else []  # fmt: skip
    left = [
        replace(part, cases=tuple(case for case in part.cases if case.name not in lacking))
        for part in every
    ]
    if not left[0].cases:
        raise DatasetError("No case is predicted in both folders.")
    return left[0], left[1] if len(left) > 1 else None, sorted(set(lacking))


def _score_all(pairing: Pairing, labels: Mapping[int, str] | None, rule: Rule) -> _Scored:
    wanted = None if labels is None else {v: name for v, name in labels.items() if v != 0}
    if wanted is not None and not wanted:
        raise DatasetError("No structure is named that could be scored; give at least one label.")
    strange: set[int] = set()
    scores = {case.name: _score_case(case, wanted, rule, strange) for case in pairing.cases}
    if strange:
        logger.warning(
            "The references hold values that are none of the structures: %s; they are not scored.",
            sorted(strange),
        )
    names = wanted or _labels_of_references(scores)
    complete = {name: _complete(case, names, rule) for name, case in scores.items()}
    return _Scored(complete, names, sorted(strange))


def summary_path(output: Path) -> Path:
    """The JSON file that ``output`` of :func:`evaluate_folder` means; the table lies beside it."""
    stem = output / "evaluation" if output.is_dir() else output
    if stem.suffix.lower() in (".csv", ".json"):
        stem = stem.with_suffix("")
    return stem.with_name(stem.name + ".json")


def _score_case(
    case: CasePair, labels: Mapping[int, str] | None, rule: Rule, strange: set[int]
) -> CaseScores:
    """Scores by stage of the wanted labels, or of those that occur.

    :param strange: gets the reference's values that are not wanted.
    """
    target, geometry = _read_labels(case.reference, case.name)
    if labels is not None:
        strange |= {*_values(target)} - {*labels}
    spacing = geometry.spacing[::-1]
    scores: CaseScores = {}
    for stage, path in case.predictions.items():
        if path is None:
            array, wanted = np.zeros_like(target), labels or _values(target)
            scores[stage] = _score(array, target, wanted, spacing, rule)
            continue
        array, grid = _read_labels(path, case.name)
        if not grid.is_close(geometry):
            raise GeometryError(
                f"The {stage} label map of case '{case.name}' lies on another grid than its "
                f"reference: {_describe(grid)}, not {_describe(geometry)}."
            )
        wanted = labels or sorted({*_values(target), *_values(array)})
        scores[stage] = _score(array, target, wanted, spacing, rule)
    return scores


def _score(
    array: np.ndarray,
    target: np.ndarray,
    labels: Iterable[int],
    spacing: Sequence[float],
    rule: Rule,
) -> CaseScore:
    background = overlap(array == 0, target == 0)[1]
    return CaseScore(score_labels(array, target, labels, spacing, rule=rule), background)


def _read_labels(path: Path, case: str) -> tuple[np.ndarray, Geometry]:
    """(K, J, I) int32 and its grid."""
    try:
        volume: Volume = read_volume(path)
    except MorseError as error:
        raise type(error)(f"Case '{case}': {error}") from error
    array = volume.array
    whole = np.issubdtype(array.dtype, np.integer) or np.array_equal(array, np.rint(array))
    if not (whole and array.min() >= 0 and array.max() <= _LARGEST_LABEL):  # NaN is not whole
        raise DatasetError(
            f"Case '{case}': {path.name} is not a label map; whole numbers from 0 to "
            f"{_LARGEST_LABEL} are expected, values from {array.min():g} to {array.max():g} found."
        )
    return array.astype(np.int32), volume.geometry


def _values(array: np.ndarray) -> list[int]:
    """Labels that occur, without background."""
    return [int(value) for value in np.flatnonzero(np.bincount(array.ravel())) if value]


def _describe(grid: Geometry) -> str:
    spacing = " x ".join(f"{s:.4g}" for s in grid.spacing)
    origin = ", ".join(f"{x:.4g}" for x in grid.origin)
    return f"{' x '.join(map(str, grid.shape[::-1]))} voxels of {spacing} mm from ({origin})"


def _labels_of_references(scores: Mapping[str, CaseScores]) -> dict[int, str]:
    """Value -> value as text, for those that a reference holds; the others are warned about."""
    entries = [
        (label, score.target_voxels)
        for case in scores.values()
        for stage in case.values()
        for label, score in stage.structures.items()
    ]
    known = {label for label, voxels in entries if voxels}
    foreign = {label for label, _ in entries} - known
    if foreign:
        logger.warning("The predictions hold values that no reference has: %s.", sorted(foreign))
    if not known:
        raise DatasetError("Every reference is empty; there is nothing to compare with.")
    return {label: str(label) for label in sorted(known)}


def _complete(case: CaseScores, names: Mapping[int, str], rule: Rule) -> CaseScores:
    """Exactly the wanted labels; one that occurs in neither map scores what the rule says."""
    empty = np.zeros((1, 1, 1), bool)
    (absent,) = score_labels(empty, empty, [1], (1.0, 1.0, 1.0), rule=rule).values()
    return {
        stage: score._replace(
            structures={label: score.structures.get(label, absent) for label in names}
        )
        for stage, score in case.items()
    }


def _summary(
    scores: Mapping[str, CaseScores],
    names: Mapping[int, str],
    stages: Sequence[str],
    subjects: Mapping[str, str],
) -> dict[str, Any]:
    count = len({subjects.get(name, name) for name in scores})
    summary: dict[str, Any] = {"cases": len(scores), "subjects": count, "stages": {}}
    means: dict[str, dict[str, list[float]]] = {}
    for stage in stages:
        cases = [case[stage].structures for case in scores.values()]
        result = summarise(
            cases, background=[case[stage].background_jaccard for case in scores.values()]
        )
        summary["stages"][stage] = {
            "structures": {
                str(label): {"name": names[label], **asdict(part)}
                for label, part in result.structures.items()
            },
            "mean": asdict(result.mean),
            "miou": asdict(result.miou) if result.miou else None,
        }
        means[stage] = {
            metric: [*by_subject(dict(zip(scores, cases, strict=True)), metric, subjects).values()]
            for metric in COMPARED
        }
    if "coarse" in means and "refined" in means:
        summary["comparison"] = {
            metric: bootstrap_difference(means["coarse"][metric], means["refined"][metric])
            for metric in COMPARED
        }
    return summary


def _output_stem(output: Path) -> Path:
    """Path without suffix; its folder exists and can be written to before the work begins."""
    path = summary_path(output)
    prepare_output_directory(path.parent)
    return path.with_name(path.name.removesuffix(".json"))
