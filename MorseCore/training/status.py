"""What a run's folder says of its training, for somebody who looks on from another terminal."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from MorseCore.config import read_json
from MorseCore.errors import ConfigError
from MorseCore.system.files import is_training_in
from MorseCore.training.log import PROGRESS

__all__ = ["describe_run"]


def describe_run(folder: Path) -> str:
    """How far a training is, its last validation and the time left.

    :raises ConfigError: if the folder holds no training.
    """
    is_running = is_training_in(folder)
    if not (folder / PROGRESS).is_file():
        if is_running:
            return f"{folder.name}: reads its data; no step is done yet."
        raise ConfigError(f"'{folder}' holds no training whose steps are written down.")
    progress = read_json(folder / PROGRESS)
    step, total = int(progress["step"]), int(progress["total"])
    left = tqdm.format_interval((total - step) * float(progress["seconds_a_step"]))
    if is_running:
        state = f"runs, {left} left beside validation"
    elif (folder / "model").is_dir():
        state = "has ended; its model folder is there"
    else:
        state = "has stopped; run it again to go on"
    losses = ", ".join(f"{name} {value:.3f}" for name, value in progress["losses"].items())
    lines = [f"{folder.name}: step {step} of {total}, {state}.", f"  loss: {losses}"]
    return "\n".join([*lines, *_validations(folder / "metrics.jsonl")])


def _validations(path: Path) -> list[str]:
    """The last validation and the best."""
    found: list[Mapping[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        if '"validation"' in line and line.endswith("}"):  # a line may be half written
            found.append(json.loads(line))
    if not found:
        return ["  no validation yet"]

    def dice(record: Mapping[str, Any]) -> float:
        return float(record["validation"]["refined"]["dice"])

    best = max(found, key=dice)
    lines = [
        f"  validation at step {found[-1]['step']}: DSC {dice(found[-1]):.4f} "
        f"(best {dice(best):.4f} at step {best['step']})"
    ]
    structures = found[-1].get("structures", {})
    return lines + [f"    {name}: {value:.4f}" for name, value in structures.items()]
