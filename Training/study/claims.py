"""One folder holds one study: what is found there must not be taken for another one's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from MorseCore.config import read_json
from MorseCore.errors import ConfigError
from MorseCore.files import write_json

__all__ = ["claim"]


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
