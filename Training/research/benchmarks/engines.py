"""(g) How long OpenVINO takes for the backbone, over torch's time, on a CPU.

    python Training/research/benchmarks/engines.py --quick
    python Training/research/benchmarks/engines.py --precision fp32 --threads 1

It measures the feature maps alone: one window of the shipped model's 3D-UNet (40x56x40) and one
slice of the UNet (256x256). The conversion takes some seconds once a process and is not counted.
OpenVINO comes with the extra ``cpu``.
"""

import argparse
import copy
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

import torch

from MorseCore.errors import ConfigError
from MorseCore.inference.openvino import use_engine
from MorseCore.network import Network
from MorseCore.system.devices import Precision, autocast
from Training.research.benchmarks.inputs import PLAIN, make_network, noise
from Training.research.benchmarks.measuring import interleaved
from Training.research.benchmarks.overhead import BACKBONES, QUICK, TINY
from Training.research.benchmarks.report import Report, arguments, run_benchmark

CPU = torch.device("cpu")
WINDOWS = {3: (40, 56, 40), 2: (256, 256)}
TARGET = 1.0  # slower than torch it would be of no use


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    return run_benchmark("engines", arguments(__doc__), measure, words=words)


def measure(options: argparse.Namespace, report: Report) -> None:
    """3D and 2D."""
    for dims in (3, 2):
        backbone = TINY if options.smoke else QUICK if dims == 3 else BACKBONES[2]
        window = (16,) * dims if options.smoke else WINDOWS[dims]
        networks = {"torch": make_network(backbone, PLAIN, dims=dims, num_classes=3)}
        networks["openvino"] = copy.deepcopy(networks["torch"])
        try:
            engine = use_engine(networks["openvino"], "openvino", device=CPU, window=window)
        except ConfigError as error:  # an extra; the other benchmarks of all.py go on without it
            report.note(str(error))
            return
        report.note(f"{dims}D: {engine}")
        image = noise((1, 1, *window))
        found = interleaved(
            {n: partial(run, net, image, options.precision) for n, net in networks.items()},
            repeats=options.repeats or (1 if options.smoke else 7 if options.quick else 25),
            clock=options.clock, title=f"{dims}D",
        )  # fmt: skip
        report.add({f"{dims}D {name}": sample for name, sample in found.items()})
        report.add_ratio(f"{dims}D", found["openvino"], found["torch"], target=TARGET)


def run(network: Network, image: torch.Tensor, precision: Precision) -> None:
    """The maps of one window."""
    with torch.inference_mode(), autocast(CPU, precision):
        network.backbone(image)


if __name__ == "__main__":
    sys.exit(main())
