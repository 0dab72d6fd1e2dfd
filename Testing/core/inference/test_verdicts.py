"""Every result comes with a verdict, which never changes a mask and never asks twice."""

from dataclasses import replace

import numpy as np
import pytest

from cli_client import phantom_volume
from MorseCore.config import encode
from MorseCore.errors import ConfigError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.roi import Roi
from MorseCore.inference import checking, locator, predictor
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.quality.thresholds import Threshold, VerdictInfo
from MorseCore.result import Segmentation
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import ModelInfo

MIRRORED = {"config": {"augmentation": {"mirror_axes": [2]}}}


@pytest.fixture(scope="module")
def phantom() -> VolumePredictor:
    return VolumePredictor(find_model("phantom-tiny"), device="cpu")


def changed(predictor: VolumePredictor, **values: object) -> VolumePredictor:
    """The same network under another ``model.json``."""
    other = object.__new__(VolumePredictor)
    vars(other).update(vars(predictor))
    other.info = replace(predictor.info, **values)
    return other


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gets a word for each coarse pass beside the segmentation itself."""
    made: list[str] = []

    def counted(network, image, info, **rest):
        made.append(type(image).__name__)
        return original(network, image, info, **rest)

    original = locator.label_coarsely
    for module in (locator, checking, predictor):
        monkeypatch.setattr(module, "label_coarsely", counted)
    return made


def values(result: Segmentation, signal: str) -> dict[str, float]:
    return result.report["verdict"]["signals"].get(signal, {})


def test_a_verdict_changes_no_mask(phantom: VolumePredictor) -> None:
    results = [
        phantom.segment(phantom_volume(), PredictOptions(verdict=how))
        for how in ("off", "fast", "full")
    ]
    assert "verdict" not in results[0].report
    for result in results[1:]:
        assert result.report["verdict"]["level"] == "ok"
        for name in ("coarse", "refined", "uncertainty"):
            np.testing.assert_array_equal(getattr(result, name), getattr(results[0], name))


def test_volumes_are_those_of_the_mask_that_a_person_gets(phantom: VolumePredictor) -> None:
    result = phantom.segment(phantom_volume(matrix=np.diag([1.0, 1.0, 2.0, 1.0])))
    for row in result.report["structures"]:
        assert values(result, "volume")[row["name"]] == pytest.approx(row["refined_ml"])


def test_a_model_without_limits_says_what_was_not_checked(phantom: VolumePredictor) -> None:
    assert phantom.info.verdict is None
    verdict = phantom.segment(phantom_volume()).report["verdict"]
    assert {"volume", "agreement", "attention"} <= {*verdict["not_checked"]}
    assert "contact" not in verdict["not_checked"]  # which needs no fit


def test_fast_takes_one_pass_where_the_model_knows_a_mirror(
    phantom: VolumePredictor, passes: list[str]
) -> None:
    phantom = changed(phantom, training={})
    phantom.segment(phantom_volume())
    assert passes == []
    result = changed(phantom, training=MIRRORED).segment(phantom_volume())
    assert passes == ["_Mirrored"]
    assert 0.7 < values(result, "agreement")["ball"] <= 1
    assert not values(result, "stability")


def test_full_takes_four_more_and_off_none(phantom: VolumePredictor, passes: list[str]) -> None:
    phantom = changed(phantom, training=MIRRORED)
    phantom.segment(phantom_volume(), PredictOptions(verdict="off"))
    assert passes == []
    result = phantom.segment(phantom_volume(), PredictOptions(verdict="full"))
    assert len(passes) == 5
    for name, value in values(result, "stability").items():
        assert value <= values(result, "agreement")[name]


def test_the_slices_in_which_passes_differ_most_come_with_the_result(
    phantom: VolumePredictor,
) -> None:
    phantom = changed(phantom, training=MIRRORED)
    assert phantom.segment(phantom_volume(), PredictOptions(verdict="off")).disputed == ()
    found = {how: phantom.segment(phantom_volume(), PredictOptions(verdict=how)).disputed
             for how in ("fast", "full")}  # fmt: skip
    differs = {
        how: [np.count_nonzero(item.coarse != item.other) for item in items]
        for how, items in found.items()
    }
    assert [item.geometry.shape.index(1) for item in found["fast"]] == [0, 1, 2]
    assert min(differs["fast"]) > 0
    for item in found["fast"]:
        assert item.image.shape == item.coarse.shape == item.other.shape == item.geometry.shape
    assert sum(differs["full"]) >= sum(differs["fast"])  # that of the pass which differs most


def test_the_slice_of_a_known_difference_is_found() -> None:
    import torch

    labels = np.zeros((6, 7, 8), np.int16)
    other = labels.copy()
    other[4, 1:3, 2:7] = 1
    other[2, 5, 5] = 1
    grid = Geometry((6, 7, 8), np.diag([1.0, 2.0, 3.0, 1.0]))
    found = checking.disputed_slices(torch.rand(6, 7, 8), labels, other, grid)
    places = [item.geometry.to_world(np.zeros((1, 3)))[0].tolist() for item in found]
    assert places == [[0, 0, 12], [0, 2, 0], [5, 0, 0]]
    assert checking.disputed_slices(torch.rand(6, 7, 8), labels, labels, grid) == ()
    flat = checking.disputed_slices(
        torch.rand(1, 7, 8), labels[:1], other[4:5], grid.crop((0, 0, 0), (1, 7, 8))
    )
    assert [item.geometry.shape for item in flat] == [(1, 7, 8)]


def test_the_mirror_image_is_read_part_by_part_as_it_is_as_a_whole() -> None:
    import torch

    image = torch.rand(4, 5, 7)
    mirrored = locator._Mirrored(image)
    flipped = image.flip(-1)
    assert torch.equal(mirrored[1:3, :, 2:6], flipped[1:3, :, 2:6])
    assert torch.equal(mirrored[:, :, :], flipped)
    assert torch.equal(mirrored[2:4], flipped[2:4])
    assert torch.equal(mirrored[2], flipped[2])


def test_a_symmetrical_answer_agrees_and_a_lopsided_one_does_not(
    phantom: VolumePredictor,
) -> None:
    phantom = changed(phantom, training=MIRRORED)
    good = values(phantom.segment(phantom_volume()), "agreement")[""]
    noise = np.random.default_rng(0).normal(0, 1, (24, 24, 24)).astype(np.float32)
    bad = values(phantom.segment(replace(phantom_volume(), array=noise)), "agreement")[""]
    assert good > 0.8 > bad


def limited(predictor: VolumePredictor, *limits: Threshold) -> VolumePredictor:
    return changed(predictor, verdict=VerdictInfo(limits), format=2)


def test_the_models_own_limits_judge(phantom: VolumePredictor) -> None:
    volume = values(phantom.segment(phantom_volume()), "volume")["ball"]
    fits = Threshold("volume", "ball", volume, (0.5 * volume, 2 * volume), (0.1, 100.0))
    small = Threshold("volume", "ball", 3 * volume, (2 * volume, 9e9), (volume * 1.5, None))
    assert limited(phantom, fits).segment(phantom_volume()).report["verdict"]["level"] == "ok"
    verdict = limited(phantom, small).segment(phantom_volume()).report["verdict"]
    assert verdict["level"] == "implausible"
    assert verdict["structures"] == {"ball": "implausible", "rod": "ok"}
    assert verdict["reasons"][0]["words"].startswith("The volume of ball is")


def test_a_box_through_a_structure_is_a_reason_to_look(phantom: VolumePredictor) -> None:
    volume = phantom_volume()
    whole = phantom.segment(volume).refined == 1
    middle = float(np.argwhere(whole)[:, 2].mean().round())
    roi = Roi((0.0, 0.0, 0.0), (middle, 24.0, 24.0), "ijk")
    verdict = phantom.segment(volume, PredictOptions(roi=roi)).report["verdict"]
    assert verdict["level"] == "check"
    assert "contact" in {reason["signal"] for reason in verdict["reasons"]}


def test_a_finer_mask_is_cut_where_the_box_is(phantom: VolumePredictor) -> None:
    whole = phantom.segment(phantom_volume(), PredictOptions(scale=2))
    assert max(values(whole, "contact").values()) == 0
    assert values(whole, "volume")["ball"] == pytest.approx(
        values(phantom.segment(phantom_volume()), "volume")["ball"], rel=0.1
    )


def test_another_modality_is_implausible_by_its_header_or_its_values(
    phantom: VolumePredictor,
) -> None:
    mr = changed(phantom, modality="MR")
    scan = phantom_volume()
    assert mr.segment(scan).report["verdict"]["level"] == "ok"
    by_header = mr.segment(replace(scan, modality="CT")).report["verdict"]
    assert by_header["level"] == "implausible"
    assert "The image is CT" in by_header["reasons"][0]["words"]
    array = np.where(scan.array < np.median(scan.array), -1000, 40 * scan.array).astype(np.float32)
    by_value = mr.segment(replace(scan, array=array)).report["verdict"]
    assert "values look like a CT's" in by_value["reasons"][0]["words"]


def test_thick_slices_are_a_reason_to_look(phantom: VolumePredictor) -> None:
    scan = phantom_volume()
    thick = Volume(scan.array, replace(scan.geometry), "thick")
    matrix = np.diag([1.0, 1.0, 2.5, 1.0])
    thick = replace(thick, geometry=type(scan.geometry)(scan.geometry.shape, matrix))
    verdict = phantom.segment(thick).report["verdict"]
    assert "thickness" in {reason["signal"] for reason in verdict["reasons"]}


def test_thick_slices_are_doubtful_unless_the_training_generated_them(
    phantom: VolumePredictor,
) -> None:
    for data, is_doubtful in (
        ({"source": "images", "generated_share": 0.0}, True),
        ({"source": "images", "generated_share": 0.5}, False),
        ({"source": "generated"}, False),
    ):
        config = {"data": data, "generation": {}}  # which every configuration has
        info = replace(phantom.info, training={"config": config})
        signals = {threshold.signal for threshold in checking.thresholds_of(info)}
        assert ("thickness" in signals) is is_doubtful


def test_an_empty_mask_is_implausible(phantom: VolumePredictor) -> None:
    result = phantom.segment(phantom_volume())
    empty = replace(result, refined=np.zeros_like(result.refined))
    [reason] = checking._emptiness(empty)
    assert (reason.level, reason.words) == ("implausible", "Nothing was found: the mask is empty.")
    assert checking._emptiness(result) == []


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="fast, full, off; found 'slow'"):
        PredictOptions(verdict="slow")


def test_mirror_labels_are_swapped_where_they_have_sides(phantom: VolumePredictor) -> None:
    info: ModelInfo = phantom.info
    left, right = (
        replace(item, name=f"{side} ball")
        for side, item in zip(("Left", "Right"), info.structures, strict=True)
    )
    assert checking.mirror_of(replace(info, structures=(left, right))).tolist() == [0, 2, 1]
    assert checking.mirror_of(replace(info, training=MIRRORED)).tolist() == [0, 1, 2]
    assert checking.mirror_of(replace(info, training={})) is None
    assert encode(info)["verdict"] is None


def test_a_model_whose_training_swapped_the_labels_swaps_them_in_its_mirror_pass(
    phantom: VolumePredictor,
) -> None:
    pair = [item.name for item in phantom.info.structures]
    swapping = {"augmentation": {"mirror_axes": [2], "mirror_pairs": [["a", "b"]]}}
    renamed = {"a": {"name": pair[0]}, "b": {"name": pair[1]}}
    for config, expected in (
        (swapping | {"card": {"structures": renamed}}, [0, 2, 1]),
        (swapping, None),  # somebody renamed the model's structures
    ):
        found = checking.mirror_of(replace(phantom.info, training={"config": config}))
        assert (found if found is None else found.tolist()) == expected


def test_the_brains_mirror_image_is_seen_once(
    brain_head: tuple[VolumePredictor, Volume], passes: list[str]
) -> None:
    result = brain_head[0].segment(brain_head[1])
    # A first pass finds the window; the mirror image's pass serves refusal and verdict.
    assert [name for name in passes if name == "_Mirrored"] == ["_Mirrored"]
    assert len(passes) <= 2
    found = result.report["found"]["agreement"]
    assert values(result, "agreement")[""] == pytest.approx(found, abs=1e-4)


@pytest.fixture(scope="module")
def brain_head() -> tuple[VolumePredictor, Volume]:
    from pathlib import Path

    import MorseCore
    from MorseCore.images.imageio import read_volume

    head = read_volume(Path(MorseCore.__file__).parent / "samples" / "head-t1.nii.gz")
    return VolumePredictor(find_model("brain-mr"), device="cpu"), head
