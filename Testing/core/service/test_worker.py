"""The worker as the module meets it: a real process, real models, real arrays."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from MorseCore.errors import DeviceError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.session import Session
from MorseCore.service.exchange import load_segmentation
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import WindowConfig
from MorseCore.training.phantoms import make_phantom
from worker_client import ROOT, WorkerClient, save_image

try:
    import resource
except ImportError:  # Windows
    resource = None


@pytest.fixture(scope="module")
def worker():
    client = WorkerClient()
    ready = client.read()
    assert ready["event"] == "ready"
    assert ready["pid"] == client.process.pid
    yield client
    if client.process.poll() is None:
        client.close()


@pytest.fixture
def request_arguments(tmp_path):
    return {**save_image(tmp_path, make_phantom(7)[0]), "model": "phantom-tiny", "device": "cpu"}


def large_image() -> np.ndarray:
    """Hundreds of windows: many seconds of work."""
    return np.random.default_rng(0).standard_normal((150, 150, 150)).astype(np.float32)


def test_the_worker_describes_devices_models_and_versions(worker):
    answer = worker.ask("describe")
    assert answer["devices"][0]["id"] == "auto"
    assert "cpu" in [device["id"] for device in answer["devices"]]
    phantom = next(m for m in answer["models"] if m["name"] == "phantom-tiny")
    assert phantom["structures"] == ["ball", "rod"]
    assert phantom["points"] == 1024
    assert {"MorseSegment", "torch", "python", "driver"} <= set(answer["versions"])


def test_a_segmentation_through_the_worker_equals_one_in_this_process(worker, request_arguments):
    answer = worker.ask("segment", **request_arguments)
    assert answer["event"] == "result", answer
    result = load_segmentation(Path(request_arguments["output"]), answer)
    image = np.load(request_arguments["image"])
    volume = Volume(image, Geometry(image.shape, np.eye(4)), "image")
    expected = VolumePredictor(find_model("phantom-tiny"), device="cpu").segment(volume)
    assert np.array_equal(result.refined, expected.refined)
    assert np.array_equal(result.coarse, expected.coarse)
    assert np.array_equal(result.points.positions, expected.points.positions)
    assert [s.name for s in result.structures] == ["ball", "rod"]


def test_progress_rises_and_names_its_stage(worker, request_arguments):
    seen = len(worker.events)
    number = worker.send("segment", **request_arguments)
    worker.answer(number)
    mine = [e for e in worker.events[seen:] if e["event"] == "progress" and e["id"] == number]
    percents = [event["percent"] for event in mine]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert {event["stage"] for event in mine} <= {"prepare", "network", "restore"}


def test_a_box_is_rendered_again_from_the_kept_field(worker, request_arguments, tmp_path):
    whole = load_segmentation(
        Path(request_arguments["output"]), worker.ask("segment", **request_arguments)
    )
    arguments = save_image(tmp_path / "render", np.zeros((1, 1, 1)))
    answer = worker.ask(
        "render", output=arguments["output"], box="ijk:4,20,5,21,6,22", points=100_000
    )
    part = load_segmentation(Path(arguments["output"]), answer)
    assert part.geometry.shape == (16, 16, 16)
    assert part.geometry.origin == (4.0, 5.0, 6.0)
    assert part.report["model"] == whole.report["model"]
    assert part.report["parameters"]["points"] == 100_000
    inner = whole.coarse[6:22, 5:21, 4:20]
    assert np.array_equal(part.coarse, inner)
    assert (part.refined == whole.refined[6:22, 5:21, 4:20]).mean() > 0.99


def test_a_finer_output_covers_the_same_millimetres(worker, request_arguments, tmp_path):
    worker.ask("segment", **request_arguments)
    arguments = save_image(tmp_path / "fine", np.zeros((1, 1, 1)))
    answer = worker.ask("render", output=arguments["output"], scale=2)
    fine = load_segmentation(Path(arguments["output"]), answer)
    assert fine.geometry.shape == (56, 56, 56)
    assert fine.geometry.spacing == pytest.approx((0.5, 0.5, 0.5))
    assert fine.geometry.origin == pytest.approx((-0.25, -0.25, -0.25))


def test_the_surface_of_a_structure_lies_where_its_mask_is(worker, request_arguments, tmp_path):
    whole = load_segmentation(
        Path(request_arguments["output"]), worker.ask("segment", **request_arguments)
    )
    arguments = save_image(tmp_path / "surface", np.zeros((1, 1, 1)))
    answer = worker.ask("surface", output=arguments["output"], structure=1, scale=2)
    probability = np.load(Path(arguments["output"]) / answer["probability"])
    geometry = Geometry(
        tuple(answer["geometry"]["shape"]), np.array(answer["geometry"]["ijk_to_ras"])
    )
    assert probability.shape == geometry.shape
    inside = np.argwhere(probability > 0.5)[:, ::-1]
    found = geometry.to_world(inside).mean(axis=0)
    expected = np.argwhere(whole.refined == 1)[:, ::-1].mean(axis=0)
    assert found == pytest.approx(expected, abs=0.3)
    volume = len(inside) * geometry.voxel_volume
    assert volume == pytest.approx((whole.refined == 1).sum(), rel=0.1)
    edges = [probability[n] for n in (0, -1)] + [probability[:, :, n] for n in (0, -1)]
    assert max(edge.max() for edge in edges) < 0.5  # the surface is closed


def test_an_error_is_one_sentence_and_the_worker_goes_on(worker, request_arguments):
    wrong = [
        (request_arguments | {"model": "phantom-tini"}, "ModelError", "phantom-tiny"),
        (request_arguments | {"device": "cuda:0"}, "DeviceError", "cuda:0"),
        (request_arguments | {"roi": "500,600,0,1,0,1"}, "GeometryError", ""),
        (request_arguments | {"image": "nowhere.npy"}, "ImageError", "did not reach"),
        (request_arguments | {"scale": 7}, "ConfigError", "scale"),
    ]
    for arguments, kind, part in wrong:
        answer = worker.ask("segment", **arguments)
        assert (answer["event"], answer["kind"]) == ("error", kind), answer
        assert part in answer["message"]
        assert "Traceback" not in answer["message"]
        assert "Traceback" in answer["detail"]
    assert worker.ask("describe")["event"] == "result"


def test_an_image_of_one_value_is_refused_in_a_sentence(worker, tmp_path):
    arguments = save_image(tmp_path, np.zeros((9, 9, 9), np.float32))
    answer = worker.ask("segment", **arguments, model="phantom-tiny")
    assert answer["kind"] == "ImageError"
    assert list(Path(arguments["output"]).iterdir()) == []


def test_a_question_before_any_image_says_what_to_do(tmp_path):
    client = WorkerClient()
    client.read()
    answer = client.ask("render", output=str(tmp_path))
    assert answer["message"] == "There is no segmented image to ask; press Segment first."
    assert client.ask("shutdown")["event"] == "result"
    assert client.process.wait(timeout=30) == 0
    client.close()


def test_a_running_request_is_cancelled_and_leaves_no_files(worker, tmp_path):
    arguments = save_image(tmp_path, large_image())
    number = worker.send("segment", **arguments, model="phantom-tiny", device="cpu")
    while worker.read().get("stage") != "network":
        pass
    cancel = worker.send("cancel", target=number)
    assert worker.answer(cancel)["cancelled"] is True
    assert worker.answer(number)["kind"] == "Cancelled"
    assert list(Path(arguments["output"]).iterdir()) == []
    assert worker.ask("cancel", target=number)["cancelled"] is False


def test_a_waiting_request_can_be_cancelled_too(worker, tmp_path, request_arguments):
    arguments = save_image(tmp_path / "large", large_image())
    running = worker.send("segment", **arguments, model="phantom-tiny", device="cpu")
    waiting = worker.send("segment", **request_arguments)
    worker.send("cancel", target=waiting)
    worker.send("cancel", target=running)
    assert worker.answer(running)["kind"] == "Cancelled"
    assert worker.answer(waiting)["kind"] == "Cancelled"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux limits a running process")
@pytest.mark.parametrize("request_name", ["render", "surface"])
def test_too_little_memory_is_one_sentence_and_the_field_stays(
    request_arguments, tmp_path, request_name
):
    client = WorkerClient()
    client.read()
    assert client.ask("segment", **request_arguments)["event"] == "result"
    output = str(tmp_path / "output")
    question = {"output": output, "scale": 4} | (
        {"structure": 1} if request_name == "surface" else {}
    )
    taken = int(Path(f"/proc/{client.process.pid}/statm").read_text().split()[0])
    limit = taken * resource.getpagesize() + (1 << 20)
    resource.prlimit(client.process.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    answer = client.ask(request_name, **question)
    assert (answer["event"], answer["kind"]) == ("error", "DeviceError"), answer
    assert "choose a region of interest" in answer["message"]
    assert "\n" not in answer["message"]
    resource.prlimit(client.process.pid, resource.RLIMIT_AS, (-1, -1))
    Path(output).mkdir(exist_ok=True)
    again = client.ask(request_name, **question | {"scale": 1})
    assert again["event"] == "result", "the field is still there"
    client.close()


def test_an_output_larger_than_the_memory_is_refused_before_it_is_begun(
    request_arguments, monkeypatch
):
    image = np.load(request_arguments["image"])
    volume = Volume(image, Geometry(image.shape, np.eye(4)), "image")
    session = Session(
        VolumePredictor(find_model("phantom-tiny"), device="cpu"), volume, PredictOptions()
    )
    session.segment()
    monkeypatch.setattr("MorseCore.system.memory.physical_memory", lambda: 1 << 20)
    with pytest.raises(DeviceError, match="smaller scale"):
        session.render(PredictOptions(scale=4))
    with pytest.raises(DeviceError, match="smaller scale"):
        session.probability(1, scale=4)


def test_a_model_that_takes_several_windows_at_once_can_be_refined_further(request_arguments):
    image = np.tile(np.load(request_arguments["image"]), (1, 1, 2))
    predictor = VolumePredictor(find_model("phantom-tiny"), device="cpu")
    session = Session(predictor, Volume(image, Geometry(image.shape, np.eye(4)), "image"),
                      PredictOptions())  # fmt: skip
    predictor.info = replace(predictor.info, windows=WindowConfig(batch=2))
    assert session.segment().report["windows"] > 1
    assert session.render(PredictOptions(points=100)).report["points"]["evaluated"] > 0


def test_what_libraries_print_does_not_disturb_the_protocol():
    code = (
        "import MorseCore.service.worker as w, MorseCore.service.describing as d\n"
        "old = d.describe_devices\n"
        "def noisy():\n"
        "    print('noise'); import os; os.write(1, b'more noise\\n'); return old()\n"
        "d.describe_devices = noisy\n"
        "w.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, encoding="utf-8", errors="replace",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write('{"request": "describe", "id": 1}\n{"request": "shutdown", "id": 2}\n')
    process.stdin.flush()
    lines = process.stdout.read().splitlines()  # ends with the worker
    assert [json.loads(line)["event"] for line in lines] == ["ready", "result", "result"]
    assert "more noise" in process.stderr.read()
    process.stdin.close()
    assert process.wait(timeout=30) == 0
