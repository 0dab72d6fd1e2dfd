"""``segment`` on scans that are in order: grids, files, numbers."""

import csv
import importlib.util
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from cli_client import (
    COHORT_FILES,
    RESULT_FILES,
    SHAPE,
    CommandLine,
    names,
    read_report,
    snapshot,
    write_scan,
)
from dicom_files import write_slice
from MorseCore.images.imageio import read_volume, write_volume
from MorseCore.training.phantoms import make_phantom


def turned(degrees: float, spacing: tuple[float, float, float]) -> np.ndarray:
    """Turned about S and then about R, with an odd origin, RAS."""
    a, b = np.radians(degrees), np.radians(-0.7 * degrees)
    about_s = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
    about_r = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(about_r) @ np.array(about_s) * spacing
    matrix[:3, 3] = [-31.5, 44.25, -107.125]
    return matrix


MATRICES = {
    "flipped": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "permuted": np.array([[0.0, 0, 1, 5], [-1, 0, 0, 3], [0, 1, 0, 2], [0, 0, 0, 1]]),
    "anisotropic": np.diag([0.8, 0.9, 2.5, 1.0]),
    "oblique": turned(21.0, (0.9, 1.1, 1.4)),
}


def test_a_case_has_exactly_the_files_that_are_promised(finished: Path) -> None:
    assert names(finished) == RESULT_FILES
    assert names(finished.parent) == {"phantom"} | COHORT_FILES


@pytest.mark.parametrize("name", MATRICES)
def test_maps_lie_on_the_inputs_own_grid_to_the_bit(
    command: CommandLine, tmp_path: Path, name: str
) -> None:
    path = write_scan(tmp_path / "a.nii.gz", matrix=MATRICES[name])
    tolerance = 1e-7 if name == "oblique" else 0  # NIfTI holds quaternions in single precision
    assert command.segment(path, output=tmp_path / "out").code == 0
    expected = nibabel.load(path)
    for stage in ("coarse", "refined", "uncertainty"):
        found = nibabel.load(tmp_path / "out" / "a" / f"{stage}.nii.gz")
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.affine, expected.affine, rtol=0, atol=tolerance)
        np.testing.assert_allclose(found.get_qform(), expected.get_qform(), rtol=0, atol=tolerance)


def test_the_report_says_how_the_result_was_made(finished: Path, predictor) -> None:
    report = read_report(finished)
    assert report["model"] == {"name": "phantom-tiny", "sha256": predictor.info.sha256}
    assert {"MorseSegment", "torch", "numpy", "python"} <= set(report["versions"])
    assert report["device"].startswith("cpu")
    assert isinstance(report["seed"], int)
    assert report["parameters"]["points"] == 1024
    assert report["parameters"]["passes"] == 2
    assert report["parameters"]["scale"] == 1
    assert report["parameters"]["roi"] is None
    assert list(report["seconds"]) == ["read", "prepare", "network", "restore"]
    assert report["input"]["shape_kji"] == list(SHAPE)


def test_the_report_counts_what_the_masks_show(finished: Path) -> None:
    report = read_report(finished)
    coarse, refined = (
        read_volume(finished / f"{name}.nii.gz").array for name in ("coarse", "refined")
    )
    assert (coarse != refined).any()
    for row in report["structures"]:
        before, after = coarse == row["value"], refined == row["value"]
        assert row["coarse_ml"] == pytest.approx(before.sum() / 1000)
        assert row["refined_ml"] == pytest.approx(after.sum() / 1000)
        assert row["added_voxels"] == (after & ~before).sum()
        assert row["removed_voxels"] == (before & ~after).sum()
    assert [item["name"] for item in report["labels"]] == ["ball", "rod"]


def test_two_runs_give_the_same_bytes(
    command: CommandLine, scan: Path, finished: Path, tmp_path: Path
) -> None:
    assert command.segment(scan, output=tmp_path, device="cpu").code == 0
    for name in RESULT_FILES - {"report.json"}:  # which has times
        assert (tmp_path / "phantom" / name).read_bytes() == (finished / name).read_bytes(), name


