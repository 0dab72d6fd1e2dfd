"""Results of all frames of a sequence: nodes that follow the sequence's browser."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from MorseCore.errors import MorseError
from MorseCore.result import Segmentation
from MorseCore.system.steps import finished
from MorseSegmentLib.logic.inputs import readVolume
from MorseSegmentLib.logic.jobs import AllFrames
from MorseSegmentLib.logic.sequences import SequenceFrames, findSequence
from MorseSegmentLib.scene.masks import masksInSteps
from MorseSegmentLib.scene.pointtable import PointTable
from MorseSegmentLib.scene.record import SceneResult, findResults, readRecord
from MorseSegmentLib.scene.result import SceneWriter
from MorseSegmentLib.scene.review import Review
from MorseSegmentLib.scene.watch import MaskWatch


@pytest.fixture
def frames(a_scene: Any, a_moving_volume: Any) -> SequenceFrames:
    found = findSequence(a_scene, a_moving_volume)
    assert found is not None
    return found


def result_of(number: int, a_result: Segmentation) -> Segmentation:
    """Of a frame: as many slices of the refined mask as its number says are one structure."""
    refined = np.zeros_like(a_result.refined)
    refined[: number + 1] = 1
    points = a_result.points.take(np.arange(number, 5))
    uncertainty = np.full_like(a_result.uncertainty, number / 10)
    return replace(
        a_result, refined=refined, points=points, uncertainty=uncertainty, report={"frame": number}
    )


@pytest.fixture
def job(a_scene: Any, frames: SequenceFrames, a_moving_volume: Any) -> AllFrames:
    return AllFrames(a_scene, frames, a_moving_volume)


def test_every_frame_is_of_the_modality_of_the_volume_that_shows_it(
    a_scene: Any, frames: SequenceFrames, a_moving_volume: Any
) -> None:
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(a_scene)
    item = tree.CreateItem(tree.GetSceneItemID(), a_moving_volume)
    tree.SetItemAttribute(item, "DICOM.Modality", "MR")
    job = AllFrames(a_scene, frames, a_moving_volume)
    assert [job.read(number).modality for number in range(job.count)] == ["MR"] * 3


@pytest.fixture
def shown(job: AllFrames, a_result: Segmentation) -> SceneResult:
    for number in range(job.count):
        finished(job.takeInSteps(number, result_of(number, a_result)))
    return finished(job.finishInSteps())


def content(scene: Any) -> list[str]:
    return sorted(scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes()))


def seen(scene: Any, shown: SceneResult) -> dict[str, float]:
    """What the scene says of the frame that is selected."""
    masks = finished(masksInSteps(scene, shown))
    node = scene.GetNodeByID
    return {
        "slices": int((masks.refined == 1).any(axis=(1, 2)).sum()),
        "points": len(PointTable.read(node(shown.pointTable))),
        "markups": sum(node(i).GetNumberOfControlPoints() for i in shown.points),
        "uncertainty": round(float(slicer.util.arrayFromVolume(node(shown.uncertainty)).max()), 3),
        "record": readRecord(scene, shown).report["frame"],
    }


EXPECTED = [
    {"slices": 1, "points": 5, "markups": 5, "uncertainty": 0.0, "record": 0},
    {"slices": 2, "points": 4, "markups": 4, "uncertainty": 0.1, "record": 1},
    {"slices": 3, "points": 3, "markups": 3, "uncertainty": 0.2, "record": 2},
]


def test_masks_points_uncertainty_and_record_move_with_the_browser(
    a_scene: Any, shown: SceneResult, frames: SequenceFrames
) -> None:
    assert findResults(a_scene) == [shown]
    assert seen(a_scene, shown) == EXPECTED[1], "the frame that was seen all along"
    for number in (2, 0, 1):
        frames.show(number)
        assert seen(a_scene, shown) == EXPECTED[number]


def test_all_frames_survive_save_and_reload(
    a_scene: Any, shown: SceneResult, tmp_path: Path
) -> None:
    nodes = len(content(a_scene))
    assert a_scene.WriteToMRB(str(tmp_path / "heart.mrb"))
    a_scene.Clear(False)
    assert a_scene.ReadFromMRB(str(tmp_path / "heart.mrb"))
    (again,) = findResults(a_scene)
    volume = a_scene.GetNodeByID(readRecord(a_scene, again).input)
    sequence = findSequence(a_scene, volume)
    assert sequence is not None
    for number in (0, 2, 1):
        sequence.show(number)
        assert seen(a_scene, again) == EXPECTED[number]
    storage = {n for n in content(a_scene) if "Storage" in n}
    assert len(content(a_scene)) - len(storage) <= nodes, "no node came twice"


def test_a_mask_edited_in_one_frame_is_so_when_one_comes_back_to_it(
    a_scene: Any, shown: SceneResult, frames: SequenceFrames, a_moving_volume: Any
) -> None:
    one = np.zeros(readVolume(a_moving_volume).array.shape, np.uint8)
    one[-1] = 1
    refined = a_scene.GetNodeByID(shown.refined)
    slicer.util.updateSegmentBinaryLabelmapFromArray(one, refined, "Head", a_moving_volume)
    Review(a_scene, shown).setState(0, "flagged")
    frames.show(2)
    assert seen(a_scene, shown) == EXPECTED[2]
    assert Review(a_scene, shown).state(0) == "undecided"
    frames.show(1)
    assert seen(a_scene, shown)["slices"] == 1
    assert Review(a_scene, shown).state(0) == "flagged"


def test_nothing_is_in_the_scene_before_the_last_frame_is_done(
    a_scene: Any, job: AllFrames, a_result: Segmentation
) -> None:
    before = content(a_scene)
    finished(job.takeInSteps(0, a_result))
    finished(job.takeInSteps(1, a_result))
    assert content(a_scene) == before


def test_a_frame_is_taken_segment_by_segment_and_node_by_node(
    job: AllFrames, a_result: Segmentation
) -> None:
    before = content(job._workshop)
    counts = [len(content(job._workshop)) for _ in job.takeInSteps(0, a_result)]
    assert len(counts) > 2 * len(a_result.structures) + 5
    assert max(abs(b - a) for a, b in itertools.pairwise(counts)) <= 4, "with what belongs to it"
    assert content(job._workshop) == before


def test_a_failure_at_the_end_leaves_the_scene_as_it_was(
    a_scene: Any, job: AllFrames, a_result: Segmentation, frames: SequenceFrames,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for number in range(job.count):
        finished(job.takeInSteps(number, result_of(number, a_result)))
    before = content(a_scene)

    def fails(*_arguments: object) -> None:
        if len(content(a_scene)) > len(before) + 20:
            raise OSError("no more")

    monkeypatch.setattr("MorseSegmentLib.logic.jobs.addExtra", fails)
    with pytest.raises(OSError, match="no more"):
        finished(job.finishInSteps())
    assert content(a_scene) == before
    frames.show(0)
    assert content(a_scene) == before


def test_a_sequence_that_went_or_changed_takes_no_result(
    a_scene: Any, job: AllFrames, a_result: Segmentation, frames: SequenceFrames
) -> None:
    assert job.isInScene()
    for number in range(job.count):
        finished(job.takeInSteps(number, a_result))
    frames.sequence.RemoveDataNodeAtValue("0.0")
    assert not job.isInScene()
    with pytest.raises(MorseError, match="no longer in the scene"):
        finished(job.finishInSteps())


def test_removing_the_result_leaves_the_input_sequence_alone(
    a_scene: Any, job: AllFrames, a_result: Segmentation, frames: SequenceFrames,
    a_moving_volume: Any,
) -> None:  # fmt: skip
    before = content(a_scene)
    for number in range(job.count):
        finished(job.takeInSteps(number, result_of(number, a_result)))
    SceneWriter(a_scene).remove(finished(job.finishInSteps()))
    frames.show(0)
    assert content(a_scene) == before
    assert readVolume(a_moving_volume).array.max() == 0


def test_a_watch_notices_that_the_browser_moved(
    a_scene: Any, shown: SceneResult, frames: SequenceFrames
) -> None:
    heard: list[int] = []
    watch = MaskWatch(a_scene, lambda: heard.append(1))
    watch.look(shown)
    before = watch.stamp()
    frames.show(2)
    assert heard
    assert watch.stamp() != before
    frames.show(1)
    assert watch.stamp() == before, "the same voxels as before"
    watch.look(None)
    heard.clear()
    frames.show(0)
    assert not heard


def test_the_frame_is_that_of_the_volume_also_if_another_sequence_leads(
    a_scene: Any, a_moving_volume: Any, frames: SequenceFrames
) -> None:
    finer = a_scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Finer")
    for number in range(5):
        node = slicer.vtkMRMLTextNode()
        finer.SetDataNodeAtValue(node, f"{number / 4}")
    browser = frames.browser
    browser.AddSynchronizedSequenceNodeID(finer.GetID())
    browser.SetAndObserveMasterSequenceNodeID(finer.GetID())
    browser.SetSelectedItemNumber(4)
    assert frames.current == 2
    frames.show(1)
    assert browser.GetSelectedItemNumber() == 2
    assert readVolume(a_moving_volume).array.max() == 1
