"""A slice of ``Testing/fuzz``: spoilt files are read as before or refused, never anything worse."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "fuzz" / "run.py"


@pytest.mark.parametrize("seed", [11, 12])
def test_spoilt_files_are_refused_in_a_sentence_or_read_as_before(seed: int, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(RUN), "--cases", "280", "--seed", str(seed), "--keep", str(tmp_path)],
        capture_output=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "| nii.gz |" in done.stdout
    assert not list(tmp_path.iterdir())
