"""Real small trainings in which points look into the image, and what is made of their models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from brain_maps import PLAIN, STRUCTURES, SURROUNDINGS, TISSUES, head, save_map
from MorseCore.geometry import Geometry
from MorseCore.heads.parts.image_source import StemFeatures
from MorseCore.images.imageio import Volume
from MorseCore.images.preparation import normalise
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.session import Session
from MorseCore.points import sample_rows, to_rows
from MorseCore.store.model_folder import load_network, read_model
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.phantoms import make_phantom, write_phantom_dataset
from networks import MORSE_ROWS, TINY_MORSE
from training_runs import make_trainer, records, run_config, run_data, script

STEM = {"image": "stem", "image_channels": 8}
HEADS = {
    "morse": {**TINY_MORSE, **STEM, "width": 16, "drop_rate": 0.3},
    "pointrend": {"name": "pointrend", **STEM, "width": 16, "point_width": 24},
}
NATIVE = {  # the backbone at half resolution, points in the label's grid, half of them in the band
    "sampler": {"name": "uncertain", "points": 128, "near_share": 0.5, "near_distance": 2.0},
    "optimisation": {"supervision_grid": "backbone", "schedule": "from_scratch",
                     "render_weight": 1.0, "learning_rate": 0.01},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def slices(*seeds: int) -> list[PreparedCase]:
    cases = []
    for seed in seeds:
        image, labels = make_phantom(seed, shape=(32, 32))
        image = normalise(image, run_config().preparation)
        cases.append(PreparedCase(str(seed), image[None], labels[None], (1.0,) * 3))
    return cases


@pytest.mark.parametrize("name", list(HEADS))
def test_the_points_draw_a_better_outline_than_the_backbone_that_saw_half_of_the_image(
    name: str, tmp_path: Path
) -> None:
    quiet = {
        f"{kind}_probability": 0.0
        for kind in ("noise", "blur", "low_resolution", "gamma", "rotation", "scale")
    }
    config = run_config(
        preparation={"window": [32, 32], "spacing": [1.0, 1.0]},
        network={
            "spatial_dims": 2, "backbone_stride": 2, "head": HEADS[name],
            "backbone": {"name": "unet3d", "channels": [8, 16, 16]},
        },
        sampler=NATIVE["sampler"],
        optimisation={**NATIVE["optimisation"], "iterations": 150, "batch_size": 4},
        augmentation={"mirror_axes": [0, 1], **quiet},
        validation={"every": 150},
        renderer={"name": "refine", "points": 256, "passes": 1},
    )  # fmt: skip
    trainer = make_trainer(config, tmp_path, train=slices(*range(24)), val=slices(*range(100, 108)))
    assert trainer.run()
    found = records(tmp_path)[-1]["validation"]
    assert found["refined"]["dice"] > 0.88
    assert found["refined"]["dice"] > found["coarse"]["dice"] + 0.01


def trained(home: Path, name: str) -> Path:
    """The model folder of a training of a few steps."""
    data = write_phantom_dataset(home / "data", cases=(4, 1, 1), shape=(20, 18, 22)).parent
    configuration = run_data(
        data={"dataset": str(data / "dataset.json"), "split": str(data / "splits.json")},
        network={"backbone_stride": 2, "head": HEADS[name]},
        sampler=NATIVE["sampler"],
        optimisation={**NATIVE["optimisation"], "iterations": 6},
        validation={"every": 6},
        output=str(home / "runs"),
    )
    (home / "run.json").write_text(json.dumps(configuration))
    assert script("train").main([str(home / "run.json")]) == 0
    return home / "runs" / "tiny" / "model"


def part_of(volume: Volume, box: Roi) -> tuple[int, ...]:
    """The size of a region in voxels."""
    start, stop = roi_to_box(box, volume.geometry)
    return tuple(b - a for a, b in zip(start, stop, strict=True))


def everywhere(self: StemFeatures, coords: torch.Tensor) -> torch.Tensor:
    """The stem of the whole window, sampled."""
    dense = self._stem.dense(self._image)
    return sample_rows(to_rows(dense), self._image.shape[2:], coords)


@pytest.mark.parametrize("name", list(HEADS))
def test_a_trained_model_is_exported_read_again_and_refined_further(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained(tmp_path, name)
    info = read_model(folder)
    assert info.network.backbone_stride == 2
    assert (info.network.head.image, info.network.head.image_channels) == ("stem", 8)
    stems = [key for key in load_network(folder, info).state_dict() if "layers.0.weight" in key]
    assert any("image" in key for key in stems)
    image, _ = make_phantom(7, shape=(26, 24, 30))
    volume = Volume(image, Geometry(image.shape, np.eye(4)), "phantom")
    box = Roi((3.0, 4.0, 3.0), (25.0, 20.0, 20.0))
    answers = []
    for is_dense in (False, True):
        if is_dense:
            monkeypatch.setattr(StemFeatures, "__call__", everywhere)
        session = Session(VolumePredictor(folder, device="cpu"), volume,
                          PredictOptions(precision="fp32"))  # fmt: skip
        whole = session.segment()
        assert whole.report["windows"] > 1
        part = session.render(PredictOptions(roi=box, points=300, scale=2, precision="fp32"))
        assert part.report["points"]["evaluated"] > 0
        assert part.points.refined_probability.std() > 0
        answers.append((whole.points.refined_probability, part.points.refined_probability))
    for bricks, dense in zip(*answers, strict=True):
        np.testing.assert_allclose(bricks, dense, atol=1e-5)
    assert part.refined.shape == tuple(2 * n for n in part_of(volume, box))


def test_images_drawn_from_label_maps_are_looked_into_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        save_map(tmp_path / "labels" / f"map_{n}.nii.gz", head(shift=n % 3))
    monkeypatch.chdir(tmp_path)
    data = run_data(
        data={"source": "generated", "labels": "labels"},
        generation={"structures": STRUCTURES, "surroundings": SURROUNDINGS, "tissues": TISSUES,
                    "ranges": PLAIN, "validation_images": 1, "preset": "t1"},
        preparation={"window": [16, 16, 16], "spacing": [2.0, 2.0, 2.0],
                     "normalisation": "percentile", "percentiles": [1.0, 99.0]},
        network={"backbone_stride": 2, "head": {**MORSE_ROWS["iar+moe"], **STEM}},
        sampler=NATIVE["sampler"],
        optimisation={**NATIVE["optimisation"], "iterations": 3},
        validation={"every": 3},
    )  # fmt: skip
    for key in ("dataset", "split"):
        data["data"].pop(key)
    data.pop("augmentation")
    (tmp_path / "run.json").write_text(json.dumps(data))
    assert script("train").main(["run.json"]) == 0
    folder = tmp_path / "runs" / "tiny" / "model"
    network = load_network(folder, read_model(folder))
    assert network.head.experts.image is not None
    assert all("rend" in r for r in records(tmp_path / "runs" / "tiny") if "total" in r)
