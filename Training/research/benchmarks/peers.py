"""(c) ``MorseCore segment`` against nnU-Net v2 and MONAI: whole processes, the same images.

    python Training/research/benchmarks/peers.py --quick
    python Training/research/benchmarks/peers.py --images DIR --cases 20
    python Training/research/benchmarks/peers.py --nnunet-python ~/nnunet/bin/python

Each program reads the images, segments them and writes the masks. Its time is that of the whole
process, start-up included, over the number of images. Ours is the shipped ``hippocampus-t1``, with
everything that ``segment`` writes. It renders uncertain voxels only, and noise has fewer of them
than hippocampi, so name real images with ``--images``. nnU-Net runs its own command and its plan
for the hippocampus with its defaults (mirroring included) and one fold. MONAI runs a ``UNet`` of
about as many parameters as ours with its default windows. The weights of both are random, on which
time does not depend; ``accuracy.py`` compares what nnU-Net and ours find. nnU-Net comes with
``pip install -e ".[bench]"``, or ``--nnunet-python`` names the Python of an environment with it.
Without it the script says that this ratio is not measured.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # runs from a checkout, not installed

from MorseCore.errors import MorseError
from MorseCore.store.library import find_model
from MorseCore.store.model_folder import read_model
from Training.research.benchmarks.inputs import find_images, write_case
from Training.research.benchmarks.measuring import (
    Clock,
    Sample,
    children_seconds,
    last_words,
    take_turns,
)
from Training.research.benchmarks.report import Report, arguments, run_benchmark
from Training.research.shared.commandline import positive

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
        timers = {
            name: partial(time_turn, name, command, home, options.clock)
            for name, command in commands.items()
        }
        times = take_turns(timers, repeats=repeats, title="peers")  # the first fills the file cache
    per_case = {n: Sample(tuple(t / len(images) for t in times[n].values)) for n in times}
    report.add({f"{name}, a case of {len(images)}": sample for name, sample in per_case.items()})
    for name in TARGETS:
        if name in times:
            report.add_ratio(
                f"MorseCore / {name}", times["MorseCore"], times[name],
                target=round(TARGETS[name], 3),
            )  # fmt: skip


def collect_images(options: argparse.Namespace, folder: Path) -> list[Path]:
    """Images under names that nnU-Net understands, ``<case>_0000.nii.gz``.

    :raises ConfigError: if the folder that was named holds none.
    """
    folder.mkdir(parents=True)
    count = options.cases or (1 if options.smoke else 3 if options.quick else 20)
    if options.images is None:
        shapes = [(16, 16, 16)] if options.smoke else SHAPES
        return [
            write_case(folder / f"case{n}_0000.nii.gz", shapes[n % len(shapes)], seed=n)
            for n in range(count)
        ]
    sources = find_images(options.images, count)
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
        made = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    except OSError as error:
        report.note(f"nnU-Net: not measured, '{python}' cannot be run: {error.strerror}.")
        return None
    if made.returncode:
        report.note(f"nnU-Net: not measured, it cannot be prepared: {last_words(made)}")
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


def time_turn(name: str, command: Command, home: Path, clock: Clock, turn: int) -> float:
    """Seconds of a process and its children, which write into a folder of the turn's own.

    :raises MorseError: if the process fails, with its last words.
    """
    words = command(home / f"{name}-{turn}")
    before = children_seconds() if clock == "cpu" else 0.0
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    done = subprocess.run(
        words,
        capture_output=True,
        encoding="utf-8",
        env=environment,
        check=False,
        cwd=HERE.parents[2],
    )
    wall = time.perf_counter() - started
    if done.returncode:
        raise MorseError(f"{name} failed: {last_words(done)}")
    return wall if clock == "wall" else children_seconds() - before


if __name__ == "__main__":
    sys.exit(main())
