"""Files appear whole or not at all."""

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from MorseCore.errors import OutputError
from MorseCore.system.files import (
    atomic_path,
    prepare_output_directory,
    sha256,
    write_json,
    write_text,
)


def test_a_written_file_is_the_only_thing_left_in_its_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "café\n")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == "café\n".encode()


def test_the_temporary_file_is_hidden_beside_the_target_and_has_its_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "case.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(".nii.gz")
        assert not (tmp_path / "case.nii.gz").exists()


def test_a_failure_while_writing_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fill_the_disk() -> None:
        with atomic_path(target):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"a\.txt cannot be written: the disk is full\."):
        fill_the_disk()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="its folder does not exist"):
        write_text(tmp_path / "none" / "a.txt", "")


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="its folder is a file"):
        write_text(tmp_path / "a" / "b.txt", "")


def test_a_folder_in_the_place_of_the_target_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match=r"a\.txt"):
        write_text(tmp_path / "a.txt", "")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_target_held_by_another_program_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    real = Path.replace

    def held_twice(self: Path, target: Path) -> Path:
        attempts.append(target)
        if len(attempts) < 3:
            raise PermissionError(errno.EACCES, "in use")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", held_twice)
    monkeypatch.setattr("MorseCore.system.files.time.sleep", lambda seconds: None)
    write_text(tmp_path / "a.txt", "new")
    assert len(attempts) == 3
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_target_that_stays_held_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(self: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(Path, "replace", held)
    monkeypatch.setattr("MorseCore.system.files.time.sleep", lambda seconds: None)
    with pytest.raises(OutputError, match="permission was denied"):
        write_text(tmp_path / "a.txt", "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_a_result_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_very_long_name_is_written_like_any_other(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 245 + ".json")
    write_json(target, {})
    assert target.read_text() == "{}\n"


def test_json_keeps_letters_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "Müller", "volume": 1.5})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Müller" in text
    assert json.loads(text) == {"name": "Müller", "volume": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"volume": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000  # longer than one block
    (tmp_path / "a").write_bytes(data)
    assert sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_an_output_folder_is_created_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    folder = prepare_output_directory(tmp_path / "a b" / "ä")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []
    assert prepare_output_directory(folder) == folder


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OutputError, match="a file of that name is in the way"):
        prepare_output_directory(tmp_path / "a")


def test_an_output_folder_without_write_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, mode: int = 0o666, exist_ok: bool = True) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(OutputError, match="the disk is read-only"):
        prepare_output_directory(tmp_path)
