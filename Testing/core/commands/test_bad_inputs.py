"""Scans and options that cannot be used: one sentence, an exit code, and nothing lost or left."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from cli_client import CommandLine, names, phantom_volume, snapshot, write_scan
from MorseCore.errors import DeviceError, ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import read_volume, write_labels, write_volume
from MorseCore.inference.options import PredictOptions


def voxels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], Path]:
    """A phantom whose voxels were changed."""

    def make(folder: Path) -> Path:
        volume = phantom_volume()
        write_volume(folder / "bad.nii.gz", change(volume.array.copy()), volume.geometry)
        return folder / "bad.nii.gz"

    return make


def file_bytes(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def header(offset: int, *values: float) -> Callable[[Path], Path]:
    """A phantom with other numbers in its NIfTI header."""

    def make(folder: Path) -> Path:
        path = write_scan(folder / "bad.nii.gz")
        raw = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(f"<{len(values)}f", raw, offset, *values)
        path.write_bytes(gzip.compress(bytes(raw)))
        return path

    return make


def missing(folder: Path) -> Path:
    return folder / "bad.nii.gz"


def broken_gzip(folder: Path) -> Path:
    path = write_scan(folder / "bad.nii.gz")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 40] = bytes(40)
    path.write_bytes(raw)
    return path


def half_a_file(folder: Path) -> Path:
    path = write_scan(folder / "bad.nii.gz")
    path.write_bytes(path.read_bytes()[:5000])
    return path


def four_dimensions(folder: Path) -> Path:
    image = SimpleITK.GetImageFromArray(np.random.rand(2, 6, 6, 6).astype(np.float32), False)
    SimpleITK.WriteImage(image, str(folder / "bad.nii.gz"))
    return folder / "bad.nii.gz"


def colour(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels, True), str(folder / "bad.png"))
    return folder / "bad.png"


def label_map(folder: Path) -> Path:
    labels = np.zeros((9, 9, 9), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    write_labels(folder / "bad.nii.gz", labels, Geometry((9, 9, 9), np.eye(4)))
    return folder / "bad.nii.gz"


def negative_spacing(folder: Path) -> Path:
    lines = ["NRRD0004", "type: float", "dimension: 3", "sizes: 4 4 4", "encoding: raw",
             "endian: little", "spacings: 1 -1 1", "", ""]  # fmt: skip
    (folder / "bad.nrrd").write_bytes("\n".join(lines).encode() + bytes(4 * 64))
    return folder / "bad.nrrd"


def no_images(folder: Path) -> Path:
    (folder / "bad").mkdir()
    (folder / "bad" / "notes.txt").write_text("nothing")
    return folder / "bad"


def empty_folder(folder: Path) -> Path:
    (folder / "bad").mkdir()
    return folder / "bad"


SCANS = {
    "missing": (missing, "There is no file or folder 'bad.nii.gz'"),
    "text": (file_bytes("bad.nii.gz", b"hello" * 99), "not a NIfTI image"),
    "unknown format": (file_bytes("bad.mha", b"hello" * 99), "is no MetaImage file"),
    "empty": (file_bytes("bad.nii.gz", b""), "is empty (0 bytes)"),
    "broken gzip": (broken_gzip, "damaged"),
    "half": (half_a_file, "incomplete"),
    "4D": (four_dimensions, "holds 2 volumes of 6 x 6 x 6 voxels; choose one with --volume 0 to 1"),
    "colour": (colour, "3 values a voxel"),
    "label map": (label_map, "looks like a segmentation"),
    "constant": (voxels(lambda a: a * 0 + 7), "every voxel has the value 7"),
    "all NaN": (voxels(lambda a: a * np.nan), "No voxel of the image has a value"),
    "zero spacing": (header(80, 1.0, 0.0, 1.0), "1 x 0 x 1 mm"),
    "negative spacing": (header(80, 1.0, -2.0, 1.0), "1 x -2 x 1 mm"),
    "negative spacing in NRRD": (negative_spacing, "1 x -1 x 1 mm"),
    "NaN in the matrix": (header(280, float("nan")), "not numbers"),
    "folder without images": (no_images, "holds no images"),
    "empty folder": (empty_folder, "holds no images"),
}


@pytest.mark.parametrize(("make", "reason"), SCANS.values(), ids=SCANS)
def test_a_scan_that_cannot_be_used_is_one_sentence_and_code_1(
    command: CommandLine, tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    path = make(tmp_path)
    done = command.segment(path, output=tmp_path / "out")
    assert done.code == 1
    assert done.sentence.startswith("bad: ")
    assert reason in done.sentence
    assert names(tmp_path / "out") == set()


def test_a_failing_rerun_keeps_the_earlier_result(
    command: CommandLine, scan: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(scan.read_bytes())
    assert command.segment(path, output=tmp_path / "out").code == 0
    before = snapshot(tmp_path / "out")
    path.write_bytes(b"no longer an image")
    assert command.segment(path, output=tmp_path / "out").code == 1
    assert snapshot(tmp_path / "out") == before


OPTIONS = {
    "region outside": ({"roi": "900,950,0,9,0,9"}, 1, "outside the image, which covers"),
    "region with five numbers": ({"roi": "1,2,3,4,5"}, 2, "six numbers"),
    "region of text": ({"roi": "a,b,c,d,e,f"}, 2, "not all numbers"),
    "region the wrong way round": ({"roi": "9,1,0,9,0,9"}, 2, "below its upper bound"),
    "region with NaN": ({"roi": "nan,1,0,9,0,9"}, 2, "finite"),
    "points negative": ({"points": -5}, 2, "points must be positive; found -5"),
    "points zero": ({"points": 0}, 2, "ask for 0 passes"),
    "points as text": ({"points": "many"}, 2, "--points: invalid int value: 'many'"),
    "passes negative": ({"passes": -1}, 2, "passes must not be negative; found -1"),
    "passes as text": ({"passes": "1.5"}, 2, "--passes: invalid int value"),
    "scale zero": ({"scale": 0}, 2, "scale must be 1, 2, 3 or 4; found 0"),
    "scale five": ({"scale": 5}, 2, "found 5"),
    "scale as text": ({"scale": "fine"}, 2, "--scale: invalid int value"),
    "format": ({"format": "dcm"}, 2, "'nii.gz', 'seg.nrrd'"),
    "device": ({"device": "gpu"}, 2, "auto, cpu, cuda or cuda:N; found 'gpu'"),
    "device number": ({"device": "cuda:²"}, 2, "auto, cpu, cuda or cuda:N"),
    "model": ({"model": "phantom-tinny"}, 2, "did you mean 'phantom-tiny'?"),
    "model without name": ({"model": ""}, 2, "There is no model ''"),
}


@pytest.mark.parametrize(("options", "code", "reason"), OPTIONS.values(), ids=OPTIONS)
def test_an_option_that_makes_no_sense_is_one_sentence(
    command: CommandLine, scan: Path, tmp_path: Path, options: dict, code: int, reason: str
) -> None:
    done = command.segment(scan, output=tmp_path / "out", **options)
    assert done.code == code
    assert reason in done.sentence
    assert code == 1 or not (tmp_path / "out").exists()  # wrong before anything was begun


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_not_replaced_by_the_cpu(
    command: CommandLine, scan: Path, tmp_path: Path
) -> None:
    done = command.segment(scan, output=tmp_path / "out", device="cuda:0")
    assert done.code == 2
    assert "no CUDA GPU" in done.sentence
    assert not (tmp_path / "out").exists()


def test_an_empty_name_is_not_the_current_folder(
    command: CommandLine, scan: Path, tmp_path: Path
) -> None:
    """``--output "$RESULTS"`` where that is not set."""
    done = command.segment(scan, output="")
    assert (done.code, "found an empty name" in done.sentence) == (2, True)
    done = command.segment("", output=tmp_path / "out")
    assert (done.code, "found an empty name" in done.sentence) == (2, True)


def test_an_output_that_is_a_file_is_refused(
    command: CommandLine, scan: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("mine")
    done = command.segment(scan, output=tmp_path / "out")
    assert done.code == 1
    assert "cannot be written" in done.sentence
    assert (tmp_path / "out").read_text() == "mine"


def test_a_file_in_the_place_of_a_case_fails_this_case_alone(
    command: CommandLine, scan: Path, tmp_path: Path
) -> None:
    other = write_scan(tmp_path / "b.nii.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "phantom").write_text("mine")
    done = command.segment(scan, other, output=tmp_path / "out")
    assert done.code == 1
    assert "phantom: " in done.err
    assert "cannot be written" in done.err
    assert (tmp_path / "out" / "phantom").read_text() == "mine"
    assert (tmp_path / "out" / "b" / "report.json").is_file()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_under_the_table_of_scores_is_one_sentence(
    command: CommandLine, tmp_path: Path
) -> None:
    labels = np.ones((3, 3, 3), np.uint8)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_labels(tmp_path / folder / "x.nii.gz", labels, Geometry((3, 3, 3), np.eye(4)))
    done = command(
        "evaluate", "--prediction", tmp_path / "a", "--reference", tmp_path / "b",
        "--output", "/dev/full/scores.json",
    )  # fmt: skip
    assert done.code == 1
    assert "cannot be written" in done.sentence


def test_two_inputs_of_one_name_are_refused_before_anything_is_written(
    command: CommandLine, tmp_path: Path
) -> None:
    a, b = write_scan(tmp_path / "X.nii.gz"), write_scan(tmp_path / "x.nii")
    done = command.segment(a, b, output=tmp_path / "out")
    assert done.code == 2
    assert "would both be written to 'X'" in done.sentence
    assert not (tmp_path / "out").exists()


def test_results_are_not_written_among_the_files_of_their_own_input(
    command: CommandLine, tmp_path: Path
) -> None:
    path = write_scan(tmp_path / "coarse" / "coarse.nii.gz")
    before = snapshot(tmp_path)
    done = command.segment(path, output=tmp_path)
    assert done.code == 2
    assert "folder of its own input" in done.sentence
    assert snapshot(tmp_path) == before


def test_a_foreign_table_is_not_overwritten(command: CommandLine, tmp_path: Path) -> None:
    inputs = [write_scan(tmp_path / "in" / f"{n}.nii.gz", seed=n) for n in (28, 29)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text("patient,age\nA,42\n")
    done = command.segment(*inputs, output=tmp_path / "out")
    assert done.code == 2
    assert "summary.csv' is not a table of an earlier run" in done.sentence
    assert names(tmp_path / "out") == {"summary.csv"}
    assert "A,42" in (tmp_path / "out" / "summary.csv").read_text()


def test_a_path_that_is_no_text_is_refused_without_ending_the_program(tmp_path: Path) -> None:
    path = tmp_path / "J\udcfcrg.nii.gz"  # the byte FC, ü in Latin 1
    try:
        write_scan(tmp_path / "a.nii.gz").rename(path)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has names in UTF-8 only")
    with pytest.raises(ImageError, match=r"J\\xfcrg\.nii\.gz: its path has bytes"):
        read_volume(path)
    with pytest.raises(ImageError, match="its path has bytes"):
        read_volume(tmp_path)


def test_a_region_in_which_nothing_varies_is_refused(command: CommandLine, tmp_path: Path) -> None:
    path = voxels(lambda a: np.where(np.arange(24) < 12, a, 0.0))(tmp_path)
    done = command.segment(path, output=tmp_path / "out", roi="ijk:13,23,0,9,0,9")
    assert done.code == 1
    assert "Inside the region every voxel has one value" in done.sentence


def test_a_region_may_begin_with_a_minus_sign(
    command: CommandLine, scan: Path, tmp_path: Path
) -> None:
    done = command("segment", scan, "--model", "phantom-tiny", "--output", tmp_path, "--roi",
                   "-5,20,-.5,20,0,20")  # fmt: skip
    assert done.code == 0, done.err


def test_a_run_that_cannot_fit_into_memory_says_how_much_it_needs(
    predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("MorseCore.system.memory.physical_memory", lambda: 1 << 20)
    with pytest.raises(DeviceError, match="GiB of memory and the machine has"):
        predictor.segment(phantom_volume(), PredictOptions(scale=4))


def test_memory_that_torch_is_refused_is_one_sentence(predictor) -> None:
    def demand(*_: object) -> None:
        torch.empty(1 << 55)

    hook = predictor.network.register_forward_pre_hook(demand)
    volume = phantom_volume()
    try:
        with pytest.raises(Exception, match="too small for this run; choose a region") as caught:
            predictor.segment(volume)
    finally:
        hook.remove()
    assert type(caught.value).__name__ == "DeviceError"
