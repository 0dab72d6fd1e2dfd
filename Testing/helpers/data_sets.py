"""Small data sets in the Decathlon layout."""

import json
from pathlib import Path

import numpy as np

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.images.preparation import Preparation
from MorseCore.training.dataset import open_dataset, prepare_case

LABELS = {"0": "background", "1": "ball"}
ALONE = {"train": ["case_a"]}


def cube(side: int = 8) -> np.ndarray:
    array = np.zeros((side, side, side), np.float32)
    array[2:5, 2:6, 1:7] = 1
    return array


def write_case(
    folder: Path, name: str, image: np.ndarray, labels: np.ndarray, *, suffix: str = ".nii.gz"
) -> dict[str, str]:
    """Writes both as float32, as careless tools do."""
    for sub, array in (("pictures", image), ("truth", labels)):
        (folder / sub).mkdir(parents=True, exist_ok=True)
        write_volume(folder / sub / f"{name}{suffix}", array, Geometry(array.shape, np.eye(4)))
    return {"image": f"./pictures/{name}{suffix}", "label": f"./truth/{name}{suffix}"}


def write_dataset(folder: Path, split: object, **changes: object) -> tuple[Path, Path]:
    entries = [
        write_case(folder, name, 100 * cube(), cube()) for name in ("case_a", "case_b", "case_c")
    ]
    data = {"name": "Cubes", "licence": "CC0", "labels": LABELS, "training": entries} | changes
    (folder / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    (folder / "splits.json").write_text(json.dumps(split), encoding="utf-8")
    return folder / "dataset.json", folder / "splits.json"


def opened(folder: Path, split: object = ALONE, *, fold: int = 0, **changes: object):
    return open_dataset(*write_dataset(folder, split, **changes), fold=fold)


def prepared(folder: Path, image: np.ndarray, labels: np.ndarray, **changes: object):
    # Not as NIfTI: its reader silently takes voxels that are no numbers for zero.
    entry = write_case(folder, "case_a", image, labels, suffix=".mha")
    data = {"labels": LABELS, "training": [entry]}
    (folder / "dataset.json").write_text(json.dumps(data), encoding="utf-8")
    (folder / "splits.json").write_text(json.dumps(ALONE), encoding="utf-8")
    case = open_dataset(folder / "dataset.json", folder / "splits.json").splits["train"][0]
    return prepare_case(case, Preparation((8, 8, 8), **changes), num_classes=2)  # type: ignore[arg-type]
