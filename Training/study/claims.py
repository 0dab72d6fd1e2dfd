"""One folder holds one study: what is found there must not be taken for another one's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MorseCore.config import encode, read_json
from MorseCore.errors import ConfigError
from MorseCore.files import write_json
from MorseCore.learning.training_config import DataConfig
from MorseCore.model_folder import ModelInfo

__all__ = ["claim", "claim_model"]


def claim(path: Path, settings: Mapping[str, Any], *, found: str, option: str = "--output") -> None:
    """Write down what a folder is for, or compare it with what was written before.

    :param path: JSON file of the settings, in the folder.
    :param found: what the folder holds if they differ, for the person who reads the sentence.
    :param option: by which another folder is chosen.
    :raises ConfigError: if it is for something else.
    """
    mine = json.loads(json.dumps(settings))  # as it is read back: tuples are lists
    if not path.is_file():
        write_json(path, mine)
    elif read_json(path) != mine:
        raise ConfigError(f"'{path.parent}' holds {found}; choose another {option}, or delete it.")


def claim_model(
    path: Path, info: ModelInfo, where: DataConfig, *, found: str, **settings: Any
) -> None:
    """:func:`claim` for what a model does on a data set: whatever changes its answers counts.

    :param settings: what else the study depends on.
    :raises ConfigError: as :func:`claim`.
    """
    model, data = encode(info), encode(where)
    parts = ("name", "sha256", "temperature", "preparation", "renderer", "windows")
    places = ("dataset", "split", "fold")
    mine = {key: model[key] for key in parts} | {key: data[key] for key in places}
    claim(path, mine | settings, found=found)
