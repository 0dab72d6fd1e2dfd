"""``benchmarks/accuracy.py``: both programs get the same cases, and are scored alike.

nnU-Net itself is not among the packages of the tests: a program that answers in its place checks
the folders that it would get, and gives the labels back, in part.
"""

import json
import os
import sys
from pathlib import Path

import pytest

from MorseCore.training.phantoms import write_phantom_dataset
from training_runs import REPOSITORY, run_data

sys.path.insert(0, str(REPOSITORY))

from Training.research.benchmarks import accuracy
from Training.research.benchmarks.report import Report

pytestmark = pytest.mark.skipif(os.name == "nt", reason="NOT TESTED: the stand-in is a Unix script")

STAND_IN = """#!{python}
import json, sys
from pathlib import Path
import SimpleITK

script, home, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
assert script.is_file()
[raw] = (home / "raw").glob("Dataset[0-9][0-9][0-9]_*")
known = json.loads((raw / "dataset.json").read_text())
assert known["labels"]["background"] == 0 and known["channel_names"] == {{"0": {modality!r}}}
[fold] = json.loads((raw / "splits_final.json").read_text())
trained = fold["train"] + fold["val"]
assert known["numTraining"] == len(trained) and not set(fold["train"]) & set(fold["val"])
assert {{p.name for p in (raw / "imagesTr").iterdir()}} == {{n + "_0000.nii.gz" for n in trained}}
assert {{p.name for p in (raw / "labelsTr").iterdir()}} == {{n + ".nii.gz" for n in trained}}
(home / "predicted").mkdir(exist_ok=True)
for path in (raw / "labelsTs").iterdir():
    assert path.name.split(".")[0] not in trained
    mask = SimpleITK.ReadImage(str(path))
    if {shrinks}:
        mask = SimpleITK.GrayscaleErode(mask, [2, 2, 2])
    SimpleITK.WriteImage(mask, str(home / "predicted" / path.name))
print("nnU-Net would speak here")
print(json.dumps({{"minutes": 1.5, "steps": steps, "batch": 7, "parameters": 5_600_000}}))
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of phantoms: two to learn from, one to choose by, three to test on."""
    data = write_phantom_dataset(tmp_path / "data", cases=(2, 1, 3), shape=(24, 24, 24)).parent
    places = {"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(run_data(data=places)))
    return path


def stand_in(folder: Path, *, shrinks: bool) -> str:
    path = folder / "python"
    path.write_text(STAND_IN.format(python=sys.executable, shrinks=shrinks, modality="phantom"))
    path.chmod(0o755)
    return str(path)


def compare(config: Path, python: str, *words: str) -> int:
    options = ["--model", "phantom-tiny", "--config", str(config), "--nnunet-python", python]
    return accuracy.main([*options, "--runs", str(config.parent / "runs"), *words])


def test_a_peer_that_gives_the_labels_back_is_better_and_one_that_shrinks_them_is_not(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(config, stand_in(config.parent, shrinks=False)) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].endswith("MISSED)")
    assert "| nnU-Net | 1.0000 | 1.0000 | 0.000 | 0.0000 |" in printed
    assert "5.6 M parameters, 690 steps of 7 windows in 2 minutes." in printed
    runs = config.parent / "runs"
    assert {p.name for p in runs.iterdir()} >= {"table.md", "scores-phantom-tiny.csv",
                                                "scores-nnunet.csv"}  # fmt: skip
    assert compare(config, stand_in(config.parent, shrinks=True)) == 0  # goes on in the folder
    assert capsys.readouterr().out.splitlines()[-1].endswith(", met)")


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [((-0.10, 0.01), "MISSED"), ((0.004, -0.004), "met"), ((-0.02, -0.03), "MISSED")],
)
def test_few_subjects_and_a_wide_interval_are_no_success(
    gains: tuple[float, ...], verdict: str, tmp_path: Path
) -> None:
    theirs = {m: {"a": 0.8, "b": 0.8} for m, *_ in accuracy.MEASURES}
    ours = {m: {s: 0.8 + g for s, g in zip("ab", gains, strict=True)} for m in theirs}
    report = Report("accuracy", "here", "wall")
    accuracy.conclude({"nnU-Net": theirs, "ours": ours}, report, home=tmp_path)
    assert report.line.endswith(f"{verdict})")


def test_the_default_configuration_is_there() -> None:
    assert accuracy.CONFIG.is_file()


def test_a_quick_run_gives_no_verdict(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(config, stand_in(config.parent, shrinks=True), "--quick") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("accuracy: not measured (--quick: 2 steps")


def test_another_length_is_not_mixed_with_what_a_folder_holds(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = stand_in(config.parent, shrinks=False)
    assert compare(config, python, "--steps", "30") == 0
    assert compare(config, python, "--steps", "60") == 2
    assert "holds a comparison with other settings" in capsys.readouterr().err


def test_a_python_without_nnunet_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(config, str(config.parent / "nobody")) == 1
    assert "cannot be run: No such file or directory" in capsys.readouterr().err
    assert compare(config, sys.executable) == 1  # it has no nnunetv2
    assert "It needs nnunetv2 in the Python that --nnunet-python names" in capsys.readouterr().err
    assert compare(config, "/bin/echo") == 1
    assert "'/bin/echo' did not run the script" in capsys.readouterr().err


def test_other_cases_are_not_mixed_with_what_a_folder_holds(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else nnU-Net were scored on cases that it was trained on."""
    python = stand_in(config.parent, shrinks=False)
    assert compare(config, python) == 0
    path = config.parent / "data" / "splits.json"
    splits = json.loads(path.read_text())
    splits["train"], splits["test"] = splits["test"], splits["train"]
    path.write_text(json.dumps(splits))
    assert compare(config, python) == 2
    assert "holds a comparison with other settings" in capsys.readouterr().err


def change(config: Path, name: str, **entries: object) -> None:
    path = config.parent / "data" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("name", "entries", "message"),
    [("splits.json", {"val": []}, "The split 'val' holds no cases"),
     ("splits.json", {"test": []}, "The split 'test' holds no cases"),
     ("dataset.json", {"modality": None}, "does not name the modality of channel 0"),
     ("cases.csv", None, "no column 'case'")],
)  # fmt: skip
def test_what_does_not_fit_is_said_before_an_hour_of_training(
    config: Path,
    name: str,
    entries: dict[str, object] | None,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if entries is None:
        (config.parent / "data" / name).write_text("subject\nA\n")
    else:
        change(config, name, **entries)
    assert compare(config, "/bin/false") != 0  # nothing gets so far as to run it
    assert message in capsys.readouterr().err
