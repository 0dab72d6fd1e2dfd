"""Run a table of a paper, or a study, on a data set of yours.

    python Training/ablation.py --list
    python Training/ablation.py morse-table1 --quick
    python Training/ablation.py morse-table1 device=cuda:0 --seeds 1,2,3 --folds 0,1,2,3
    python Training/ablation.py morse-table1 --base my-config.json --row "UNet + MORSE"

    python Training/ablation.py hippocampus-cpu --split val

Each row is a training by train.py in a process of its own. The script writes
``<output>/table.md``, ``table.csv`` and ``plot.png`` after each row. After an interruption, run it
again and it continues. A row is compared with the baseline of its group, paired by subject.
``--split val`` compares on the validation split, by which rows may be chosen, and writes
``table-val.*`` and ``plot-val.png``. ``key=value`` changes every row, as on the command line of
train.py.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from a checkout, not installed

from MorseCore.commands.terminal import print_any_letter
from MorseCore.config import nearest, read_configuration
from MorseCore.errors import ConfigError, MorseError
from MorseCore.system.files import prepare_output_directory
from Training.research.shared.commandline import command_line, exit_code, whole_numbers
from Training.research.study.definition import Row, Table, list_tables, read_table, row_config
from Training.research.study.results import (
    ResultLine,
    RowResult,
    collect,
    compare,
    cost_of,
    num_classes_of,
    write_lines,
)
from Training.research.study.running import Run, check_data, plan_runs, run_all

log = logging.getLogger("ablation")
SCORES = {"test": ("test",), "val": ("validation",), None: ("test", "validation")}
"""Split -> whose scores are taken, the first that there are."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: all rows done; 1: a row failed; 2: wrong usage."""
    options = parser().parse_intermixed_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    print_any_letter()
    if options.list or not options.table:
        for name in list_tables():
            print(f"{name:24} {read_table(name)[0].title}")
        if options.list:
            return 0
        print("error: Name one of these tables, or a JSON file.", file=sys.stderr)
        return 2
    return exit_code(lambda: run_table(options))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    result.add_argument("table", nargs="?", metavar="TABLE", help="name or JSON file")
    result.add_argument("overrides", nargs="*", metavar="key=value")
    result.add_argument("--list", action="store_true", help="say which tables there are")
    result.add_argument("--base", type=Path, help="configuration of another data set")
    result.add_argument(
        "--row", action="append", metavar="ROW", help="run only this and its baseline; repeatable"
    )
    result.add_argument("--seeds", type=whole_numbers, default=[1337], metavar="N,N,…")
    result.add_argument("--folds", type=whole_numbers, default=[0], metavar="N,N,…")
    result.add_argument(
        "--split",
        choices=("test", "val"),
        help="default: test, or val where there is no test split",
    )
    result.add_argument("--quick", action="store_true", help="a short training, said so")
    result.add_argument("--output", type=Path, metavar="DIR", help="default: runs/TABLE")
    return result


def run_table(options: argparse.Namespace) -> None:
    """Run what is missing and write the table after each row.

    :raises MorseError: if a row failed; the table is written all the same.
    """
    table, base_path = read_table(options.table)
    base = read_configuration(options.base or base_path)
    name = Path(options.table).stem + ("-quick" if options.quick else "")
    output = options.output or Path("runs") / name
    rows = choose_rows(table, options.row, quick=options.quick)
    runs = {
        row.name: plan_runs(
            row, row_config(base, table, row, quick=options.quick, overrides=options.overrides),
            seeds=options.seeds, folds=options.folds, output=output / "runs",
        )
        for row in rows
    }  # fmt: skip
    check_data((run for part in runs.values() for run in part), options.split)
    prepare_output_directory(output)
    failures: dict[str, str] = {}
    for row in rows:
        failed = run_all(runs[row.name])
        if failed:
            failures[row.name] = failed[0]
        text = write(output, table, rows, runs, failures, options)
    print(text)
    end = suffix(options.split)
    print(f"written: {output / f'table{end}.md'}, table{end}.csv, plot{end}.png")
    if failures:
        name, reason = next(iter(failures.items()))
        raise MorseError(f"{len(failures)} of {len(rows)} rows failed, first '{name}': {reason}")


def choose_rows(table: Table, names: Sequence[str] | None, *, quick: bool) -> list[Row]:
    """The rows asked for, with the baselines of their groups.

    :raises ConfigError: if the table has no such row.
    """
    wanted = names or (table.quick_rows if quick else ()) or [row.name for row in table.rows]
    known = {row.name: row for row in table.rows}
    for name in wanted:
        if name not in known:
            raise ConfigError(f"The table has no row '{name}'{nearest(name, known)}.")
    groups = {known[name].group for name in wanted}
    return [r for r in table.rows if r.name in wanted or (r.baseline and r.group in groups)]


def write(
    output: Path,
    table: Table,
    rows: Sequence[Row],
    runs: dict[str, list[Run]],
    failures: dict[str, str],
    options: argparse.Namespace,
) -> str:
    """Write all three files from what is done so far; the Markdown."""
    results: dict[str, RowResult] = {
        row.name: collect(runs[row.name], table.measures, splits=SCORES[options.split])
        for row in rows
        if all(run.is_done for run in runs[row.name])
    }
    baselines = {row.group: results.get(row.name) for row in rows if row.baseline}
    lines = []
    for row in rows:
        result, baseline = results.get(row.name), baselines.get(row.group)
        compared = result and baseline and not row.baseline
        differences = (
            {m: compare(result, baseline, m) for m in table.measures}
            if compared and result and baseline else {}
        )  # fmt: skip
        config = runs[row.name][0].config
        cost = cost_of(config, num_classes=num_classes_of(config)) if result else None
        lines.append(ResultLine(row, cost, result, differences, failures.get(row.name, "")))
    notes = describe(table, [runs[row.name][0] for row in rows], results, options)
    return write_lines(output, table, lines, notes=notes, end=suffix(options.split))


def suffix(split: str | None) -> str:
    """The end of the files' names: the table on the test split is not written over."""
    return "-val" if split == "val" else ""


def describe(
    table: Table, runs: Sequence[Run], results: dict[str, RowResult], options: argparse.Namespace
) -> list[str]:
    """Sentences on how the numbers came about; ``runs``: one of each row."""
    run = runs[0]
    steps, data = run.config.optimisation, run.config.data
    sizes = sorted({r.config.optimisation.batch_size * r.config.optimisation.accumulate
                    for r in runs})  # fmt: skip
    subjects = max((len(r.values[table.measures[0]]) for r in results.values()), default=0)
    tested = "of the validation split" if options.split == "val" else "tested"
    notes = [
        f"Data: `{Path(data.dataset).parent.name}`, {subjects} subjects {tested}, "
        f"folds {options.folds}, seeds {options.seeds}. Each training: {steps.iterations} "
        f"iterations of {' or '.join(map(str, sizes))}, window "
        f"{' x '.join(map(str, run.config.preparation.window))}.",
        "Refined masks, mean over structures; a missed structure scores DSC 0 and the image's "
        "diagonal. ± is the standard deviation over seeds. Δ: difference from the group's "
        "baseline, paired by subject, bootstrap interval; p: Wilcoxon's signed-rank test, not "
        "corrected for the number of rows. GMAC: one window, rendered. In brackets: the paper, on "
        "its own data.",
    ]
    if options.quick:
        notes.insert(
            0,
            f"**Quick run: {steps.iterations} iterations (the papers have 30,000 or more). It "
            "shows that every row trains, not which one is better.**",
        )
    return notes


if __name__ == "__main__":
    sys.exit(main())
