"""SwIPE's losses, and a training that learns a shape."""

import pytest
import torch

from MorseCore.config import decode
from MorseCore.heads.swipe.decoder import OccupancyDecoder
from MorseCore.heads.swipe.head import SwipeConfig
from MorseCore.losses import Targets, point_region_loss, region_loss
from MorseCore.network import NetworkConfig
from MorseCore.points import gather_points, labels_at
from MorseCore.renderers import RENDERERS
from MorseCore.samplers import UncertainConfig
from networks import BACKBONES, TINY_SWIPE, make_image, make_network
from training_runs import flat_config, make_trainer, phantom_cases, records

ALL = ("patch", "image", "spo", "emb")


def make_parts(points=40, *, dims=2, **options):
    """A network, the field of two images, points in them and labels of the points."""
    network = make_network(head=TINY_SWIPE | options, dims=dims)
    field = network(make_image(dims))
    generator = torch.Generator().manual_seed(2)
    coords = torch.rand(2, points, dims, generator=generator) * 2 - 1
    return network, field, coords, (coords[..., 0] > 0).long()


def test_the_weights_are_alpha_one_minus_alpha_beta_and_lambda():
    assert make_network(head="swipe").head.loss_weights == pytest.approx(
        {"patch": 0.5, "image": 0.5, "spo": 0.1, "emb": 1e-4}
    )


def test_what_is_switched_off_has_no_loss():
    weights = SwipeConfig(image_decoder=False, spo_copies=0).loss_weights()
    assert weights == {"patch": 1.0, "emb": 1e-4}
    network, field, coords, labels = make_parts(spo_copies=0)
    active = tuple(network.head.loss_weights)
    losses = network.head.point_losses(field, coords, labels, active=active)
    assert set(losses) == {"patch", "image", "emb"}


def test_the_occupancy_losses_are_those_of_the_two_decoders_with_dice_smoothed_by_one():
    network, field, coords, labels = make_parts()
    losses = network.head.point_losses(field, coords, labels, active=ALL)
    for name, answer in (("patch", field.logits(coords)), ("image", field.coarse(coords))):
        p, g = answer.softmax(-1).flatten(0, 1), torch.eye(3)[labels.flatten()]
        dice = 1 - (2 * (p * g).sum(0) + 1) / ((p**2).sum(0) + (g**2).sum(0) + 1)
        entropy = -(p * g).sum(-1).log().mean()
        expected = 0.5 * entropy + 0.5 * dice.mean()
        assert losses[name].item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_smoothing_of_the_dice_term_is_one_only_where_it_is_asked_for():
    logits, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    assert region_loss(logits, labels) != region_loss(logits, labels, smooth=1.0)


