"""SwIPE's neck: RFB-Lite, cascade, multi-stage embedding attention, patch grid."""

import pytest
import torch
from torch.nn import functional

from MorseCore.backbones.pyramid import Pyramid, PyramidSpec
from MorseCore.backbones.res2net import Res2NetConfig
from MorseCore.errors import ConfigError
from MorseCore.heads.swipe.head import SwipeConfig
from MorseCore.heads.swipe.mea import MEA
from MorseCore.heads.swipe.neck import aggregate, average_pool, resize_map
from MorseCore.heads.swipe.rfb import RFBLite

SPEC = PyramidSpec(2, (5, 4, 3, 2), (16, 8, 4, 2), 16)


def make_pyramid(size=(32, 48), *, batch=2):
    generator = torch.Generator().manual_seed(3)
    levels = tuple(
        torch.randn(batch, c, *(n // s for n in size), generator=generator)
        for c, s in zip(SPEC.channels, SPEC.strides, strict=True)
    )
    return Pyramid(levels, size)


def make_neck(**options):
    torch.manual_seed(0)
    config = SwipeConfig(**{"hidden": 4, "embedding": 6, "patch_stride": 16, **options})
    return config.build(SPEC, num_classes=2).neck.eval()


def millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_pooling_takes_the_mean_of_each_block_in_2d_and_3d():
    x = torch.randn(2, 3, 8, 4, 12)
    assert torch.allclose(average_pool(x, 4), functional.avg_pool3d(x, 4), atol=1e-6)
    assert torch.allclose(average_pool(x[..., 0], 2), functional.avg_pool2d(x[..., 0], 2))


def test_the_cascade_adds_each_finer_level_to_the_next_coarser_one():
    # One constant map a level: 1, 10, 100, 1000 from fine to coarse; means keep constants.
    maps = [torch.full((1, 1, n, n), v) for n, v in ((8, 1.0), (4, 10.0), (2, 100.0), (1, 1000.0))]
    joined = aggregate(maps, [2, 2, 2], cascade=True)
    assert [x.shape[2:] for x in joined] == [(1, 1)] * 4
    assert [x.item() for x in joined] == [1, 11, 111, 1111]
    alone = aggregate(maps, [2, 2, 2], cascade=False)
    assert [x.item() for x in alone] == [1, 10, 100, 1000]


def test_the_cascade_of_a_single_level_is_that_level():
    x = torch.randn(1, 2, 3, 3)
    assert aggregate([x], [], cascade=True)[0] is x


def test_the_neck_hands_the_finest_map_to_the_coarsest_embedding_only_with_the_cascade():
    pyramid = make_pyramid()
    changed = Pyramid((*pyramid.levels[:3], pyramid.levels[3] + 1), pyramid.size)
    for cascade in (True, False):
        neck = make_neck(cascade=cascade)  # z^I is the mean of the coarsest embedding
        same = torch.allclose(neck(pyramid).image, neck(changed).image)
        assert same != cascade


def test_mea_is_the_papers_formula():
    mea = MEA(2, width=6, hidden=8, levels=3, project=True).eval()
    embeddings = [torch.randn(2, 6, 2, 3) for _ in range(3)]
    reduced = torch.cat([functional.relu(mea.reduce(e)) for e in embeddings], dim=1)
    weights = mea.score(reduced).softmax(1)
    mixed = sum(e * (1 + weights[:, n : n + 1]) for n, e in enumerate(embeddings))
    assert torch.allclose(mea(embeddings), mea.project(mixed), atol=1e-6)


def test_the_attention_of_mea_sums_to_one_over_the_levels_at_every_patch():
    mea = MEA(2, width=6, hidden=8, levels=3, project=False).eval()
    weights = mea.weights([torch.randn(2, 6, 4, 5) for _ in range(3)])
    assert weights.shape == (2, 3, 4, 5)  # not over the patches, nor the channels
    assert torch.allclose(weights.sum(1), torch.ones(2, 4, 5))
    assert weights.std(dim=(2, 3)).min() > 0


def test_equal_embeddings_leave_mea_as_l_plus_one_times_one_of_them():
    # sum e + sum w e with sum w = 1; without the first sum it would be once, not four times.
    mea = MEA(2, width=6, hidden=8, levels=3, project=False).eval()
    e = torch.randn(1, 6, 2, 2)
    assert torch.allclose(mea([e, e, e]), 4 * e, atol=1e-5)


@pytest.mark.parametrize("mea", ["released", "paper", "add", "concat", "attention", "se", "off"])
@pytest.mark.parametrize("rfb", [True, False])
def test_each_row_of_the_ablation_gives_embeddings_that_train_every_parameter(mea, rfb):
    neck = make_neck(mea=mea, rfb=rfb).train()
    embeddings = neck(make_pyramid())
    assert embeddings.patches.shape == (2, 6, 2, 3)
    assert embeddings.image.shape == (2, 6)
    (embeddings.patches.square().sum() + embeddings.image.square().sum()).backward()
    assert [n for n, p in neck.named_parameters() if p.grad is None] == []


def test_self_attention_looks_at_one_patch_at_a_time():
    neck = make_neck(mea="attention", image_embedding="patches")
    generator = torch.Generator().manual_seed(2)
    embeddings = [torch.randn(1, 6, 2, 3, generator=generator) for _ in range(4)]
    before = neck.fuse(embeddings)
    embeddings[1] = embeddings[1].clone()
    embeddings[1][..., 0, 0] *= -2
    changed = (neck.fuse(embeddings) - before).abs().sum(1)[0] > 1e-6
    assert changed.nonzero().tolist() == [[0, 0]]


def test_without_mea_and_cascade_only_the_coarsest_map_counts_and_the_rest_has_no_weights():
    neck = make_neck(mea="off", cascade=False)
    assert len(neck.levels) == len(neck.embed) == 1
    assert neck(make_pyramid()).patches.shape == (2, 6, 2, 3)


def test_the_image_embedding_is_the_mean_of_the_coarsest_embedding_or_of_all_patches():
    patches = make_neck(image_embedding="patches")(make_pyramid())
    assert torch.allclose(patches.image, patches.patches.mean((2, 3)), atol=1e-6)
    coarsest = make_neck()(make_pyramid())
    assert not torch.allclose(coarsest.image, coarsest.patches.mean((2, 3)), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "grid"),
    [
        ({"patch_stride": 16}, (2, 3)),
        ({"patch_stride": 8}, (4, 6)),
        ({"patch_stride": 32}, (1, 2)),
        ({"patch_stride": 8, "resize": "after"}, (4, 6)),
        ({"patch_stride": 8, "resize": "none"}, (2, 3)),
    ],
)
def test_the_patch_grid_has_the_stride_that_was_asked_for(options, grid):
    assert make_neck(**options)(make_pyramid()).patches.shape[2:] == grid


def test_resizing_before_and_after_the_attention_differ():
    before, after = (
        make_neck(patch_stride=8, resize=r)(make_pyramid()) for r in ("before", "after")
    )
    assert not torch.allclose(before.patches, after.patches, atol=1e-4)


@pytest.mark.parametrize("cascade", [True, False])
def test_levels_need_not_follow_each_other_by_a_factor_of_two(cascade):
    spec = PyramidSpec(3, (3, 4), (8, 2), 8)
    config = SwipeConfig(hidden=4, embedding=6, patch_stride=8, cascade=cascade)
    neck = config.build(spec, num_classes=2).neck.eval()
    levels = torch.randn(1, 3, 1, 2, 3), torch.randn(1, 4, 4, 8, 12)
    assert neck(Pyramid(levels, (8, 16, 24))).patches.shape == (1, 6, 1, 2, 3)


def test_a_map_is_shrunk_by_means_of_all_its_pixels():
    x = torch.zeros(1, 1, 8, 8)
    x[..., 0, 0] = 16.0  # linear interpolation at the block's centre would not see this pixel
    assert resize_map(x, (2, 2)).flatten().tolist() == [1.0, 0.0, 0.0, 0.0]


def test_rfb_lite_sees_as_far_as_its_dilated_branches_and_no_further():
    # 1x5, 5x1 (2) + 3x3 with dilation 5 (5) + 3x3 (1) = 8 pixels to each side.
    for dims in (2, 3):
        torch.manual_seed(0)
        block = RFBLite(dims, 1, 2).eval()
        size = (19,) * dims
        x = torch.zeros(1, 1, *size, requires_grad=True)
        middle = (0, slice(None), *(9,) * dims)
        (block(x.add(torch.randn_like(x)))[middle].sum()).backward()
        reach = (x.grad[0, 0].nonzero() - 9).abs().max(0).values
        assert reach.tolist() == [8] * dims


def test_rfb_lite_has_the_released_blocks_size():
    # 1x1 (three branches and the residual) + 1x3, 3x1, 1x5, 5x1 + two 3x3 + merge, and their norms.
    c, h = 20, 8
    convolutions = 4 * c * h + (3 + 3 + 5 + 5 + 9 + 9) * h * h + 9 * 3 * h * h
    assert millions(RFBLite(2, c, h)) * 1e6 == convolutions + 2 * h * 11


def test_the_published_2d_model_has_2_712_million_parameters():
    # The paper's model has one logit and no p^S; a second class is one more row in each decoder.
    backbone = Res2NetConfig().build(in_channels=3, spatial_dims=2)
    config = SwipeConfig(source_coordinate=False)
    head = config.build(backbone.spec, num_classes=2)
    second_class = (256 + 1) + (128 + 1)
    assert head.patch_decoder.hidden[0].in_features == 540
    assert millions(backbone) + millions(head) - second_class / 1e6 == pytest.approx(2.712432)
    with_mlp_2 = SwipeConfig(source_coordinate=False, mea="paper").build(
        backbone.spec, num_classes=2
    )
    assert millions(with_mlp_2) - millions(head) == pytest.approx((2 * 256 + 256 * 257) / 1e6)


def test_patches_are_the_papers_by_dimension_unless_they_are_given():
    for dims, size in ((2, 32), (3, 8)):
        spec = PyramidSpec(dims, (8, 8, 8, 8), (32, 16, 8, 4), 32)
        assert SwipeConfig().filled(spec).patch_stride == size
        assert SwipeConfig(patch_stride=16).filled(spec).patch_stride == 16
    with pytest.raises(ConfigError, match="'patch_stride' must not be negative"):
        SwipeConfig(patch_stride=-1)


def test_impossible_combinations_are_refused_by_name():
    with pytest.raises(ConfigError, match="'levels' is 5, but the backbone has 4 maps"):
        SwipeConfig(levels=5).build(SPEC, num_classes=2)
    with pytest.raises(ConfigError, match="'neighbours' must be 4 or 8 in 2D; found 6"):
        SwipeConfig(neighbours=6).build(SPEC, num_classes=2)
    with pytest.raises(ConfigError, match="strides are multiples of each other"):
        SwipeConfig().build(PyramidSpec(2, (4, 4), (3, 2), 6), num_classes=2)
    with pytest.raises(ConfigError, match="'hidden' must be a multiple of 4"):
        SwipeConfig(hidden=6)


def test_a_single_patch_and_image_cannot_be_normalised_in_training_and_is_refused_by_a_sentence():
    neck = make_neck().train()
    with pytest.raises(ConfigError, match="larger crop or batch"):
        neck(make_pyramid((16, 16), batch=1))
    assert neck.eval()(make_pyramid((16, 16), batch=1)).patches.shape == (1, 6, 1, 1)
