"""The numbers of each structure, coarse and refined: from the report, from the masks, as a node."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import vtk

from MorseCore.result import Structure
from MorseSegmentLib.scene.masks import Masks, masksInSteps
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.record import SceneResult, addExtra, extraIDs, readRecord
from MorseSegmentLib.scene.stepping import imported, inThread

__all__ = ["COLUMNS", "ChangeTable"]

COLUMNS = (
    "name", "coarse_ml", "refined_ml", "change_ml", "change_percent",
    "added_voxels", "removed_voxels", "shift_mean_mm", "shift_p95_mm",
)  # fmt: skip
"""Keys of a row (see MorseCore.metrics.comparison), and columns of the node."""

_KIND = "changes"
_COMPARISON = "MorseCore.metrics.comparison"  # needs SciPy, so not at start


class ChangeTable:
    """A row for each structure of a result, as a dict with the keys of ``COLUMNS``.

    Example::

        changes = ChangeTable(scene, shown)
        changes.reported()                  # list of rows, at once, as the worker found them
        for row in changes.measured(): ...  # of the masks as they are now, one row at a time
        changes.addNode(rows)               # ID of a vtkMRMLTableNode
    """

    def __init__(self, scene: vtk.vtkObject, shown: SceneResult) -> None:
        self._scene, self._shown = scene, shown

    def reported(self) -> list[dict[str, Any]]:
        """The rows that the worker computed; they know nothing of later local changes.

        :raises MorseError: if the record is gone.
        """
        return list(readRecord(self._scene, self._shown).report.get("structures", []))

    def measured(self) -> Iterator[dict[str, Any]]:
        """The rows of the masks in the scene, also after local changes or edits by hand.

        :raises MorseError: if the record or a mask is gone.
        """
        return (row for row in self.measuredInSteps() if row is not None)

    def measuredInSteps(self, masks: Masks | None = None) -> Iterator[dict[str, Any] | None]:
        """As :meth:`measured`, with a None after every step of some ten milliseconds.

        A row of a large CT takes some tenths of a second: let the application breathe between.

        :param masks: the masks as they are now, if they have been read already.
        """
        yield from imported(_COMPARISON)
        from MorseCore.metrics.comparison import structure_change

        structures = readRecord(self._scene, self._shown).structures
        if masks is None:
            masks = yield from masksInSteps(self._scene, self._shown)

        def row(structure: Structure) -> dict[str, Any]:
            before, after = masks.of(structure.value)
            return structure_change(before, after, geometry=masks.geometry, structure=structure)

        for structure in structures:
            yield (yield from inThread(partial(row, structure)))

    def addNode(self, rows: Sequence[dict[str, Any]]) -> str:
        """Make a vtkMRMLTableNode of rows, or fill the one that is there; its ID."""
        nodeID = next(iter(extraIDs(self._scene, self._shown, _KIND)), None)
        if nodeID is not None:
            self._scene.GetNodeByID(nodeID).SetAndObserveTable(_table(rows))
            return nodeID
        with NodeLedger(self._scene) as ledger:
            name = f"{readRecord(self._scene, self._shown).name} changes"
            node = ledger.make("vtkMRMLTableNode", name)
            node.SetUseColumnTitleAsColumnHeader(True)
            node.SetAndObserveTable(_table(rows))
            addExtra(self._scene, self._shown, _KIND, node)
        return node.GetID()


def _table(rows: Sequence[dict[str, Any]]) -> vtk.vtkTable:
    table = vtk.vtkTable()
    for name in COLUMNS:
        column = vtk.vtkStringArray() if name == "name" else vtk.vtkDoubleArray()
        column.SetName(name)
        for row in rows:
            value = row[name]
            column.InsertNextValue(float("nan") if value is None else value)
        table.AddColumn(column)
    return table
