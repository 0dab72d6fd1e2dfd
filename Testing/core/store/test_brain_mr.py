"""The shipped whole-brain model finds both sides of a real brain, each on its own side."""

from pathlib import Path

import numpy as np
import pytest

from MorseCore import Predictor, read_image
from MorseCore.api import Result
from MorseCore.store.library import BUILT_IN, find_model
from MorseCore.store.model_folder import read_model
from template import load_template

HEADS = Path(__file__).resolve().parents[4] / "shared" / "data" / "heads"
PAIRS = ("hippocampus", "thalamus", "cerebral cortex", "lateral ventricle", "cerebellum cortex")


@pytest.fixture(scope="module")
def model() -> Predictor:
    return Predictor("brain-mr", device="cpu")


def places(result: Result) -> dict[str, np.ndarray]:
    """Centre of each structure in RAS mm, and its volume in ml as a fourth number."""
    refined = result.refined
    found = {}
    for structure in result.structures:
        voxels = np.argwhere(refined.array == structure.value)
        if len(voxels):
            centre = refined.geometry.to_world(voxels.mean(axis=0)[::-1])
            ml = len(voxels) * refined.geometry.voxel_volume / 1000
            found[structure.name] = np.array([*centre, ml])
    return found


def check_sides(found: dict[str, np.ndarray]) -> None:
    for name in PAIRS:
        left, right = found[f"Left {name}"], found[f"Right {name}"]
        assert left[0] < right[0], name  # R grows to the right
        assert 0.5 < left[3] / right[3] < 2, name


def test_it_says_what_it_is_and_is_small():
    folder = find_model("brain-mr")
    assert folder == BUILT_IN / "brain-mr"
    info = read_model(folder)
    assert len(info.structures) == 32
    assert info.licence == "Apache-2.0"
    assert info.training["steps"] > 0
    assert info.training["learning_rate"] > 0
    assert (folder / "weights.safetensors").stat().st_size <= 10_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "No image was used" in card
    assert ("**Preliminary**" in card) == info.training["preliminary"]


def test_a_real_brain_has_every_structure_on_its_side(model: Predictor):
    pytest.importorskip("nilearn", reason="NOT TESTED: the template comes with nilearn")
    found = places(model.segment(load_template()))
    assert len(found) >= 31
    check_sides(found)
    for side in ("Left", "Right"):
        assert 1.5 < found[f"{side} hippocampus"][3] < 9
    assert np.abs(found["Brain stem"][:3] - (0, -30, -35)).max() < 15


@pytest.mark.slow
@pytest.mark.skipif(not HEADS.is_dir(), reason="NOT TESTED: no heads beside the repository")
@pytest.mark.parametrize("name", ["head_b", "head_c"])
def test_whole_heads_with_their_skulls_too(model: Predictor, name: str):
    result = model.segment(HEADS / "images" / f"{name}.nii.gz")
    check_sides(places(result))
    values = {s.name: s.value for s in result.structures}
    for side in ("left", "right"):
        other = read_image(HEADS / "reference" / f"{name}_hippocampus_{side}_hippodeep.nii.gz")
        mine = result.refined.array == values[f"{side.title()} hippocampus"]
        opposite = "right" if side == "left" else "left"
        wrong = result.refined.array == values[f"{opposite.title()} hippocampus"]
        assert (mine & (other.array > 0)).sum() > 0.3 * (other.array > 0).sum()
        assert not (wrong & (other.array > 0)).any()
