"""The I²Net head: its published size, its two forms, its losses in training; and IFA."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from MorseCore.backbones.pyramid import PyramidSpec
from MorseCore.backbones.resnet import ResNetConfig
from MorseCore.errors import ConfigError
from MorseCore.heads.i2net.decoder import I2Decoder
from MorseCore.heads.i2net.head import I2NetConfig, I2NetGrid, I2NetPoints
from MorseCore.heads.ifa import IfaConfig
from MorseCore.losses import Targets, point_region_loss, region_loss
from MorseCore.points import grid_coords, labels_at, pixel_axes
from MorseCore.samplers import UncertainConfig
from MorseCore.training.samples import Minibatch
from MorseCore.training.step import Objective
from networks import HEADS, make_image, make_network
from training_runs import flat_config, make_trainer, phantom_cases, records

GLAS = PyramidSpec(2, (512, 256, 128, 64, 64), (32, 16, 8, 4, 2), 32)
TINY = {"name": "i2net", "planes": 5, "widths": [7, 6], "gate_widths": [6]}


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def make_losses(network, image=None, *, active=("sup", "gs", "lo")):
    """Losses of a step on random labels; alike for every call."""
    image = make_image(2) if image is None else image
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (image.shape[0], *image.shape[2:]), generator=generator)
    return network.head.losses(
        network(image), Targets(labels), sampler=UncertainConfig(points=48).build(),
        active=active, generator=generator,
    )  # fmt: skip


@pytest.mark.parametrize(("learners", "millions", "total"), [(3, 11.40, 0), (4, 11.44, 42305)])
def test_the_glas_model_has_the_published_number_of_parameters(learners, millions, total):
    encoder = ResNetConfig().build(in_channels=3, spatial_dims=2)
    head = I2NetConfig(learners=learners).build(encoder.spec, num_classes=1)  # Glas: one sigmoid
    count = parameters(encoder) + parameters(head)
    assert count == 11_399_940 + total
    assert count / 1e6 == pytest.approx(millions, abs=0.005)
    ours = I2NetConfig(learners=learners).build(encoder.spec, num_classes=2)
    assert parameters(ours) - parameters(head) == 64 + 64 + 1  # softmax has a second output row


def test_a_learner_costs_the_published_0_69_gmac_on_a_grid_of_128():
    macs = []
    for learners in (3, 4):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            decoder = I2Decoder(264, (128, 64), gate_widths=(128,), learners=learners)
            decoder.eval()(torch.empty(1, 128 * 128, 264))
        macs.append(counter.get_total_flops() / 2)
    assert (macs[1] - macs[0]) / 1e9 == pytest.approx(0.69, abs=0.005)


def test_the_glas_model_takes_the_stride_4_maps_and_coarser_as_latents_and_the_stem_as_skip():
    head = I2NetConfig().build(GLAS, num_classes=2)
    assert isinstance(head, I2NetGrid)
    assert head.levels == 4
    assert [layer.weight.shape[1:] for layer in head.decoder.layers] == [(128, 264), (64, 128)]
    assert len(head.decoder.norms) == 1  # the last I2Layer is linear
    assert head.decoder.gate.predict.in_features == 128


def test_points_have_the_cityscapes_network():
    head = I2NetConfig(output="points").build(GLAS, num_classes=19)
    widths = [layer.weight.shape[1] for layer in head.decoder.layers]
    assert widths == [512, 256, 256, 19]
    gate = [m.out_features for m in head.decoder.gate.modules() if isinstance(m, torch.nn.Linear)]
    assert gate == [256, 128, 3]


def test_without_maps_on_both_sides_of_the_grid_points_are_taken_and_a_grid_is_refused():
    spec = PyramidSpec(3, (8, 4), (2, 1), 4)
    assert isinstance(I2NetConfig().build(spec, num_classes=2), I2NetPoints)
    with pytest.raises(ConfigError, match=r"both sides of stride 4.*\(2, 1\)"):
        I2NetConfig(output="grid").build(spec, num_classes=2)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_grid_form_is_the_inr_up_sampled_beside_the_stem(dims):
    network, image = make_network("unet", TINY, dims=dims), make_image(dims)
    head, pyramid = network.head, network.backbone(image)
    grid = tuple(n // 4 for n in pyramid.size)
    coords = grid_coords(pixel_axes(grid)).expand(2, -1, -1)
    answers = head.decoder(head.codes(pyramid)(coords)).values
    features = torch.nn.functional.interpolate(
        answers.transpose(1, 2).view(2, 6, *grid), size=pyramid.levels[-1].shape[2:],
        mode="bilinear" if dims == 2 else "trilinear",
    )  # fmt: skip
    expected = head.classify.on_map(torch.cat([features, pyramid.levels[-1]], dim=1))
    field = network(image)
    assert torch.allclose(field.coarse_grid(field.pixels()), expected, atol=1e-5)


def test_the_grid_form_evaluates_its_network_once_and_the_point_form_at_each_question():
    for output, expected in (("grid", 1), ("points", 2)):
        network, calls = make_network("unet", TINY | {"output": output}, dims=2), []
        network.head.decoder.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        field = network(make_image(2))
        for _ in range(2):
            field.logits(torch.zeros(2, 3, 2))
        assert len(calls) == expected


@pytest.mark.parametrize("output", ["grid", "points"])
def test_the_gates_that_a_field_shows_are_those_it_used(output):
    network, image = make_network("unet", TINY | {"output": output}, dims=2), make_image(2)
    field, head = network(image), network.head
    coords = grid_coords(pixel_axes((2, 4))).expand(2, -1, -1)  # the grid of stride 4
    gates = field.gates(coords)
    used = head.decoder(head.codes(network.backbone(image))(coords)).log_gates.exp()
    assert torch.allclose(gates, used, atol=1e-6)
    anywhere = field.gates(torch.rand(2, 30, 2) * 2 - 1)
    assert anywhere.shape == (2, 30, 3)
    assert torch.allclose(anywhere.sum(-1), torch.ones(2, 30), atol=1e-6)
    assert not torch.allclose(anywhere[0, 0], anywhere[1, 1], atol=1e-7)  # an image, a point


@pytest.mark.parametrize("output", ["grid", "points"])
def test_the_losses_have_the_papers_weights_and_only_those_asked_for_come(output):
    network = make_network("unet", TINY | {"output": output}, dims=2).train()
    assert network.head.loss_weights == {"sup": 1.0, "gs": 0.25, "lo": 0.25}
    for active in (("sup",), ("sup", "gs"), ("lo",)):
        assert set(make_losses(network, active=active)) == set(active)


def test_a_weight_of_zero_leaves_a_loss_out():
    head = I2NetConfig(shaping_weight=0.0).build(GLAS, num_classes=2)
    assert set(head.loss_weights) == {"sup", "lo"}


def test_the_grid_is_supervised_on_the_map_and_points_where_the_sampler_puts_them():
    image, labels = make_image(2), torch.randint(0, 3, (2, 8, 16))
    coords = torch.rand(2, 20, 2) * 2 - 1

    class Fixed:
        def select(self, field, targets, *, coarse=None, generator=None):
            return coords

    for output in ("grid", "points"):
        network = make_network("unet", TINY | {"output": output}, dims=2)
        field = network(image)
        found = network.head.losses(
            field, Targets(labels), sampler=Fixed(), active=("sup",)
        )["sup"]  # fmt: skip
        if output == "grid":
            expected = region_loss(field.coarse_grid(field.pixels()), labels)
        else:
            expected = point_region_loss(field.logits(coords), labels_at(labels, coords))
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("output", ["grid", "points"])
def test_the_second_order_term_reaches_the_backbone_unless_it_is_switched_off(output):
    found = {}
    for second_order in (True, False):
        changes = {"output": output, "second_order": second_order}
        network = make_network("unet", TINY | changes, dims=2).train()
        torch.manual_seed(0)
        loss = make_losses(network, active=("lo",))["lo"]
        loss.backward()
        found[second_order] = loss.item(), [p.grad for p in network.backbone.parameters()]
    (value, full), (same, short) = found[True], found[False]
    assert value == pytest.approx(same, rel=1e-4)
    short, full = ([g for g in part if g is not None] for part in (short, full))
    assert sum(g.abs().sum() for g in short) > 0
    assert not all(torch.allclose(a, b, rtol=0.1) for a, b in zip(full, short, strict=True))


@pytest.mark.parametrize("output", ["grid", "points"])
def test_all_losses_work_in_mixed_precision(output):
    network = make_network("unet", TINY | {"output": output}, dims=2).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = make_losses(network)
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())
    assert {loss.dtype for loss in losses.values()} == {torch.float32}


def test_a_point_that_the_sampler_only_looks_at_does_not_enter_the_batch_statistics():
    network = make_network("unet", TINY | {"output": "points"}, dims=2).train()
    make_losses(network)
    assert {norm.num_batches_tracked.item() for norm in network.head.decoder.norms} == {1}
    assert all(norm.track_running_stats for norm in network.head.decoder.norms)


def test_the_points_of_a_step_do_not_depend_on_running_statistics():
    # They differ between the second batch of one process and the first of a second process.
    network = make_network("unet", TINY | {"output": "points"}, dims=2).train()
    found = []
    for mean in (0.0, 3.0):
        for norm in network.head.decoder.norms:
            norm.running_mean.copy_(torch.linspace(-mean, mean, norm.num_features))
        torch.manual_seed(0)  # the backbone's dropout
        found.append(make_losses(network, active=("sup",))["sup"].item())
    assert found[0] == found[1]


@pytest.mark.parametrize("output", ["grid", "points"])
def test_without_gradients_the_supervision_still_works_and_the_rest_says_why_not(output):
    network = make_network("unet", TINY | {"output": output}, dims=2)
    with torch.no_grad():
        assert torch.isfinite(make_losses(network, active=("sup",))["sup"])
        with pytest.raises(ValueError, match="gradients"):
            make_losses(network, active=("sup", "lo"))


@pytest.fixture
def lone_group():
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("output", ["grid", "points"])
def test_inside_distributed_data_parallel_the_gradients_are_the_same(output, lone_group):
    config = flat_config()
    image = make_image(2)
    batch = Minibatch(
        image, (image[:, 0] > 0).long(), torch.eye(2, 3).expand(2, -1, -1), torch.zeros(2, 0, 2)
    )
    found = []
    for wrap in (lambda m: m, lambda m: DistributedDataParallel(m, find_unused_parameters=True)):
        network = make_network("unet", TINY | {"output": output}, dims=2)
        objective = wrap(Objective(network, config)).train()
        torch.manual_seed(0)  # the backbone's dropout
        losses = objective(batch, ("sup", "gs", "lo"), torch.Generator().manual_seed(0))
        sum(losses.values()).backward()
        found.append([p.grad for p in network.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*found, strict=True))


def test_a_training_run_reports_all_three_losses_and_goes_on(tmp_path):
    network = {"spatial_dims": 2, "backbone": {"name": "unet", "channels": [4, 6, 8],
               "dropout": [0, 0, 0]}, "head": TINY}  # fmt: skip
    changes = {"iterations": 6, "batch_size": 1, "accumulate": 2}
    config = flat_config(network=network, optimisation=changes)
    cases = phantom_cases(0, 1, dims=2)
    assert make_trainer(config, tmp_path, train=cases, val=cases[:1]).run()
    steps = [record for record in records(tmp_path) if "total" in record]
    assert len(steps) == 6
    for step in steps:
        total = step["sup"] + 0.25 * step["gs"] + 0.25 * step["lo"]
        assert step["total"] == pytest.approx(total, rel=1e-4)


def test_with_one_learner_there_is_neither_gate_nor_its_losses():
    head = I2NetConfig(learners=1).build(GLAS, num_classes=2)
    assert dict(head.loss_weights) == {"sup": 1.0}
    assert head.decoder.gate is None
    field = make_network("unet", TINY | {"learners": 1}, dims=2)(make_image(2))
    assert torch.equal(field.gates(torch.zeros(2, 3, 2)), torch.ones(2, 3, 1))


@pytest.mark.parametrize("output", ["grid", "points"])
def test_ifa_is_i2net_with_one_learner(output):
    static = HEADS["ifa"] | {"output": output}
    dynamic = static | {"name": "i2net", "learners": 1}
    ours, theirs = (make_network("unet", head, dims=2) for head in (static, dynamic))
    image, coords = make_image(2), torch.rand(2, 9, 2) * 2 - 1
    assert torch.equal(ours(image).logits(coords), theirs(image).logits(coords))


def test_ifa_refuses_what_i2net_refuses():
    with pytest.raises(ConfigError, match="'planes' must be positive"):
        IfaConfig(planes=0)
