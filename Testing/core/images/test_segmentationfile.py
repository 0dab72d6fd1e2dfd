"""A .seg.nrrd of ours is a segmentation to Slicer: names, colours, voxels and place."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MorseCore.errors import GeometryError, OutputError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import read_volume
from MorseCore.images.segmentationfile import write_segmentation_nrrd
from MorseCore.result import Structure

TISSUE = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~"
    "SCT^85756007^Tissue~^^~Anatomic codes - DICOM master list~^^~^^"
)
STRUCTURES = (
    Structure(1, "left kidney", (1.0, 0.5, 0.25), TISSUE),
    Structure(3, "Größe | 2\nlines", (0.0, 0.25, 1.0)),
    Structure(4, "not there", (0.5, 0.5, 0.5)),
)


def labels() -> np.ndarray:
    array = np.zeros((5, 6, 7), np.uint8)
    array[1:4, 2:5, 1:3] = 1
    array[2, 3, 6] = 3
    return array


def geometry() -> Geometry:
    c, s = np.cos(0.4), np.sin(0.4)
    matrix = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    matrix = matrix @ np.diag([0.7, 1.1, 2.9, 1.0])
    matrix[:3, 3] = (-31.5, 44.25, -107.125)
    return Geometry((5, 6, 7), matrix)


def test_slicer_reads_names_colours_voxels_and_place(tmp_path: Path) -> None:
    slicer = pytest.importorskip("slicer", reason="needs the slicer-core wheel")
    vtk = pytest.importorskip("vtk")
    path = tmp_path / "a.seg.nrrd"
    write_segmentation_nrrd(path, labels(), geometry(), structures=STRUCTURES)
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfSegments() == 3
    assert segmentation.GetNumberOfLayers() == 1
    found = [segmentation.GetNthSegment(n) for n in range(3)]
    assert [s.GetName() for s in found] == ["left kidney", "Größe 2 lines", "not there"]
    assert [s.GetLabelValue() for s in found] == [1, 3, 4]
    for segment, structure in zip(found, STRUCTURES, strict=True):
        assert segment.GetColor() == pytest.approx(structure.color)
    tag = vtk.reference("")
    assert found[0].GetTag("TerminologyEntry", tag)
    assert str(tag) == TISSUE
    assert_voxels(slicer, vtk, node)


def assert_voxels(slicer: Any, vtk: Any, node: Any) -> None:
    """Each segment has its voxels where the label map has them, in RAS."""
    to_numpy = pytest.importorskip("vtk.util.numpy_support").vtk_to_numpy
    for n, structure in enumerate(STRUCTURES[:2]):
        image = slicer.vtkOrientedImageData()
        identifier = node.GetSegmentation().GetNthSegmentID(n)
        assert identifier == f"Segment_{structure.value}"
        node.GetBinaryLabelmapRepresentation(identifier, image)
        i, _, j, _, k, _ = image.GetExtent()
        size = image.GetDimensions()
        array = to_numpy(image.GetPointData().GetScalars()).reshape(size[::-1])
        found = np.argwhere(array)[:, ::-1] + (i, j, k)
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        affine = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
        expected = np.argwhere(labels() == structure.value)[:, ::-1]
        world = geometry().to_world(expected)
        assert len(found) == len(expected)
        ours = found @ affine[:3, :3].T + affine[:3, 3]
        np.testing.assert_allclose(ours, world, atol=1e-9)


def test_it_is_also_a_label_map_to_any_other_program(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    write_segmentation_nrrd(path, labels(), geometry(), structures=STRUCTURES)
    volume = read_volume(path)
    assert np.array_equal(volume.array, labels())
    assert volume.geometry.is_close(geometry())


def test_each_segment_says_where_its_voxels_are(tmp_path: Path) -> None:
    path = tmp_path / "a.seg.nrrd"
    write_segmentation_nrrd(path, labels(), geometry(), structures=STRUCTURES)
    header = path.read_bytes().split(b"\n\n")[0].decode()
    assert "Segment0_Extent:=1 2 2 4 1 3\n" in header
    assert "Segment1_Extent:=6 6 3 3 2 2\n" in header
    assert "Segment2_Extent:=0 -1 0 -1 0 -1\n" in header


def test_labels_above_255_are_kept(tmp_path: Path) -> None:
    array = labels().astype(np.uint16)
    array[0, 0, 0] = 300
    structures = (Structure(300, "far", (1.0, 0.0, 0.0)),)
    write_segmentation_nrrd(tmp_path / "a.seg.nrrd", array, geometry(), structures=structures)
    assert read_volume(tmp_path / "a.seg.nrrd").array[0, 0, 0] == 300


def test_a_label_that_is_no_structure_is_not_turned_into_another(tmp_path: Path) -> None:
    array = labels().astype(np.uint16)
    array[0, 0, 0] = 257  # 1 in eight bits
    write_segmentation_nrrd(tmp_path / "a.seg.nrrd", array, geometry(), structures=STRUCTURES)
    assert np.array_equal(read_volume(tmp_path / "a.seg.nrrd").array, array)


def test_a_name_that_slicer_would_take_for_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.seg\.nrrd"):
        write_segmentation_nrrd(tmp_path / "a.nrrd", labels(), geometry(), structures=STRUCTURES)


def test_labels_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="does not fit"):
        write_segmentation_nrrd(
            tmp_path / "a.seg.nrrd", labels()[1:], geometry(), structures=STRUCTURES
        )
