"""Many scans: one bad one does not matter, what is finished stays, a kill loses nothing."""

import json
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from cli_client import (
    COHORT_FILES,
    RESULT_FILES,
    CommandLine,
    names,
    phantom_volume,
    read_report,
    read_table,
    snapshot,
    start,
    write_scan,
)
from MorseCore.commands.batch import run_batch
from MorseCore.commands.batchtable import SUMMARY, BatchTable
from MorseCore.commands.inputs import Scan, find_cases
from MorseCore.errors import Cancelled, OutputError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.service.protocol import CaseSettings


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans and a bad one between them."""
    folder = tmp_path_factory.mktemp("mixed")
    write_scan(folder / "a.nii.gz", seed=28)
    (folder / "b.nii.gz").write_bytes(b"no image")
    write_scan(folder / "c.nii.gz", seed=36)
    (folder / "notes.txt").write_text("not an image, and not named as one")
    (folder / "._a.nii.gz").write_bytes(b"\0\5\x16\7")
    return folder


@pytest.fixture(scope="module")
def mixed_output(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the batch of them wrote."""
    output = tmp_path_factory.mktemp("output")
    assert run_batch([mixed], output, CaseSettings(model="phantom-tiny", device="cpu")) == 1
    return output


@pytest.fixture
def output(mixed_output: Path, tmp_path: Path) -> Path:
    """A copy of it to go on with."""
    return Path(shutil.copytree(mixed_output, tmp_path / "output"))


def test_one_bad_scan_does_not_stop_the_others(mixed_output: Path) -> None:
    assert names(mixed_output) == {"a", "c"} | COHORT_FILES
    assert names(mixed_output / "a") == names(mixed_output / "c") == RESULT_FILES


def test_the_table_has_failed_cases_first_and_then_by_attention(mixed_output: Path) -> None:
    rows = read_table(mixed_output / SUMMARY)
    assert rows[0]["case"] == "b"
    assert rows[0]["status"] == "failed"
    assert "not a NIfTI image" in rows[0]["message"]
    attention = [float(row["attention"]) for row in rows[1:]]
    assert attention[0] > attention[1]
    for row in rows[1:]:
        report = read_report(mixed_output / row["case"])
        assert float(row["attention"]) == report["attention"]
        assert float(row["ball refined_ml"]) == report["structures"][0]["refined_ml"]
        assert int(row["changed_points"]) == report["points"]["changed"] > 0


def test_a_finished_case_is_left_alone(command: CommandLine, mixed: Path, output: Path) -> None:
    before = snapshot(output)
    done = command.segment(mixed, output=output)
    assert done.code == 1
    assert "a: already done" in done.err
    assert "1 of 3 cases failed" in done.err
    after = snapshot(output)
    assert after.keys() == before.keys()
    of_cases = [name for name in before if Path(name).parts[0] not in COHORT_FILES]
    assert all(after[name] == before[name] for name in of_cases)
    statuses = [row["status"] for row in read_table(output / SUMMARY)]
    assert statuses == ["failed", "done before", "done before"]


@pytest.mark.parametrize(
    "lost", ["report.json", "refined.nii.gz", "uncertainty.nii.gz", "points.csv"]
)
def test_a_case_that_lacks_a_file_is_done_again(
    command: CommandLine, mixed: Path, output: Path, lost: str
) -> None:
    (output / "a" / lost).unlink()
    assert "a: done in" in command.segment(mixed / "a.nii.gz", output=output).err
    assert names(output / "a") == RESULT_FILES


def test_a_report_that_somebody_spoilt_costs_one_case_at_most(
    command: CommandLine, mixed: Path, output: Path
) -> None:
    report = read_report(output / "a")
    spoilt = report | {"request": report["request"] | {"options": [1]}}
    (output / "a" / "report.json").write_text(json.dumps(spoilt))
    assert "a: done in" in command.segment(mixed / "a.nii.gz", output=output).err
    (output / "a" / "report.json").write_text(json.dumps(report | {"structures": 5}))
    done = command.segment(mixed / "a.nii.gz", mixed / "c.nii.gz", output=output)
    assert "The report.json of its earlier result is damaged; remove the folder" in done.err
    assert "c: already done" in done.err


@pytest.mark.parametrize("options", [{"points": 9}, {"roi": "0,20,0,20,0,20"}, {"passes": 1}])
def test_other_options_make_the_case_again(
    command: CommandLine, mixed: Path, output: Path, options: dict
) -> None:
    done = command.segment(mixed / "a.nii.gz", output=output, **options)
    assert "a: done in" in done.err
    assert "earlier result is replaced, as it was made with another" in done.err
    assert "already done" in command.segment(mixed / "a.nii.gz", output=output, **options).err


def test_another_format_replaces_the_masks_of_the_first(
    command: CommandLine, mixed: Path, output: Path
) -> None:
    assert command.segment(mixed / "a.nii.gz", output=output, format="seg.nrrd").code == 0
    masks = {"coarse.seg.nrrd", "refined.seg.nrrd"}
    assert names(output / "a") == RESULT_FILES - {"coarse.nii.gz", "refined.nii.gz"} | masks


def test_another_model_makes_the_case_again(
    command: CommandLine, mixed: Path, output: Path
) -> None:
    done = command.segment(mixed / "a.nii.gz", output=output, model="phantom-tiny-2d")
    assert "a: done in" in done.err


