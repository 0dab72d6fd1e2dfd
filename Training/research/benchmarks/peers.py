"""(c) ``MorseCore segment`` against nnU-Net v2 and MONAI: whole processes, the same images.

    python Training/research/benchmarks/peers.py --quick
    python Training/research/benchmarks/peers.py --images DIR --cases 20
    python Training/research/benchmarks/peers.py --nnunet-python ~/nnunet/bin/python

Each program reads the images, segments and writes them; the time is that of the process, start-up
included, over the number of images. Ours is the shipped ``hippocampus-t1``, with everything that
``segment`` writes; it renders what is uncertain, of noise less than of hippocampi, so give it some
with ``--images``. nnU-Net: its own command and plan for the hippocampus, its defaults (mirroring
included), one fold. MONAI: ``UNet`` of about as many parameters as ours, windows as its default.
Theirs have random weights, which time does not depend on; ``accuracy.py`` compares what nnU-Net and
ours find. nnU-Net comes with ``pip install -e ".[bench]"`` or, apart, in an environment named by
``--nnunet-python``; without it that ratio is not measured, and said so.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

from tqdm import tqdm

from MorseCore.errors import ConfigError, MorseError
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import read_model
from Training.research.benchmarks.measuring import (
    Clock,
    Figure,
    Sample,
    children_seconds,
    paired_ratio,
)
from Training.research.benchmarks.report import Report, arguments, run_benchmark
from Training.research.benchmarks.subjects import write_case
from Training.research.study.commandline import positive

HERE = Path(__file__).resolve().parent
NNUNET = """
from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder
predict_entry_point_modelfolder()
"""
TARGETS = {"nnU-Net": 1 / 3, "MONAI": 1.0}
CHANNELS = {"hippocampus-t1": "16,32,64,128", "phantom-tiny": "4,8"}
SHAPES = [(35, 51, 35), (36, 50, 33), (34, 49, 38), (38, 47, 36), (36, 53, 34)]
Command = Callable[[Path], list[str]]
"""From a folder to write into to the words of a command."""


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    parser = arguments(__doc__)
    parser.add_argument("--images", type=Path, metavar="DIR", help="default: noise of their size")
    parser.add_argument("--cases", type=positive, metavar="N", help="of these images, the first N")
    parser.add_argument("--nnunet-python", default=sys.executable, metavar="FILE")
    return run_benchmark("peers", parser, measure, words=words)


def measure(options: argparse.Namespace, report: Report) -> None:
    """Ours, nnU-Net and MONAI in turn."""
    with tempfile.TemporaryDirectory(prefix="morse-peers-") as folder:
        home = Path(folder)
        images = collect_images(options, home / "images")
        model = "phantom-tiny" if options.smoke else "hippocampus-t1"
        commands = {"MorseCore": ours(model, images), "MONAI": monai(model, images)}
        found = nnunet(options, home / "nnunet", report)
        if found is not None:
            commands["nnU-Net"] = found(home / "images")
        repeats = options.repeats or (1 if options.smoke or options.quick else 5)
        times = run_in_turn(commands, home, repeats=repeats, clock=options.clock)
    per_case = {n: Sample(tuple(t / len(images) for t in times[n].values)) for n in times}
    report.add({f"{name}, a case of {len(images)}": sample for name, sample in per_case.items()})
    for name in TARGETS:
        if name in times:
            ratio = paired_ratio(times["MorseCore"], times[name])
            report.figures.append(Figure(
                f"MorseCore / {name}", ratio.median, round(TARGETS[name], 3), "x",
                spread=ratio.spread,
            ))  # fmt: skip


def collect_images(options: argparse.Namespace, folder: Path) -> list[Path]:
    """Images under names that nnU-Net understands, ``<case>_0000.nii.gz``.

    :raises ConfigError: if there are none.
    """
    folder.mkdir(parents=True)
    count = options.cases or (1 if options.smoke else 3 if options.quick else 20)
    if options.images is None:
        shapes = [(16, 16, 16)] if options.smoke else SHAPES
        return [
            write_case(folder / f"case{n}_0000.nii.gz", shapes[n % len(shapes)], seed=n)
            for n in range(count)
        ]
    sources = sorted(options.images.glob("*.nii.gz"))[:count]
    if not sources:
        raise ConfigError(f"'{options.images}' holds no .nii.gz images.")
    images = [folder / f"{path.name.split('.')[0]}_0000.nii.gz" for path in sources]
    for source, image in zip(sources, images, strict=True):
        shutil.copyfile(source, image)  # a link is a privilege on Windows
    return images


def ours(model: str, images: Sequence[Path]) -> Command:
    """``python -m MorseCore segment``."""
    words = [sys.executable, "-m", "MorseCore", "segment", *map(str, images)]
    return lambda output: [*words, "--model", model, "--device", "cpu", "--output", str(output)]


def monai(model: str, images: Sequence[Path]) -> Command:
    """MONAI's UNet of about as many parameters."""
    window = ",".join(map(str, read_model(find_model(model)).preparation.window_size))
    words = [sys.executable, str(HERE / "peer_monai.py"), CHANNELS[model], window]
    return lambda output: [*words, str(output), *map(str, images)]


def nnunet(
    options: argparse.Namespace, folder: Path, report: Report
) -> Callable[[Path], Command] | None:
    """nnU-Net's own command, or None, with the reason in the report."""
    python = options.nnunet_python
    words = [python, str(HERE / "peer_nnunet.py"), str(folder)]
    try:
        made = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        report.note(f"nnU-Net: not measured, '{python}' cannot be run: {error.strerror}.")
        return None
    if made.returncode:
        reason = (made.stderr.strip().splitlines() or ["it said nothing"])[-1]
        report.note(f"nnU-Net: not measured, it cannot be prepared: {reason}")
        return None
    report.note(f"nnU-Net: {int(made.stdout.split()[-1]) / 1e6:.1f} M parameters.")
    network = read_model(find_model("hippocampus-t1")).network
    size = sum(p.numel() for p in network.build(num_classes=3).parameters())
    report.note(f"MorseCore: {size / 1e6:.1f} M parameters.")
    command = [
        python, "-c", NNUNET, "-m", str(folder), "-f", "0", "-device", "cpu",
        "-npp", "1", "-nps", "1", "--disable_progress_bar",
    ]  # fmt: skip
    return lambda images: lambda output: [*command, "-i", str(images), "-o", str(output)]


def run_in_turn(
    commands: dict[str, Command], home: Path, *, repeats: int, clock: Clock
) -> dict[str, Sample]:
    """Seconds of each command, A B C A B C …, after one turn that fills the file cache.

    :raises MorseError: if a command fails, with its last words.
    """
    taken: dict[str, list[float]] = {name: [] for name in commands}
    with tqdm(total=(repeats + 1) * len(commands), leave=False) as bar:
        for turn in range(repeats + 1):
            for name, command in commands.items():
                bar.set_description(name)
                seconds = timed(name, command(home / f"{name}-{turn}"), clock)
                if turn:
                    taken[name].append(seconds)
                bar.update()
    return {name: Sample(tuple(values)) for name, values in taken.items()}


def timed(name: str, words: list[str], clock: Clock) -> float:
    """Seconds of a process and its children.

    :raises MorseError: if it fails.
    """
    before = children_seconds() if clock == "cpu" else 0.0
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment, check=False, cwd=HERE.parents[2]
    )
    wall = time.perf_counter() - started
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MorseError(f"{name} failed: {last}")
    return wall if clock == "wall" else children_seconds() - before


if __name__ == "__main__":
    sys.exit(main())
