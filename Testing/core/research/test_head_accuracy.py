"""The accuracy of a whole-head model: what is done to a scan, what is counted, what is resumed."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import brain_maps
from MorseCore.errors import ConfigError, ImageError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, read_volume, write_labels, write_volume
from MorseCore.images.modelgrid import canonical_axes
from MorseCore.result import Structure
from MorseCore.store.model_folder import LocatorInfo
from MorseCore.training.monitor import Reference, WatchedCase
from Training.research.head_accuracy import (
    check_models,
    goals,
    head_table,
    map_table,
    quick_ones,
)
from Training.research.study.head_changes import CHANGES, smaller_head, thick_slices
from Training.research.study.head_trials import (
    CONTRASTS,
    MAP_CHANGES,
    HeadTrial,
    MapTrial,
    dice_by_label,
)

NAMES = list(brain_maps.STRUCTURES)


def grid(shape: tuple[int, int, int]) -> Geometry:
    matrix = np.diag([-1.0, 2.0, 1.5, 1.0])  # i runs to the left
    matrix[:3, 3] = 30, -20, 10
    return Geometry(shape, matrix)


def scan() -> tuple[Volume, np.ndarray]:
    """Noise with a block, and the block's mask."""
    brain = np.zeros((20, 24, 28), bool)
    brain[5:14, 6:20, 4:18] = True
    noise = np.random.default_rng(0).random(brain.shape).astype(np.float32)
    return Volume(100 * brain + 5 * noise, grid(brain.shape), "scan"), brain


@pytest.mark.parametrize("change", [name for name in CHANGES if name.startswith(("stored", "rot"))])
def test_labels_come_back_to_where_they_were_in_the_patient(change: str) -> None:
    volume, brain = scan()
    labels = replace(volume, array=brain.astype(np.uint8))
    changed = CHANGES[change](labels, lambda: brain)
    back, seen = changed.answer(changed.volume.array, volume.geometry)
    assert (back == brain).all()
    assert seen.all()
    if change.startswith("stored"):
        steps = np.diag(changed.volume.geometry.direction)
        assert "".join("-+"[int(s > 0)] + a for s, a in zip(steps, "RAS", strict=True)) in change


def test_eight_orders_are_told_apart_and_four_of_them_are_mirror_images() -> None:
    volume, brain = scan()
    stored = [
        CHANGES[n](volume, lambda: brain).volume.geometry for n in CHANGES if n.startswith("stored")
    ]
    flips = {canonical_axes(geometry).flip for geometry in stored}
    mirrored = [np.linalg.det(geometry.ijk_to_ras[:3, :3]) < 0 for geometry in stored]
    assert (len(flips), sum(mirrored)) == (8, 4)


def test_what_a_half_does_not_show_is_not_asked_of_it() -> None:
    volume, brain = scan()
    front = CHANGES["front half"](replace(volume, array=brain.astype(np.uint8)), lambda: brain)
    back, seen = front.answer(front.volume.array, volume.geometry)
    assert seen[:, 12:].all()  # j runs to the front
    assert not seen[:, :12].any()
    assert (back == brain * seen).all()


def test_thick_slices_are_means_and_lie_between_those_they_came_from() -> None:
    volume, _ = scan()
    thick = thick_slices(volume, 4.5)
    assert thick.geometry.spacing == pytest.approx((1.0, 2.0, 4.5))
    np.testing.assert_allclose(thick.array[0], volume.array[:3].mean(axis=0), rtol=1e-5)
    assert thick.geometry.to_world(np.zeros(3))[2] == pytest.approx(10 + 1.5)


def test_a_stripped_head_keeps_its_brain_and_a_smaller_one_its_shape() -> None:
    volume, brain = scan()
    stripped = CHANGES["skull-stripped"](volume, lambda: brain).volume.array
    assert (stripped[brain] == volume.array[brain]).all()
    assert stripped[0, 0, 0] == 0
    small = smaller_head(volume.geometry, 0.5)
    assert small.spacing == pytest.approx((0.5, 1.0, 0.75))


def test_dice_is_known_by_hand() -> None:
    mine, other = np.array([1, 1, 2, 0]), np.array([1, 2, 2, 0])
    assert dice_by_label(mine, other, 4) == [pytest.approx(2 / 3, abs=1e-4)] * 2 + [1.0]


class Oracle:
    """Answers with what is drawn, or with its mirror image."""

    def __init__(self, answer: np.ndarray, locator: LocatorInfo) -> None:
        structures = [Structure(n, name, (1, 0, 0)) for n, name in enumerate(NAMES, 1)]
        self.answer = answer
        self.info = SimpleNamespace(
            name="oracle",
            structures=structures,
            locator=locator,
            sha256="0",
            training={},
            result_structures=lambda: structures,
        )

    def segment(self, volume: Volume) -> SimpleNamespace:
        if self.answer is None:
            raise ImageError("found no head")
        report = {"seconds": {"network": 1.0}, "found": {"agreement": 0.9}}
        coarse = np.where(self.answer == 1, 0, self.answer)  # rendering finds the first structure
        return SimpleNamespace(coarse=coarse, refined=self.answer, report=report)


