"""Finding, listing and importing models; an archive of others is not trusted."""

import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_client import CommandLine, names, start
from MorseCore.errors import ModelError, OutputError
from MorseCore.store.library import BUILT_IN, find_model, import_model, list_models

TINY = BUILT_IN / "phantom-tiny"
FILES = ("model.json", "weights.safetensors", "README.md")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of its own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setattr(Path, "home", lambda: folder)
    return folder


@pytest.fixture
def models(home: Path) -> Path:
    return home / ".morsesegment" / "models"


def packed(path: Path, prefix: str = "tiny/", **files: bytes) -> Path:
    """A zip of the model; further entries as ``name=content``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FILES:
            archive.write(TINY / name, prefix + name)
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_models_that_come_along_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert find_model("phantom-tiny") == TINY
    assert find_model(str(TINY)) == TINY
    assert {"phantom-tiny", "phantom-tiny-2d", "hippocampus-t1"} <= set(list_models())


def test_an_unknown_model_names_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"did you mean 'hippocampus-t1'\?"):
        find_model("hipocampus-t1")


def test_a_zip_given_as_a_model_is_told_how_to_be_imported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="models import"):
        find_model(str(packed(tmp_path / "a.zip")))


@pytest.mark.parametrize("prefix", ["", "tiny/", "./a/b/"])
def test_a_zip_is_imported_wherever_the_model_lies_in_it(
    command: CommandLine, models: Path, tmp_path: Path, prefix: str
) -> None:
    done = command("models", "import", packed(tmp_path / "a.zip", prefix))
    assert done.code == 0, done.err
    assert names(models) == {"phantom-tiny"}
    assert names(models / "phantom-tiny") == set(FILES)
    assert find_model("phantom-tiny") == models / "phantom-tiny"  # hides the built-in
    assert "takes the place of the 'phantom-tiny' that came with MorseCore" in done.out
    assert "in place of the one that came along" in command("models", "list").out


def test_an_imported_model_can_be_removed_and_a_built_in_one_cannot(
    command: CommandLine, models: Path
) -> None:
    assert command("models", "import", TINY).code == 0
    assert command("models", "remove", "phantom-tiny").code == 0
    assert names(models) == set()
    assert find_model("phantom-tiny") == BUILT_IN / "phantom-tiny"
    for name in ("phantom-tiny", "../models/phantom-tiny", "gone"):
        done = command("models", "remove", name)
        assert done.code == 2
        assert "nothing is removed" in done.sentence
    assert (BUILT_IN / "phantom-tiny" / "model.json").is_file()


def test_a_folder_is_imported_once(command: CommandLine, models: Path) -> None:
    assert command("models", "import", TINY).code == 0
    done = command("models", "import", TINY)
    assert done.code == 2
    assert "already there" in done.sentence
    assert names(models) == {"phantom-tiny"}


@pytest.mark.parametrize(
    "name", ["../evil.txt", "tiny/../../evil.txt", "/etc/evil", "..\\evil.txt", "C:\\evil.txt"]
)
def test_an_archive_that_leads_out_of_its_folder_is_refused(
    command: CommandLine, models: Path, tmp_path: Path, name: str
) -> None:
    done = command("models", "import", packed(tmp_path / "a.zip", **{name: b"evil"}))
    assert done.code == 2
    assert "leads out of its folder" in done.sentence
    assert names(models) == set()
    assert not list(tmp_path.rglob("evil*"))


def test_an_archive_with_a_link_is_refused(
    command: CommandLine, models: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("model.json", "README.md"):
            archive.write(TINY / name, name)
        link = zipfile.ZipInfo("weights.safetensors")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    done = command("models", "import", path)
    assert done.code == 2
    assert "a link ('weights.safetensors')" in done.sentence
    assert names(models) == set()


def test_a_folder_with_a_link_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc/passwd")
    with pytest.raises(ModelError, match=r"lacks the file 'README\.md'"):
        import_model(folder)


def no_zip(path: Path) -> None:
    path.write_text("no archive")


def damaged(path: Path) -> None:
    packed(path)
    raw = bytearray(path.read_bytes())
    raw[20_000:20_100] = bytes(100)
    path.write_bytes(raw)


def two_models(path: Path) -> None:
    packed(path, **{"other/model.json": b"{}"})


def without_card(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(TINY / "model.json", "model.json")
        archive.write(TINY / "weights.safetensors", "weights.safetensors")


def altered(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in FILES:
            content = (TINY / name).read_bytes()
            archive.writestr(name, content[:-1] if name.startswith("weights") else content)


def pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(path)


def folder_with(name: str) -> Callable[[Path], None]:
    """A model's folder in which one file is a pipe."""

    def make(path: Path) -> None:
        shutil.copytree(TINY, path)
        (path / name).unlink()
        pipe(path / name)

    return make


