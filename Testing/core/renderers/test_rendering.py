"""Positional encoding, rendering head, and what holds for renderers of every kind."""

import json
import math
import shutil
from math import prod
from pathlib import Path

import pytest
import torch

from cli_client import CommandLine, read_report
from MorseCore.errors import ConfigError
from MorseCore.heads.parts.fourier import FourierEncoding
from MorseCore.inference.options import PredictOptions
from MorseCore.network import Network
from MorseCore.points import gather_points, margin, pick_coords, pixel_axes, scatter_points
from MorseCore.renderers import (
    RENDERERS,
    DenseConfig,
    MiseConfig,
    RefineConfig,
    ReleasedMiseConfig,
    Renderer,
    SubdivideConfig,
)
from MorseCore.renderers.renderer import ask_pixels, coarse_logits
from MorseCore.store.library import find_model
from networks import TINY_MORSE, Disc, make_image, make_network

SOME = {
    "dense": {},
    "refine": {"points": 11, "passes": 2},
    "subdivide": {"points": 11, "stride": 4},
    "mise": {"stride": 4},
    "mise_released": {},
}
EVERY = [(name, dims) for name in RENDERERS for dims in (2, 3)]


def renderer(name: str) -> Renderer:
    return RENDERERS.decode({"name": name, **SOME[name]}, "").build()


def make_balanced(dims: int) -> Network:
    """A network whose random answers hold every class, so that there are boundaries to render."""
    network = make_network("unet" if dims == 2 else "unet3d", dims=dims)
    field = network(make_image(dims))
    with torch.no_grad():
        mean = field.query_grid(field.pixels(), rendered=True).transpose(0, 1).flatten(1).mean(1)
        network.head.render.predict.bias -= mean
    return network


def test_the_encoding_is_equation_3_with_trained_frequencies():
    encoding = FourierEncoding(2, 1)
    with torch.no_grad():
        encoding.frequencies.copy_(torch.tensor([[0.25], [0.0]]))
    encoded = encoding(torch.tensor([[[1.0, 0.3]]]))  # 2 pi * 0.25 * 1 = a quarter turn
    assert encoded.flatten().tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    encoded.sum().backward()
    assert encoding.frequencies.grad is not None


def test_the_frequencies_start_as_a_gaussian_of_the_given_width():
    torch.manual_seed(0)
    frequencies = FourierEncoding(3, 4000, sigma=2.0).frequencies
    assert frequencies.mean().item() == pytest.approx(0.0, abs=0.1)
    assert frequencies.std().item() == pytest.approx(2.0, abs=0.1)


def test_the_position_of_a_point_changes_what_is_rendered_there():
    network = make_network("unet3d", TINY_MORSE)
    render = network.head.render
    features, coarse = torch.randn(1, 1, 8), torch.randn(1, 1, 3)
    here, there = (render(torch.full((1, 1, 3), x), features, coarse) for x in (0.1, 0.5))
    assert not torch.allclose(here, there)


def test_a_residual_head_starts_near_the_identity_and_the_papers_does_not():
    for residual in (True, False):
        network = make_network("unet3d", TINY_MORSE | {"residual": residual})
        torch.nn.init.normal_(network.head.render.predict.weight, std=0.001)
        torch.nn.init.zeros_(network.head.render.predict.bias)
        field = network(make_image(3))
        coords = torch.rand(2, 30, 3) * 2 - 1
        near = torch.allclose(field.coarse(coords), field.logits(coords), atol=0.05)
        assert near == residual


