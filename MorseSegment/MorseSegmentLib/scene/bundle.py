"""A case as a scene file (.mrb) that opens in Slicer with image, masks and points."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import slicer
import vtk

from MorseCore.errors import OutputError
from MorseCore.geometry import Geometry
from MorseCore.result import Segmentation
from MorseCore.system.files import replace_patiently
from MorseSegmentLib.scene.nodes import NodeLedger, removeNodes
from MorseSegmentLib.scene.result import SceneWriter

__all__ = ["addVolume", "saveBundle"]


def addVolume(
    ledger: NodeLedger, name: str, image: np.ndarray, geometry: Geometry
) -> vtk.vtkObject:
    """Make a vtkMRMLScalarVolumeNode of a (K, J, I) image."""
    node = ledger.make("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
    slicer.util.updateVolumeFromArray(node, image)
    node.CreateDefaultDisplayNodes()
    return node


def saveBundle(
    scene: vtk.vtkObject,
    path: Path,
    result: Segmentation,
    *,
    image: np.ndarray,
    geometry: Geometry,
    name: str,
) -> None:
    """Write a result with its image to ``path``, whole or not at all; the scene stays as it was.

    :param image: (K, J, I) voxels of the segmented image, on the grid ``geometry``.
    :param name: of the image's node, and the first word of the others'.
    :raises OutputError: if the file cannot be written.
    """
    writer = SceneWriter(scene)
    with NodeLedger(scene) as ledger:
        volumeNode = addVolume(ledger, name, image, geometry)
        shown = writer.show(result, volumeNode, name=name)
        try:
            _write(scene, path)
        finally:
            writer.remove(shown)
    removeNodes(scene, [volumeNode.GetID()])


def _write(scene: vtk.vtkObject, path: Path) -> None:
    temporary = path.with_name(f"unfinished-{os.getpid()}-{path.name}")
    try:
        if not scene.WriteToMRB(str(temporary)) or not temporary.is_file():
            raise OutputError(f"The scene file '{path}' could not be written.")
        replace_patiently(temporary, path)
    except OSError as error:
        raise OutputError(f"The scene file '{path}' could not be written: {error}.") from error
    finally:
        with suppress(OSError):  # what went wrong before is the thing to say
            temporary.unlink(missing_ok=True)
