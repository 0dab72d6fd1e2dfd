"""The files of a case: read back as written, replaced together, never half there."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli_client import RESULT_FILES, ROOT, names, snapshot
from MorseCore.errors import ImageError, OutputError
from MorseCore.geometry import Geometry
from MorseCore.inference.files import MAX_MARKUPS, complete_result, read_result, write_result
from MorseCore.result import RenderedPoints
from MorseCore.system.files import temporary_folder
from writing_process import make_result


@pytest.mark.parametrize("mask_format", ["nii.gz", "seg.nrrd"])
def test_a_result_is_read_back_as_it_was(finished: Path, tmp_path: Path, mask_format: str) -> None:
    result = read_result(finished)
    write_result(tmp_path, result, mask_format=mask_format)
    again = read_result(tmp_path)
    assert again.geometry.is_close(result.geometry, tolerance=1e-6)
    assert again.structures == result.structures
    for name in ("coarse", "refined", "uncertainty"):
        np.testing.assert_array_equal(getattr(again, name), getattr(result, name))
    for name in RenderedPoints.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again.points, name), getattr(result.points, name))
    assert again.report == {**result.report, "labels": again.report["labels"]}


def test_only_the_most_uncertain_points_become_markups(tmp_path: Path) -> None:
    count = MAX_MARKUPS + 10
    whole = np.arange(count, dtype=np.int32)
    points = RenderedPoints(
        np.stack([whole, whole + 0.5, whole], axis=1).astype(float), np.stack([whole] * 3, axis=1),
        np.linspace(1, 0, count, dtype=np.float32), whole % 2, whole % 3 % 2,
        np.ones(count, np.float32), np.ones(count, np.float32),
    )  # fmt: skip
    write_result(tmp_path, replace(make_result(1), points=points))
    markup = json.loads((tmp_path / "points.mrk.json").read_text())["markups"][0]
    assert markup["coordinateSystem"] == "LPS"
    assert len(markup["controlPoints"]) == MAX_MARKUPS
    assert markup["controlPoints"][3]["position"] == [-3.0, -3.5, 3.0]
    assert [point["label"] for point in markup["controlPoints"][:4]] == ["0", "1", "0", "1 -> 0"]
    assert len((tmp_path / "points.csv").read_text().splitlines()) == count + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_step_leaves_the_whole_old_or_the_whole_new_result(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "Testing" / "helpers" / "writing_process.py", tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        encoding="utf-8", errors="replace", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert {line["seen"] for line in lines} == {1, 2, None}  # never a mixture
    recovered = [line["recovered"] for line in lines]
    assert recovered == sorted(recovered)  # old ones, then new ones, and never none
    assert recovered.count(1) > 5
    assert recovered.count(2) > 5
    for line in lines[::4]:
        assert line["rewritten"] == 1
        assert set(line["names"]) == RESULT_FILES


def test_a_failure_while_writing_keeps_the_old_result(tmp_path: Path) -> None:
    write_result(tmp_path, make_result(1))
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(tmp_path, replace(make_result(2), report={"attention": float("nan")}))
    assert snapshot(tmp_path) == before


def test_a_failure_in_a_new_folder_leaves_no_folder(tmp_path: Path) -> None:
    wrong = replace(make_result(2), geometry=Geometry((2, 2, 2), np.eye(4)))
    with pytest.raises(ValueError, match="does not fit the grid"):
        write_result(tmp_path / "case", wrong)
    assert names(tmp_path) == set()


def test_a_full_disk_is_one_sentence_that_names_the_persons_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_result(tmp_path, make_result(1))
    before = snapshot(tmp_path)

    def is_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RenderedPoints, "write_csv", is_full)
    with pytest.raises(OutputError, match="the disk is full") as caught:
        write_result(tmp_path, make_result(2))
    assert str(tmp_path / "points.csv") in str(caught.value)
    assert snapshot(tmp_path) == before


def test_other_files_of_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "scene.mrb").write_text("a scene")
    (tmp_path / "coarse.png").write_text("a picture")
    write_result(tmp_path, make_result(1), mask_format="seg.nrrd")
    write_result(tmp_path, make_result(2))
    assert names(tmp_path) == RESULT_FILES | {"scene.mrb", "coarse.png"}


def test_two_programs_may_write_the_same_case(tmp_path: Path) -> None:
    with temporary_folder(tmp_path) as of_another:
        (of_another / "coarse.nii.gz").write_bytes(b"half")
        write_result(tmp_path, make_result(1))
        assert (of_another / "coarse.nii.gz").is_file()  # alive, so not cleared away
    assert names(tmp_path) == RESULT_FILES


@pytest.mark.parametrize("name", sorted(RESULT_FILES - {"points.mrk.json"}))
def test_a_folder_that_lacks_a_file_is_no_result(tmp_path: Path, name: str) -> None:
    write_result(tmp_path, make_result(1))
    (tmp_path / name).unlink()
    assert complete_result(tmp_path, "nii.gz") is None
    with pytest.raises(ImageError):
        read_result(tmp_path)


def test_a_damaged_report_or_table_is_no_result(tmp_path: Path) -> None:
    write_result(tmp_path, make_result(1))
    (tmp_path / "points.csv").write_text("rank,r\n1,x\n")
    with pytest.raises(ImageError, match=r"points\.csv"):
        read_result(tmp_path)
    (tmp_path / "report.json").write_text("{")
    assert complete_result(tmp_path, "nii.gz") is None
    with pytest.raises(ImageError, match="holds no complete result"):
        read_result(tmp_path)
