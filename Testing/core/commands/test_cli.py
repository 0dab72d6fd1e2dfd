"""The command line itself: usage, exit codes, signals, devices, progress."""

import io
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cli_client import ROOT, CommandLine, names, start
from MorseCore.commands import cli
from MorseCore.commands.terminal import terminal_progress
from MorseCore.errors import DeviceError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_labels
from MorseCore.metrics.comparison import compare_masks, format_changes
from MorseCore.result import Structure
from MorseCore.system.devices import describe_device, resolve_device
from MorseCore.system.memory import check_memory


@pytest.mark.parametrize(
    "words",
    [
        [], ["sgment"], ["segment"], ["segment", "--model", "brain-mr"], ["models"],
        ["models", "lst"], ["evaluate"], ["models", "show"], ["segment", "--nonsense"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_one_sentence_and_code_2(command: CommandLine, words: list[str]) -> None:
    done = command(*words)
    assert done.code == 2
    assert done.sentence.startswith("error: ")
    assert done.sentence.endswith("--help")


@pytest.mark.parametrize("words", [[], ["segment"], ["evaluate"], ["models"], ["demo"]])
def test_every_command_explains_itself(command: CommandLine, words: list[str]) -> None:
    done = command(*words, "--help")
    assert done.code == 0
    assert done.out.startswith("usage: morsesegment")


def test_help_and_version_do_not_wait_for_torch() -> None:
    code = (
        "import sys, MorseCore.commands.cli; "
        "print([m for m in ('torch', 'SimpleITK') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert done.stdout.strip() == "[]"


def test_an_unexpected_error_is_one_sentence_with_details_only_on_wish(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("MorseCore.commands.method_list.list_methods", fail)
    assert cli.main(["methods"]) == 1
    assert capsys.readouterr().err == "error: unexpected ZeroDivisionError: division by zero\n"
    assert cli.main(["--verbose", "methods"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])  # what is in Python's buffer is written last
def test_a_reader_that_has_seen_enough_is_no_error(
    monkeypatch: pytest.MonkeyPatch, unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    process = start("methods")
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == ""


def test_a_command_leaves_logging_and_signals_as_they_were(command: CommandLine) -> None:
    import signal

    before = (list(logging.getLogger().handlers), signal.getsignal(signal.SIGTERM))
    command("models", "list")
    assert (list(logging.getLogger().handlers), signal.getsignal(signal.SIGTERM)) == before


def test_a_terminal_without_a_letter_shows_an_escape(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "MorseCore", "models", "import", str(tmp_path / "ö.zip")],
        env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    assert done.returncode == 2
    assert "\\xf6.zip" in done.stderr


def label_folders(root: Path) -> tuple[Path, Path]:
    """One case, predicted with one voxel too few."""
    geometry = Geometry((4, 4, 4), np.eye(4))
    truth = np.zeros((4, 4, 4), np.uint8)
    truth[:2] = 1
    found = truth.copy()
    found[0, 0, 0] = 0
    for name, mask in (("found", found), ("truth", truth)):
        (root / name).mkdir()
        write_labels(root / name / "x.nii.gz", mask, geometry)
    return root / "found", root / "truth"


def test_evaluate_prints_a_table_and_writes_both_files(
    command: CommandLine, tmp_path: Path
) -> None:
    found, truth = label_folders(tmp_path)
    done = command(
        "evaluate", "--prediction", found, "--reference", truth, "--model", "phantom-tiny",
        "--output", tmp_path / "scores" / "all.json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "ball" in done.out  # the model's name for 1
    assert names(tmp_path / "scores") == {"all.json", "all.csv"}


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["--prediction", "none", "--reference", "truth"], 1, "no prediction folder 'none'"),
        (["--prediction", "found", "--reference", "none"], 1, "no reference folder 'none'"),
        (["--prediction", "found", "--reference", "truth", "--model", "x"], 2, "no model 'x'"),
        (["--prediction", "found", "--reference", "truth", "--output", "file/a"], 1, "written"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    words: list[str], code: int, reason: str,
) -> None:  # fmt: skip
    label_folders(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    done = command("evaluate", *words)
    assert done.code == code
    assert reason in done.sentence


def test_a_damaged_mask_is_one_sentence_that_names_its_case(
    command: CommandLine, tmp_path: Path
) -> None:
    found, truth = label_folders(tmp_path)
    (found / "x.nii.gz").write_bytes(b"no mask")
    done = command("evaluate", "--prediction", found, "--reference", truth)
    assert done.code == 1
    assert "Case 'x'" in done.sentence


def test_devices_are_what_was_asked_for_or_an_error() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(" CPU ") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert "threads" in describe_device(torch.device("cpu"))
    for name in ("", "gpu", "cpu:1", "cuda:-1", "cuda:x", "cuda:1.0", "mps"):
        with pytest.raises(DeviceError, match="auto, cpu, cuda or cuda:N"):
            resolve_device(name)


def test_only_what_cannot_fit_into_memory_is_refused() -> None:
    check_memory(1 << 20)
    with pytest.raises(DeviceError, match="choose a region of interest or a smaller scale"):
        check_memory(1 << 60)


def test_progress_is_silent_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with terminal_progress() as tell:
        tell("a", "network", 0.5)
        tell("b", "prepare", 0.0)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_case_stage_and_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with terminal_progress() as tell:
        for stage, first, last in (("prepare", 0, 5), ("network", 5, 95), ("restore", 95, 100)):
            tell("case_01", stage, first)
            time.sleep(0.15)  # the bar is drawn ten times a second
            tell("case_01", stage, last)
            tell("case_01", stage, last - 1)  # never back
    shown = terminal.getvalue()
    assert "case_01:   0%" in shown
    assert "95%" in shown
    assert "network" in shown


def test_changes_are_counted_by_structure() -> None:
    coarse = np.zeros((4, 4, 4), np.uint8)
    coarse[0] = 1
    refined = coarse.copy()
    refined[0, 0, 0] = 0
    refined[1, :2, 0] = 1
    structures = [Structure(1, "a", (1, 0, 0)), Structure(2, "absent", (0, 1, 0))]
    geometry = Geometry((4, 4, 4), np.diag([10.0, 10.0, 10.0, 1.0]))
    first, second = compare_masks(coarse, refined, geometry=geometry, structures=structures)
    assert (first["coarse_ml"], first["refined_ml"], first["change_ml"]) == (16.0, 17.0, 1.0)
    assert (first["added_voxels"], first["removed_voxels"]) == (2, 1)
    assert first["change_percent"] == 6.25
    assert second["change_percent"] is None
    assert second["shift_mean_mm"] == 0
    lines = format_changes([first, second]).splitlines()
    assert len(lines) == 3
    assert "+1.000" in lines[1]


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a current folder from being deleted")
def test_a_current_folder_that_was_deleted_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    code = (
        "import os, sys; os.chdir('gone'); os.rmdir('../gone'); "
        "from MorseCore.commands.cli import main; sys.exit(main(['segment', 'a.nii.gz']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    expected = "error: The current folder was deleted; change to another one.\n"
    assert (done.returncode, done.stderr) == (2, expected)
