"""Whatever line a worker gets: one answer, with the request's id where one can be read, and on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MorseCore.training.phantoms import make_phantom
from worker_client import WorkerClient, save_image

DESCRIBE = '{"request": "describe", "id": %s}'


@pytest.fixture(scope="module")
def worker():
    client = WorkerClient()
    assert client.read()["event"] == "ready"
    yield client
    client.close()


def only_answer(worker: WorkerClient, line: str | bytes) -> dict[str, Any]:
    """The answer to a line, of which there must be one: that of the next line is the next."""
    seen = len(worker.events)
    worker.write(line)
    last = worker.send("cancel", target=-1)
    assert worker.answer(last)["cancelled"] is False
    answers = [e for e in worker.events[seen:] if e["event"] in ("result", "error")]
    assert len(answers) == 2, answers
    return answers[0]


@pytest.mark.parametrize(
    ("line", "number", "part"),
    [
        # no JSON
        ("", None, "JSON"),
        ("  ", None, "JSON"),
        ("not json", None, "JSON"),
        (b"\x00\x00", None, "JSON"),
        (b"\xff\xfe{}", None, "no UTF-8 text"),
        (b'{"request": "describe", "id": 9007, "name": "\xff"}', 9007, "no UTF-8 text"),
        ('{"request": "describe", "id": 9007', 9007, "JSON"),
        ('{"request": "describe", "id": 9007, "x": "\x01"}', 9007, "JSON"),
        # no object
        ("[1]", None, "object"),
        ("null", None, "object"),
        ('"describe"', None, "object"),
        # numbers
        (DESCRIBE % ("9" * 5000), None, "5000 digits"),
        ('{"request": "cancel", "id": 9007, "target": -%s}' % ("9" * 5000), 9007, "5000 digits"),
        ('{"request": "cancel", "id": 9007, "target": NaN}', 9007, "NaN is not a JSON number"),
        ('{"request": "cancel", "id": 9007, "target": 1e999}', 9007, "number; found Infinity"),
        # nesting
        ('{"id": 9007, "request": ' + "[" * 500 + "]" * 500 + "}", 9007, "with a 'request'"),
        ('{"id": 9007, "request": ' + "[" * 1000 + "]" * 1000 + "}", 9007, ""),  # as Python has it
        ('{"id": 9007, "request": ' + '{"a":' * 100_000, 9007, "nested too deeply"),
        # ids
        ('{"request": "describe"}', None, "describe.id' is missing"),
        (DESCRIBE % '"x"', None, "whole number"),
        (DESCRIBE % "true", None, "whole number"),
        (DESCRIBE % "null", None, "whole number"),
        (DESCRIBE % "1.5", None, "whole number"),
        ('{"request": "describe", "id": 1, "id": 2}', None, "the key 'id' is there twice"),
        # names
        ('{"request": "segmet", "id": 9007}', 9007, "did you mean 'segment'"),
        ('{"request": "%s", "id": 9007}' % ("x" * 9000), 9007, "xxx..."),
        ('{"request": ["describe"], "id": 9007}', 9007, "with a 'request'"),
        ('{"request": "describe", "id": 9007, "colour": 2}', 9007, "colour"),
        ('{"request": "describe", "id": 9007, "\\ud800\\n": 2}', 9007, "describe.\\ud800\\n"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_request_gets_one_sentence_with_the_id_it_tells(
    worker: WorkerClient, line: str | bytes, number: int | None, part: str
) -> None:
    answer = only_answer(worker, line)
    assert (answer["event"], answer.get("id"), answer["kind"]) == ("error", number, "ConfigError")
    assert part in answer["message"], answer["message"]
    assert "\n" not in answer["message"]
    assert len(answer["message"]) < 300


@pytest.mark.parametrize("number", [-3, 2**53])
def test_any_whole_number_is_repeated_as_an_id(worker: WorkerClient, number: int) -> None:
    line = f'{{"request": "cancel", "target": 0, "id": {number}}}\r'
    assert only_answer(worker, line) == {"event": "result", "id": number, "cancelled": False}


@pytest.mark.parametrize("number", [2**63, 10**4000])
def test_an_id_beyond_all_sense_is_refused_and_repeated(worker: WorkerClient, number: int) -> None:
    answer = only_answer(worker, f'{{"request": "cancel", "target": 0, "id": {number}}}')
    assert (answer["event"], answer["id"], answer["kind"]) == ("error", number, "ConfigError")


@pytest.mark.parametrize("key", ["image", "ijk_to_ras", "model", "output", "name", "roi", "scale"])
@pytest.mark.parametrize("value", [None, True, 2.5, -1, {}, [[]], "\0", "\ud800", "y" * 70_000])
def test_no_value_of_a_field_costs_more_than_a_sentence(
    worker: WorkerClient, tmp_path: Path, key: str, value: Any
) -> None:
    arguments = {**save_image(tmp_path, make_phantom(7)[0][:2]), "model": "phantom-tiny"}
    number = worker.send("segment", **{**arguments, key: value})
    answer = worker.answer(number)
    if answer["event"] == "error":
        assert "unexpected" not in answer["message"], answer["detail"]
        assert "\n" not in answer["message"]
        assert len(answer["message"]) < 1000
    else:
        assert (key, type(value)) in [("name", str), ("roi", type(None))]


def test_a_line_of_100_megabytes_is_answered_without_taking_their_memory(
    worker: WorkerClient,
) -> None:
    worker.ask("cancel", target=0)
    before = memory_of(worker)
    line = b'{"id": 77, "request": "segment", "name": "' + b"x" * 100_000_000 + b'"}'
    answer = only_answer(worker, line)
    assert answer["id"] == 77
    assert answer["message"] == f"A line may have 1048576 bytes; found {len(line)}."
    assert memory_of(worker) - before < 16 * 2**20


def memory_of(worker: WorkerClient) -> int:
    """The most bytes that it has held."""
    status = Path(f"/proc/{worker.process.pid}/status")
    if not status.exists():
        pytest.skip("looks processes up in /proc")
    (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_an_open_request_keeps_its_id_to_itself(worker: WorkerClient, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((150, 150, 150)).astype(np.float32)
    number = worker.send(
        "segment", **save_image(tmp_path, noise), model="phantom-tiny", device="cpu"
    )
    for line in (DESCRIBE % number, f'{{"request": "cancel", "id": {number}, "target": {number}}}'):
        worker.write(line)
        refusal = worker.answer(number)
        assert refusal["message"] == f"The request {number} is open; take another id."
        worker.events.clear()
    assert worker.ask("cancel", target=number)["cancelled"] is True
    assert worker.answer(number)["kind"] == "Cancelled"
    worker.write(DESCRIBE % number)  # it is free again
    worker.events.clear()
    assert worker.answer(number)["event"] == "result"


def test_after_a_shutdown_requests_are_refused_and_what_waits_is_done_or_cancelled() -> None:
    client = WorkerClient()
    client.read()
    client.write("\n".join([DESCRIBE % 1, DESCRIBE % 2, '{"request": "shutdown", "id": 3}',
        DESCRIBE % 4, '{"request": "cancel", "id": 5, "target": 2}',
        '{"request": "cancel", "id": 6, "target": 3}', '{"request": "shutdown", "id": 7}'])
    )  # fmt: skip
    answers = {number: client.answer(number) for number in range(1, 8)}
    assert answers[1]["event"] == "result"
    assert answers[2]["kind"] == "Cancelled"
    assert answers[3] == {"event": "result", "id": 3}
    assert answers[5]["cancelled"] is True
    assert answers[6]["cancelled"] is False
    for number in (4, 7):
        assert "told to shut down" in answers[number]["message"]
    assert client.process.wait(timeout=30) == 0
    client.close()


def test_an_idle_worker_still_answers_what_came_with_the_shutdown() -> None:
    client = WorkerClient()
    client.read()
    client.write('{"request": "shutdown", "id": 1}\n' + DESCRIBE % 2)
    assert client.answer(1)["event"] == "result"
    assert "told to shut down" in client.answer(2)["message"]
    client.close()


def test_an_answer_that_is_no_json_becomes_one() -> None:
    """Our own mistake in a report must not leave a person waiting."""
    client = WorkerClient(
        "import MorseCore.service.describing as d\n"
        "d.describe_versions = lambda: answers.pop(0)\n"
        "answers = [{'a': float('nan'), 'b': [float('inf'), 1.5]}, {'c': {1, 2}}, {'d': '\\ud800'}]"
    )
    client.read()
    assert client.ask("describe")["versions"] == {"a": None, "b": [None, 1.5]}
    answer = client.ask("describe")
    assert (answer["event"], answer["kind"]) == ("error", "TypeError")
    assert client.ask("describe")["versions"] == {"d": "\ud800"}
    client.close()


def test_an_error_in_the_reading_thread_is_an_answer_and_not_its_end() -> None:
    client = WorkerClient(
        "parse = worker.parse_request\n"
        "def fail(text):\n"
        "    if 'mines' in text: raise KeyError('a defect of ours')\n"
        "    return parse(text)\n"
        "worker.parse_request = fail"
    )
    client.read()
    answer = client.answer(client.send("mines"))
    assert "unexpected problem (KeyError)" in answer["message"]
    assert "a defect of ours" in answer["detail"]
    assert client.ask("cancel", target=3)["event"] == "result"
    client.close()


def test_a_file_name_that_is_no_text_arrives_as_it_was(
    worker: WorkerClient, tmp_path: Path
) -> None:
    folder = tmp_path / "scan \udcff"  # as Python reads the byte 0xff in a name
    try:
        arguments = save_image(folder, make_phantom(7)[0])
    except OSError:
        pytest.skip("this disk takes no such names")
    answer = worker.ask("segment", **arguments, model="phantom-tiny", roi="ijk:0,9,0,9,9,18")
    assert answer["event"] == "result", answer
    assert json.dumps(answer).isascii()
    assert (folder / "output" / "refined.npy").is_file()
