"""The command says how far each result can be trusted, and ends with 1 where none is there."""

import json
import shutil
from pathlib import Path

import pytest

from cli_client import CommandLine, read_report, read_table, write_scan
from MorseCore.commands.batch import run_batch
from MorseCore.commands.batchtable import SUMMARY
from MorseCore.service.protocol import CaseSettings, Load, SegmentCase
from MorseCore.store.library import BUILT_IN
from MorseCore.store.model_folder import INFO


def with_limits(folder: Path, *limits: dict) -> Path:
    """A copy of phantom-tiny with limits of its own."""
    shutil.copytree(BUILT_IN / "phantom-tiny", folder)
    data = json.loads((folder / INFO).read_text(encoding="utf-8"))
    data |= {"verdict": {"thresholds": list(limits)}, "format": 2, "name": folder.name}
    (folder / INFO).write_text(json.dumps(data), encoding="utf-8")
    return folder


def volume(low: float, high: float) -> dict:
    """Of the ball, in ml."""
    return {
        "signal": "volume", "structure": "ball", "typical": (low * high) ** 0.5,
        "check": [low, high], "implausible": [low / 2, high * 2],
    }  # fmt: skip


@pytest.fixture(scope="module")
def hard_to_please(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that expects a ball of a hundred millilitres."""
    return with_limits(tmp_path_factory.mktemp("models") / "hard", volume(90.0, 110.0))


def test_the_last_line_counts_the_levels(command: CommandLine, tmp_path: Path) -> None:
    for name, seed in (("a", 28), ("b", 36)):
        write_scan(tmp_path / "in" / f"{name}.nii.gz", seed=seed)
    done = command.segment(tmp_path / "in", output=tmp_path / "out")
    assert done.code == 0, done.err
    assert done.err.strip().splitlines()[-1] == "2 ok, 0 check, 0 implausible"
    rows = read_table(tmp_path / "out" / SUMMARY)
    assert [row["verdict"] for row in rows] == ["ok", "ok"]
    quiet = command.segment(tmp_path / "in", output=tmp_path / "off", verdict="off")
    assert "implausible" not in quiet.err
    assert "verdict" not in read_report(tmp_path / "off" / "a")


def test_an_implausible_result_is_said_in_words_and_fails_where_asked(
    command: CommandLine, hard_to_please: Path, tmp_path: Path
) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    done = command.segment(scan, output=tmp_path / "out", model=hard_to_please)
    assert done.code == 0
    assert "; implausible: The volume of ball is" in done.sentence
    verdict = read_report(tmp_path / "out" / "a")["verdict"]
    assert verdict["level"] == "implausible"
    assert {"structure", "signal", "value", "range", "words"} <= {*verdict["reasons"][0]}
    words = ["segment", scan, "--model", hard_to_please, "--output", tmp_path / "out", "--strict"]
    strict = command(*words)  # of the result that is there
    assert strict.code == 1
    assert strict.sentence.startswith("a: implausible: The volume of ball is")


def test_the_table_has_reasons_and_the_worst_first(
    command: CommandLine, hard_to_please: Path, tmp_path: Path
) -> None:
    write_scan(tmp_path / "a" / "good.nii.gz", seed=28)
    write_scan(tmp_path / "b" / "bad.nii.gz", seed=36)
    assert command.segment(tmp_path / "a" / "good.nii.gz", output=tmp_path / "out").code == 0
    write_scan(tmp_path / "b" / "worse.nii.gz", seed=35)
    done = command.segment(tmp_path / "b", output=tmp_path / "out", model=hard_to_please)
    assert done.err.strip().splitlines()[-1] == "0 ok, 0 check, 2 implausible"
    rows = read_table(tmp_path / "out" / SUMMARY)
    assert [row["verdict"] for row in rows] == ["implausible", "implausible", "ok"]
    assert all(row["reasons"].startswith("The volume of ball") for row in rows[:2])


class Finished:
    """A worker whose cases all end with one report."""

    def __init__(self, report: dict) -> None:
        self.report, self.warm_up = report, None

    def ask(self, request: Load | SegmentCase, **rest: object) -> dict:
        if isinstance(request, SegmentCase):
            Path(request.output).mkdir(parents=True)
            (Path(request.output) / "report.json").write_text(json.dumps(self.report))
        return {"status": "done", "report": self.report, "contrast": None, "channels": None}


@pytest.mark.parametrize(("ml", "code"), [(0.0, 1), (0.3, 0)])
def test_an_empty_mask_is_a_failure(tmp_path: Path, ml: float, code: int) -> None:
    scan = write_scan(tmp_path / "a.nii.gz")
    rows = [{"name": name, "refined_ml": x, "change_ml": 0.0, "shift_p95_mm": 0.0}
            for name, x in (("ball", 0.0), ("rod", ml))]  # fmt: skip
    report = {"structures": rows, "model": {"name": "phantom-tiny", "sha256": "0"}}
    shown: list[str] = []
    found = run_batch(
        [scan], tmp_path / "out", CaseSettings(model="phantom-tiny"), worker=Finished(report),
        on_result=lambda name, *rest: shown.append(name),
    )  # fmt: skip
    assert found == code
    assert shown == ([] if code else ["a"])  # nothing is shown as a result
