"""Checkpoints of a training run: a kill at any moment leaves a whole one behind.

Weights are safetensors, the optimiser's state is read with ``weights_only=True``. The files of a
step are written first and ``state.json``, which names them, last.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from MorseCore.config import read_json
from MorseCore.errors import ConfigError, ModelError
from MorseCore.files import atomic_path, write_json
from MorseCore.model_folder import save_weights

__all__ = ["CheckpointStore"]


class CheckpointStore:
    """The checkpoints in one run's folder: the last, and the best weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(
        self,
        step: int,
        *,
        weights: dict[str, Tensor],
        trainer: dict[str, Any],
        state: dict[str, Any],
    ) -> None:
        """Write the checkpoint of a step and remove the one before.

        :param trainer: states of optimiser, schedule and scaler; tensors and plain values only.
        :param state: JSON values.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        names = {"weights": f"weights-{step}.safetensors", "trainer": f"trainer-{step}.pt"}
        save_weights(self.folder / names["weights"], weights)
        with atomic_path(self.folder / names["trainer"]) as temporary:
            torch.save(trainer, temporary)
        write_json(self.folder / "state.json", {**state, "step": step, "files": names})
        for pattern in ("weights-*.safetensors", "trainer-*.pt"):
            for path in self.folder.glob(pattern):
                if path.name not in names.values():
                    path.unlink()

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Keep these weights as the best so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_weights(self.folder / "best.safetensors", weights)

    def state(self) -> dict[str, Any] | None:
        """What :meth:`save` last wrote as state, or None.

        :raises ModelError: if the record is damaged.
        """
        path = self.folder / "state.json"
        if not path.is_file():
            return None
        try:
            return read_json(path)
        except ConfigError as error:
            raise ModelError(f"The checkpoint in '{self.folder}' is damaged: {error}") from None

    def load(self, state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and trainer state that a state record names."""
        names = state["files"]
        weights = load_file(self.folder / names["weights"])
        trainer = torch.load(self.folder / names["trainer"], map_location="cpu", weights_only=True)
        return weights, trainer

    def load_best(self) -> dict[str, Tensor]:
        """The best weights."""
        return load_file(self.folder / "best.safetensors")
