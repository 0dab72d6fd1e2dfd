"""(f) How long the Slicer module takes to show a result, and how long its window stands still.

    python Training/research/benchmarks/scene.py --quick

It runs on Slicer's own MRML scene through the ``slicer-core`` wheel (``pip install -e ".[scene]"``)
and draws nothing. A CT of 512x512x200 voxels with 8 structures is shown (both masks, uncertainty,
points, table), 8192 points are created, and the views jump to a row of the table.

Then a head of 32 structures, one of them a cortex around all others, goes through everything that
is done in steps: between two steps the window answers, so the longest step of each kind is how long
it stands still. In full the head has 512 voxels a side (1 mm at twice the resolution), else 256.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "MorseSegment")]  # runs from a checkout, not installed

import numpy as np

from MorseCore.errors import MorseError
from MorseCore.geometry import Geometry
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.system.steps import finished
from Training.research.benchmarks.measuring import Figure, interleaved
from Training.research.benchmarks.report import Report, arguments, run_benchmark

STRUCTURES, HEAD, POINTS = 8, 32, 8192
TARGETS = {"import": 1.0, "points": 0.2, "jump": 0.05}
STEP = 0.2
"""Seconds for which the window may stand still."""


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
    size = 32 if options.smoke else 256 if options.quick else 512
    writer.remove(shown)
    head = make_head(size, smoke=options.smoke)
    report.note(f"{'x'.join(map(str, head.geometry.shape))}, {HEAD} structures in steps.")
    for name, seconds in longest_steps(scene, head).items():
        report.figures.append(Figure(f"longest step: {name}", seconds, STEP, " s"))


def longest_steps(scene: Any, head: Segmentation) -> dict[str, float]:
    """Seconds of the longest step of each kind; the scene is closed in the end."""
    from MorseSegmentLib.logic.state import ModuleState
    from MorseSegmentLib.refine.surfacequeue import SurfaceQueue
    from MorseSegmentLib.scene.changes import ChangeTable
    from MorseSegmentLib.scene.difference import DifferenceView
    from MorseSegmentLib.scene.places import findPlaceInSteps
    from MorseSegmentLib.scene.record import findResults
    from MorseSegmentLib.scene.result import SceneWriter
    from MorseSegmentLib.scene.views import goTo

    found: dict[str, float] = {}

    def timed(name: str, steps: Iterable[object]) -> None:
        pieces, start = iter(steps), time.perf_counter()
        for _ in pieces:
            end = time.perf_counter()
            found[name], start = max(found.get(name, 0.0), end - start), end
        found[name] = max(found.get(name, 0.0), time.perf_counter() - start)

    def once(action: Callable[[], object]) -> Iterator[object]:
        yield action()

    writer, state = SceneWriter(scene), ModuleState(scene)
    for _ in range(2):
        timed("import", writer.showInSteps(head))
    (former, shown), turns = findResults(scene), list[Callable[[], None]]()
    queue = SurfaceQueue(scene, turns.append)
    timed("go to the result", once(lambda: goTo(scene, shown)))
    timed("surfaces", once(lambda: queue.show(scene.GetNodeByID(shown.refined))))
    timed("surfaces", (turns.pop(0)() for _ in iter(lambda: bool(turns), False)))
    timed("difference", DifferenceView(scene, shown).showInSteps())
    timed("measures", ChangeTable(scene, shown).measuredInSteps())
    reason = {"signal": "holes", "structure": head.structures[0].name, "words": ""}
    timed("place of a reason", findPlaceInSteps(scene, shown, reason))
    timed("removal", writer.removeInSteps(former))
    timed("close the scene", once(lambda: scene.Clear(False)))
    state.close()
    return found


def make_result(shape: tuple[int, int, int], *, smoke: bool) -> Segmentation:
    """Balls in a row, the refined ones a voxel larger, and points anywhere."""
    k, j, i = shape
    centers = [(k / 2, j / 2, i * (n + 0.5) / STRUCTURES) for n in range(STRUCTURES)]
    masks = [
        draw_balls(shape, centers, 0.4 * min(k, i / STRUCTURES) + extra, first=1)
        for extra in range(2)
    ]
    return finish(masks, STRUCTURES, points=64 if smoke else POINTS)


def make_head(size: int, *, smoke: bool) -> Segmentation:
    """A cortex around 31 balls; the refined ones a voxel larger."""
    places = [size * share for share in (0.31, 0.44, 0.56, 0.69)]
    centers = [(k, j, i) for k in places[1:3] for j in places for i in places][: HEAD - 1]
    masks = []
    for extra in range(2):
        mask = draw_balls((size,) * 3, [(size / 2,) * 3], 0.45 * size + extra, first=1)
        inside = draw_balls((size,) * 3, [(size / 2,) * 3], 0.36 * size, first=1)
        mask[inside > 0] = 0
        mask += draw_balls((size,) * 3, centers, 0.05 * size + extra, first=2)
        masks.append(mask)
    return finish(masks, HEAD, points=64 if smoke else POINTS)


def draw_balls(
    shape: tuple[int, int, int],
    centers: Sequence[tuple[float, float, float]],
    radius: float,
    *,
    first: int,
) -> np.ndarray:
    """A label map of balls, (K, J, I): ``first``, ``first`` + 1, …"""
    labels = np.zeros(shape, np.uint8)
    for n, center in enumerate(centers):
        box = tuple(
            slice(max(0, int(c - radius)), min(size, int(c + radius) + 2))
            for c, size in zip(center, shape, strict=True)
        )
        axes = np.ogrid[box]
        inside = sum((a - c) ** 2 for a, c in zip(axes, center, strict=True)) <= radius**2
        labels[box][inside] = first + n
    return labels


def finish(masks: Sequence[np.ndarray], count: int, *, points: int) -> Segmentation:
    """A result of two label maps with that many structures."""
    shape = masks[0].shape
    rng = np.random.default_rng(0)
    indices = np.stack([rng.integers(0, n, points) for n in shape[::-1]], axis=1).astype(np.int32)
    sure = np.sort(rng.random(points).astype(np.float32))
    zeros, ones = np.zeros(points, np.int32), np.ones(points, np.int32)
    places, unsure = indices.astype(float), sure[::-1].copy()
    rendered = RenderedPoints(places, indices, unsure, zeros, ones, sure, sure)
    structures = tuple(
        Structure(n + 1, f"Structure {n + 1}", (n / count, 0.5, 0.5)) for n in range(count)
    )
    volumes = [
        {"value": s.value, "name": s.name, "coarse_ml": 1.0, "refined_ml": 1.0} for s in structures
    ]
    return Segmentation(
        Geometry(shape, np.eye(4)), structures, masks[0], masks[1],
        rng.random(shape, dtype=np.float32), rendered, {"structures": volumes},
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
