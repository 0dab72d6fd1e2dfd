"""Which masks are shown, and what the rendering changed. No Qt."""

from collections.abc import Mapping
from typing import Any

import slicer
import vtk

from MorseSegmentLib.scene.record import SceneResult
from MorseSegmentLib.scene.segments import segmentIDs

__all__ = ["VIEWS", "flippedView", "jumpTo", "line", "showView"]

VIEWS = ("coarse", "both", "refined")


def showView(scene: vtk.vtkObject, shown: SceneResult, view: str) -> None:
    """Show the coarse mask, the refined one, or both; masks that are gone are skipped."""
    for nodeID, views in ((shown.coarse, ("coarse", "both")), (shown.refined, ("refined", "both"))):
        node = scene.GetNodeByID(nodeID)
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(view in views)


def flippedView(view: str) -> str:
    """What the key shows next: before and after in turn; from both, what was before."""
    return "refined" if view == "coarse" else "coarse"


def line(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Text for a table, of one of the report's ``structures``; an undefined change is a dash."""
    return (
        str(row["name"]),
        f"{row['coarse_ml']:.3f}",
        f"{row['refined_ml']:.3f}",
        f"{row['change_ml']:+.3f}",
        "-" if row["change_percent"] is None else f"{row['change_percent']:+.1f}",
        f"{row['shift_mean_mm']:.2f} ({row['shift_p95_mm']:.2f})",
    )


def jumpTo(scene: vtk.vtkObject, shown: SceneResult, structure: int) -> bool:
    """Centre every slice view on a structure; False if neither mask has a voxel of it."""
    for nodeID in (shown.refined, shown.coarse):
        node = scene.GetNodeByID(nodeID)
        segmentID = None if node is None else segmentIDs(node).get(structure)
        center = None if segmentID is None else node.GetSegmentCenterRAS(segmentID)
        if center is not None:
            slicer.vtkMRMLSliceNode.JumpAllSlices(
                scene, *center, slicer.vtkMRMLSliceNode.CenteredJumpSlice
            )
            return True
    return False
