"""(a) What MORSE costs at inference, over its backbone alone.

    python Training/research/benchmarks/overhead.py --quick
    python Training/research/benchmarks/overhead.py --clock cpu --threads 1 --output runs/benchmarks
    python Training/research/benchmarks/overhead.py --images ../shared/data/hippocampus/images

Two networks with the same backbone predict the same image by windows, rendering and blending. One
has MORSE's head (preset ``default``, the coarse mask at every second pixel), the other a linear
layer and renders nothing. 3D: one 96x96x96 window of the 3D-UNet, 2 x 8192 points. 2D: a 256x256
slice of the UNet, 2 x 4096 points, which are the paper's 8192 in two passes. Weights are random,
and all points are rendered, as in the paper. ``--images`` adds the shipped ``hippocampus-t1`` as it
is, on real images, where it leaves certain voxels out.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

import torch

from MorseCore.config import encode
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.preparation import prepare_scan
from MorseCore.inference.options import WindowSettings
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.renderers import RefineConfig
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import WindowConfig, load_network, read_model
from MorseCore.system.allocation import SMALL, keep_freed_memory
from Training.research.benchmarks.inputs import (
    PLAIN,
    count,
    find_images,
    make_network,
    morse,
    noise,
)
from Training.research.benchmarks.measuring import interleaved
from Training.research.benchmarks.report import Report, arguments, run_benchmark
from Training.research.shared.commandline import positive

SHIPPED = "hippocampus-t1"
CLASSES = {3: 3, 2: 5}
TARGETS = {3: 1.25, 2: 1.5}
BACKBONES: dict[int, dict[str, Any]] = {3: {"name": "unet3d"}, 2: {"name": "unet"}}
QUICK = {"name": "unet3d", "channels": [16, 32, 64, 128]}  # the shipped hippocampus model's
TINY = {"name": "unet3d", "channels": [4, 8]}


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    parser = arguments(__doc__)
    parser.add_argument("--images", type=Path, metavar="DIR", help="of hippocampi, .nii.gz")
    parser.add_argument("--cases", type=positive, default=5, metavar="N", help="of these images")
    return run_benchmark("overhead", parser, measure, words=words)


def measure(options: argparse.Namespace, report: Report) -> None:
    """3D and 2D, on the CPU and, where there is one, on the GPU."""
    keep_freed_memory(largest=SMALL)  # as `segment` does
    paths = find_images(options.images, options.cases) if options.images else []
    images = [read_volume(path) for path in paths]
    devices = [torch.device("cpu")]
    if torch.cuda.is_available():
        devices.append(torch.device("cuda"))
    for device in devices:
        for dims in (3, 2):
            measure_one(options, report, device, dims)
        if images:
            measure_shipped(options, report, device, images)


def measure_one(
    options: argparse.Namespace, report: Report, device: torch.device, dims: int
) -> None:
    """One ratio."""
    backbone, side, points = setting(dims, options)
    preset = "tiny" if options.smoke else "default"
    window = [side] * dims
    volume = noise([side] * 3 if dims == 3 else [1, side, side])
    networks = {
        name: make_network(backbone, head, dims=dims, num_classes=CLASSES[dims]).to(device)
        for name, head in (("MORSE", morse(preset)), ("backbone", PLAIN))
    }

    def predict(name: str) -> None:
        passes = 2 if name == "MORSE" else 0
        stride = 2 if name == "MORSE" else 1
        renderer = RefineConfig(points=points, passes=passes, coarse_stride=stride).build()
        settings = WindowSettings(window, renderer, WindowConfig(), precision=options.precision)
        predict_volume(networks[name], volume, settings)

    title = f"{dims}D {device.type}"
    compare(predict, title, f"{side}^{dims}", device, options, report, target=TARGETS[dims])
    counted = count(networks, size=window, stride=2, points=points, passes=2)
    report.note(f"{title}: {counted}; were all as quick: {counted.inference:.2f}x")


def measure_shipped(
    options: argparse.Namespace, report: Report, device: torch.device, images: Sequence[Volume]
) -> None:
    """The shipped model as it is, over its backbone."""
    folder = find_model(SHIPPED)
    info = read_model(folder)
    dims = info.network.spatial_dims
    volumes = [torch.from_numpy(prepare_scan(image, info.preparation)[0]) for image in images]
    backbone = encode(info.network)["backbone"]
    plain = make_network(backbone, PLAIN, dims=dims, num_classes=info.num_classes)
    networks = {"MORSE": load_network(folder, info, device=device), "backbone": plain.to(device)}
    renderers = {"MORSE": info.renderer.build(), "backbone": RefineConfig(passes=0).build()}

    def predict(name: str) -> None:
        settings = WindowSettings(
            info.preparation.window_size, renderers[name], info.windows,
            precision=options.precision,
        )  # fmt: skip
        for volume in volumes:
            predict_volume(networks[name], volume, settings)

    compare(predict, f"{SHIPPED} {device.type}", f"{len(volumes)} images", device, options, report,
            target=TARGETS[dims])  # fmt: skip


def compare(
    predict: Callable[[str], None],
    title: str,
    size: str,
    device: torch.device,
    options: argparse.Namespace,
    report: Report,
    *,
    target: float,
) -> None:
    """Time both in turn; add the ratio."""
    repeats = options.repeats or (1 if options.smoke else 5 if options.quick else 15)
    found = interleaved(
        {name: lambda name=name: predict(name) for name in ("MORSE", "backbone")},
        repeats=repeats, clock=options.clock, device=device, title=title,
    )  # fmt: skip
    report.add({f"{title} {size} {name}": sample for name, sample in found.items()})
    report.add_ratio(title, found["MORSE"], found["backbone"], target=target)


def setting(dims: int, options: argparse.Namespace) -> tuple[Mapping[str, Any], int, int]:
    """Backbone, side of the window, points a pass."""
    if options.smoke:
        return TINY, 16, 64
    if dims == 2:
        return BACKBONES[2], 256, 4096
    return (QUICK, 64, 8192) if options.quick else (BACKBONES[3], 96, 8192)


if __name__ == "__main__":
    sys.exit(main())
