"""Read and write nodes through MRML's own storage nodes, as the application's IO manager does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import slicer
import vtk

__all__ = ["FileManager"]

_TYPES = {  # longest ending first: .seg.nrrd is also .nrrd
    ".seg.nrrd": "SegmentationFile",
    ".mrk.json": "MarkupsFile",
    ".nii.gz": "VolumeFile",
    ".nii": "VolumeFile",
    ".nrrd": "VolumeFile",
    ".mrb": "SceneFile",
}


class FileManager:
    """The calls of qSlicerCoreIOManager that ``slicer.util.loadNode*`` and ``saveNode`` make."""

    def __init__(self, scene: vtk.vtkObject) -> None:
        self._scene = scene
        self._readers: dict[str, Callable[[str, str], vtk.vtkObject | None]] = {
            "VolumeFile": self._readVolume,
            "SegmentationFile": self._readSegmentation,
            "MarkupsFile": self._readMarkups,
        }

    def fileType(self, path: str) -> str:
        """The type by the file's ending; "NoFile" if unknown."""
        name = str(path).lower()
        return next((kind for ending, kind in _TYPES.items() if name.endswith(ending)), "NoFile")

    def fileWriterFileType(self, node: vtk.vtkObject, *_arguments: object) -> str:
        """Any name does: :meth:`saveNodes` asks the node itself for its storage."""
        return node.GetClassName()

    def loadNodes(
        self,
        fileType: str,
        properties: Mapping[str, Any],
        nodes: vtk.vtkCollection | None = None,
        messages: vtk.vtkObject | None = None,
    ) -> bool:
        """Read ``properties["fileName"]``; the loaded node is appended to ``nodes``."""
        path = str(Path(properties["fileName"]).resolve())
        if fileType == "SceneFile":
            return bool(self._scene.ReadFromMRB(path, properties.get("clear", False), messages))
        reader = self._readers.get(fileType)
        name = properties.get("name") or Path(path).name.split(".")[0]
        node = reader(path, name) if reader else None
        if node is not None and nodes is not None:
            nodes.AddItem(node)
        return node is not None

    def saveNodes(
        self,
        fileType: str,
        properties: Mapping[str, Any],
        messages: vtk.vtkObject | None = None,
    ) -> bool:
        """Write the scene (.mrb) or one node to the file that ``properties`` names."""
        path = str(Path(properties["fileName"]).resolve())
        if fileType == "SceneFile":
            return bool(self._scene.WriteToMRB(path, None, messages))
        node = self._scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        return bool(storage.WriteData(node))

    def _readVolume(self, path: str, name: str) -> vtk.vtkObject | None:
        return slicer.modules.volumes.logic().AddArchetypeVolume(path, name, 0, None)

    def _readSegmentation(self, path: str, name: str) -> vtk.vtkObject | None:
        return slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)

    def _readMarkups(self, path: str, name: str) -> vtk.vtkObject | None:
        nodeID = slicer.modules.markups.logic().LoadMarkups(path, name, None)
        return self._scene.GetNodeByID(nodeID) if nodeID else None
