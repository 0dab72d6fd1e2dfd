"""Write a segmentation as files, whole or not at all, and read it back as it was."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from MorseCore.config import read_json
from MorseCore.errors import ConfigError, ImageError, MorseError
from MorseCore.images.imageio import read_volume, write_labels, write_volume
from MorseCore.images.nifti import check_nifti
from MorseCore.images.segmentationfile import write_segmentation_nrrd
from MorseCore.images.textheaders import check_text_header
from MorseCore.result import RenderedPoints, Segmentation, Structure, brain_values
from MorseCore.system.files import (
    atomic_path,
    finish_replacing,
    prepare_output_directory,
    replaced_together,
    write_json,
)

__all__ = [
    "FORMATS",
    "MaskFormat",
    "complete_result",
    "read_result",
    "write_result",
    "written_names",
]

MaskFormat = Literal["nii.gz", "seg.nrrd"]
FORMATS: tuple[MaskFormat, ...] = ("nii.gz", "seg.nrrd")
MAX_MARKUPS = 8192  # control points that Slicer still handles smoothly
REPORT = "report.json"
_MASKS = ("coarse", "refined")
_FILES = ("uncertainty.nii.gz", "points.csv", "points.mrk.json", REPORT)
_BRAIN, _FREESURFER = "brain.nii.gz", "freesurfer.nii.gz"


def write_result(
    folder: Path, result: Segmentation, *, mask_format: MaskFormat = "nii.gz"
) -> dict[str, Any]:
    """Write the files of one case; return what ``report.json`` holds.

    ``coarse`` and ``refined`` label maps, ``uncertainty.nii.gz``, ``points.csv``,
    ``points.mrk.json`` (the 8192 most uncertain ones, for Slicer), ``report.json``, which marks the
    case as complete. Where the structures have FreeSurfer's numbers, ``freesurfer.nii.gz`` is the
    refined map under these; where they are a whole brain's, ``brain.nii.gz`` is its mask.
    An older result stays as it is until all of the new one is written.

    :raises OutputError: if the folder cannot be written to; no half-written file is left.
    """
    prepare_output_directory(folder)
    try:
        with replaced_together(folder, last=REPORT, supersedes=_other_formats) as staged:
            return _write_files(staged, result, mask_format)
    except BaseException:
        with suppress(OSError):
            folder.rmdir()  # goes only if it is empty, that is, if this call made it
        raise


def complete_result(folder: Path, mask_format: MaskFormat) -> dict[str, Any] | None:
    """The report of a case all of whose files are there and whole, else None.

    What a person changed in them, e.g. a corrected mask, does not matter. Finishes what a kill in
    the last moment of :func:`write_result` left undone.

    :raises OutputError: if that fails.
    """
    finish_replacing(folder, last=REPORT, supersedes=_other_formats)
    names = [f"coarse.{mask_format}", f"refined.{mask_format}", *_FILES]
    try:
        report = read_json(folder / REPORT)
        structures = [Structure.from_dict(row) for row in report["labels"]]
        names += _derived(structures)
        for name in names:
            _check_whole(folder / name)
    except (MorseError, OSError, KeyError, TypeError, ValueError):
        return None
    return report


def _check_whole(path: Path) -> None:
    """Half a file is no result. :raises MorseError: if a file is damaged or lacks its end."""
    if path.name.endswith(".nii.gz"):
        check_nifti(path)
    elif path.name.endswith(".nrrd"):
        check_text_header(path)
    elif path.name.endswith(".json"):
        read_json(path)
    elif not path.read_bytes().endswith(b"\n"):
        raise ImageError(f"{path.name} lacks its end.")


def _other_formats(name: str) -> list[str]:
    """What an earlier result may have left: masks of another format, maps of another model."""
    if name == REPORT:
        return [_BRAIN, _FREESURFER]
    stem, _, suffix = name.partition(".")
    return [f"{stem}.{other}" for other in FORMATS if stem in _MASKS and other != suffix]


def _derived(structures: Sequence[Structure]) -> list[str]:
    """Files made of the refined map, by what its structures are."""
    names = [_FREESURFER] if any(item.freesurfer for item in structures) else []
    return [*names, _BRAIN] if brain_values(structures) else names


def _write_files(folder: Path, result: Segmentation, mask_format: MaskFormat) -> dict[str, Any]:
    for name in _MASKS:
        path, labels = folder / f"{name}.{mask_format}", getattr(result, name)
        if mask_format == "seg.nrrd":
            write_segmentation_nrrd(path, labels, result.geometry, structures=result.structures)
        else:
            write_labels(path, labels, result.geometry)
    for name, derived in (_BRAIN, result.brain()), (_FREESURFER, result.in_freesurfer_numbers()):
        if derived is not None:
            write_labels(folder / name, derived, result.geometry)
    write_volume(folder / "uncertainty.nii.gz", result.uncertainty, result.geometry)
    with atomic_path(folder / "points.csv") as temporary:
        result.points.write_csv(temporary)
    write_json(folder / "points.mrk.json", _markups(result.points), indent=None)
    structures = [structure.to_dict() for structure in result.structures]
    listed = {"listed": len(result.points), "changed": int(result.points.changed.sum())}
    report = {**result.report, "labels": structures}
    report["points"] = {**report.get("points", {}), **listed}
    write_json(folder / REPORT, report)
    return report


def written_names(output: Path) -> dict[int, str]:
    """What the labels mean in the results of an output folder, by its reports; value -> name."""
    names: dict[int, str] = {}
    for path in sorted(output.glob(f"*/{REPORT}")):
        try:
            rows = read_json(path)["labels"]
            names |= {int(row["value"]): str(row["name"]) for row in rows}
        except (MorseError, KeyError, TypeError, ValueError):
            continue  # it is scored all the same
    return names


def read_result(folder: Path) -> Segmentation:
    """Read what :func:`write_result` wrote.

    :raises ImageError: if the folder is no complete result.
    """
    try:
        report = read_json(folder / REPORT)
        structures = tuple(map(Structure.from_dict, report["labels"]))
    except (ConfigError, KeyError, TypeError, ValueError):
        raise ImageError(
            f"'{folder}' holds no complete result (report.json is missing or faulty)."
        ) from None
    masks, uncertainty = {}, read_volume(folder / "uncertainty.nii.gz")
    geometry = uncertainty.geometry
    for name in _MASKS:
        path = next((p for f in FORMATS if (p := folder / f"{name}.{f}").is_file()), None)
        if path is None:
            raise ImageError(f"'{folder}' lacks its {name} mask.")
        volume = read_volume(path)
        geometry, masks[name] = volume.geometry, volume.array
        if not geometry.is_close(uncertainty.geometry):
            raise ImageError(f"The maps in '{folder}' lie on different grids.")
    try:
        points = RenderedPoints.read_csv(folder / "points.csv")
    except (OSError, KeyError, ValueError):
        raise ImageError(f"'{folder}' lacks its points.csv, or it is faulty.") from None
    return Segmentation(
        geometry, structures, masks["coarse"], masks["refined"],
        uncertainty.array.astype(np.float32), points, report,
    )  # fmt: skip


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
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "locked": True,
        "controlPoints": controls,
        "measurements": [
            {
                "name": "uncertainty", "enabled": True, "printFormat": "%.3f",
                "controlPointValues": [round(float(x), 5) for x in points.uncertainty],
            }
        ],
        "display": {
            "pointLabelsVisibility": False, "glyphType": "Sphere3D", "useGlyphScale": True,
            "glyphScale": 1.0,
        },
    }  # fmt: skip
    schema = "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
    return {"@schema": schema, "markups": [markup]}
