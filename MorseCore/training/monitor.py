"""Real scans to watch while a training runs, beside what other programs found in them.

Another program's answer is an opinion, not a truth: it is written down and decides nothing. The
file is a list of cases::

    {"cases": [{"name": "head_a", "image": "a.nii.gz", "references": [
        {"name": "other", "labels": "a_other.nii.gz", "structures": {"14": ["Left X", "Right X"]}}
    ]}]}

where ``structures`` says which of the model's structures one label of the reference holds. Paths
start at the working directory.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore.config import decode, nearest, read_json
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.images.imageio import read_volume
from MorseCore.images.inverse_resampling import to_input_grid_labels
from MorseCore.images.preparation import Preparation, prepare_scan
from MorseCore.inference.options import WindowSettings
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.metrics.scores import overlap
from MorseCore.network import Network
from MorseCore.renderers import RefineConfig
from MorseCore.store.model_folder import WindowConfig
from MorseCore.system.devices import Precision

__all__ = ["Monitor", "Reference", "WatchedCase", "open_monitor", "read_watched"]

log = logging.getLogger(__name__)
_COARSE = RefineConfig(points=0)  # nothing is rendered: the backbone is what is watched


@dataclass(frozen=True)
class Reference:
    """What somebody else found."""

    name: str
    labels: str
    """Path of a label map; on any grid."""
    structures: dict[str, tuple[str, ...]]
    """Its label -> the structures of the model that it holds together."""


@dataclass(frozen=True)
class WatchedCase:
    """A scan with references."""

    name: str
    image: str
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class _Watched:
    cases: tuple[WatchedCase, ...]


class Monitor:
    """Segments a few real scans, coarsely, and compares."""

    def __init__(
        self,
        cases: Sequence[WatchedCase],
        names: Mapping[int, str],
        *,
        preparation: Preparation,
        windows: WindowConfig,
        precision: Precision,
    ) -> None:
        """:param names: of the model's structures by value."""
        self._cases, self._values = cases, {name: value for value, name in names.items()}
        self._preparation, self._windows = preparation, windows
        self._precision = precision

    def look(self, network: Network, device: torch.device) -> dict[str, Any]:
        """DSC by case, reference and label, with their means; the network may be on any device."""
        network.eval()
        found = {case.name: self._compare(network, case) for case in self._cases}
        for case, references in found.items():
            means = ", ".join(f"{name} {dice['mean']:.3f}" for name, dice in references.items())
            log.info("  %s: DSC with %s", case, means)
        return found

    def _compare(self, network: Network, case: WatchedCase) -> dict[str, dict[str, float]]:
        array, grid = prepare_scan(read_volume(Path(case.image)), self._preparation)
        settings = WindowSettings(
            self._preparation.window_size, _COARSE.build(), self._windows,
            precision=self._precision,
        )  # fmt: skip
        image = torch.from_numpy(np.ascontiguousarray(array))
        prediction = predict_volume(network, image, settings)
        result: dict[str, dict[str, float]] = {}
        mine, where = np.zeros(0), None
        for reference in case.references:
            other = read_volume(Path(reference.labels))
            if where is None or not other.geometry.is_close(where):
                where = other.geometry
                mine = to_input_grid_labels(
                    prediction.coarse, model_geometry=grid, input_geometry=where
                )
            result[reference.name] = self._dice(mine, other.array, reference)
        return result

    def _dice(self, mine: np.ndarray, other: np.ndarray, reference: Reference) -> dict[str, float]:
        dice = {}
        for label, names in reference.structures.items():
            values = [self._values[name] for name in names]
            title = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
            dice[title] = round(overlap(np.isin(mine, values), other == int(label))[0], 4)
        return dice | {"mean": round(sum(dice.values()) / max(1, len(dice)), 4)}


def read_watched(path: Path, names: Mapping[int, str]) -> tuple[WatchedCase, ...]:
    """The cases of a list; their files need not be there.

    :param names: of the model's structures by value.
    :raises ConfigError: if the list is faulty or names an unknown structure.
    """
    watched = decode(_Watched, read_json(path), "")
    for case in watched.cases:
        for reference in case.references:
            for label, structures in reference.structures.items():
                if not label.isdecimal():
                    raise ConfigError(f"'{path}': labels are whole numbers; found '{label}'.")
                for name in structures:
                    if name not in names.values():
                        raise ConfigError(
                            f"'{path}' names the structure '{name}', which the model does not "
                            f"have{nearest(name, names.values())}."
                        )
    return watched.cases


def open_monitor(
    path: Path,
    names: Mapping[int, str],
    *,
    preparation: Preparation,
    windows: WindowConfig,
    precision: Precision,
) -> Monitor | None:
    """Read the list of cases. None, with a warning, if the scans are not on this machine.

    :raises ConfigError: if the list is faulty or names an unknown structure.
    :raises DatasetError: if some of its files are there and others are not.
    """
    cases = read_watched(path, names)
    files = [Path(case.image) for case in cases]
    files += [Path(r.labels) for case in cases for r in case.references]
    missing = [file for file in files if not isfile(file)]
    if missing and len(missing) == len(files):
        log.warning("no scan of '%s' is there; the training is not monitored", path)
        return None
    if missing:
        raise DatasetError(f"'{path}' names '{missing[0]}', which does not exist.")
    return Monitor(cases, names, preparation=preparation, windows=windows, precision=precision)
