"""(d) How long a training step of MORSE takes, over one of the baseline.

    python Training/research/benchmarks/training.py --quick

Both have the same backbone and the same step (batch, losses, gradient, optimiser); the baseline's
head is a linear layer. In the first half of a run MORSE's rendering loss has weight 0 (AWA, Eq. 4)
and is not computed. So both halves are measured, and the figure is the mean over a run. The
configurations are those of ``Training/configs``: the hippocampus in 3D, the abdomen in 2D.
"""

import argparse
import copy
import sys
from collections.abc import Callable
from itertools import repeat
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

import torch

from MorseCore.config import decode, read_json
from MorseCore.system.allocation import keep_freed_memory
from MorseCore.system.devices import resolve_device
from MorseCore.training.config import RunConfig
from MorseCore.training.distributed import World
from MorseCore.training.samples import Minibatch
from MorseCore.training.step import Stepper
from Training.research.benchmarks.inputs import PLAIN, Operations, count, make_network, morse
from Training.research.benchmarks.measuring import Sample, interleaved
from Training.research.benchmarks.report import Report, arguments, run_benchmark

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = {3: "hippocampus-t1.json", 2: "abdomen-mr-2d.json"}
TARGET = 1.3
CLASSES = {3: 3, 2: 5}


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    return run_benchmark("training", arguments(__doc__), measure, words=words)


def measure(options: argparse.Namespace, report: Report) -> None:
    """3D and 2D."""
    keep_freed_memory()  # as train.py does
    for dims in (3, 2):
        measure_one(options, report, dims)


def measure_one(options: argparse.Namespace, report: Report, dims: int) -> None:
    """One ratio: the mean over a run, of which one half renders."""
    data = configuration(dims, options)
    baseline = copy.deepcopy(data)
    baseline["network"]["head"] = PLAIN
    actions: dict[str, Callable[[], object]] = {
        "baseline": step_of(baseline, dims, second_half=False),
        "MORSE, first half": step_of(data, dims, second_half=False),
        "MORSE, second half": step_of(data, dims, second_half=True),
    }
    repeats = options.repeats or (1 if options.smoke else 4 if options.quick else 12)
    device = resolve_device("auto")
    found = interleaved(
        actions, repeats=repeats, clock=options.clock, device=device, title=f"{dims}D"
    )
    report.add({f"{dims}D {name}": sample for name, sample in found.items()})
    halves = [found["MORSE, first half"].values, found["MORSE, second half"].values]
    mean = Sample(tuple((a + b) / 2 for a, b in zip(*halves, strict=True)))
    report.add_ratio(f"{dims}D", mean, found["baseline"], target=TARGET)
    counted = count_operations(data, dims)
    report.note(f"{dims}D, a window: {counted}; were all as quick: {counted.training:.2f}x")


def count_operations(data: dict[str, Any], dims: int) -> Operations:
    """Operations of the forward pass; the backward one has twice as many, in both networks."""
    config = decode(RunConfig, data, "")
    backbone = data["network"]["backbone"]
    networks = {
        name: make_network(backbone, head, dims=dims, num_classes=CLASSES[dims])
        for name, head in (("MORSE", data["network"]["head"]), ("backbone", PLAIN))
    }
    return count(
        networks, size=config.preparation.window_size, passes=1,
        stride=config.optimisation.supervision_stride, points=config.sampler.points,
    )  # fmt: skip


def configuration(dims: int, options: argparse.Namespace) -> dict[str, Any]:
    """The JSON of a run on the CPU, or on the GPU if there is one."""
    data = read_json(CONFIGS / NAMES[dims])
    data["device"] = "auto"
    data["optimisation"]["precision"] = options.precision
    data["network"]["head"] = morse()
    if options.smoke:
        data["preparation"]["window"] = [16] * dims
        data["network"]["backbone"] = {"name": "unet3d", "channels": [4, 8]}
        data["network"]["head"] = morse("tiny")
        data["sampler"]["points"] = 32
        data["optimisation"]["batch_size"] = 1
    elif options.quick and dims == 2:
        data["optimisation"]["batch_size"] = 1
    return data


def step_of(data: dict[str, Any], dims: int, *, second_half: bool) -> Callable[[], object]:
    """A step of a run in its first or second half, on a batch of noise with a box in it."""
    config = decode(RunConfig, data, "")
    torch.manual_seed(0)
    network = config.network.build(num_classes=CLASSES[dims])
    stepper = Stepper(config, network, World(0, 1, resolve_device(config.device)))
    size = config.preparation.window_size
    shape = (config.optimisation.batch_size, *size)
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(shape, dtype=torch.long)
    labels[(slice(None), *(slice(n // 4, 3 * n // 4) for n in size))] = 1
    image = torch.randn((shape[0], 1, *size), generator=generator)
    to_source = torch.eye(dims, dims + 1).expand(shape[0], dims, dims + 1)
    batch = Minibatch(image, labels, to_source, torch.zeros(shape[0], 0, dims))
    number = config.optimisation.iterations - 1 if second_half else 0
    return lambda: stepper.step(number, repeat(batch))


if __name__ == "__main__":
    sys.exit(main())
