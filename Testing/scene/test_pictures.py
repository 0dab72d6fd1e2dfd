"""Off-screen pictures: Slicer's own views must show what the scene holds, where it is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import write_volume
from MorseCore.inference.files import write_result
from MorseCore.result import Segmentation
from MorseSegmentLib.scene.palette import binColors
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentPictures import __main__ as command
from MorseSegmentPictures.figure import renderScenePictures
from MorseSegmentPictures.probe import INSTALL_HINT, canRender
from MorseSegmentPictures.views import SliceView, ThreeDView

CAN_RENDER = canRender()
needs_opengl = pytest.mark.skipif(not CAN_RENDER, reason=f"NOT TESTED: {INSTALL_HINT}")


def near(pixels: np.ndarray, color: Any, tolerance: int = 40) -> np.ndarray:
    """(H, W) bool: pixels within ``tolerance`` of an RGB colour (0..1) in each channel."""
    wanted = np.asarray(color) * 255
    return (np.abs(pixels.astype(int) - wanted) <= tolerance).all(axis=-1)


def slice_through(view: SliceView, result: Segmentation, volume_node: Any, k: float) -> np.ndarray:
    """Pixels of the slice of constant k through the whole grid."""
    geometry: Geometry = result.geometry
    _, height, width = geometry.shape
    view.showVolume(volume_node)
    corners = geometry.to_world(
        np.array([[i, j, k] for i in (0, width - 1) for j in (0, height - 1)], float)
    )
    view.frame(corners, through=corners[0])
    return view.pixels()


@pytest.fixture
def a_slice_view(a_scene: Any) -> Iterator[SliceView]:
    with closing(SliceView("Red")) as view:
        yield view


@needs_opengl
def test_a_point_is_drawn_in_its_colour_where_its_voxel_is(
    a_slice_view: SliceView, a_result: Segmentation, a_volume_node: Any
) -> None:
    SceneWriter(slicer.mrmlScene).show(a_result, a_volume_node)
    row_of_points, expected_bin = 0, 4
    k = a_result.points.indices[row_of_points, 2]
    pixels = slice_through(a_slice_view, a_result, a_volume_node, float(k))
    row, column = a_slice_view.pixelOf(tuple(a_result.points.positions[row_of_points]))
    assert near(pixels, binColors()[expected_bin])[row, column]
    elsewhere = slice_through(a_slice_view, a_result, a_volume_node, float(k + 2))
    assert not near(elsewhere, binColors()[expected_bin])[row, column]


@needs_opengl
def test_the_coarse_outline_is_drawn_over_the_refined_fill(
    a_slice_view: SliceView, a_result: Segmentation, a_volume_node: Any
) -> None:
    a_result.refined[:] = a_result.coarse
    writer = SceneWriter(slicer.mrmlScene)
    plain = slice_through(a_slice_view, a_result, a_volume_node, 6.0)
    shown = writer.show(a_result, a_volume_node)
    for node_id in shown.points:
        slicer.mrmlScene.GetNodeByID(node_id).SetDisplayVisibility(False)
    both = slice_through(a_slice_view, a_result, a_volume_node, 6.0)
    outline = near(both, a_result.structures[1].color, tolerance=12)
    fill = (both != plain).any(axis=-1) & ~outline
    assert outline.sum() > 100
    assert fill.sum() > 3 * outline.sum()
    middle = a_slice_view.pixelOf(tuple(a_result.geometry.to_world(np.array([5.0, 4.5, 6.0]))))
    assert fill[middle]


@needs_opengl
def test_a_translucent_surface_and_its_points_are_seen_in_3d(
    a_result: Segmentation, a_volume_node: Any
) -> None:
    writer = SceneWriter(slicer.mrmlScene)
    shown = writer.show(a_result, a_volume_node)
    with closing(ThreeDView("1")) as view:
        view.node.SetBackgroundColor(1.0, 1.0, 1.0)
        view.node.SetBackgroundColor2(1.0, 1.0, 1.0)
        view.fit()
        points_only = view.pixels()
        writer.createSurface(slicer.mrmlScene.GetNodeByID(shown.refined))
        surface = (view.pixels() != points_only).any(axis=-1)
    assert near(points_only, binColors()[4], tolerance=90).any()
    assert surface.mean() > 0.05


@needs_opengl
def test_four_pictures_are_written_and_the_scene_is_left_as_it_was(
    a_scene: Any, a_result: Segmentation, tmp_path: Path
) -> None:
    before = {a_scene.GetNthNode(n).GetID() for n in range(a_scene.GetNumberOfNodes())}
    image = np.random.default_rng(1).normal(size=a_result.geometry.shape).astype(np.float32)
    paths = renderScenePictures(image, a_result, tmp_path / "pictures")
    assert [path.name for path in paths] == [
        "axial.png",
        "coronal.png",
        "sagittal.png",
        "surface.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    after = {a_scene.GetNthNode(n).GetID() for n in range(a_scene.GetNumberOfNodes())}
    assert after - before <= {"vtkMRMLSubjectHierarchyNode1"}  # Slicer's surfaces ask for it


@needs_opengl
def test_an_empty_result_is_still_pictured(
    a_scene: Any, a_result: Segmentation, tmp_path: Path
) -> None:
    a_result.coarse[:] = a_result.refined[:] = 0
    image = np.zeros(a_result.geometry.shape, np.int16)
    assert len(renderScenePictures(image, a_result, tmp_path)) == 4


@needs_opengl
def test_the_command_reads_a_result_folder(
    a_scene: Any,
    a_result: Segmentation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = tmp_path / "image.nii.gz"
    write_volume(image, np.zeros(a_result.geometry.shape, np.float32), a_result.geometry)
    write_result(tmp_path / "case", a_result)
    output = tmp_path / "pictures"
    arguments = [str(tmp_path / "case"), "--image", str(image), "--output", str(output)]
    assert command.main(arguments) == 0
    assert capsys.readouterr().out.split() == [str(path) for path in sorted(output.iterdir())]


def test_a_machine_without_a_driver_is_told_what_to_install(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("NOT TESTED: only Linux can be asked to hide its EGL driver")
    folders = [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "MorseSegment")]
    hidden = {"__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent"}
    run = subprocess.run(
        [sys.executable, "-m", "MorseSegmentPictures", "a", "--image", "b", "--output", "c"],
        env={**os.environ, **hidden, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert run.returncode == 3
    assert run.stderr.strip() == INSTALL_HINT
