"""Score a model folder on a split of a data set, both masks of each case, by the trainer's path.

    python Training/score.py MorseCore/models/hippocampus-t1 Training/configs/hippocampus-t1.json
    python Training/score.py MODEL CONFIG renderer.coarse_stride=1 --split test --output scores

The configuration names the data set and its splits; the model its own preparation, renderer and
windows, of which ``renderer.*`` and ``windows.*`` may be changed. Prints means over structures with
95 % intervals (bootstrap over subjects) and the paired difference refined - coarse; ``--output``
writes every case's scores. With ``--against FILE.csv`` also the paired difference from scores that
were written before.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

from tqdm import tqdm

from MorseCore.config import apply_overrides, decode, encode, read_json
from MorseCore.devices import resolve_device
from MorseCore.errors import ConfigError, MorseError
from MorseCore.files import prepare_output_directory
from MorseCore.learning.dataset import Decathlon, open_dataset, prepare_case
from MorseCore.learning.training_config import DataConfig
from MorseCore.learning.validation import STAGES, Validator
from MorseCore.model_folder import ModelInfo, load_network, read_model
from MorseCore.scoring.casetable import CaseScore, read_cases, write_cases
from MorseCore.scoring.evaluation import bootstrap_difference
from Training.study.subjects import subjects_of, values_by_subject

MEASURES = (("dice", "DSC", 4), ("jaccard", "Jaccard", 4), ("hd95", "HD95 mm", 3),
            ("asd", "ASD mm", 4))  # fmt: skip
Cases = Mapping[str, Mapping[str, CaseScore]]


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: scored; 1: failed; 2: wrong usage."""
    options = parser().parse_args(arguments)
    try:
        where = decode(DataConfig, read_json(options.config).get("data"), "data")
        info = changed(read_model(options.model), options.overrides)
        data = open_dataset(Path(where.dataset), Path(where.split), fold=where.fold)
        cases = score(options.model, info, data, options)
        if options.output:
            prepare_output_directory(options.output)
            write_cases(options.output / f"scores-{options.split}.csv", cases, data.labels)
        report(cases, subjects_of(Path(where.dataset)), options)
    except MorseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("model", type=Path, help="model folder")
    result.add_argument("config", type=Path, help="a training's configuration: its data set")
    result.add_argument("overrides", nargs="*", metavar="key=value")
    result.add_argument("--split", choices=("train", "val", "test"), default="val")
    result.add_argument("--device", default="auto")
    result.add_argument("--output", type=Path, metavar="DIR")
    result.add_argument("--against", type=Path, metavar="FILE.csv")
    return result


def changed(info: ModelInfo, overrides: Sequence[str]) -> ModelInfo:
    """The model with another renderer or other windows.

    :raises ConfigError: for any other key.
    """
    for override in overrides:
        if override.split(".")[0] not in ("renderer", "windows"):
            raise ConfigError(f"Only renderer.* and windows.* can be changed; found '{override}'.")
    return decode(ModelInfo, apply_overrides(encode(info), overrides), "")


def score(
    folder: Path, info: ModelInfo, data: Decathlon, options: argparse.Namespace
) -> dict[str, dict[str, CaseScore]]:
    """Scores by case and stage.

    :raises ConfigError: if the data set has other classes than the model, or an empty split.
    """
    if data.num_classes != info.num_classes or not data.splits[options.split]:
        raise ConfigError(
            f"The model has {info.num_classes} classes and the data set {data.num_classes}; its "
            f"split '{options.split}' holds {len(data.splits[options.split])} cases."
        )
    network = load_network(folder, info, device=resolve_device(options.device))
    validator = Validator(
        info.preparation.window_size, info.renderer.build(), info.windows,
        [value for value in data.labels if value], temperature=info.temperature,
    )  # fmt: skip
    result = {}
    for case in tqdm(data.splits[options.split], unit="case"):
        prepared = prepare_case(case, info.preparation, num_classes=data.num_classes)
        scores = validator.scores(network, [prepared])
        result[case.name] = {stage: scores[stage][0] for stage in STAGES}
    return result


def report(cases: Cases, subjects: Mapping[str, str], options: argparse.Namespace) -> None:
    """Print the table."""
    pairs = {stage: by_subject(cases, stage, subjects) for stage in STAGES}
    count = len(pairs["refined"]["dice"])
    print(f"{options.model.name}, {options.split}: {len(cases)} cases of {count} subjects")
    for stage in STAGES:
        print(f"{stage:8} " + ", ".join(interval(pairs[stage], m) for m in MEASURES))
    print("refined - coarse: " + differences(pairs["coarse"], pairs["refined"]))
    if options.against:
        other = read_cases(options.against)
        if set(other) != set(cases):
            raise ConfigError(f"'{options.against}' holds other cases.")
        before = by_subject(other, "refined", subjects)
        print(f"refined - {options.against}: " + differences(before, pairs["refined"]))


def by_subject(cases: Cases, stage: str, subjects: Mapping[str, str]) -> dict[str, list[float]]:
    """Measure -> one value a subject: mean over structures, then over the subject's cases."""
    return {
        measure: list(values_by_subject(cases, subjects, stage=stage, measure=measure).values())
        for measure, *_ in MEASURES
    }


def interval(values: Mapping[str, list[float]], measure: tuple[str, str, int]) -> str:
    """``DSC 0.8895 [0.88, 0.90]``."""
    name, title, digits = measure
    found = bootstrap_difference([0.0] * len(values[name]), values[name])
    return (
        f"{title} {found['difference']:.{digits}f} "
        f"[{found['low']:.{digits}f}, {found['high']:.{digits}f}]"
    )


def differences(before: Mapping[str, list[float]], after: Mapping[str, list[float]]) -> str:
    """Paired by subject."""
    parts = []
    for name, title, digits in MEASURES:
        found = bootstrap_difference(before[name], after[name])
        change, low, high = (f"{found[k]:+.{digits}f}" for k in ("difference", "low", "high"))
        parts.append(f"{title} {change} [{low}, {high}]")
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
