"""What a cohort's folder says while a batch runs, and what another run makes again."""

import json
from pathlib import Path

import pytest

from cli_client import COHORT_FILES, CommandLine, names, read_table, write_scan
from MorseCore.commands.batch import run_batch
from MorseCore.quality.mosaic import LARGEST_PICTURE
from MorseCore.service.protocol import CaseSettings

SETTINGS = CaseSettings(model="phantom-tiny", passes=0, device="cpu")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for name in "abc":
        write_scan(folder / f"{name}.nii.gz", seed=28)
    return folder


def test_the_table_says_what_is_running_and_what_waits(
    scans: Path, tmp_path: Path, warm_worker
) -> None:
    output, seen = tmp_path / "out", []

    def look(name: str, *_: object) -> None:
        rows = read_table(output / "summary.csv")
        seen.append({row["case"]: row["state"] for row in rows})

    assert run_batch([scans], output, SETTINGS, worker=warm_worker, on_result=look) == 0
    assert seen == [
        {"a": "running", "b": "waiting", "c": "waiting"},
        {"a": "done", "b": "running", "c": "waiting"},
        {"a": "done", "b": "done", "c": "running"},
    ]
    rows = read_table(output / "summary.csv")
    assert {row["state"] for row in rows} == {"done"}
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert all(50 < float(row["peak_memory_mb"]) < 50_000 for row in rows)


def test_every_case_has_a_small_picture_and_a_lost_one_is_drawn_again(
    scans: Path, tmp_path: Path, warm_worker
) -> None:
    output = tmp_path / "out"
    assert run_batch([scans], output, SETTINGS, worker=warm_worker) == 0
    assert names(output) == {"a", "b", "c"} | COHORT_FILES
    pictures = {f"{name}.{ending}" for name in "abc" for ending in ("jpg", "html")}
    assert names(output / "pictures") == pictures
    picture = output / "pictures" / "b.jpg"
    drawn = picture.read_bytes()
    assert 1000 < len(drawn) <= LARGEST_PICTURE
    picture.unlink()
    assert run_batch([scans], output, SETTINGS, worker=warm_worker) == 0
    assert picture.read_bytes() == drawn
    assert {row["status"] for row in read_table(output / "summary.csv")} == {"done before"}


def test_implausible_results_are_made_again_on_wish(
    command: CommandLine, scans: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert command.segment(scans, output=output, passes=0).code == 0
    for name, level in (("a", "implausible"), ("b", "check")):
        path = output / name / "report.json"
        report = json.loads(path.read_text(encoding="utf-8"))
        report["verdict"] = {"level": level, "reasons": [{"structure": "", "words": "Odd."}]}
        path.write_text(json.dumps(report), encoding="utf-8")
    again = command.segment(scans, output=output, passes=0).err
    assert again.count("already done") == 3
    rows = {row["case"]: row["verdict"] for row in read_table(output / "summary.csv")}
    assert list(rows.items())[:2] == [("a", "implausible"), ("b", "check")]
    again = command.segment(scans, output=output, passes=0, rerun="implausible").err
    assert "a: done in" in again
    assert again.count("already done") == 2
