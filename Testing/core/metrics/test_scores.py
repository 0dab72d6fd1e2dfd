"""Metrics: MONAI's numbers where definitions agree, answers known by hand, and nothing skipped."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
)
from scipy.ndimage import gaussian_filter

from MorseCore.errors import GeometryError
from MorseCore.metrics import scores as metrics
from MorseCore.metrics.scores import (
    legacy_score,
    overlap,
    score_labels,
    score_mask,
    summarise,
)
from MorseCore.metrics.surface import surface_distances

UNIT = (1.0, 1.0, 1.0)


def blobs(seed: int, size: tuple[int, ...] = (14, 18, 16)) -> np.ndarray:
    """About a third of the voxels, also on the border of the image."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(size), 2)
    return noise > np.quantile(noise, 0.65)


def box(size: tuple[int, ...], start: tuple[int, ...], stop: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def as_batch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None]


@pytest.mark.parametrize(
    ("size", "spacing"),
    [((14, 18, 16), (3.0, 0.7, 1.1)), ((14, 18, 16), UNIT), ((30, 40), (0.5, 2.0))],
)
@pytest.mark.parametrize("seed", [0, 2, 4])
def test_overlap_and_distances_equal_monai(
    size: tuple[int, ...], spacing: tuple[float, ...], seed: int
) -> None:
    prediction, target = blobs(seed, size), blobs(seed + 1, size)
    y_pred, y = as_batch(prediction), as_batch(target)
    ours = surface_distances(prediction, target, spacing)

    dice = compute_dice(y_pred, y).item()
    hd95 = compute_hausdorff_distance(y_pred, y, True, percentile=95, spacing=spacing).item()
    asd = compute_average_surface_distance(y_pred, y, True, spacing=spacing).item()
    assd = compute_average_surface_distance(y_pred, y, True, symmetric=True, spacing=spacing).item()

    assert overlap(prediction, target)[0] == pytest.approx(dice, abs=1e-6)
    assert ours.hd95 == pytest.approx(hd95, abs=1e-4)
    assert ours.asd == pytest.approx(asd, abs=1e-5)
    assert ours.assd == pytest.approx(assd, abs=1e-5)


def test_a_plate_moved_by_two_slices_is_two_slices_away() -> None:
    # One-voxel plates: every surface voxel is 2 slices of 2.5 mm from the other plate.
    before = box((9, 7, 7), (2, 1, 1), (3, 6, 6))
    after = box((9, 7, 7), (4, 1, 1), (5, 6, 6))

    distances = surface_distances(before, after, (2.5, 1.0, 1.0))

    assert distances.asd == distances.assd == distances.hd95 == 5.0


def test_concentric_balls_are_apart_by_the_difference_of_their_radii() -> None:
    spacing = (2.0, 1.0, 1.0)
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip((45, 90, 90), spacing, strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))

    distances = surface_distances(radius <= 30, radius <= 40, spacing)

    # Voxel surfaces are off by less than half a voxel's diagonal, sqrt(6) / 2 mm.
    assert distances.assd == pytest.approx(10, abs=1.2)
    assert distances.hd95 == pytest.approx(10, abs=1.25)


def test_asd_is_directed_and_assd_is_not() -> None:
    # The prediction lies inside the target's surface voxels; a far part of the target is missed.
    prediction = box((1, 1, 12), (0, 0, 0), (1, 1, 2))
    target = prediction | box((1, 1, 12), (0, 0, 10), (1, 1, 12))

    distances = surface_distances(prediction, target, UNIT)

    assert distances.asd == 0  # both predicted voxels are in the target
    assert distances.assd == pytest.approx((9 + 10) / 6)  # 2 + 4 surface voxels, two of them far
    assert surface_distances(target, prediction, UNIT).asd == pytest.approx((9 + 10) / 4)


def test_dice_and_jaccard_of_half_covered_boxes() -> None:
    first, second = box((4, 4), (0, 0), (2, 4)), box((4, 4), (1, 0), (3, 4))
    assert overlap(first, second) == (0.5, 1 / 3)


def test_equal_masks_are_perfect() -> None:
    mask = blobs(0)
    score = score_mask(mask, mask, (3.0, 0.7, 1.1))
    assert (score.dice, score.jaccard, score.hd95, score.asd, score.assd) == (1, 1, 0, 0, 0)


