"""The benchmarks: each script runs, its arithmetic, and the form of what it writes."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from training_runs import REPOSITORY

sys.path.insert(0, str(REPOSITORY))

from Training.research.benchmarks import measuring
from Training.research.benchmarks import report as reporting
from Training.research.benchmarks.inputs import PLAIN, Operations, count, make_network, morse
from Training.research.benchmarks.measuring import Figure, Sample, interleaved, paired_ratio
from Training.research.benchmarks.report import Report, markdown

BENCHMARKS = REPOSITORY / "Training" / "research" / "benchmarks"


def made_up(*figures: Figure) -> Report:
    report = Report("speed", "a machine", "wall", {"A": Sample((1.0, 3.0, 2.0))}, list(figures))
    report.notes.append("Nothing was measured.")
    return report


def test_alternatives_are_timed_in_turn_and_the_first_turn_does_not_count() -> None:
    calls: list[str] = []
    found = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert [len(sample.values) for sample in found.values()] == [2, 2]


def test_a_ratio_compares_neighbours() -> None:
    # A machine that gets ten times slower half-way does not change any ratio.
    ratio = paired_ratio(Sample((2.0, 20.0, 3.0)), Sample((1.0, 10.0, 1.0)))
    assert ratio.values == (2.0, 2.0, 3.0)
    assert ratio.median == 2.0
    assert ratio.spread == (2.0, 2.5)


def test_processor_time_is_that_of_work_not_of_waiting() -> None:
    with pytest.MonkeyPatch.context() as patch:
        ticks = iter(range(100))
        patch.setattr(measuring.time, "process_time", lambda: float(next(ticks)))
        found = interleaved({"a": lambda: None}, repeats=1, clock="cpu")
    assert found["a"].values == (1.0,)


@pytest.mark.parametrize(
    ("value", "at_least", "is_met"),
    [(1.25, False, True), (1.26, False, False), (1.25, True, True), (1.24, True, False),
     (float("nan"), False, False), (float("nan"), True, False)],
)  # fmt: skip
def test_a_target_is_met_up_to_its_edge(value: float, at_least: bool, is_met: bool) -> None:
    assert Figure("x", value, 1.25, at_least=at_least).is_met == is_met


def test_the_last_line_says_figure_target_and_verdict() -> None:
    good = Figure("3D", 1.2, 1.25, "x", spread=(1.1, 1.3))
    bad = Figure("paper", 2.6, 15.0, "x", at_least=True)
    assert made_up(good).line == "speed: 3D 1.2x [1.1, 1.3] (target 3D ≤ 1.25x, met)"
    assert made_up(good, bad).line.endswith("(target 3D ≤ 1.25x, paper ≥ 15x, MISSED: paper)")
    assert made_up(bad).line.endswith("MISSED)")
    assert made_up().line == "speed: not measured (Nothing was measured.)"


def test_the_table_has_a_row_a_figure_and_says_what_is_missing() -> None:
    good = Figure("3D", 1.2, 1.25, "x", spread=(1.1, 1.3))
    bad = Figure("2D", 1.6, 1.5, "x")
    rows = markdown([made_up(good, bad).as_json({}), made_up().as_json({})]).splitlines()[2:]
    assert rows[0] == "| speed | 3D: 1.2x [1.1, 1.3] | ≤ 1.25x | met | A 2 s |"
    assert rows[1].startswith("|  | 2D: 1.6x [1.6, 1.6] | ≤ 1.5x | **missed** |")
    assert "not measured" in rows[2]


def test_peak_memory_grows_with_what_a_process_held() -> None:
    """In a process of its own, which has not held more before."""
    code = (
        "import torch; from Training.research.benchmarks.measuring import peak_bytes; "
        "before = peak_bytes(); held = torch.ones(60_000_000); "
        "print(peak_bytes() - before > 0.9 * held.nbytes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.strip() == "True"


def test_a_child_that_fails_gives_its_last_words(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit('too little memory')")
    with pytest.raises(measuring.MorseError, match="too little memory"):
        measuring.run_child(str(script), {})


@pytest.mark.parametrize("name", ["overhead", "presets", "training", "engines"])
def test_a_benchmark_runs_and_writes_its_figures(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module(f"Training.research.benchmarks.{name}")
    assert script.main(["--smoke", "--output", str(tmp_path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    data = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert data["line"] == last
    assert last.startswith(f"{name}: ")
    assert "torch" in data["machine"]
    assert all(figure["value"] > 0 for figure in data["figures"])
    assert (tmp_path / f"{name}.md").read_text(encoding="utf-8").startswith(reporting.HEAD)


def test_sizes_are_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    scaling = importlib.import_module("Training.research.benchmarks.scaling")
    # The smallest image alone: size, x2 and points.
    assert scaling.main(["--smoke", "--largest", "5000", "--output", str(tmp_path)]) == 0
    data = json.loads((tmp_path / "scaling.json").read_text(encoding="utf-8"))
    assert {"16x16x16 refined", "16x16x16 coarse", "16x16x16 x2"} <= set(data["samples"])


def test_memory_is_judged_by_large_images_alone() -> None:
    scaling = importlib.import_module("Training.research.benchmarks.scaling")
    for largest, memory in (((200, 100, 100), None), ((1000, 512, 512), 2.5)):
        shapes = [(64, 64, 64), (100, 100, 100), largest]
        names = [scaling.title(s, "refined") for s in shapes] + [scaling.title(shapes[0], "x2")]
        voxels = largest[0] * largest[1] * largest[2]
        seconds = (1.0, 2.0, 2.0 * voxels / 10**6, 2.5)
        times = {n: Sample((s,)) for n, s in zip(names, seconds, strict=True)}
        linear, finer, *rest = scaling.conclude(shapes, times, dict.fromkeys(names, 10.0 * voxels))
        assert (linear.value, finer.value) == (1.0, 2.5)
        assert [figure.value for figure in rest] == ([] if memory is None else [memory])


def test_peers_are_run_as_processes_and_a_missing_one_is_said(tmp_path: Path) -> None:
    words = [sys.executable, str(BENCHMARKS / "peers.py"), "--smoke", "--output", str(tmp_path),
             "--nnunet-python", str(tmp_path / "nobody")]  # fmt: skip
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))
    assert [figure["name"] for figure in data["figures"]] == ["MorseCore / MONAI"]
    assert "nnU-Net: not measured" in data["notes"][0]


def test_nnunets_plan_describes_a_network_that_halves_its_own_patch() -> None:
    peer = importlib.import_module("Training.research.benchmarks.peer_nnunet")
    kwargs = peer.ARCHITECTURE["arch_kwargs"]
    assert {len(kwargs[k]) for k in ("features_per_stage", "strides", "n_conv_per_stage")} == {4}
    for axis, side in enumerate(peer.CONFIGURATION["patch_size"]):
        halved = 1
        for stride in kwargs["strides"]:
            halved *= stride[axis]
        assert side % halved == 0


def test_the_scene_is_measured_on_slicers_own_libraries(tmp_path: Path) -> None:
    pytest.importorskip("slicer", reason="NOT TESTED: needs slicer-core")
    words = [sys.executable, str(BENCHMARKS / "scene.py"), "--smoke", "--output", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "scene.json").read_text(encoding="utf-8"))
    names = [figure["name"] for figure in data["figures"]]
    assert names[:3] == ["import", "points", "jump"]
    kinds = {name.removeprefix("longest step: ") for name in names[3:]}
    assert {"import", "surfaces", "difference", "place of a reason", "removal"} <= kinds


def test_all_benchmarks_make_one_table_and_are_not_measured_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module("Training.research.benchmarks.all")
    (tmp_path / "overhead.json").write_text(
        json.dumps(made_up(Figure("3D", 1.2, 1.25, "x")).as_json({}) | {"name": "overhead"})
    )
    (tmp_path / "options.json").write_text('{"words": []}')  # as an earlier version wrote it
    words = ["--only", "overhead", "--output", str(tmp_path)]
    assert script.main(words) == 0  # what is there is not measured again
    assert "3D: 1.2x" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert script.main([*words, "--quick"]) == 2
    assert "with other options" in capsys.readouterr().err


def test_without_openvino_its_benchmark_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert importlib.import_module("Training.research.benchmarks.engines").main(["--smoke"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("engines: not measured (The engine 'openvino' is not")


def test_a_floor_is_what_the_operations_alone_would_cost() -> None:
    floor = Operations(backbone=2.0, coarse=3.0, rendered=5.0)
    assert (floor.inference, floor.training) == (2.5, 2.0)


def test_operations_grow_with_the_points_and_shrink_with_the_stride() -> None:
    backbone = {"name": "unet3d", "channels": [4, 8]}
    heads = {"MORSE": morse("tiny"), "backbone": PLAIN}
    networks = {
        name: make_network(backbone, head, dims=2, num_classes=3) for name, head in heads.items()
    }

    def of(stride: int, points: int, passes: int = 1) -> Operations:
        return count(networks, size=(32, 32), stride=stride, points=points, passes=passes)

    few, many, twice, fine = of(2, 32), of(2, 64), of(2, 32, passes=2), of(1, 32)
    assert few.backbone < few.coarse < few.rendered
    assert many.rendered - many.coarse == pytest.approx(2 * (few.rendered - few.coarse))
    assert twice.rendered == pytest.approx(many.rendered)
    assert fine.coarse > few.coarse == many.coarse
