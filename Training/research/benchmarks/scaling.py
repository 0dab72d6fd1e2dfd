"""(e) Time and peak memory from 64x64x64 to 512x512x1000, finer output, and more points.

    python Training/research/benchmarks/scaling.py --quick
    python Training/research/benchmarks/scaling.py --output DIR     (an hour, 4 GB and more)

Each measurement is a process of its own. It segments a scan of smoothed noise (16-bit integers,
1 mm) with the shipped ``hippocampus-t1``, from voxels to masks, points and changes, and reports its
time and peak memory. Is time linear in volume? The figure is the time per voxel of the largest
image over that of the smallest image with several windows. Memory: the peak above the loaded and
warm model, the scan included, over the scan as float32. ``--quick`` leaves memory out: its images
are smaller than what windows need and the heap keeps. x2: the time of an output twice as fine over
x1. Points: at most so many, as long as voxels are uncertain; 65,536 include certain ones.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from MorseCore.errors import ConfigError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.store.library import find_model
from MorseCore.system.allocation import SMALL, keep_freed_memory
from Training.research.benchmarks.measuring import Figure, Sample, peak_bytes, run_child
from Training.research.benchmarks.report import Report, arguments, run_benchmark
from Training.research.shared.commandline import positive

FULL = [(64, 64, 64), (128, 128, 128), (256, 256, 256), (300, 512, 512), (1000, 512, 512)]
QUICK = [(64, 64, 64), (80, 128, 128), (240, 128, 128)]
SMOKE = [(16, 16, 16), (16, 32, 32)]
WARM = (8, 8, 8)
MODEL = "hippocampus-t1"
Shape = tuple[int, ...]


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--largest", type=positive, metavar="VOXELS", help="leave out larger images"
    )
    return run_benchmark("scaling", parser, measure, words=words, child=child)


def measure(options: argparse.Namespace, report: Report) -> None:
    """Sizes with and without refinement, then finer outputs, then points."""
    shapes = SMOKE if options.smoke else QUICK if options.quick else FULL
    shapes = [s for s in shapes if not options.largest or prod(s) <= options.largest]
    if not shapes:
        raise ConfigError(f"'--largest' {options.largest} leaves no image to measure.")
    repeats = options.repeats or (1 if options.smoke or options.quick else 3)
    found = run_tasks(list(plan(shapes, options)), repeats=repeats)
    times = {n: Sample(tuple(r["seconds"] for r in runs)) for n, runs in found.items()}
    peaks = {n: max(r["peak"] - r["loaded"] for r in runs) for n, runs in found.items()}
    report.add(times)
    report.add({f"{n}, memory": Sample((peak / 2**20,), "MiB") for n, peak in peaks.items()})
    report.figures += conclude(shapes, times, peaks)
    share = max(r["foreground"] for runs in found.values() for r in runs)
    report.note(f"Foreground: at most {share:.2%} of the voxels.")


def run_tasks(
    tasks: Sequence[tuple[str, dict[str, Any]]], *, repeats: int
) -> dict[str, list[dict[str, float]]]:
    """The answers of each task's processes."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name, _ in tasks}
    with tqdm(total=repeats * len(tasks), leave=False) as bar:
        for _ in range(repeats):  # in turn, so that a busy minute meets all of them
            for name, task in tasks:
                bar.set_description(name)
                found[name].append(run_child(__file__, task))
                bar.update()
    return found


def plan(shapes: Sequence[Shape], options: argparse.Namespace) -> Iterator[tuple[str, dict]]:
    """What to measure: a name and a task for a child process."""
    common = {"smoke": options.smoke, "clock": options.clock, "threads": torch.get_num_threads()}
    points = 64 if options.smoke else 8192
    base = common | {"points": points, "passes": 2, "scale": 1}
    for shape in shapes:
        yield title(shape, "refined"), base | {"shape": shape}
        yield title(shape, "coarse"), base | {"shape": shape, "passes": 0}
    for scale in (2,) if options.quick or options.smoke else (2, 4):
        yield title(shapes[0], f"x{scale}"), base | {"shape": shapes[0], "scale": scale}
    numbers = (16, 256) if options.smoke else (512, 8192, 65536)
    for number in numbers:
        yield (
            title(shapes[0], f"{number} points"),
            base | {"shape": shapes[0], "passes": 1, "points": number},
        )


def conclude(
    shapes: Sequence[Shape], times: dict[str, Sample], peaks: dict[str, float]
) -> list[Figure]:
    """Linear time, memory per voxel, cost of an output twice as fine."""
    first = shapes[1] if len(shapes) > 2 else shapes[0]  # beyond one window windows overlap
    per_voxel = [times[title(s, "refined")].median / prod(s) for s in (first, shapes[-1])]
    largest = shapes[-1]
    finer = times[title(shapes[0], "x2")].median / times[title(shapes[0], "refined")].median
    figures = [
        Figure(f"time per voxel, {size(largest)} over {size(first)}", per_voxel[1] / per_voxel[0],
               1.2, "x"),
        Figure(f"x2 output over x1 at {size(shapes[0])}", finer, 3.0, "x"),
    ]  # fmt: skip
    if prod(largest) >= prod(FULL[-2]):  # smaller images are lost beside what windows need
        memory = peaks[title(largest, "refined")] / (4 * prod(largest))
        name = f"peak memory over the float32 image, {size(largest)}"
        figures.append(Figure(name, memory, 3.0, "x"))
    return figures


def size(shape: Shape) -> str:
    """``64x64x64``, i first."""
    return "x".join(map(str, reversed(shape)))


def title(shape: Shape, what: str) -> str:
    """The name of a measurement."""
    return f"{size(shape)} {what}"


def child(task: dict[str, Any]) -> dict[str, Any]:
    """Segment once: seconds, peak memory, and what was held before the image was there."""
    keep_freed_memory(largest=SMALL)  # as `segment` does
    torch.set_num_threads(task["threads"])
    predictor = VolumePredictor(
        find_model("phantom-tiny" if task["smoke"] else MODEL), device="cpu"
    )
    options = PredictOptions(points=task["points"], passes=task["passes"], scale=task["scale"])
    predictor.segment(scan(WARM), options)  # libraries are loaded, one window's buffers allocated
    loaded = peak_bytes()
    image = scan(tuple(task["shape"]))
    now = time.perf_counter if task["clock"] == "wall" else time.process_time
    started = now()
    result = predictor.segment(image, options)
    seconds = now() - started
    share = float(np.count_nonzero(result.refined) / result.refined.size)
    return {"seconds": seconds, "loaded": loaded, "peak": peak_bytes(), "foreground": share}


def scan(shape: Shape) -> Volume:
    """Blobs of some voxels' size, 16 bits, 1 mm: a block of noise, repeated."""
    rng = np.random.default_rng(0)
    block = gaussian_filter(rng.normal(size=(32, 64, 64)).astype(np.float32), 2, mode="wrap")
    block = (1000 + 3000 * block).astype(np.int16)
    image = np.empty(shape, np.int16)
    for row in range(shape[0]):  # not np.pad, which would hold the whole twice
        plane = np.tile(block[row % len(block)], (shape[1] // 64 + 1, shape[2] // 64 + 1))
        image[row] = plane[: shape[1], : shape[2]]
    k, j, i = shape
    return Volume(image, Geometry((k, j, i), np.eye(4)), "smoothed noise")


if __name__ == "__main__":
    sys.exit(main())
