"""Many scans: one folder a case, tables and a page at the end, and on from where it stopped.

The scans are read and segmented in processes that are watched; this one needs no torch.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

from MorseCore.commands.batchtable import BatchTable, part_name, summary_row
from MorseCore.commands.cohort_tables import check_tables, write_cohort
from MorseCore.commands.inputs import Scan, check_places, find_cases
from MorseCore.errors import Cancelled, ConfigError, MorseError, OutputError
from MorseCore.images.contents import input_files
from MorseCore.images.roi import parse_roi
from MorseCore.quality.cohort import is_whole_report, keep_participants
from MorseCore.quality.pages import picture_path
from MorseCore.quality.verdict import LEVELS, describe
from MorseCore.service.cluster import Cluster, ClusterTask
from MorseCore.service.protocol import CaseSettings, Load, SegmentCase
from MorseCore.service.supervisor import SupervisedWorker
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.files import prepare_output_directory, printable, remove_abandoned
from MorseCore.system.processes import usable_cores

__all__ = ["BatchRun", "run_batch"]

log = logging.getLogger(__name__)

HANG_LIMIT = 600.0
"""Seconds without progress after which a case is given up."""
_READ_LIMIT = 60.0  # seconds to read a scan, and
_READ_RATE = 1e6  # bytes a second more: a network drive

Progress = Callable[[str, str, float], None]
"""Called with case, stage and percent of the whole."""
OnResult = Callable[[str, Scan, Path], None]
"""Called with case, its scan and the folder of its results, when they are there."""
ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class BatchRun:
    """What a batch is made with."""

    workers: Sequence[SupervisedWorker] | Cluster
    """Each segments one case at a time."""
    output: Path
    settings: CaseSettings
    hang_limit: float = HANG_LIMIT
    is_strict: bool = False
    """An implausible result counts as failed."""
    part: tuple[int, int] | None = None
    """Which of how many equal parts of the cases this run does; None: all."""
    interactive: int = 0
    """How many of the worst cases get a page to scroll and turn."""
    on_result: OnResult | None = None
    progress: Progress | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, cases: dict[str, Scan], should_stop: ShouldStop) -> int:
        """Segment every case; returns how many failed. One bad scan does not stop the others.

        :raises ConfigError: if results would be written over something that is not ours.
        :raises OutputError: if the output folder or, at the end, a table cannot be written.
        :raises Cancelled: if ``should_stop`` answered yes; finished cases are kept.
        """
        check_places(cases, self.output)
        prepare_output_directory(self.output)
        table, started = self._table(cases), time.perf_counter()
        failed = self._run_all(cases, table, should_stop)
        if table is None or (failed and len(table.rows) == 1):  # there is nothing to look at
            return failed
        table.write()
        seconds = time.perf_counter() - started
        if self.part is not None:
            wish = f" --interactive {self.interactive}" if self.interactive else ""
            log.info("when all parts are through: morsesegment report %s%s", self.output, wish)
        else:
            page = write_cohort(self.output, interactive=self.interactive)
            if len(cases) > 1:
                log.info("%d cases took %.0f s; to look at: %s", len(cases), seconds, page)
        if len(cases) > 1:
            log.info("%d of %d cases failed; see %s", failed, len(cases), table.path)
            if self.settings.verdict != "off":
                rows = (table.rows[printable(name)] for name in cases)
                levels = Counter(row.get("verdict", "") for row in rows)
                log.info(", ".join(f"{levels[level]} {level}" for level in LEVELS))
        return failed

    def _table(self, cases: dict[str, Scan]) -> BatchTable | None:
        """The folder's table; one case alone does without if another's is in the way."""
        try:
            check_tables(self.output)
            table = BatchTable(self.output, part_name(self.part))
        except ConfigError as error:
            if len(cases) > 1:
                raise
            log.warning("there are no tables of this case: %s", error)
            return None
        table.expect(cases)
        return table

    def _run_all(
        self, cases: dict[str, Scan], table: BatchTable | None, should_stop: ShouldStop
    ) -> int:
        """Let every worker take one case after the other; returns how many failed."""
        if isinstance(self.workers, Cluster):
            return self._run_on_cluster(self.workers, cases, table, should_stop)
        waiting = iter(cases.items())
        if len(self.workers) == 1:  # in this very thread, which Slicer's scene wants
            return self._work(self.workers[0], waiting, table, should_stop)
        stopped = threading.Event()

        def stop() -> bool:
            return stopped.is_set() or should_stop()

        with ThreadPoolExecutor(len(self.workers)) as pool:
            futures = [
                pool.submit(self._work, worker, waiting, table, stop) for worker in self.workers
            ]
            try:
                return sum(future.result() for future in as_completed(futures))
            except BaseException:  # Ctrl-C as well: the other workers end what they began
                stopped.set()
                raise

    def _work(
        self,
        worker: SupervisedWorker,
        waiting: Iterator[tuple[str, Scan]],
        table: BatchTable | None,
        should_stop: ShouldStop,
    ) -> int:
        failed, number = 0, 0
        while True:
            with self._lock:
                name, scan = next(waiting, (None, None))
                if name is None or scan is None:
                    return failed
                self._note(table, {"case": name, "state": "running", "status": ""})
            number += 2  # the one in between is its cancellation's
            case = case_of(number, name, scan, self.output, self.settings)
            row = self._row(name, scan, partial(self._ask, worker, case, should_stop))
            failed += row["status"] == "failed"
            with self._lock:
                self._note(table, row)

    def _note(self, table: BatchTable | None, row: dict[str, Any]) -> None:
        """Bring the table up to date; one that is open in Excel does not cost a night."""
        if table is None:
            return
        table.add(row)
        if len(table.rows) == 1:  # a case alone has its table when it is done
            return
        try:
            table.write()
        except OutputError as error:
            log.warning("%s", error)

    def _run_on_cluster(
        self,
        cluster: Cluster,
        cases: dict[str, Scan],
        table: BatchTable | None,
        should_stop: ShouldStop,
    ) -> int:
        """Let a cluster's workers do the cases; returns how many failed."""

        def tasks() -> Iterator[ClusterTask]:
            for number, (name, scan) in enumerate(cases.items(), start=1):
                self._note(table, {"case": name, "state": "running", "status": ""})
                case = case_of(2 * number, name, scan, self.output, self.settings)
                yield ClusterTask(name, case, silence_limits(case, self.hang_limit))

        failed = 0
        for name, answer in cluster.answers(tasks(), should_stop):
            row = self._row(name, cases[name], answer)
            failed += row["status"] == "failed"
            self._note(table, row)
        return failed

    def _row(self, name: str, scan: Scan, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Segment one case; its line of the table."""
        started, folder = time.perf_counter(), self.output / name
        try:
            answer = ask()
            row = self._judged(name, answer, time.perf_counter() - started)
            if self.on_result is not None and row["status"] != "failed":
                self.on_result(name, scan, folder)
            return row
        except Cancelled:
            raise
        except MorseError as error:
            _clear(folder)
            return _failure(name, str(error), time.perf_counter() - started)

    def _judged(self, name: str, answer: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The line of a case that has its result, which may be no success all the same."""
        if not is_whole_report(answer["report"]):  # of an earlier run, and changed since
            return _failure(
                name,
                "The report.json of its earlier result is damaged; remove the folder "
                f"'{self.output / name}' to segment it again.",
                seconds,
            )
        if refusal := self._refusal(answer["report"]):
            log.error("%s: %s", printable(name), refusal)
            return summary_row(name, "failed", answer["report"]) | {"message": refusal}
        return _success(name, answer, seconds)

    def _refusal(self, report: dict[str, Any]) -> str:
        """Why a result that was written counts as failed; nothing if it does not."""
        verdict = report.get("verdict")
        if not any(row["refined_ml"] for row in report.get("structures", [])):
            return "nothing was found: the mask is empty."
        if self.is_strict and verdict and verdict["level"] == "implausible":
            return describe(verdict)
        return ""

    def _ask(
        self, worker: SupervisedWorker, case: SegmentCase, should_stop: ShouldStop
    ) -> dict[str, Any]:
        def tell(event: Any) -> None:
            if self.progress is not None:
                self.progress(case.name, str(event["stage"]), float(event["percent"]))

        limits = silence_limits(case, self.hang_limit)
        return worker.ask(case, on_event=tell, silence=limits, should_stop=should_stop)


def run_batch(
    inputs: Sequence[str | Path],
    output: Path,
    settings: CaseSettings,
    *,
    is_strict: bool = False,
    hang_limit: float = HANG_LIMIT,
    jobs: int = 1,
    part: tuple[int, int] | None = None,
    scheduler: str | None = None,
    interactive: int = 0,
    only: Callable[[str], bool] | None = None,
    worker: SupervisedWorker | None = None,
    on_result: OnResult | None = None,
    progress: Progress | None = None,
    should_stop: ShouldStop = lambda: False,
) -> int:
    """Segment scans into ``output/<case>/``; returns the process's exit code.

    0: all done; 1: some cases failed (each with one sentence in the log and in ``summary.csv``). An
    empty mask is a failure.

    :param is_strict: an implausible result is a failure, too; its files stay.
    :param hang_limit: seconds without progress after which a case is given up.
    :param jobs: processes that segment at the same time; they share the processor's cores.
    :param part: which of how many equal parts of the cases to do, counted from 1; None: all.
    :param scheduler: address of a Dask scheduler whose workers do the cases; None: this machine.
    :param interactive: how many of the worst cases get a page to scroll and turn.
    :param only: which cases are wanted, by name; None: all.
    :param worker: who computes; None: processes of this Python that end with the batch.
    :raises MorseError: if nothing can be started at all: unknown model, device, output, option; or
        if ``should_stop`` answered yes.
    """
    _check(settings, hang_limit)
    load, workers = Load(id=0, **vars(settings)), list[SupervisedWorker]()
    with ExitStack() as stack:
        if scheduler is not None:
            cluster = stack.enter_context(Cluster(scheduler, load, Path(output).absolute()))
            model = cluster.load(should_stop)
        else:
            workers = [worker] if worker else [stack.enter_context(w) for w in _workers(jobs)]
            for one in workers:
                one.warm_up = load
            model = workers[0].ask(load, should_stop=should_stop)
        cases = find_cases(
            inputs, contrast=model["contrast"], series=settings.series,
            channels=model["channels"] or (),
        )  # fmt: skip
        cases = {name: scan for name, scan in cases.items() if only is None or only(name)}
        if part is not None:
            cases = dict(list(cases.items())[part[0] - 1 :: part[1]])
        keep_participants(inputs, Path(output))
        run = BatchRun(
            workers or cluster, Path(output), settings, hang_limit, is_strict, part, interactive,
            on_result, progress if len(workers) == 1 else None,
        )  # fmt: skip
        failed = run.run(cases, should_stop)
    return 1 if failed else 0


def case_of(
    number: int, name: str, scan: Scan, output: Path, settings: CaseSettings
) -> SegmentCase:
    """The request of one case of a batch."""
    output = output.absolute()
    chosen = {**vars(settings), "series": scan.series or settings.series}
    return SegmentCase(
        id=number, input=str(scan.path.absolute()), output=str(output / name), name=name,
        picture=str(picture_path(output, name)),
        others=tuple(str(path.absolute()) for path in scan.others), **chosen,
    )  # fmt: skip


def silence_limits(case: SegmentCase, hang_limit: float) -> dict[str, float]:
    """Seconds without a word after which a stage of a case counts as hanging."""
    size = 0
    for path in map(Path, (case.input, *case.others)):
        with suppress(OSError, ValueError):
            size += sum(file.stat().st_size for file in input_files(path))
    return {"": hang_limit, "read": min(hang_limit, _READ_LIMIT + size / _READ_RATE)}


def _workers(jobs: int) -> list[SupervisedWorker]:
    """Processes that share the cores evenly; one alone takes what it wants."""
    if jobs == 1:
        return [SupervisedWorker()]
    threads = max(1, usable_cores() // jobs)
    log.info("%d processes with %d thread(s) each, on %d cores", jobs, threads, usable_cores())
    return [SupervisedWorker(threads=threads) for _ in range(jobs)]


def _check(settings: CaseSettings, hang_limit: float) -> None:
    """Refuse what no case could be segmented with, before the worker starts.

    :raises ConfigError: for a format, region, limit or acceptance that does not exist.
    """
    if not hang_limit > 0:
        raise ConfigError(f"The hang limit must be a number of seconds; found {hang_limit:g}.")
    formats = get_args(get_type_hints(CaseSettings)["format"])
    if settings.format not in formats:
        raise ConfigError(
            f"The format must be one of {', '.join(formats)}; found '{settings.format}'."
        )
    Acceptance(settings.accept)
    if settings.roi is not None:
        parse_roi(settings.roi)


def _clear(folder: Path) -> None:
    """What a lost worker left half done in a case's folder, and the folder if that was all."""
    with suppress(OSError):
        remove_abandoned(folder)
        folder.rmdir()


def _success(name: str, answer: dict[str, Any], seconds: float) -> dict[str, Any]:
    status, report = answer["status"], answer["report"]
    if status == "done before":
        log.info("%s: already done%s", printable(name), _level(report))
    else:
        words = f"{_volumes(report)}{_level(report)}"
        log.info("%s: done in %.1f s%s", printable(name), seconds, words)
    return summary_row(name, status, report)


def _failure(name: str, message: str, seconds: float) -> dict[str, Any]:
    log.error("%s: %s", printable(name), message)
    return {
        "case": name, "state": "failed", "status": "failed", "seconds": round(seconds, 2),
        "message": message,
    }  # fmt: skip


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
