"""What a batch does with odd paths, changed inputs and damaged outputs."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from cli_client import COHORT_FILES, CommandLine, names, phantom_volume, read_table, write_scan
from MorseCore.commands.batchtable import SUMMARY
from MorseCore.commands.inputs import Scan, find_cases
from MorseCore.errors import ConfigError, GeometryError, ImageError, one_line
from MorseCore.images.contents import input_hashes
from MorseCore.images.imageio import ReadOptions, read_volume
from MorseCore.images.names import IMAGE_SUFFIXES
from MorseCore.service.protocol import CaseSettings
from MorseCore.system.acceptance import Acceptance


def write_detached(path: Path, seed: int) -> Path:
    """A phantom as a header with its voxels beside it, in the suffix's format."""
    image = phantom_volume(seed).to_sitk()
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "a.hdr"])
def test_other_voxels_beside_an_equal_header_make_the_case_again(
    command: CommandLine, tmp_path: Path, name: str
) -> None:
    path = write_detached(tmp_path / name, seed=28)
    header = path.read_bytes()
    assert "done in" in command.segment(path, output=tmp_path / "out", passes=0).err
    assert "already done" in command.segment(path, output=tmp_path / "out", passes=0).err
    write_detached(path, seed=30)
    assert path.read_bytes() == header
    again = command.segment(path, output=tmp_path / "out", passes=0)
    assert "made with another input" in again.err


def test_voxels_of_another_name_than_the_header_are_part_of_the_input(tmp_path: Path) -> None:
    path = write_detached(tmp_path / "a.mhd", seed=28)
    text = path.read_text().replace("a.raw", "voxels.bin")
    path.write_text(text)
    (tmp_path / "a.raw").rename(tmp_path / "voxels.bin")
    assert [name for name, _ in input_hashes(path)] == ["a.mhd", "voxels.bin"]


@pytest.mark.parametrize("name", ["a.hdr", "a.img", "A.HDR"])
def test_a_pair_of_header_and_voxels_is_read_from_either_name(tmp_path: Path, name: str) -> None:
    write_detached(tmp_path / "a.hdr", seed=28)
    if name.isupper() or name == "A.HDR":
        (tmp_path / "a.hdr").rename(tmp_path / "A.HDR")
        (tmp_path / "a.img").rename(tmp_path / "A.IMG")
    np.testing.assert_array_equal(read_volume(tmp_path / name).array, phantom_volume(28).array)


def test_voxels_that_are_missing_beside_a_header_are_noticed(tmp_path: Path) -> None:
    path = write_detached(tmp_path / "a.hdr", seed=28)
    voxels = path.with_suffix(".img")
    voxels.write_bytes(voxels.read_bytes()[:-1000])
    with pytest.raises(ImageError, match=r"a\.img is incomplete"):
        read_volume(path)
    voxels.unlink()
    with pytest.raises(ImageError, match=r"a\.hdr lacks the file with its voxels|lacks its file"):
        read_volume(path)


def test_an_analyze_image_is_refused_unless_its_sides_are_accepted(tmp_path: Path) -> None:
    path = write_detached(tmp_path / "a.hdr", seed=28)
    raw = bytearray(path.read_bytes())
    raw[344:348] = b"\0\0\0\0"  # Analyze has no magic, and no position
    raw[252:256] = b"\0\0\0\0"
    path.write_bytes(raw)
    with pytest.raises(GeometryError, match=r"which side is left.*--accept unknown-sides"):
        read_volume(path)
    volume = read_volume(path, ReadOptions(accepted=Acceptance(["unknown-sides"])))
    assert volume.array.shape == phantom_volume().array.shape
    assert "which side is left" in volume.notes[0]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, warm_worker) -> tuple[Path, Path]:
    """A scan, and the folder that a batch of it wrote."""
    from MorseCore.commands.batch import run_batch

    folder = tmp_path_factory.mktemp("done")
    scan = write_scan(folder / "in" / "a.nii.gz", seed=28)
    assert (
        run_batch([scan], folder / "out", CaseSettings(model="phantom-tiny"), worker=warm_worker)
        == 0
    )
    return scan, folder / "out"


