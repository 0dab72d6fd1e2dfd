"""The rendered points as locked markups, a node for each range of uncertainty."""

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from MorseCore.result import RenderedPoints
from MorseSegmentLib.nodes import NodeLedger
from MorseSegmentLib.palette import BIN_EDGES, binColors, binOf

__all__ = ["MAXIMUM_POINTS", "MEASUREMENT", "addPoints", "worstPoints"]

MAXIMUM_POINTS = 8192
"""More markups make the views slow; what was rendered beyond is in points.csv."""

# A model may render thousands of voxels that it was sure of; they would hide the others.
_SHOWN_FROM = 0.2
_SHOWN_IN_3D_FROM = 0.6  # below it lies a shell of points that hides the surface

MEASUREMENT = "uncertainty"
"""Name of the measurement that holds each point's exact uncertainty, also in .mrk.json."""


def worstPoints(points: RenderedPoints) -> np.ndarray:
    """Positions in ``points`` of the at most 8192 that are shown, most uncertain first."""
    return np.argsort(-points.uncertainty, kind="stable")[:MAXIMUM_POINTS]


def addPoints(
    ledger: NodeLedger, name: str, points: RenderedPoints, *, glyphSize: float
) -> list[vtk.vtkObject]:
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
        node = ledger.make("vtkMRMLMarkupsFiducialNode", f"{name} {low:.1f}-{high:.1f}")
        node.SetLocked(True)
        node.CreateDefaultDisplayNodes()
        _style(node.GetDisplayNode(), color, glyphSize)
        node.GetDisplayNode().SetVisibility(low >= _SHOWN_FROM)
        node.GetDisplayNode().SetVisibility3D(low >= _SHOWN_IN_3D_FROM)
        _fill(node, points, shown[bins == number])
        nodes.append(node)
    return nodes


def _style(display: vtk.vtkObject, color: np.ndarray, glyphSize: float) -> None:
    for setColor in (display.SetColor, display.SetSelectedColor, display.SetActiveColor):
        setColor(*color)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetUseGlyphScale(False)  # a size in mm instead of a share of the screen
    display.SetGlyphSize(glyphSize)


def _fill(node: vtk.vtkObject, points: RenderedPoints, chosen: np.ndarray) -> None:
    # In one batch: a call a point took 52 s for 8192 points.
    positions = vtk.vtkPoints()
    positions.SetDataTypeToDouble()
    positions.SetData(_vtkArray(points.positions[chosen]))
    wasModifying = node.StartModify()
    try:
        node.SetControlPointPositionsWorld(positions)
        for n, position in enumerate(chosen):
            node.SetNthControlPointLabel(n, str(position + 1))
        measurement = slicer.vtkMRMLStaticMeasurement()
        measurement.SetName(MEASUREMENT)
        values = _vtkArray(points.uncertainty[chosen])
        values.SetName(MEASUREMENT)
        measurement.SetControlPointValues(values)
        node.AddMeasurement(measurement)
    finally:
        node.EndModify(wasModifying)


def _vtkArray(values: np.ndarray) -> vtk.vtkDoubleArray:
    doubles = np.ascontiguousarray(values, dtype=np.float64)
    return numpy_support.numpy_to_vtk(doubles, deep=True, array_type=vtk.VTK_DOUBLE)
