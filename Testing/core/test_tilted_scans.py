"""A scan that is tilted against the patient is segmented as well as one that is not."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from MorseCore.images.imageio import read_volume
from MorseCore.models_library import find_model
from MorseCore.predictor import Predictor
from MorseCore.scoring.metrics import overlap

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "hippocampus"


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
    predictor = Predictor(find_model("hippocampus-t1"), device="cpu")
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
