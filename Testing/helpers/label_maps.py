"""Folders of small label maps for evaluation."""

from pathlib import Path

import numpy as np
import pytest

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_labels

SHAPE = (6, 8, 10)
GRID = Geometry(SHAPE, np.diag([1.0, 1.0, 3.0, 1.0]))  # i, j: 1 mm, k: 3 mm
DIAGONAL = float(np.linalg.norm([18, 8, 10]))


def two_boxes(*, shift: int = 0) -> np.ndarray:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1 + shift : 3 + shift, 1:4, 1:4] = 1
    labels[2:4, 5:7, 5:9] = 2
    return labels


def save(path: Path, labels: np.ndarray, *, grid: Geometry = GRID) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(path, labels, grid)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two references, a and b; predictions a (right) and b (structure 1 one slice off)."""
    prediction, reference = tmp_path / "prediction", tmp_path / "reference"
    for case in ("a", "b"):
        save(reference / f"{case}.nii.gz", two_boxes())
        save(prediction / f"{case}.nii.gz", two_boxes(shift=case == "b"))
    return prediction, reference


def structure(summary: dict, label: int, *, stage: str = "prediction") -> dict:
    return summary["stages"][stage]["structures"][str(label)]
