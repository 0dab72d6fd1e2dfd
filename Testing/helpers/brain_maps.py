"""Small label maps that look a little like a head: two sides, fluid inside, tissue around."""

from pathlib import Path

import numpy as np
import torch

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_labels
from MorseCore.images.preparation import Preparation
from MorseCore.training.generated.label_maps import LabelMap, read_label_map
from MorseCore.training.generated.label_table import LabelTable

SIDE = 32
STRUCTURES = {
    "Left part": (2, 25),
    "Right part": (41, 57),
    "Left core": (17,),
    "Right core": (53,),
    "Fluid": (24,),
}
SURROUNDINGS = (502,)
TISSUES = {"white": (2, 41), "grey": (17, 53), "csf": (24,)}
PLAIN = {  # nothing is deformed, blurred, mixed or cut
    "rotation": 0.0, "scaling": 0.0, "shear": 0.0, "translation": [0.0, 0.0, 0.0],
    "deformation": [], "mirror": 0.0, "skull_stripped": 0.0, "bias": 0.0, "thick_slices": 0.0,
    "blurred": 0.0, "noise": 0.0, "gamma": 0.0, "cut": 0.0,
}  # fmt: skip


def table() -> LabelTable:
    return LabelTable.build(STRUCTURES, surroundings=SURROUNDINGS, tissues=TISSUES)


def head(*, shift: int = 0) -> np.ndarray:
    """(K, J, I) uint16; I runs towards R, so the left part has the lower I."""
    labels = np.zeros((SIDE,) * 3, np.uint16)
    labels[3:29, 3:29, 3:29] = 502
    labels[6:26, 6:26, 6:16] = 2
    labels[6:26, 6:26, 16:26] = 41
    labels[6:9, 6:9, 6:16] = 25
    labels[6:9, 6:9, 16:26] = 57
    labels[10 + shift : 16 + shift, 10:18, 8:13] = 17
    labels[10 + shift : 16 + shift, 10:18, 19:24] = 53
    labels[18:24, 12:20, 14:18] = 24
    return labels


def save_map(path: Path, labels: np.ndarray, *, spacing: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    geometry = Geometry(labels.shape, np.diag([spacing] * 3 + [1.0]))  # type: ignore[arg-type]
    write_labels(path, labels, geometry)
    return path


def label_map(tmp_path: Path, labels: np.ndarray | None = None) -> LabelMap:
    path = save_map(tmp_path / "map.nii.gz", head() if labels is None else labels)
    return read_label_map("map", path, table())


def preparation(*, side: int = SIDE, spacing: float = 1.0) -> Preparation:
    return Preparation(
        window=(side,) * 3, spacing=(spacing,) * 3, normalisation="percentile",
        percentiles=(1.0, 99.0),
    )  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
