"""Score a model folder on a split of a data set, both masks of each case, by the trainer's path.

    python Training/score.py MorseCore/models/hippocampus-t1 Training/configs/hippocampus-t1.json
    python Training/score.py MODEL CONFIG renderer.coarse_stride=1 --split test --output scores
    python Training/score.py MODEL mine/dataset.json --split all --labels "Liver=liver,Spleen=milt"

The data set is that of a training's configuration, or a ``dataset.json`` (Decathlon layout) of
yours with a ``splits.json`` beside it; without one all its cases are of the split ``test``. The
model has its own preparation, renderer and windows, of which ``renderer.*`` and ``windows.*`` may
be changed. The script prints means over structures with 95 % intervals (bootstrap over subjects)
and the paired difference refined - coarse. ``--output`` writes every case's scores as soon as they
are there, and a picture of them; after an interruption, run it again and it continues.
``--against FILE.csv`` adds the paired difference from scores that were written before. ``--labels``
scores the named structures only, on a data set that numbers or names them differently.
``--generated N`` scores N images instead that are generated from the split's label maps, each in a
contrast of its own: what a model makes of scanners that the scans do not show.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

from tqdm import tqdm

from MorseCore.config import apply_overrides, decode, encode
from MorseCore.errors import ConfigError, MorseError
from MorseCore.metrics.casetable import CaseScore, read_cases, write_cases
from MorseCore.metrics.subjects import subjects_of
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import ModelInfo, load_network, read_model
from MorseCore.system.devices import resolve_device
from MorseCore.system.files import prepare_output_directory
from MorseCore.training.curves import try_drawing
from MorseCore.training.dataset import Case, Decathlon, prepare_case
from MorseCore.training.distributed import World
from MorseCore.training.generated.config import GenerationConfig
from MorseCore.training.generated.images import ImageGenerator
from MorseCore.training.generated.label_maps import MapFiles, read_label_map, table_for
from MorseCore.training.generated.validation import GeneratedValidation
from MorseCore.training.validation import STAGES, Validator, summarise_cases
from Training.research.shared.commandline import add_model_and_data, command_line, exit_code
from Training.research.shared.data import (
    PARTS,
    cases_of,
    compare_by_number,
    default_split,
    open_data,
    pair_labels,
    paired,
    without_background,
)
from Training.research.shared.identity import check_model_identity, read_scores
from Training.research.shared.output import draw_scores
from Training.research.shared.scores import Cases, Interval, all_by_subject

SEED = 1  # of generated images: all models see the same
AS_DRAWN = {"rotation": 0, "scaling": 0, "shear": 0, "translation": [0, 0, 0], "deformation": [],
            "mirror": 0, "cut": 0}  # fmt: skip
MEASURES = (("dice", "DSC", 4), ("jaccard", "Jaccard", 4), ("hd95", "HD95 mm", 3),
            ("asd", "ASD mm", 4))  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: scored; 1: failed; 2: wrong usage."""
    options = parser().parse_intermixed_args(arguments)
    return exit_code(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Score, write and print; 1 if a case could not be scored, else 0."""
    options.model = find_model(options.model)
    where, data = open_data(options.config, may_skip_numbers=options.labels is not None)
    options.split = options.split or default_split(data)
    info = changed(read_model(options.model), options.overrides)
    pairs = None if options.labels is None else pair_labels(options.labels, info, data)
    chosen = choose_cases(info, data, options.split, pairs=pairs)
    if options.generated:
        return report_generated(options, info, data, chosen)
    # Hours of scoring later is too late to find that these cannot be read or written.
    subjects = subjects_of(Path(where.dataset))
    before = None
    if options.against:
        count = len(pairs) if pairs else data.num_classes - 1
        before = read_before(options.against, chosen, structures=count)
    names = data.labels if pairs is None else {s.value: s.name for s in info.structures}
    table = scores_file(options, info, chosen) if options.output else None
    cases, failures = score(
        options.model, info, data, chosen, pairs=pairs, device=options.device,
        done=read_scores(table) if table else {},
        keep=partial(write_cases, table, names=names) if table else None,
    )  # fmt: skip
    if cases:
        report(cases, subjects, options, names, name=info.name, before=before)
    for failure in failures:
        print(f"error: not scored: {failure}", file=sys.stderr)
    if table and cases:
        picture = table.with_suffix(".png")
        is_drawn = try_drawing(lambda: draw_scores(cases, names, picture))
        print(f"written: {table}" + (f", {picture.name}" if is_drawn else ""))
    return 1 if failures else 0


def scores_file(options: argparse.Namespace, info: ModelInfo, cases: Sequence[Case]) -> Path:
    """The file for the scores of a split; if it is there already, it is of this model and data.

    :raises ConfigError: if it is of others, or does not say of which.
    """
    table = prepare_output_directory(options.output) / f"scores-{options.split}.csv"
    settings = table.with_suffix(".json")
    if table.is_file() and not settings.is_file():
        raise ConfigError(
            f"'{table}' does not say which model it is of; choose another --output, or delete it."
        )
    check_model_identity(
        settings, info, cases, labels=options.labels, done=read_scores(table),
        found=f"scores of another model or data in '{table.name}'",
    )  # fmt: skip
    return table


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    add_model_and_data(result)
    result.add_argument("overrides", nargs="*", metavar="key=value")
    result.add_argument(
        "--split", choices=PARTS, help="default: val, or all where there are no such cases"
    )
    result.add_argument(
        "--labels",
        metavar="STRUCTURE=LABEL,…",
        help="the model's name = the data set's; only these",
    )
    result.add_argument("--device", default="auto")
    result.add_argument("--output", type=Path, metavar="DIR")
    result.add_argument("--against", type=Path, metavar="FILE.csv")
    result.add_argument(
        "--generated", type=int, default=0, metavar="N",
        help="score N images generated from the split's label maps in contrasts of their own",
    )  # fmt: skip
    return result


def report_generated(
    options: argparse.Namespace, info: ModelInfo, data: Decathlon, chosen: Sequence[Case]
) -> int:
    """Print the DSC on generated images whose structures lie as they were drawn; 0.

    :raises ConfigError: if there are to be none, or the model has other structures.
    """
    if options.generated < 1 or options.labels:
        raise ConfigError("'--generated' takes a number above 0, and no '--labels' beside it.")
    network = load_network(options.model, info, device=resolve_device(options.device))
    generation = GenerationConfig(ranges=AS_DRAWN)
    files = MapFiles({case.name: case.label for case in chosen}, {},
                     {name: value for value, name in data.labels.items() if value})  # fmt: skip
    table = table_for(files, generation)
    maps = [read_label_map(name, path, table) for name, path in files.train.items()]
    validation = GeneratedValidation(
        maps, ImageGenerator(table, info.preparation, generation), count=options.generated,
        seed=SEED, renderer=info.renderer.build(), precision="auto",
    )  # fmt: skip
    found = validation.measure(network, world=World(0, 1, resolve_device(options.device)))
    print(f"{info.name}, {options.split}: {options.generated} images generated from {len(maps)} "
          "label maps")  # fmt: skip
    for stage, means in found.means.items():
        print(f"{stage:8} DSC {means['dice']:.4f}, missed {found.missed[stage]}")
    print(", ".join(f"{name} {dice:.4f}" for name, dice in found.structures.items()))
    return 0


def changed(info: ModelInfo, overrides: Sequence[str]) -> ModelInfo:
    """The model with another renderer or other windows.

    :raises ConfigError: for any other key.
    """
    for override in overrides:
        if override.split(".")[0] not in ("renderer", "windows"):
            raise ConfigError(f"Only renderer.* and windows.* can be changed; found '{override}'.")
    return decode(ModelInfo, apply_overrides(encode(info), overrides), "")


def choose_cases(
    info: ModelInfo, data: Decathlon, split: str, *, pairs: Mapping[int, int] | None
) -> tuple[Case, ...]:
    """The cases to score.

    :raises ConfigError: if the data set has other classes than the model, or an empty split.
    """
    if pairs is None:
        compare_by_number(info, data, advice="; name those that both have with --labels")
    return cases_of(data, split)


def read_before(path: Path, chosen: Sequence[Case], *, structures: int) -> Cases:
    """Scores that were written before, of the same cases and as many structures.

    Which number each structure has may differ between two models.

    :raises ConfigError: if they are of other cases or structures.
    """
    cases = read_cases(path)
    found = {name: len(stages["refined"].structures) for name, stages in cases.items()
             if "refined" in stages}  # fmt: skip
    wanted = {case.name: structures for case in chosen}
    if not found or any(wanted.get(name) != count for name, count in found.items()):
        raise ConfigError(f"'{path}' holds other cases or structures.")
    return cases


def score(
    folder: Path,
    info: ModelInfo,
    data: Decathlon,
    chosen: Sequence[Case],
    *,
    pairs: Mapping[int, int] | None,
    device: str,
    done: Cases = MappingProxyType({}),
    keep: Callable[[Cases], None] | None = None,
) -> tuple[dict[str, dict[str, CaseScore]], list[str]]:
    """Scores by case and stage, and why a case has none: the others are not to be lost with it.

    :param pairs: the data set's label -> the model's value: only these are scored. None: all, by
        their number.
    :param done: of cases that were scored before.
    :param keep: called after each case with all that are done.
    """
    network = load_network(folder, info, device=resolve_device(device))
    validator = Validator(
        info.preparation.window_size, info.renderer.build(), info.windows,
        [value for value in data.labels if value] if pairs is None else list(pairs.values()),
        temperature=info.temperature,
    )  # fmt: skip
    result: dict[str, dict[str, CaseScore]] = {}
    failures: list[str] = []
    for case in tqdm(chosen, unit="case"):
        if case.name in done:
            result[case.name] = dict(done[case.name])
            continue
        try:
            prepared = prepare_case(case, info.preparation, num_classes=data.num_classes)
        except MorseError as error:
            text = str(error)
            failures.append(text if case.name in text else f"Case '{case.name}': {text}")
            continue
        scores = validator.scores(network, [prepared if pairs is None else paired(prepared, pairs)])
        stages = {stage: scores[stage][0] for stage in STAGES}
        result[case.name] = stages if pairs is None else without_background(stages)
        if keep is not None:
            keep(result)
    return result, failures


def report(
    cases: Cases,
    subjects: Mapping[str, str],
    options: argparse.Namespace,
    names: Mapping[int, str],
    *,
    name: str,
    before: Cases | None,
) -> None:
    """Print the table.

    :param names: of the structures. :param name: the model's.
    :param before: what ``--against`` holds.
    """
    pairs = {stage: by_subject(cases, stage, subjects) for stage in STAGES}
    count = len(pairs["refined"]["dice"])
    named = f", {options.labels}" if options.labels else ""
    print(f"{name}, {options.split}{named}: {len(cases)} cases of {count} subjects")
    for stage in STAGES:
        print(f"{stage:8} " + ", ".join(interval(pairs[stage], m) for m in MEASURES))
    for stage in STAGES:  # the means that a model's card gives
        mean = summarise_cases([stages[stage] for stages in cases.values()]).mean
        print(f"{stage:8} over cases: " + ", ".join(
            f"{title} {getattr(mean, key).mean:.{digits}f}" for key, title, digits in MEASURES
        ))  # fmt: skip
    print_structures(cases, names)
    print("refined - coarse: " + differences(pairs["coarse"], pairs["refined"]))
    if before is not None:
        shared = [case for case in cases if case in before]
        other, mine = (
            by_subject({n: side[n] for n in shared}, "refined", subjects)
            for side in (before, cases)
        )
        few = "" if len(shared) == len(cases) else f" ({len(shared)} cases)"
        print(f"refined - {options.against}{few}: " + differences(other, mine))


def print_structures(cases: Cases, names: Mapping[int, str]) -> None:
    """The rows of a model's card: means over cases, and how many are missed or spurious."""
    for stage in STAGES:
        summary = summarise_cases([stages[stage] for stages in cases.values()])
        for value, part in summary.structures.items():
            means = ", ".join(
                f"{title} {getattr(part, key).mean:.{digits}f}" for key, title, digits in MEASURES
            )
            print(
                f"{stage:8} {names[value]}: {means}, missed {part.n_missed}, "
                f"spurious {part.n_spurious} of {len(cases)}"
            )


def by_subject(cases: Cases, stage: str, subjects: Mapping[str, str]) -> dict[str, list[float]]:
    """Measure -> one value a subject: mean over structures, then over the subject's cases."""
    names = [name for name, *_ in MEASURES]
    found = all_by_subject(cases, subjects, stage=stage, measures=names)
    return {name: list(values.values()) for name, values in found.items()}


def interval(values: Mapping[str, list[float]], measure: tuple[str, str, int]) -> str:
    """``DSC 0.8895 [0.88, 0.90]``."""
    name, title, digits = measure
    found = Interval.of(values[name])
    if len(values[name]) == 1:  # which has no interval
        return f"{title} {found.mean:.{digits}f}"
    return f"{title} {found.text(digits, sign='')}"


def differences(before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> str:
    """Paired by subject."""
    parts = []
    for name, title, digits in MEASURES:
        found = Interval.between(before[name], after[name])
        is_one = len(before[name]) == 1
        parts.append(f"{title} {f'{found.mean:+.{digits}f}' if is_one else found.text(digits)}")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
