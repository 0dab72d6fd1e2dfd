"""How right a model of whole heads is: on generated scans, on real heads, and as a finder of boxes.

    python Training/research/head_accuracy.py brain-mr Training/configs/brain-mr.json --quick
    python Training/research/head_accuracy.py brain-mr Training/configs/brain-mr.json

Scans are drawn from the configuration's validation label maps in six contrasts, with voxels of 1 mm
and with thick slices; there the truth is known. Real heads are those of its 'validation.monitor',
changed in many ways, beside what other programs found in them: opinions, not truths. A second
model (--regions) gets its boxes from the first. Writes ``<output>/accuracy.json`` and ``table.md``.
After an interruption, run it again and it continues. --quick takes a few of the trials.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

import numpy as np

from MorseCore.config import decode, read_configuration
from MorseCore.errors import ConfigError
from MorseCore.images.contents import input_hashes
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.store.library import find_model
from MorseCore.system.files import prepare_output_directory, write_json, write_text
from MorseCore.training.config import RunConfig
from MorseCore.training.generated.label_maps import find_label_maps, table_for
from MorseCore.training.generated.label_table import LabelTable
from MorseCore.training.monitor import read_watched
from Training.research.shared.commandline import command_line, exit_code
from Training.research.shared.identity import check_identity, measure_cases
from Training.research.shared.output import markdown_table
from Training.research.study.head_changes import CHANGES
from Training.research.study.head_trials import CONTRASTS, MAP_CHANGES, HeadTrial, MapTrial

FIRST = ("original", "1 mm")
ONCE = ("2.4 mm slices", "small head")  # of T1 alone
SAME_HEAD = ("inverted", "gamma")  # the same head in another contrast
Trial = MapTrial | HeadTrial


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed or stopped; 2: wrong usage."""
    options = parser().parse_args(arguments)
    return exit_code(lambda: print(run(options)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = command_line(__doc__)
    result.add_argument("model", help="name or folder of the model of whole heads")
    result.add_argument("config", type=Path, help="of its training")
    result.add_argument("--regions", default="hippocampus-t1", metavar="MODEL",
                        help="which it finds the boxes for")  # fmt: skip
    result.add_argument("--quick", action="store_true", help="a few of the trials, said so")
    result.add_argument("--device", default="auto")
    result.add_argument("--output", type=Path, default=Path("runs/head-accuracy"), metavar="DIR")
    return result


def run(options: argparse.Namespace) -> str:
    """Measure what is missing, and write the tables; their text."""
    config = decode(RunConfig, read_configuration(options.config), "")
    predictor, regions = (
        VolumePredictor(find_model(name), device=options.device)
        for name in (options.model, options.regions)
    )
    table, trials = trials_of(config, options)
    files = hashes(trials)
    if options.quick:
        trials = quick_ones(trials)
    check_models(predictor, regions, table)
    folder = prepare_output_directory(options.output / "trials")
    check_identity(
        options.output / "study.json",
        {"script": "head_accuracy", "models": [predictor.info.sha256, regions.info.sha256],
         "files": files},
        found="the accuracy of other models or on other scans",
    )  # fmt: skip
    found = measure_cases(
        folder, trials, lambda trial: trial.measure(predictor, regions, table), title="accuracy"
    )
    maps = {n: found[n.name] for n in trials if isinstance(n, MapTrial)}
    heads = {n: found[n.name] for n in trials if isinstance(n, HeadTrial)}
    names = [item.name for item in predictor.info.structures]
    rows = goals(maps, heads, names)
    title = f"# {predictor.info.title}: accuracy{' (quick selection)' if options.quick else ''}"
    steps = predictor.info.training.get("steps", "?")
    lines = [title, "", f"Weights {predictor.info.sha256[:12]}, {steps} steps.", ""]
    lines += markdown_table(("goal", "wanted", "found", "met"), rows)
    for part in (map_table(maps), head_table(heads), structure_table(maps, heads, names)):
        lines += ["", *part]
    text = "\n".join([*lines, ""])
    write_json(options.output / "accuracy.json", {"goals": rows, "trials": found})
    write_text(options.output / "table.md", text)
    return text


def trials_of(config: RunConfig, options: argparse.Namespace) -> tuple[LabelTable, list[Trial]]:
    """All that is measured: the originals first, with which others are compared.

    :raises ConfigError: if the configuration names no label maps or no heads.
    """
    if config.data.source != "generated" or not config.validation.monitor:
        raise ConfigError(
            f"'{options.config}' must be a training from label maps ('data.source': 'generated') "
            "that watches real heads ('validation.monitor')."
        )
    generation, split = config.generation, Path(config.data.split) if config.data.split else None
    files = find_label_maps(Path(config.data.labels), split)
    table = table_for(files, generation)
    kinds = [(contrast, change) for change in MAP_CHANGES for contrast in CONTRASTS
             if change not in ONCE or contrast == "T1"]  # fmt: skip
    watched = read_watched(Path(config.validation.monitor), table.names)
    kept = prepare_output_directory(options.output / "labels")
    trials: list[Trial] = [HeadTrial(case, change, kept) for case in watched for change in CHANGES]
    trials += [MapTrial(*case, *kind) for kind in kinds for case in files.val.items()]
    return table, sorted(trials, key=lambda trial: trial.change not in FIRST)


def quick_ones(trials: Sequence[Trial]) -> list[Trial]:
    """All heads as they are, what is done to the last of them, and all of one map."""
    heads = [trial for trial in trials if isinstance(trial, HeadTrial)]
    maps = [trial for trial in trials if isinstance(trial, MapTrial)]
    return [
        *(t for t in heads if t.change == "original" or t.watched == heads[-1].watched),
        *(t for t in maps if t.case == maps[0].case),
    ]


def check_models(predictor: VolumePredictor, regions: VolumePredictor, table: LabelTable) -> None:
    """:raises ConfigError: if models and label maps do not belong together."""
    names = [item.name for item in predictor.info.structures]
    if names != [name for value, name in table.names.items() if value]:
        raise ConfigError(
            f"The structures of '{predictor.info.name}' are not those of the configuration."
        )
    locator = regions.info.locator
    if locator is None or locator.model != predictor.info.name:
        raise ConfigError(
            f"'{regions.info.name}' does not get its boxes from '{predictor.info.name}'; choose "
            "another --regions."
        )


def hashes(trials: Sequence[Trial]) -> list[list[str]]:
    """The files that are read, with their content."""
    paths: set[Path] = set()
    for trial in trials:
        if isinstance(trial, MapTrial):
            paths.add(trial.path)
        else:
            paths |= {Path(trial.watched.image)}
            paths |= {Path(reference.labels) for reference in trial.watched.references}
    return [list(row) for path in sorted(paths) for row in input_hashes(path)]


def goals(
    maps: Mapping[MapTrial, Any], heads: Mapping[HeadTrial, Any], names: Sequence[str]
) -> list[list[str]]:
    """A row a goal: what was wanted, what was found."""
    fine = [f for t, f in maps.items() if t.change == "1 mm" and "refined" in f]
    originals = [f for t, f in heads.items() if t.change == "original" and "references" in f]
    others = [f for t, f in heads.items() if t.change in SAME_HEAD]
    sided = [f for f in (*maps.values(), *heads.values()) if "exchanged" in f]
    hippocampi = single(originals, names)
    given = [dice for f in originals for dice in f["regions"]["dice"].values()]
    boxes = [share for f in (*fine, *(f["regions"] for f in originals))
             for share in f["boxes"].values()]  # fmt: skip
    gains = [gain_of(fine, name) for name in names]
    cases = sorted({t.case for t in maps})
    by_map = [gain_of((f for t, f in maps.items() if t.case == case and f in fine), "mean")
              for case in cases]  # fmt: skip
    wide = [f["references"][widest(f)]["mean"] for f in originals]
    same = [f["with original"]["mean"] if "with original" in f else 0.0 for f in others]
    return [
        at_least("generated, 1 mm, mean DSC", 0.80, mean_of([f["refined"]["mean"] for f in fine])),
        at_least("one structure with a reference of its own, each DSC", 0.80, hippocampi),
        at_least("all structures with the widest reference, mean DSC", 0.86, mean_of(wide)),
        at_least("the same head in another contrast, each mean DSC with itself", 0.90, same),
        ["structures on the wrong side", "0", str(sum(len(f["exchanged"]) for f in sided)),
         yes(not any(f["exchanged"] for f in sided))],
        better("label maps that rendering makes better (1 mm)", len(cases), by_map),
        better("structures that rendering makes better (1 mm)", round(0.81 * len(names)), gains),
        at_least("share of a structure in its box, each", 0.99, boxes),
        at_least("the other model in its boxes, each DSC", 0.80, given),
        at_least("the other model in its boxes, mean DSC", 0.86, mean_of(given)),
    ]  # fmt: skip


def at_least(title: str, wanted: float, values: Sequence[float]) -> list[str]:
    """The row of a goal that each value must reach: the lowest counts."""
    if not values:
        return [title, f"≥ {wanted:.2f}", "not measured", ""]
    return [title, f"≥ {wanted:.2f}", f"{min(values):.3f}", yes(min(values) >= wanted)]


def better(title: str, wanted: int, gains: Sequence[float]) -> list[str]:
    """The row of a goal that so many gains must be above 0."""
    found = sum(gain > 0 for gain in gains)
    return [title, f"≥ {wanted} of {len(gains)}", str(found), yes(found >= wanted)]


def yes(met: bool) -> str:
    """``yes`` or ``no``."""
    return "yes" if met else "no"


def mean_of(values: Sequence[float]) -> list[float]:
    """Their mean alone; nothing of nothing."""
    return [float(np.mean(values))] if values else []


def gain_of(found: Iterable[Mapping[str, Any]], name: str) -> float:
    """By how much rendering makes a structure better, in the mean."""
    gains = [f["refined"][name] - f["coarse"][name] for f in found]
    return float(np.mean(gains)) if gains else 0.0


def widest(found: Mapping[str, Any]) -> str:
    """The reference of a head with the most structures."""
    return max(found["references"], key=lambda name: len(found["references"][name]))


def single(found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[float]:
    """DSC with references that hold one structure."""
    return [
        dice for head in found for reference in head["references"].values()
        if len(reference) == 2 for name, dice in reference.items() if name in names
    ]  # fmt: skip


def map_table(maps: Mapping[MapTrial, Any]) -> list[str]:
    """A row a contrast and voxel size, over the label maps."""
    rows = []
    for kind in dict.fromkeys((t.contrast, t.change) for t in maps):
        mine = [f for t, f in maps.items() if (t.contrast, t.change) == kind]
        done = [f for f in mine if "refined" in f]
        shares = [share for f in done for share in f.get("boxes", {}).values()]
        rows.append([
            *kind, *(cell(f[stage]["mean"] for f in done) for stage in ("coarse", "refined")),
            cell(f["agreement"] for f in done), f"{min(shares):.4f}" if shares else "",
            *(ratio(done, name) for name in ("brain_ml", "intracranial_ml")),
            str(sum(len(f["exchanged"]) for f in done)), f"{len(mine) - len(done)} of {len(mine)}",
        ])  # fmt: skip
    head = ("contrast", "voxels", "coarse DSC", "refined DSC", "agreement with the mirror image",
            "least share in a box", "brain, measured / true", "intracranial, measured / true",
            "on the wrong side", "refused")  # fmt: skip
    return ["**Generated from label maps** (means over maps)", "", *markdown_table(head, rows)]


def ratio(found: Sequence[Mapping[str, Any]], volume: str) -> str:
    """The mean of what was measured over what is true."""
    return cell(f["brain"][volume] / f["true brain"][volume] for f in found if "true brain" in f)


def head_table(heads: Mapping[HeadTrial, Any]) -> list[str]:
    """A row a head and change."""
    references = list(dict.fromkeys(n for f in heads.values() for n in f.get("references", {})))
    rows = []
    for trial, found in heads.items():
        row = [trial.watched.name, trial.change]
        if "refused" in found:
            rows.append([*row, "refused", *[""] * (len(references) + 2)])
            continue
        row += [f"{found['references'][n]['mean']:.3f}" if n in found["references"] else ""
                for n in references]  # fmt: skip
        rows.append([
            *row, f"{found['with original']['mean']:.3f}", str(len(found["exchanged"])),
            f"{found['agreement']:.3f}",
        ])  # fmt: skip
    head = ("head", "change", *(f"DSC with {n}" for n in references), "with the original",
            "on the wrong side", "agreement with the mirror image")  # fmt: skip
    return ["**Real heads**", "", *markdown_table(head, rows)]


def structure_table(
    maps: Mapping[MapTrial, Any], heads: Mapping[HeadTrial, Any], names: Sequence[str]
) -> list[str]:
    """A row a structure: on generated scans, and with each reference that knows it alone or not."""
    fine = [f for t, f in maps.items() if t.change == "1 mm" and "refined" in f]
    thick = [f for t, f in maps.items() if t.change == "5 mm slices" and "refined" in f]
    originals = [f for t, f in heads.items() if t.change == "original" and "references" in f]
    rows = []
    for name in [*names, "mean"]:
        wide = [dice for f in originals for part, dice in f["references"][widest(f)].items()
                if name in part.split(" + ")]  # fmt: skip
        alone = single(originals, [name])
        rows.append([
            name, cell(f["coarse"][name] for f in fine), cell(f["refined"][name] for f in fine),
            cell(f["refined"][name] for f in thick), cell(wide), cell(alone),
        ])  # fmt: skip
    head = ("structure", "1 mm, coarse", "1 mm, refined", "5 mm slices", "heads, widest reference",
            "heads, reference of its own")  # fmt: skip
    return ["**By structure** (mean DSC)", "", *markdown_table(head, rows)]


def cell(values: Iterable[float]) -> str:
    """Their mean, or nothing."""
    listed = list(values)
    return f"{np.mean(listed):.3f}" if listed else ""


if __name__ == "__main__":
    sys.exit(main())