def test_other_voxels_of_equal_size_make_the_case_again(
    command: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "a.nii"
    for seed in (28, 30):  # not compressed: the file keeps its size
        volume = phantom_volume(seed)
        write_volume(path, volume.array, volume.geometry)
        assert "a: done in" in command.segment(path, output=tmp_path / "out", passes=0).err
    path.touch()  # the same voxels at another time
    assert "already done" in command.segment(path, output=tmp_path / "out", passes=0).err


def test_a_single_case_brings_the_table_of_the_batch_up_to_date(
    command: CommandLine, mixed: Path, output: Path, tmp_path: Path
) -> None:
    repaired = tmp_path / "b.nii.gz"
    shutil.copy(mixed / "a.nii.gz", repaired)
    assert command.segment(repaired, output=output).code == 0
    rows = {row["case"]: row["status"] for row in read_table(output / SUMMARY)}
    assert rows == {"a": "done", "b": "done", "c": "done"}


def test_a_case_whose_results_were_removed_leaves_the_table(output: Path) -> None:
    shutil.rmtree(output / "c")
    table = BatchTable(output)
    table.add({"case": "d", "status": "failed", "message": "why"})
    table.write()
    assert [row["case"] for row in read_table(output / SUMMARY)] == ["b", "d", "a"]


def test_a_table_that_cannot_be_written_costs_no_results(mixed: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"

    def block_the_table(name: str, *_: object) -> None:
        if name == "a":
            (output / SUMMARY).unlink()
            (output / SUMMARY).mkdir()  # as if another program held it

    with pytest.raises(OutputError, match="summary"):
        run_batch(
            [mixed], output, CaseSettings(model="phantom-tiny", passes=0), on_result=block_the_table
        )
    assert names(output / "a") == names(output / "c") == RESULT_FILES


def test_results_are_handed_over_once_they_are_written(mixed: Path, tmp_path: Path) -> None:
    seen = []

    def note(name: str, scan: Scan, folder: Path) -> None:
        assert names(folder) == RESULT_FILES
        seen.append((name, scan.path.name, folder))

    run_batch([mixed], tmp_path, CaseSettings(model="phantom-tiny", passes=0), on_result=note)
    assert seen == [(name, f"{name}.nii.gz", tmp_path / name) for name in ("a", "c")]


def test_cancelling_keeps_finished_cases_and_writes_nothing_else(
    mixed: Path, tmp_path: Path
) -> None:
    def is_second() -> bool:
        table = tmp_path / SUMMARY
        return table.exists() and "done" in {row["state"] for row in read_table(table)}

    with pytest.raises(Cancelled):
        run_batch([mixed], tmp_path, CaseSettings(model="phantom-tiny"), should_stop=is_second)
    assert names(tmp_path) == {"a", "pictures", SUMMARY}
    assert names(tmp_path / "a") == RESULT_FILES


def test_cases_are_named_by_their_files_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.nii.gz", "b.NRRD", "c.tar.nii", ".hidden.nii", "d.txt", "e.bmp"):
        (tmp_path / name).touch()
    assert list(find_cases([tmp_path])) == ["a", "b", "c.tar", "e"]
    (tmp_path / "case" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "case" / "inner")
    assert find_cases([".."]) == {"case": Scan(Path(".."))}
    assert find_cases(["."]) == {"inner": Scan(Path("."))}
    assert list(find_cases([".nii.gz"])) == [".nii.gz"]
    assert list(find_cases(["x.nii", Path.cwd() / "x.nii"])) == ["x"]


@pytest.fixture(scope="module")
def long_batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of one window and then one of a hundred."""
    folder = tmp_path_factory.mktemp("long")
    write_scan(folder / "a.nii.gz", seed=28)
    noise = np.random.default_rng(0).standard_normal((96, 96, 96)).astype(np.float32)
    write_volume(folder / "b.nii.gz", noise, Geometry(noise.shape, np.eye(4)))
    return folder


def test_an_interrupted_or_killed_batch_leaves_finished_cases_and_nothing_half(
    command: CommandLine, long_batch: Path, tmp_path: Path
) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    outputs = [tmp_path / number.name for number in numbers]
    processes = [
        start("segment", long_batch, "--model", "phantom-tiny", "--output", output)
        for output in outputs
    ]
    waiting = list(zip(numbers, outputs, processes, strict=True))
    while waiting:  # each as soon as it is ready, or another would be through by then
        for entry in list(waiting):
            number, output, process = entry
            if (output / "a" / "report.json").exists():
                process.send_signal(number)
                waiting.remove(entry)
            else:
                assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1, -signal.SIGKILL], errors
    for output, error in zip(outputs[:2], errors[:2], strict=True):
        assert "Traceback" not in error
        assert error.splitlines()[-1].startswith("interrupted; finished cases are kept")
        assert not list(output.rglob(".tmp-*"))
    for output in outputs:
        again = command.segment(long_batch / "a.nii.gz", output=output)
        assert again.sentence == "a: already done; ok"
        assert names(output / "a") == RESULT_FILES  # a kill may leave an empty folder to the next


def test_what_a_kill_in_the_middle_of_writing_left_is_cleared_away(
    command: CommandLine, mixed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    (folder / ".tmp-00112233").mkdir(parents=True)
    (folder / ".tmp-00112233" / "coarse.nii.gz").write_bytes(b"half")
    (folder / ".tmp-00112233.lock").touch()
    (folder / ".tmp-44556677").touch()
    assert command.segment(mixed / "a.nii.gz", output=tmp_path).code == 0
    assert names(folder) == RESULT_FILES
