"""One click on a whole head: it is found, both hippocampi are, and what is no head is refused."""

from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import MorseCore
from cli_client import CommandLine, read_report
from MorseCore.errors import Cancelled, ImageError, ModelError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume, write_volume
from MorseCore.images.modelgrid import AxisMap
from MorseCore.images.roi import Roi, roi_to_box
from MorseCore.inference.options import PredictOptions, RunMonitor
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.two_sides import merge_sides, sided_structures
from MorseCore.inference.whole_scan import finder_of, open_session
from MorseCore.result import Segmentation
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import LocatorInfo

HEAD = Path(MorseCore.__file__).parent / "samples" / "head-t1.nii.gz"


@pytest.fixture(scope="module")
def head() -> Volume:
    """A T1 head at 1 mm that comes with MorseCore."""
    return read_volume(HEAD)


@pytest.fixture(scope="module")
def brain() -> VolumePredictor:
    return VolumePredictor(find_model("brain-mr"), device="cpu")


@pytest.fixture(scope="module")
def hippocampus() -> VolumePredictor:
    return VolumePredictor(find_model("hippocampus-t1"), device="cpu")


@pytest.fixture(scope="module")
def both(hippocampus: VolumePredictor, head: Volume) -> tuple[object, Segmentation]:
    """The session and the result of both hippocampi."""
    session = open_session(hippocampus, head, PredictOptions())
    return session, session.segment()


def centre(result: Segmentation, value: int) -> np.ndarray:
    """Of a structure, RAS mm."""
    index = np.argwhere(result.refined == value).mean(axis=0)[::-1]
    return result.geometry.to_world(index[None])[0]


def test_both_hippocampi_are_one_result_with_sides(both: tuple[object, Segmentation]) -> None:
    result = both[1]
    names = {item.value: (item.name, item.side) for item in result.structures}
    assert names == {
        1: ("Left anterior hippocampus", "left"),
        2: ("Left posterior hippocampus", "left"),
        3: ("Right anterior hippocampus", "right"),
        4: ("Right posterior hippocampus", "right"),
    }
    for value, sign in ((1, -1), (2, -1), (3, 1), (4, 1)):
        assert np.sign(centre(result, value)[0]) == sign
    volumes = {row["name"]: row["refined_ml"] for row in result.report["structures"]}
    assert all(0.8 < ml < 3 for ml in volumes.values())
    assert centre(result, 1)[1] > centre(result, 2)[1]  # anterior lies before posterior


def test_the_report_has_boxes_totals_and_asymmetry(both: tuple[object, Segmentation]) -> None:
    report = both[1].report
    assert [r["side"] for r in report["found"]["regions"]] == ["left", "right"]
    assert report["found"]["contrast"] == "T1"
    assert report["found"]["agreement"] > 0.8
    total = report["sides"][-1]
    rows = report["structures"]
    assert total["total_ml"] == pytest.approx(sum(row["refined_ml"] for row in rows), abs=1e-3)
    left, right = total["left_ml"], total["right_ml"]
    assert total["asymmetry"] == pytest.approx(2 * (left - right) / (left + right), abs=1e-3)
    assert abs(total["asymmetry"]) < 0.2


def test_the_head_is_measured_on_the_way_to_both_hippocampi(
    both: tuple[object, Segmentation], brain: VolumePredictor, head: Volume
) -> None:
    measured = both[1].report["brain"]
    assert measured["by"] == "brain-mr"
    assert 900 < measured["brain_ml"] < measured["intracranial_ml"] < 1900
    own = brain.segment(head).report["brain"]
    for name in ("brain_ml", "intracranial_ml"):
        assert own[name] == pytest.approx(measured[name], rel=0.02)


def test_points_carry_the_labels_of_both_sides(both: tuple[object, Segmentation]) -> None:
    points = both[1].points
    assert {1, 2, 3, 4} <= {*points.refined_label.tolist()}
    right = points.refined_label > 2
    assert (points.positions[right, 0] > 0).mean() > 0.99
    assert (np.diff(points.uncertainty) <= 0).all()


def test_a_box_is_asked_again_on_the_side_where_it_lies(both: tuple[object, Segmentation]) -> None:
    session, result = both
    place = centre(result, 3)
    roi = Roi(tuple(place - 6), tuple(place + 6))
    finer = session.render(PredictOptions(roi=roi, scale=2))
    assert {*np.unique(finer.refined).tolist()} <= {0, 3, 4}
    assert (finer.refined == 3).any()
    assert finer.geometry.spacing == pytest.approx([s / 2 for s in result.geometry.spacing])
    probability, grid = session.probability(3)
    peak = np.unravel_index(probability.argmax(), probability.shape)
    assert grid.to_world(np.array([peak[::-1]], dtype=float))[0][0] > 0


