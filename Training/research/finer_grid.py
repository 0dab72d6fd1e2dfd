"""Finer than the grid: train on coarser images, compare finer masks with the full-size labels.

    python Training/research/finer_grid.py Training/configs/hippocampus-t1.json
    python Training/research/finer_grid.py CONFIG optimisation.iterations=2000 --seeds 1,2,3
    python Training/research/finer_grid.py CONFIG --quick

The study of SwIPE's Table 2: train.py trains the network on images down-sampled by two (twice the
spacing, half the window). Masks twice as fine are then made in three ways: each voxel repeated,
probabilities interpolated, the field asked between its voxels; and three surfaces likewise:
marching cubes of the coarse label map, of its probabilities, of the field. All are compared with
the label map at full resolution. The script writes ``<output>/table.md``, ``table.csv`` and
``plot.png``. After an interruption, run it again and it continues.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

import numpy as np

from MorseCore.config import apply_overrides, decode, read_configuration
from MorseCore.errors import ConfigError, MorseError
from MorseCore.metrics.subjects import subjects_of
from MorseCore.network import Network
from MorseCore.store.model_folder import load_network, read_model
from MorseCore.system.devices import resolve_device
from MorseCore.system.files import prepare_output_directory
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import Case
from Training.research.shared.commandline import command_line, exit_code, whole_numbers
from Training.research.shared.data import cases_of, open_training_data
from Training.research.shared.identity import check_identity, measure_cases
from Training.research.shared.output import markdown_table, new_figure, save_figure, write_tables
from Training.research.shared.scores import Interval
from Training.research.study.running import Run, check_data, make_run, run_all
from Training.research.study.upsampling import (
    MASKS,
    SURFACES,
    Scores,
    check_is_finer,
    check_vtk,
    score_case,
)

QUICK = ["optimisation.iterations=300", "validation.every=150"]
KINDS = {"masks": MASKS, "surfaces": SURFACES}
TITLES = {"dice": "DSC", "hd95": "HD95 mm", "asd": "ASD mm", "assd": "ASSD mm"}
HEAD = ("kind", "variant", "measure", "mean", "gain", "low", "high", "subjects")


@dataclass(frozen=True)
class Gain:
    """One measure of one variant, over subjects."""

    kind: str
    """``masks`` or ``surfaces``."""
    variant: str
    measure: str
    mean: float
    field_less_this: Interval | None
    """Paired by subject; None for the field itself."""
    subjects: int


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: done; 1: failed; 2: wrong usage."""
    options = parser().parse_intermixed_args(arguments)
    return exit_code(lambda: study(options))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    result.add_argument("config", type=Path, help="of a training at full resolution")
    result.add_argument("overrides", nargs="*", metavar="key=value")
    result.add_argument("--factor", type=int, default=2, choices=(2, 3, 4))
    result.add_argument("--seeds", type=whole_numbers, default=[1337], metavar="N,N,…")
    result.add_argument("--split", choices=("val", "test"), default="test")
    result.add_argument("--quick", action="store_true", help="a short training, said so")
    result.add_argument("--output", type=Path, default=Path("runs/finer-grid"), metavar="DIR")
    return result


def study(options: argparse.Namespace) -> int:
    """Train what is missing, score what is missing, write the table."""
    check_vtk()
    data = apply_overrides(read_configuration(options.config), QUICK if options.quick else [])
    data = apply_overrides(data, options.overrides)
    config = coarser(decode(RunConfig, data, ""), options.factor)
    runs = [
        make_run(
            config, row="coarse", name=f"x{options.factor}-s{seed}", seed=seed,
            output=options.output / "runs",
        )
        for seed in options.seeds
    ]  # fmt: skip
    check_data(runs)
    fine = [mm / options.factor for mm in config.preparation.spacing or ()]
    cases = cases_of(open_training_data(config.data), options.split)
    for case in cases:  # hours of training later is too late
        check_is_finer(case, fine)
    prepare_output_directory(options.output)
    check_identity(options.output / "study.json", {"script": "finer_grid"}, found="another study")
    if failures := run_all(runs):
        raise MorseError(f"The training failed: {failures[0]}")
    scores = {run.seed: score(run, cases, options) for run in runs}
    rows = summarise(scores, subjects_of(Path(config.data.dataset)))
    steps = config.optimisation
    preparation = config.preparation
    notes = [
        f"{'Quick run: ' if options.quick else ''}{steps.iterations} iterations of "
        f"{steps.batch_size * steps.accumulate}, spacing {list(preparation.spacing or ())} mm and "
        f"window {list(preparation.window)}, {options.factor} times coarser than the labels; "
        f"split '{options.split}', seeds {','.join(map(str, options.seeds))}."
    ]
    print(write_tables(options.output, markdown(rows) + notes, numbers(rows)))
    draw(options.output / "plot.png", rows)
    print(f"written: {options.output / 'table.md'}, table.csv, plot.png")
    return 0


