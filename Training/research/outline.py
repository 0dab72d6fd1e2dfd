"""How well the trained rows of a table follow an outline, what that costs, and what is possible.

    python Training/ablation.py outline-hippocampus --split val --seeds 1,2,3
    python Training/research/outline.py outline-hippocampus --seeds 1,2,3

Scores the rows that ``ablation.py`` has trained; rows that are not trained yet are left out and
named. For each: DSC, HD95 and ASD of both masks, the share of wrong voxels within 2 mm of the
reference's outline, surface Dice at 0.5 and 1 mm, minutes of training, seconds and peak memory of a
case in a process of its own. The ceilings are the coarse mask of the table's baseline with the
reference in place of it, 1, 2 or 3 voxels from its outline: no choice of points could do better.
Writes ``<runs>/outline-<split>.md``, ``.csv`` and ``.png``: one outline as each row draws it, of
the case in the middle by the baseline's DSC. After an interruption, run it again and it continues.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, median

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

from MorseCore.config import read_configuration, read_json
from MorseCore.errors import MorseError
from MorseCore.images.imageio import read_volume
from MorseCore.metrics.subjects import mean_by_subject, subjects_of
from MorseCore.network import Network
from MorseCore.store.model_folder import load_network, read_model
from MorseCore.system.devices import resolve_device
from MorseCore.system.files import prepare_output_directory, write_json
from MorseCore.training.dataset import Case, Decathlon, prepare_case
from MorseCore.training.validation import on_drawn_grid
from Training.research.benchmarks.measuring import peak_bytes, run_child
from Training.research.shared.commandline import command_line, exit_code, whole_numbers
from Training.research.shared.data import cases_of, open_training_data
from Training.research.shared.identity import check_model_identity, measure_cases
from Training.research.shared.output import markdown_table, write_tables
from Training.research.shared.scores import Interval, pair_subjects
from Training.research.study.definition import read_table, row_config
from Training.research.study.outlinepicture import draw_outlines
from Training.research.study.outlines import (
    CEILINGS,
    MEASURES,
    Scores,
    predict_case,
    score_outlines,
)
from Training.research.study.running import Run, minutes_of, plan_runs

TITLES = {"dice": "DSC", "hd95": "HD95 mm", "asd": "ASD mm", "band_error": "wrong within 2 mm",
          "surface_0.5": "surface DSC 0.5 mm", "surface_1.0": "1 mm"}  # fmt: skip
TIMED = 5  # cases, the first of which is not counted


@dataclass(frozen=True)
class RowFigures:
    """One row of the table, over its trainings."""

    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Mask -> measure -> subject -> mean over cases and trainings."""
    minutes: float
    seconds: float
    gib: float

    def mean(self, mask: str, measure: str) -> float:
        """Over subjects."""
        return fmean(self.values[mask][measure].values())


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: done; 1: failed; 2: wrong usage."""
    options = parser().parse_args(arguments)
    return exit_code(lambda: child(options.child) if options.child else study(options))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    result.add_argument("table", nargs="?", help="name or JSON file, as for ablation.py")
    result.add_argument("--runs", type=Path, metavar="DIR", help="default: runs/TABLE")
    result.add_argument("--base", type=Path, help="configuration of another data set")
    result.add_argument("--seeds", type=whole_numbers, default=[1337], metavar="N,N,…")
    result.add_argument("--split", choices=("val", "test"), default="val")
    result.add_argument("--child", help=argparse.SUPPRESS)
    return result


def study(options: argparse.Namespace) -> None:
    """Score what is trained and write the table.

    :raises MorseError: if no row of the table has been trained.
    """
    table, base = read_table(options.table or "")
    base = options.base or base
    folder = options.runs or Path("runs") / Path(options.table).stem
    found: dict[str, RowFigures] = {}
    baseline, waiting, first = "", [], {}
    for row in table.rows:
        config = row_config(read_configuration(base), table, row, quick=False, overrides=())
        runs = plan_runs(row, config, seeds=options.seeds, folds=[0], output=folder / "runs")
        if not all(run.is_done for run in runs):
            waiting.append(row.name)
            continue
        found[row.name], first[row.name] = figures_of(runs, options.split), runs[0]
        baseline = row.name if row.baseline else baseline
    if not found:
        raise MorseError(f"No row of '{options.table}' is trained in '{folder}'; run ablation.py.")
    lines = [f"# {table.title}", "", *markdown(found, baseline)]
    if waiting:
        lines += ["", f"Not trained yet: {', '.join(waiting)}."]
    name = f"outline-{options.split}"
    print(write_tables(folder, lines, numbers(found), name=name))
    if baseline:
        draw(folder / f"{name}.png", first, baseline, options.split)


def draw(path: Path, runs: Mapping[str, Run], baseline: str, split: str) -> None:
    """One outline: the baseline's coarse mask, then the refined one of each row that renders."""
    data = open_training_data(runs[baseline].config.data)
    cases = cases_of(data, split)
    scores = score(runs[baseline], data, cases, split)
    order = sorted(scores, key=lambda name: scores[name]["coarse"]["dice"])
    case = next(case for case in cases if case.name == order[len(order) // 2])
    masks = {}
    for name, run in runs.items():
        info = read_model(run.folder / "model")
        network = load_network(run.folder / "model", info)
        if name != baseline and not network.head.answers_twice:
            continue
        prepared = prepare_case(case, info.preparation, num_classes=data.num_classes)
        stage = "coarse" if name == baseline else "refined"
        prediction = predict_case(network, info, prepared)
        masks[name], labels, spacing = on_drawn_grid(getattr(prediction, stage), prepared)
    # Where the model's grid is another one, masks lie on the scan's own.
    image = prepared.image if prepared.drawn is None else read_volume(case.image).array
    draw_outlines(path, image, masks, labels, spacing=spacing)


def figures_of(runs: Sequence[Run], split: str) -> RowFigures:
    """Score the trainings of a row; what was scored before is read."""
    by_mask: dict[str, dict[str, dict[str, list[float]]]] = {}
    costs = []
    for run in runs:
        data = open_training_data(run.config.data)
        cases = cases_of(data, split)
        scores = score(run, data, cases, split)
        subjects = subjects_of(Path(run.config.data.dataset))
        for mask in next(iter(scores.values())):
            for measure in MEASURES:
                values = {name: case[mask][measure] for name, case in scores.items()}
                known = {name: value for name, value in values.items() if value == value}
                for subject, value in mean_by_subject(known, subjects).items():
                    target = by_mask.setdefault(mask, {}).setdefault(measure, {})
                    target.setdefault(subject, []).append(value)
        costs.append(cost(run, split))
    return RowFigures(
        {mask: {measure: {subject: fmean(values) for subject, values in found.items()}
                for measure, found in measures.items()} for mask, measures in by_mask.items()},
        fmean(minutes_of(run.folder) for run in runs),
        fmean(seconds for seconds, _ in costs),
        fmean(gib for _, gib in costs),
    )  # fmt: skip


def score(run: Run, data: Decathlon, cases: Sequence[Case], split: str) -> dict[str, Scores]:
    """Case -> scores, from its file or anew."""
    model = run.folder / "model"
    info = read_model(model)
    folder = prepare_output_directory(run.folder / f"outline-{split}")
    check_model_identity(
        folder / "study.json", info, cases, script="outline", found="scores of another model",
        done={path.stem for path in folder.glob("*.json")},
    )  # fmt: skip

    @cache
    def network() -> Network:
        return load_network(model, info, device=resolve_device(run.config.device))

    def measure(case: Case) -> Scores:
        prepared = prepare_case(case, info.preparation, num_classes=data.num_classes)
        return score_outlines(network(), info, prepared)

    return measure_cases(folder, cases, measure, title=run.config.name)


def cost(run: Run, split: str) -> tuple[float, float]:
    """Seconds a case, and GiB of memory, measured in a process of its own."""
    path = run.folder / "inference-cost.json"
    if not path.is_file():
        task = {"run": str(run.folder / "run.json"), "split": split}
        write_json(path, run_child(__file__, task))
    measured = read_json(path)
    return float(measured["seconds"]), float(measured["bytes"]) / 2**30


def child(task: str) -> None:
    """Segment a few cases; print the median of the seconds and the peak of the memory."""
    from MorseCore.config import decode
    from MorseCore.training.config import RunConfig

    settings = json.loads(task)
    path = Path(settings["run"])
    config = decode(RunConfig, read_json(path), "")
    info = read_model(path.parent / "model")
    data = open_training_data(config.data)
    network = load_network(path.parent / "model", info, device=resolve_device(config.device))
    seconds = []
    for case in cases_of(data, settings["split"])[:TIMED]:
        prepared = prepare_case(case, info.preparation, num_classes=data.num_classes)
        started = time.perf_counter()
        predict_case(network, info, prepared)
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": median(seconds[1:] or seconds), "bytes": peak_bytes()}))


def markdown(found: Mapping[str, RowFigures], baseline: str) -> list[str]:
    """The rows with both masks, then the ceilings of the baseline's coarse mask."""
    head = ["row", "mask", *TITLES.values(), "DSC - coarse [95 %]", "minutes", "s a case", "GiB"]
    rows = []
    for name, row in found.items():
        for mask in ("coarse", "refined"):
            is_last = mask == "refined"
            gain = gain_of(row, "coarse", row, mask).text(4) if is_last else ""
            costs = [f"{row.minutes:.1f}", f"{row.seconds:.2f}", f"{row.gib:.2f}"]
            rows.append([name if not is_last else "", mask, *cells(row, mask), gain,
                         *(costs if is_last else [""] * 3)])  # fmt: skip
    if baseline:
        row = found[baseline]
        for n in CEILINGS:
            mask = f"ceiling_{n}"
            gain = gain_of(row, "coarse", row, mask).text(4)
            rows.append([f"truth within {n} of the outline", baseline, *cells(row, mask), gain,
                         "", "", ""])  # fmt: skip
    lines = markdown_table(head, rows)
    if baseline:
        lines += ["", f"Refined masks against '{baseline}', DSC, paired by subject:", ""]
        against = [[name, gain_of(found[baseline], "refined", row, "refined").text(4)]
                   for name, row in found.items() if name != baseline]  # fmt: skip
        lines += markdown_table(["row", "difference [95 %]"], against)
    return lines


def cells(row: RowFigures, mask: str) -> list[str]:
    """The measures of one mask."""
    digits = {"hd95": 2, "asd": 3}
    return [f"{row.mean(mask, measure):.{digits.get(measure, 4)}f}" for measure in MEASURES]


def gain_of(before: RowFigures, mask: str, after: RowFigures, other: str) -> Interval:
    """Difference in DSC, paired by subject."""
    pairs = pair_subjects(before.values[mask]["dice"], after.values[other]["dice"])
    return Interval.between(*pairs)


def numbers(found: Mapping[str, RowFigures]) -> list[Sequence[object]]:
    """Every number, unrounded, the header first."""
    rows: list[Sequence[object]] = [("row", "mask", *MEASURES, "minutes", "seconds", "gib")]
    for name, row in found.items():
        for mask in row.values:
            means = [row.mean(mask, measure) for measure in MEASURES]
            rows.append((name, mask, *means, row.minutes, row.seconds, row.gib))
    return rows


if __name__ == "__main__":
    sys.exit(main())
