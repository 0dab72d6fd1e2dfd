"""Run all benchmarks and write one table.

    python Training/research/benchmarks/all.py --quick --output runs/benchmarks
    python Training/research/benchmarks/all.py --only overhead --only training --clock cpu

Each benchmark is a process of its own. After an interruption, run the script again and it continues
with the next benchmark; ``--again`` measures everything again. It writes ``table.md`` beside the
JSON of each benchmark, and passes on the options that it does not know. The exit code is 0 if all
could be measured, whether targets are met or not.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

from tqdm import tqdm

from MorseCore.config import read_json
from MorseCore.errors import ConfigError
from MorseCore.system.files import prepare_output_directory, write_text
from Training.research.benchmarks.report import arguments, markdown
from Training.research.shared.commandline import command_line, exit_code
from Training.research.shared.identity import check_identity

NAMES = ("overhead", "presets", "peers", "training", "scaling", "scene", "engines")


def main(words: list[str] | None = None) -> int:
    """Exit code 0: all measured; 1: one failed; 2: wrong usage."""
    parser = command_line(__doc__)
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"), metavar="DIR")
    parser.add_argument("--again", action="store_true", help="also measure what is there already")
    options, rest = parser.parse_known_args(words)
    arguments(None).parse_known_args(rest)  # ends with a sentence if a value is wrong
    return exit_code(lambda: run(options, rest))


def run(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Run what is missing; write the table after each.

    :raises ConfigError: if the folder holds a study, which would be written over, or measurements
        with other options, which must not stand in one table.
    """
    folder = prepare_output_directory(options.output)
    if (folder / "study.json").is_file():
        raise ConfigError(f"'{folder}' holds a study; choose another --output.")
    if options.again:
        (folder / "options.json").unlink(missing_ok=True)
    check_identity(
        folder / "options.json", {"words": list(rest)}, found="measurements with other options",
        otherwise="measure --again",
    )  # fmt: skip
    names = [name for name in NAMES if not options.only or name in options.only]
    failures, reports = [], []
    for name in tqdm(names, unit="benchmark"):
        if options.again or not (folder / f"{name}.json").is_file():
            words = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *rest]
            if subprocess.run([*words, "--output", str(folder)], check=False).returncode:
                failures.append(name)
        paths = [folder / f"{name}.json" for name in NAMES]
        reports = [read_json(path) for path in paths if path.is_file()]
        if reports:
            write(folder, reports)
    if failures:
        print(f"error: failed: {', '.join(failures)}; run it again to continue.", file=sys.stderr)
    for report in reports:
        print(report["line"])
    if reports:
        print(f"written: {folder / 'table.md'}")
    return 1 if failures else 0


def write(folder: Path, reports: Sequence[Mapping[str, Any]]) -> None:
    """Write the table of all reports."""
    machines = sorted({f"{report['machine']}; {report['clock']} time" for report in reports})
    notes = [f"- {report['name']}: {note}" for report in reports for note in report["notes"]]
    text = [
        markdown(reports), *(f"Measured on: {machine}." for machine in machines), "",
        "Medians of interleaved repetitions; in brackets first and third quartile of the ratios.",
        "", *notes, "",
    ]  # fmt: skip
    write_text(folder / "table.md", "\n".join(text))


if __name__ == "__main__":
    sys.exit(main())
