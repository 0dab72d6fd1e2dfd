"""``morsesegment evaluate``: masks against reference masks."""

import argparse
from pathlib import Path
from typing import Any

from MorseCore.errors import DatasetError

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "evaluate", help="score masks against reference masks",
        epilog="example: morsesegment evaluate --prediction left --reference labels",
    )  # fmt: skip
    parser.add_argument("--prediction", required=True, type=Path, metavar="DIR",
                        help="what segment wrote, or one label map a case")  # fmt: skip
    parser.add_argument("--reference", required=True, type=Path, metavar="DIR",
                        help="one label map a case, named like it")  # fmt: skip
    parser.add_argument("--model", help="take the names of the structures from this model")
    parser.add_argument(
        "--rule", choices=("mm", "voxel", "legacy"), default="mm",
        help="distances in mm, in voxels, or all as in the code behind the papers' tables",
    )  # fmt: skip
    parser.add_argument(
        "--subjects", type=Path, metavar="FILE",
        help="CSV with columns case and subject; intervals are then over subjects",
    )  # fmt: skip
    parser.add_argument(
        "--only-predicted", action="store_true",
        help="leave out cases without a prediction, which count as missed otherwise",
    )  # fmt: skip
    parser.add_argument(
        "--against", type=Path, metavar="DIR",
        help="other predictions of the same cases, to compare with: differences and intervals",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE",
        help="JSON; a CSV of the cases is written beside it, and with --against a picture",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score the masks, print the table; returns the exit code."""
    from MorseCore.inference.files import written_names
    from MorseCore.metrics.evaluation import evaluate_folder, summary_path
    from MorseCore.metrics.evaluationtable import format_table
    from MorseCore.metrics.subjects import read_subjects

    labels: dict[int, str] | None = written_names(options.prediction) or None
    if options.model:
        from MorseCore.store.library import find_model
        from MorseCore.store.model_folder import read_model

        labels = {s.value: s.name for s in read_model(find_model(options.model)).structures}
        labels |= written_names(options.prediction)  # of both sides, where it segmented both
    subjects = read_subjects(options.subjects) if options.subjects else {}
    if options.subjects and not subjects:
        raise DatasetError(
            f"'{options.subjects}' names no subject in columns 'case' and 'subject'."
        )
    summary = evaluate_folder(
        options.prediction, options.reference, output=options.output, labels=labels,
        rule=options.rule, subjects=subjects, only_predicted=options.only_predicted,
        against=options.against,
    )  # fmt: skip
    print(format_table(summary))
    if options.output is not None:
        written = summary_path(options.output)
        print(f"written: {written}, {written.with_suffix('.csv').name}")
        if options.against:
            from MorseCore.metrics.differences import draw_comparison

            titles = options.prediction.name, options.against.name
            draw_comparison(written.with_suffix(".png"), summary["against"], titles=titles)
            print(f"drawn: {written.with_suffix('.png')}")
    return 0
