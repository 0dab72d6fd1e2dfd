"""Fit a model's verdict: how its good results differ from those of images that were spoilt.

    python Training/verdict.py hippocampus-t1 data/hippocampus/dataset.json
    python Training/verdict.py brain-mr data/brain_labelmaps/labels --spoil 2
    python Training/verdict.py runs/mine/model mine/dataset.json --output verdict

DATA is a ``dataset.json`` with labels, whose validation split is segmented as it is and spoilt in
ten ways; for a model that learned from label maps alone, their folder. The limits are written into
the model's ``model.json``, a table of what they find into its card and ``<output>/table.md``.
``Documentation/verdict.md`` explains both. After an interruption, run it again and it continues
with the next case.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

from MorseCore.inference.predictor import VolumePredictor
from MorseCore.metrics.subjects import subjects_of
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import CARD, INFO, read_model
from MorseCore.system.files import prepare_output_directory, write_text
from MorseCore.training.dataset import Case
from MorseCore.training.verdicts import (
    GeneratedCases,
    ReadCases,
    first_of_each,
    fit_verdict,
    is_generated,
    kinds_for,
    measure_runs,
)
from Training.research.shared.commandline import command_line, exit_code
from Training.research.shared.data import cases_of, compare_by_number, default_split, open_data
from Training.research.shared.identity import check_model_identity, measure_cases


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: fitted; 1: failed; 2: wrong usage."""
    options = parser().parse_args(arguments)
    return exit_code(lambda: run(options))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    result.add_argument("model", help="name of a model, or a model folder")
    result.add_argument("data", type=Path, help="a dataset.json, or a folder of label maps")
    result.add_argument(
        "--spoil", type=int, default=1000, metavar="N",
        help="spoil images of N subjects (default: of all); all are segmented as they are",
    )  # fmt: skip
    result.add_argument("--device", default="auto")
    result.add_argument("--output", type=Path, metavar="DIR", help="default: runs/verdict-MODEL")
    return result


def run(options: argparse.Namespace) -> None:
    """Measure what is not measured yet, fit, write and print."""
    folder = find_model(options.model)
    info = read_model(folder)
    output = options.output or Path("runs") / f"verdict-{info.name}"
    if is_generated(info):
        split = options.data.parent / "splits.json"
        source = GeneratedCases(info, options.data, split if split.is_file() else None)
        cases = known = source.cases()
        subjects = {case.name: case.name.rpartition("_")[0] for case in cases}
    else:
        where, data = open_data(options.data)
        compare_by_number(info, data)
        source = ReadCases(info)
        cases = list(cases_of(data, default_split(data)))
        known = [case for part in ("train", "val") for case in data.splits[part]] or cases
        subjects = subjects_of(Path(where.dataset))
    spoilt = {case.name for case in first_of_each(cases, subjects)[: options.spoil]}
    kept = prepare_output_directory(output / "cases")
    check_model_identity(
        output / "study.json", info, cases, done={path.stem for path in kept.glob("*.json")},
        script="verdict", kinds=kinds_for(info), found="another study",
    )  # fmt: skip
    predictor = VolumePredictor(folder, device=options.device)
    predictor.info = replace(info, verdict=None)  # limits of before have no say

    def measure(case: Case) -> dict[str, object]:
        image, labels = source.read(case)
        rows = measure_runs(predictor, image, labels, name=case.name, spoilt=case.name in spoilt)
        return {"subject": subjects.get(case.name, case.name), "runs": rows}

    ordered = sorted(cases, key=lambda case: case.name in spoilt)  # the quick ones first
    found = measure_cases(kept, ordered, measure, title="verdict")
    table = fit_verdict(folder, found, source.volumes(known))
    write_text(output / "table.md", f"{table}\n")
    print(table)
    print(f"written: {folder / INFO}, {folder / CARD}, {output / 'table.md'}")


if __name__ == "__main__":
    sys.exit(main())
