"""What Windows and macOS do otherwise, as far as it can be acted out on this system."""

import importlib
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import SimpleITK

from cli_client import ROOT
from MorseCore.commands.inputs import Scan, check_places, find_cases
from MorseCore.errors import ConfigError, ImageError
from MorseCore.images import itkpath
from MorseCore.images.imageio import read_volume
from MorseCore.images.itkpath import itk_path
from MorseCore.store.library import find_model, import_model
from MorseCore.system import files
from MorseCore.system.files import replaced_together
from MorseCore.training.checkpoint import CheckpointStore
from Training.research.study import running
from training_runs import script
from worker_client import WorkerClient


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Windows with the code page of western Europe; short names as it would make them."""
    said = SimpleNamespace(code_page=1252, short=lambda name: name.replace("ü", "U~1"))
    monkeypatch.setattr(itkpath.sys, "platform", "win32")
    monkeypatch.setattr(itkpath, "_code_page", lambda: said.code_page)
    monkeypatch.setattr(itkpath, "_short_name", lambda name: said.short(name))
    return said


def test_itk_is_given_the_short_name_of_what_windows_cannot_name(
    windows: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "Jürgen"
    folder.mkdir()
    (folder / "Müller.nii").touch()
    place = str(tmp_path / "JU~1rgen")
    assert itk_path(folder / "Müller.nii") == str(Path(place) / "MU~1ller.nii")
    assert itk_path(folder / "new.nii") == str(Path(place) / "new.nii")  # not there yet
    assert itk_path(tmp_path / "plain.nii") == str(tmp_path / "plain.nii")
    windows.code_page = 65001  # as in Slicer
    assert itk_path(folder / "Müller.nii") == str(folder / "Müller.nii")


def test_a_path_without_a_short_name_is_refused_with_the_reason(
    windows: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "Jürgen"
    folder.mkdir()
    image = folder / "scan.nii"
    SimpleITK.WriteImage(SimpleITK.Image([4, 4, 4], SimpleITK.sitkInt16), str(image))
    for answer in (lambda name: None, lambda name: name):  # none at all; switched off on this disk
        windows.short = answer
        with pytest.raises(ImageError, match="plain letters"):
            read_volume(image)


def test_elsewhere_every_letter_is_read(tmp_path: Path) -> None:
    assert itk_path(tmp_path / "Jürgen") == str(tmp_path / "Jürgen")


def test_a_pattern_that_no_shell_expands_names_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.nii.gz", "b.nii.gz", "notes.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert list(find_cases(["*.nii.gz"])) == ["a", "b"]
    assert list(find_cases(["c*.nii.gz"])) == ["c*"]  # will fail, and be in the table
    (tmp_path / "study [2020]").mkdir()
    (tmp_path / "study [2020]" / "c.nii.gz").touch()
    assert list(find_cases(["study [2020]/*.nii.gz"])) == ["c"]
    (tmp_path / "what?.nii.gz").touch()  # there are such names outside of Windows
    assert find_cases(["what?.nii.gz"]) == {"what?": Scan(Path("what?.nii.gz"))}


def test_a_case_has_no_name_that_windows_would_change() -> None:
    assert list(find_cases(["scan .nii.gz", "other..mha"])) == ["scan", "other"]


def test_results_do_not_go_beside_their_input_by_another_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Scans" / "ct01"
    folder.mkdir(parents=True)
    (tmp_path / "scans").symlink_to(tmp_path / "Scans")  # as a disk that knows no capitals has it
    monkeypatch.setattr(Path, "resolve", lambda self, strict=False: self)
    with pytest.raises(ConfigError, match="into the folder of its own input"):
        check_places({"ct01": Scan(folder)}, tmp_path / "scans")
    check_places({"ct01": Scan(folder)}, tmp_path / "results")


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A virus scanner that holds each file and folder for a moment after it was written."""
    held: list[str] = []
    replace = Path.replace

    def held_once(source: Path, target: Path) -> Path:
        if str(source) not in held:
            held.append(str(source))
            raise PermissionError(13, "The process cannot access the file", str(source))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", held_once)
    monkeypatch.setattr(Path, "rename", held_once)
    monkeypatch.setattr(files.time, "sleep", lambda seconds: None)
    return held


