"""(b) MORSE's preset ``default`` against the paper's own sizes, ``paper``: time, memory, accuracy.

    python Training/research/benchmarks/presets.py --quick
    python Training/research/benchmarks/presets.py --train CONFIG --seeds 1,2,3

Both presets segment one 256x256 slice with the UNet and the same renderer: the coarse mask at every
second pixel, 2 x 4096 points. Peak memory is that of a process which does only this. Time and
memory do not depend on weights, accuracy does: ``--train`` trains both presets alike, goes on after
an interruption, and compares them on the validation split, paired by subject. Without ``--train``
the script says that the DSC difference is not measured.
"""

import argparse
import copy
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.errors import ConfigError, MorseError
from MorseCore.inference.options import WindowSettings
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.renderers import RefineConfig
from MorseCore.store.model_folder import WindowConfig
from MorseCore.system.allocation import SMALL, keep_freed_memory
from MorseCore.system.devices import Precision
from MorseCore.training.config import RunConfig
from Training.research.benchmarks.inputs import make_network, morse, noise
from Training.research.benchmarks.measuring import (
    Figure,
    Sample,
    interleaved,
    peak_bytes,
    run_child,
)
from Training.research.benchmarks.report import Report, arguments, run_benchmark
from Training.research.study.commandline import whole_numbers
from Training.research.study.results import collect, compare
from Training.research.study.running import Run, check_data, make_run, run_all

TARGET = 15.0
PRESETS = ("default", "paper")


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    parser = arguments(__doc__)
    parser.add_argument("--train", type=Path, metavar="CONFIG", help="measure the DSC difference")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of this training")
    parser.add_argument(
        "--seeds", type=whole_numbers, default=[1337], metavar="N,N,…", help="of this training"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/presets"), metavar="DIR")
    return run_benchmark("presets", parser, measure, words=words, child=child)


def measure(options: argparse.Namespace, report: Report) -> None:
    """Time in turn, memory one by one, accuracy if asked for."""
    keep_freed_memory(largest=SMALL)  # as `segment` does
    if not options.train and options.overrides:
        raise ConfigError("key=value is of a training: it needs --train CONFIG.")
    trainings = plan(options) if options.train else {}  # mistakes are said before hours of work
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
    if trainings:
        compare_accuracy(trainings, report)
    else:
        report.note("DSC difference: not measured, it needs trained networks (--train CONFIG).")


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


def plan(options: argparse.Namespace) -> dict[str, list[Run]]:
    """The trainings of both presets, alike but for the head.

    :raises MorseError: if the configuration or its data set cannot be read.
    """
    base = apply_overrides(read_json(options.train), options.overrides)
    decode(RunConfig, base, "")
    result = {}
    for preset in PRESETS:
        data = copy.deepcopy(base)
        data["network"]["head"] = morse("tiny" if options.smoke else preset)
        config = decode(RunConfig, data, "")
        result[preset] = [
            make_run(config, row=preset, name=f"{preset}-s{seed}", seed=seed, output=options.runs)
            for seed in options.seeds
        ]
    check_data(run for runs in result.values() for run in runs)
    return result


def compare_accuracy(trainings: dict[str, list[Run]], report: Report) -> None:
    """Train both presets and add the difference of their DSC.

    :raises MorseError: if a training failed.
    """
    results = {}
    for preset, runs in trainings.items():
        if failures := run_all(runs):
            raise MorseError(f"The training of '{preset}' failed: {failures[0]}")
        # A preset is chosen by this: the test split has no say.
        results[preset] = collect(runs, ["dice"], splits=["validation"])
    found = compare(results["default"], results["paper"], "dice")
    # "Within noise" means that the interval holds 0, or the default is the better one; how much
    # that says depends on the interval's width, so the note names what is not excluded.
    report.figures.append(
        Figure("DSC default - paper, upper end", found.high, 0.0, at_least=True,
               spread=(found.low, found.high))
    )  # fmt: skip
    steps = trainings["paper"][0].config.optimisation.iterations
    report.note(
        f"DSC default - paper {found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}], "
        f"p {found.p:.3f}, {steps} iterations, seeds {[run.seed for run in trainings['paper']]}; "
        f"a loss of {max(0.0, -found.low):.4f} is not excluded."
    )


if __name__ == "__main__":
    sys.exit(main())
