"""A whole brain is one piece, has a mask and volumes, and FreeSurfer's numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from MorseCore.api import Result
from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import read_volume
from MorseCore.inference.assembly import Assembler, Placement
from MorseCore.inference.blending import GridPrediction
from MorseCore.inference.brain import keep_one_piece, measure_brain, volumes_of
from MorseCore.inference.files import complete_result, write_result
from MorseCore.result import RenderedPoints, Segmentation, Structure, brain_values

NUMBERS = {1: 2, 2: 3, 3: 41, 4: 42, 5: 4, 6: 24}  # value -> FreeSurfer's
BRAIN = tuple(Structure(v, f"s{v}", (1, 0, 0), freesurfer=n) for v, n in NUMBERS.items())


def grid(shape: tuple[int, int, int], spacing: float = 1.0) -> Geometry:
    return Geometry(shape, np.diag([spacing] * 3 + [1.0]))


def two_pieces() -> np.ndarray:
    """(24, 12, 12): a brain of 6 structures, and a smaller piece of one of them in the neck."""
    labels = np.zeros((24, 12, 12), np.uint8)
    for value in NUMBERS:
        labels[12 + value : 13 + value, 2:10, 2:10] = value
    labels[2:5, 4:7, 5:8] = 1
    return labels


@pytest.mark.parametrize("spacing", [0.7, 1.0, 2.0, 5.0])
def test_a_piece_apart_is_cleared_and_the_brain_stays(spacing: float) -> None:
    labels = two_pieces()
    cleared = keep_one_piece([labels], grid(labels.shape, spacing))
    assert len(cleared) == 27
    assert not labels[:10].any()
    assert (labels[13:19] == two_pieces()[13:19]).all()


def test_what_hangs_together_in_one_map_stays_in_both() -> None:
    coarse, refined = two_pieces(), two_pieces()
    coarse[4:14, 5, 6] = 1  # a thread before rendering
    keep_one_piece([coarse, refined], grid(coarse.shape))
    assert coarse[2:5, 4:7, 5:8].all()
    assert refined[2:5, 4:7, 5:8].all()


def test_structures_that_lie_apart_only_from_each_other_stay() -> None:
    """It is the whole brain that is one piece, not each structure."""
    labels = np.zeros((8, 12, 12), np.uint8)
    labels[2:6, 2:10, 2:10] = 1
    labels[3, 3:5, 3:5] = labels[3, 7:9, 7:9] = 5
    assert len(keep_one_piece([labels], grid(labels.shape))) == 0
    assert (labels == 5).sum() == 8


def test_an_empty_map_has_no_piece_to_clear() -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    assert len(keep_one_piece([labels, labels], grid(labels.shape))) == 0


def test_the_skull_is_filled_by_the_brain_and_the_fluid_around_it() -> None:
    labels = two_pieces()
    volumes = volumes_of(labels, grid(labels.shape), BRAIN)
    measured = measure_brain(labels, volumes, BRAIN)
    slab = 64 / 1000  # ml of each structure
    assert measured["brain_ml"] == pytest.approx(5 * slab + 0.027)
    assert measured["intracranial_ml"] == pytest.approx(6 * slab + 0.027)
    assert not measured["at_edge"]
    labels[-1, 5, 5] = 6
    assert measure_brain(labels, volumes, BRAIN)["at_edge"]


def test_ventricles_are_brain_and_the_fluid_around_it_is_not() -> None:
    assert brain_values(BRAIN) == (1, 2, 3, 4, 5)
    assert brain_values(BRAIN[1:]) == ()  # without a hemisphere's white matter it is no brain
    assert brain_values([Structure(1, "Hippocampus", (1, 0, 0), freesurfer=17)]) == ()


def test_a_map_has_freesurfers_numbers_and_a_mask() -> None:
    labels = two_pieces()
    result = Segmentation(grid(labels.shape), BRAIN, labels, labels, labels, RenderedPoints.empty())
    numbers, mask = result.in_freesurfer_numbers(), result.brain()
    assert {*np.unique(numbers).tolist()} == {0, 2, 3, 4, 24, 41, 42}
    assert (numbers[labels == 4] == 42).all()
    assert (mask == ((labels > 0) & (labels < 6))).all()


def test_a_structure_keeps_its_number_in_a_report() -> None:
    plain = Structure(1, "s", (1.0, 0.0, 0.0))
    assert "freesurfer" not in plain.to_dict()
    assert Structure.from_dict(BRAIN[3].to_dict()).freesurfer == 42


def test_points_of_a_cleared_piece_are_not_listed() -> None:
    labels = torch.from_numpy(two_pieces()).long()
    probabilities = one_hot(labels, 7).permute(3, 0, 1, 2).float()
    refined = probabilities.roll(1, dims=3)  # rendering moves all by a voxel
    everywhere = torch.ones(labels.shape, dtype=torch.bool)
    place = Placement(*[grid(tuple(labels.shape))] * 3, (0, 0, 0), 3)
    assembler = Assembler(place, BRAIN, is_brain=True)
    assembler.add(GridPrediction(probabilities, refined, everywhere, 1, labels.numel()))
    result = assembler.result()
    assert not result.coarse[:10].any()
    assert not result.refined[:10].any()
    i, j, k = result.points.indices.T
    np.testing.assert_array_equal(result.coarse[k, j, i], result.points.coarse_label)
    np.testing.assert_array_equal(result.refined[k, j, i], result.points.refined_label)
    assert result.report["brain"]["removed_ml"] == pytest.approx(0.036)  # of either map
    assert result.report["brain"]["intracranial_ml"] == pytest.approx(6 * 0.064)


def test_the_files_of_a_brain_are_its_mask_and_freesurfers_map(tmp_path: Path) -> None:
    labels = two_pieces()
    uncertainty = np.zeros(labels.shape, np.float32)
    result = Segmentation(
        grid(labels.shape), BRAIN, labels, labels, uncertainty, RenderedPoints.empty()
    )
    write_result(tmp_path, result)
    assert complete_result(tmp_path, "nii.gz") is not None
    assert {*np.unique(read_volume(tmp_path / "brain.nii.gz").array)} == {0, 1}
    assert read_volume(tmp_path / "freesurfer.nii.gz").array.max() == 42
    (tmp_path / "brain.nii.gz").unlink()
    assert complete_result(tmp_path, "nii.gz") is None
    plain = replace(result, structures=tuple(replace(s, freesurfer=0) for s in BRAIN))
    write_result(tmp_path, plain)  # another model's result leaves no map of the first
    assert not (tmp_path / "freesurfer.nii.gz").exists()
    assert complete_result(tmp_path, "nii.gz") is not None


def test_in_python_a_result_has_mask_numbers_and_volumes() -> None:
    labels = two_pieces()
    report = {
        "structures": [{"value": 4, "name": "s4", "refined_ml": 0.064}],
        "brain": {"brain_ml": 0.32, "intracranial_ml": 0.384},
    }
    segmentation = Segmentation(
        grid(labels.shape), BRAIN, labels, labels, labels, RenderedPoints.empty(), report
    )
    result = Result(segmentation)
    assert result.brain.array.max() == 1
    assert result.freesurfer.array.max() == 42
    rows = {row["name"]: row for row in result.volumes}
    assert rows["s4"]["freesurfer"] == 42
    assert (rows["Brain"]["refined_ml"], rows["Intracranial"]["refined_ml"]) == (0.32, 0.384)
    plain = tuple(replace(item, freesurfer=0) for item in BRAIN)
    other = Result(replace(segmentation, structures=plain, report={}))
    assert other.volumes == []
    with pytest.raises(MorseError, match="not a whole brain's"):
        _ = other.brain
    with pytest.raises(MorseError, match="no numbers of FreeSurfer's"):
        _ = other.freesurfer
