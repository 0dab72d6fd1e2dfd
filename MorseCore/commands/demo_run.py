"""A whole run on a real head that comes along: masks, points, reports and figures out."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from MorseCore.commands.demo_figure import compose_figure, draw_slices
from MorseCore.commands.terminal import terminal_progress
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.inference.files import write_result
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.whole_scan import open_session
from MorseCore.metrics.comparison import format_changes
from MorseCore.result import Segmentation
from MorseCore.store.library import find_model
from MorseCore.system.files import prepare_output_directory

__all__ = ["HEAD", "run_demo"]

HEAD = Path(__file__).resolve().parents[1] / "samples" / "head-t1.nii.gz"
"""An adult's head in T1 at 1 mm, without its skull; its source stands beside it."""
_MODELS = {"brain": "brain-mr", "result": "hippocampus-t1"}
_SPANS = {"prepare": (0, 10), "network": (10, 90), "restore": (90, 100)}  # percent
log = logging.getLogger(__name__)


def run_demo(output: Path) -> int:
    """Segment the head's brain, then both hippocampi, into ``output``; returns the exit code.

    Nobody draws a box: ``brain-mr`` finds the head, and the hippocampi for ``hippocampus-t1``.

    :raises ConfigError: if matplotlib is not installed.
    :raises OutputError: if the folder cannot be written to.
    """
    prepare_output_directory(output)
    scan = output / HEAD.name
    shutil.copyfile(HEAD, scan)
    volume = read_volume(scan)
    results = {}
    for folder, model in _MODELS.items():
        results[folder] = _segment(volume, model)
        write_result(output / folder, results[folder])
    hippocampi = results["result"]
    print(format_changes(hippocampi.report["structures"]))
    for side in ("left", "right"):
        ml = hippocampi.report["sides"][-1][f"{side}_ml"]
        print(f"{side} hippocampus: {ml:.2f} ml")
    brain = draw_slices(volume, results["brain"], output / "brain.png")
    pictures = draw_scene(scan, output / "result", output / "views") or [
        draw_slices(volume, hippocampi, output / "slices.png")
    ]
    figure = compose_figure(pictures, hippocampi, output / "figure.png")
    print(f"figures: {figure}, {brain}\nresults: {output / 'result'}, {output / 'brain'}")
    return 0


def _segment(volume: Volume, model: str) -> Segmentation:
    predictor = VolumePredictor(find_model(model))
    with terminal_progress() as progress:

        def tell(stage: str, share: float) -> None:
            low, high = _SPANS[stage]
            progress(model, stage, low + (high - low) * share)

        return open_session(predictor, volume, PredictOptions(), keep=False).segment(progress=tell)


def draw_scene(scan: Path, folder: Path, views: Path) -> list[Path]:
    """Slicer's own pictures of the result; empty if this machine cannot draw them.

    In a process of its own: where OpenGL is missing, VTK may end the process it runs in.
    """
    module = Path(__file__).resolve().parents[2] / "MorseSegment"
    done = subprocess.run(
        [
            sys.executable, "-m", "MorseSegmentPictures", str(folder),
            "--image", str(scan), "--output", str(views),
        ],
        capture_output=True, encoding="utf-8", errors="replace", check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(module), str(module.parent)])},
    )  # fmt: skip
    if done.returncode == 0:
        return [Path(line) for line in done.stdout.splitlines() if line.endswith(".png")]
    reason = done.stderr.strip().splitlines()
    log.warning(
        "Plain 2D figures only. %s", reason[-1] if reason else f"exit code {done.returncode}"
    )
    return []
