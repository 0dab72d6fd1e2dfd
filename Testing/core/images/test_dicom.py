"""DICOM folders: slices in the patient's order, whatever the files are called."""

import logging
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from dicom_files import write_slice
from MorseCore.errors import GeometryError, ImageError
from MorseCore.images.imageio import read_volume

REAL = Path(__file__).parents[3].parent / "shared" / "data" / "dicom_ct"


def test_slices_are_sorted_by_position_not_by_name_or_number(tmp_path: Path) -> None:
    folder = tmp_path / "case"
    for number in range(5):
        write_slice(folder, number, (0, 0, 2.5 * number), instance=(number * 3) % 5)
    volume = read_volume(folder)
    assert volume.array[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert volume.geometry.spacing == pytest.approx((1, 1, 2.5))
    np.testing.assert_allclose(volume.geometry.to_world(np.array([0, 0, 4])), [0, 0, 10], atol=1e-6)
    assert volume.source == "case"


def test_an_oblique_series_is_placed_by_its_tags(tmp_path: Path) -> None:
    c, s = 0.8, 0.6  # rows along (1, 0, 0), columns along (0, c, s): the normal is (0, -s, c)
    for number in range(4):
        step = 3.0 * number
        write_slice(
            tmp_path / "case",
            number,
            (10, 20 - s * step, 30 + c * step),
            axes="1\\0\\0\\0\\0.8\\0.6",
        )
    geometry = read_volume(tmp_path / "case").geometry
    lps = np.array([10 + 2, 20 - s * 6 + c, 30 + c * 6 + s])  # voxel (2, 1, 2)
    np.testing.assert_allclose(geometry.to_world(np.array([2, 1, 2])), lps * [-1, -1, 1], atol=1e-5)


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    for number in range(3):
        write_slice(tmp_path / "case", number, (0, 0, number))
    (tmp_path / "case" / "notes.txt").write_text("hello")
    (tmp_path / "case" / "._s1_00.dcm").write_bytes(b"\0\x05\x16\x07")
    assert read_volume(tmp_path / "case").array.shape == (3, 2, 3)


def test_a_single_dicom_file_is_one_slice(tmp_path: Path) -> None:
    write_slice(tmp_path / "case", 6, (0, 0, 0))
    (file,) = (tmp_path / "case").iterdir()
    assert read_volume(file).array.tolist() == [[[6, 6, 6], [6, 6, 6]]]
    assert read_volume(tmp_path / "case").array.shape == (1, 2, 3)


def test_several_series_are_all_named(tmp_path: Path) -> None:
    for series, count in [(1, 3), (2, 4)]:
        for number in range(count):
            write_slice(tmp_path / "case", number, (0, 0, number), series=series)
    reason = (
        r"choose it with --series .*'Series 2' \(4 images, CT, UID …543\.2\.2\); "
        r"'Series 1' \(3 images, CT, UID …543\.2\.1\)"
    )
    with pytest.raises(ImageError, match=reason):
        read_volume(tmp_path / "case")


def test_a_scout_beside_the_series_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10):
        write_slice(tmp_path / "case", number, (0, 0, number))
    write_slice(tmp_path / "case", 0, (5, 5, 5), series=2)
    with caplog.at_level(logging.WARNING):
        assert read_volume(tmp_path / "case").array[:, 0, 0].tolist() == list(range(10))
    assert "1 other image" in caplog.text


def test_a_missing_slice_is_noticed(tmp_path: Path) -> None:
    for number in (0, 1, 2, 4, 5):
        write_slice(tmp_path / "case", number, (0, 0, 2.0 * number))
    with pytest.raises(GeometryError, match=r"2\.00 to 4\.00 mm apart"):
        read_volume(tmp_path / "case")


def test_distances_rounded_by_the_scanner_are_accepted(tmp_path: Path) -> None:
    for number in range(6):
        write_slice(tmp_path / "case", number, (0, 0, round(0.625 * number, 2)))
    assert read_volume(tmp_path / "case").geometry.spacing[2] == pytest.approx(0.625, abs=0.01)


def test_two_slices_at_one_position_are_refused(tmp_path: Path) -> None:
    for number, s in enumerate((0, 1, 1, 2)):
        write_slice(tmp_path / "case", number, (0, 0, s))
    with pytest.raises(GeometryError, match="at one position"):
        read_volume(tmp_path / "case")


def test_a_tilted_gantry_is_refused(tmp_path: Path) -> None:
    for number in range(4):
        write_slice(tmp_path / "case", number, (0, 0.5 * number, 2.0 * number))
    with pytest.raises(GeometryError, match=r"shifted by 0\.50 mm .*tilted gantry"):
        read_volume(tmp_path / "case")


def test_a_real_series_with_shuffled_names_is_read_in_order(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip(f"the real DICOM series is not here: {REAL.name}")
    files = sorted(REAL.glob("*.dcm"))
    names = random.Random(0).sample(range(1000), len(files))
    (tmp_path / "case").mkdir()
    for file, name in zip(files, names, strict=True):
        shutil.copy(file, tmp_path / "case" / f"{name}.dcm")
    volume = read_volume(tmp_path / "case")
    expected = np.concatenate(
        [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) for file in files]
    )
    assert np.array_equal(volume.array, expected)
    assert volume.geometry.spacing == pytest.approx((2, 2, 2))
    first = SimpleITK.ReadImage(str(files[0])).GetOrigin()
    np.testing.assert_allclose(volume.geometry.origin, np.array(first) * [-1, -1, 1], atol=1e-4)


def test_the_modality_of_a_series_and_of_a_single_file_is_known(tmp_path: Path) -> None:
    for n in range(3):
        write_slice(tmp_path / "series", n, (0, 0, 2.0 * n))
    assert read_volume(tmp_path / "series").modality == "CT"
    assert read_volume(next((tmp_path / "series").iterdir())).modality == "CT"
    SimpleITK.WriteImage(SimpleITK.Image([4, 4, 4], SimpleITK.sitkInt16), str(tmp_path / "a.nrrd"))
    assert read_volume(tmp_path / "a.nrrd").modality == ""
