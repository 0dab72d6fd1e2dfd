"""A whole run on a real brain: the ICBM 152 template in; masks, points, report and a figure out."""

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from MorseCore.commands.demo_figure import compose_figure, draw_slices
from MorseCore.commands.terminal import terminal_progress
from MorseCore.errors import ConfigError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, write_volume
from MorseCore.images.roi import Roi
from MorseCore.inference.files import write_result
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.metrics.comparison import compare_masks, format_changes
from MorseCore.result import RenderedPoints, Segmentation
from MorseCore.store.library import find_model
from MorseCore.system.files import prepare_output_directory

__all__ = ["run_demo"]

MODEL = "hippocampus-t1"
# Boxes around the hippocampi in ICBM 152 space, RAS mm, as large as the images of the training set.
REGIONS = {
    "left": Roi((-42.0, -47.0, -32.0), (-6.0, 3.0, 6.0)),
    "right": Roi((6.0, -47.0, -32.0), (42.0, 3.0, 6.0)),
}
log = logging.getLogger(__name__)


def run_demo(output: Path) -> int:
    """Segment both hippocampi of the template into ``output``; returns the exit code.

    :raises ConfigError: if nilearn, which carries the template, is not installed.
    :raises OutputError: if the folder cannot be written to.
    """
    prepare_output_directory(output)
    volume = load_template()
    write_volume(output / "t1.nii.gz", volume.array, volume.geometry)
    predictor = VolumePredictor(find_model(MODEL))
    parts = {}
    with terminal_progress() as progress:
        for side, roi in REGIONS.items():
            parts[side] = predictor.segment(
                volume,
                PredictOptions(roi=roi),
                progress=lambda stage, share, side=side: progress(side, stage, share),  # type: ignore[misc]
            )
    result = merge(parts)
    folder = output / "result"
    write_result(folder, result)
    print(format_changes(result.report["structures"]))
    for side, part in parts.items():
        total = sum(row["refined_ml"] for row in part.report["structures"])
        print(f"{side} hippocampus: {total:.2f} ml")
    pictures = draw_scene(output, folder) or [draw_slices(volume, result, output / "slices.png")]
    figure = compose_figure(pictures, result, output / "figure.png")
    print(f"figure: {figure}\nresult: {folder}")
    return 0


def load_template() -> Volume:
    """The ICBM 152 T1 template, 1 mm, skull removed, from nilearn's own files (no download)."""
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError:
        raise ConfigError(
            "The demo needs nilearn, which carries the brain: pip install -e '.[demo]'."
        ) from None
    image = load_mni152_template(resolution=1)
    array = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)  # nibabel is (i, j, k)
    shape = (array.shape[0], array.shape[1], array.shape[2])
    return Volume(
        np.ascontiguousarray(array), Geometry(shape, image.affine), "ICBM 152 T1 template"
    )


def merge(parts: dict[str, Segmentation]) -> Segmentation:
    """One segmentation of several regions of one image; where they meet, the larger label stays."""
    first, *_ = results = list(parts.values())
    coarse, refined = (
        np.maximum.reduce([getattr(part, stage) for part in results])
        for stage in ("coarse", "refined")
    )
    points = RenderedPoints(
        *(
            np.concatenate([getattr(part.points, name) for part in results])
            for name in RenderedPoints.__dataclass_fields__
        )
    )
    points = points.take(np.argsort(-points.uncertainty, kind="stable"))
    of_one = ("attention", "parameters", "seconds", "windows")  # they stand in `regions`
    report: dict[str, Any] = {
        **{key: value for key, value in first.report.items() if key not in of_one},
        "structures": compare_masks(
            coarse, refined, geometry=first.geometry, structures=first.structures
        ),
        "regions": {name: part.report for name, part in parts.items()},
    }
    rendered = sum(part.report["points"]["rendered_voxels"] for part in results)
    evaluated = sum(part.report["points"]["evaluated"] for part in results)
    report["points"] = {"evaluated": evaluated, "rendered_voxels": rendered}
    uncertainty = np.maximum.reduce([part.uncertainty for part in results])
    return Segmentation(
        first.geometry, first.structures, coarse, refined, uncertainty, points, report
    )


def draw_scene(output: Path, folder: Path) -> list[Path]:
    """Slicer's own pictures of the result; empty if this machine cannot draw them.

    In a process of its own: where OpenGL is missing, VTK may end the process it runs in.
    """
    module = Path(__file__).resolve().parents[2] / "MorseSegment"
    done = subprocess.run(
        [
            sys.executable, "-m", "MorseSegmentPictures", str(folder),
            "--image", str(output / "t1.nii.gz"), "--output", str(output / "views"),
        ],
        capture_output=True, text=True, encoding="utf-8", errors="replace", check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(module), str(module.parent)])},
    )  # fmt: skip
    if done.returncode == 0:
        return [Path(line) for line in done.stdout.splitlines() if line.endswith(".png")]
    reason = done.stderr.strip().splitlines()
    log.warning(
        "Plain 2D figures only. %s", reason[-1] if reason else f"exit code {done.returncode}"
    )
    return []
