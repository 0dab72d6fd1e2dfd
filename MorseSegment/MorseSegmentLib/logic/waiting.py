"""A run for scripts: it returns when the result is in the scene. No Qt."""

from collections.abc import Callable, Mapping
from typing import Any

import vtk

from MorseCore.errors import MorseError
from MorseSegmentLib.logic.segmenter import Segmenter
from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.worker.launch import Failure, workerCommand
from MorseSegmentLib.worker.subprocess import SubprocessRunner

__all__ = ["segmentAndWait"]


def segmentAndWait(
    scene: vtk.vtkObject, volumeNode: vtk.vtkObject, options: Mapping[str, Any]
) -> SceneResult:
    """Start a worker, segment, end the worker; see :meth:`Segmenter.start` for the options.

    :raises MorseError: with the worker's sentence, if there is no result.
    """
    waiting: list[Callable[[], None]] = []
    runner = SubprocessRunner(workerCommand())
    segmenter = Segmenter(scene, runner, waiting.append)
    shown: list[SceneResult] = []
    failures: list[Failure] = []
    segmenter.signals.connect("finished", shown.append)
    segmenter.signals.connect("failed", failures.append)
    try:
        segmenter.start(volumeNode, options)
        while segmenter.isBusy:
            while waiting:
                waiting.pop()()
            runner.wait()
    finally:
        segmenter.close()
    if not shown:
        raise MorseError(failures[0].message if failures else "There is no result.")
    return shown[0]