@pytest.mark.parametrize("dims", [2, 3])
def test_refining_all_points_equals_rendering_densely(dims):
    field = make_network("unet" if dims == 2 else "unet3d", dims=dims)(make_image(dims))
    refined = RefineConfig(points=10**6, passes=1).build().render(field).refined
    assert torch.allclose(refined, DenseConfig().build().render(field).refined, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_refinement_changes_the_chosen_pixels_and_no_others(dims):
    field = make_network("unet" if dims == 2 else "unet3d", dims=dims)(make_image(dims))
    result = RefineConfig(points=11, passes=1).build().render(field)
    changed = (result.refined != result.coarse).any(1).flatten(1)
    for n in range(2):
        assert set(changed[n].nonzero()[:, 0].tolist()) == set(result.index[n].tolist())


def test_the_most_uncertain_pixels_are_rendered():
    field = make_network("unet", dims=2)(make_image(2))
    result = RefineConfig(points=7, passes=1).build().render(field)
    uncertainty = margin(result.coarse.flatten(2), dim=1)
    chosen = uncertainty.gather(1, result.index)
    rest = uncertainty.scatter(1, result.index, float("-inf"))
    assert (chosen.min(1).values >= rest.max(1).values).all()


@pytest.mark.parametrize("points", [{"points": 20}, {"points_fraction": 0.15}])
@pytest.mark.parametrize("stride", [1, 2])
def test_passes_at_once_are_passes_one_after_the_other(points, stride):
    field = make_network("unet", dims=2)(make_image(2))
    with torch.inference_mode():
        found = RefineConfig(**points, passes=3, coarse_stride=stride).build().render(field)
        coarse = coarse_logits(field, field.pixels(), stride=stride)
        sure = -margin(coarse.flatten(2), dim=1)
        refined, count = coarse, round(0.15 * 128) if "points_fraction" in points else 20
        for _ in range(3):
            index = (-sure).topk(count, dim=1).indices
            refined = scatter_points(refined, index, ask_pixels(field, field.pixels(), index))
            sure = sure.scatter(1, index, float("inf"))
    assert torch.allclose(found.refined, refined, atol=1e-5)
    assert found.index.shape == (2, 3 * count)
    assert torch.equal(found.index[:, -count:].sort(1).values, index.sort(1).values)


def test_more_points_than_pixels_render_every_pixel_once():
    field = make_network("unet", dims=2)(make_image(2))
    result = RefineConfig(points=100, passes=5).build().render(field)
    assert sorted(result.index[0].tolist()) == list(range(8 * 16))


def test_few_numbers_of_points_are_asked_for_whatever_the_image():
    """Each number is a shape for which oneDNN makes and keeps kernels: memory grew by windows."""
    asked = []

    class Spy(Disc):
        def logits(self, coords: torch.Tensor) -> torch.Tensor:
            asked.append(coords.shape[1])
            return super().logits(coords)

    axes = pixel_axes((128, 128))
    index = torch.arange(3000)[None]
    for count in range(1, 3001):
        answers = ask_pixels(Spy(), axes, index[:, :count])
        assert torch.equal(answers, Disc().logits(pick_coords(axes, index[:, :count])))
        assert asked[-1] < min(2 * count, count + 512)
    assert len(set(asked)) == 15  # 1, 2 ... 512, 1024 ... 3072


def test_no_passes_leave_the_coarse_mask():
    result = RefineConfig(passes=0).build().render(Disc())
    assert torch.equal(result.refined, result.coarse)
    assert result.index.shape == (1, 0)


def test_refinement_finds_the_true_boundary_when_the_coarse_mask_is_too_small():
    truth = Disc().query_grid(pixel_axes((32, 32)), rendered=True).max(1).indices
    result = RefineConfig(points=300, passes=1).build().render(Disc())
    assert torch.equal(result.refined.max(1).indices, truth)
    assert not torch.equal(result.coarse.max(1).indices, truth)


def test_a_finer_grid_asks_the_field_between_its_pixels():
    result = RefineConfig(points=10**6, passes=1).build().render(Disc(), pixel_axes((128, 128)))
    area = (result.refined.max(1).indices.sum() / 128**2 * 4).item()
    assert area == pytest.approx(math.pi * 0.6**2, rel=0.005)


def test_a_coarse_stride_approximates_the_coarse_map_but_not_the_points():
    field = make_network("unet", dims=2)(make_image(2))
    exact = RefineConfig(points=10, passes=1).build().render(field)
    strided = RefineConfig(points=10, passes=1, coarse_stride=2).build().render(field)
    assert not torch.allclose(strided.coarse, exact.coarse)
    dense = DenseConfig().build().render(field).refined
    points = gather_points(strided.refined, strided.index)
    assert torch.allclose(points, gather_points(dense, strided.index), atol=1e-5)


def test_a_share_of_the_pixels_may_stand_in_for_a_number_of_points():
    field = make_network("unet", dims=2)(make_image(2))
    result = RefineConfig(points=7, passes=2, points_fraction=0.25).build().render(field)
    assert result.index.shape == (2, 2 * 8 * 16 // 4)
    assert result.evaluations == 2 * 2 * 8 * 16 // 4


def test_impossible_numbers_are_refused_by_name():
    for config, arguments, name in (
        (RefineConfig, {"coarse_stride": 0}, "coarse_stride"),
        (RefineConfig, {"points_fraction": 1.5}, "points_fraction"),
        (RefineConfig, {"certain_margin": -1.0}, "certain_margin"),
        (RefineConfig, {"certain_margin": 1.0, "uncertainty": "head"}, "certain_margin"),
        (SubdivideConfig, {"points": -1}, "points"),
        (SubdivideConfig, {"stride": 6}, "stride"),
        (MiseConfig, {"stride": 3}, "stride"),
        (MiseConfig, {"rings": -1}, "rings"),
        (ReleasedMiseConfig, {"width": 4}, "width"),
    ):
        with pytest.raises(ConfigError, match=f"'{name}'"):
            config(**arguments)


def test_a_part_of_the_image_is_rendered_as_in_the_whole():
    field = make_network("unet", dims=2)(make_image(2, batch=1))
    rows, columns = field.pixels()
    whole = DenseConfig().build().render(field)
    part = DenseConfig().build().render(field, (rows[2:5], columns[3:11]))
    assert torch.allclose(part.refined, whole.refined[..., 2:5, 3:11], atol=1e-5)
    strided = RefineConfig(points=0, coarse_stride=2).build().render(field, (rows[2:6], columns))
    assert strided.coarse.shape == (1, 3, 4, 16)


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_at_the_rendered_pixels_stands_the_fields_own_answer(name, dims):
    """Indices go round: number -> coordinate -> number, over all axes (the released 3D code wrote
    every voxel into the first slice)."""
    field = make_balanced(dims)(make_image(dims))
    axes = [axis[n + 1 : -2] for n, axis in enumerate(pixel_axes((16, 32, 48)[:dims]))]
    result = renderer(name).render(field, axes)
    answers = field.logits(pick_coords(axes, result.index))
    assert result.refined.shape == result.coarse.shape == (2, 3, *(13, 28, 43)[:dims])
    assert torch.allclose(gather_points(result.refined, result.index), answers, atol=1e-5)
    assert result.index.max() >= prod(len(axis) for axis in axes[1:])  # beyond the first slice
    assert not torch.allclose(result.refined, result.coarse, atol=1e-3)


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_an_image_is_rendered_alike_alone_and_in_a_batch(name, dims):
    network, image = make_balanced(dims), make_image(dims)
    image[1] *= 0.3  # another image needs other points, maybe fewer
    together, alone = (renderer(name).render(network(x)) for x in (image, image[1:]))
    assert torch.allclose(together.refined[1:], alone.refined, atol=1e-4)
    assert set(together.index[1].tolist()) == set(alone.index[0].tolist())


@pytest.mark.parametrize(("name", "dims"), EVERY)
def test_every_renderer_works_in_half_precision(name, dims):
    network = make_balanced(dims)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        result = renderer(name).render(network(make_image(dims)))
    assert torch.isfinite(result.refined).all()
    assert torch.isfinite(result.coarse).all()


@pytest.mark.parametrize("name", list(RENDERERS))
def test_a_user_may_choose_the_numbers_that_a_renderer_has_and_no_others(name):
    config = RENDERERS.decode({"name": name}, "")
    assert PredictOptions().renderer(config, window=(8, 8)) == config
    for number in ("points", "passes"):
        options = PredictOptions(**{number: 3})
        if hasattr(config, number):
            assert getattr(options.renderer(config, window=(8, 8)), number) == 3
        else:
            with pytest.raises(ConfigError, match=f"'{name}'.* no number of {number}"):
                options.renderer(config, window=(8, 8))


def test_a_chosen_number_of_points_counts_more_than_a_models_share():
    chosen = PredictOptions(points=5).renderer(RefineConfig(points_fraction=0.5), window=(8, 8))
    assert chosen.points_of(1000) == 5
    assert RefineConfig(points_fraction=0.5).points_of(1000) == 500


def model_with(renderer: dict, folder: Path) -> Path:
    """phantom-tiny with another renderer."""
    shutil.copytree(find_model("phantom-tiny"), folder / "phantom-tiny")
    path = folder / "phantom-tiny" / "model.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data | {"renderer": renderer}), encoding="utf-8")
    return folder / "phantom-tiny"


def test_a_number_that_a_models_renderer_lacks_is_refused_before_the_first_case(
    command: CommandLine, scan: Path, tmp_path: Path
):
    model = model_with({"name": "mise"}, tmp_path)
    for number in ("points", "passes"):
        outcome = command.segment(scan, output=tmp_path / "out", model=model, **{number: 3})
        assert outcome.code == 2
        assert f"'mise', which has no number of {number}" in outcome.sentence
    assert not list((tmp_path / "out").glob("phantom/*"))


@pytest.mark.parametrize("name", ["subdivide", "mise"])
def test_a_model_may_be_rendered_in_another_way(
    command: CommandLine, scan: Path, tmp_path: Path, name: str
):
    model = model_with({"name": name, "stride": 2}, tmp_path)
    assert command.segment(scan, output=tmp_path / "out", model=model).code == 0
    report = read_report(tmp_path / "out" / "phantom")
    assert (report["parameters"]["renderer"], report["parameters"]["stride"]) == (name, 2)
    assert 0 < report["points"]["rendered_voxels"] <= report["points"]["evaluated"]
