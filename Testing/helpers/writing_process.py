"""Writes a result over an older one again and again, and is killed at every step of it.

python writing_process.py FOLDER: a process of its own, as it forks; prints one JSON line a kill.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from MorseCore.geometry import Geometry
from MorseCore.inference.files import complete_result, read_result, write_result
from MorseCore.result import RenderedPoints, Segmentation, Structure

SHAPE = (3, 4, 5)
WATCHED = ("os.rename", "os.rmdir")


def make_result(value: int) -> Segmentation:
    """A result all of whose files say which it is."""
    mask = np.full(SHAPE, value, np.uint8)
    points = RenderedPoints(
        np.full((1, 3), float(value)), np.zeros((1, 3), np.int32), np.full(1, 0.1 * value, "f4"),
        np.full(1, value, "i4"), np.full(1, value, "i4"), np.ones(1, "f4"), np.ones(1, "f4"),
    )  # fmt: skip
    structures = tuple(Structure(n, f"s{n}", (1.0, 0.0, 0.0)) for n in (1, 2))
    uncertainty = np.full(SHAPE, 0.1 * value, np.float32)
    geometry = Geometry(SHAPE, np.eye(4))
    return Segmentation(geometry, structures, mask, mask, uncertainty, points, {"value": value})


def write_and_die(folder: Path, step: int) -> int:
    """Write result 2 and be killed before its ``step``-th change of a name; the exit status."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, arguments: object) -> None:
            nonlocal count
            count += event in WATCHED
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        write_result(folder, make_result(2), mask_format="seg.nrrd")
        os._exit(0)
    return os.waitpid(child, 0)[1]


def whole_value(folder: Path) -> int | None:
    """1 or 2 if every file says so; 0 if they disagree; None if the case is not complete."""
    if not (folder / "report.json").is_file():
        return None
    result = read_result(folder)
    found = {
        int(result.report["value"]), int(result.coarse.max()), int(result.refined.max()),
        round(10 * float(result.uncertainty.max())), int(result.points.coarse_label[0]),
    }  # fmt: skip
    return found.pop() if len(found) == 1 else 0


def main(root: Path) -> None:
    """One line a kill, until a write comes through."""
    _in_a_child(lambda: write_result(root / "old", make_result(1)))
    step, status = 0, 1
    while status:
        step += 1
        folder = Path(shutil.copytree(root / "old", root / f"{step}"))
        status = write_and_die(folder, step)
        print(_in_a_child(partial(_describe, folder, step)), flush=True)


def _describe(folder: Path, step: int) -> str:
    seen = whole_value(folder)
    complete_result(folder, "nii.gz")  # what the next run begins with
    line = {"step": step, "seen": seen, "recovered": whole_value(folder)}
    if step % 4 == 1:
        write_result(folder, make_result(1))
        line |= {"rewritten": whole_value(folder), "names": sorted(os.listdir(folder))}
    return json.dumps(line)


def _in_a_child(task: Callable[[], object]) -> str:
    """Run in a fork, as SimpleITK's threads do not survive one: none may run in this process."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, str(task()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        text = stream.read()
    os.wait()
    return text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
