"""What is generated has the geometry and the statistics of its labels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from brain_maps import PLAIN, SIDE, generator, head, label_map, preparation, save_map, table
from MorseCore.errors import ConfigError
from MorseCore.images.preparation import Preparation, normalise
from MorseCore.training.generated.appearance import (
    Look,
    add_bias,
    add_noise,
    blur,
    cut_view,
    draw_look,
    paint,
)
from MorseCore.training.generated.config import GenerationConfig
from MorseCore.training.generated.images import Generated, GeneratedDataset, ImageGenerator
from MorseCore.training.generated.label_maps import read_label_map
from MorseCore.training.generated.label_table import LabelTable
from MorseCore.training.generated.ranges import PRESETS, Ranges, ranges_of
from MorseCore.training.generated.shape import draw_shape


def draw(tmp_path: Path, seed: int = 0, *, side: int = SIDE, spacing: float = 1.0, **ranges):
    made = ImageGenerator(
        table(), preparation(side=side, spacing=spacing), GenerationConfig(ranges=PLAIN | ranges)
    )
    return made(label_map(tmp_path), generator(seed))


def classes(labels: np.ndarray) -> torch.Tensor:
    made = table()
    entries = np.searchsorted(np.asarray(made.values), labels)
    return torch.tensor(made.classes, dtype=torch.uint8)[torch.from_numpy(entries)]


def test_without_deformation_the_labels_are_those_of_the_map(tmp_path: Path):
    made = draw(tmp_path)
    expected = classes(head())
    assert torch.equal(made.labels, expected)  # the structures' box is the map's middle
    assert all(torch.equal(part, expected) for part in made.shares)
    assert made.image.shape == made.labels.shape == (SIDE,) * 3
    assert made.image.dtype == torch.float32


def test_half_the_resolution_gives_the_shares_of_what_each_pixel_holds(tmp_path: Path):
    labels = np.zeros((32, 32, 32), np.uint16)
    labels[8:24, 8:24, 9:25] = 2  # begins in the middle of a pixel of 2 mm
    labels[8:24, 8:24, 25:26] = 41
    save_map(tmp_path / "map.nii.gz", labels)
    part = read_label_map("map", tmp_path / "map.nii.gz", table())
    centred = replace(part, box=((0.0,) * 3, (31.0,) * 3))
    prepared = preparation(side=16, spacing=2.0)
    made = ImageGenerator(table(), prepared, GenerationConfig(ranges=PLAIN))
    shares = made(centred, generator()).shares
    assert (shares[:, 8, 8] == 1).sum(0).tolist() == [0] * 4 + [2] + [4] * 7 + [2] + [0] * 3
    assert (shares[:, 8, 8] == 2).sum(0).tolist() == [0] * 12 + [2] + [0] * 3


def test_mirrored_images_have_their_sides_exchanged_and_stay_right(tmp_path: Path):
    """Left is where I is low, mirrored or not: the label follows the place."""
    straight, mirrored = draw(tmp_path), draw(tmp_path, mirror=1.0)
    assert torch.equal(mirrored.labels, straight.labels)  # this head is its own mirror image
    one_sided = head()
    one_sided[one_sided == 53] = 41
    part = label_map(tmp_path, one_sided)
    made = ImageGenerator(table(), preparation(), GenerationConfig(ranges=PLAIN | {"mirror": 1.0}))(
        part, generator()
    )
    found = torch.nonzero(made.labels == 4)  # what was a left core
    assert len(found) == (one_sided == 17).sum()
    assert (found[:, 2] >= SIDE / 2).all()
    assert not (made.labels == 3).any()


def test_each_label_has_the_mean_and_the_noise_that_were_drawn_for_it():
    entries = torch.zeros(20, 20, 20, dtype=torch.uint8)
    entries[:10] = 1
    entries[10:, :10] = 2
    look = Look(torch.tensor([0.2, 0.5, 0.9]), torch.tensor([0.01, 0.05, 0.1]))
    image = paint(entries.expand(4, -1, -1, -1), entries, look, generator())
    for entry in range(3):
        values = image[entries == entry]
        assert values.mean().item() == pytest.approx(float(look.means[entry]), abs=0.01)
        assert values.std().item() == pytest.approx(float(look.deviations[entry]), rel=0.1)


def test_a_pixel_of_two_labels_has_the_mean_of_both():
    inside = torch.tensor([0, 0, 1, 1], dtype=torch.uint8).view(4, 1, 1, 1)
    look = Look(torch.tensor([0.2, 0.8]), torch.zeros(2))
    image = paint(inside, inside[0], look, generator())
    assert image.item() == pytest.approx(0.5)


def test_contrasts_are_drawn_by_label_by_tissue_or_as_in_t1():
    made = table()
    entry = {value: n for n, value in enumerate(made.values)}
    t1 = ranges_of("t1", {"tissue_spread": [0.0, 0.0], "skull_stripped": 0.0})
    for seed in range(20):
        means = draw_look(made, t1, generator(seed)).means
        assert means[entry[24]] < means[entry[17]] < means[entry[2]]
    free = ranges_of("any", {"contrasts": [1, 0, 0], "same_sides": 1.0, "skull_stripped": 0.0})
    orders = set()
    for seed in range(20):
        means = draw_look(made, free, generator(seed)).means
        assert means[entry[2]] == means[entry[41]]
        assert means[entry[17]] == means[entry[53]]
        orders.add(bool(means[entry[24]] < means[entry[2]]))
    assert orders == {True, False}


def test_a_stripped_head_hides_what_surrounds_the_brain():
    made = table()
    entry = {value: n for n, value in enumerate(made.values)}
    ranges = ranges_of("any", {"skull_stripped": 1.0})
    hidden = set()
    for seed in range(20):
        means = draw_look(made, ranges, generator(seed)).means
        assert means[entry[502]] == means[0]
        hidden.add(bool(means[entry[24]] == means[0]))
    assert hidden == {True, False}  # the fluid only now and then


def test_background_that_nobody_labelled_is_filled_with_random_tissue(tmp_path: Path):
    lonely = LabelTable.build({"Liver": (1,)})
    labels = np.zeros((32, 32, 32), np.uint16)
    labels[10:22, 10:22, 10:22] = 1
    part = read_label_map("map", save_map(tmp_path / "map.nii.gz", labels), lonely)

    def air(**ranges: object) -> torch.Tensor:
        config = GenerationConfig(ranges=PLAIN | {"noise_within": [0, 0]} | ranges)
        made = ImageGenerator(lonely, preparation(), config)(part, generator(2))
        assert torch.equal(made.labels > 0, torch.from_numpy(labels > 0))
        return made.image[made.labels == 0]

    assert air(blobs=[4, 4]).unique().numel() >= 3
    assert air(blobs=[0, 0]).unique().numel() == 1


def test_thick_slices_vary_less_along_their_axis_and_keep_the_mean():
    image = torch.rand(32, 32, 32, generator=generator())
    ranges = ranges_of("any", {"thick_slices": 1.0, "slice_thickness": [6.0, 6.0]})
    spacing = (1.0, 1.0, 1.0)
    thick = blur(image, ranges=ranges, spacing=spacing, generator=generator(1))
    roughness = [float(thick.diff(dim=axis).abs().mean()) for axis in range(3)]
    smooth = sorted(roughness)
    assert smooth[0] < 0.3 * smooth[1]
    assert smooth[1] == pytest.approx(smooth[2], rel=0.2)
    assert thick.mean().item() == pytest.approx(image.mean().item(), abs=0.02)


def test_a_blur_smooths_along_all_axes_by_its_width_in_mm():
    image = torch.zeros(33, 33, 33)
    image[16, 16, 16] = 1
    ranges = ranges_of("any", {"thick_slices": 0.0, "blurred": 1.0, "blur": [2.0, 2.0]})
    spot = blur(image, ranges=ranges, spacing=(1.0, 1.0, 2.0), generator=generator())
    ticks = torch.arange(33) - 16.0
    for axis, mm in enumerate((1.0, 1.0, 2.0)):
        profile = spot.sum(dim=[n for n in range(3) if n != axis])
        assert float((profile * (ticks * mm) ** 2).sum()) ** 0.5 == pytest.approx(2.0, rel=0.02)


def test_the_bias_field_is_smooth_and_multiplies():
    ranges = ranges_of("any", {"bias": 1.0})
    fields = [
        add_bias(image, ranges=ranges, spacing=(4.0,) * 3, generator=generator(seed))
        for image in (torch.ones(32, 32, 32), torch.full((32, 32, 32), 2.0))
        for seed in range(8)
    ]
    assert max(float(field.std()) for field in fields) > 0.2
    assert all((field.diff(dim=0).abs() < 0.3 * field[1:]).all() for field in fields)
    assert torch.allclose(fields[8], 2 * fields[0])


def test_noise_and_gamma_are_as_large_as_their_ranges_allow():
    image = torch.full((24, 24, 24), 0.5)
    quiet = add_noise(image, ranges=replace(Ranges(), noise=0.0, gamma=0.0), generator=generator())
    assert torch.equal(quiet, image)
    noisy = [
        add_noise(image, ranges=replace(Ranges(), noise=0.1, gamma=0.0), generator=generator(n))
        for n in range(20)
    ]
    deviations = [float(one.std()) for one in noisy]
    assert max(deviations) <= 0.105
    assert max(deviations) > 0.07


def test_beyond_the_field_of_view_nothing_is_seen_and_nothing_is_to_be_found(tmp_path: Path):
    for seed in range(6):
        made = draw(tmp_path, seed, cut=1.0, cut_share=[0.3, 0.3])
        dark = (made.image == 0).flatten()
        assert dark.float().mean() >= 0.28
        beyond = cut_region(made)
        assert (made.labels[beyond] == 0).all()
        assert (made.shares[(slice(None), *beyond)] == 0).all()
        assert (made.labels > 0).any()


def cut_region(made: Generated) -> tuple[slice, ...]:
    """The side of the window, a third of it, in which the image is zero."""
    count = round(0.3 * SIDE)
    for axis in range(3):
        for part in (slice(0, count), slice(SIDE - count, None)):
            where = tuple(part if n == axis else slice(None) for n in range(3))
            if (made.image[where] == 0).all():
                return where
    raise AssertionError("nothing is cut off")


def test_no_cut_where_none_is_asked():
    assert cut_view((8, 8, 8), ranges=replace(Ranges(), cut=0.0), generator=generator()) is None


def test_images_are_normalised_as_a_scan_is(tmp_path: Path):
    for rule in ("percentile", "zscore"):
        prepared = Preparation((SIDE,) * 3, (1.0,) * 3, normalisation=rule)  # type: ignore[arg-type]
        made = ImageGenerator(table(), prepared, GenerationConfig(ranges={"cut": 0.0}))
        image = made(label_map(tmp_path), generator(5)).image
        again = normalise(image.numpy(), prepared)
        assert np.abs(again - image.numpy()).mean() < 0.03


def test_a_window_travels_over_structures_that_are_larger_than_it(tmp_path: Path):
    part = label_map(tmp_path)
    centres = []
    for seed in range(30):
        shape = draw_shape(
            part, window=(8, 8, 8), spacing=(1.0,) * 3, ranges=ranges_of("any", PLAIN),
            generator=generator(seed),
        )  # fmt: skip
        centres.append(shape.coords.flatten(1).mean(1).tolist())
    low, high = np.min(centres, axis=0), np.max(centres, axis=0)
    assert (low < 12).all()
    assert (high > 19).all()
    assert (low >= 9).all()  # never beyond the structures' box
    assert (high <= 22).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path):
    a, b, c = (draw_default(tmp_path, seed) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a.image, c.image)


def draw_default(tmp_path: Path, seed: int) -> Generated:
    return ImageGenerator(table(), preparation(), GenerationConfig())(
        label_map(tmp_path), generator(seed)
    )


def dataset(tmp_path: Path, *, batch_size: int = 1, seed: int = 1) -> GeneratedDataset:
    return GeneratedDataset(
        [label_map(tmp_path), label_map(tmp_path / "b", head(shift=2))],
        ImageGenerator(table(), preparation(side=16, spacing=2.0), GenerationConfig()),
        windows=[((16, 16, 16), 0.5), ((8, 16, 24), 0.5)], length=40, batch_size=batch_size,
        seed=seed,
    )  # fmt: skip


def test_a_sample_depends_on_seed_and_number_alone(tmp_path: Path):
    first, again, other = dataset(tmp_path), dataset(tmp_path), dataset(tmp_path, seed=2)
    again[0]  # what was drawn before has no part in it
    for x, y in zip(first[7], again[7], strict=True):
        assert torch.equal(x, y)
    assert not torch.equal(first[7].shares, other[7].shares)
    assert first.digest == other.digest  # the same maps
    assert first[7].targets.shares is not None


def test_all_images_of_a_batch_have_one_size_and_sizes_take_turns(tmp_path: Path):
    data = dataset(tmp_path, batch_size=2)
    sizes = [tuple(data[n].labels.shape) for n in range(40)]
    assert sizes[0::2] == sizes[1::2]
    assert set(sizes) == {(16, 16, 16), (8, 16, 24)}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_the_same_images(tmp_path: Path):
    made = ImageGenerator(table(), preparation(), GenerationConfig())
    on_cpu = made(label_map(tmp_path), generator(3))
    on_gpu = made(label_map(tmp_path).to(torch.device("cuda")), generator(3))
    assert torch.equal(on_gpu.labels.cpu(), on_cpu.labels)
    assert torch.allclose(on_gpu.image.cpu(), on_cpu.image, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rotations": 1}, r"Unknown key 'generation.ranges.rotations' \(did you mean"),
        ({"mirror": 1.5}, r"'mirror' must lie in \[0, 1\]"),
        ({"noise": -1.0}, "'noise' must not be negative"),
        ({"slice_thickness": [5.0, 2.0]}, "'slice_thickness' must rise"),
        ({"contrasts": [0.5, 0.2, 0.2]}, "'contrasts' must sum to one"),
        ({"deformation": [[0.0, 1.0]]}, "distance of nodes must be 2 mm at least"),
    ],
)
def test_a_range_that_makes_no_sense_is_one_sentence(changes, expected):
    with pytest.raises(ConfigError, match=expected):
        GenerationConfig(ranges=changes)


def test_what_images_from_labels_cannot_be_is_said():
    flat = Preparation((16, 16), (1.0, 1.0))
    with pytest.raises(ConfigError, match="in 3D at a stated"):
        ImageGenerator(table(), flat, GenerationConfig())
    fixed = Preparation((16,) * 3, (1.0,) * 3, normalisation="range")
    with pytest.raises(ConfigError, match="have no unit"):
        ImageGenerator(table(), fixed, GenerationConfig())


def test_the_presets_exist_and_differ():
    assert set(PRESETS) == {"any", "t1"}
    assert PRESETS["t1"].contrasts == (0.0, 0.0, 1.0)