def test_all_is_asked_again_on_one_grid(both: tuple[object, Segmentation]) -> None:
    session, result = both
    again = session.render(PredictOptions())
    for value in (1, 2, 3, 4):
        np.testing.assert_allclose(centre(again, value), centre(result, value), atol=0.5)
        ratio = (again.refined == value).sum() / (result.refined == value).sum()
        assert 0.97 < ratio < 1.03


def test_the_command_writes_what_the_session_says(
    command: CommandLine, both: tuple[object, Segmentation], tmp_path: Path
) -> None:
    done = command.segment(HEAD, output=tmp_path, model="hippocampus-t1", device="cpu")
    assert done.code == 0, done.err
    written = read_volume(tmp_path / "head-t1" / "refined.nii.gz").array
    np.testing.assert_array_equal(written, both[1].refined)
    labels = read_report(tmp_path / "head-t1")["labels"]
    assert [(row["value"], row["side"]) for row in labels] == [
        (1, "left"), (2, "left"), (3, "right"), (4, "right")
    ]  # fmt: skip
    reference = tmp_path / "reference"
    reference.mkdir()
    (reference / "head-t1.nii.gz").write_bytes(
        (tmp_path / "head-t1" / "refined.nii.gz").read_bytes()
    )
    scored = command(
        "evaluate", "--prediction", tmp_path, "--reference", reference, "--model", "hippocampus-t1"
    )
    assert scored.code == 0, scored.err
    assert "Right posterior hippocampus" in scored.out


def test_a_region_given_by_hand_wins(hippocampus: VolumePredictor, head: Volume) -> None:
    found = finder_of(hippocampus).find(head, (), RunMonitor())
    roi = next(region.roi for region in found.regions if region.side == "right")
    session = open_session(hippocampus, head, PredictOptions(roi=roi))
    result = session.segment()
    assert [item.value for item in result.structures] == [1, 2]
    assert "found" not in result.report
    for part in (result, session.render(PredictOptions())):
        assert [(item.name, item.side) for item in part.structures] == [
            ("Anterior hippocampus", "right"), ("Posterior hippocampus", "right")
        ]  # fmt: skip
        assert "Right" in part.structures[0].terminology


@pytest.fixture(scope="module")
def coarse(brain: VolumePredictor, head: Volume):
    return brain.coarse_map(head)[0]


STORED = [
    ((0, 1, 2), (False, False, False)), ((0, 1, 2), (True, False, False)),
    ((2, 0, 1), (False, True, True)), ((1, 2, 0), (True, True, False)),
]  # fmt: skip


@pytest.mark.parametrize(("order", "flip"), STORED)
def test_sides_are_right_in_whatever_order_the_voxels_are_stored(
    brain: VolumePredictor, head: Volume, coarse, order, flip
) -> None:
    turn = AxisMap(order, flip)
    stored = replace(
        head,
        array=np.ascontiguousarray(turn.apply(head.array)),
        geometry=turn.geometry(head.geometry),
    )
    found, _ = brain.coarse_map(stored)
    assert found.labels.shape == coarse.labels.shape
    assert (found.labels == coarse.labels).mean() > 0.999


def test_a_head_is_found_in_a_much_larger_image(
    brain: VolumePredictor, head: Volume, coarse
) -> None:
    pads = ((70, 30), (20, 60), (60, 90))  # mm of air, k j i
    array = np.pad(head.array, pads)
    start = tuple(-a for a, _ in pads)
    matrix = head.geometry.ijk_to_ras.copy()
    matrix[:3, 3] = head.geometry.to_world(np.array([start[::-1]], dtype=float))[0]
    large = replace(head, array=array, geometry=Geometry(array.shape, matrix))
    result = brain.segment(large)
    assert result.report["windows"] == 1
    assert result.report["found"]["agreement"] > 0.8
    for value in (1, 16, 20):
        mine = result.geometry.to_world(np.argwhere(result.refined == value).mean(0)[None, ::-1])
        place = coarse.grid.to_world(np.argwhere(coarse.labels == value).mean(0)[None, ::-1])
        np.testing.assert_allclose(mine, place, atol=2)
    outside = np.ones(array.shape, bool)
    outside[66:-26, 16:-56, 56:-86] = False  # the brain reaches to the head's faces
    beyond = result.refined[outside]
    assert (beyond > 0).sum() < 3000  # 3 ml, of the brain stem, which the image's lower face cuts
    assert ((beyond > 0) & (beyond != 16)).sum() < 100


