"""Studies after SwIPE: shares of the annotations, and shifts of the resolution."""

import csv
import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK
import torch
from torch import nn

from MorseCore.config import read_json
from MorseCore.errors import ConfigError
from MorseCore.field import Field
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.preparation import Preparation
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.metrics.scores import score_labels
from MorseCore.renderers import DenseConfig
from MorseCore.store.model_folder import WindowConfig, read_model
from MorseCore.training.config import DataConfig
from MorseCore.training.dataset import Case, Decathlon, open_dataset
from MorseCore.training.phantoms import write_phantom_dataset
from MorseCore.training.sources import with_share
from train_command import train
from Training.research.study.shifts import Shift, score_shift, shifted_image
from training_runs import run_config, run_data, script

CASES = tuple(Case(f"c{n:02}", Path(), Path()) for n in range(24))
SUBJECTS = {case.name: f"s{n // 2}" for n, case in enumerate(CASES[:20])}  # 10 of two, 4 of one


def kept(share: float, seed: int = 1) -> list[str]:
    data = Decathlon("d", "none", {0: "", 1: "a"}, {"train": CASES, "val": CASES[:2], "test": ()})
    places = {"dataset": "d", "split": "s", "share": share}
    limited = with_share(data, SUBJECTS, run_config(data=places, seed=seed))
    assert limited.splits["val"] == data.splits["val"]
    return [case.name for case in limited.splits["train"]]


def test_a_share_of_subjects_holds_every_smaller_share_and_all_cases_of_each() -> None:
    quarter, half = kept(0.25), kept(0.5)
    assert set(quarter) < set(half)
    assert half == sorted(half)
    for part, count in ((quarter, 4), (half, 7)):  # of 14 subjects, rounded up
        chosen = {SUBJECTS.get(name, name) for name in part}
        assert len(chosen) == count
        assert len(part) == sum(SUBJECTS.get(case.name, case.name) in chosen for case in CASES)
    assert kept(0.5, seed=2) != half
    assert kept(0.5) == half
    assert kept(1.0) == [case.name for case in CASES]
    assert len({SUBJECTS.get(name, name) for name in kept(3 / 14)}) == 3


def test_a_share_outside_its_limits_is_refused() -> None:
    for share in (0.0, 1.1):
        with pytest.raises(ConfigError, match="'share' must lie above 0"):
            DataConfig("d", "s", share=share)


def test_a_training_learns_from_its_share_and_is_not_resumed_with_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_phantom_dataset(tmp_path / "data", cases=(4, 1, 1), shape=(16, 16, 16)).parent
    places = {"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")}
    config = run_data(data=places, optimisation={"iterations": 2}, validation={"every": 1})
    (tmp_path / "run.json").write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert train("data.share=0.5") == 0
    splits = read_model(tmp_path / "runs" / "tiny" / "model").training["splits"]
    assert (splits["train"], splits["val"]) == (2, 1)
    assert train("data.share=1.0") != 0
    assert "data.cases" in capsys.readouterr().err


# --- resolution shift


class Stripes(Field):
    """Columns of 1/24 of the image's width, in turn background and structure."""

    batch = 1
    device = torch.device("cpu")

    def __init__(self, size: tuple[int, ...]) -> None:
        self.size = size

    def coarse(self, coords: torch.Tensor) -> torch.Tensor:
        inside = ((coords[..., 0] + 1) * 12).floor() % 2 * 40 - 20
        return torch.stack([-inside, inside], dim=-1)

    def logits(self, coords: torch.Tensor) -> torch.Tensor:
        return self.coarse(coords)

    def memory(self) -> int:
        return 0


