"""(c) DSC beside nnU-Net v2, which is trained here on the same cases for a stated number of steps.

    python Training/research/benchmarks/accuracy.py --nnunet-python ~/nnunet/bin/python
    python Training/research/benchmarks/accuracy.py --steps 2400 --split val

``peers.py`` compares times; this script compares scores. nnU-Net plans, augments and trains by
itself in 3D on the training split of a configuration's data set (``peer_nnunet_training.py`` says
what differs from its command). Ours is a model folder that was trained on the same split. 690 steps
of seven windows take about an hour on one core with AMX, as the training of ``hippocampus-t1``
does. nnU-Net's own training has 250,000: this compares programs at one cost, not nnU-Net at its
best. Both are scored on the same split, paired by subject. Ours is "not lower" if the 95 % interval
of the difference begins above -0.01. An interrupted training continues from its last epoch.
``--runs`` names the folder for ``table.md`` and every case's scores.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

import numpy as np

from MorseCore.config import decode, read_configuration, read_json
from MorseCore.errors import ConfigError, DatasetError, MorseError
from MorseCore.metrics.casetable import read_cases, write_cases
from MorseCore.metrics.evaluation import evaluate_folder
from MorseCore.metrics.subjects import subjects_of
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import ModelInfo, read_model
from MorseCore.system.files import atomic_path, prepare_output_directory, write_json, write_text
from MorseCore.training.config import DataConfig
from MorseCore.training.dataset import Decathlon
from Training.research.benchmarks.measuring import Figure, Sample
from Training.research.benchmarks.report import Report, arguments, run_benchmark
from Training.research.shared.commandline import positive
from Training.research.shared.data import open_training_data
from Training.research.shared.identity import check_identity
from Training.research.shared.output import markdown_table
from Training.research.shared.scores import Cases, Interval, Values, all_by_subject, pair_subjects
from Training.score import MEASURES, score

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parents[1] / "configs" / "hippocampus-t1.json"
QUICK_STEPS, QUICK_CASES = 2, 4
MARGIN = 0.01  # of DSC: a loss that would not matter; two trainings of one network differ as much


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    parser = arguments(__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE", help="its data set")
    parser.add_argument("--model", default="hippocampus-t1", help="name or folder of ours")
    parser.add_argument("--steps", type=positive, default=690, metavar="N", help="of nnU-Net")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--nnunet-python", default=sys.executable, metavar="FILE")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="default: runs/accuracy")
    return run_benchmark("accuracy", parser, measure, words=words)


def measure(options: argparse.Namespace, report: Report) -> None:
    """Train nnU-Net if that is not done yet, score both programs, compare."""
    quick = options.quick or options.smoke
    model = find_model(options.model)
    info = read_model(model)
    where = decode(DataConfig, read_configuration(options.config).get("data"), "data")
    data = open_training_data(where)
    # An hour of training later is too late to find that these do not fit.
    subjects = subjects_of(Path(where.dataset))
    check(data, info, options.split)
    modality = modality_of(Path(where.dataset))
    if quick:
        data = Decathlon(data.name, data.licence, data.labels, {
            split: cases[:QUICK_CASES] for split, cases in data.splits.items()
        })  # fmt: skip
        report.note(f"--quick: {QUICK_STEPS} steps on {QUICK_CASES} cases, only that it runs.")
    steps = QUICK_STEPS if quick else options.steps
    home = options.runs or Path("runs/accuracy-quick" if quick else "runs/accuracy")
    prepare_output_directory(home)
    cases = {part: [case.name for case in cases] for part, cases in data.splits.items()}
    settings = {"cases": cases, "split": options.split, "steps": steps}
    check_identity(
        home / "study.json", settings, found="a comparison with other settings", option="--runs"
    )
    raw = home / "nnunet" / "raw" / f"Dataset004_{''.join(filter(str.isalnum, data.name))}"
    write_raw(data, raw, split=options.split, modality=modality)
    said = run_peer(options.nnunet_python, home / "nnunet", steps=steps)
    report.note(
        f"nnU-Net: {said['parameters'] / 1e6:.1f} M parameters, {said['steps']} steps of "
        f"{said['batch']} windows in {said['minutes']:.0f} minutes."
    )
    theirs = score_theirs(home, data)
    ours, failures = score(model, info, data, data.splits[options.split], pairs=None, device="auto")
    if failures:  # both programs have the same cases, or none
        raise DatasetError(failures[0])
    write_cases(home / f"scores-{info.name}.csv", ours, data.labels)
    names = [name for name, *_ in MEASURES]
    values = {
        "nnU-Net": all_by_subject(theirs, subjects, stage="prediction", measures=names),
        info.name: all_by_subject(ours, subjects, stage="refined", measures=names),
    }
    conclude(values, report, home=home)
    if quick:
        report.figures.clear()  # a verdict on two steps would be none


def check(data: Decathlon, info: ModelInfo, split: str) -> None:
    """Check before an hour of training that both programs can use the data set.

    :raises ConfigError: if one of them cannot be trained and scored on it.
    :raises DatasetError: if nnU-Net would not read its files.
    """
    if data.num_classes != info.num_classes:
        raise ConfigError(f"'{info.name}' has other classes than the data set '{data.name}'.")
    if info.network.spatial_dims != 3:
        raise ConfigError(f"Only 3D models are compared; '{info.name}' is one of slices.")
    for part in ("val", split):  # nnU-Net wants to validate, too
        if not data.splits[part]:
            raise ConfigError(f"The split '{part}' holds no cases.")
    for case in (case for cases in data.splits.values() for case in cases):
        for path in (case.image, case.label):
            if not path.name.endswith(".nii.gz"):
                raise DatasetError(f"nnU-Net is given .nii.gz files only; found '{path}'.")


def modality_of(dataset: Path) -> str:
    """The modality that ``dataset.json`` names; nnU-Net normalises CT differently.

    :raises DatasetError: if it does not say.
    """
    data = read_json(dataset)
    names = data.get("channel_names") or data.get("modality")
    if not isinstance(names, dict) or not isinstance(names.get("0"), str):
        raise DatasetError(f"'{dataset}' does not name the modality of channel 0.")
    return str(names["0"])


def write_raw(data: Decathlon, folder: Path, *, split: str, modality: str) -> None:
    """Copy the data set into nnU-Net's layout; files that are there already stay."""
    for name, cases in (("Tr", data.splits["train"] + data.splits["val"]),
                        ("Ts", data.splits[split])):  # fmt: skip
        images = prepare_output_directory(folder / f"images{name}")
        labels = prepare_output_directory(folder / f"labels{name}")
        for case in cases:
            for source, target in (
                (case.image, images / f"{case.name}_0000.nii.gz"),
                (case.label, labels / f"{case.name}.nii.gz"),
            ):
                if not target.exists():
                    with atomic_path(target) as temporary:
                        shutil.copyfile(source, temporary)
    write_json(folder / "dataset.json", {
        "channel_names": {"0": modality},
        "labels": {"background" if v == 0 else name: v for v, name in data.labels.items()},
        "numTraining": len(data.splits["train"] + data.splits["val"]), "file_ending": ".nii.gz",
    })  # fmt: skip
    write_text(folder / "splits_final.json", json.dumps([
        {part: [case.name for case in data.splits[part]] for part in ("train", "val")}
    ]))  # fmt: skip


