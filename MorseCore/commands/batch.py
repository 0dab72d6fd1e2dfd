"""Many scans: one folder a case, one table at the end, and on from where it stopped.

The scans are read and segmented in a process that is watched; this one needs no torch.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from MorseCore.commands.batchtable import SUMMARY, BatchTable, summary_row
from MorseCore.commands.inputs import check_places, find_cases
from MorseCore.errors import Cancelled, ConfigError, MorseError, OutputError
from MorseCore.images.contents import input_files
from MorseCore.images.roi import parse_roi
from MorseCore.quality.verdict import LEVELS, describe
from MorseCore.service.protocol import Case, CaseSettings, Load
from MorseCore.service.supervisor import SupervisedWorker, WorkerLostError
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.files import prepare_output_directory, printable, remove_abandoned

__all__ = ["BatchRun", "run_batch"]

log = logging.getLogger(__name__)

HANG_LIMIT = 600.0
"""Seconds without progress after which a case is given up."""
_READ_LIMIT = 60.0  # seconds to read a scan, and
_READ_RATE = 1e6  # bytes a second more: a network drive

Progress = Callable[[str, str, float], None]
"""Called with case, stage and percent of the whole."""
OnResult = Callable[[str, Path, Path], None]
"""Called with case, its image and the folder of its results."""


@dataclass(frozen=True)
class BatchRun:
    """What a batch is made with."""

    worker: SupervisedWorker
    output: Path
    settings: CaseSettings
    hang_limit: float = HANG_LIMIT
    is_strict: bool = False
    """An implausible result counts as failed."""

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
        stop = should_stop or (lambda: False)
        self.worker.warm_up = Load(id=0, **vars(self.settings))
        self.worker.ask(self.worker.warm_up, should_stop=stop)  # else nothing is begun
        prepare_output_directory(self.output)
        table, failed = self._table(is_wanted=len(cases) > 1), 0
        levels: Counter[str] = Counter()
        for n, (name, path) in enumerate(cases.items(), start=1):
            row = self._row(2 * n, name, path, on_result, progress, stop)
            failed += row["status"] == "failed"
            levels[row.get("verdict", "")] += 1
            if table is not None:
                table.add(row)
                if n == len(cases):
                    table.mark_outliers()
                try:
                    table.write()
                except OutputError as error:
                    if n == len(cases):
                        raise
                    log.warning("%s", error)  # a table open in Excel does not cost a night
        if len(cases) > 1:
            log.info("%d of %d cases failed; see %s", failed, len(cases), self.output / SUMMARY)
            if self.settings.verdict != "off":
                log.info(", ".join(f"{levels[level]} {level}" for level in LEVELS))
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
        number: int,
        name: str,
        path: Path,
        on_result: OnResult | None,
        progress: Progress | None,
        should_stop: Callable[[], bool],
    ) -> dict[str, Any]:
        """Segment one case; its line of the table."""
        shown, started, folder = printable(name), time.perf_counter(), self.output / name
        try:
            answer = self._ask(number, name, path, progress, should_stop)
            status, report = answer["status"], answer["report"]
            if refusal := self._refusal(report):
                log.error("%s: %s", shown, refusal)
                return summary_row(name, "failed", report) | {"message": refusal}
            if on_result is not None and status == "done":
                on_result(name, path, folder)
        except Cancelled:
            raise
        except WorkerLostError as error:
            _clear(folder)
            return _failure(name, str(error))
        except MorseError as error:
            return _failure(name, str(error))
        if status == "done before":
            log.info("%s: already done%s", shown, _level(report))
        else:
            seconds = time.perf_counter() - started
            log.info("%s: done in %.1f s%s%s", shown, seconds, _volumes(report), _level(report))
        return summary_row(name, status, report)

    def _refusal(self, report: dict[str, Any]) -> str:
        """Why a result that was written counts as failed; nothing if it does not."""
        verdict = report.get("verdict")
        if not any(row["refined_ml"] for row in report.get("structures", [])):
            return "nothing was found: the mask is empty."
        if self.is_strict and verdict and verdict["level"] == "implausible":
            return describe(verdict)
        return ""

    def _ask(
        self,
        number: int,
        name: str,
        path: Path,
        progress: Progress | None,
        should_stop: Callable[[], bool],
    ) -> dict[str, Any]:
        def tell(event: Any) -> None:
            if progress is not None:
                progress(name, str(event["stage"]), float(event["percent"]))

        source, target = str(path.absolute()), str((self.output / name).absolute())
        case = Case(id=number, input=source, output=target, name=name, **vars(self.settings))
        limits = {"": self.hang_limit, "read": min(self.hang_limit, _read_limit(path))}
        return self.worker.ask(case, on_event=tell, silence=limits, should_stop=should_stop)


def run_batch(
    inputs: Sequence[str | Path],
    output: Path,
    settings: CaseSettings,
    *,
    is_strict: bool = False,
    hang_limit: float = HANG_LIMIT,
    worker: SupervisedWorker | None = None,
    on_result: OnResult | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> int:
    """Segment scans into ``output/<case>/``; returns the process's exit code.

    0: all done; 1: some cases failed (each with one sentence in the log and in ``summary.csv``). An
    empty mask is a failure.

    :param is_strict: an implausible result is a failure, too; its files stay.
    :param hang_limit: seconds without progress after which a case is given up.
    :param worker: who computes; None: a process of this Python that ends with the batch.
    :raises MorseError: if nothing can be started at all: unknown model, device, output, option; or
        if ``should_stop`` answered yes.
    """
    if not hang_limit > 0:
        raise ConfigError(f"The hang limit must be a number of seconds; found {hang_limit:g}.")
    _check(settings)
    cases = find_cases(inputs)
    with nullcontext(worker) if worker else SupervisedWorker() as computing:
        run = BatchRun(computing, Path(output), settings, hang_limit, is_strict)
        failed = run.run(cases, on_result=on_result, progress=progress, should_stop=should_stop)
    return 1 if failed else 0


def _check(settings: CaseSettings) -> None:
    """Refuse what no case could be segmented with, before the worker starts.

    :raises ConfigError: for a format, region or acceptance that does not exist.
    """
    formats = get_args(get_type_hints(CaseSettings)["format"])
    if settings.format not in formats:
        raise ConfigError(
            f"The format must be one of {', '.join(formats)}; found '{settings.format}'."
        )
    Acceptance(settings.accept)
    if settings.roi is not None:
        parse_roi(settings.roi)


def _read_limit(path: Path) -> float:
    """Seconds that reading a case may take before the first sign of progress after it."""
    size = 0
    with suppress(OSError, ValueError):
        size = sum(file.stat().st_size for file in input_files(path))
    return _READ_LIMIT + size / _READ_RATE


def _clear(folder: Path) -> None:
    """What a lost worker left half done in a case's folder, and the folder if that was all."""
    with suppress(OSError):
        remove_abandoned(folder)
        folder.rmdir()


def _volumes(report: dict[str, Any]) -> str:
    """``: Liver 1480.2 ml, Spleen 201.0 ml``, of the first structures."""
    rows = report.get("structures", [])
    shown = [f"{row['name']} {row['refined_ml']:.4g} ml" for row in rows[:4]]
    return f": {', '.join(shown)}{', …' if len(rows) > 4 else ''}" if shown else ""


def _level(report: dict[str, Any]) -> str:
    """``; ok``, or the level with its reasons."""
    verdict = report.get("verdict")
    if not verdict:
        return ""
    return f"; {'ok' if verdict['level'] == 'ok' else describe(verdict)}"


def _failure(name: str, message: str) -> dict[str, Any]:
    log.error("%s: %s", printable(name), message)
    return {"case": name, "status": "failed", "message": message}
