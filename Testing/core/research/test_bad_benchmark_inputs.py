"""Benchmarks refuse what makes no sense before they measure anything."""

import importlib
from pathlib import Path

import pytest


def refused(name: str, *words: str) -> int:
    """The exit code, whether argparse or the benchmark itself refuses."""
    try:
        code: int = importlib.import_module(f"Training.research.benchmarks.{name}").main([*words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["overhead", "--threads", "-1"], "must be a whole number above 0; found '-1'"),
        (["overhead", "--repeats", "0"], "must be a whole number above 0; found '0'"),
        (["scaling", "--largest", "a"], "must be a whole number above 0; found 'a'"),
        (["scaling", "--largest", "1"], "'--largest' 1 leaves no image to measure."),
        (["peers", "--cases", "-1"], "must be a whole number above 0; found '-1'"),
        (["all", "--repeats", "a"], "must be a whole number above 0; found 'a'"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_sentence(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *rest = words
    options = [*rest, "--output", str(tmp_path / "out")]
    assert refused(name, *options, *(["--smoke"] if name != "all" else [])) in (1, 2)
    printed = capsys.readouterr()
    assert message in printed.err
    assert " s\n" not in printed.out  # nothing was measured
    assert not list(tmp_path.rglob("*.json"))


def test_a_folder_that_cannot_be_written_is_found_out_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert refused("training", "--smoke", "--output", str(tmp_path / "file")) in (1, 2)
    printed = capsys.readouterr()
    assert "error: " in printed.err
    assert " s\n" not in printed.out
