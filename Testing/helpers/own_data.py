"""Scans with labels as people have them: small bodies with organs, in several layouts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_labels, write_volume

SHAPE = (16, 20, 24)
SPACING = (2.5, 2.5, 3.0)
# Centre and half sides along (K, J, I) of an organ; I runs to the right.
ORGANS: Mapping[str, tuple[tuple[int, int, int], int]] = {
    "liver": ((8, 10, 18), 4), "left kidney": ((5, 5, 6), 2), "spleen": ((11, 13, 5), 3),
}  # fmt: skip
NAMES = {"1": "liver", "2": "left kidney", "3": "spleen"}


def geometry(shape: tuple[int, ...] = SHAPE, origin: float = 0.0) -> Geometry:
    matrix = np.diag([*SPACING, 1.0])
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)  # type: ignore[arg-type]


def body(seed: int, organs: Sequence[str] = tuple(ORGANS)) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels 1, 2, 3 in the order of ``ORGANS``, a little different for each seed."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    for value, (name, (centre, half)) in enumerate(ORGANS.items(), start=1):
        if name in organs:
            moved = [c + int(rng.integers(-1, 2)) for c in centre]
            labels[tuple(slice(max(0, c - half), c + half) for c in moved)] = value
    image = 100 + 50 * labels + rng.normal(0, 5, SHAPE)
    return image.astype(np.float32), labels


def write_folders(folder: Path, count: int = 4, *, channel: str = "") -> Path:
    """``images`` and ``labels`` with a ``dataset.json`` that only names the numbers."""
    for sub in ("images", "labels"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        write_one(folder, f"case_{n}", *body(n), channel=channel)
    write_names(folder)
    return folder


def write_one(
    folder: Path, name: str, image: np.ndarray, labels: np.ndarray, *, channel: str = "",
    label_grid: Geometry | None = None,
) -> None:  # fmt: skip
    write_volume(folder / "images" / f"{name}{channel}.nii.gz", image, geometry())
    grid = label_grid or geometry(labels.shape)
    write_labels(folder / "labels" / f"{name}.nii.gz", labels, grid)


def write_names(folder: Path, names: Mapping[str, str] = NAMES) -> None:
    text = json.dumps({"labels": {"0": "background", **names}})
    (folder / "dataset.json").write_text(text, encoding="utf-8")


def write_segmentation(
    path: Path, layers: np.ndarray, segments: Sequence[tuple[str, int, int]]
) -> None:
    """A ``.seg.nrrd`` as Slicer writes it.

    :param layers: (L, K, J, I).
    :param segments: name, layer and value of each.
    """
    parts = [SimpleITK.GetImageFromArray(layer) for layer in layers]
    image = parts[0] if len(parts) == 1 else SimpleITK.Compose(parts)
    spacing, origin, direction = geometry(layers.shape[1:]).lps()
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    for n, (name, layer, value) in enumerate(segments):
        for key, text in {"ID": f"Segment_{n}", "Name": name, "LabelValue": str(value),
                          "Layer": str(layer)}.items():  # fmt: skip
            image.SetMetaData(f"Segment{n}_{key}", text)
    SimpleITK.WriteImage(image, str(path), useCompression=True)
