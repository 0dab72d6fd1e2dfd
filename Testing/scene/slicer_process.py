"""Runs a script as `Slicer --python-script` would, with a model that needs no training.

python slicer_process.py SCRIPT ARGS..., with the repository and MorseSegment on PYTHONPATH.
"""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from MorseCore import batch
from MorseCore.errors import ImageError
from MorseCore.imageio import Volume
from MorseCore.renderers import RefineConfig
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentLib.offscreen.bootstrap import startSlicer


class BrightVoxels:
    """Stands in for MorseCore's Predictor: what is bright is the structure."""

    def __init__(self, folder: Path, *, device: str) -> None:
        self.info = SimpleNamespace(sha256=f"{folder}", renderer=RefineConfig())

    def segment(self, volume: Volume, options: object, **_: object) -> Segmentation:
        """The brightest voxel is the only rendered point; an all-dark image is an error."""
        if not volume.array.any():
            raise ImageError(f"'{volume.source}' shows nothing.")
        mask = (volume.array > 50).astype(np.uint8)
        k, j, i = np.unravel_index(volume.array.argmax(), volume.array.shape)
        index = np.array([[i, j, k]], np.int32)
        one, sure = np.ones(1, np.int32), np.full(1, 0.9, np.float32)
        position = volume.geometry.to_world(index.astype(float))
        points = RenderedPoints(position, index, sure, one, one, sure, sure)
        structure = Structure(1, "Bright", (1.0, 0.8, 0.2))
        shade = (volume.array / volume.array.max()).astype(np.float32)
        return Segmentation(volume.geometry, (structure,), mask, mask, shade, points)


if __name__ == "__main__":
    startSlicer()
    batch.Predictor = BrightVoxels  # type: ignore[assignment, misc]
    batch.find_model = Path  # type: ignore[assignment]
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
