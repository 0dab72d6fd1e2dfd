"""A backbone at half of the image's resolution; the field, its points and labels stay native."""

import pytest
import torch
from torch.nn import functional

from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.inference.openvino import use_engine
from MorseCore.inference.options import WindowSettings
from MorseCore.inference.sliding_window import KeptFields, predict_volume
from MorseCore.losses import Targets, soft_region_loss
from MorseCore.points import coords_to_index, grid_coords, pixel_axes
from MorseCore.renderers import DenseConfig, RefineConfig
from MorseCore.samplers import UncertainConfig
from MorseCore.samplers.uncertain import near_boundary
from MorseCore.store.model_folder import WindowConfig
from MorseCore.training.config import RunConfig
from MorseCore.training.samples import Minibatch
from MorseCore.training.step import Objective
from networks import HEADS, make_network
from training_runs import run_config, run_data

SIZES = {2: (16, 32), 3: (16, 16, 32)}


def make_image(dims: int, *, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 1, *SIZES[dims], generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_plain_head_interpolates_the_logits_of_the_averaged_image(dims):
    network, image = make_network("unet3d", "plain", dims=dims, stride=2), make_image(dims)
    mode = "bilinear" if dims == 2 else "trilinear"
    with torch.no_grad():
        field = network(image)
        pool = functional.avg_pool2d if dims == 2 else functional.avg_pool3d
        half = network.head.classify.on_map(network.backbone(pool(image, 2)).levels[-1])
        expected = functional.interpolate(half, scale_factor=2, mode=mode, align_corners=False)
        assert field.size == SIZES[dims]
        assert torch.allclose(field.coarse_grid(field.pixels()), expected, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", list(HEADS))
def test_every_head_answers_on_a_backbone_at_half_resolution(head, dims):
    network, image = make_network("unet3d", head, dims=dims, stride=2), make_image(dims)
    with torch.no_grad():
        field = network(image)
        coords = grid_coords(field.pixels()).expand(2, -1, -1)
        dense, points = field.coarse_grid(field.pixels()), field.coarse(coords)
        assert dense.shape == (2, 3, *SIZES[dims])
        assert torch.allclose(dense.flatten(2), points.transpose(1, 2), atol=1e-5)
        assert torch.isfinite(field.logits(coords)).all()


def test_the_divisor_is_the_images_and_a_window_that_does_not_fit_is_refused():
    network = make_network("unet3d", "plain", stride=2)
    assert network.divisor == 2 * make_network("unet3d", "plain").divisor == 8
    with pytest.raises(ConfigError, match=r"multiple of the 'backbone_stride' 2; found \(9, 16"):
        network(torch.zeros(1, 1, 9, 16, 16))
    with pytest.raises(ConfigError, match=r"divided by the 'backbone_stride' 2, must be .* of 4"):
        network(torch.zeros(1, 1, 12, 16, 16))
    unetr = make_network("unetr", "plain", stride=2)
    unetr.check_size((16, 32, 48))
    with pytest.raises(ConfigError, match=r"'image_size' \(8, 16, 24\); found \(16, 16, 24\)"):
        unetr.check_size((32, 32, 48))
    for stride in (0, 9):
        with pytest.raises(ConfigError, match=f"'backbone_stride' .*; found {stride}"):
            make_network("unet3d", "plain", stride=stride)


@pytest.mark.parametrize("number", [0, 4])
@pytest.mark.parametrize("dims", [2, 3])
def test_the_mask_is_supervised_on_the_backbones_grid_against_shares(dims, number):
    """``number`` labels a pixel, as of generated images; 0: one."""
    network, image = make_network("unet3d", "plain", dims=dims, stride=2), make_image(dims)
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 3, (2, *SIZES[dims]), generator=generator)
    places = torch.randint(0, 3, (2, number, *SIZES[dims]), generator=generator).to(torch.uint8)
    field = network(image)
    found = network.head.losses(
        field, Targets(labels, shares=places if number else None),
        sampler=UncertainConfig().build(), active=("sup",), cell=2,
    )["sup"]  # fmt: skip
    half = pixel_axes([n // 2 for n in SIZES[dims]])
    logits = field.coarse_grid(half)
    every = places if number else labels[:, None]
    cells = []  # 4 or 8 pixels of each cell, one after the other
    for place in torch.cartesian_prod(*[torch.arange(2)] * dims).tolist():
        cells.append(every[(..., *(slice(n, None, 2) for n in place))])
    expected = soft_region_loss(logits, torch.cat(cells, dim=1))
    assert torch.allclose(found, expected, atol=1e-6)
    cells_of = Targets(labels, shares=places if number else None).shares_of_cells(2)
    assert cells_of.shape == (2, max(1, number) * 2**dims, *(n // 2 for n in SIZES[dims]))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_training_step_draws_its_points_in_the_labels_own_grid(share, monkeypatch):
    """With a share of a half, half of them in the band around the outline."""
    config = run_config(
        network={"backbone_stride": 2},
        sampler={"name": "uncertain", "points": 200, "near_share": share, "near_distance": 2.0},
        optimisation={"supervision_grid": "backbone", "schedule": "from_scratch"},
    )
    network = config.network.build(num_classes=3).train()
    objective, asked, masks = Objective(network, config), [], []
    prepare = network.head.prepare

    def watched(*arguments, **options):
        field = prepare(*arguments, **options)
        logits, coarse_grid = field.logits, field.coarse_grid
        monkeypatch.setattr(field, "logits", lambda c: (asked.append(c), logits(c))[1])
        monkeypatch.setattr(field, "coarse_grid", lambda a: (masks.append(a), coarse_grid(a))[1])
        return field

    monkeypatch.setattr(network.head, "prepare", watched)
    labels = torch.zeros(1, 16, 16, 16, dtype=torch.long)
    labels[:, 4:11, 5:9, 3:12] = 1
    batch = Minibatch(torch.randn(1, 1, 16, 16, 16), labels, torch.eye(3, 4)[None],
                      torch.empty(1, 0, 3))  # fmt: skip
    losses = objective(batch, ("sup", "rend"), torch.Generator().manual_seed(0))
    assert set(losses) == {"sup", "rend"}
    (coords,), (axes,) = asked, masks
    assert [len(axis) for axis in axes] == [8, 8, 8]
    places = (coords + 1) * 8 - 0.5
    assert torch.allclose(places, places.round(), atol=1e-4)  # centres of the label's own voxels
    index = coords_to_index(coords, (16, 16, 16))
    assert len(set(index[0].tolist())) == 200
    band = near_boundary(labels, 2.0).flatten(1)
    inside = band.gather(1, index)
    if share:
        assert inside.float().mean() >= 0.5
        assert inside.float().mean() > 1.3 * band.float().mean()
    assert {int(p.round()) % 2 for p in places.flatten()} == {0, 1}  # not every second one


@pytest.mark.parametrize("dims", [2, 3])
def test_windows_and_kept_fields_are_those_of_the_image(dims):
    network = make_network("unet3d", "iar+moe_image", dims=dims, stride=2)
    volume = torch.randn(20, 38, 34, generator=torch.Generator().manual_seed(3))
    kept = KeptFields(SIZES[dims], limit=10**9, precision="fp32")
    settings = WindowSettings(
        SIZES[dims], RefineConfig(points=40).build(), WindowConfig(overlap=0.5), scale=2,
        precision="fp32",
    )  # fmt: skip
    whole = predict_volume(network, volume, settings, keep=kept)
    depth = 40 if dims == 3 else 20
    assert whole.refined.shape == (3, depth, 76, 68)
    part = kept.render(DenseConfig().build(), ((2, 5, 3), (6, 20, 17)), scale=2)
    again = kept.render(DenseConfig().build(), ((0, 0, 0), (20, 38, 34)), scale=2)
    rows = slice(4, 12) if dims == 3 else slice(2, 6)
    assert torch.allclose(part.refined, again.refined[:, rows, 10:40, 6:34], atol=1e-5)


def test_supervision_needs_a_pixel_on_the_backbones_grid():
    data = run_data(
        network={"backbone_stride": 2},
        optimisation={"supervision_stride": 12, "supervision_grid": "backbone"},
    )
    with pytest.raises(ConfigError, match=r"\(12\) .* on the backbone's grid \(8\)"):
        decode(RunConfig, data, "")
    data["optimisation"]["supervision_grid"] = "image"
    decode(RunConfig, data, "")


def test_another_engine_computes_the_averaged_image():
    pytest.importorskip("openvino")
    network, image = make_network("unet", "plain", dims=2, stride=2), make_image(2)
    with torch.inference_mode():
        expected = network(image).coarse_grid(pixel_axes(SIZES[2]))
        used = use_engine(
            network, "openvino", device=torch.device("cpu"), window=SIZES[2], channels=1
        )
        assert used.startswith("openvino")
        found = network(image).coarse_grid(pixel_axes(SIZES[2]))
    assert torch.allclose(found, expected, atol=1e-3)
