"""Many scans: one folder a case, one table at the end, and on from where it stopped."""

import json
import logging
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from MorseCore.commands.batchtable import SUMMARY, BatchTable, summary_row
from MorseCore.commands.cases import check_places, find_cases
from MorseCore.errors import Cancelled, ConfigError, MorseError, OutputError
from MorseCore.images.contents import input_hashes
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.roi import Roi, parse_roi
from MorseCore.inference.files import FORMATS, MaskFormat, complete_result, write_result
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.result import Segmentation
from MorseCore.store.library import find_model
from MorseCore.system.files import prepare_output_directory, printable

__all__ = ["BatchRun", "find_cases", "run_batch"]

log = logging.getLogger(__name__)

Progress = Callable[[str, str, float], None]
"""Called with case, stage and 0..1."""
OnResult = Callable[[str, Segmentation, Volume], None]


@dataclass(frozen=True)
class BatchRun:
    """What a batch is made with."""

    predictor: VolumePredictor
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
        should_stop: Callable[[], bool] | None = None,
    ) -> int:
        """Segment every case; returns how many failed. One bad scan does not stop the others.

        :raises ConfigError: if results would be written over something that is not ours.
        :raises OutputError: if the output folder or, at the end, the table cannot be written.
        :raises Cancelled: if ``should_stop`` answered yes; finished cases are kept.
        """
        check_places(cases, self.output)
        prepare_output_directory(self.output)
        table, failed = self._table(is_wanted=len(cases) > 1), 0
        for n, (name, path) in enumerate(cases.items(), start=1):
            row = self._row(name, path, on_result, progress, should_stop)
            failed += row["status"] == "failed"
            if table is not None:
                table.add(row)
                try:
                    table.write()
                except OutputError as error:
                    if n == len(cases):
                        raise
                    log.warning("%s", error)  # a table open in Excel does not cost a night
        if len(cases) > 1:
            log.info("%d of %d cases failed; see %s", failed, len(cases), self.output / SUMMARY)
        return failed

    def _table(self, *, is_wanted: bool) -> BatchTable | None:
        """The folder's table; for one case alone only if there is one to bring up to date."""
        if not is_wanted and not (self.output / SUMMARY).exists():
            return None
        try:
            return BatchTable(self.output)
        except ConfigError:
            if is_wanted:
                raise
            return None

    def _row(
        self,
        name: str,
        path: Path,
        on_result: OnResult | None,
        progress: Progress | None,
        should_stop: Callable[[], bool] | None,
    ) -> dict[str, Any]:
        shown = printable(name)
        started = time.perf_counter()
        try:
            request = self._request(path)
            report = complete_result(self.output / name, self.mask_format)
            if report is not None and report.get("request") == request:
                log.info("%s: already done", shown)
                return summary_row(name, "done before", report)
            if report is not None:
                log.warning("%s: %s", shown, _replacing(report.get("request"), request))
            volume = self.read(path)
            reading = round(time.perf_counter() - started, 4)
            tell = None if progress is None else lambda stage, share: progress(name, stage, share)
            result = self.predictor.segment(
                volume, self.options, progress=tell, should_stop=should_stop
            )
            result.report["seconds"] = {"read": reading, **result.report.get("seconds", {})}
            result.report["request"] = request
            report = write_result(self.output / name, result, mask_format=self.mask_format)
            if on_result is not None:
                on_result(name, result, volume)
        except Cancelled:
            raise
        except MorseError as error:
            return _failure(name, str(error))
        except Exception as error:
            log.debug("%s", traceback.format_exc())
            first = (str(error).strip().splitlines() or ["no message"])[0]
            return _failure(name, f"unexpected {type(error).__name__}: {first}")
        seconds = time.perf_counter() - started
        log.info("%s: done in %.1f s%s", shown, seconds, _volumes(report))
        return summary_row(name, "done", report)

    def _request(self, path: Path) -> dict[str, Any]:
        """What has to be equal for a finished case to be left alone."""
        request = {
            "model": self.predictor.info.sha256,
            "options": asdict(self.options),
            "format": self.mask_format,
            "input": [[printable(name), digest] for name, digest in _hashes(path)],
        }
        plain: dict[str, Any] = json.loads(json.dumps(request))  # tuples come back as lists
        return plain


def run_batch(
    inputs: Sequence[str | Path],
    output: Path,
    *,
    model: str,
    device: str = "auto",
    engine: str = "torch",
    points: int | None = None,
    passes: int | None = None,
    roi: Roi | str | None = None,
    scale: int = 1,
    mask_format: str = "nii.gz",
    read: Callable[[Path], Volume] = read_volume,
    on_result: OnResult | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> int:
    """Segment scans into ``output/<case>/``; returns the process's exit code.

    0: all done; 1: some cases failed (each with one sentence in the log and in ``summary.csv``).

    :raises MorseError: if nothing can be started at all: unknown model, device, output, option; or
        if ``should_stop`` answered yes.
    """
    if mask_format not in FORMATS:
        raise ConfigError(f"The format must be one of {', '.join(FORMATS)}; found '{mask_format}'.")
    box = parse_roi(roi) if isinstance(roi, str) else roi
    options = PredictOptions(roi=box, points=points, passes=passes, scale=scale)
    cases = find_cases(inputs)
    predictor = VolumePredictor(find_model(model), device=device, engine=engine)
    info = predictor.info  # a number that its renderer does not have fails here, not per case
    options.renderer(info.renderer, window=info.preparation.window_size)
    run = BatchRun(predictor, Path(output), options, mask_format, read)
    failed = run.run(cases, on_result=on_result, progress=progress, should_stop=should_stop)
    return 1 if failed else 0


def _replacing(before: object, now: dict[str, Any]) -> str:
    """Why a finished case is segmented again: its masks are about to be another run's."""
    other = sorted(now)
    if isinstance(before, dict):
        other = [key for key in sorted(now) if before.get(key) != now[key]]
        if "options" in other and isinstance(before.get("options"), dict):
            options = now["options"]
            other.remove("options")
            other += [key for key in options if before["options"].get(key) != options[key]]
    return (
        f"its earlier result is replaced, as it was made with another {', another '.join(other)}; "
        "to keep both, take two output folders"
    )


def _volumes(report: dict[str, Any]) -> str:
    """``: Liver 1480.2 ml, Spleen 201.0 ml``, of the first structures."""
    rows = report.get("structures", [])
    shown = [f"{row['name']} {row['refined_ml']:.4g} ml" for row in rows[:4]]
    return f": {', '.join(shown)}{', …' if len(rows) > 4 else ''}" if shown else ""


def _hashes(path: Path) -> list[list[str]]:
    try:
        return input_hashes(path)
    except OSError:  # reading the image will say why
        return []


def _failure(name: str, message: str) -> dict[str, Any]:
    log.error("%s: %s", printable(name), message)
    return {"case": name, "status": "failed", "message": message}
