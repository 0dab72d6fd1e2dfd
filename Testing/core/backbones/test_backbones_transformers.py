"""UNETR and TransUNet do what their definitions say."""

import re

import pytest
import torch
from monai.networks.blocks import selfattention
from monai.networks.nets import UNETR as MonaiUNETR  # noqa: N811 - a name in capitals
from scipy.ndimage import zoom

from MorseCore.backbones import BACKBONES
from MorseCore.backbones.transformer import TransformerBlock
from MorseCore.config import decode
from MorseCore.errors import ConfigError
from MorseCore.network import NetworkConfig

SMALL_TRANSUNET = {
    "image_size": (64, 32), "width": 4, "units": (1, 1, 1), "hidden": 6, "mlp": 5, "heads": 2,
    "layers": 2, "neck": 5, "decoder": (7, 6, 5, 4),
}  # fmt: skip


def test_a_block_equals_torchs_encoder_layer_with_the_norm_first():
    torch.manual_seed(0)
    theirs = torch.nn.TransformerEncoderLayer(
        12, 3, 20, dropout=0.0, activation="gelu", norm_first=True, batch_first=True,
        layer_norm_eps=1e-6,
    )  # fmt: skip
    ours = TransformerBlock(12, mlp=20, heads=3, qkv_bias=True, epsilon=1e-6)
    names = {
        "self_attn.in_proj_": "qkv.", "self_attn.out_proj": "project", "linear1": "mlp.0",
        "linear2": "mlp.3", "norm1": "norm_attention", "norm2": "norm_mlp",
    }  # fmt: skip
    ours.load_state_dict(renamed(theirs.state_dict(), names))
    tokens = torch.randn(2, 5, 12)
    assert torch.allclose(ours(tokens), theirs(tokens), atol=1e-5)


def renamed(weights: dict[str, torch.Tensor], names: dict[str, str]) -> dict[str, torch.Tensor]:
    """State with every regular expression of ``names`` replaced in its keys."""
    result = {}
    for key, value in weights.items():
        for old, new in names.items():
            key = re.sub(old, new, key)
        result[key] = value
    return result


