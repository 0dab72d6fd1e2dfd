"""(b) MORSE's preset ``default`` against the paper's own sizes, ``paper``: time and memory.

    python Training/research/benchmarks/presets.py --quick

Both presets segment one 256x256 slice with the UNet and the same renderer: the coarse mask at every
second pixel, 2 x 4096 points. Peak memory is that of a process which does only this. Weights are
random: neither depends on them. What ``default`` costs in accuracy, ``Training/ablation.py
preset-size`` measures.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

from MorseCore.inference.options import WindowSettings
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.renderers import RefineConfig
from MorseCore.store.model_folder import WindowConfig
from MorseCore.system.allocation import SMALL, keep_freed_memory
from MorseCore.system.devices import Precision
from Training.research.benchmarks.inputs import make_network, morse, noise
from Training.research.benchmarks.measuring import Sample, interleaved, peak_bytes, run_child
from Training.research.benchmarks.report import Report, arguments, run_benchmark

TARGET = 15.0
PRESETS = ("default", "paper")


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    return run_benchmark("presets", arguments(__doc__), measure, words=words, child=child)


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time in turn, memory one by one."""
    keep_freed_memory(largest=SMALL)  # as `segment` does
    side = 16 if options.smoke else 256
    work = {
        preset: segmenting(preset, side, options.precision, smoke=options.smoke)
        for preset in PRESETS
    }
    repeats = options.repeats or (1 if options.smoke else 2 if options.quick else 7)
    found = interleaved(work, repeats=repeats, clock=options.clock, title="presets")
    report.add({f"{side}^2 {preset}": sample for preset, sample in found.items()})
    report.add_ratio(
        "paper / default, 2D", found["paper"], found["default"], target=TARGET, at_least=True
    )
    for preset in PRESETS:
        task = {"preset": preset, "side": side, "precision": options.precision,
                "smoke": options.smoke}  # fmt: skip
        peak = run_child(__file__, task)["bytes"]
        report.add({f"peak memory, {preset}": Sample((peak / 2**20,), "MiB")})


def segmenting(preset: str, side: int, precision: Precision, *, smoke: bool) -> Any:
    """Segments a slice when called."""
    backbone = {"name": "unet3d", "channels": [4, 8]} if smoke else {"name": "unet"}
    head = morse("tiny") if smoke and preset == "default" else morse(preset)
    if smoke and preset == "paper":
        head = morse("tiny") | {"gate_stride": 1, "width": 16}
    network = make_network(backbone, head, dims=2, num_classes=5)
    renderer = RefineConfig(points=64 if smoke else 4096, coarse_stride=2).build()
    volume = noise([1, side, side])
    settings = WindowSettings([side, side], renderer, WindowConfig(), precision=precision)
    return lambda: predict_volume(network, volume, settings)


def child(task: dict[str, Any]) -> dict[str, Any]:
    """Segment once; the peak memory of this process."""
    keep_freed_memory(largest=SMALL)
    segmenting(task["preset"], task["side"], task["precision"], smoke=task["smoke"])()
    return {"bytes": peak_bytes()}


if __name__ == "__main__":
    sys.exit(main())
