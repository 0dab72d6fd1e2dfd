"""Cases on the workers of a Dask cluster; each keeps a watched process with the model loaded.

Dask gives a case whose worker was lost to another worker. Notes in the output folder, which all
machines see, tell how often a case was begun: one that lost two workers is given up.
"""

import logging
import os
import queue
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from MorseCore.errors import Cancelled, ConfigError, MorseError
from MorseCore.service.protocol import Load, Request, parse_request, request_line
from MorseCore.service.supervisor import SupervisedWorker, answer_or_raise
from MorseCore.system.processes import usable_cores

__all__ = ["Cluster", "ClusterTask"]

_TRIES = 2  # workers that a case may cost
_CONNECT_LIMIT = 20.0  # seconds
_TICK = 1.0  # seconds between two looks at whether to stop
_OWN: dict[int, SupervisedWorker] = {}  # of a Dask worker, by thread
log = logging.getLogger(__name__)


class ClusterTask(NamedTuple):
    """A request, and how long its stages may be silent."""

    name: str
    request: Request
    silence: Mapping[str, float]


class Cluster:
    """The workers behind a scheduler's address.

    :param address: as Dask writes it: ``tcp://host:8786``.
    :param load: what every worker is asked before its first case.
    :param notes: a folder that all machines see, for the time of this run.
    :raises ConfigError: if nobody answers there, or Dask is not installed.
    """

    def __init__(self, address: str, load: Load, notes: Path) -> None:
        try:
            from distributed import Client
            from distributed.comm import get_address_host_port
        except ImportError:
            raise ConfigError(
                "--scheduler needs Dask: pip install 'morsesegment[cluster]'."
            ) from None
        try:
            # A client that finds nobody prints a traceback when it is forgotten.
            host, port = get_address_host_port(address)
            socket.create_connection((host, port), timeout=_CONNECT_LIMIT).close()
            self._client: Any = Client(address, timeout=_CONNECT_LIMIT, set_as_default=False)
        except (OSError, ValueError) as error:  # a time-out is one as well
            raise ConfigError(
                f"No Dask scheduler answers at '{address}'; an address like tcp://host:8786 is "
                "expected."
            ) from error
        self._load = request_line(load)
        self._run = secrets.token_hex(4)
        self._notes = notes / f".tmp-attempts-{self._run}"

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._client.run(_close_own)
        except OSError:  # the scheduler is gone, and its workers with it
            log.debug("the scheduler is gone")
        self._client.close()
        shutil.rmtree(self._notes, ignore_errors=True)

    def load(self, should_stop: Callable[[], bool]) -> dict[str, Any]:
        """The answer of one worker that has loaded the model.

        :raises MorseError: the worker's own. :raises Cancelled: if ``should_stop`` answered yes.
        """
        task = ClusterTask("load", parse_request(self._load), {})
        _, answer = next(self.answers([task], should_stop))
        return answer()

    def answers(
        self, tasks: Iterable[ClusterTask], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        """Each task's name, as they end, and a function that returns its answer or raises.

        :raises MorseError: if the scheduler is gone.
        :raises Cancelled: if ``should_stop`` answered yes.
        """
        waiting = iter(tasks)
        running: dict[str, tuple[str, Any]] = {}  # Dask forgets a task whose future nobody holds
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        is_alone = False
        while True:
            slots = self._slots()
            if not slots and not is_alone:
                log.warning("waiting for workers: the scheduler has none")
            is_alone = not slots
            # No more than can run: what waits in a worker would be lost with it.
            while len(running) < max(1, slots) and (task := next(waiting, None)) is not None:
                future = self._submit(task)
                running[future.key] = (task.name, future)
                future.add_done_callback(done.put)
            if not running:
                return
            if should_stop():  # closing the client takes back what waits
                raise Cancelled("Stopped; finished cases are kept.")
            try:
                key = done.get(timeout=_TICK).key
            except queue.Empty:
                continue
            name, future = running.pop(key)
            yield name, partial(_result_of, future)

    def _slots(self) -> int:
        """Cases that the workers can take at a time."""
        try:
            return sum(self._client.nthreads().values())
        except OSError as error:
            raise MorseError(
                "The Dask scheduler is gone; finished cases are kept, run it again to go on."
            ) from error

    def _submit(self, task: ClusterTask) -> Any:
        return self._client.submit(
            _answer_here, request_line(task.request), self._load, dict(task.silence),
            str(self._notes / str(task.request.id)), pure=False,
            key=f"morsesegment-{self._run}-{task.name}-{secrets.token_hex(2)}",
        )  # fmt: skip


def _result_of(future: Any) -> dict[str, Any]:
    try:
        answer = future.result()
    except Exception as error:  # Dask's own: the worker was lost too often for its taste
        raise MorseError(f"the cluster gave it up ({type(error).__name__})") from error
    return answer_or_raise(answer)


def _answer_here(line: str, load: str, silence: dict[str, float], notes: str) -> dict[str, Any]:
    """Runs in Dask's worker: ask the process that this thread keeps."""
    begun = Path(notes)
    begun.mkdir(parents=True, exist_ok=True)
    if len(list(begun.iterdir())) >= _TRIES:
        message = f"its worker was lost {_TRIES} times, it was given up; run it again to try anew"
        return {"event": "error", "kind": "MorseError", "message": message}
    (begun / f"{os.getpid()}-{secrets.token_hex(4)}").touch()
    try:
        return _own_process(load).ask(parse_request(line), silence=silence or None)
    except MorseError as error:
        return {"event": "error", "kind": type(error).__name__, "message": str(error)}


def _own_process(load: str) -> SupervisedWorker:
    """This thread's; Dask's worker shares its cores out among its threads."""
    from distributed import get_worker

    key = threading.get_ident()
    if key not in _OWN:
        threads = max(1, usable_cores() // get_worker().state.nthreads)
        _OWN[key] = SupervisedWorker(threads=threads)
    _OWN[key].warm_up = parse_request(load)
    return _OWN[key]


def _close_own() -> None:
    """End the processes of a Dask worker, which may live on for other work."""
    while _OWN:
        _OWN.popitem()[1].close()
