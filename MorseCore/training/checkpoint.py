"""Checkpoints of a training run: a kill at any moment leaves a whole one behind.

Weights are safetensors, the optimiser's state is read with ``weights_only=True``. The files of a
step are written first, then ``state.json``, which names them with their hashes, and only then those
of the step before are removed. So what ``state.json`` names is whole, whenever the kill comes.
"""

from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from MorseCore.config import read_json
from MorseCore.errors import ConfigError, ModelError, OutputError
from MorseCore.store.model_folder import save_weights
from MorseCore.system.files import atomic_path, sha256, write_json

__all__ = ["CheckpointStore"]

_STATE, _BEST = "state.json", "best.safetensors"
_OURS = ("weights-*.safetensors", "trainer-*.pt")
_HALF_WRITTEN = ".tmp-*"  # what a kill leaves of a file that was being written


class CheckpointStore:
    """The checkpoints in one run's folder: the last, and the best weights.

    Example::

        store.save(450, weights=network.state_dict(), trainer={...}, state={"best": 0.8})
        state = store.state()                   # {"best": 0.8, "step": 450, ...}
        weights, trainer = store.load(state)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}

    def save(
        self,
        step: int,
        *,
        weights: dict[str, Tensor],
        trainer: dict[str, Any],
        state: dict[str, Any],
    ) -> None:
        """Write the checkpoint of a step and remove the one before.

        :param trainer: states of optimiser and scaler; tensors and plain values only.
        :param state: JSON values.
        :raises OutputError: if it cannot be written; the checkpoint before is still there then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names = {"weights": f"weights-{step}.safetensors", "trainer": f"trainer-{step}.pt"}
        try:
            save_weights(self.folder / names["weights"], weights)
            with atomic_path(self.folder / names["trainer"]) as temporary:
                torch.save(trainer, temporary)
        except (SafetensorError, RuntimeError) as error:  # how both say that a write failed
            raise OutputError(
                f"The checkpoint of step {step} cannot be written to '{self.folder}'; is the disk "
                f"full? ({str(error).strip().splitlines()[0]})"
            ) from error
        hashes = {name: sha256(self.folder / file) for name, file in names.items()}
        self._files = {"step": step, "files": names, "sha256": hashes}
        self.save_state(state)
        with suppress(OSError):  # open in another program, on Windows: it goes another time
            self._remove(keep=tuple(names.values()))

    def save_state(self, state: dict[str, Any]) -> None:
        """Replace the JSON values of the last checkpoint, whose files stay."""
        write_json(self.folder / _STATE, {**state, **self._files})

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Keep these weights as the best so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            save_weights(self.folder / _BEST, weights)
        except SafetensorError as error:
            raise OutputError(f"'{self.folder / _BEST}' cannot be written: {error}") from error

    def clear(self) -> None:
        """Forget an earlier run in this folder, the record first.

        :raises OutputError: if a file cannot be removed.
        """
        try:
            for name in (_STATE, _BEST):
                (self.folder / name).unlink(missing_ok=True)
            self._remove(keep=())
        except OSError as error:
            raise OutputError(
                f"The earlier run in '{self.folder}' cannot be removed: {error.strerror} "
                f"('{Path(error.filename).name}')."
            ) from error

    def state(self) -> dict[str, Any] | None:
        """What :meth:`save` last wrote as state, with ``step``; None if there is no checkpoint.

        :raises ModelError: if the record is damaged.
        """
        path = self.folder / _STATE
        if not path.is_file():
            return None
        try:
            state = read_json(path)
        except ConfigError as error:
            raise self._damaged(str(error)) from None
        if not isinstance(state.get("step"), int) or not isinstance(state.get("files"), dict):
            raise self._damaged(f"'{_STATE}' does not name its files")
        return state

    def load(self, state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and trainer state that a state record names.

        :raises ModelError: if a file is missing, altered or damaged.
        """
        paths = {name: self.folder / Path(file).name for name, file in state["files"].items()}
        try:
            for name, expected in state.get("sha256", {}).items():
                if sha256(paths[name]) != expected:
                    raise self._damaged(f"'{paths[name].name}' was altered")
            weights = load_file(paths["weights"])
            trainer = torch.load(paths["trainer"], map_location="cpu", weights_only=True)
        except (OSError, SafetensorError, RuntimeError, EOFError, KeyError, UnpicklingError) as e:
            raise self._damaged(str(e).strip().splitlines()[0]) from e
        self._files = {key: state[key] for key in ("step", "files", "sha256") if key in state}
        return weights, trainer

    def load_best(self) -> dict[str, Tensor] | None:
        """The best weights; None if no validation chose any.

        :raises ModelError: if the file is damaged.
        """
        if not (self.folder / _BEST).is_file():
            return None
        try:
            return load_file(self.folder / _BEST)
        except (OSError, SafetensorError) as error:
            raise self._damaged(f"'{_BEST}': {error}") from error

    def _damaged(self, reason: str) -> ModelError:
        return ModelError(
            f"The checkpoint in '{self.folder}' is damaged ({reason}); "
            "start anew with resume=never."
        )

    def _remove(self, *, keep: tuple[str, ...]) -> None:
        """Remove all other files.

        :raises OSError: if one cannot be removed; the others are gone nevertheless.
        """
        failure: OSError | None = None
        for pattern in (*_OURS, _HALF_WRITTEN):
            for path in self.folder.glob(pattern):
                if path.name not in keep:
                    try:
                        path.unlink(missing_ok=True)
                    except OSError as error:
                        failure = failure or error
        if failure is not None:
            raise failure
