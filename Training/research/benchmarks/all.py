"""Run all benchmarks and write the table that the README quotes.

    python Training/research/benchmarks/all.py --quick --output runs/benchmarks
    python Training/research/benchmarks/all.py --only overhead --only training --clock cpu

Each is a process of its own; run it again after an interruption and it goes on (``--again``
measures everything anew). Writes ``table.md`` and ``plot.png`` beside the JSON of each. Options
that are not known here go to every benchmark. Exit code 0 if all could be measured, whether targets
are met or not.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

from tqdm import tqdm

from MorseCore.errors import ConfigError
from MorseCore.system.files import prepare_output_directory, write_text
from Training.research.benchmarks.operation_shares import draw_shares
from Training.research.benchmarks.report import arguments, markdown
from Training.research.study.commandline import exit_code

NAMES = ("overhead", "presets", "peers", "training", "scaling", "scene", "engines")


def main(words: list[str] | None = None) -> int:
    """Exit code 0: all measured; 1: one failed; 2: wrong usage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks"), metavar="DIR")
    parser.add_argument("--again", action="store_true", help="measure what is there already, too")
    options, rest = parser.parse_known_args(words)
    arguments(None).parse_known_args(rest)  # ends with a sentence if a value is wrong
    return exit_code(lambda: run(options, rest))


def run(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Run what is missing; write the table after each.

    :raises ConfigError: if the folder holds measurements that were made with other options.
    """
    folder = prepare_output_directory(options.output)
    claim(folder / "options.json", list(rest), again=options.again)
    for parts in folder.glob("*-parts.json") if options.again else ():
        parts.unlink()  # of an interrupted measurement
    names = [name for name in NAMES if not options.only or name in options.only]
    failures, reports = [], []
    for name in tqdm(names, unit="benchmark"):
        if options.again or not (folder / f"{name}.json").is_file():
            words = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *rest]
            if subprocess.run([*words, "--output", str(folder)], check=False).returncode:
                failures.append(name)
        reports = [read(folder / f"{n}.json") for n in NAMES if (folder / f"{n}.json").is_file()]
        if reports:
            write(folder, reports)
    if failures:
        print(f"error: failed: {', '.join(failures)}; run it again to go on.", file=sys.stderr)
    for report in reports:
        print(report["line"])
    if reports:
        print(f"written: {folder / 'table.md'}, plot.png")
    return 1 if failures else 0


def claim(path: Path, words: list[str], *, again: bool) -> None:
    """Figures of different options must not stand in one table, nor a study's be written over."""
    if (path.parent / "study.json").is_file():
        raise ConfigError(f"'{path.parent}' holds a study; choose another --output.")
    if path.is_file() and not again and read(path)["words"] != words:
        raise ConfigError(
            f"'{path.parent}' holds measurements with other options; choose another --output or "
            "measure --again."
        )
    write_text(path, json.dumps({"words": words}) + "\n")


def read(path: Path) -> dict[str, Any]:
    """JSON."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def write(folder: Path, reports: Sequence[Mapping[str, Any]]) -> None:
    """The table, and every figure as a share of its target in a picture."""
    machines = sorted({f"{report['machine']}; {report['clock']} time" for report in reports})
    notes = [f"- {report['name']}: {note}" for report in reports for note in report["notes"]]
    text = [
        markdown(reports), *(f"Measured on: {machine}." for machine in machines), "",
        "Medians of interleaved repetitions; in brackets first and third quartile of the ratios.",
        "", *notes, "",
    ]  # fmt: skip
    write_text(folder / "table.md", "\n".join(text))
    draw_shares(folder / "plot.png", reports)


if __name__ == "__main__":
    sys.exit(main())