def tightly_packed_weights(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("model.json", "README.md"):
            archive.write(TINY / name, name)
        with archive.open("weights.safetensors", "w") as stream:
            for _ in range(64):
                stream.write(bytes(2**20))


def crowded(path: Path) -> None:
    packed(path, **{f"file{n}": b"" for n in range(1000)})


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", b" " * (2**24 + 1))


SOURCES = {
    "missing": (lambda path: None, "There is no file or folder"),
    "no zip": (no_zip, "neither a model folder nor a zip file"),
    "damaged": (damaged, "cannot be unpacked"),
    "two models": (two_models, "exactly one model.json; found 2"),
    "without card": (without_card, "lacks the file 'README.md'"),
    "altered": (altered, "incomplete or damaged"),
    "pipe": (pipe, "neither a model folder nor a zip file"),
    "pipe for weights": (folder_with("weights.safetensors"), "lacks the file 'weights.safe"),
    "pipe for model.json": (folder_with("model.json"), "lacks the file 'model.json'"),
    "pipe for a card": (folder_with("README.md"), "lacks the file 'README.md'"),
    "bomb of weights": (tightly_packed_weights, "would unpack from"),
    "a thousand files": (crowded, "may hold 1,000 entries; found 1,003"),
    "bomb": (bomb, "may have 16,777,216 bytes; found 16,777,217"),
}


@pytest.mark.parametrize(("make", "reason"), SOURCES.values(), ids=SOURCES)
def test_a_source_that_is_no_sound_model_leaves_nothing_behind(
    command: CommandLine, models: Path, tmp_path: Path, make, reason: str
) -> None:
    make(tmp_path / "a.zip")
    done = command("models", "import", tmp_path / "a.zip")
    assert done.code == 2
    assert reason in done.sentence
    assert ".tmp-" not in done.sentence
    assert not models.exists() or names(models) == set()


def test_models_that_cannot_be_stored_are_one_sentence(home: Path) -> None:
    (home / ".morsesegment").write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        import_model(TINY)


def test_the_list_survives_a_broken_model(command: CommandLine, models: Path) -> None:
    shutil.copytree(TINY, models / "broken")
    (models / "broken" / "weights.safetensors").write_bytes(b"broken")
    (models / ".tmp-0011").mkdir()
    done = command("models", "list")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert "broken: " in lines["broken"]
    assert "3D" in lines["phantom-tiny"]
    assert "2D" in lines["phantom-tiny-2d"]
    assert ".tmp-0011" not in done.out


def test_a_card_is_shown_without_what_could_steer_a_terminal(
    command: CommandLine, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    (folder / "README.md").write_text("# Tiny – für Tests\n\x1b[2Jgone\n", encoding="utf-8")
    done = command("models", "show", folder)
    assert done.code == 0
    assert "# Tiny – für Tests\n" in done.out
    assert "\x1b" not in done.out
    (folder / "README.md").unlink()
    assert "no readable card" in command("models", "show", folder).sentence


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("words", [("show",), ("verify",), ("import",)])
def test_no_command_waits_for_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    (folder / "README.md").unlink()
    os.mkfifo(folder / "README.md")
    process = start("models", *words, folder)
    try:
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "Traceback" not in error
    assert process.returncode == (0 if words == ("verify",) else 2), out + error


def test_a_card_of_many_megabytes_is_not_read(command: CommandLine, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    with (folder / "README.md").open("r+b") as stream:
        stream.truncate(10**9)
    assert "may have 16,777,216 bytes" in command("models", "show", folder).sentence
    assert "may have 16,777,216 bytes" in command("models", "import", folder).sentence
