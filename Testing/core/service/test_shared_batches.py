"""A batch shared out: on one machine, as a job array, to a Dask cluster. Results stay the same."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_client import RESULT_FILES, ROOT, CommandLine, names, read_table, start, write_scan
from MorseCore.commands import batch
from MorseCore.commands.batch import run_batch
from MorseCore.errors import Cancelled
from MorseCore.service.protocol import CaseSettings, Load
from MorseCore.service.supervisor import WorkerCommand

SETTINGS = CaseSettings(model="phantom-tiny", device="cpu")
COUNT = 6


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for n in range(COUNT):
        write_scan(folder / f"s{n}.nii.gz", seed=28 + n)
    return folder


@pytest.fixture(scope="module")
def alone(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of them."""
    output = tmp_path_factory.mktemp("alone")
    assert run_batch([scans], output, SETTINGS) == 0
    return output


def results(output: Path) -> dict[str, bytes]:
    """Every result but the reports, which hold how long it took."""
    files = [path for path in output.glob("s*/*") if path.name != "report.json"]
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def statuses(output: Path, table: str = "summary.csv") -> dict[str, str]:
    return {row["case"]: row["status"] for row in read_table(output / table)}


def test_several_processes_make_what_one_makes(scans: Path, alone: Path, tmp_path: Path) -> None:
    assert run_batch([scans], tmp_path, SETTINGS, jobs=3) == 0
    assert results(tmp_path) == results(alone)
    assert statuses(tmp_path) == {f"s{n}": "done" for n in range(COUNT)}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("MorseCore.commands.batch.usable_cores", lambda: 7)
    first, *others = batch._workers(3)
    assert len(others) == 2
    with first:
        first.ask(Load(id=1, **vars(SETTINGS)))
        environment = Path(f"/proc/{first.pid}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=2" in environment


_KILLED = """
import os, sys
sys.path.insert(0, {root!r})
import MorseCore.images.channels as channels
read = channels.read_volume

def deadly(path, options=None):
    if path.name.startswith("s2"):
        os.kill(os.getpid(), 9)
    return read(path, options)

channels.read_volume = deadly
from MorseCore.service.worker import main
sys.exit(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_process_that_is_killed_costs_its_case_and_no_other(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = _KILLED.format(root=str(ROOT))
    command = WorkerCommand(sys.executable, ("-u", "-c", code))
    monkeypatch.setattr("MorseCore.service.supervisor.own_command", lambda: command)
    assert run_batch([scans], tmp_path, SETTINGS, jobs=2) == 1
    expected = {f"s{n}": "failed" if n == 2 else "done" for n in range(COUNT)}
    assert statuses(tmp_path) == expected
    assert not (tmp_path / "s2").exists()


def test_stopping_ends_all_processes_and_keeps_what_is_done(scans: Path, tmp_path: Path) -> None:
    def has_one() -> bool:
        return any(tmp_path.glob("*/report.json"))

    with pytest.raises(Cancelled):
        run_batch([scans], tmp_path, SETTINGS, jobs=2, should_stop=has_one)
    assert not list(tmp_path.rglob(".tmp-*"))
    done = {path.parent.name for path in tmp_path.glob("*/report.json")}
    assert done
    assert all(names(tmp_path / name) == RESULT_FILES for name in done)


def test_parts_of_a_batch_do_every_case_once_and_report_joins_them(
    command: CommandLine, scans: Path, alone: Path, tmp_path: Path
) -> None:
    for part in ("1/3", "2/3", "3/3"):
        done = command.segment(scans, output=tmp_path, batch=part, device="cpu")
        assert done.code == 0, done.err
        assert "morsesegment report" in done.err
    assert statuses(tmp_path, "summary.part-2-of-3.csv") == {"s1": "done", "s4": "done"}
    assert not (tmp_path / "summary.csv").exists()
    assert command("report", tmp_path).code == 0
    assert statuses(tmp_path) == {f"s{n}": "done" for n in range(COUNT)}
    assert results(tmp_path) == results(alone)


@pytest.mark.parametrize("words", [("--batch", "0/3"), ("--batch", "4/3"), ("--batch", "2"),
                                   ("--jobs", "0"), ("--jobs", "x"),
                                   ("--jobs", "99999999")])  # fmt: skip
def test_parts_and_jobs_that_make_no_sense_are_usage(
    command: CommandLine, scans: Path, tmp_path: Path, words: tuple[str, str]
) -> None:
    done = command("segment", scans, "--output", tmp_path / "out", *words)
    assert done.code == 2
    assert words[0] in done.sentence


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[object]:
    """Two workers in processes of their own, on this machine alone."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
        dashboard_address=None, local_directory=str(tmp_path / "dask"), silence_logs=50,
    ) as made:  # fmt: skip
        yield made


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_cluster_whose_workers_are_killed_does_everything_once(
    cluster, scans: Path, alone: Path, tmp_path: Path
) -> None:
    output, killed, stop = tmp_path / "out", [], threading.Event()

    def kill() -> None:
        """A worker, as soon as it has begun with a case."""
        while not stop.is_set():
            for note in output.glob(".tmp-attempts-*/[1-9]*/*"):
                pid = int(note.name.split("-")[0])
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        code = run_batch([scans], output, SETTINGS, scheduler=cluster.scheduler_address)
    finally:
        stop.set()
        thread.join()
    assert killed
    assert code == 0
    assert results(output) == results(alone)
    assert set(statuses(output).values()) <= {"done", "done before"}
    assert len(statuses(output)) == COUNT
    assert not list(output.glob(".tmp-*"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_case_that_loses_two_workers_is_given_up_and_costs_no_other(
    cluster, scans: Path, tmp_path: Path
) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    for name in ("s0", "s1"):
        write_scan(folder / f"{name}.nii.gz", seed=28)
    stop, killed = threading.Event(), set[int]()

    def kill_whoever_begins() -> None:
        while not stop.is_set():
            for note in output.glob(".tmp-attempts-*/4/*"):  # the request of the second case
                pid = int(note.name.split("-")[0])
                if pid not in killed:
                    killed.add(pid)
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    thread = threading.Thread(target=kill_whoever_begins)
    thread.start()
    try:
        code = run_batch([folder], output, SETTINGS, scheduler=cluster.scheduler_address)
    finally:
        stop.set()
        thread.join()
    assert code == 1
    found = statuses(output)
    assert found.pop("s0") in ("done", "done before")  # its answer may be lost with its worker
    assert found == {"s1": "failed"}
    message = next(row["message"] for row in read_table(output / "summary.csv"))
    assert "lost 2 times" in message


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "", "inproc://x"])
def test_an_address_where_nobody_answers_is_one_sentence(
    scans: Path, tmp_path: Path, address: str
) -> None:
    pytest.importorskip("distributed")
    words = ("--model", "phantom-tiny", "--output", tmp_path / "out", "--scheduler", address)
    process = start("segment", scans, *words)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith(f"error: No Dask scheduler answers at '{address}'")
    assert len(err.splitlines()) == 1  # nothing of Dask's own behind it
