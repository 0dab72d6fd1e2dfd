"""Cases of two images: a lump that only T1 shows, and one that only T2 shows."""

import json
from pathlib import Path

import numpy as np

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_labels, write_volume

SIDE = 20
NAMES = ("T1", "T2")


def grid(spacing: float = 2.0, side: int = SIDE, *, shift: float = 0.0) -> Geometry:
    """A cube of ``side`` voxels around ``shift`` mm along R."""
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = -spacing * (side - 1) / 2
    matrix[0, 3] += shift
    return Geometry((side,) * 3, matrix)


def two_channels(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T1, T2 and labels (K, J, I): 1 is bright in T1 alone, 2 in T2 alone.

    Both look alike, so that nothing but the channel tells them apart.
    """
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1)
    labels = np.zeros((SIDE,) * 3, np.uint8)
    sides = rng.permutation([6, 13])
    for value, along in zip((1, 2), sides, strict=True):
        centre = [*rng.uniform(6, 13, 2), along]
        labels[np.linalg.norm(place - centre, axis=-1) < rng.uniform(3, 4)] = value
    t1, t2 = (100 + 80 * (labels == value) + rng.normal(0, 10, labels.shape) for value in (1, 2))
    return t1.astype(np.float32), t2.astype(np.float32), labels


def write_channels(folder: Path, seed: int, *, name: str = "case") -> Path:
    """``NAME_0000.nii.gz`` and ``NAME_0001.nii.gz``; the first one's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, image in enumerate(two_channels(seed)[:2]):
        write_volume(folder / f"{name}_{n:04d}.nii.gz", image, grid())
    return folder / f"{name}_0000.nii.gz"


def write_raw(folder: Path, count: int) -> Path:
    """nnU-Net's raw layout."""
    (folder / "labelsTr").mkdir(parents=True)
    for seed in range(count):
        write_channels(folder / "imagesTr", seed, name=f"case{seed}")
        write_labels(folder / "labelsTr" / f"case{seed}.nii.gz", two_channels(seed)[2], grid())
    described = {
        "channel_names": {str(n): name for n, name in enumerate(NAMES)},
        "labels": {"background": 0, "lump": 1, "other lump": 2},
        "numTraining": count, "file_ending": ".nii.gz",
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    return folder
