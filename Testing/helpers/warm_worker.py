"""One worker for all commands that a test process runs: starting one takes seconds."""

from MorseCore.service.supervisor import SupervisedWorker

__all__ = ["WarmWorker", "warm_pids"]

_WORKERS: list["WarmWorker"] = []


class WarmWorker(SupervisedWorker):
    """Outlives the commands that use it."""

    def __init__(self) -> None:
        super().__init__()
        _WORKERS.append(self)

    def close(self) -> None:
        """End it only if it is not done with what it was asked."""
        if self._open is not None:
            super().close()

    def end(self) -> None:
        """End it."""
        super().close()


def warm_pids() -> set[int]:
    """Processes that are meant to live on."""
    return {worker.pid for worker in _WORKERS if worker.pid is not None}
