"""Small networks of every kind, for tests that hold for all of them."""

import torch

from MorseCore.config import decode
from MorseCore.field import Field
from MorseCore.network import Network, NetworkConfig

TINY_MORSE = {
    "name": "morse",
    "preset": "custom",
    "width": 8,
    "gate_stride": 2,
    "gate_depth": 2,
    "frequencies": 6,
    "render_width": 12,
}
BACKBONES = {
    "unet": {"name": "unet", "channels": [4, 6, 8], "dropout": [0.0, 0.1, 0.2]},
    "unet3d": {"name": "unet3d", "channels": [4, 6, 8]},
}
HEADS = {"plain": {"name": "plain"}, "morse": TINY_MORSE}


def make_network(
    backbone: str = "unet3d", head: str | dict = "morse", *, dims: int = 3, classes: int = 3
) -> Network:
    """A network with random weights, alike for every call, in evaluation mode."""
    torch.manual_seed(1)
    data = {
        "spatial_dims": dims,
        "backbone": BACKBONES[backbone],
        "head": HEADS[head] if isinstance(head, str) else head,
    }
    network = decode(NetworkConfig, data, "").build(num_classes=classes).eval()
    with torch.no_grad():  # heads begin at zero in places; a test needs them to do something
        for name, parameter in network.named_parameters():
            if "gate" in name or "predict" in name:
                parameter.normal_(std=0.5)
    return network


def make_image(dims: int, *, batch: int = 2) -> torch.Tensor:
    """(B, 1, *S) noise, sides divisible by 8 and all different."""
    size = (8, 16, 24)[:dims]
    return torch.randn(batch, 1, *size, generator=torch.Generator().manual_seed(5))


class Disc(Field):
    """A disc of radius 0.6, known everywhere; its coarse answer believes 0.5."""

    size = (32, 32)
    batch = 1
    device = torch.device("cpu")

    def coarse(self, coords: torch.Tensor) -> torch.Tensor:
        return self._logits(coords, 0.5)

    def logits(self, coords: torch.Tensor) -> torch.Tensor:
        return self._logits(coords, 0.6)

    def memory(self) -> int:
        return 0

    @staticmethod
    def _logits(coords: torch.Tensor, radius: float) -> torch.Tensor:
        inside = radius - coords.norm(dim=-1)
        return 20 * torch.stack([-inside, inside], dim=-1)
