"""Rows of a table from files alone: folds, seeds, costs and minutes, without a training."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from MorseCore.config import read_json
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.metrics.casetable import CaseScore, write_cases
from MorseCore.metrics.scores import StructureScore
from MorseCore.training.config import RunConfig
from Training.research.study import results, running
from Training.research.study.definition import Row, Table
from Training.research.study.results import ResultLine, RowResult, collect, cost_of, write_lines
from Training.research.study.running import Run, run_all
from training_runs import flat_config


def scored(folder: Path, split: str, *, seed: int = 1, fold: int = 0, **dice: float) -> Run:
    """A finished run that scored these cases so."""
    config = flat_config(output=str(folder), name=f"f{fold}-s{seed}")
    run = Run("row", seed, fold, config)
    run.folder.mkdir(parents=True)
    cases = {
        name: {"refined": CaseScore({1: StructureScore(v, v, 0, 0, 0, 1, 1, 1, 1, "both")}, 1.0)}
        for name, v in dice.items()
    }
    write_cases(run.folder / f"scores-{split}.csv", cases, {1: "ball"})
    return run


def test_folds_that_share_a_test_split_are_averaged_by_subject(tmp_path: Path) -> None:
    folds = zip((0.2, 0.4, 0.9), (0.1, 0.2, 0.6), strict=True)
    runs = [scored(tmp_path, "test", fold=n, a=a, b=b) for n, (a, b) in enumerate(folds)]
    row = collect(runs, ["dice"])
    assert row.values["dice"] == pytest.approx({"a": 0.5, "b": 0.3})
    assert row.by_seed["dice"] == pytest.approx([0.4])


def test_folds_of_a_cross_validation_each_add_their_subjects(tmp_path: Path) -> None:
    runs = [
        scored(tmp_path, "validation", fold=0, seed=1, a=0.2, b=0.4),
        scored(tmp_path, "validation", fold=1, seed=1, c=0.9),
        scored(tmp_path, "validation", fold=0, seed=2, a=0.4, b=0.6),
        scored(tmp_path, "validation", fold=1, seed=2, c=0.5),
    ]
    row = collect(runs, ["dice"])
    assert row.values["dice"] == pytest.approx({"a": 0.3, "b": 0.5, "c": 0.7})
    assert row.by_seed["dice"] == pytest.approx([0.5, 0.5])


def test_the_deviation_over_seeds_is_that_of_a_sample() -> None:
    row = RowResult({}, {"dice": [0.8, 0.9, 1.0], "asd": [2.0, 4.0], "hd95": [1.0]}, 0, 0.0)
    assert row.sd("dice") == pytest.approx(0.1)  # sqrt(0.02 / 2), not sqrt(0.02 / 3)
    assert row.sd("asd") == pytest.approx(2**0.5)
    assert row.sd("hd95") is None


def test_a_run_without_scores_is_one_sentence(tmp_path: Path) -> None:
    run = Run("row", 1, 0, flat_config(output=str(tmp_path), name="none"))
    with pytest.raises(DatasetError, match=r"none' holds no scores"):
        collect([run], ["dice"])


# --- cost


def rendered_by(renderer: dict) -> RunConfig:
    return flat_config(renderer=renderer)


@pytest.mark.parametrize("name", ["mise", "mise_released"])
def test_a_renderer_without_a_stated_number_of_points_costs_what_all_pixels_cost(name: str) -> None:
    config = rendered_by({"name": name})
    before = torch.get_rng_state()
    cost = cost_of(config, num_classes=3)
    assert torch.equal(torch.get_rng_state(), before)
    dense = cost_of(rendered_by({"name": "dense"}), num_classes=3)
    assert (cost.macs, cost.is_dense, dense.is_dense) == (dense.macs, True, False)
    results._cost.cache_clear()
    assert cost_of(config, num_classes=3) == cost


def test_a_renderer_with_a_stated_number_of_points_is_measured_itself() -> None:
    for name in ("refine", "subdivide"):
        few, many = (
            cost_of(rendered_by({"name": name, "points": n}), num_classes=3) for n in (4, 64)
        )
        assert few.macs < many.macs
        assert not many.is_dense


def test_the_tables_foot_says_whose_cost_is_that_of_all_pixels(tmp_path: Path) -> None:
    table = Table("t", "s", "b", (Row("a", "g", baseline=True),), measures=("dice",))
    row = RowResult({"dice": {"s": 1.0}}, {"dice": [1.0]}, 0, 1.0)
    texts = []
    for name in ("mise", "dense"):
        line = ResultLine(
            table.rows[0], cost_of(rendered_by({"name": name}), num_classes=3), row, {}
        )
        texts.append(write_lines(tmp_path, table, [line], notes=["n"]))
    assert "\\* |" in texts[0]
    assert "\\* How many points" in texts[0]
    assert "\\*" not in texts[1]


# --- minutes


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose first session fails after a step and whose second ends; a minute each."""
    program = tmp_path / "train.py"
    program.write_text(
        "import json, pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[1]).parent\n"
        "steps = folder / 'metrics.jsonl'\n"
        "again = steps.is_file()\n"
        "steps.write_text(json.dumps({'step': 1}) + chr(10))\n"
        "if not again: sys.exit('error: The disk is full.')\n"
        "(folder / 'figures.json').write_text('{}')\n"
    )
    monkeypatch.setattr(running, "TRAIN", program)
    clock = iter(range(0, 6000, 60))
    monkeypatch.setattr(
        running,
        "time",
        SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: time.sleep(0.02)),
    )
    return Run("row", 1, 0, flat_config(output=str(tmp_path), name="tiny"))


def minutes(run: Run) -> float | None:
    found: float | None = read_json(run.folder / "minutes.json")["minutes"]
    return found


def test_the_minutes_of_all_sessions_are_added(sessions: Run) -> None:
    assert run_all([sessions]) == ["The disk is full."]
    assert minutes(sessions) == 1
    assert run_all([sessions]) == []
    assert minutes(sessions) == 2


@pytest.mark.parametrize("left", [None, '{"minutes": null}'])
def test_a_session_that_nobody_timed_makes_the_minutes_unknown(
    sessions: Run, left: str | None
) -> None:
    run_all([sessions])
    (sessions.folder / "minutes.json").unlink()  # as if it had been killed
    if left is not None:
        (sessions.folder / "minutes.json").write_text(left)
    assert run_all([sessions]) == []
    assert minutes(sessions) is None
    assert math.isnan(running.minutes_of(sessions.folder))


def test_a_session_that_is_killed_leaves_its_time_unknown(sessions: Run) -> None:
    sessions.folder.mkdir()
    code = (
        "import os, pathlib\nfrom Training.research.study.running import _timed\n"
        f"with _timed(pathlib.Path({str(sessions.folder)!r})): os._exit(9)"
    )
    home = Path(running.__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=home, check=False).returncode == 9
    assert minutes(sessions) is None


def test_a_run_of_a_version_without_an_option_is_one_of_its_default(tmp_path: Path) -> None:
    """Else every table that is half done would be refused after an update."""
    run = Run("row", 1, 0, flat_config(name="row", output=str(tmp_path)))
    running._write_configuration(run)
    path = tmp_path / "row" / "run.json"
    data = json.loads(path.read_text())
    del data["renderer"]["certain_margin"]
    path.write_text(json.dumps(data))
    running._write_configuration(run)
    data["renderer"]["points"] += 1
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="another configuration"):
        running._write_configuration(run)