def test_a_folder_that_a_scanner_holds_is_moved_when_it_lets_go(
    tmp_path: Path, scanner: list[str]
) -> None:
    with replaced_together(tmp_path, last="b.txt") as staged:
        (staged / "a.txt").write_text("a")
        (staged / "b.txt").write_text("b")
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", "b.txt"}
    archive = tmp_path / "model.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        for path in find_model("phantom-tiny").iterdir():
            stream.write(path, f"phantom-tiny/{path.name}")
    folder, info = import_model(archive, tmp_path / "user")
    assert info.name == "phantom-tiny"
    assert {p.name for p in folder.iterdir()} == {"model.json", "weights.safetensors", "README.md"}
    assert len(scanner) > 2  # two folders, and the files of the first


def test_an_old_checkpoint_that_is_open_elsewhere_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(tmp_path)
    store.save(1, weights={}, trainer={}, state={})
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "weights-1.safetensors":
            raise PermissionError(13, "in use", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as during:
        during.setattr(Path, "unlink", refuse)
        store.save(2, weights={}, trainer={}, state={})
    assert store.state()["step"] == 2
    assert [p.name for p in tmp_path.glob("trainer-*")] == ["trainer-2.pt"]  # the others do go
    assert (tmp_path / "weights-1.safetensors").exists()
    store.save(3, weights={}, trainer={}, state={})
    assert [p.name for p in tmp_path.glob("weights-*")] == ["weights-3.safetensors"]


def test_letters_that_a_code_page_lacks_do_not_end_a_script() -> None:
    # morse-table3 has an alpha, which Windows' pages for western Europe lack.
    code = "from Training import ablation; print('α'); raise SystemExit(ablation.main(['--list']))"
    plain = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )  # fmt: skip
    assert b"UnicodeEncodeError" in plain.stderr  # before the script has begun
    done = subprocess.run(
        [sys.executable, "-c", code.replace("print('α'); ", "")], cwd=ROOT, capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"morse-table3" in done.stdout


@pytest.mark.parametrize(("platform", "terminated"), [("win32", False), ("linux", True)])
def test_ctrl_c_leaves_a_training_the_time_to_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, terminated: bool
) -> None:
    # On Windows the training has had the Ctrl-C itself, and to terminate it is to kill it.
    calls: list[str] = []

    class Training:
        returncode = 0
        poll = staticmethod(lambda: None)
        terminate = staticmethod(lambda: calls.append("terminate"))
        wait = staticmethod(lambda: calls.append("wait"))

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running.subprocess, "Popen", lambda *_, **__: Training)
    monkeypatch.setattr(running.time, "sleep", interrupt)
    monkeypatch.setattr(running.sys, "platform", platform)
    config = SimpleNamespace(resume="auto", optimisation=SimpleNamespace(iterations=1))
    run: Any = SimpleNamespace(folder=tmp_path, config=config)
    with pytest.raises(KeyboardInterrupt):
        running._train(run, "tiny")
    assert calls == (["terminate"] if terminated else []) + ["wait"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="Linux shows what is open")
def test_the_worker_reads_requests_where_no_library_looks() -> None:
    # On Windows a library that asks for descriptor 0 waits as long as a thread reads from it.
    client = WorkerClient()
    try:
        client.read()
        place = Path(f"/proc/{client.process.pid}/fd")
        assert (place / "0").readlink() == Path("/dev/null")
        assert client.ask("describe")["event"] == "result"
    finally:
        client.process.send_signal(signal.SIGTERM)
        client.process.wait(timeout=30)


def test_without_vtk_the_study_of_surfaces_says_so_before_it_trains(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "vtk" else find(name)
    )
    config = str(ROOT / "Training" / "configs" / "phantom-tiny.json")
    assert script("finer_grid").main([config, "--output", str(tmp_path / "out")]) == 1
    assert "pip install vtk" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
