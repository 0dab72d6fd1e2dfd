"""``python Training/ablation.py``: a table of small real trainings, resumed, compared, written."""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from MorseCore.config import read_json
from MorseCore.errors import ConfigError
from MorseCore.metrics.subjects import subjects_of
from MorseCore.training.phantoms import write_phantom_dataset
from Training.research.study.definition import Row, Table, list_tables, read_table, row_config
from Training.research.study.results import RowResult, compare
from training_runs import REPOSITORY, path_of, run_data, script

HEAD = {"name": "morse", "preset": "custom", "width": 8, "gate_stride": 2, "gate_depth": 1,
        "frequencies": 4, "render_width": 8}  # fmt: skip
PLAIN = {"network.head": {"name": "plain"}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a table ``mine.json`` of two rows on slices."""
    data = write_phantom_dataset(tmp_path / "data", cases=(4, 2, 3), shape=(16, 16)).parent
    base = run_data(
        data={"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")},
        preparation={"window": [16, 16], "spacing": [1.0, 1.0]},
        network={"spatial_dims": 2, "backbone": {"name": "unet3d", "channels": [4, 8]}},
        augmentation={"mirror_axes": [0, 1]},
        optimisation={"iterations": 4, "batch_size": 2},
    )
    base["network"]["head"] = HEAD
    table = {
        "title": "Mine", "source": "none", "base": "base.json",
        "measures": ["dice", "hd95", "miou"],
        "rows": [
            {"name": "plain", "group": "g", "baseline": True, "set": PLAIN},
            {"name": "morse", "group": "g", "published": {"dice": 76.59}},
        ],
        "quick": {"optimisation.iterations": 2},
    }  # fmt: skip
    (tmp_path / "base.json").write_text(json.dumps(base))
    (tmp_path / "mine.json").write_text(json.dumps(table))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def run(*words: str) -> int:
    return script("ablation").main(["mine.json", *words])


def table_rows(home: Path, name: str = "mine", file: str = "table.csv") -> list[dict[str, str]]:
    with (home / "runs" / name / file).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_table_trains_its_rows_and_compares_them_by_subject(home: Path) -> None:
    assert run("--seeds", "1,2") == 0
    rows = table_rows(home)
    assert [(r["row"], r["measure"]) for r in rows] == [
        (row, m) for row in ("plain", "morse") for m in ("dice", "hd95", "miou")
    ]
    plain, morse = rows[0], rows[3]
    assert (plain["seeds"], plain["subjects"], plain["difference"]) == ("2", "3", "")
    change = float(morse["mean"]) - float(plain["mean"])
    assert float(morse["difference"]) == pytest.approx(change)
    assert float(morse["low"]) <= change <= float(morse["high"])
    assert int(morse["parameters"]) > int(plain["parameters"])
    text = (home / "runs" / "mine" / "table.md").read_text(encoding="utf-8")
    assert "(76.59)" in text
    assert "4 iterations of 2" in text
    assert (home / "runs" / "mine" / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_outlines_are_scored_of_what_is_trained_and_drawn_beside_the_truth(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outline = script("outline")
    assert outline.main(["mine.json"]) == 1
    assert "No row of 'mine.json' is trained" in capsys.readouterr().err
    assert run("--split", "val") == 0
    capsys.readouterr()
    assert outline.main(["mine.json"]) == 0
    said = capsys.readouterr().out
    assert "| plain | coarse |" in said
    assert "truth within 3 of the outline" in said
    rows = table_rows(home, file="outline-val.csv")
    assert {(r["row"], r["mask"]) for r in rows} >= {
        ("plain", "coarse"), ("plain", "ceiling_1"), ("morse", "refined")
    }  # fmt: skip
    assert all(0 <= float(r["dice"]) <= 1 and float(r["seconds"]) > 0 for r in rows)
    picture = (home / "runs" / "mine" / "outline-val.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    before = (home / "runs" / "mine" / "outline-val.md").read_text(encoding="utf-8")
    assert outline.main(["mine.json"]) == 0  # what was scored is read
    assert (home / "runs" / "mine" / "outline-val.md").read_text(encoding="utf-8") == before


def test_a_table_is_also_made_on_the_validation_split(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    capsys.readouterr()
    assert run("--split", "val") == 0
    said = capsys.readouterr().out
    assert "2 subjects of the validation split" in said
    assert "table-val.md" in said
    rows = table_rows(home)
    assert table_rows(home, file="table-val.csv") != rows
    scores = home / "runs" / "mine" / "runs" / "morse-f0-s1337" / "scores-validation.csv"
    with scores.open(newline="") as stream:
        dice = [float(r["dice"]) for r in csv.DictReader(stream) if r["stage"] == "refined"]
    (row,) = (
        r for r in table_rows(home, file="table-val.csv")
        if (r["row"], r["measure"]) == ("morse", "dice")
    )  # fmt: skip
    assert float(row["mean"]) == pytest.approx(sum(dice) / len(dice), abs=1e-6)
    assert (home / "runs" / "mine" / "plot-val.png").is_file()
    assert table_rows(home) == rows  # the table on the test split stays


def test_a_table_goes_on_where_it_stopped_and_trains_nothing_twice(home: Path) -> None:
    assert run("--row", "plain") == 0
    weights = home / "runs" / "mine" / "runs" / "plain-f0-s1337" / "model" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    assert run() == 0
    assert weights.stat().st_mtime_ns == before
    assert {row["row"] for row in table_rows(home)} == {"plain", "morse"}


def test_a_folder_may_be_named_in_another_way_the_next_time(home: Path) -> None:
    assert run("--row", "plain", "--output", "table") == 0
    folder = home / "table" / "runs" / "plain-f0-s1337"
    weights = folder / "model" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    assert run("--row", "plain", "--output", str(home / "table")) == 0
    assert weights.stat().st_mtime_ns == before, "it is the same run, and done"
    (folder / "figures.json").unlink()  # as if it had been stopped just before its end
    assert run("--row", "plain", "--output", str(home / "table")) == 0
    assert (folder / "figures.json").is_file()
    assert json.loads((folder / "run.json").read_text())["output"] == str(folder.parent)


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_split_without_cases_is_found_before_the_first_training(
    home: Path, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    path = home / "data" / "splits.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {part: []}))
    assert run("--split", part) == 1
    assert f"holds no cases of '{part}'" in capsys.readouterr().err
    assert not (home / "runs").exists()


def test_a_table_is_made_without_bars_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "Training" / "ablation.py"), "mine.json",
         "--row", "plain"],
        cwd=home, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_of_another_configuration_is_not_taken_for_this_one(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--row", "plain") == 0
    assert run("optimisation.learning_rate=0.5", "--row", "plain") == 2
    assert "another configuration" in capsys.readouterr().err


def test_a_row_that_fails_is_named_and_the_others_are_done(home: Path) -> None:
    table = read_json(home / "mine.json")
    bad = {"preparation.window": [15, 15]}
    table["rows"].insert(1, {"name": "odd", "group": "g", "set": bad})
    (home / "mine.json").write_text(json.dumps(table))
    assert run() == 1
    text = (home / "runs" / "mine" / "table.md").read_text(encoding="utf-8")
    assert "| odd | Every side of 'preparation.window' must be a multiple of" in text
    assert {row["row"] for row in table_rows(home)} == {"plain", "morse"}


def test_a_quick_run_says_so(home: Path) -> None:
    assert run("--quick", "optimisation.iterations=3", "--row", "plain") == 0
    text = (home / "runs" / "mine-quick" / "table.md").read_text(encoding="utf-8")
    assert "**Quick run: 3 iterations" in text


def test_usage_that_makes_no_sense_ends_with_one_sentence(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--row", "morze") == 2
    assert "did you mean 'morse'" in capsys.readouterr().err
    assert script("ablation").main(["nothing"]) == 2
    assert "There is no table 'nothing'" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="Linux lists children")
def test_a_table_that_is_ended_leaves_no_training_behind(home: Path) -> None:
    command = [sys.executable, str(path_of("ablation")), "mine.json", "--row", "plain",
               "optimisation.iterations=100000"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        folder = home / "runs" / "mine" / "runs" / "plain-f0-s1337"
        while not (folder / "metrics.jsonl").is_file():
            assert process.poll() is None
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.terminate()
        assert process.wait(timeout=60) == 1
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(folder.glob("weights-*.safetensors")), "it saved first"


def result(**values: float) -> RowResult:
    return RowResult({"dice": dict(values)}, {"dice": [0.0]}, 0, 1.0)


def test_a_difference_is_paired_and_significant_only_if_it_is_alike_in_most_subjects() -> None:
    before = {f"s{n}": 0.1 * n for n in range(10)}
    steady = compare(
        result(**{k: v + 0.02 + v / 99 for k, v in before.items()}), result(**before), "dice"
    )
    assert steady.low > 0
    assert steady.p < 0.01
    swapped = dict(zip(before, reversed(before.values()), strict=True))
    mixed = compare(result(**swapped), result(**before), "dice")
    assert mixed.low < 0 < mixed.high
    assert mixed.p > 0.5
    same = compare(result(**before), result(**before), "dice")
    assert (same.mean, same.p) == (0, 1)


def test_two_cases_of_one_subject_count_once(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case,subject\na,1\nb,1\nc,2\n")
    assert subjects_of(tmp_path / "dataset.json") == {"a": "1", "b": "1", "c": "2"}
    assert subjects_of(tmp_path / "other" / "dataset.json") == {}


def test_a_group_without_baseline_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs one baseline"):
        Table("t", "s", "b", (Row("a", "g"), Row("b", "g")))


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", list_tables())
def test_every_row_of_every_table_makes_a_network(name: str, quick: bool) -> None:
    table, base = read_table(name)
    data = read_json(base)
    with torch.device("meta"):
        for row in table.rows:
            if quick and table.quick_rows and row.name not in table.quick_rows:
                continue
            config = row_config(data, table, row, quick=quick, overrides=[])
            network = config.network.build(num_classes=5)
            assert sum(p.numel() for p in network.parameters()) > 1000
            assert not any(n % network.divisor for n in config.preparation.window)


def test_the_outlines_of_the_trained_rows_are_scored_once(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--row", "plain") == 0
    outline = script("outline")
    words = ["mine.json", "--seeds", "1337", "--split", "test"]
    assert outline.main(words) == 0
    printed = capsys.readouterr().out
    assert "Not trained yet: morse." in printed
    rows = table_rows(home, file="outline-test.csv")
    assert [row["mask"] for row in rows] == [
        "coarse", "refined", "ceiling_1", "ceiling_2", "ceiling_3"
    ]  # fmt: skip
    dice = [float(row["dice"]) for row in rows]
    assert dice[2] <= dice[3] <= dice[4]
    assert all(0 <= float(row["band_error"]) <= 1 for row in rows)
    assert float(rows[0]["gib"]) > 0.05
    folder = next((home / "runs" / "mine" / "runs").glob("plain-*"))
    before = {p.name: p.stat().st_mtime_ns for p in (folder / "outline-test").iterdir()}
    assert len(before) == 4  # three cases and what they are of
    assert outline.main(words) == 0
    assert {p.name: p.stat().st_mtime_ns for p in (folder / "outline-test").iterdir()} == before


def test_outlines_of_a_table_without_a_trained_row_are_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script("outline").main(["mine.json"]) == 1
    assert "No row of 'mine.json' is trained" in capsys.readouterr().err