def run_peer(python: str, home: Path, *, steps: int) -> dict[str, Any]:
    """Let nnU-Net plan, train and predict; it shows its own progress.

    :returns: ``minutes`` of training, ``steps`` of ``batch`` windows, ``parameters``.
    :raises MorseError: if it cannot be run or fails.
    """
    words = [python, str(HERE / "peer_nnunet_training.py"), str(home), str(steps)]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    except OSError as error:
        raise MorseError(f"'{python}' cannot be run: {error.strerror}.") from error
    if done.returncode:
        raise MorseError(
            "nnU-Net failed; its last words stand above. It needs nnunetv2 in the Python that "
            "--nnunet-python names."
        )
    try:
        said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise MorseError(f"'{python}' did not run the script: is it a Python?") from error
    return said


def score_theirs(home: Path, data: Decathlon) -> Cases:
    """nnU-Net's masks against the labels, by the command ``evaluate``'s own code."""
    reference = next((home / "nnunet" / "raw").glob("*/labelsTs"))
    output = home / "scores-nnunet.csv"
    evaluate_folder(home / "nnunet" / "predicted", reference, output=output, labels=data.labels)
    return read_cases(output)


def conclude(values: Mapping[str, Values], report: Report, *, home: Path) -> None:
    """Write the table, and add the figure: ours minus theirs, by subject."""
    theirs, ours = values.values()
    rows = []
    for name, row in values.items():
        report.add({f"DSC, {name}": Sample(tuple(row["dice"].values()), "")})
        means = [f"{np.mean(list(row[m].values())):.{digits}f}" for m, _, digits in MEASURES]
        rows.append([name, *means])
    differences = {m: Interval.between(*pair_subjects(theirs[m], ours[m])) for m, *_ in MEASURES}
    rows.append(["difference [95 %]", *(differences[m].text(n) for m, _, n in MEASURES)])
    dice = differences["dice"]
    # Not the upper end: few subjects and a wide interval would make that easy.
    report.figures.append(Figure(
        "DSC MorseCore - nnU-Net, lower end", dice.low, -MARGIN, at_least=True,
        spread=(dice.low, dice.high),
    ))  # fmt: skip
    table = "\n".join(markdown_table(["program", *(title for _, title, _ in MEASURES)], rows))
    print(table)
    notes = "\n".join(report.notes)
    write_text(home / "table.md", f"{table}\n\n{len(theirs['dice'])} subjects. {notes}\n")
    print(f"written: {home / 'table.md'}")


if __name__ == "__main__":
    sys.exit(main())