def test_spo_asks_neighbouring_patches_for_the_same_points_and_compares_with_their_own_labels():
    network, field, coords, labels = make_parts(spo_copies=5)
    asked = []

    def oracle(coords, patch):  # knows the labels from the coordinate alone
        asked.append((coords, patch))
        right = coords[..., 0] > 0
        return 20 * torch.stack([~right, right, right & ~right], dim=-1).float()

    field.logits_from = oracle
    losses = network.head.point_losses(field, coords, labels, active=("spo",))
    assert losses["spo"].item() < 0.01
    wrong = network.head.point_losses(field, coords, 1 - labels, active=("spo",))
    assert wrong["spo"].item() > 5
    places, patches = asked[0]
    assert torch.equal(places.view(2, 6, 40, 2), coords[:, None].expand(-1, 6, -1, -1))
    own, moved = patches[:, None, :40], patches[:, 40:].view(2, 5, 40)
    assert torch.equal(own[:, 0], field.patch_at(coords))
    columns, rows = field.grid[1], field.grid[0]
    down = (own // columns - moved // columns).abs()
    aside = (own % columns - moved % columns).abs()
    assert torch.maximum(down, aside).unique().tolist() == [1]
    assert moved.min() >= 0
    assert moved.max() < rows * columns


def test_own_points_and_copies_pass_the_decoder_together():
    # Separate passes would normalise in training by other statistics than at inference.
    network, field, coords, labels = make_parts()
    sizes = []
    hook = OccupancyDecoder.forward

    def forward(self, local, *rest):
        sizes.append(local.shape[1])
        return hook(self, local, *rest)

    network.head.patch_decoder.forward = forward.__get__(network.head.patch_decoder)
    network.head.point_losses(field, coords, labels, active=ALL)
    assert sizes == [40 * (1 + 2)]


def test_the_embedding_loss_is_the_mean_squared_length_of_embeddings_and_not_of_logits():
    network, field, coords, labels = make_parts()
    with torch.no_grad():
        field.patches.fill_(2.0)
        field.patches[:, 0] = 0.0  # a quarter of the image, but none of the points lies there
        field.image.fill_(3.0)
        network.head.patch_decoder.predict.weight.mul_(10)
    away = coords.abs()  # the last patch of 2 x 4, and the one before it
    losses = network.head.point_losses(field, away, labels, active=("emb",))
    assert losses["emb"].item() == pytest.approx(6 * 2.0**2 + 6 * 3.0**2)


def test_points_come_from_the_sampler_and_labels_from_their_pixels():
    network, field, coords, _ = make_parts()

    class Fixed:
        def select(self, field, targets, *, coarse=None, generator=None):
            return coords

    labels = torch.randint(0, 3, (2, 8, 16))
    losses = network.head.losses(field, Targets(labels), sampler=Fixed(), active=("patch",))
    expected = point_region_loss(field.logits(coords), labels_at(labels, coords), smooth=1.0)
    assert losses["patch"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"rfb": False, "cascade": False, "mea": "off"},
        {"image_decoder": False, "image_in_patch": False},
        {"source_coordinate": False, "frequencies": 0},
        {"mea": "paper", "image_embedding": "patches", "resize": "none"},
        {"spo_copies": 0, "blend_neighbours": True},
    ],
)
def test_every_row_of_the_ablation_can_be_trained(dims, options):
    network = make_network(head=TINY_SWIPE | options, dims=dims).train()
    image = make_image(dims)
    losses = network.head.losses(
        network(image), Targets(torch.randint(0, 3, (2, *image.shape[2:]))),
        sampler=UncertainConfig(points=16).build(), active=tuple(network.head.loss_weights),
    )  # fmt: skip
    assert set(losses) == set(network.head.loss_weights)
    sum(losses.values()).backward()
    assert [n for n, p in network.head.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_trainer_logs_each_part_and_adds_them_by_their_weights(tmp_path, precision):
    config = flat_config(
        network={"head": TINY_SWIPE, "spatial_dims": 2, "backbone": BACKBONES["unet3d"]},
        optimisation={"iterations": 2, "precision": precision},
    )
    make_trainer(config, tmp_path, train=phantom_cases(1, 2, dims=2)).run()
    for record in (r for r in records(tmp_path) if "total" in r):
        weights = SwipeConfig().loss_weights()
        expected = sum(weights[name] * record[name] for name in ALL)
        assert record["total"] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("renderer", ["dense", "refine", "mise"])
def test_every_renderer_takes_its_refined_mask_from_the_patch_decoder(renderer):
    field = make_parts()[1]
    result = decode(RENDERERS[renderer], {}, "").build().render(field)
    dense = field.query_grid(field.pixels(), rendered=True)
    rendered = gather_points(result.refined, result.index)
    assert torch.allclose(rendered, gather_points(dense, result.index), atol=1e-4)
    assert result.index.shape[1] > 0


def make_discs(count, generator):
    """Bright discs of radius 7 to 12 pixels on noise: (N, 1, 32, 32) and labels (N, 32, 32)."""
    draw = torch.rand(count, 3, 1, 1, generator=generator)
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    radius = 7 + 5 * draw[:, 0]
    inside = (y - 10 - 12 * draw[:, 1]) ** 2 + (x - 10 - 12 * draw[:, 2]) ** 2 < radius**2
    noise = 0.3 * torch.randn(count, 1, 32, 32, generator=generator)
    return inside[:, None].float() + noise, inside.long()


def dice(mask, labels):
    return (2 * (mask * labels).sum() / (mask.sum() + labels.sum())).item()


def test_a_short_training_learns_discs_and_the_patches_draw_them_better_than_the_image_code():
    torch.manual_seed(0)
    config = {
        "spatial_dims": 2,
        "backbone": {"name": "unet", "channels": [8, 12, 16], "dropout": [0.0, 0.0, 0.0]},
        "head": {
            "name": "swipe", "levels": 2, "hidden": 8, "embedding": 32, "patch_stride": 8,
            "patch_widths": [32, 32, 32], "image_widths": [32, 16], "spo_copies": 2,
        },
    }  # fmt: skip
    network = decode(NetworkConfig, config, "").build(num_classes=2).train()
    generator = torch.Generator().manual_seed(0)
    weights = network.head.loss_weights
    sampler = UncertainConfig(points=150, importance=0.0).build()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=70)
    for _ in range(70):
        image, labels = make_discs(6, generator)
        losses = network.head.losses(
            network(image, generator=generator), Targets(labels), sampler=sampler,
            active=tuple(weights), generator=generator,
        )  # fmt: skip
        optimizer.zero_grad()
        sum(weights[name] * loss for name, loss in losses.items()).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        image, labels = make_discs(16, generator)
        field = network.eval()(image)
        final = dice(field.query_grid(field.pixels(), rendered=True).argmax(1), labels)
        coarse = dice(field.coarse_grid(field.pixels()).argmax(1), labels)
    assert final > 0.9
    assert final > coarse
