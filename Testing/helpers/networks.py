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
TINY_RENDERING = {"preset": "custom", "width": 8, "frequencies": 6, "render_width": 12}
TINY_MIXTURE = {"preset": "custom", "width": 8, "gate_stride": 2, "gate_depth": 2}
MORSE_ROWS = {
    "moe": {"name": "moe", **TINY_MIXTURE},
    "smoe": {"name": "smoe", **TINY_MIXTURE, "drop_rate": 0.5},
    "iar": {"name": "iar", **TINY_RENDERING},
    "iar+moe": {"name": "iar+moe", **TINY_MIXTURE, **TINY_RENDERING},
    "iar_backbone": {"name": "iar", **TINY_RENDERING, "coarse_source": "backbone"},
    "pointrend": {"name": "pointrend", "width": 8, "point_width": 12},
    "implicit_pointrend": {
        "name": "implicit_pointrend", "width": 6, "features": 4, "frequencies": 6, "hidden": 10,
        "pool": 2,
    },
}  # fmt: skip
IMAGE_ROWS = {  # heads that look into the image at the points
    "iar+moe_image": {**MORSE_ROWS["iar+moe"], "image": "stem", "image_channels": 5},
    "iar_image": {**MORSE_ROWS["iar"], "image": "raw"},
    "implicit_image": {**MORSE_ROWS["implicit_pointrend"], "image": "raw"},
    "iosnet_image": {"name": "iosnet", "widths": [9, 8], "image": "stem", "image_channels": 5},
}
TINY_SWIPE = {
    "name": "swipe", "hidden": 4, "embedding": 6, "patch_stride": 4, "frequencies": 2,
    "patch_widths": [10, 8, 8], "image_widths": [8, 6], "spo_copies": 2,
}  # fmt: skip
TINY_I2NET = {"planes": 5, "widths": [7, 6], "gate_widths": [6]}
IMPLICIT = {
    "i2net": {"name": "i2net", **TINY_I2NET},
    "i2net_points": {"name": "i2net", **TINY_I2NET, "output": "points", "encoding": "ultra_pe",
                     "ensemble": "area", "frequencies": 2},
    "ifa": {"name": "ifa", "planes": 5, "widths": [7, 6]},
    "iosnet": {"name": "iosnet", "widths": [9, 8], "displacement": 0.1, "displaced": "concat",
               "global_pool": True},
}  # fmt: skip
BACKBONES = {
    "unet": {"name": "unet", "channels": [4, 6, 8], "dropout": [0.0, 0.1, 0.2]},
    "unet3d": {"name": "unet3d", "channels": [4, 6, 8]},
    "strided_unet": {"name": "strided_unet", "channels": [4, 6, 8]},
    "unet_bilinear": {"name": "unet_bilinear", "channels": [4, 6, 6]},
    "transunet": {
        "name": "transunet", "image_size": [8, 16], "width": 4, "units": [1, 1], "hidden": 6,
        "mlp": 5, "heads": 2, "layers": 1, "neck": 5, "decoder": [6, 5, 4], "maps": 2,
    },
    "unetr": {
        "name": "unetr", "image_size": [8, 16, 24], "channels": 3, "hidden": 6, "mlp": 5,
        "heads": 2, "layers": 3, "patch": 8,
    },
    "resnet": {"name": "resnet", "channels": [4, 6], "blocks": [1, 2]},
    "res2net": {"name": "res2net", "planes": [8, 6], "blocks": [1, 2], "base_width": 24,
                "stem": [4, 6]},
}  # fmt: skip
ONLY_2D = ("transunet",)
ENCODERS = ("resnet", "res2net")  # no decoder: refused by what reads the finest map alone
HEADS = {
    "plain": {"name": "plain"}, "morse": TINY_MORSE, **MORSE_ROWS, "swipe": TINY_SWIPE, **IMPLICIT,
    **IMAGE_ROWS,
}  # fmt: skip


def make_network(
    backbone: str = "unet3d",
    head: str | dict = "morse",
    *,
    dims: int = 3,
    classes: int = 3,
    stride: int = 1,
) -> Network:
    """A network with random weights, alike for every call, in evaluation mode."""
    torch.manual_seed(1)
    sizes = dict(BACKBONES[backbone])
    if "image_size" in sizes:
        sizes["image_size"] = sizes["image_size"][:dims]
    data = {
        "spatial_dims": dims,
        "backbone_stride": stride,
        "backbone": sizes,
        "head": HEADS[head] if isinstance(head, str) else head,
    }
    network = decode(NetworkConfig, data, "").build(num_classes=classes).eval()
    with torch.no_grad():  # heads begin at zero in places; a test needs them to do something
        for name, parameter in network.named_parameters():
            if any(part in name for part in ("gate", "predict", "_decoder.hidden")):
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
