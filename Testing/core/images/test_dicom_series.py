"""Folders with more than one volume: several series, and several volumes in one series."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_files import (
    ROOT,
    SHAPE,
    enhanced_data,
    item,
    save,
    slice_data,
    slice_pixels,
    write_series,
)
from image_files import assert_one_sentence
from MorseCore import read_image
from MorseCore.errors import GeometryError, ImageError, MorseError
from MorseCore.images.imageio import ReadOptions, Volume, read_volume


def refused(
    path: Path, reason: str, options: ReadOptions, kind: type[MorseError] = ImageError
) -> None:
    with pytest.raises(kind, match=reason) as caught:
        read_volume(path, options)
    assert_one_sentence(caught.value, path.name)


@pytest.fixture
def two_series(tmp_path: Path) -> Path:
    """Three and four slices."""
    write_series(tmp_path / "case", 3, series=1)
    write_series(tmp_path / "case", 4, series=22)
    return tmp_path / "case"


@pytest.mark.parametrize(
    "wanted", [f"{ROOT}.2.1", "543.2.1", "…543.2.1", f" {ROOT}.2.1\n", "...543.2.1"]
)
def test_a_series_is_chosen_by_its_uid_or_a_part_of_it(two_series: Path, wanted: str):
    assert read_volume(two_series, ReadOptions(series=wanted)).array.shape == (3, *SHAPE)


def test_a_unique_beginning_of_a_uid_suffices(two_series: Path):
    options = ReadOptions(series=f"{ROOT}.2.2")
    assert read_volume(two_series, options).array.shape == (4, *SHAPE)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (f"{ROOT}.7", "no series whose UID begins or ends .*'Series 22' .4 images, CT, UID …543"),
        (f"{ROOT}.2", "2 series whose UID begins or ends .*'Series 22'.*'Series 1' .3 images, CT"),
        ("", "no series"),
        ("…", "no series"),
    ],
)
def test_a_choice_that_fits_no_series_or_several_lists_them(
    two_series: Path, wanted: str, reason: str
):
    refused(two_series, reason, ReadOptions(series=wanted))


def test_the_chosen_series_is_read_whatever_is_wrong_with_the_pixels_of_another(two_series: Path):
    victim = sorted(two_series.glob("IM22*"))[0]
    victim.write_bytes(victim.read_bytes()[:-20])
    options = ReadOptions(series="543.2.1")
    assert read_volume(two_series, options).array.shape == (3, *SHAPE)
    with pytest.raises(ImageError, match=f"{victim.name} is incomplete"):
        read_volume(two_series, ReadOptions(series="543.2.22"))


def refused_names(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_volume(path)
    return str(caught.value)


def test_many_series_make_no_endless_sentence(tmp_path: Path):
    for number in range(1, 30):
        save(slice_data(0, series=number), tmp_path / "case" / f"{number}.dcm")
    text = refused_names(tmp_path / "case")
    assert "29 DICOM series" in text
    assert "and 17 more" in text


def test_frames_are_counted_not_files(tmp_path: Path):
    save(enhanced_data(list(range(40))), tmp_path / "case" / "scan.dcm")
    for n in range(3):
        save(slice_data(n, series=5), tmp_path / "case" / f"scout{n}.dcm")
    volume = read_volume(tmp_path / "case")
    assert volume.array.shape == (40, *SHAPE)
    assert "3 other image(s)" in volume.notes[0]


def test_objects_that_are_no_images_are_left_out_and_said(tmp_path: Path):
    write_series(tmp_path / "case", 3)
    report = slice_data(0)
    report.SOPClassUID, report.Modality = "1.2.840.10008.5.1.4.1.1.88.11", "SR"
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    save(report, tmp_path / "case" / "report.dcm")
    volume = read_volume(tmp_path / "case")
    assert volume.array.shape == (3, *SHAPE)
    assert "1 other DICOM object(s) (1 x Basic Text SR Storage) are left out" in volume.notes[0]
    for file in (tmp_path / "case").glob("IM*"):
        file.unlink()
    refused(tmp_path / "case", "holds no images but 1 other DICOM object", ReadOptions())


def test_a_folder_of_folders_names_them(tmp_path: Path):
    write_series(tmp_path / "case" / "T1", 3)
    write_series(tmp_path / "case" / "T2", 3)
    refused(tmp_path / "case", "itself holds no images.*'T1', 'T2'", ReadOptions())


def test_one_slice_by_its_path_mentions_the_rest(tmp_path: Path):
    files = write_series(tmp_path / "case", 3)
    volume = read_volume(files[1])
    assert np.array_equal(volume.array, [slice_pixels(1)])
    assert "its folder holds more of its series" in volume.notes[0]
    files[0].unlink()
    files[2].unlink()
    assert read_volume(files[1]).notes == ()
    refused(files[1], "belongs to another series", ReadOptions(series="1.9"))
    assert read_volume(files[1], ReadOptions(series="543.2.1")).array.shape == (1, *SHAPE)


def write_volumes(
    folder: Path, count: int, edit: Callable[[Dataset, int, int], None], slices: int = 3
) -> None:
    """Volumes at the same places; slice n of volume v is filled with noise number 10 v + n."""
    for number in range(count * slices):
        v, n = divmod(number, slices)
        data = slice_data(n, slice_pixels(10 * v + n))
        data.SOPInstanceUID = f"{ROOT}.9.{number}"
        data.InstanceNumber = (number * 7) % (count * slices)
        edit(data, v, n)
        save(data, folder / f"IM{(number * 37) % 101:03}.dcm")


def is_volume(volume: Volume, number: int) -> bool:
    return np.array_equal(volume.array, [slice_pixels(10 * number + n) for n in range(3)])


def echo(data: Dataset, v: int, n: int) -> None:
    data.EchoTime = [20, 5.5, 100][v]


def direction(data: Dataset, v: int, n: int) -> None:
    data.add_new(0x00189087, "FD", [0.0, 800.0, 800.0][v])
    data.add_new(0x00189089, "FD", [[0.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]][v])


def blocks(data: Dataset, v: int, n: int) -> None:
    data.InstanceNumber = 10 * v + n


@pytest.mark.parametrize(
    ("edit", "words", "order"),
    [
        (echo, r"3 volumes that differ in EchoTime \(5.5, 20.*, 100", [1, 0, 2]),
        (direction, "differ in DiffusionGradientOrientation", [0, 2, 1]),
        (blocks, "differ in InstanceNumber", [0, 1, 2]),
    ],
)
def test_one_of_several_volumes_of_a_series_is_chosen_by_its_number(
    tmp_path: Path, edit: Callable[[Dataset, int, int], None], words: str, order: list[int]
):
    write_volumes(tmp_path / "case", 3, edit)
    refused(tmp_path / "case", words + r".*--volume 0 to 2", ReadOptions())
    for number, expected in enumerate(order):
        volume = read_volume(tmp_path / "case", ReadOptions(volume=number))
        assert is_volume(volume, expected)
        assert volume.geometry.spacing[2] == pytest.approx(2)
    for number in (-1, 3):
        refused(
            tmp_path / "case", f"3 volumes, counted from 0; there is no volume {number}",
            ReadOptions(volume=number),
        )  # fmt: skip


def test_two_tags_together_may_tell_volumes_apart(tmp_path: Path):
    def edit(data: Dataset, v: int, n: int) -> None:
        data.EchoTime = 5 + v % 2
        data.ImageType = ["ORIGINAL", "PRIMARY", "MP"[v // 2]]

    write_volumes(tmp_path / "case", 4, edit)
    refused(tmp_path / "case", "4 volumes that differ in EchoTime and ImageType", ReadOptions())
    assert is_volume(read_volume(tmp_path / "case", ReadOptions(volume=2)), 1)


def test_a_volume_that_lacks_a_slice_of_the_others_is_refused(tmp_path: Path):
    write_volumes(tmp_path / "case", 2, echo)
    (tmp_path / "case" / f"IM{(5 * 37) % 101:03}.dcm").unlink()
    assert is_volume(read_volume(tmp_path / "case", ReadOptions(volume=1)), 0)
    refused(tmp_path / "case", "at 2 of 3 positions", ReadOptions(volume=0))


def test_slices_at_one_position_that_nothing_tells_apart_are_refused(tmp_path: Path):
    def edit(data: Dataset, v: int, n: int) -> None:
        data.InstanceNumber = 2 * n + v

    write_volumes(tmp_path / "case", 2, edit)
    refused(tmp_path / "case", "at one position", ReadOptions(volume=0), GeometryError)


def test_a_series_of_one_volume_has_no_second_one(tmp_path: Path):
    write_series(tmp_path / "case", 3)
    assert read_volume(tmp_path / "case", ReadOptions(volume=0)).array.shape == (3, *SHAPE)
    refused(tmp_path / "case", "has one volume; there is no volume 1", ReadOptions(volume=1))


def test_phases_in_an_enhanced_file_are_volumes(tmp_path: Path):
    def phase(group: Dataset, n: int) -> None:
        group.FrameContentSequence = item(TemporalPositionIndex=1 + n % 2)

    data = enhanced_data([0, 0, 1, 1, 2, 2], frame=phase)
    path = save(data, tmp_path / "a.dcm")
    refused(path, "2 volumes that differ in TemporalPositionIndex", ReadOptions())
    for number, expected in ((0, [1, 3, 5]), (1, [2, 4, 6])):
        array = read_volume(path, ReadOptions(volume=number)).array
        assert array[:, 0, 0].tolist() == expected


def test_the_index_of_an_enhanced_file_tells_volumes_apart(tmp_path: Path):
    def index(group: Dataset, n: int) -> None:
        group.FrameContentSequence = item(DimensionIndexValues=[1, 1 + n // 2, 1 + n % 2])

    path = save(enhanced_data([0, 0, 1, 1, 2, 2], frame=index), tmp_path / "a.dcm")
    refused(path, "2 volumes that differ in dimension 3", ReadOptions())
    assert read_volume(path, ReadOptions(volume=1)).array[:, 0, 0].tolist() == [2, 4, 6]


def test_the_library_s_functions_take_the_same_choices(two_series: Path, tmp_path: Path):
    assert read_image(two_series, series="543.2.22").array.shape == (4, *SHAPE)
    write_volumes(tmp_path / "echoes", 3, echo)
    assert is_volume(read_image(tmp_path / "echoes", volume=0), 1)