def test_a_structure_absent_from_both_is_perfect_and_says_so() -> None:
    empty = np.zeros((3, 4, 5), dtype=bool)
    score = score_mask(empty, empty, UNIT)
    assert (score.dice, score.jaccard, score.hd95, score.asd, score.assd) == (1, 1, 0, 0, 0)
    assert score.status == "absent"


def test_a_missed_and_a_spurious_structure_cost_the_image_diagonal() -> None:
    empty, mask = np.zeros((3, 4, 1), dtype=bool), box((3, 4, 1), (1, 1, 0), (2, 2, 1))
    spacing = (2.0, 2.0, 24.0)
    diagonal = math.hypot(6, 8, 24)  # 26 mm

    missed, spurious = score_mask(empty, mask, spacing), score_mask(mask, empty, spacing)

    assert (missed.status, spurious.status) == ("missed", "spurious")
    for score in (missed, spurious):
        assert (score.dice, score.jaccard) == (0, 0)
        assert (score.hd95, score.asd, score.assd) == (diagonal, diagonal, diagonal)


def test_voxels_are_counted_and_volumes_are_in_millilitres() -> None:
    target = box((10, 10, 10), (0, 0, 0), (10, 10, 5))
    score = score_mask(box((10, 10, 10), (0, 0, 0), (10, 10, 1)), target, (2.0, 1.0, 1.0))
    assert (score.prediction_voxels, score.target_voxels) == (100, 500)
    assert (score.prediction_ml, score.target_ml) == (pytest.approx(0.2), pytest.approx(1.0))


def test_each_label_of_a_map_is_scored_alone_with_the_penalty_of_the_whole_image() -> None:
    target = np.zeros((20, 20), dtype=np.uint8)
    target[5:9, 5:9], target[12:14, 12:14] = 1, 2
    prediction = np.where(target == 1, 1, 0)

    scores = score_labels(prediction, target, [1, 2, 3], (1.0, 1.0))

    assert [scores[label].status for label in (1, 2, 3)] == ["both", "missed", "absent"]
    assert scores[1].dice == 1
    assert scores[2].hd95 == pytest.approx(math.hypot(20, 20))  # not the cropped box's diagonal


def test_the_order_of_spacing_is_the_order_of_the_array() -> None:
    first, second = box((5, 5), (1, 2), (2, 3)), box((5, 5), (3, 2), (4, 3))
    assert surface_distances(first, second, (10.0, 1.0)).hd95 == 20


def test_a_single_slice_is_measured_as_a_2d_image() -> None:
    first, second = blobs(0, (20, 24)), blobs(1, (20, 24))
    flat = surface_distances(first, second, (1.0, 2.0))
    slice_ = surface_distances(first[None], second[None], (5.0, 1.0, 2.0))
    assert (slice_.asd, slice_.assd, slice_.hd95) == (flat.asd, flat.assd, flat.hd95)
    # A voxel inside is no surface, though it has no neighbour above.
    assert (
        len(surface_distances(np.ones((1, 9, 9), bool), np.ones((1, 9, 9), bool), UNIT).to_target)
        == 32
    )


def test_a_missed_case_stays_in_the_mean_and_is_counted() -> None:
    mask = box((3, 4), (1, 1), (2, 2))
    empty = np.zeros_like(mask)
    cases = [
        {1: score_mask(mask, mask, (1.0, 1.0)), 2: score_mask(empty, empty, (1.0, 1.0))},
        {1: score_mask(empty, mask, (1.0, 1.0)), 2: score_mask(mask, empty, (1.0, 1.0))},
    ]

    summary = summarise(cases)

    first = summary.structures[1]
    assert (first.n, first.n_missed, first.n_spurious, first.n_absent) == (2, 1, 0, 0)
    assert first.dice.mean == first.dice.median == 0.5
    assert first.dice.sd == pytest.approx(math.sqrt(0.5))
    assert first.hd95.mean == 2.5  # (0 + 5) / 2: the diagonal of 3 x 4 is 5
    assert first.hd95.valid_mean == 0
    second = summary.structures[2]
    assert (second.n_missed, second.n_spurious, second.n_absent) == (0, 1, 1)
    assert second.hd95.valid_mean is None
    assert (summary.mean.n, summary.mean.n_missed, summary.mean.n_spurious) == (2, 1, 1)
    assert (summary.mean.dice.mean, summary.mean.hd95.mean) == (0.5, 2.5)
    assert summary.mean.hd95.valid_mean == 0


