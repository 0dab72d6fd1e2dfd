"""Phantoms: scans of a ball and a bent rod in noise, for tests and for a first training run."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_labels, write_volume
from MorseCore.system.files import prepare_output_directory, write_json

__all__ = ["LABELS", "make_phantom", "write_phantom_dataset"]

LABELS = {0: "background", 1: "ball", 2: "rod"}
_FINE = 3  # sub-voxels an axis, so that boundary voxels are mixed as in a scan
_BRIGHT = (0.0, 1.0, 0.6)


def make_phantom(
    seed: int, *, shape: tuple[int, ...] = (28, 28, 28), noise: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    """A ball (1) and a rod (2), randomly placed, with partial volume and noise.

    :param shape: (K, J, I), or (J, I) for a slice.
    :return: float32 image around 0..1, and uint8 labels.
    """
    rng = np.random.default_rng(seed)
    fine = tuple(n * _FINE for n in shape)
    place = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / _FINE for n in fine], indexing="ij"), -1)
    labels = np.zeros(fine, np.uint8)
    labels[_rod(place, shape, rng)] = 2
    labels[_ball(place, shape, rng)] = 1
    shares = np.stack([_mean(labels == value, shape) for value in LABELS])
    image = np.tensordot(np.asarray(_BRIGHT), shares, axes=1)
    image = ndimage.gaussian_filter(image, 0.5) + noise * rng.standard_normal(shape)
    return image.astype(np.float32), shares.argmax(axis=0).astype(np.uint8)


def write_phantom_dataset(
    folder: Path, *, cases: tuple[int, int, int] = (24, 4, 4), shape: tuple[int, ...] = (28, 28, 28)
) -> Path:
    """Write phantoms in the Decathlon layout; returns the path of ``dataset.json``.

    :param cases: numbers of training, validation and test cases; ``splits.json`` tells them apart.
    :raises OutputError: if the folder cannot be written.
    """
    names = [f"phantom_{n:03d}" for n in range(sum(cases))]
    for sub in ("images", "labels"):
        prepare_output_directory(folder / sub)
    for seed, name in enumerate(names):
        image, labels = make_phantom(seed, shape=shape)
        whole = (1, *shape) if len(shape) == 2 else shape
        geometry = Geometry(whole, np.eye(4))  # type: ignore[arg-type]
        write_volume(folder / "images" / f"{name}.nii.gz", image.reshape(whole), geometry)
        write_labels(folder / "labels" / f"{name}.nii.gz", labels.reshape(whole), geometry)
    train, val, _ = np.split(np.array(names), np.cumsum(cases)[:2])
    entries = [
        {"image": f"./images/{name}.nii.gz", "label": f"./labels/{name}.nii.gz"} for name in names
    ]
    dataset = {
        "name": "Phantoms",
        "licence": "Apache-2.0",
        "modality": {"0": "phantom"},
        "labels": {str(value): name for value, name in LABELS.items()},
        "training": entries,
    }
    write_json(folder / "dataset.json", dataset)
    test = names[len(train) + len(val) :]
    write_json(folder / "splits.json", {"train": train.tolist(), "val": val.tolist(), "test": test})
    return folder / "dataset.json"


def _ball(place: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    side = min(shape)
    centre = [rng.uniform(0.3, 0.7) * n for n in shape]
    radius = rng.uniform(0.12, 0.22) * side
    distance: np.ndarray = np.linalg.norm(place - centre, axis=-1)
    return distance < radius


def _rod(place: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A thin arc across the image along its last axis."""
    side, along = min(shape), place[..., -1]
    bend = rng.uniform(-0.2, 0.2) * side * np.sin(np.pi * along / shape[-1])
    axis = [rng.uniform(0.25, 0.75) * n for n in shape[:-1]]
    offset = place[..., :-1] - np.asarray(axis)
    offset[..., 0] += bend
    near: np.ndarray = np.linalg.norm(offset, axis=-1) < rng.uniform(0.05, 0.09) * side
    return near & (np.abs(along - shape[-1] / 2) < 0.4 * shape[-1])


def _mean(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Share of each voxel that lies in a fine mask."""
    split = [part for n in shape for part in (n, _FINE)]
    mean: np.ndarray = mask.reshape(split).mean(axis=tuple(range(1, 2 * len(shape), 2)))
    return mean
