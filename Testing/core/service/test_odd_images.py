"""What Slicer has loaded gets the checks of a file, and its words."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from MorseCore.errors import MorseError
from MorseCore.images.imageio import read_volume
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.service.exchange import load_segmentation
from MorseCore.store.library import find_model
from MorseCore.training.phantoms import make_phantom
from worker_client import WorkerClient

NAME = "scan.nrrd"
PHANTOM = make_phantom(7)[0]


@pytest.fixture(scope="module")
def worker():
    client = WorkerClient()
    assert client.read()["event"] == "ready"
    yield client
    client.close()


@pytest.fixture(scope="module")
def predictor():
    return VolumePredictor(find_model("phantom-tiny"), device="cpu")


def ask(worker: WorkerClient, folder: Path, image: str | Path, **more: Any) -> dict[str, Any]:
    """Segment an image as the module would have it done."""
    arguments = {"ijk_to_ras": np.eye(4).tolist(), "output": str(folder), "name": NAME, **more}
    return worker.ask("segment", image=str(image), model="phantom-tiny", device="cpu", **arguments)


def refusal(answer: dict[str, Any]) -> tuple[str, str]:
    assert answer["event"] == "error", answer
    assert "\n" not in answer["message"]
    return answer["kind"], answer["message"]


def by_file(folder: Path, array: np.ndarray, predictor: VolumePredictor) -> tuple[str, str]:
    """What is said of the same voxels in a file."""
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array, isVector=False), str(folder / NAME))
    with pytest.raises(MorseError) as caught:
        predictor.segment(read_volume(folder / NAME))
    return type(caught.value).__name__, str(caught.value)


@pytest.mark.parametrize(
    "array",
    [
        np.full((9, 9, 9), 5, np.int16),
        np.full((9, 9, 9), np.nan, np.float64),
        make_phantom(7)[1].astype(np.uint8),
        PHANTOM.astype(np.complex64),
    ],
    ids=["constant", "no number", "label map", "complex"],
)
def test_a_loaded_volume_is_refused_with_the_words_for_a_file(
    worker: WorkerClient, predictor: VolumePredictor, tmp_path: Path, array: np.ndarray
) -> None:
    np.save(tmp_path / "image.npy", array)
    answer = ask(worker, tmp_path, tmp_path / "image.npy")
    found = refusal(answer)
    assert "--accept" not in answer.get("plain", "")
    assert ("plain" in answer) == ("--accept" in answer["message"])
    assert found == by_file(tmp_path, array, predictor)


def test_what_a_report_says_of_a_file_it_says_of_a_loaded_volume(
    worker: WorkerClient, predictor: VolumePredictor, tmp_path: Path
) -> None:
    array = PHANTOM.astype(np.float64)
    array[3, 3, 3:6] = np.inf
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / NAME))
    expected = predictor.segment(read_volume(tmp_path / NAME))
    np.save(tmp_path / "image.npy", array)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0]).tolist()  # SimpleITK's axes are LPS
    answer = ask(worker, tmp_path, tmp_path / "image.npy", ijk_to_ras=flip)
    found = load_segmentation(tmp_path, answer)
    assert found.report["warnings"] == expected.report["warnings"] != []
    assert found.report["input"] == expected.report["input"]
    np.testing.assert_array_equal(found.refined, expected.refined)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.astype(">f4"), lambda x: np.asfortranarray(x), lambda x: x.astype(np.float64),
        lambda x: x[::-1, :, ::-1].copy()[::-1, :, ::-1],
    ],
    ids=["big-endian", "by columns", "doubles", "backwards"],
)  # fmt: skip
def test_the_order_of_bytes_and_axes_in_memory_changes_nothing(
    worker: WorkerClient,
    predictor: VolumePredictor,
    tmp_path: Path,
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    np.save(tmp_path / "plain.npy", PHANTOM)
    np.save(tmp_path / "image.npy", change(PHANTOM))
    masks = []
    for name in ("plain.npy", "image.npy"):
        answer = ask(worker, tmp_path, tmp_path / name)
        masks.append(load_segmentation(tmp_path, answer).refined.copy())
    np.testing.assert_array_equal(*masks)
    assert masks[0].any()


def test_of_another_modality_the_report_warns(worker: WorkerClient, tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", PHANTOM)
    part = {"roi": "ijk:0,28,0,28,0,8", "passes": 0}
    warnings = {}
    for modality in ("CT", "MR", ""):
        answer = worker.ask(
            "segment", image=str(tmp_path / "image.npy"), ijk_to_ras=np.eye(4).tolist(),
            output=str(tmp_path), model="hippocampus-t1", device="cpu", modality=modality, **part,
        )  # fmt: skip
        warnings[modality] = " ".join(answer["report"]["warnings"])
    assert "The image is CT, the model 'hippocampus-t1' was trained on MR" in warnings["CT"]
    assert "trained on MR" not in warnings["MR"] + warnings[""]


def test_voxels_of_an_implausible_size_are_told_as_for_a_file(
    worker: WorkerClient, tmp_path: Path
) -> None:
    np.save(tmp_path / "image.npy", PHANTOM)
    ask(
        worker, tmp_path, tmp_path / "image.npy", ijk_to_ras=np.diag([30.0, 30, 30, 1]).tolist(),
        roi="ijk:0,1,0,1,0,2", passes=0,
    )  # fmt: skip
    logs = [event["message"] for event in worker.events if event["event"] == "log"]
    assert f"{NAME} has voxels of 30 x 30 x 30 mm, which is implausible; is the unit right?" in logs


def changed(array: np.ndarray, before: bytes, after: bytes) -> Callable[[Path], None]:
    """A .npy file with another header."""

    def write(path: Path) -> None:
        np.save(path, array)
        path.write_bytes(path.read_bytes().replace(before, after))

    return write


def saved(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, array, allow_pickle=True)


@pytest.mark.parametrize(
    ("write", "part"),
    [
        (saved(np.array([[[{}]]], dtype=object)), "no array of numbers in numpy's format"),
        (lambda path: np.savez(path.open("wb"), PHANTOM), "no array of numbers in numpy's format"),
        (lambda path: path.write_bytes(b"GIF89a"), "no array of numbers in numpy's format"),
        (lambda path: path.touch(), "no array of numbers in numpy's format"),
        (changed(PHANTOM, b"(28, 28, 28)", b"(-1, 28, 28)"), "no array of numbers"),
        (changed(PHANTOM, b"'<f4'", b"'|O'  "), "no array of numbers"),
        (changed(PHANTOM, b"{'descr'", b"{[[[[[[["), "no array of numbers"),
        (changed(PHANTOM, b"(28, 28, 28), }          ", b"(1000, 1000, 1000), }    "),
         "is cut off: 4000000000 bytes of voxels are expected; found 87"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: None, "cannot be read: No such file or directory"),
        (lambda path: os.mkfifo(path), "no regular file but a device, a pipe or a socket"),
    ],
    ids=["pickle", "npz", "picture", "nothing", "negative", "objects", "no header", "boasting",
         "folder", "missing", "pipe"],
)  # fmt: skip
def test_a_file_that_is_no_array_did_not_reach_the_worker(
    worker: WorkerClient, tmp_path: Path, write: Callable[[Path], None], part: str
) -> None:
    write(tmp_path / "image.npy")
    kind, message = refusal(ask(worker, tmp_path, tmp_path / "image.npy"))
    assert (kind, part in message) == ("ImageError", True), message
    assert message.startswith(f"The image '{NAME}' did not reach the worker: ")


@pytest.mark.parametrize(
    ("array", "part"),
    [
        (PHANTOM[0], f"{NAME} holds no volume; found an array of shape (28, 28)"),
        (np.zeros((0, 3, 3)), "holds no volume; found an array of shape (0, 3, 3)"),
        (np.float32(3), "holds no volume"),
        (np.zeros((3, 3, 3), [("r", "f4"), ("g", "f4")]), "has 2 values a voxel (colour?)"),
        (np.full((3, 3, 3), "a"), "has voxels that are no numbers (<U1)"),
        (np.zeros((3, 3, 3), "M8[s]"), "has voxels that are no numbers"),
        (PHANTOM > 0.5, "looks like a segmentation (1 label(s), 0 to 1)"),
    ],
    ids=["picture", "empty", "number", "fields", "text", "dates", "yes and no"],
)
def test_an_array_that_is_no_scan_is_refused(
    worker: WorkerClient, tmp_path: Path, array: np.ndarray, part: str
) -> None:
    np.save(tmp_path / "image.npy", array)
    kind, message = refusal(ask(worker, tmp_path, tmp_path / "image.npy"))
    assert (kind, part in message) == ("ImageError", True), message


@pytest.mark.parametrize(
    ("matrix", "part"),
    [
        (np.zeros((4, 4)), "must end with the row 0, 0, 0, 1; found 0, 0, 0, 0"),
        (np.diag([1.0, 1, 1, 2]), "must end with the row 0, 0, 0, 1; found 0, 0, 0, 2"),
        (np.diag([1.0, 0, 1, 1]), "Voxel spacing must be positive"),
        (
            np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
            "not at right angles",
        ),
        (np.diag([1e-30, 1, 1, 1]), "Voxels of 1e-30 x 1 x 1 mm are impossible"),
        (np.diag([1e300, 1, 1, 1]), "are impossible"),
    ],
    ids=["zeros", "perspective", "flat", "sheared", "tiny", "huge"],
)
def test_a_place_that_no_image_can_have_is_refused(
    worker: WorkerClient, tmp_path: Path, matrix: np.ndarray, part: str
) -> None:
    np.save(tmp_path / "image.npy", PHANTOM)
    answer = ask(worker, tmp_path, tmp_path / "image.npy", ijk_to_ras=matrix.tolist())
    kind, message = refusal(answer)
    assert (kind, part in message) == ("GeometryError", True), message


@pytest.mark.parametrize("request_name", ["segment", "render", "surface"])
def test_a_folder_that_cannot_take_the_result_is_refused_before_anything_is_computed(
    worker: WorkerClient, tmp_path: Path, request_name: str
) -> None:
    np.save(tmp_path / "image.npy", PHANTOM)
    more = {
        "segment": {
            "image": str(tmp_path / "image.npy"), "ijk_to_ras": np.eye(4).tolist(),
            "model": "phantom-tiny",
        },
        "render": {},
        "surface": {"structure": 1},
    }[request_name]  # fmt: skip
    for output, reason in (
        (tmp_path / "nowhere", "it does not exist."), (tmp_path / "image.npy", "it is a file."),
        ("", "is no path."), ("a\0b", "is no path."), ("\ud800", "is no path."),
    ):  # fmt: skip
        seen = len(worker.events)
        answer = worker.ask(request_name, **more, output=str(output))
        assert refusal(answer)[1].endswith(reason)
        assert not [e for e in worker.events[seen:] if e["event"] == "progress"]


def test_a_model_folder_that_is_none_is_named(worker: WorkerClient, tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", PHANTOM)
    arguments = {
        "image": str(tmp_path / "image.npy"), "ijk_to_ras": np.eye(4).tolist(),
        "output": str(tmp_path),
    }  # fmt: skip
    for model, part in ((str(tmp_path), "lacks 'model.json'"), ("x/" * 9000, "There is no model")):
        kind, message = refusal(worker.ask("segment", **arguments, model=model))
        assert (kind, part in message) == ("ModelError", True), message
        assert len(message) < 1000
