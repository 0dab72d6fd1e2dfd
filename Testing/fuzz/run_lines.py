"""Spoil requests at random and see what a worker answers.

    python Testing/fuzz/run_lines.py --cases 1000 --seed 1

Each line is one answered by exactly one result or error, and the same worker goes on. Exit code 0:
it was so.

====================  ==========================================================================
outcome               what happened
====================  ==========================================================================
result                the request was still one, and was answered
refused               one sentence, with the request's id if that was not touched
*unexpected*          an error that is not ours, or no sentence
*other id*            the id was not touched, and yet the answer has none or another one
*twice*               more than one answer
*end*, *silence*      the worker ended, or did not answer
====================  ==========================================================================
"""

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import numpy as np
from lines import LINE_MUTATIONS, write_images, write_requests
from tqdm import tqdm

BAD = ("unexpected", "other id", "twice", "end", "silence")
PATIENCE = 60.0  # seconds for a phantom
SCRIPT = ROOT / "MorseSegment" / "Scripts" / "worker.py"


class SpokenWorker:
    """A worker that is asked one line after the other.

    :param folder: in which it lives; what it should write elsewhere by mistake, it writes there.
    """

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(SCRIPT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] in ("result", "error"):
                self._answers.put(event)
        self._answers.put(None)

    def ask(self, line: bytes, *, marker: int) -> list[dict[str, Any]] | str:
        """All answers to a line, or what became of the worker: ``end`` or ``silence``.

        :param marker: the id of a request that follows, whose answer shows that there are no more.
        """
        found: list[dict[str, Any]] = []
        try:
            self._write(line)
            found.append(self._next())
            self._write(b'{"request": "cancel", "target": -1, "id": %d}' % marker)
            while (answer := self._next()).get("id") != marker:
                found.append(answer)
        except queue.Empty:
            return "silence"
        except (EOFError, OSError):
            return "end"
        return found

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()

    def _write(self, line: bytes) -> None:
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def _next(self) -> dict[str, Any]:
        answer = self._answers.get(timeout=PATIENCE)
        if answer is None:
            raise EOFError
        return answer


def judge(answers: list[dict[str, Any]] | str, expected: int | None) -> str:
    """The outcome's name in the table.

    :param expected: the id that an answer must have; None: whichever.
    """
    if isinstance(answers, str):
        return answers
    if len(answers) != 1:
        return "twice"
    (answer,) = answers
    if expected is not None and answer.get("id") != expected:
        return "other id"
    if answer["event"] == "result":
        return "result"
    text = answer["message"]
    is_sentence = "\n" not in text and text.endswith((".", "?", ")")) and len(text) < 1000
    return "refused" if is_sentence and "unexpected" not in text else "unexpected"


def fuzz(cases: int, seed: int) -> Counter[tuple[str, str]]:
    """Outcomes by (mutation, outcome)."""
    table: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "within" / "another"  # ".." is a place for arrays, too
        folder.mkdir(parents=True)
        images, requests = write_images(folder), write_requests(folder)
        worker = SpokenWorker(folder)
        try:
            for n in tqdm(range(cases), unit="line", disable=None):
                rng = np.random.default_rng([seed, n])
                mutation = LINE_MUTATIONS[n % len(LINE_MUTATIONS)]
                request = {**requests[int(rng.integers(len(requests)))], "id": 1000 + n}
                line = mutation.apply(request, rng, images).replace(b"\n", b" ")
                answers = worker.ask(line, marker=10**9 + n)
                outcome = judge(answers, request["id"] if mutation.keeps_id else None)
                table[mutation.name, outcome] += 1
                if outcome in BAD:
                    shown = answers if isinstance(answers, str) else json.dumps(answers)[-1500:]
                    tqdm.write(f"case {n}: {mutation.name}: {outcome}\n{line[:900]!r}\n{shown}")
                if outcome in ("end", "silence"):
                    worker.close()
                    worker = SpokenWorker(folder)
        finally:
            worker.close()
    return table


def format_table(table: Counter[tuple[str, str]]) -> str:
    """Mutations down, outcomes across."""
    outcomes = ["result", "refused", *BAD]
    rows = ["| mutation | " + " | ".join(outcomes) + " |", "|---" * (len(outcomes) + 1) + "|"]
    for mutation in LINE_MUTATIONS:
        counts = " | ".join(str(table[mutation.name, outcome]) for outcome in outcomes)
        rows.append(f"| {mutation.name} | {counts} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """0: nothing bad; 1: something; the table says what."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    options = parser.parse_args(arguments)
    table = fuzz(options.cases, options.seed)
    print(f"seed {options.seed}, {options.cases} lines\n{format_table(table)}")
    return int(any(count for (_, outcome), count in table.items() if outcome in BAD))


if __name__ == "__main__":
    sys.exit(main())