@pytest.mark.parametrize(
    "name",
    ["coarse.nii.gz", "refined.nii.gz", "uncertainty.nii.gz", "points.csv", "points.mrk.json",
     "report.json"],
)  # fmt: skip
def test_a_result_with_half_a_file_is_made_again(
    command: CommandLine, done: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    output = Path(shutil.copytree(done[1], tmp_path / "out"))
    path = output / "a" / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "a: done in" in command.segment(done[0], output=output).err
    if name != "report.json":  # which holds the seconds that it took
        assert path.read_bytes() == whole


def test_a_mask_that_a_person_corrected_is_left_alone(
    command: CommandLine, done: tuple[Path, Path], tmp_path: Path
) -> None:
    output = Path(shutil.copytree(done[1], tmp_path / "out"))
    path = output / "a" / "refined.nii.gz"
    image = SimpleITK.ReadImage(str(path))
    image[3, 4, 5] = 2
    SimpleITK.WriteImage(image, str(path))
    assert "a: already done" in command.segment(done[0], output=output).err
    assert SimpleITK.ReadImage(str(path))[3, 4, 5] == 2


def test_a_result_of_an_earlier_release_is_still_known(
    command: CommandLine, done: tuple[Path, Path], tmp_path: Path
) -> None:
    """It does not name the choices that came later, which it was made without."""
    output = Path(shutil.copytree(done[1], tmp_path / "out"))
    report = output / "a" / "report.json"
    text = report.read_text(encoding="utf-8")
    for later in ('"series": null,', '"volume": null,'):
        assert later in text
        text = text.replace(later, "")
    report.write_text(text, encoding="utf-8")
    assert "a: already done" in command.segment(done[0], output=output).err


@pytest.mark.skipif(os.name == "nt", reason="Windows makes no such links or names")
def test_odd_paths_among_good_ones_cost_one_sentence_each(
    command: CommandLine, tmp_path: Path
) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    write_scan(folder / "good.nii.gz", seed=28)
    loop = folder / "loop.nii.gz"
    loop.symlink_to(loop)
    (folder / "gone.nii.gz").symlink_to(folder / "nowhere.nii.gz")
    write_scan(folder / "line\nend\x1b[31m.nii.gz", seed=28).write_bytes(b"no image")
    os.mkfifo(folder / "pipe.nii.gz")
    inputs = [*sorted(folder.iterdir()), folder / f"{'x' * 5000}.nii"]
    ended = command.segment(*inputs, folder / "good.nii.gz" / "inside.nii.gz", output=output)
    assert ended.code == 1
    rows = {row["case"]: row for row in read_table(output / SUMMARY)}
    assert {name for name, row in rows.items() if row["status"] == "done"} == {"good"}
    assert "leads back to itself" in rows["loop"]["message"]
    assert "no file or folder 'gone.nii.gz'" in rows["gone"]["message"]
    assert "a pipe" in rows["pipe"]["message"]
    assert "its name is too long" in rows["x" * 5000]["message"]
    assert "is a file, not a folder" in rows["inside"]["message"]
    assert "line\\nend\\x1b[31m" in rows
    assert "\x1b" not in ended.err + (output / SUMMARY).read_text(encoding="utf-8")
    assert names(output) == {"good"} | COHORT_FILES


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs to be another user")
def test_a_file_that_must_not_be_read_is_one_sentence(tmp_path: Path) -> None:
    """As another user: the system's root may read everything."""
    path = write_scan(tmp_path / "secret.nii.gz")
    path.chmod(0)
    temporary = Path(tempfile.gettempdir()).resolve()
    for folder in [tmp_path, *tmp_path.parents]:
        if temporary in folder.parents:
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "import os; from pathlib import Path; "
        "from MorseCore.images.imageio import read_volume; os.setuid(65534); "
        f"read_volume(Path({str(path)!r}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert "secret.nii.gz cannot be read: permission was denied." in ended.stderr.lower()


def test_a_path_with_a_character_of_code_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="code zero"):
        find_cases(["a\0b.nii"])
    with pytest.raises(ImageError, match="code zero"):
        read_volume(Path("a\0b.nii"))


def test_an_output_folder_that_goes_during_the_run_is_made_again(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MorseCore.commands.batch import run_batch

    for name in "abc":
        write_scan(tmp_path / "in" / f"{name}.nii.gz", seed=28)
    output = tmp_path / "out"

    def lose(name: str, scan: Scan, folder: Path) -> None:
        if name == "a":
            shutil.rmtree(output)
            (tmp_path / "in" / "b.nii.gz").unlink()

    assert (
        run_batch([tmp_path / "in"], output, CaseSettings(model="phantom-tiny"), on_result=lose)
        == 1
    )
    rows = {row["case"]: row for row in read_table(output / SUMMARY)}
    assert "no file or folder 'b.nii.gz'" in rows["b"]["message"]
    assert rows["c"]["status"] == "done"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Leber größer.nii", "Leber größer.nii"),
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202egpj.nii", "a\\u202egpj.nii"),
        ("\udcff.nii", "\\xff.nii"),
        ("\ud800", "\\ud800"),
    ],
)
def test_messages_hold_names_as_one_line(text: str, shown: str) -> None:
    assert one_line(text) == shown
    assert str(ImageError(f"{text} is odd.")) == f"{shown} is odd."


def test_headers_with_voxels_beside_them_are_found_in_folders() -> None:
    assert {".hdr", ".mhd", ".nhdr"} <= {*IMAGE_SUFFIXES}


def test_a_picture_beside_a_dicom_series_does_not_hide_it(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    (series / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    (series / "preview.png").write_bytes(b"png")
    assert find_cases([series]) == {"series": Scan(series)}
    (series / "volume.nii.gz").write_bytes(b"nifti")
    assert {*find_cases([series])} == {"preview", "volume"}
