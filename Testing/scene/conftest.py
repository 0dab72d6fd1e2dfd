"""Real MRML scenes through slicer-core; skipped where that wheel is not installed."""

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure

SHAPE = (8, 10, 12)  # (K, J, I), all different


class ModuleWithoutSlicer(pytest.Module):
    """A test file that says why none of it runs, instead of failing at import."""

    def collect(self) -> NoReturn:
        pytest.skip(
            "NOT TESTED: needs Slicer's libraries; pip install slicer-core==5.12.4.0",
            allow_module_level=True,
        )


@cache
def has_slicer() -> bool:
    """Whether slicer-core is there, with the system libraries that it links to."""
    try:
        importlib.import_module("slicer")
    except ImportError:
        return False
    return True


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    """Put aside every file of this folder if there is no `slicer` to import."""
    if not has_slicer():
        return ModuleWithoutSlicer.from_parent(parent, path=module_path)
    return None


@pytest.fixture
def a_scene() -> Iterator[Any]:
    """An empty vtkMRMLScene with module logics, emptied again afterwards."""
    from MorseSegmentPictures.bootstrap import startSlicer

    scene = startSlicer()
    yield scene
    scene.Clear(False)


@pytest.fixture
def a_geometry() -> Geometry:
    """Oblique about two axes, another spacing on each axis, an odd origin."""
    a, b = np.radians(23.0), np.radians(-37.0)
    about_s = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_r = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_r @ about_s * [0.71, 1.13, 2.9]
    matrix[:3, 3] = [-31.5, 44.25, -107.125]
    return Geometry(SHAPE, matrix)


@pytest.fixture
def a_result(a_geometry: Geometry) -> Segmentation:
    """Two structures with voxels and one without; a point in each range of uncertainty."""
    coarse = np.zeros(SHAPE, np.uint8)
    coarse[2:5, 3:7, 3:8] = 1
    coarse[5:7, 3:7, 3:8] = 2
    refined = coarse.copy()
    refined[2, 3, 3:8] = 0
    refined[4, 3:7, 8] = 1
    uncertainty = np.linspace(0.0, 1.0, coarse.size, dtype=np.float32).reshape(SHAPE)
    ijk = np.array([[8, 3, 4], [3, 3, 2], [4, 6, 4], [7, 6, 5], [0, 9, 7]], np.int32)
    points = points_at(a_geometry, ijk, np.array([0.95, 0.7, 0.5, 0.3, 0.1], np.float32))
    structures = (
        Structure(1, "Head", (0.2, 0.7, 0.9), "Anatomy~Tissue^Hippocampus~~~"),
        Structure(2, "Tail", (0.9, 0.5, 0.1)),
        Structure(7, "Absent", (0.5, 0.5, 0.5)),
    )
    return Segmentation(a_geometry, structures, coarse, refined, uncertainty, points)


@pytest.fixture
def a_volume_node(a_scene: Any, a_geometry: Geometry) -> Any:
    """The image that was segmented, in the scene."""
    import slicer

    node = a_scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Image")
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(a_geometry.ijk_to_ras))
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    slicer.util.updateVolumeFromArray(node, voxels)
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture
def a_moving_volume(a_scene: Any, a_volume_node: Any) -> Any:
    """The proxy of three frames of one grid; the second is the one that is seen."""
    import slicer

    sequence = a_scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Heart sequence")
    sequence.SetIndexUnit("s")
    for number in range(3):
        slicer.util.arrayFromVolume(a_volume_node)[:] = number
        sequence.SetDataNodeAtValue(a_volume_node, f"{number / 2}")
    a_scene.RemoveNode(a_volume_node)
    browser = a_scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.SetSelectedItemNumber(1)
    return browser.GetProxyNode(sequence)


def points_at(geometry: Geometry, ijk: np.ndarray, uncertainty: np.ndarray) -> RenderedPoints:
    """Rendered points at voxel centres; (P, 3) indices and (P,) uncertainties."""
    ones = np.ones(len(ijk), np.int32)
    sure = np.full(len(ijk), 0.9, np.float32)
    return RenderedPoints(
        geometry.to_world(ijk.astype(float)), ijk, uncertainty, 0 * ones, ones, sure, sure
    )


@pytest.fixture
def a_crowded_result(a_result: Segmentation) -> Segmentation:
    """9000 points, more than are shown, in no particular order."""
    generator = np.random.default_rng(5)
    ijk = generator.integers(0, SHAPE[::-1], (9000, 3), dtype=np.int32)
    uncertainty = generator.permutation(np.linspace(0.0, 1.0, 9000)).astype(np.float32)
    return Segmentation(
        a_result.geometry,
        a_result.structures,
        a_result.coarse,
        a_result.refined,
        a_result.uncertainty,
        points_at(a_result.geometry, ijk, uncertainty),
    )
