"""Sample n is the same whoever asks for it and whatever was drawn before."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from MorseCore.errors import ConfigError
from MorseCore.system.signals import ignore_interruption
from MorseCore.training.augmentation import AugmentationConfig, swapped_labels
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.samples import CropDataset, Minibatch, StepSampler
from training_runs import phantom_cases


def samples(cases: list[PreparedCase], crop: tuple[int, ...], **changes: object) -> CropDataset:
    options = {
        "augmentation": AugmentationConfig(mirror_axes=(0, 1)),
        "length": 100,
        "seed": 1,
        "oversample": 0.3,
    }
    return CropDataset(cases, crop, **(options | changes))  # type: ignore[arg-type]


def numbered(count: int, shape: tuple[int, ...] = (4, 4, 4)) -> list[PreparedCase]:
    """Cases whose voxels all have the case's number; no foreground."""
    return [
        PreparedCase(
            str(n), np.full(shape, n + 1.0, np.float32), np.zeros(shape, np.uint8), (1.0,) * 3
        )
        for n in range(count)
    ]


def equal(a: Minibatch, b: Minibatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_sample_does_not_depend_on_what_was_drawn_before():
    cases = phantom_cases(0, 1, 2)
    in_order = [samples(cases, (8, 8, 8))[n] for n in range(6)]
    backwards = samples(cases, (8, 8, 8))
    torch.rand(7)
    np.random.default_rng().random(3)
    for n in reversed(range(6)):
        assert equal(backwards[n], in_order[n])
    assert not equal(in_order[0], in_order[3])  # the same case or not, another crop


@pytest.mark.parametrize("workers", [0, 2])
def test_a_sample_does_not_depend_on_the_number_of_workers(workers):
    data = samples(phantom_cases(0, 1), (8, 8, 8))
    loader = DataLoader(
        data, sampler=range(6), batch_size=1, num_workers=workers,
        worker_init_fn=ignore_interruption,
    )  # fmt: skip
    for n, batch in enumerate(loader):
        assert equal(Minibatch(*(part[0] for part in batch)), data[n])


def test_another_seed_draws_other_samples():
    cases = phantom_cases(0, 1)
    a, b = (samples(cases, (8, 8, 8), seed=seed) for seed in (1, 2))
    assert not all(equal(a[n], b[n]) for n in range(4))


def test_an_epoch_visits_every_case_once_in_an_order_of_its_own():
    data = samples(numbered(7), (4, 4, 4), augmentation=AugmentationConfig.none())
    drawn = [int(data[n][0][0, 0, 0, 0]) for n in range(21)]
    epochs = [drawn[n : n + 7] for n in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(1, 8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_the_share_of_crops_around_an_object_is_as_asked():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[37, 2, 20] = 1  # one voxel, that a random crop nearly never meets
    case = PreparedCase("a", np.zeros(labels.shape, np.float32), labels, (1.0,) * 3)

    def share(oversample: float) -> float:
        data = samples(
            [case], (4, 4, 4), oversample=oversample, augmentation=AugmentationConfig.none()
        )
        return float(np.mean([bool(data[n][1].any()) for n in range(300)]))

    assert share(0.0) < 0.02
    assert share(0.5) == pytest.approx(0.5, abs=0.1)
    assert share(1.0) == 1.0


def test_a_crop_lies_inside_a_large_image():
    data = samples(numbered(1, (9, 9, 9)), (4, 4, 4), augmentation=AugmentationConfig.none())
    assert all(bool((data[n][0] == 1).all()) for n in range(50))


def test_a_small_image_lies_whole_and_anywhere_inside_the_crop():
    data = samples(numbered(1, (3, 3, 3)), (6, 6, 6), augmentation=AugmentationConfig.none())
    crops = [data[n][0][0] for n in range(50)]
    assert all(int((crop == 1).sum()) == 27 for crop in crops)
    assert len({tuple(crop.nonzero()[0].tolist()) for crop in crops}) > 10


def test_in_2d_every_slice_is_a_case():
    image = np.arange(1, 6, dtype=np.float32)[:, None, None] * np.ones((5, 4, 4), np.float32)
    case = PreparedCase("a", image, np.zeros(image.shape, np.uint8), (3.0, 1.0, 1.0))
    data = samples([case], (4, 4), augmentation=AugmentationConfig.none())
    drawn = [data[n][0] for n in range(5)]
    assert all(x.shape == (1, 4, 4) for x in drawn)
    assert sorted(int(x[0, 0, 0]) for x in drawn) == [1, 2, 3, 4, 5]


def test_images_are_floats_and_labels_are_indices():
    image, labels, *_ = samples(phantom_cases(0), (8, 8, 8))[0]
    assert (image.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert (image.shape, labels.shape) == ((1, 8, 8, 8), (8, 8, 8))


def test_two_processes_see_together_what_one_sees():
    def items(rank: int, processes: int, per_process: int) -> list[int]:
        return list(
            StepSampler(
                first_step=2, steps=5, per_process=per_process, rank=rank, processes=processes
            )
        )

    alone = items(0, 1, 4)
    a, b = items(0, 2, 2), items(1, 2, 2)
    together = [n for k in range(0, 6, 2) for part in (a, b) for n in part[k : k + 2]]
    assert together == alone == list(range(8, 20))


def sided_case(unannotated: tuple[int, ...] = ()) -> PreparedCase:
    """Label 1 on the left, 2 on the right, 3 in the middle; the image is ten times the label."""
    labels = np.zeros((4, 4, 8), np.uint8)
    labels[..., :3], labels[..., 3:5], labels[..., 5:] = 1, 3, 2
    image = 10 * labels.astype(np.float32)
    return PreparedCase("sided", image, labels, (1.0,) * 3, unannotated=unannotated)


def test_left_and_right_change_their_labels_where_they_change_places():
    names = {0: "background", 1: "left kidney", 2: "right kidney", 3: "spine"}
    pairs = (("left kidney", "right kidney"),)
    mirrored = {"mirror_axes": (0, 2), "mirror_probability": 0.5}
    plain, swapping = (
        replace(AugmentationConfig.none(), **mirrored, mirror_pairs=which) for which in ((), pairs)
    )
    case = sided_case(unannotated=(1,))
    before = samples([case], (4, 4, 8), augmentation=plain)
    after = samples([case], (4, 4, 8), augmentation=swapping,
                    swapped=swapped_labels(swapping, names))  # fmt: skip
    seen = set()
    for n in range(12):
        assert torch.equal(before[n].image, after[n].image)  # the same random numbers
        is_mirrored = before[n].labels[0, 0].tolist() == [2, 2, 2, 3, 3, 1, 1, 1]
        seen.add(is_mirrored)
        # 1 is always what lies on the left; what was not drawn moves with it.
        assert after[n].labels[0, 0].tolist() == [1, 1, 1, 3, 3, 2, 2, 2]
        marked = after[n].unannotated.nonzero().flatten().tolist()
        assert marked == ([2] if is_mirrored else [1])
    assert seen == {True, False}


def test_pairs_of_sides_are_structures_of_the_data_set():
    config = AugmentationConfig(mirror_pairs=(("left kidney", "right kidny"),))
    with pytest.raises(ConfigError, match=r"'right kidny'.*did you mean 'right kidney'"):
        swapped_labels(config, {0: "background", 1: "left kidney", 2: "right kidney"})
    with pytest.raises(ConfigError, match="found 'a' twice"):
        AugmentationConfig(mirror_pairs=(("a", "b"), ("c", "a")))
