"""What goes wrong on GPUs only, acted out on the CPU: overflow, a lost device, too little room."""

import os
from typing import Any

import numpy as np
import pytest
import torch

from cli_client import phantom_volume
from MorseCore.errors import ModelError
from MorseCore.inference import predictor, sliding_window
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.session import FIELD_LIMIT, Session
from MorseCore.inference.sliding_window import KeptFields
from MorseCore.service import worker as service
from MorseCore.service.failures import error_event, spoils_device
from MorseCore.service.protocol import encode_line, parse_request
from MorseCore.store.library import find_model
from MorseCore.system import memory


@pytest.fixture
def overflowing(monkeypatch: pytest.MonkeyPatch) -> VolumePredictor:
    """A model that answers with infinity unless it computes in single precision.

    ``auto`` is half precision here, as on a GPU older than Ampere; the CPU itself always computes
    in single precision, so that the second answer can be compared.
    """
    model = VolumePredictor(find_model("phantom-tiny"), device="cpu")
    choose = predictor.resolve_precision
    monkeypatch.setattr(
        predictor, "resolve_precision",
        lambda device, precision: "fp16" if precision == "auto" else choose(device, precision),
    )  # fmt: skip
    single = sliding_window.autocast(model.device, "fp32")
    is_half = [False]

    def choose_context(device: torch.device, precision: str) -> Any:
        is_half[0] = precision != "fp32"
        return single

    monkeypatch.setattr(sliding_window, "autocast", choose_context)
    model.network.register_forward_pre_hook(
        lambda network, inputs: (inputs[0] * (float("inf") if is_half[0] else 1.0),)
    )
    return model


def test_where_half_precision_overflows_single_precision_is_taken_and_said(
    overflowing: VolumePredictor, caplog: pytest.LogCaptureFixture
) -> None:
    kept = KeptFields(overflowing.info.preparation.window_size, limit=FIELD_LIMIT)
    result = overflowing.segment(phantom_volume(), kept=kept)
    expected = overflowing.segment(phantom_volume(), PredictOptions(precision="fp32"))
    np.testing.assert_array_equal(result.refined, expected.refined)
    assert result.report["parameters"]["precision"] == "fp32"
    [warning] = [text for text in result.report["warnings"] if "overflowed" in text]
    assert "computed again in single precision" in warning
    assert warning in caplog.text
    assert kept.is_complete
    assert len(kept._fields) == result.report["windows"]  # of the second attempt only
    assert not any("overflowed" in text for text in expected.report["warnings"])


def test_a_precision_that_was_asked_for_is_not_changed(overflowing: VolumePredictor) -> None:
    with pytest.raises(ModelError, match="values that are not numbers"):
        overflowing.segment(phantom_volume(), PredictOptions(precision="bf16"))


def test_fields_take_a_third_of_what_a_gpu_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    model = VolumePredictor(find_model("phantom-tiny"), device="cpu")
    monkeypatch.setattr("MorseCore.inference.session.free_gpu_memory", lambda device: 3 << 20)
    session = Session(model, phantom_volume(), PredictOptions())
    assert session._kept._limit == 1 << 20
    monkeypatch.setattr("MorseCore.inference.session.free_gpu_memory", lambda device: None)
    assert Session(model, phantom_volume(), PredictOptions())._kept._limit == FIELD_LIMIT


def test_what_torch_holds_and_does_not_use_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory.free_gpu_memory(torch.device("cpu")) is None
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert memory.free_gpu_memory(torch.device("cuda:0")) == 130


LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nFor debugging")


class Left(BaseException):
    """The process would have ended."""


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        raise Left

    monkeypatch.setattr(os, "_exit", leave)
    return codes


@pytest.mark.parametrize(
    ("error", "ends"),
    [(LOST, True), (torch.OutOfMemoryError("CUDA out of memory."), False), (ValueError(), False)],
)
def test_a_worker_whose_gpu_is_lost_says_so_and_makes_way_for_another(
    monkeypatch: pytest.MonkeyPatch, exits: list[int], error: Exception, ends: bool
) -> None:
    assert spoils_device(error) == ends
    sent: list[Any] = []
    worker = service.Worker([], sent.append)  # type: ignore[arg-type]

    def fail(request: Any) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(worker, "_describe", fail)
    request = parse_request(encode_line({"request": "describe", "id": 1}))
    if ends:
        with pytest.raises(Left):
            worker._answer(request)
    else:
        worker._answer(request)
    assert exits == ([1] if ends else [])
    assert [event["event"] for event in sent] == ["error"]  # the person has the sentence first


def test_a_package_that_another_python_lacks_is_not_installed_into_slicer_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert error_event(1, error)["message"].endswith("press Install under Environment.")
    monkeypatch.setenv("MORSESEGMENT_PYTHON", "/opt/python")
    assert error_event(1, error)["message"].endswith("/opt/python -m pip install torch")


def test_the_sentence_of_a_lost_gpu_names_the_reason_and_the_way_out() -> None:
    message = error_event(3, LOST)["message"]
    assert message.startswith("The GPU failed (CUDA error: an illegal memory access was enc")
    assert message.endswith("with the CPU as the device if it happens once more.")
