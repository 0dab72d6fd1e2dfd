"""What is said of a worker that is gone: what is known, and nothing else."""

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from MorseCore.errors import ImageError
from MorseCore.service.failures import describe_end, error_event
from MorseCore.system.acceptance import NOTHING

GIB = 2**30


def end(code: int, *, signalled: bool = False, errors: str = "", **more: Any) -> tuple[str, str]:
    found = describe_end(code, signalled=signalled, started=True, errors=errors, **more)
    return found.kind, found.message


@pytest.mark.parametrize(
    ("code", "signalled", "kind", "words"),
    [
        (9, True, "WorkerKilled", "was ended from outside (signal 9), by a person, or by the "),
        (
            137,
            False,
            "WorkerKilled",
            "was ended from outside (exit code 137, that is signal 9), by",
        ),
        (
            15,
            True,
            "WorkerKilled",
            "was ended from outside (signal 15: it was asked to end); press",
        ),
        (2, True, "WorkerKilled", "was ended from outside (signal 2: by Ctrl-C)"),
        (11, True, "WorkerCrashed", "crashed (signal 11: it touched memory that is not its own)"),
        (139, False, "WorkerCrashed", "crashed (exit code 139, that is signal 11: it touched "),
        (6, True, "WorkerCrashed", "crashed (signal 6: a library gave up)"),
        (7, True, "WorkerCrashed", "crashed (signal 7: a part of its memory could not be read)"),
        (0xC0000005, False, "WorkerCrashed", "crashed (exit code 0xC0000005: it touched memory"),
        (-1073741819, True, "WorkerCrashed", "crashed (exit code 0xC0000005: it touched memory"),
        (0xC0000017, False, "WorkerCrashed", "(exit code 0xC0000017: it got no more memory)"),
        (0xC0001234, False, "WorkerError", "ended unexpectedly (exit code 0xC0001234)"),
        (31, True, "WorkerError", "ended unexpectedly (signal 31)"),
        (3, False, "WorkerError", "ended unexpectedly (exit code 3); press Segment to start it "),
        (0, False, "WorkerError", "ended unexpectedly (exit code 0)"),
        (255, False, "WorkerError", "ended unexpectedly (exit code 255)"),
    ],
)
def test_an_end_is_told_in_words_with_its_number(
    code: int, signalled: bool, kind: str, words: str
) -> None:
    found, message = end(code, signalled=signalled)
    assert (found, words in message) == (kind, True), message
    assert message.endswith(".")
    assert "likely" not in message


def test_memory_is_the_reason_only_where_something_says_so() -> None:
    silent = end(9, signalled=True)[1]
    assert "by a person, or by the system because memory ran short" in silent
    counted = end(9, signalled=True, oom_kills=1, peak=3 * GIB)[1]
    assert "meanwhile the system ended one program because memory ran short" in counted
    assert "(it had held up to 3.0 GiB)" in counted
    assert "region of interest" in counted
    none = end(9, signalled=True, oom_kills=0)[1]
    assert "the system ended none because memory ran short" in none
    assert "region of interest" not in none
    for code in (11, 15):
        assert "memory ran" not in end(code, signalled=True, oom_kills=1)[1]
    assert "it got no more memory" in end(6, signalled=True, errors="std::bad_alloc")[1]


def test_of_slicers_launcher_both_is_said() -> None:
    errors = "error: [/opt/Slicer/bin/PythonSlicer-real] exit abnormally - Report the problem.\n"
    kind, message = end(1, errors=errors)
    assert kind == "WorkerCrashed"
    assert "crashed or was ended; Slicer's launcher does not say which" in message
    assert "launcher" not in end(1)[1]


def test_what_to_do_suits_who_asks_and_whether_it_had_begun() -> None:
    batch = end(3, again="run the same command again to go on")[1]
    assert batch == (
        "The worker ended unexpectedly (exit code 3); run the same command again to go on, with "
        "the CPU as the device if it happens again."
    )
    early = describe_end(11, signalled=True, started=False, errors="", look="look at worker.log")
    assert early.message == (
        "The worker crashed before it was ready (signal 11: it touched memory that is not its "
        "own); look at worker.log."
    )


def test_a_package_that_is_missing_is_named_if_that_is_why_it_did_not_begin() -> None:
    errors = "Traceback\nModuleNotFoundError: No module named 'torch'\n"
    found = describe_end(1, signalled=False, started=False, errors=errors)
    assert (found.kind, "'torch' is missing" in found.message) == ("MissingPackage", True)
    assert describe_end(1, signalled=False, started=True, errors=errors).kind == "WorkerError"


@pytest.mark.skipif(sys.platform == "win32", reason="NOT TESTED: Windows has no signals")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import ctypes; ctypes.string_at(8)", "crashed (signal 11"),
        ("import os; os.abort()", "crashed (signal 6"),
        ("import os; os.kill(os.getpid(), 9)", "ended from outside (signal 9)"),
        ("import sys; sys.exit(3)", "unexpectedly (exit code 3)"),
    ],
)
def test_real_processes_end_so(code: str, words: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    found = end(abs(done.returncode), signalled=done.returncode < 0)
    assert words in found[1]
    assert signal.SIGKILL == 9  # the numbers are this system's


def test_an_error_without_a_word_of_its_own_is_answered_too() -> None:
    class AcceleratorError(RuntimeError):
        pass

    import torch

    silent = getattr(torch, "AcceleratorError", AcceleratorError)("")
    assert error_event(1, silent)["message"].endswith(".")
    halves = error_event(1, ValueError("\ud800 \udcff"))
    assert json.dumps(halves, ensure_ascii=False).encode("utf-8")


def test_a_refusal_names_what_overrules_it_and_another_error_does_not() -> None:
    with pytest.raises(ImageError) as refusal:
        NOTHING.refuse("flat-image", ImageError("Too flat."))
    event = error_event(1, refusal.value)
    assert (event["plain"], event["accept"]) == ("Too flat.", "flat-image")
    assert "accept" not in error_event(1, ImageError("Too short."))