def test_points_are_voxel_centres_sorted_by_uncertainty(
    command: CommandLine, tmp_path: Path
) -> None:
    path = write_scan(tmp_path / "a.nii.gz", matrix=MATRICES["permuted"])
    assert command.segment(path, output=tmp_path / "out", points=50, passes=2).code == 0
    folder = tmp_path / "out" / "a"
    with (folder / "points.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 100 == read_report(folder)["points"]["rendered_voxels"]
    uncertainty = [float(row["uncertainty"]) for row in rows]
    assert uncertainty == sorted(uncertainty, reverse=True)
    image = nibabel.load(path)
    values = read_volume(folder / "uncertainty.nii.gz").array
    refined = read_volume(folder / "refined.nii.gz").array
    for row in rows:
        i, j, k = (int(row[axis]) for axis in "ijk")
        centre = nibabel.affines.apply_affine(image.affine, [i, j, k])
        assert [float(row[axis]) for axis in "ras"] == pytest.approx(centre, abs=1e-3)
        assert float(row["uncertainty"]) == pytest.approx(values[k, j, i], abs=1e-4)
        assert int(row["refined_label"]) == refined[k, j, i]
        assert int(row["changed"]) == (row["coarse_label"] != row["refined_label"])


def test_without_passes_nothing_is_rendered(
    command: CommandLine, scan: Path, tmp_path: Path
) -> None:
    assert command.segment(scan, output=tmp_path, passes=0).code == 0
    folder = tmp_path / "phantom"
    assert (folder / "coarse.nii.gz").read_bytes() == (folder / "refined.nii.gz").read_bytes()
    assert len((folder / "points.csv").read_text().splitlines()) == 1
    assert read_report(folder)["points"]["rendered_voxels"] == 0


def test_a_twice_finer_grid_covers_the_same_extent(command: CommandLine, tmp_path: Path) -> None:
    path = write_scan(tmp_path / "a.nii.gz", matrix=MATRICES["permuted"])
    assert command.segment(path, output=tmp_path / "out", scale=2).code == 0
    coarse, fine = nibabel.load(path), nibabel.load(tmp_path / "out" / "a" / "refined.nii.gz")
    assert fine.shape == tuple(2 * n for n in coarse.shape)
    faces = np.array([[-0.5, -0.5, -0.5], [n - 0.5 for n in coarse.shape]])
    apply = nibabel.affines.apply_affine
    np.testing.assert_array_equal(apply(coarse.affine, faces), apply(fine.affine, 2 * faces + 0.5))


def test_a_slicer_segmentation_is_written_on_wish(
    command: CommandLine, scan: Path, finished: Path, tmp_path: Path
) -> None:
    assert command.segment(scan, output=tmp_path, format="seg.nrrd").code == 0
    folder = tmp_path / "phantom"
    assert "refined.nii.gz" not in names(folder)
    header = SimpleITK.ReadImage(str(folder / "refined.seg.nrrd"))
    assert header.GetMetaData("Segment0_Name") == "ball"
    found = read_volume(folder / "refined.seg.nrrd").array
    np.testing.assert_array_equal(found, read_volume(finished / "refined.nii.gz").array)


def test_a_dicom_folder_is_a_case(command: CommandLine, tmp_path: Path) -> None:
    for number in range(4):
        write_slice(tmp_path / "Bauch CT", 40 * number, (0, 0, 2.5 * number))
    assert command.segment(tmp_path / "Bauch CT", output=tmp_path / "out").code == 0
    mask = read_volume(tmp_path / "out" / "Bauch CT" / "refined.nii.gz")
    assert mask.geometry.is_close(read_volume(tmp_path / "Bauch CT").geometry)


def test_a_picture_is_segmented_by_a_model_for_slices(command: CommandLine, tmp_path: Path) -> None:
    image, labels = make_phantom(101, shape=(28, 28))
    grey = np.clip(image * 150 + 60, 0, 255).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(grey), str(tmp_path / "a.png"))
    done = command.segment(tmp_path / "a.png", output=tmp_path / "o", model="phantom-tiny-2d")
    assert done.code == 0, done.err
    mask = read_volume(tmp_path / "o" / "a" / "refined.nii.gz").array
    assert mask.shape == (1, 28, 28)
    both = ((mask[0] > 0) & (labels > 0)).sum()
    assert 2 * both / ((mask > 0).sum() + (labels > 0).sum()) > 0.85


