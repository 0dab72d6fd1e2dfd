"""Score a model at other resolutions than it was trained for, of its input and of its output.

    python Training/research/resolution_shift.py MODEL CONFIG
    python Training/research/resolution_shift.py MODEL CONFIG --inputs 0.5,1 --outputs 1,2

Input: the image is made coarser or finer before the model prepares it; the masks are scored on the
image's own grid. Output: the field is asked on a grid finer or coarser than the model's; the masks
are scored against the labels brought to that grid, a finer one only where the labels were drawn so
finely. Any model folder; the data set is that of a training's configuration, or a ``dataset.json``
of yours (as for score.py). Writes ``<output>/table.md``, ``table.csv``, ``plot.png`` and every
case's scores; run it again and it goes on where it stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

from tqdm import tqdm

from MorseCore.errors import ConfigError
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.metrics.casetable import read_cases, write_cases
from MorseCore.metrics.subjects import subjects_of
from MorseCore.store.library import find_model
from MorseCore.system.files import prepare_output_directory
from MorseCore.training.dataset import Case, Decathlon
from Training.research.shared.data import PARTS, cases_of, compare_by_number, open_data
from Training.research.shared.identity import check_model_identity, read_scores
from Training.research.shared.scores import Cases
from Training.research.study.commandline import add_model_and_data, command_line, exit_code
from Training.research.study.shifts import Shift, score_shift
from Training.research.study.shifttable import collect_lines, write_shifts


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: scored; 1: failed or stopped; 2: wrong usage."""
    options = parser().parse_args(arguments)
    return exit_code(lambda: print(run(options)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    add_model_and_data(result)
    result.add_argument("--inputs", type=factors, default=[0.25, 0.5, 1, 2], metavar="F,F,…")
    result.add_argument("--outputs", type=factors, default=[0.5, 1, 2], metavar="F,F,…")
    result.add_argument("--split", choices=PARTS, default="test")
    result.add_argument("--device", default="auto")
    result.add_argument(
        "--output", type=Path, metavar="DIR", help="default: runs/resolution-shift-MODEL"
    )
    return result


def factors(text: str) -> list[float]:
    """``0.5,1,2`` as a list; none if the text is empty.

    :raises argparse.ArgumentTypeError: if it is no such list.
    """
    try:
        return [float(part) for part in text.split(",") if part]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be numbers with commas between; found '{text}'"
        ) from None


def run(options: argparse.Namespace) -> str:
    """Score what is missing, and write the table; its text."""
    rows = shifts("input", options.inputs) + shifts("output", options.outputs)
    if not rows:
        raise ConfigError("'--inputs' and '--outputs' are both empty: there is nothing to score.")
    where, data = open_data(options.config)
    chosen = cases_of(data, options.split)
    predictor = VolumePredictor(find_model(options.model), device=options.device)
    compare_by_number(predictor.info, data)
    subjects = subjects_of(Path(where.dataset))
    output = options.output or Path("runs") / f"resolution-shift-{predictor.info.name}"
    prepare_output_directory(output)
    done = {name for table in output.glob("scores-*.csv") for name in read_cases(table)}
    check_model_identity(
        output / "study.json", predictor.info, chosen, done=done, script="resolution_shift",
        part=options.split, found="scores of another model or data",
    )  # fmt: skip
    with tqdm(total=len(rows) * len(chosen), unit="case") as bar:
        scored = [score_cases(predictor, data, chosen, row, output, bar) for row in rows]
    lines = collect_lines(dict(zip(rows, scored, strict=True)), subjects)
    return write_shifts(output, lines, model=predictor.info, data=data, split=options.split)


def shifts(kind: Literal["input", "output"], values: Sequence[float]) -> list[Shift]:
    """The rows of one kind by factor, and the one without a shift, which they are compared with."""
    return [Shift(kind, factor) for factor in sorted({*values, 1.0})] if values else []


def score_cases(
    predictor: VolumePredictor,
    data: Decathlon,
    chosen: Sequence[Case],
    shift: Shift,
    output: Path,
    bar: tqdm,
) -> Cases:
    """Scores by case; those without labels at the output's resolution are left out.

    Each case is written when it is done.
    """
    path = output / f"scores-{shift.name.replace(' ', '-')}.csv"
    cases = read_scores(path)
    bar.set_description(shift.name)
    for case in chosen:
        if case.name not in cases:
            scores = score_shift(predictor, case, shift)
            if scores is not None:
                cases[case.name] = scores
                write_cases(path, cases, data.labels)
        bar.update()
    return {case.name: cases[case.name] for case in chosen if case.name in cases}


if __name__ == "__main__":
    sys.exit(main())
