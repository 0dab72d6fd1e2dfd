"""Folders of results as a batch leaves them, without their masks: reports of simulated cases."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["case_report", "simulated_cohort"]

STRUCTURES = ("Left hippocampus", "Right hippocampus", "Brain stem")
_MEANS = (3.6, 3.8, 21.0)  # ml
_FREESURFER = {
    "Left hippocampus": 17, "Right hippocampus": 53, "Brain stem": 16, "Left thalamus": 10,
    "Right thalamus": 49, "Third ventricle": 14,
}  # fmt: skip


def case_report(
    volumes: Mapping[str, float],
    *,
    level: str | None = None,
    words: str = "",
    structure: str = "",
    attention: float = 0.3,
) -> dict[str, Any]:
    """What ``report.json`` says of a case with these refined volumes, in ml."""
    rows = [
        {
            "value": n, "name": name, "coarse_ml": round(ml * 0.98, 4), "refined_ml": ml,
            "change_ml": round(ml * 0.02, 4), "change_percent": 2.0, "added_voxels": 20,
            "removed_voxels": 2, "shift_mean_mm": 0.2, "shift_p95_mm": 0.5,
            "coarse_probability_ml": round(ml * 1.01, 4),
            "refined_probability_ml": round(ml * 1.02, 4),
        }
        for n, (name, ml) in enumerate(volumes.items(), start=1)
    ]  # fmt: skip
    report: dict[str, Any] = {
        "model": {"name": "simulated", "sha256": "ab" * 32},
        "input": {"name": "x.nii.gz", "shape_kji": [8, 9, 10], "spacing_mm_ijk": [1.0, 1.0, 1.2]},
        "versions": {"MorseSegment": "0.0", "torch": "0", "python": "3"},
        "device": "CPU", "engine": "torch", "seed": 0, "parameters": {"points": 10},
        "seconds": {"read": 1.0, "network": 2.5}, "attention": attention, "windows": 1,
        "points": {"rendered_voxels": 100, "changed": 22}, "warnings": [], "peak_memory_mb": 900,
        "structures": rows,
        "labels": [
            {"value": n, "name": name, "color": [0.9, 0.2 * n, 0.1], "terminology": "",
             "freesurfer": _FREESURFER.get(name, 0)}
            for n, name in enumerate(volumes, start=1)
        ],
        "brain": {"brain_ml": 1200.0, "intracranial_ml": 1450.5},
    }  # fmt: skip
    if level is not None:
        reason = {"structure": structure, "signal": "volume", "value": 1, "range": [2, 3],
                  "words": words}  # fmt: skip
        report["verdict"] = {"level": level, "reasons": [reason] if words else []}
    return report


def simulated_cohort(folder: Path, count: int, *, seed: int = 0) -> Path:
    """Cases ``sub-0000`` and on with likely volumes; the first is implausible, the second odd."""
    random = np.random.default_rng(seed)
    for n in range(count):
        factor = 0.2 if n == 0 else 1.0
        volumes = {
            name: round(float(mean * factor * random.normal(1, 0.06)), 4)
            for name, mean in zip(STRUCTURES, _MEANS, strict=True)
        }
        level = ("implausible", "check")[n] if n < 2 else "ok"
        words = "" if level == "ok" else f"The left hippocampus is odd in case {n}."
        report = case_report(
            volumes, level=level, words=words, structure="Left hippocampus",
            attention=round(float(random.uniform(0.2, 0.5)), 3),
        )  # fmt: skip
        path = folder / f"sub-{n:04}_ses-1_T1w" / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(report), encoding="utf-8")
    return folder
