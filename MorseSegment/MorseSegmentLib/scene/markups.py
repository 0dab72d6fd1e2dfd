"""The rendered points as locked markups, a node for each range of uncertainty."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from MorseCore.result import RenderedPoints
from MorseSegmentLib.scene.geometry import toWorld
from MorseSegmentLib.scene.nodes import NodeLedger
from MorseSegmentLib.scene.palette import BIN_EDGES, binColors, binOf
from MorseSegmentLib.scene.stepping import Steps

__all__ = [
    "MAXIMUM_POINTS",
    "MEASUREMENT",
    "SHOWN_FROM",
    "SHOWN_IN_3D_FROM",
    "addPointsInSteps",
    "fillPoints",
    "placementKept",
    "worstPoints",
]

MAXIMUM_POINTS = 8192
"""More markups make the views slow; what was rendered beyond is in points.csv."""

SHOWN_FROM = 0.2
"""A model may render thousands of voxels that it was sure of; they would hide the others."""

SHOWN_IN_3D_FROM = 0.6
"""Below it lies a shell of points that hides the surface."""

MEASUREMENT = "uncertainty"
"""Name of the measurement that holds each point's exact uncertainty, also in .mrk.json."""


def worstPoints(points: RenderedPoints) -> np.ndarray:
    """Positions in ``points`` of the at most 8192 that are shown, most uncertain first."""
    return np.argsort(-points.uncertainty, kind="stable")[:MAXIMUM_POINTS]


def addPointsInSteps(
    ledger: NodeLedger, name: str, points: RenderedPoints, *, glyphSize: float
) -> Steps[list[vtk.vtkObject]]:
    """Make five vtkMRMLMarkupsFiducialNodes, from the least to the most uncertain.

    A range without points gives an empty node. A control point's label is its rank in the
    result, from 1, as in points.csv. Markups have one colour a node, hence a node a range;
    unlocked, each movement of the mouse over the 3D view would cost 0.2 to 0.5 s.

    :param glyphSize: diameter of a point in mm.
    """
    shown = worstPoints(points)
    bins = binOf(points.uncertainty[shown])
    nodes = []
    for number, color in enumerate(binColors()):
        low, high = BIN_EDGES[number : number + 2]
        with placementKept(ledger.scene):
            node = ledger.make("vtkMRMLMarkupsFiducialNode", f"{name} {low:.1f}-{high:.1f}")
        node.SetLocked(True)
        node.CreateDefaultDisplayNodes()
        _style(node.GetDisplayNode(), color, glyphSize)
        node.GetDisplayNode().SetVisibility(low >= SHOWN_FROM)
        node.GetDisplayNode().SetVisibility3D(low >= SHOWN_IN_3D_FROM)
        chosen = shown[bins == number]
        fillPoints(node, points.take(chosen), chosen + 1)
        nodes.append(node)
        yield
    return nodes


@contextmanager
def placementKept(scene: vtk.vtkObject) -> Iterator[None]:
    """Whatever point list a person places points in stays the one.

    Slicer makes every new markups node the active one, locked or not: the next landmark would
    become one of ours, and go with the next change of the filter.
    """
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    if selection is None:
        yield
        return
    className, nodeID = selection.GetActivePlaceNodeClassName(), selection.GetActivePlaceNodeID()
    try:
        yield
    finally:
        selection.SetActivePlaceNodeClassName(className)
        selection.SetActivePlaceNodeID(nodeID)


def _style(display: vtk.vtkObject, color: np.ndarray, glyphSize: float) -> None:
    for setColor in (display.SetColor, display.SetSelectedColor, display.SetActiveColor):
        setColor(*color)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetUseGlyphScale(False)  # a size in mm instead of a share of the screen
    display.SetGlyphSize(glyphSize)


def fillPoints(node: vtk.vtkObject, points: RenderedPoints, ranks: np.ndarray) -> None:
    """Give a markups node these points and no others, their rank as the label.

    :param points: (P,) in the RAS of the node; ``ranks`` (P,).
    """
    # In one batch: a call a point took 52 s for 8192 points. Emptied first: filling over 8192
    # points that are there took 3.2 s, after emptying 16 ms.
    positions = vtk.vtkPoints()
    positions.SetDataTypeToDouble()
    positions.SetData(_vtkArray(toWorld(node, points.positions)))
    wasModifying = node.StartModify()
    try:
        node.RemoveAllControlPoints()
        node.SetControlPointPositionsWorld(positions)
        for n, rank in enumerate(ranks):
            node.SetNthControlPointLabel(n, str(rank))
        _measure(node, points.uncertainty)
    finally:
        node.EndModify(wasModifying)


def _measure(node: vtk.vtkObject, uncertainty: np.ndarray) -> None:
    values = _vtkArray(uncertainty)
    values.SetName(MEASUREMENT)
    for n in range(node.GetNumberOfMeasurements()):
        measurement = node.GetNthMeasurement(n)
        if measurement.GetName() == MEASUREMENT:
            measurement.SetControlPointValues(values)
            return
    measurement = slicer.vtkMRMLStaticMeasurement()
    measurement.SetName(MEASUREMENT)
    measurement.SetControlPointValues(values)
    node.AddMeasurement(measurement)


def _vtkArray(values: np.ndarray) -> vtk.vtkDoubleArray:
    doubles = np.ascontiguousarray(values, dtype=np.float64)
    return numpy_support.numpy_to_vtk(doubles, deep=True, array_type=vtk.VTK_DOUBLE)