def coarser(config: RunConfig, factor: int) -> RunConfig:
    """The same training on images ``factor`` times coarser.

    The window shrinks with the image, up to the next size that the backbone can halve.

    :raises ConfigError: if the configuration leaves the spacing to the images.
    """
    preparation = config.preparation
    if preparation.spacing is None:
        raise ConfigError("This study needs 'preparation.spacing', which it makes coarser.")
    divisor = config.network.build(num_classes=2).divisor
    window = tuple(divisor * -(-n // (factor * divisor)) for n in preparation.window)
    spacing = tuple(mm * factor for mm in preparation.spacing)
    return replace(config, preparation=replace(preparation, window=window, spacing=spacing))


def score(run: Run, cases: Sequence[Case], options: argparse.Namespace) -> dict[str, Scores]:
    """Case -> scores, from its file or anew."""
    model = run.folder / "model"
    info = read_model(model)
    folder = prepare_output_directory(run.folder / f"finer-{options.split}")
    check_identity(
        folder / "study.json",
        {"sha256": info.sha256, "factor": options.factor},
        found="scores of other cases or of another model",
        cases=cases,
        done={path.stem for path in folder.glob("*.json")},
    )

    @cache
    def network() -> Network:
        return load_network(model, info, device=resolve_device(run.config.device))

    return measure_cases(
        folder, cases, lambda case: score_case(case, network(), info, factor=options.factor),
        title=run.config.name,
    )  # fmt: skip


def summarise(
    scores: Mapping[int, Mapping[str, Scores]], subjects: Mapping[str, str]
) -> list[Gain]:
    """:param scores: seed -> case -> scores. :param subjects: case -> subject."""
    rows = []
    for kind, variants in KINDS.items():
        values = {v: by_subject(scores, subjects, kind, v) for v in variants}
        for variant, measures in values.items():
            for measure, found in measures.items():
                gain = None
                if variant != "field":
                    gain = Interval.between(found, values["field"][measure])
                mean = float(np.mean(found))
                rows.append(Gain(kind, variant, measure, mean, gain, len(found)))
    return rows


def by_subject(
    scores: Mapping[int, Mapping[str, Scores]], subjects: Mapping[str, str], kind: str, variant: str
) -> dict[str, list[float]]:
    """Measure -> one value a subject: mean over its cases and the seeds."""
    grouped: dict[str, dict[str, list[float]]] = {}
    for cases in scores.values():
        for name in sorted(cases):
            for measure, value in cases[name][kind].get(variant, {}).items():
                group = grouped.setdefault(measure, {})
                group.setdefault(subjects.get(name, name), []).append(value)
    return {m: [float(np.mean(v)) for v in group.values()] for m, group in grouped.items()}


def markdown(rows: Sequence[Gain]) -> list[str]:
    """A table of the masks and one of the surfaces."""
    lines = ["# Finer than the grid", ""]
    for kind in dict.fromkeys(row.kind for row in rows):
        mine = [row for row in rows if row.kind == kind]
        head = [f"{kind} from", "measure", "mean", "field - this [95 %]"]
        cells = (
            (r.variant, TITLES[r.measure], f"{r.mean:.4f}",
             r.field_less_this.text(4) if r.field_less_this else "")
            for r in mine
        )  # fmt: skip
        lines += [f"**{kind}**", "", *markdown_table(head, cells), ""]
        lines += [f"{mine[0].subjects} subjects.", ""]
    return lines


def numbers(rows: Sequence[Gain]) -> list[Sequence[object]]:
    """Every number, unrounded."""
    return [HEAD, *(
        (r.kind, r.variant, r.measure, r.mean, *Interval.cells(r.field_less_this), r.subjects)
        for r in rows
    )]  # fmt: skip


def draw(path: Path, rows: Sequence[Gain]) -> None:
    """DSC of the masks, and ASSD of masks and surfaces, by variant."""
    panels = [("masks", "dice"), ("masks", "assd"), ("surfaces", "assd")]
    figure = new_figure(11, 3.4)
    for axes, (kind, measure) in zip(figure.subplots(1, 3), panels, strict=True):
        mine = [r for r in rows if (r.kind, r.measure) == (kind, measure)]
        axes.bar([r.variant for r in mine], [r.mean for r in mine], color="#0072B2")
        if mine and measure == "dice":  # the differences are small beside the whole
            axes.set_ylim(max(0.0, min(r.mean for r in mine) - 0.02), None)
        axes.set_title(f"{kind}: {TITLES[measure]}")
    save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
