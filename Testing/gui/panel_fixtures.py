"""A volume and a result for tests of the panels; tests import the fixtures by name."""

from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseSegmentLib.scene.record import SceneResult

SHAPE = (8, 10, 12)
UNCERTAINTY = np.array([0.95, 0.7, 0.5, 0.3, 0.1], np.float32)


@pytest.fixture
def a_volume(a_scene: Any) -> Any:
    voxels = np.zeros((8, 9, 10), np.int16)
    voxels[2:5, 3:6, 4:7] = 100
    return slicer.util.addVolumeFromArray(voxels, name="Scan")


@pytest.fixture
def a_result() -> Segmentation:
    """Five points, one in each range; the second and the fourth were changed."""
    geometry = Geometry(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
    masks = np.zeros(SHAPE, np.uint8)
    masks[2:5, 3:7, 3:8] = 1
    masks[5:7, 3:7, 3:8] = 2
    ijk = np.array([[8, 3, 4], [3, 3, 2], [4, 6, 4], [7, 6, 5], [0, 9, 7]], np.int32)
    coarse = np.array([1, 0, 1, 1, 2], np.int32)
    refined = np.array([1, 2, 1, 0, 2], np.int32)
    half, sure = np.full(5, 0.5, np.float32), np.full(5, 0.9, np.float32)
    points = RenderedPoints(
        geometry.to_world(ijk.astype(float)), ijk, UNCERTAINTY, coarse, refined, half, sure
    )
    structures = (Structure(1, "Head", (0.2, 0.7, 0.9)), Structure(2, "Tail", (0.9, 0.5, 0.1)))
    changed = np.roll(masks, 1, axis=0)
    return Segmentation(geometry, structures, masks, changed, masks.astype(np.float32), points)


@pytest.fixture
def shown(a_widget: Any, a_result: Segmentation) -> SceneResult:
    return a_widget.logic.showResult(a_result)
