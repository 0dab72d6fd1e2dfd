"""A segmentation as files: written whole or not at all, read back as it was."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from MorseCore.config import read_json
from MorseCore.errors import ConfigError, ImageError
from MorseCore.files import atomic_path, write_json
from MorseCore.geometry import Geometry
from MorseCore.imageio import read_volume, write_labels, write_volume
from MorseCore.result import RenderedPoints, Segmentation, Structure
from MorseCore.segmentationfile import write_segmentation_nrrd

__all__ = ["FORMATS", "MaskFormat", "read_result", "write_result"]

MaskFormat = Literal["nii.gz", "seg.nrrd"]
FORMATS: tuple[MaskFormat, ...] = ("nii.gz", "seg.nrrd")
MAX_MARKUPS = 8192  # control points that Slicer still handles smoothly
REPORT = "report.json"


def write_result(folder: Path, result: Segmentation, *, mask_format: MaskFormat = "nii.gz") -> None:
    """Write the files of one case; ``report.json`` comes last and marks it as complete.

    ``coarse`` and ``refined`` label maps, ``uncertainty.nii.gz``, ``points.csv``,
    ``points.mrk.json`` (the 8192 most uncertain ones, for Slicer), ``report.json``.

    :raises OutputError: if the folder cannot be written to; no half-written file is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT).unlink(missing_ok=True)  # of an earlier run: until the end this case is open
    for name in ("coarse", "refined"):
        path, labels = folder / f"{name}.{mask_format}", getattr(result, name)
        if mask_format == "seg.nrrd":
            write_segmentation_nrrd(path, labels, result.geometry, structures=result.structures)
        else:
            write_labels(path, labels, result.geometry)
        for other in FORMATS:
            if other != mask_format:
                (folder / f"{name}.{other}").unlink(missing_ok=True)
    write_volume(folder / "uncertainty.nii.gz", result.uncertainty, result.geometry)
    with atomic_path(folder / "points.csv") as temporary:
        result.points.write_csv(temporary)
    write_json(folder / "points.mrk.json", _markups(result.points))
    structures = [
        {"value": s.value, "name": s.name, "color": list(s.color), "terminology": s.terminology}
        for s in result.structures
    ]
    listed = {"listed": len(result.points), "changed": int(result.points.changed.sum())}
    report = {**result.report, "labels": structures}
    report["points"] = {**report.get("points", {}), **listed}
    write_json(folder / REPORT, report)


def read_result(folder: Path) -> Segmentation:
    """Read what :func:`write_result` wrote.

    :raises ImageError: if the folder is no complete result.
    """
    try:
        report = read_json(folder / REPORT)
        structures = tuple(
            Structure(int(s["value"]), str(s["name"]), _color(s["color"]), str(s["terminology"]))
            for s in report["labels"]
        )
    except (ConfigError, KeyError, TypeError, ValueError):
        raise ImageError(
            f"'{folder}' holds no complete result (report.json is missing or faulty)."
        ) from None
    masks = {}
    geometry: Geometry | None = None
    for name in ("coarse", "refined"):
        path = next((p for f in FORMATS if (p := folder / f"{name}.{f}").is_file()), None)
        if path is None:
            raise ImageError(f"'{folder}' lacks its {name} mask.")
        volume = read_volume(path)
        geometry, masks[name] = volume.geometry, volume.array
    uncertainty = read_volume(folder / "uncertainty.nii.gz")
    if geometry is None or not geometry.is_close(uncertainty.geometry):
        raise ImageError(f"The masks and the uncertainty in '{folder}' lie on different grids.")
    points = RenderedPoints.read_csv(folder / "points.csv")
    return Segmentation(
        geometry, structures, masks["coarse"], masks["refined"],
        uncertainty.array.astype(np.float32), points, report,
    )  # fmt: skip


def _color(values: Any) -> tuple[float, float, float]:
    r, g, b = (float(x) for x in values)
    return r, g, b


def _markups(points: RenderedPoints) -> dict[str, Any]:
    """A point list for Slicer: positions in LPS, the uncertainty as a measurement of each point."""
    points = points.take(np.arange(min(len(points), MAX_MARKUPS)))
    controls = [
        {
            "id": str(n + 1),
            "label": f"{a} -> {b}" if a != b else f"{a}",
            "position": [-r, -anterior, s],
            "selected": bool(a != b),
            "locked": True,
            "visibility": True,
        }
        for n, ((r, anterior, s), a, b) in enumerate(
            zip(
                np.round(points.positions, 4).tolist(), points.coarse_label.tolist(),
                points.refined_label.tolist(), strict=True,
            )
        )
    ]  # fmt: skip
    uncertainty = [round(float(x), 5) for x in points.uncertainty]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "locked": True,
        "controlPoints": controls,
        "measurements": [
            {
                "name": "uncertainty",
                "enabled": True,
                "printFormat": "%.3f",
                "controlPointValues": uncertainty,
            }
        ],
        "display": {
            "pointLabelsVisibility": False,
            "glyphType": "Sphere3D",
            "useGlyphScale": True,
            "glyphScale": 1.0,
        },
    }
    schema = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
    return {"@schema": schema, "markups": [markup]}