CORES = LocatorInfo("oracle", ("Left core", "Right core"), margin=1.0)


def drawn(tmp_path: Path) -> tuple[MapTrial, np.ndarray]:
    """A trial, and the classes on the grid of its scan."""
    path = brain_maps.save_map(tmp_path / "map.nii.gz", brain_maps.head())
    table = brain_maps.table()
    classes = np.asarray(table.classes, np.uint8)
    return MapTrial("map", path, "T1", "1 mm"), classes[
        np.searchsorted(table.values, brain_maps.head())
    ]


def test_an_answer_that_is_right_scores_one_and_holds_its_boxes(tmp_path: Path) -> None:
    trial, truth = drawn(tmp_path)
    oracle = Oracle(truth, CORES)
    found = trial.measure(oracle, oracle, brain_maps.table())
    assert found["refined"]["mean"] == 1.0
    assert found["coarse"] == found["refined"] | {"Left part": 0.0, "mean": 0.8}
    assert found["boxes"] == {"Left core": 1.0, "Right core": 1.0}
    assert found["exchanged"] == []
    rows = {row[0]: row[-1] for row in goals({trial: found}, {}, NAMES)}
    assert rows["generated, 1 mm, mean DSC"] == "yes"
    assert rows["structures that rendering makes better (1 mm)"] == "no"  # one of five
    assert rows["structures on the wrong side"] == "yes"
    assert rows["share of a structure in its box, each"] == "yes"
    assert "1.000" in "\n".join(map_table({trial: found}))


def test_sides_that_are_exchanged_are_counted(tmp_path: Path) -> None:
    trial, truth = drawn(tmp_path)
    swap = np.array([0, 2, 1, 4, 3, 5], np.uint8)
    wrong = Oracle(swap[truth], CORES)
    found = trial.measure(wrong, wrong, brain_maps.table())
    assert found["exchanged"] == ["Left part", "Right part", "Left core", "Right core"]
    assert found["boxes"]["Left core"] == 0.0
    rows = {row[0]: row[1:] for row in goals({trial: found}, {}, NAMES)}
    assert rows["structures on the wrong side"] == ["0", "4", "no"]


def test_a_refusal_is_an_answer(tmp_path: Path) -> None:
    trial, _ = drawn(tmp_path)
    found = trial.measure(Oracle(None, CORES), Oracle(None, CORES), brain_maps.table())
    assert found == {"refused": "found no head"}
    assert "1 of 1" in "\n".join(map_table({trial: found}))


def test_a_real_head_is_compared_with_references_and_with_itself(tmp_path: Path) -> None:
    _, truth = drawn(tmp_path)
    geometry = Geometry(truth.shape, np.eye(4))
    image = np.random.default_rng(0).random(truth.shape).astype(np.float32)
    write_volume(tmp_path / "head.nii.gz", image, geometry)
    write_labels(tmp_path / "other.nii.gz", (truth == 3).astype(np.uint8), geometry)
    reference = Reference("other", str(tmp_path / "other.nii.gz"), {"1": ("Left core",)})
    watched = WatchedCase("h", str(tmp_path / "head.nii.gz"), (reference,))
    oracle = Oracle(truth, CORES)
    write_labels(tmp_path / "h.nii.gz", truth, geometry)
    assert read_volume(tmp_path / "h.nii.gz").array.max() == 5
    trial = HeadTrial(watched, "gamma", tmp_path)
    found = trial.measure(oracle, oracle, brain_maps.table())
    assert found["references"]["other"] == {"Left core": 1.0, "mean": 1.0}
    assert found["with original"]["mean"] == 1.0
    assert "| h | gamma | 1.000 | 1.000 | 0 | 0.900 |" in head_table({trial: found})
    json.dumps(found)


def test_models_and_maps_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    _, truth = drawn(tmp_path)
    oracle = Oracle(truth, CORES)
    check_models(oracle, oracle, brain_maps.table())
    other = Oracle(truth, replace(CORES, model="another"))
    with pytest.raises(ConfigError, match="does not get its boxes from 'oracle'"):
        check_models(oracle, other, brain_maps.table())
    oracle.info.structures = oracle.info.structures[1:]
    with pytest.raises(ConfigError, match="are not those of the configuration"):
        check_models(oracle, oracle, brain_maps.table())


def test_the_quick_selection_has_one_map_and_all_that_is_done_to_one_head(tmp_path: Path) -> None:
    heads = [WatchedCase(name, "", ()) for name in "ab"]
    trials = [HeadTrial(head, change, tmp_path) for head in heads for change in CHANGES]
    trials += [MapTrial(m, tmp_path, c, s) for m in "xy" for c in CONTRASTS for s in MAP_CHANGES]
    chosen = [trial.name for trial in quick_ones(trials)]
    assert chosen[0] == "head a original"
    assert chosen[1 : 1 + len(CHANGES)] == [f"head b {change}" for change in CHANGES]
    assert len(chosen) == 1 + len(CHANGES) + len(CONTRASTS) * len(MAP_CHANGES)
    assert all(name.startswith("map x") for name in chosen[1 + len(CHANGES) :])
