"""SwIPE's decoders, coordinates and field."""

import pytest
import torch
from torch.nn import functional

from MorseCore.heads.parts.fourier import sinusoids
from MorseCore.heads.swipe.decoder import OccupancyDecoder
from MorseCore.heads.swipe.neck import Embeddings
from MorseCore.points import index_to_coords, pixel_axes
from networks import TINY_SWIPE, make_image, make_network


def make_field(*, to_source=None, image=None, dims=2, **options):
    """A field on 8 x 16 (x 24) pixels in patches of 4, with embeddings drawn at random."""
    head = make_network(head=TINY_SWIPE | options, dims=dims).head
    size = (8, 16, 24)[:dims]
    grid = tuple(n // 4 for n in size)
    generator = torch.Generator().manual_seed(7)
    patches = torch.randn(2, 6, *grid, generator=generator)
    drawn = torch.randn(2, 6, generator=generator)
    embeddings = Embeddings(patches, drawn if image is None else image)
    return head.field_of(embeddings, size=size, to_source=to_source)


def decode_in_full(decoder, inputs):
    """The decoder by its definition: the whole input concatenated again before layer 1."""
    x = inputs
    for n, (layer, norm) in enumerate(zip(decoder.hidden, decoder.norms, strict=True)):
        x = layer(torch.cat([x, inputs], dim=-1) if n == 1 else x)
        x = functional.relu(norm(x))
    return decoder.predict(torch.cat([x, inputs], dim=-1) if len(decoder.hidden) == 1 else x)


@pytest.mark.parametrize("hidden", [(7,), (7, 5), (7, 5, 4)])
def test_a_decoder_is_a_network_on_the_concatenated_input_that_meets_it_again_at_layer_1(hidden):
    torch.manual_seed(0)
    decoder = OccupancyDecoder(3, 4, hidden, outputs=2, dropout=0.1).eval()
    local, codes = torch.randn(2, 9, 3), torch.randn(2, 5, 4)
    index = torch.randint(0, 5, (2, 9))
    gathered = torch.stack([c[i] for c, i in zip(codes, index, strict=True)])
    expected = decode_in_full(decoder, torch.cat([local, gathered], dim=-1))
    assert torch.allclose(decoder(local, decoder.project(codes), index), expected, atol=1e-6)
    one = decoder(local, decoder.project(codes[:, :1]))
    assert torch.allclose(one, decoder(local, decoder.project(codes), index * 0), atol=1e-6)


def test_dropout_follows_every_hidden_layer_but_the_last():
    decoder = OccupancyDecoder(3, 4, (8, 8, 8), outputs=2, dropout=0.1).train()
    calls = []
    decoder.dropout.register_forward_hook(lambda module, x, y: calls.append(x[0].shape))
    decoder(torch.randn(1, 5, 3), decoder.project(torch.randn(1, 1, 4)))
    assert len(calls) == 2


def test_weights_start_as_a_narrow_normal_and_biases_at_zero():
    torch.manual_seed(0)
    decoder = OccupancyDecoder(100, 100, (200, 200), outputs=2, dropout=0.0)
    assert decoder.hidden[1].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not any(layer.bias.any() for layer in (*decoder.hidden, decoder.predict))


def test_the_fixed_frequencies_run_from_1_to_64_without_a_factor_pi():
    encoded = sinusoids(torch.tensor([[[0.3, 0.0]]]), 6)[0, 0]
    assert encoded.shape == (24,)
    assert encoded[0].item() == pytest.approx(torch.tensor(0.3).sin().item())
    assert encoded[5].item() == pytest.approx(torch.tensor(64 * 0.3).sin().item(), abs=1e-5)
    assert encoded[6:12].tolist() == [0] * 6  # sin of the second axis
    assert encoded[18:].tolist() == [1] * 6


@pytest.mark.parametrize("dims", [2, 3])
def test_the_answer_of_a_neighbour_takes_its_embedding_and_the_coordinate_from_its_centre(dims):
    # Plausible and wrong: the neighbour's embedding with the local coordinate of one's own patch.
    field = make_field(dims=dims)
    coords = torch.rand(2, 30, dims) * 2 - 1
    own = field.patch_at(coords)
    other = field.near.of(own)[0][..., 1]
    for patch in (own, other):
        local = coords - index_to_coords(patch, field.grid)
        image = field.image[:, None].expand(-1, 30, -1)
        embedding = torch.stack([p[i] for p, i in zip(field.patches, patch, strict=True)])
        parts = [local, sinusoids(local, 2), coords, coords, embedding, image]
        expected = decode_in_full(field._patch_decoder, torch.cat(parts, dim=-1))
        assert torch.allclose(field.logits_from(coords, patch), expected, atol=1e-5)
    assert not torch.allclose(field.logits_from(coords, own), field.logits_from(coords, other))


def test_a_point_is_answered_from_the_embedding_of_its_own_patch():
    field, coords = make_field(), torch.rand(2, 30, 2) * 2 - 1
    assert torch.equal(field.logits(coords), field.logits_from(coords, field.patch_at(coords)))


@pytest.mark.parametrize("used", [True, False])
def test_the_patch_decoder_hears_of_the_image_embedding_unless_that_is_switched_off(used):
    coords = torch.rand(2, 9, 2) * 2 - 1
    one = make_field(image_in_patch=used).logits(coords)
    two = make_field(image_in_patch=used, image=torch.ones(2, 6)).logits(coords)
    assert torch.allclose(one, two) != used


def test_the_source_coordinate_is_the_place_in_the_image_that_the_crop_was_cut_from():
    # The right half of an image, and the lower right quarter.
    matrices = torch.tensor([[[0.5, 0, 0.5], [0, 1, 0]], [[0.5, 0, 0.5], [0, 0.5, 0.5]]])
    field = make_field(to_source=matrices)
    coords = torch.tensor([[[-1.0, -1.0], [0.5, 1.0]]]).expand(2, -1, -1)
    source = field.source_coords(coords)
    assert source[0].tolist() == [[0.0, -1.0], [0.75, 1.0]]
    assert source[1].tolist() == [[0.0, 0.0], [0.75, 1.0]]


@pytest.mark.parametrize("used", [True, False])
def test_where_a_crop_was_cut_changes_the_answer_only_with_the_source_coordinate(used):
    coords = torch.rand(2, 9, 2) * 2 - 1
    identity = torch.eye(2, 3).expand(2, -1, -1)
    moved = torch.tensor([[0.5, 0, 0.5], [0, 0.5, -0.5]]).expand(2, -1, -1)
    whole, same, part = (
        make_field(source_coordinate=used, to_source=m).logits(coords)
        for m in (None, identity, moved)
    )
    assert torch.allclose(whole, same)
    assert torch.allclose(whole, part) != used


def test_the_network_hands_the_place_of_a_crop_to_the_field():
    network, image = make_network(head="swipe", dims=2), make_image(2)
    moved = torch.tensor([[0.5, 0, 0.5], [0, 0.5, -0.5]]).expand(2, -1, -1)
    coords = torch.rand(2, 9, 2) * 2 - 1
    assert not torch.allclose(
        network(image).logits(coords), network(image, to_source=moved).logits(coords)
    )


def test_the_coarse_answer_is_the_image_decoders_and_the_final_one_the_patch_decoders():
    field, coords = make_field(), torch.rand(2, 9, 2) * 2 - 1
    coarse, final = field.coarse(coords), field.logits(coords)
    with torch.no_grad():
        field._image_decoder.predict.bias.add_(1)
    assert torch.allclose(field.coarse(coords), coarse + 1, atol=1e-6)
    assert torch.equal(field.logits(coords), final)
    inputs = torch.cat([coords, field.image[:, None].expand(-1, 9, -1)], dim=-1)
    expected = decode_in_full(field._image_decoder, inputs)
    assert torch.allclose(field.coarse(coords), expected, atol=1e-5)


def test_without_an_image_decoder_both_answers_are_the_same():
    field, coords = make_field(image_decoder=False), torch.rand(2, 9, 2) * 2 - 1
    assert field._image_decoder is None
    assert torch.equal(field.coarse(coords), field.logits(coords))


def neighbour_answers(field, coords):
    """Logits from each patch of ``coords`` (1, 1, 2) and its neighbours: (B, 1 + count, C)."""
    patch = field.patch_at(coords)
    own = int(patch[0, 0])
    near = field.near.table[own, : field.near.count[own]].tolist()
    answers = [field.logits_from(coords, torch.full_like(patch, n)) for n in (own, *near)]
    return torch.cat(answers, dim=1)


@pytest.mark.parametrize("con", [4, 8])
def test_the_variance_is_that_of_the_probabilities_over_the_patches_inside_the_grid(con):
    field = make_field(neighbours=con)
    coords = torch.tensor([[[-0.9, -0.9]]]).expand(2, -1, -1)  # in a corner: 2 or 3 neighbours
    p = neighbour_answers(field, coords).softmax(-1)
    assert p.shape[1] == (3 if con == 4 else 4)
    expected = p.var(dim=1, correction=0).sum(-1)
    assert torch.allclose(field.variance(coords)[:, 0], expected, atol=1e-6)
    assert field.variance(coords).min() > 0


def test_blending_averages_the_logits_of_a_patch_and_its_neighbours_and_only_at_inference():
    field = make_field(blend_neighbours=True)
    coords = torch.tensor([[[-0.9, 0.9]]]).expand(2, -1, -1)
    expected = neighbour_answers(field, coords).mean(1)
    assert torch.allclose(field.logits(coords)[:, 0], expected, atol=1e-5)
    network = make_network(head=TINY_SWIPE | {"blend_neighbours": True}, dims=2)
    assert network(make_image(2))._blend
    assert not network.train()(make_image(2))._blend


@pytest.mark.parametrize("dims", [2, 3])
def test_a_finer_grid_is_answered_between_the_pixels_and_agrees_where_they_coincide(dims):
    field = make_network(head="swipe", dims=dims)(make_image(dims))
    coarse = field.query_grid(field.pixels(), rendered=True)
    finer = field.query_grid(pixel_axes([3 * n for n in field.size]), rendered=True)
    middle = (..., *(slice(1, None, 3),) * dims)
    assert torch.allclose(finer[middle], coarse, atol=1e-4)


def test_the_field_answers_in_half_precision():
    network = make_network(head="swipe", dims=2).train()
    with torch.autocast("cpu", torch.bfloat16):
        field = network(make_image(2))
        assert torch.isfinite(field.logits(torch.rand(2, 9, 2))).all()
        assert torch.isfinite(field.coarse(torch.rand(2, 9, 2))).all()
    assert field.memory() > 0