def test_spaces_and_letters_of_the_world_in_paths_are_fine(
    command: CommandLine, tmp_path: Path
) -> None:
    path = write_scan(tmp_path / "Tomás Ö 脑" / "Ünïcode scan 1.nii.gz")
    output = tmp_path / "Ergebnis für 患者"
    assert command.segment(path, output=output).code == 0
    assert names(output / "Ünïcode scan 1") == RESULT_FILES


def test_results_may_lie_in_the_folder_of_the_scans(command: CommandLine, tmp_path: Path) -> None:
    write_scan(tmp_path / "a.nii.gz")
    before = snapshot(tmp_path)
    assert command.segment(tmp_path, output=tmp_path).code == 0
    again = command.segment(tmp_path, output=tmp_path)
    assert (again.code, again.sentence) == (0, "a: already done; ok")
    assert snapshot(tmp_path).items() > before.items()
    assert names(tmp_path) == {"a.nii.gz", "a"} | COHORT_FILES


def test_voxels_without_a_value_are_warned_about_and_taken_as_background(
    command: CommandLine, tmp_path: Path
) -> None:
    volume = read_volume(write_scan(tmp_path / "a.nii.gz"))
    spoilt = volume.array.copy()
    spoilt[0, 0, :3] = [np.nan, np.inf, -np.inf]
    write_volume(tmp_path / "b.nii.gz", spoilt, volume.geometry)
    done = command.segment(tmp_path / "b.nii.gz", output=tmp_path)
    assert done.code == 0
    sentence = (
        "b.nii.gz: 3 of 13,824 voxels (less than 0.1 %) have no value (NaN or infinite); they are "
        "taken as background."
    )
    assert done.err.count(sentence) == 1
    assert read_report(tmp_path / "b")["warnings"] == [sentence]
    assert (read_volume(tmp_path / "b" / "refined.nii.gz").array > 0).any()


def test_an_image_smaller_than_the_window_is_segmented(
    command: CommandLine, tmp_path: Path
) -> None:
    volume = read_volume(write_scan(tmp_path / "a.nii.gz"))
    start, stop = (4, 0, 8), (9, 20, 9)
    part = volume.array[4:9, 0:20, 8:9]
    write_volume(tmp_path / "small.nii.gz", part, volume.geometry.crop(start, stop))
    done = command.segment(tmp_path / "small.nii.gz", output=tmp_path / "out")
    assert done.code == 0, done.err
    assert read_volume(tmp_path / "out" / "small" / "refined.nii.gz").array.shape == (5, 20, 1)


@pytest.mark.skipif(
    importlib.util.find_spec("slicer") is None,
    reason="NOT TESTED: needs Slicer's libraries; pip install slicer-core",
)
def test_slicer_loads_the_points_where_they_are_with_their_uncertainty(finished: Path) -> None:
    import slicer

    scene = slicer.vtkMRMLScene()
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    node = slicer.vtkMRMLMarkupsFiducialNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(finished / "points.mrk.json"))
    assert storage.ReadData(node)
    with (finished / "points.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert node.GetNumberOfControlPoints() == len(rows) > 1000
    found = np.array([node.GetNthControlPointPosition(n) for n in range(len(rows))])
    positions = np.array([[float(row[axis]) for axis in "ras"] for row in rows])
    np.testing.assert_allclose(found, positions, atol=2e-3)
    values = node.GetMeasurement("uncertainty").GetControlPointValues()
    assert values.GetValue(0) == pytest.approx(float(rows[0]["uncertainty"]), abs=1e-4)
    assert values.GetValue(len(rows) - 1) == pytest.approx(float(rows[-1]["uncertainty"]), abs=1e-4)
