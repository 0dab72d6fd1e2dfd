"""Which masks are shown, and what the rendering changed. No Qt."""

from collections.abc import Mapping, Sequence
from typing import Any

import vtk

from MorseSegmentLib.record import SceneResult

__all__ = ["COLUMNS", "VIEWS", "nextView", "rows", "showView"]

VIEWS = ("coarse", "both", "refined")
COLUMNS = ("Structure", "Coarse, ml", "Refined, ml", "Change, ml", "Change, %", "Shift, mm (95 %)")


def showView(scene: vtk.vtkObject, shown: SceneResult, view: str) -> None:
    """Show the coarse mask, the refined one, or both; masks that are gone are skipped."""
    for nodeID, views in ((shown.coarse, ("coarse", "both")), (shown.refined, ("refined", "both"))):
        node = scene.GetNodeByID(nodeID)
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(view in views)


def nextView(view: str) -> str:
    """The view after this one, the first after the last."""
    return VIEWS[(VIEWS.index(view) + 1) % len(VIEWS)]


def rows(structures: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Text for a table, from the report's ``structures``; an undefined change is a dash."""
    return [
        (
            str(s["name"]),
            f"{s['coarse_ml']:.3f}",
            f"{s['refined_ml']:.3f}",
            f"{s['change_ml']:+.3f}",
            "-" if s["change_percent"] is None else f"{s['change_percent']:+.1f}",
            f"{s['shift_mean_mm']:.2f} ({s['shift_p95_mm']:.2f})",
        )
        for s in structures
    ]