def test_a_summary_refuses_nothing_and_unequal_labels() -> None:
    score = score_mask(blobs(0), blobs(1), UNIT)
    with pytest.raises(ValueError, match="same labels"):
        summarise([])
    with pytest.raises(ValueError, match="same labels"):
        summarise([{1: score}, {2: score}])


def test_the_legacy_score_repeats_the_old_rules() -> None:
    empty, mask = np.zeros((1, 1, 20), dtype=bool), box((1, 1, 20), (0, 0, 0), (1, 1, 1))
    assert legacy_score(empty, mask) == (0, 0, 0, 0)
    assert legacy_score(empty, empty) == (0, 0, 0, 0)
    assert legacy_score(mask, empty) == (1, 1, 0, 0)
    # Distances pooled: 0 (prediction) and 0, 10 (target); the 95th percentile of 0, 0, 10 is 9.
    other = mask | box((1, 1, 20), (0, 0, 10), (1, 1, 11))
    assert legacy_score(mask, other) == (pytest.approx(2 / 3), 0.5, pytest.approx(9), 0)


def test_the_rule_chooses_unit_and_handling_of_what_is_missing() -> None:
    target = np.zeros((1, 1, 20), dtype=np.uint8)
    target[0, 0, :10], target[0, 0, 15] = 1, 2
    prediction = np.zeros_like(target)
    prediction[0, 0, :12] = 1  # two voxels of 3 mm too long; structure 2 is missed
    scores = {
        rule: score_labels(prediction, target, [1, 2], (1.0, 1.0, 3.0), rule=rule)
        for rule in ("mm", "voxel", "legacy")
    }
    assert [scores[rule][1].hd95 for rule in ("mm", "voxel")] == pytest.approx([5.7, 1.9])
    assert scores["mm"][2].hd95 == pytest.approx(math.hypot(1, 1, 60))
    assert scores["voxel"][2].hd95 == pytest.approx(math.hypot(1, 1, 20))
    assert (scores["legacy"][2].hd95, scores["legacy"][2].status) == (0, "missed")
    assert {rule: score[1].target_ml for rule, score in scores.items()} == dict.fromkeys(
        scores, 0.03
    )


def test_miou_counts_the_background_as_a_class() -> None:
    target = np.array([[0, 0, 0, 1]])
    prediction = np.array([[0, 0, 1, 1]])
    scores = score_labels(prediction, target, [1], (1.0, 1.0))
    background = overlap(prediction == 0, target == 0)[1]
    summary = summarise([scores], background=[background])
    assert summary.miou is not None
    assert summary.miou.mean == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert summarise([scores]).miou is None


def test_shapes_and_spacings_that_do_not_fit_are_refused() -> None:
    mask = box((3, 4), (1, 1), (2, 2))
    with pytest.raises(GeometryError, match=r"\(3, 4\) and \(3, 3\)"):
        score_labels(mask, mask[:, :3], [1], (1.0, 1.0))
    for spacing in ((1.0, 1.0, 1.0), (1.0, 0.0), (1.0, math.nan)):
        with pytest.raises(GeometryError, match="2 dimensions"):
            score_labels(mask, mask, [1], spacing)


def test_the_metrics_need_neither_torch_nor_monai() -> None:
    code = "import sys, MorseCore.metrics.scores; assert not {'torch', 'monai'} & set(sys.modules)"
    root = Path(metrics.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.parametrize("where", [0, 9, 19])
def test_a_structure_in_one_slice_of_a_volume_is_no_2d_image(where: int) -> None:
    """Scored in a crop of one slice its distances would leave the third axis out."""
    y, x = np.mgrid[:40, :40]
    distance = np.hypot(y - 20, x - 20)
    maps = []
    for radius in (10, 6):
        labels = np.zeros((20, 40, 40), np.uint8)
        labels[where] = distance <= radius
        maps.append(labels)
    spacing = (5.0, 1.0, 1.0)
    alone = score_labels(*maps, [1], spacing)[1]
    whole = score_mask(maps[0] == 1, maps[1] == 1, spacing)
    assert alone == whole
    for labels in maps:
        labels[(where + 7) % 20, 0, 0] = 2
    assert score_labels(*maps, [1, 2], spacing)[1] == whole
