"""One folder holds one study: what is found there must not be taken for another one's."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from MorseCore.config import encode, read_json
from MorseCore.errors import ConfigError, DatasetError
from MorseCore.files import sha256, write_json
from MorseCore.learning.dataset import Case
from MorseCore.model_folder import ModelInfo

__all__ = ["claim", "claim_model", "contents_of"]


def claim(
    path: Path,
    settings: Mapping[str, Any],
    *,
    found: str,
    option: str = "--output",
    cases: Sequence[Case] = (),
) -> None:
    """Write down what a folder is for, or compare it with what was written before.

    Cases may come and go; but one whose files hold something else than before is another one.

    :param path: JSON file of the settings, in the folder.
    :param found: what the folder holds if they differ, for the person who reads the sentence.
    :param option: by which another folder is chosen.
    :param cases: whose results are kept in the folder by name.
    :raises ConfigError: if it is for something else.
    :raises DatasetError: if a case's file cannot be read.
    """
    mine = json.loads(json.dumps(settings))  # as it is read back: tuples are lists
    now = contents_of(cases)
    before = read_json(path) if path.is_file() else {"settings": mine, "cases": {}}
    known = before.get("cases", {})
    changed = [name for name in now if known.get(name, now[name]) != now[name]]
    if before.get("settings") != mine or changed:
        named = f" (case '{changed[0]}' has other files now)" if changed else ""
        raise ConfigError(
            f"'{path.parent}' holds {found}{named}; choose another {option}, or delete it."
        )
    if not path.is_file() or known.keys() != (known | now).keys():
        write_json(path, {"settings": mine, "cases": known | now})


def claim_model(
    path: Path, info: ModelInfo, cases: Sequence[Case], *, found: str, **settings: Any
) -> None:
    """:func:`claim` for what a model does on some cases: whatever changes its answers counts.

    :param settings: what else the study depends on, the script's own name among it.
    """
    model = encode(info)
    parts = ("name", "sha256", "temperature", "preparation", "renderer", "windows")
    claim(path, {key: model[key] for key in parts} | settings, found=found, cases=cases)


def contents_of(cases: Sequence[Case]) -> dict[str, list[str]]:
    """By name the SHA-256 of image and label map.

    :raises DatasetError: if a file cannot be read.
    """
    try:
        return {case.name: [sha256(case.image), sha256(case.label)] for case in cases}
    except OSError as error:
        raise DatasetError(f"'{error.filename}' cannot be read: {error.strerror}.") from None