class StripesNetwork(nn.Module):
    """Sees stripes in whatever it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor, *, to_source: torch.Tensor | None = None) -> Field:
        return Stripes(tuple(image.shape[2:]))


def stripes_predictor(*, spacing: tuple[float, float] | None) -> SimpleNamespace:
    preparation = Preparation((12, 12), spacing)
    info = SimpleNamespace(
        name="stripes", num_classes=2, preparation=preparation, renderer=DenseConfig(),
        windows=WindowConfig(), structures=(SimpleNamespace(value=1),), temperature=1.0,
        asks_scan=False, grid_stride=1, grid_window=(12, 12),
    )  # fmt: skip
    return SimpleNamespace(info=info, network=StripesNetwork())


@pytest.fixture
def striped(tmp_path: Path) -> Case:
    """One slice of 24 x 24 pixels of 0.5 mm; every other column is the structure."""
    labels = np.zeros((1, 24, 24), np.uint8)
    labels[..., 1::2] = 1
    picture = np.random.default_rng(0).normal(size=labels.shape).astype(np.float32)
    paths = []
    for name, array in (("image", picture), ("label", labels)):
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing((0.5, 0.5, 2.0))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # so that i runs towards R, as it does
        paths.append(tmp_path / f"{name}.nii.gz")
        SimpleITK.WriteImage(image, str(paths[-1]))
    return Case("striped", *paths)


def dice(predictor: object, case: Case, shift: Shift) -> float:
    scores = score_shift(predictor, case, shift)  # type: ignore[arg-type]
    assert scores is not None
    return scores["refined"].structures[1].dice


def test_a_finer_output_is_asked_of_the_field_and_not_interpolated(striped: Case) -> None:
    coarse = stripes_predictor(spacing=(1.0, 1.0))  # a pixel of the model holds two columns
    assert dice(coarse, striped, Shift("output", 2)) == 1
    assert dice(coarse, striped, Shift("output", 1)) < 0.7


def test_a_finer_output_counts_only_where_labels_were_drawn_so_finely(striped: Case) -> None:
    own = stripes_predictor(spacing=None)
    assert score_shift(own, striped, Shift("output", 2)) is None  # type: ignore[arg-type]
    coarse = stripes_predictor(spacing=(1.0, 1.0))
    assert score_shift(coarse, striped, Shift("output", 3)) is None  # type: ignore[arg-type]
    assert score_shift(own, striped, Shift("output", 0.5)) is not None  # type: ignore[arg-type]


def test_masks_of_a_coarser_input_are_asked_at_the_pixels_of_the_labels(striped: Case) -> None:
    predictor = stripes_predictor(spacing=None)
    assert dice(predictor, striped, Shift("input", 0.5)) == 1
    assert dice(predictor, striped, Shift("input", 0.25)) < 1  # its window repeats: 6 in 12 pixels


@pytest.mark.parametrize("factor", [0.5, 2, 3])
def test_a_shifted_image_lies_where_it_lay(factor: float) -> None:
    matrix = np.diag([1.0, 2.0, 3.0, 1.0])
    matrix[:3, 3] = (5, -7, 11)
    geometry = Geometry((4, 12, 12), matrix)
    ramp = np.arange(12, dtype=np.float32) * np.ones((4, 12, 1), np.float32)
    image = Volume(ramp, geometry, "ramp", 3)
    for dims in (2, 3):
        moved = shifted_image(image, factor, spatial_dims=dims)
        assert moved.array.shape == (
            round(4 * factor) if dims == 3 else 4, round(12 * factor), round(12 * factor)
        )  # fmt: skip
        at = np.array([[moved.array.shape[2] // 2, 3, 1]])
        i = geometry.to_index(moved.geometry.to_world(at.astype(float)))[0, 0]
        assert moved.array[1, 3, at[0, 0]] == pytest.approx(i, abs=1e-4)
    assert shifted_image(image, 1, spatial_dims=2) is image


def test_factors_that_cannot_be_asked_are_refused() -> None:
    with pytest.raises(ConfigError, match="must be 1, 2, 3, 4, 1/2, 1/3 or 1/4"):
        Shift("output", 1.5)
    with pytest.raises(ConfigError, match=r"must lie in \[0.1, 8\]"):
        Shift("input", 0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``config.json``; the phantoms' three test cases."""
    data = write_phantom_dataset(tmp_path / "data", cases=(1, 2, 3), shape=(24, 24, 24)).parent
    places = {"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")}
    (tmp_path / "config.json").write_text(json.dumps(run_data(data=places)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shift(*words: str, model: str = "phantom-tiny") -> int:
    study = script("resolution_shift")
    return study.main([model, "config.json", "--device", "cpu", *words])


def test_without_a_shift_the_masks_are_those_of_the_predictor(
    home: Path, predictor: VolumePredictor
) -> None:
    config = read_json(home / "config.json")["data"]
    data = open_dataset(Path(config["dataset"]), Path(config["split"]))
    case = data.splits["test"][0]
    result = predictor.segment(read_volume(case.image))
    wanted = score_labels(
        result.refined, read_volume(case.label).array, [1, 2], result.geometry.spacing[::-1]
    )
    for kind in ("input", "output"):
        scores = score_shift(predictor, case, Shift(kind, 1))  # type: ignore[arg-type]
        assert scores is not None
        assert scores["refined"].structures == wanted


class Halves(Stripes):
    """Surely structure 1 in the right half of a window, and less surely background in the left."""

    def coarse(self, coords: torch.Tensor) -> torch.Tensor:
        margin = torch.where(coords[..., 0] > 0, 40.0, -10.0)
        return torch.stack([-margin / 2, margin / 2, torch.full_like(margin, -99)], dim=-1)


class HalvesNetwork(StripesNetwork):
    def forward(self, image: torch.Tensor, *, to_source: torch.Tensor | None = None) -> Field:
        return Halves(tuple(image.shape[2:]))


def test_a_models_temperature_has_its_say_where_windows_overlap(
    striped: Case, slice_predictor: VolumePredictor
) -> None:
    values = []
    for temperature in (1.0, 100.0):
        other = copy(slice_predictor)
        preparation = replace(other.info.preparation, window=(12, 12), spacing=None)
        other.info = replace(other.info, preparation=preparation, temperature=temperature)
        backbone = other.network.backbone
        other.network = HalvesNetwork()
        other.network.backbone = backbone  # whose maps a run makes room for
        mask = other.segment(read_volume(striped.image)).refined
        labels = read_volume(striped.label).array
        scores = score_shift(other, striped, Shift("input", 1))
        assert scores is not None
        assert scores["refined"].structures == score_labels(mask, labels, [1, 2], (2.0, 0.5, 0.5))
        values.append(scores["refined"].structures[1].prediction_voxels)
    assert values[0] < values[1]


def test_a_study_is_written_and_goes_on_where_it_stopped(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--inputs", "0.5", "--outputs", "0.5,2")
    assert shift(*words) == 0
    folder = home / "runs" / "resolution-shift-phantom-tiny"
    text = (folder / "table.md").read_text(encoding="utf-8")
    assert "| output x 2 | 0 | no labels so fine |" in text
    with (folder / "table.csv").open(newline="") as stream:
        rows = {
            (r["kind"], r["factor"], r["stage"], r["measure"]): r for r in csv.DictReader(stream)
        }
    plain, coarse = (rows["input", factor, "refined", "dice"] for factor in ("1.0", "0.5"))
    change = float(coarse["mean"]) - float(plain["mean"])
    assert float(coarse["difference"]) == pytest.approx(change)
    assert change < 0
    assert plain["difference"] == ""
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")

    scores = folder / "scores-input-x-0.5.csv"
    lines = scores.read_text().splitlines()
    scores.write_text("\n".join(lines[:5]) + "\n")  # one case of three, two stages and structures
    before = (folder / "scores-input-x-1.csv").stat().st_mtime_ns
    assert shift(*words) == 0
    assert sorted(scores.read_text().splitlines()) == sorted(lines)
    assert (folder / "scores-input-x-1.csv").stat().st_mtime_ns == before
    assert (folder / "table.md").read_text(encoding="utf-8") == text

    capsys.readouterr()
    assert shift("--split", "val") == 2
    assert "another model or data" in capsys.readouterr().err
