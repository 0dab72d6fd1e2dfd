"""Many scans: one folder a case, one table at the end, and on from where it stopped."""

import csv
import logging
import math
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from MorseCore.config import read_json
from MorseCore.errors import Cancelled, ConfigError, ImageError, MorseError
from MorseCore.files import atomic_path, prepare_output_directory
from MorseCore.imageio import Volume, read_volume
from MorseCore.models_library import find_model
from MorseCore.output import FORMATS, REPORT, MaskFormat, write_result
from MorseCore.predictor import PredictOptions, Predictor
from MorseCore.result import Segmentation
from MorseCore.roi import Roi, parse_roi

__all__ = ["BatchRun", "find_cases", "run_batch"]

IMAGE_SUFFIXES = (
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
)
log = logging.getLogger(__name__)

Progress = Callable[[str, str, float], None]
"""Called with case, stage and 0..1."""
OnResult = Callable[[str, Segmentation, Volume], None]


def find_cases(inputs: Iterable[str | Path]) -> dict[str, Path]:
    """Case name -> image, for files, DICOM folders and folders of images.

    :raises ImageError: if two inputs would share a name, or a folder holds nothing.
    """
    cases: dict[str, Path] = {}
    for text in inputs:
        path = Path(text)
        found = [path]
        if path.is_dir():
            images = sorted(p for p in path.iterdir() if _is_image(p))
            found = images or [path]  # a folder without image files is taken as a DICOM series
        for image in found:
            name = _case_name(image)
            if name in cases and cases[name].resolve() != image.resolve():
                raise ImageError(
                    f"'{cases[name]}' and '{image}' would both be written to '{name}'; "
                    "segment them into different output folders."
                )
            cases[name] = image
    if not cases:
        raise ImageError("There is no image to segment.")
    return cases


@dataclass(frozen=True)
class BatchRun:
    """What a batch is made with."""

    predictor: Predictor
    output: Path
    options: PredictOptions
    mask_format: MaskFormat = "nii.gz"
    read: Callable[[Path], Volume] = read_volume
    """Slicer reads more formats than SimpleITK does."""

    def run(
        self,
        cases: dict[str, Path],
        *,
        on_result: OnResult | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Segment every case; returns how many failed. One bad scan does not stop the others."""
        prepare_output_directory(self.output)
        rows = []
        for name, path in cases.items():
            rows.append(self._row(name, path, on_result, progress))
            if len(cases) > 1:
                _write_summary(self.output / "summary.csv", rows)
        return sum(row["status"] == "failed" for row in rows)

    def _row(
        self, name: str, path: Path, on_result: OnResult | None, progress: Progress | None
    ) -> dict[str, Any]:
        folder = self.output / name
        request = self._request(path)
        if (report := _finished(folder, request)) is not None:
            log.info("%s: already done", name)
            return _summary_row(name, "done before", report)
        started = time.perf_counter()
        try:
            volume = self.read(path)
            tell = None if progress is None else lambda stage, share: progress(name, stage, share)
            result = self.predictor.segment(volume, self.options, progress=tell)
            result.report["request"] = request
            write_result(folder, result, mask_format=self.mask_format)
            if on_result is not None:
                on_result(name, result, volume)
        except Cancelled:
            raise
        except MorseError as error:
            log.error("%s: %s", name, error)
            return {"case": name, "status": "failed", "message": str(error)}
        except Exception as error:
            log.error("%s: unexpected %s: %s", name, type(error).__name__, error)
            log.debug("%s", traceback.format_exc())
            return {"case": name, "status": "failed", "message": f"{type(error).__name__}: {error}"}
        log.info("%s: done in %.1f s", name, time.perf_counter() - started)
        return _summary_row(name, "done", result.report)

    def _request(self, path: Path) -> dict[str, Any]:
        """What has to be equal for a finished case to be left alone."""
        options = asdict(self.options)
        options["roi"] = asdict(self.options.roi) if self.options.roi else None
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        sizes = [(f.name, f.stat().st_size) for f in files if f.is_file()]
        return {
            "model": self.predictor.info.sha256,
            "options": _as_json(options),
            "format": self.mask_format,
            "input": [list(item) for item in sizes],
        }


def run_batch(
    inputs: Sequence[str | Path],
    output: Path,
    *,
    model: str,
    device: str = "auto",
    points: int | None = None,
    passes: int | None = None,
    roi: Roi | str | None = None,
    scale: int = 1,
    mask_format: str = "nii.gz",
    read: Callable[[Path], Volume] = read_volume,
    on_result: OnResult | None = None,
    progress: Progress | None = None,
) -> int:
    """Segment scans into ``output/<case>/``; returns the process's exit code.

    0: all done; 1: some cases failed (each with one sentence in the log and in ``summary.csv``).

    :raises MorseError: if nothing can be started at all: unknown model, device, output, option.
    """
    if mask_format not in FORMATS:
        raise ConfigError(f"The format must be one of {', '.join(FORMATS)}; found '{mask_format}'.")
    box = parse_roi(roi) if isinstance(roi, str) else roi
    options = PredictOptions(roi=box, points=points, passes=passes, scale=scale)
    cases = find_cases(inputs)
    prepare_output_directory(Path(output))
    predictor = Predictor(find_model(model), device=device)
    options.renderer(
        predictor.info.renderer
    )  # an impossible number of points fails here, not per case
    run = BatchRun(predictor, Path(output), options, mask_format, read)
    failed = run.run(cases, on_result=on_result, progress=progress)
    return 1 if failed else 0


def _is_image(path: Path) -> bool:
    return (
        path.is_file()
        and not path.name.startswith(".")
        and path.name.lower().endswith(IMAGE_SUFFIXES)
    )


def _case_name(path: Path) -> str:
    name = path.name or path.resolve().name
    for suffix in IMAGE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _finished(folder: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The report of a case that is complete and was made in the same way."""
    if not (folder / REPORT).is_file():
        return None
    try:
        report = read_json(folder / REPORT)
    except ConfigError:
        return None
    return report if report.get("request") == request else None


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, (tuple, list)) else value


def _summary_row(name: str, status: str, report: dict[str, Any]) -> dict[str, Any]:
    points = report.get("points", {})
    row = {
        "case": name,
        "status": status,
        "attention": report.get("attention", ""),
        "rendered_voxels": points.get("rendered_voxels", 0),
        "changed_points": points.get("changed", 0),
        "seconds": round(sum(report.get("seconds", {}).values()), 2),
        "message": " ".join(report.get("warnings", [])),
    }
    for item in report.get("structures", []):
        for key in ("refined_ml", "change_ml", "shift_p95_mm"):
            row[f"{item['name']} {key}"] = item[key]
    return row


def _write_summary(path: Path, rows: list[dict[str, Any]]) -> None:
    """Failed cases first, then by the attention they call for."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns.sort(key=lambda c: c == "message")

    def urgency(row: Mapping[str, Any]) -> tuple[bool, float]:
        value = row.get("attention")
        return row["status"] != "failed", -float(value) if isinstance(
            value, (int, float)
        ) else math.inf

    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(sorted(rows, key=urgency))
