"""A scan that is tilted against the patient is segmented as well as one that is not."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from MorseCore.geometry import Geometry
from MorseCore.images.grids import inside_source
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.modelgrid import model_grid
from MorseCore.inference.assembly import Assembler, Placement
from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.metrics.scores import overlap
from MorseCore.result import Structure
from MorseCore.store.library import find_model

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "hippocampus"


def turned(image: SimpleITK.Image, degrees: float, *, interpolator: int, fill: float):
    """The image on a grid turned about its middle, about two axes."""
    middle = [(n - 1) / 2 for n in image.GetSize()]
    center = image.TransformContinuousIndexToPhysicalPoint(middle)
    angle = np.radians(degrees)
    turn = SimpleITK.Euler3DTransform(center, angle, 0.0, angle)
    direction = np.array(turn.GetMatrix()).reshape(3, 3) @ np.reshape(image.GetDirection(), (3, 3))
    origin = np.array(center) - direction @ (np.array(middle) * image.GetSpacing())
    grid = SimpleITK.Image(image.GetSize(), SimpleITK.sitkFloat32)
    grid.SetSpacing(image.GetSpacing())
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin(origin.tolist())
    return SimpleITK.Resample(image, grid, SimpleITK.Transform(), interpolator, fill)


@pytest.mark.skipif(not DATA.is_dir(), reason="the hippocampus data are not beside the project")
@pytest.mark.slow
@pytest.mark.parametrize("degrees", [10, 20])
def test_a_tilted_hippocampus_is_found_where_it_lies(degrees: float, tmp_path: Path) -> None:
    predictor = VolumePredictor(find_model("hippocampus-t1"), device="cpu")
    scores = []
    for name in json.loads((DATA / "splits.json").read_text())["val"][:12:4]:
        image = SimpleITK.ReadImage(str(DATA / "images" / f"{name}.nii.gz"), SimpleITK.sitkFloat32)
        labels = SimpleITK.ReadImage(str(DATA / "labels" / f"{name}.nii.gz"), SimpleITK.sitkUInt8)
        mean = float(SimpleITK.GetArrayViewFromImage(image).mean())
        tilted = turned(image, degrees, interpolator=SimpleITK.sitkLinear, fill=mean)
        target = turned(labels, degrees, interpolator=SimpleITK.sitkNearestNeighbor, fill=0)
        SimpleITK.WriteImage(tilted, str(tmp_path / f"{name}.nii.gz"))
        result = predictor.segment(read_volume(tmp_path / f"{name}.nii.gz"))
        truth = SimpleITK.GetArrayFromImage(target)
        scores += [overlap(result.refined == v, truth == v)[0] for v in (1, 2)]
    # Upright these score 0.9; with dark corners beside the tilted scan they scored 0.1.
    assert np.mean(scores) > 0.82


def scan(*, tilted: bool, shape: tuple[int, int, int] = (96, 16, 16)) -> Volume:
    """Noise on an upright grid, or on one turned by 20 degrees about i."""
    matrix = np.eye(4)
    if tilted:
        angle = np.radians(20)
        matrix[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Volume(array, Geometry(shape, matrix), "noise")


@pytest.mark.parametrize("tilted", [False, True])
def test_the_networks_seconds_are_in_the_report(tilted: bool) -> None:
    report = (
        VolumePredictor(find_model("phantom-tiny"), device="cpu")
        .segment(scan(tilted=tilted))
        .report
    )
    assert report["seconds"]["network"] > 0.02  # many windows; opening a generator takes nothing


def test_a_tilted_scan_is_known_to_need_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """All its rows are held until it can be turned back; of an upright one those of a window."""
    needed: list[int] = []

    def keep(size: int, *_: object) -> list[str]:
        needed.append(size)
        return []

    monkeypatch.setattr("MorseCore.inference.ready_scan.check_memory", keep)
    predictor = VolumePredictor(find_model("phantom-tiny"), device="cpu")
    tall = scan(tilted=True, shape=(400, 16, 16))
    predictor.segment(tall)
    rows, columns = 16 * np.sin(np.radians(20)) + 400 * np.cos(np.radians(20)), 32
    probabilities = 4 * predictor.info.num_classes * 2 * rows * columns * columns
    assert needed[-1] > probabilities  # coarse and refined, of every row
    predictor.segment(scan(tilted=False, shape=(400, 16, 16)))
    assert needed[-1] < probabilities / 4


def test_what_lies_beside_a_tilted_scan_does_not_draw_attention() -> None:
    """The upright box around it is undecided in its corners, where there is nothing to look at."""
    turn = SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), 0.5, 0.0, 0.0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(turn.GetMatrix()).reshape(3, 3)
    scan = Geometry((12, 12, 12), matrix)
    _, grid = model_grid(scan, spacing=(1.0, 1.0, 1.0), spatial_dims=3)
    inside = torch.from_numpy(inside_source(scan, grid))
    assert 0 < int((~inside).sum()) < inside.numel()
    assembler = Assembler(
        Placement(grid, scan, scan, (0, 0, 0), 3), (Structure(1, "one", (1.0, 0.0, 0.0)),)
    )
    second = torch.where(inside, 0.95, 0.51)  # certain in the scan, undecided beside it
    probabilities = torch.stack([1 - second, second])
    assembler.add(GridPrediction(probabilities, probabilities, torch.ones_like(inside), 1, 1))
    assert assembler.attention == 0
    assert assembler.rendered_voxels == int(inside.sum())
