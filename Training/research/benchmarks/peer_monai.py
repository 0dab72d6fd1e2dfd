"""Segment images with MONAI's ``UNet`` and ``sliding_window_inference``, as its tutorials do.

    python Training/research/benchmarks/peer_monai.py CHANNELS WINDOW OUTPUT IMAGE [IMAGE …]

Random weights; a whole process: reading, intensity, windows (MONAI's overlap of 0.25, Gaussian
blending), arg-max, writing. ``CHANNELS`` and ``WINDOW`` are numbers with commas between.
"""

import sys
from pathlib import Path

import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    EnsureChannelFirst,
    LoadImage,
    NormalizeIntensity,
    Orientation,
    SaveImage,
)

CLASSES = 3


def unet(channels: tuple[int, ...]) -> UNet:
    """MONAI's residual UNet, halving the resolution between two numbers of channels."""
    torch.manual_seed(0)
    return UNet(
        spatial_dims=3, in_channels=1, out_channels=CLASSES, channels=channels,
        strides=(2,) * (len(channels) - 1), num_res_units=2,
    ).eval()  # fmt: skip


def main(channels: str, window: str, output: str, *images: str) -> None:
    """Segment every image into the folder ``output``."""
    network = unet(tuple(map(int, channels.split(","))))
    size = tuple(map(int, window.split(",")))
    prepare = Compose([LoadImage(), EnsureChannelFirst(), Orientation("RAS"), NormalizeIntensity()])
    save = SaveImage(output_dir=output, output_postfix="seg", separate_folder=False,
                     output_dtype="uint8", print_log=False)  # fmt: skip
    for image in images:
        volume = prepare(Path(image))
        with torch.inference_mode():
            logits = sliding_window_inference(
                volume[None], size, 1, network, overlap=0.25, mode="gaussian"
            )
        save(MetaTensor(logits[0].argmax(0, keepdim=True), meta=volume.meta))


if __name__ == "__main__":
    main(*sys.argv[1:])