class Rearrange(torch.nn.Module):
    """The two patterns of einops that MONAI's attention asks for, so that einops is not needed."""

    def __init__(self, pattern: str, **sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if "qkv" in self.sizes:  # b h (qkv l d) -> qkv b l h d
            return x.unflatten(2, (3, self.sizes["l"], -1)).permute(2, 0, 3, 1, 4)
        return x.transpose(1, 2).flatten(2)  # b l h d -> b h (l d)


@pytest.mark.parametrize("dims", [2, 3])
def test_unetr_equals_monais(dims, monkeypatch):
    monkeypatch.setattr(selfattention, "Rearrange", Rearrange)
    torch.manual_seed(0)
    size = (32, 16, 48)[:dims]
    theirs = MonaiUNETR(
        2, 3, size, feature_size=4, hidden_size=12, mlp_dim=10, num_heads=3, spatial_dims=dims
    ).eval()
    config = BACKBONES["unetr"](image_size=size, channels=4, hidden=12, mlp=10, heads=3)
    ours = config.build(in_channels=2, spatial_dims=dims).eval()
    names = {
        r"\.conv\.weight": ".weight",
        r"conv3\.weight": "shortcut.weight",
        r"vit\.patch_embedding\.patch_embeddings": "embed",
        r"vit\.patch_embedding\.position_embeddings": "positions",
        r"vit\.": "",
        r"norm1": "norm_attention",
        r"norm2": "norm_mlp",
        r"attn\.": "",
        r"out_proj": "project",
        r"mlp\.linear1": "mlp.0",
        r"mlp\.linear2": "mlp.3",
        r"encoder1\.layer": "image_skip",
        r"transp_conv_init": "0",
        r"(encoder\d)\.blocks\.0\.0": r"\1.1",
        r"(encoder\d)\.blocks\.0\.1": r"\1.2",
        r"(encoder\d)\.blocks\.1\.0": r"\1.3",
        r"(encoder\d)\.blocks\.1\.1": r"\1.4",
        r"encoder2": "skips.0",
        r"encoder3": "skips.1",
        r"encoder4": "skips.2",
        r"decoder5": "decoders.0",
        r"decoder4": "decoders.1",
        r"decoder3": "decoders.2",
        r"decoder2": "decoders.3",
        r"transp_conv\.": "up.",
        r"conv_block": "block",
    }
    weights = {k: v for k, v in theirs.state_dict().items() if "cross" not in k and "out." not in k}
    weights = renamed(weights, names)
    weights["positions"] = weights["positions"].transpose(1, 2).unflatten(2, ours.grid)
    ours.load_state_dict(weights)
    theirs.out = torch.nn.Identity()
    with torch.no_grad():
        image = torch.randn(2, 2, *size)
        assert torch.allclose(ours(image).levels[-1], theirs(image), atol=1e-4)


def test_unetr_takes_only_the_size_it_was_made_for():
    sizes = {"hidden": 6, "mlp": 5, "heads": 2, "channels": 2, "layers": 4}
    data = {
        "spatial_dims": 2,
        "backbone": {"name": "unetr", "image_size": [32, 16], **sizes},
        "head": {"name": "plain"},
    }
    network = decode(NetworkConfig, data, "").build(num_classes=2)
    network.check_size([32, 16])
    with pytest.raises(ConfigError, match=r"'preparation.window' must be .* \(32, 16\); found"):
        network.check_size([32, 32], what="'preparation.window'")
    with pytest.raises(ConfigError, match=r"size of the image must be .*found \(16, 32\)"):
        network(torch.zeros(1, 1, 16, 32))


def test_unetr_wants_an_image_size_for_every_dimension():
    with pytest.raises(ConfigError, match="'image_size' must hold 2 sizes"):
        BACKBONES["unetr"]().build(in_channels=1, spatial_dims=2)


def test_transunet_is_refused_in_3d():
    with pytest.raises(ConfigError, match="'transunet' is two-dimensional"):
        BACKBONES["transunet"]().build(in_channels=1, spatial_dims=3)


def transunet(*, in_channels: int = 1) -> torch.nn.Module:
    torch.manual_seed(0)
    backbone = BACKBONES["transunet"](**SMALL_TRANSUNET)
    network = backbone.build(in_channels=in_channels, spatial_dims=2).eval()
    torch.nn.init.normal_(network.positions)
    return network


# Of each of the finest map's channels: mean, deviation, and values at (0, 0) and (31, 0).
OFFICIAL = [
    [12.659369, 23.004953, 6.492282, 2.922395],
    [27.763199, 38.985561, 11.498442, 4.792047],
    [54.103561, 60.080578, 10.521084, 4.518756],
    [61.663456, 68.106499, 4.515133, 2.366168],
]


def test_transunet_gives_the_numbers_of_the_official_code():
    """They were computed by that code (Beckschen/TransUNet, commit 02ef001) with these weights."""
    config = BACKBONES["transunet"](
        image_size=(32, 32), width=32, units=(1, 2, 1), hidden=6, mlp=5, heads=2, layers=2,
        decoder=(7, 6, 5, 4),
    )  # fmt: skip
    network = config.build(in_channels=1, spatial_dims=2).eval()
    with torch.no_grad():
        for n, parameter in enumerate(network.parameters()):
            steps = torch.arange(parameter.numel(), dtype=torch.float64).view(parameter.shape)
            wave = torch.sin(0.37 * steps + n).float()
            parameter.copy_(1 + 0.3 * wave if parameter.ndim == 1 else 0.5 * wave)
        image = torch.sin(0.01 * torch.arange(1024.0) ** 1.5).view(1, 1, 32, 32)
        finest = network(image).levels[-1][0]
    found = [finest.mean((1, 2)), finest.std((1, 2)), finest[:, 0, 0], finest[:, 31, 0]]
    assert torch.allclose(torch.stack(found, dim=1), torch.tensor(OFFICIAL), rtol=1e-3)


def test_transunet_repeats_a_grey_image_to_three_channels():
    grey, coloured = transunet(), transunet(in_channels=3)
    coloured.load_state_dict(grey.state_dict())
    image = torch.randn(1, 1, 64, 32)
    with torch.no_grad():
        maps, others = grey(image).levels, coloured(image.repeat(1, 3, 1, 1)).levels
    assert all(torch.equal(a, b) for a, b in zip(maps, others, strict=True))


def test_transunet_interpolates_its_position_embedding_as_the_official_loader_does():
    network = transunet()
    grid = (6, 5)
    with torch.no_grad():
        ours = network._positions(torch.Size(grid))[0].permute(1, 2, 0)
    old = network.positions.detach()[0].permute(1, 2, 0).numpy()
    theirs = zoom(old, (grid[0] / old.shape[0], grid[1] / old.shape[1], 1), order=1)
    assert ours.shape == (*grid, 6)
    assert torch.allclose(ours, torch.from_numpy(theirs), atol=1e-5)
    assert network(torch.zeros(1, 1, 96, 80)).levels[-1].shape == (1, 4, 96, 80)


def test_transunet_tells_places_apart_by_its_position_embedding():
    network = transunet()
    image = torch.randn(1, 1, 64, 32)
    with torch.no_grad():
        before = network(image).levels[-1]
        network.positions.copy_(network.positions.flip(2))
        assert not torch.allclose(network(image).levels[-1], before, atol=1e-4)


def test_transunet_decodes_with_every_skip_of_its_resnet():
    network = transunet()
    image = torch.randn(1, 1, 64, 32)
    encode = network.encoder.forward
    with torch.no_grad():
        before = network(image).levels[-1]
        for n in range(3):

            def without(x, n=n):
                coarse, skips = encode(x)
                skips[n] = torch.zeros_like(skips[n])
                return coarse, skips

            network.encoder.forward = without
            assert not torch.allclose(network(image).levels[-1], before, atol=1e-4)
