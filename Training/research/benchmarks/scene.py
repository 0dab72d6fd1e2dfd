"""(f) How long the Slicer module takes to show a result, create its points and jump to one.

    python Training/research/benchmarks/scene.py --quick

It runs on Slicer's own MRML scene through the ``slicer-core`` wheel (``pip install -e ".[scene]"``)
and draws nothing: a CT of 512x512x200 voxels with 8 structures is shown (both masks, uncertainty,
points, table), 8192 points are created, and the views jump to a row of the table.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "MorseSegment")]  # runs from a checkout, not installed

import numpy as np

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.system.steps import finished
from Training.research.benchmarks.measuring import Figure, interleaved
from Training.research.benchmarks.report import Report, arguments, run_benchmark

STRUCTURES, POINTS = 8, 8192
TARGETS = {"import": 1.0, "points": 0.2, "jump": 0.05}


def main(words: list[str] | None = None) -> int:
    """Exit code 0: measured; 1: failed; 2: wrong usage."""
    return run_benchmark("scene", arguments(__doc__), measure, words=words)


def measure(options: argparse.Namespace, report: Report) -> None:
    """Show, create points, jump, in turn.

    :raises MorseError: if slicer-core is not there.
    """
    try:
        import slicer  # noqa: F401 (the modules below need it)

        from MorseSegmentLib.scene.markups import addPointsInSteps
        from MorseSegmentLib.scene.nodes import NodeLedger, removeNodes
        from MorseSegmentLib.scene.result import SceneResult, SceneWriter
        from MorseSegmentLib.scene.review import Review
        from MorseSegmentPictures.bootstrap import startSlicer
    except ImportError as error:
        raise MorseError(f"Slicer's libraries are not there: {error}.") from None
    scene = startSlicer()
    result = make_result((8, 32, 32) if options.smoke else (200, 512, 512), smoke=options.smoke)
    writer = SceneWriter(scene)
    for view in ("Red", "Green", "Yellow"):
        scene.AddNewNodeByClass("vtkMRMLSliceNode", view).SetLayoutName(view)
    scene.AddNewNodeByClass("vtkMRMLViewNode", "View1")
    scene.AddNewNodeByClass("vtkMRMLCameraNode", "Camera")
    shown = writer.show(result)
    review = Review(scene, shown)
    rows = iter(range(10**9))
    results: list[SceneResult] = []
    nodes: list[str] = []

    def show() -> None:
        results.append(writer.show(result))

    def create() -> None:
        with NodeLedger(scene) as ledger:
            made = finished(addPointsInSteps(ledger, "points", result.points, glyphSize=0.5))
        nodes[:] = [node.GetID() for node in made]

    def jump() -> None:
        review.jump(next(rows) % len(result.points))

    repeats = options.repeats or (1 if options.smoke else 5 if options.quick else 20)
    found = interleaved(
        {
            "import": show, "take out": lambda: writer.remove(results.pop()),
            "points": create, "remove": lambda: removeNodes(scene, nodes), "jump": jump,
        },
        repeats=repeats, clock=options.clock, title="scene",
    )  # fmt: skip
    what = f"{'x'.join(map(str, reversed(result.geometry.shape)))}, {STRUCTURES} structures"
    report.note(f"{what}, {len(result.points)} points.")
    for name, target in TARGETS.items():
        report.add({name: found[name]})
        sample = found[name]
        report.figures.append(Figure(name, sample.median, target, " s", spread=sample.spread))


def make_result(shape: tuple[int, int, int], *, smoke: bool) -> Segmentation:
    """Balls in a row, the refined ones a voxel larger, and points anywhere."""
    k, j, i = shape
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    masks = [np.zeros(shape, np.uint8) for _ in range(2)]
    for n in range(STRUCTURES):
        center = (k / 2, j / 2, i * (n + 0.5) / STRUCTURES)
        distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, center, strict=True)))
        for extra, mask in enumerate(masks):
            mask[distance <= 0.4 * min(k, i / STRUCTURES) + extra] = n + 1
    rng = np.random.default_rng(0)
    count = 64 if smoke else POINTS
    indices = np.stack([rng.integers(0, n, count) for n in (i, j, k)], axis=1).astype(np.int32)
    sure = np.sort(rng.random(count).astype(np.float32))
    zeros, ones = np.zeros(count, np.int32), np.ones(count, np.int32)
    places, unsure = indices.astype(float), sure[::-1].copy()
    points = RenderedPoints(places, indices, unsure, zeros, ones, sure, sure)
    structures = tuple(
        Structure(n + 1, f"Structure {n + 1}", (n / STRUCTURES, 0.5, 0.5))
        for n in range(STRUCTURES)
    )
    uncertainty = rng.random(shape, dtype=np.float32)
    return Segmentation(
        Geometry(shape, np.eye(4)), structures, masks[0], masks[1], uncertainty, points
    )


if __name__ == "__main__":
    sys.exit(main())