def noise(head: Volume) -> np.ndarray:
    return np.random.default_rng(0).normal(100, 30, head.array.shape).astype(np.float32)


def water(head: Volume) -> np.ndarray:
    """A ball of water in a shell."""
    k, j, i = np.ogrid[: head.array.shape[0], : head.array.shape[1], : head.array.shape[2]]
    r = np.sqrt((k - 75.0) ** 2 + (j - 94.0) ** 2 + (i - 77.0) ** 2)
    rng = np.random.default_rng(1)
    return np.where(r < 60, 200, np.where(r < 66, 40, 0)) + rng.normal(0, 5, head.array.shape)


def upside_down(head: Volume) -> np.ndarray:
    return head.array[::-1]


@pytest.mark.parametrize("make", [noise, water, upside_down])
def test_what_is_no_head_is_refused_in_one_sentence(
    brain: VolumePredictor, hippocampus: VolumePredictor, head: Volume, make
) -> None:
    wrong = replace(head, array=np.ascontiguousarray(make(head), dtype=np.float32), source="x.nii")
    with pytest.raises(ImageError, match=r"'brain-mr' found no head in x\.nii"):
        brain.segment(wrong)
    with pytest.raises(ImageError, match=r"found no head in x\.nii.*--accept nothing-found"):
        open_session(hippocampus, wrong, PredictOptions()).segment()


def test_a_person_may_have_nonsense_knowingly(brain: VolumePredictor, head: Volume) -> None:
    wrong = replace(head, array=np.ascontiguousarray(upside_down(head)))
    result = brain.segment(wrong, PredictOptions(accept=("nothing-found",)))
    assert any("accepted: nothing-found" in text for text in result.report["warnings"])


def test_a_t1_model_is_not_run_on_another_contrast(
    hippocampus: VolumePredictor, head: Volume
) -> None:
    inside = head.array > 20
    array = np.where(inside, 255 - head.array.astype(np.float32), head.array).astype(np.float32)
    inverted = replace(head, array=array, source="t2.nii")
    with pytest.raises(ImageError, match=r"trained on T1-weighted MR.*--accept contrast"):
        open_session(hippocampus, inverted, PredictOptions()).segment()
    accepted = PredictOptions(accept=("contrast",))
    result = open_session(hippocampus, inverted, accepted).segment()
    assert any("accepted: contrast" in text for text in result.report["warnings"])


