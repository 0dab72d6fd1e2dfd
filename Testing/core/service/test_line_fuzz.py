"""A slice of ``Testing/fuzz``: whatever a line has become, the worker answers once and goes on."""

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[2] / "fuzz" / "run_lines.py"


def test_every_spoilt_request_gets_one_answer_from_the_same_worker():
    done = subprocess.run(
        [sys.executable, str(RUN), "--cases", "140", "--seed", "11"],
        capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "| none | " in done.stdout
