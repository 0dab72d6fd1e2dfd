"""``from MorseCore import segment``: the same answers as the command's, for any kind of image."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

import MorseCore
from image_files import oblique
from MorseCore import Predictor, evaluate, read_image, segment
from MorseCore.commands.cli import main
from MorseCore.errors import ConfigError, GeometryError, ImageError, ModelError, MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, write_volume
from MorseCore.training.phantoms import make_phantom

MODEL = "phantom-tiny"


@pytest.fixture(scope="module")
def warm() -> Predictor:
    return Predictor(MODEL, device="cpu")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A phantom on a tilted grid of uneven spacing."""
    image, _ = make_phantom(3, shape=(28, 28, 28))
    matrix = oblique().ijk_to_ras @ np.diag([1.3, 0.9, 0.4, 1.0])
    write_volume(tmp_path / "scan.nii.gz", image, Geometry(image.shape, matrix))
    return tmp_path / "scan.nii.gz"


def test_importing_the_library_imports_neither_torch_nor_simpleitk():
    code = (
        "import sys, MorseCore; assert 'segment' in dir(MorseCore); "
        "sys.exit(bool({'torch', 'SimpleITK', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_other_formats_than_dicom_need_no_pydicom(scan: Path):
    code = (
        "import sys, MorseCore; MorseCore.read_image(sys.argv[1]); "
        "sys.exit('pydicom' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(scan)], check=False).returncode == 0


def test_a_choice_of_series_or_volume_belongs_to_a_file(warm: Predictor):
    for choice in ({"series": "1.2"}, {"volume": 0}):
        with pytest.raises(ImageError, match="choose from a file; this image is in memory"):
            warm.segment(np.zeros((4, 4, 4)), spacing=(1, 1, 1), **choice)


def test_a_name_that_the_library_does_not_offer_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segmnet'"):
        _ = MorseCore.segmnet


def test_on_an_oblique_scan_the_masks_are_the_command_s_voxel_by_voxel(scan: Path, tmp_path: Path):
    assert main(["segment", str(scan), "--model", MODEL, "--output", str(tmp_path / "out")]) == 0
    result = segment(scan, model=MODEL)
    for name in ("coarse", "refined", "uncertainty"):
        written = read_image(tmp_path / "out" / "scan" / f"{name}.nii.gz")
        ours = getattr(result, name)
        assert np.array_equal(ours.array, written.array), name
        assert ours.geometry.is_close(written.geometry)
    assert (np.asarray(result.refined) > 0).any()


def test_what_is_saved_is_what_the_command_writes(scan: Path, tmp_path: Path):
    assert main(["segment", str(scan), "--model", MODEL, "--output", str(tmp_path / "out")]) == 0
    folder = segment(scan, model=MODEL).save(tmp_path / "mine")
    names = {path.name for path in (tmp_path / "out" / "scan").iterdir()}
    assert {path.name for path in folder.iterdir()} == names
    for name in ("refined.nii.gz", "points.csv"):
        assert (folder / name).stat().st_size > 100
    ours, theirs = (read_image(p / "refined.nii.gz") for p in (folder, tmp_path / "out" / "scan"))
    assert np.array_equal(ours.array, theirs.array)


def test_all_kinds_of_images_give_one_answer(warm: Predictor, scan: Path):
    volume = read_image(scan)
    image = SimpleITK.ReadImage(str(scan))
    array = SimpleITK.GetArrayFromImage(image)
    expected = warm.segment(scan).refined
    answers = [
        warm.segment(str(scan)),
        warm.segment(volume),
        warm.segment(image),
        warm.segment(
            array, spacing=image.GetSpacing(), origin=image.GetOrigin(),
            direction=image.GetDirection(),
        ),
    ]  # fmt: skip
    for answer in answers:
        assert np.array_equal(answer.refined.array, expected.array)
        assert answer.refined.geometry.is_close(expected.geometry)


def test_maps_go_to_simpleitk_and_back_where_they_were(warm: Predictor, scan: Path):
    image = warm.segment(scan).refined.to_sitk()
    source = SimpleITK.ReadImage(str(scan))
    assert image.GetSize() == source.GetSize()
    assert image.GetSpacing() == pytest.approx(source.GetSpacing(), rel=1e-5)
    assert image.GetOrigin() == pytest.approx(source.GetOrigin(), abs=1e-3)
    assert image.GetDirection() == pytest.approx(source.GetDirection(), abs=1e-5)


def test_a_slice_is_segmented_as_an_array_of_two_axes():
    image, labels = make_phantom(1, shape=(32, 32))
    result = segment(image, model="phantom-tiny-2d", spacing=(1.0, 1.0), device="cpu")
    assert result.refined.array.shape == (1, 32, 32)
    assert ((result.refined.array[0] > 0) == (labels > 0)).mean() > 0.8


def test_the_field_is_asked_again_without_another_segmentation(warm: Predictor, scan: Path):
    result = warm.segment(scan)
    finer = result.render(scale=2)
    assert finer.refined.array.shape == tuple(2 * n for n in result.refined.array.shape)
    assert finer.refined.geometry.spacing == pytest.approx(
        [mm / 2 for mm in result.refined.geometry.spacing]
    )
    box = result.render(roi="ijk:4,20,4,20,4,20", points=50)
    assert box.refined.array.shape == (16, 16, 16)
    with pytest.raises(MorseError, match="not one that was rendered"):
        finer.render()


def test_a_region_and_options_are_as_on_the_command_line(warm: Predictor, scan: Path):
    result = warm.segment(scan, roi="ijk:4,24,4,24,4,24", passes=0)
    outside = np.ones(result.refined.array.shape, bool)
    outside[4:24, 4:24, 4:24] = False
    assert not result.refined.array[outside].any()
    assert len(result.points) == 0
    assert [s.name for s in result.structures] == ["ball", "rod"]
    assert result.report["parameters"]["roi"]["frame"] == "ijk"
    assert warm.info.name == MODEL


def test_folders_of_masks_are_scored_as_by_the_command(warm: Predictor, tmp_path: Path):
    image, labels = make_phantom(5, shape=(28, 28, 28))
    grid = Geometry(image.shape, np.eye(4))
    (tmp_path / "reference").mkdir()
    write_volume(tmp_path / "reference" / "a.nii.gz", labels, grid, kind="labels")
    warm.segment(Volume(image, grid, "a")).save(tmp_path / "mine" / "a")
    summary = evaluate(tmp_path / "mine", tmp_path / "reference", model=MODEL)
    assert summary["stages"]["refined"]["structures"]["1"]["dice"]["mean"] > 0.5


@pytest.mark.parametrize(
    ("image", "options", "expected", "kind"),
    [
        ("nowhere.nii.gz", {}, "There is no file or folder 'nowhere.nii.gz'", ImageError),
        (np.zeros((2, 3, 4, 5)), {"spacing": (1, 1, 1)}, "must have the axes", ImageError),
        (np.zeros((4, 4, 4)), {}, "needs its 'spacing'", ImageError),
        (np.zeros((4, 4, 4)), {"spacing": (1, 1)}, "needs its 'spacing'", ImageError),
        (np.ones((4, 4, 4)), {"spacing": (1, 0, 1)}, "spacing must be positive", GeometryError),
        ("x.nii.gz", {"spacing": (1, 1, 1)}, "belong to an array", ImageError),
        (np.ones((8, 8, 8)), {"spacing": (1, 1, 1)}, "every voxel has the value 1", ImageError),
        (np.zeros((4, 4, 4)), {"spacing": (1, 1, 1), "roi": "1,2"}, "six numbers", ConfigError),
    ],
)
def test_what_cannot_be_segmented_is_one_sentence(warm, image, options, expected, kind):
    with pytest.raises(kind, match=expected):
        warm.segment(image, **options)


def test_a_model_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"no model 'phantom-tin' \(did you mean 'phantom-tiny'"):
        segment(tmp_path / "a.nii.gz", model="phantom-tin")