def test_without_the_finding_model_the_message_says_what_to_install(
    hippocampus: VolumePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    locator = replace(hippocampus.info.locator, model="head-finder")
    lonely = VolumePredictor(find_model("hippocampus-t1"), device="cpu")
    lonely.info = replace(lonely.info, locator=locator)
    with pytest.raises(ModelError, match=r"'head-finder'.*import.*or give a region"):
        finder_of(lonely)


def test_an_image_as_large_as_the_training_images_is_a_region_itself(
    hippocampus: VolumePredictor, head: Volume
) -> None:
    """Nobody finds a head in a crop around one hippocampus."""
    found = finder_of(hippocampus).find(head, (), RunMonitor())
    start, stop = roi_to_box(found.regions[0].roi, head.geometry)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    crop = replace(head, array=head.array[box], geometry=head.geometry.crop(start, stop))
    result = open_session(hippocampus, crop, PredictOptions()).segment()
    assert [item.side for item in result.structures] == ["", ""]
    assert "found" not in result.report
    whole = open_session(hippocampus, head, PredictOptions(roi=found.regions[0].roi)).segment()
    np.testing.assert_array_equal(result.refined, whole.refined[box])


def test_a_whole_head_is_segmented_on_a_finer_grid_too(
    brain: VolumePredictor, head: Volume
) -> None:
    matrix = head.geometry.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    array = np.ascontiguousarray(head.array[::2, ::2, ::2])
    coarse_head = replace(head, array=array, geometry=Geometry(array.shape, matrix))
    result = brain.segment(coarse_head, PredictOptions(scale=2))
    assert result.refined.shape == tuple(2 * n for n in array.shape)
    assert result.report["found"]["agreement"] > 0.8


def test_a_locator_of_one_structure_without_a_side_gives_the_models_own_labels(
    head: Volume,
) -> None:
    stem = VolumePredictor(find_model("hippocampus-t1"), device="cpu")
    stem.info = replace(
        stem.info, locator=LocatorInfo("brain-mr", ("Brain stem",), margin=2.0), contrast=None
    )
    session = open_session(stem, head, PredictOptions())
    result = session.segment()
    assert [item.value for item in result.structures] == [1, 2]
    assert result.report["found"]["regions"][0]["name"] == "Brain stem"
    again = session.render(PredictOptions(passes=0))
    assert [item.value for item in again.structures] == [1, 2]


def test_a_locator_of_structures_that_are_no_pair_is_refused() -> None:
    odd = VolumePredictor(find_model("hippocampus-t1"), device="cpu")
    odd.info = replace(odd.info, locator=LocatorInfo("brain-mr", ("Brain stem", "Left thalamus")))
    with pytest.raises(ModelError, match="a left and a right one; found Brain stem, Left thalamus"):
        finder_of(odd)


def test_a_side_that_is_not_there_is_said(hippocampus: VolumePredictor, head: Volume) -> None:
    found = finder_of(hippocampus)
    labels, notes = found._predictor.coarse_map(head)
    right = found._values["Right hippocampus"]
    without = replace(labels, labels=np.where(labels.labels == right, 0, labels.labels))
    one = copy(found)
    one._predictor = SimpleNamespace(
        coarse_map=lambda *_, **__: (without, notes), info=found._predictor.info
    )
    result = one.find(head, (), RunMonitor())
    assert [region.side for region in result.regions] == ["left"]
    assert "'brain-mr' found no Right hippocampus." in result.notes


def test_finding_can_be_stopped(hippocampus: VolumePredictor, head: Volume) -> None:
    session = open_session(hippocampus, head, PredictOptions())
    with pytest.raises(Cancelled):
        session.segment(should_stop=lambda: True)


def test_where_both_sides_claim_a_voxel_the_surer_one_has_it(hippocampus: VolumePredictor) -> None:
    structures = hippocampus.info.result_structures()
    grid = Geometry((1, 1, 3), np.eye(4))

    def one_side(labels: list[int], uncertainty: list[float]) -> Segmentation:
        array = np.array(labels, np.uint8).reshape(1, 1, 3)
        from MorseCore.result import RenderedPoints

        report = {
            "points": {"evaluated": 1}, "windows": 1, "parameters": {"roi": None},
            "structures": [
                {"value": n, "coarse_probability_ml": n + max(uncertainty),
                 "refined_probability_ml": 2.0}
                for n in (1, 2)
            ],
        }  # fmt: skip
        return Segmentation(
            grid, structures, array, array, np.array(uncertainty, np.float32).reshape(1, 1, 3),
            RenderedPoints.empty(), report,
        )  # fmt: skip

    merged = merge_sides(
        {"left": one_side([1, 1, 0], [0.1, 0.9, 0.0]), "right": one_side([0, 2, 2], [0, 0.2, 0.1])},
        structures,
    )
    assert merged.refined.ravel().tolist() == [1, 4, 4]
    assert merged.report["windows"] == 2
    sums = [row["coarse_probability_ml"] for row in merged.report["structures"]]
    assert sums == [1.9, 2.9, 1.2, 2.2]  # each side's own
    assert len(sided_structures(structures)) == 4


def test_without_a_model_the_command_takes_the_brains_and_says_so(
    command: CommandLine, head: Volume, tmp_path: Path
) -> None:
    small = write_small(tmp_path / "scans" / "a.nii.gz", head)
    done = command("segment", small, "--device", "cpu")
    assert done.code == 0, done.err
    assert "no --model given: 'brain-mr'" in done.err
    folder = tmp_path / "scans" / "segmentations" / "a"
    assert read_report(folder)["model"]["name"] == "brain-mr"
    report = read_report(folder)
    assert len(report["structures"]) == 32
    assert {row["name"]: row["freesurfer"] for row in report["labels"]}["Right hippocampus"] == 53
    mask, labels = (read_volume(folder / f"{n}.nii.gz").array for n in ("brain", "freesurfer"))
    assert ((labels > 0) & (labels != 24) == (mask == 1)).all()
    voxel = 8 / 1000
    assert report["brain"]["brain_ml"] == pytest.approx(mask.sum() * voxel, rel=0.01)
    assert report["brain"]["intracranial_ml"] == pytest.approx((labels > 0).sum() * voxel, rel=0.01)


def write_small(path: Path, head: Volume) -> Path:
    """The head at 2 mm, which is quick."""
    path.parent.mkdir(parents=True)
    matrix = head.geometry.ijk_to_ras @ np.diag([2.0, 2.0, 2.0, 1.0])
    array = head.array[::2, ::2, ::2].astype(np.float32)
    write_volume(path, array, Geometry(array.shape, matrix))
    return path
