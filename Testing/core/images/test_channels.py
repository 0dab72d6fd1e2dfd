"""Several images of one case: found by their names, and brought to one grid."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch

from channel_data import grid, two_channels, write_channels
from MorseCore.errors import ConfigError, ImageError
from MorseCore.images.channels import join_channels, read_channels
from MorseCore.images.imageio import Volume, read_volume, write_volume
from MorseCore.images.lazy import LazyChannels, LazyImage
from MorseCore.images.names import channel_paths
from MorseCore.images.preparation import (
    ChannelIntensity,
    Preparation,
    measure_intensity,
    normalise,
    prepare_scan,
)


def test_any_channels_file_and_the_common_name_lead_to_all(tmp_path: Path):
    first = write_channels(tmp_path, 0)
    both = (first, tmp_path / "case_0001.nii.gz")
    for path in (*both, tmp_path / "case.nii.gz"):
        assert channel_paths(path, 2) == both
    # A number that is no channel's is a part of a name; so is one without a first channel.
    for name in ("case_0002.nii.gz", "other_0001.nii.gz"):
        write_volume(tmp_path / name, two_channels(0)[0], grid())
        assert channel_paths(tmp_path / name, 2) == (tmp_path / name,) * 2


def test_a_file_with_a_fourth_axis_holds_its_channels(tmp_path: Path):
    images = two_channels(3)[:2]
    path = tmp_path / "case.nii.gz"
    whole = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(image) for image in images])
    SimpleITK.WriteImage(whole, str(path))
    found = read_channels((path, path))
    for channel, image in zip(found.channels, images, strict=True):
        np.testing.assert_array_equal(channel.array, image)
    with pytest.raises(ImageError, match="holds 2 volumes, and 3 channels are expected"):
        read_channels((path,) * 3)


def test_one_image_is_not_taken_for_two(tmp_path: Path):
    path = write_channels(tmp_path, 0)
    with pytest.raises(ImageError, match="holds one volume, and 2 channels are expected"):
        read_channels((path, path))


def test_a_channel_without_the_first_one_says_which_is_missing(tmp_path: Path):
    first = write_channels(tmp_path, 0)
    first.unlink()
    with pytest.raises(ImageError, match="the first channel, case_0000, is missing beside it"):
        read_channels(channel_paths(tmp_path / "case_0001.nii.gz", 2))


def test_of_a_channel_more_than_there_are_it_is_not_said_that_the_first_is_missing(tmp_path: Path):
    third = write_channels(tmp_path, 0).rename(tmp_path / "case_0002.nii.gz")
    write_channels(tmp_path, 0)
    with pytest.raises(ImageError, match="files of one channel each are called CASE_0000"):
        read_channels(channel_paths(third, 2))


def test_a_channel_on_another_grid_is_brought_to_the_first_ones_and_that_is_said():
    ramp = np.broadcast_to(np.arange(10.0, dtype=np.float32), (10, 10, 10)).copy()
    fine = Volume(np.zeros((20,) * 3, np.float32), grid(1.0, 20), "a_0000.nii.gz")
    coarse = Volume(ramp, grid(2.0, 10), "a_0001.nii.gz")
    joined = join_channels([fine, coarse])
    moved = joined.others[0]
    assert moved.geometry.is_close(fine.geometry)
    np.testing.assert_allclose(moved.array[3, 4, 1:-1], np.arange(0.25, 9, 0.5)[:18], atol=1e-5)
    assert joined.notes == (
        "The channel a_0001.nii.gz (10 x 10 x 10 voxels of 2 x 2 x 2 mm) was brought to the grid "
        "of a_0000.nii.gz (20 x 20 x 20 voxels of 1 x 1 x 1 mm).",
    )


def test_where_a_channel_does_not_reach_its_voxels_have_no_value():
    one = Volume(np.ones((10,) * 3, np.float32), grid(2.0, 10), "a")
    other = Volume(np.ones((10,) * 3, np.float32), grid(2.0, 10, shift=6.0), "b")
    moved = join_channels([one, other]).others[0].array
    assert np.isnan(moved[..., :3]).all()
    assert (moved[..., 3:] == 1).all()


def test_channels_in_different_places_are_refused():
    one = Volume(np.ones((10,) * 3, np.float32), grid(2.0, 10), "a")
    other = Volume(np.ones((10,) * 3, np.float32), grid(2.0, 10, shift=15.0), "b")
    with pytest.raises(ImageError, match=r"b \(10 x .*\) and a .* do not lie in the same place"):
        join_channels([one, other])
    flat = [Volume(np.ones((1, n, n)), grid(1.0, 8).crop((0, 0, 0), (1, n, n)), f"p{n}", 2)
            for n in (7, 8)]  # fmt: skip
    with pytest.raises(ImageError, match="do not lie in the same place"):
        join_channels(flat)


MIXED = Preparation(
    (8, 8, 8),
    channels=(
        ChannelIntensity("range", intensity_range=(0.0, 200.0)),
        ChannelIntensity("percentile"),
    ),
)


@pytest.mark.parametrize("spacing", [None, (3.0, 3.0, 3.0)])
def test_each_channel_has_its_own_intensities(tmp_path: Path, spacing):
    write_channels(tmp_path, 1)
    scan = read_channels(channel_paths(tmp_path / "case.nii.gz", 2))
    wanted = Preparation(MIXED.window, spacing, channels=MIXED.channels)
    both, _ = prepare_scan(scan, wanted)
    rules = [
        Preparation((8, 8, 8), spacing, "range", intensity_range=(0.0, 200.0)),
        Preparation((8, 8, 8), spacing, "percentile"),
    ]
    for n, own in enumerate(rules):
        alone, _ = prepare_scan(read_volume(tmp_path / f"case_{n:04d}.nii.gz"), own)
        np.testing.assert_array_equal(both[n], alone)


def test_channels_are_read_lazily_as_they_would_be_at_once():
    images = two_channels(2)[:2]
    rules = MIXED.by_channel()
    lazy = LazyChannels([
        LazyImage(image, measure_intensity(image, own))
        for image, own in zip(images, rules, strict=True)
    ])  # fmt: skip
    whole = torch.from_numpy(
        np.stack([normalise(i, own) for i, own in zip(images, rules, strict=True)])
    )
    assert lazy.shape == whole.shape
    part = (..., slice(2, 9), slice(0, 5), slice(3, 4))
    torch.testing.assert_close(lazy[part], whole[part], rtol=0, atol=0)


def test_a_scan_of_other_channels_than_the_models_is_refused():
    scan = Volume(two_channels(0)[0], grid(), "a.nii.gz")
    with pytest.raises(ImageError, match=r"a\.nii\.gz has 1 channel\(s\), and the network sees 2"):
        prepare_scan(scan, MIXED)


def test_one_channel_alone_is_described_as_an_image_is():
    with pytest.raises(ConfigError, match="'channels' is for two and more"):
        Preparation((8, 8, 8), channels=(ChannelIntensity(),))
    with pytest.raises(ConfigError, match="'intensity_range' must rise"):
        ChannelIntensity("range", intensity_range=(5.0, 5.0))
