"""One folder holds one study: what is found there must not be taken for another one's."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from MorseCore.config import encode, read_json
from MorseCore.errors import ConfigError
from MorseCore.images.contents import input_hashes
from MorseCore.store.model_folder import ModelInfo
from MorseCore.system.files import write_json
from MorseCore.training.dataset import Case

__all__ = ["claim", "claim_model", "contents_of"]


def claim(
    path: Path,
    settings: Mapping[str, Any],
    *,
    found: str,
    option: str = "--output",
    cases: Sequence[Case] = (),
    done: Collection[str] = (),
) -> None:
    """Write down what a folder is for, or compare it with what was written before.

    Cases may come and go, and be mended; but one that has a result, and whose files hold something
    else than then, is another one.

    :param path: JSON file of the settings, in the folder.
    :param found: what the folder holds if they differ, for the person who reads the sentence.
    :param option: by which another folder is chosen.
    :param cases: whose results are kept in the folder by name.
    :param done: names of those that have one.
    :raises ConfigError: if it is for something else.
    """
    mine = json.loads(json.dumps(settings))  # as it is read back: tuples are lists
    now = contents_of(cases)
    before = read_json(path) if path.is_file() else {"settings": mine, "cases": {}}
    if "settings" not in before:  # written before cases were
        before = {"settings": before, "cases": {}}
    known = before["cases"]
    changed = [n for n in now if n in done and known.get(n, now[n]) != now[n]]
    if before["settings"] != mine or changed:
        named = f" (case '{changed[0]}' has other files now)" if changed else ""
        raise ConfigError(
            f"'{path.parent}' holds {found}{named}; choose another {option}, or delete it."
        )
    if not path.is_file() or known != known | now:
        write_json(path, {"settings": mine, "cases": known | now})


def claim_model(
    path: Path,
    info: ModelInfo,
    cases: Sequence[Case],
    *,
    done: Collection[str],
    found: str,
    **settings: Any,
) -> None:
    """:func:`claim` for what a model does on some cases: whatever changes its answers counts.

    :param settings: what else the study depends on, the script's own name among it.
    """
    model = encode(info)
    parts = ("name", "sha256", "temperature", "preparation", "renderer", "windows")
    claim(path, {key: model[key] for key in parts} | settings, found=found, cases=cases, done=done)


def contents_of(cases: Sequence[Case]) -> dict[str, list[list[str]]]:
    """By name the files of image and label map with their SHA-256.

    A case of which one cannot be read is left out: reading it will say why.
    """
    found = {}
    for case in cases:
        with suppress(OSError):
            found[case.name] = [*input_hashes(case.image), *input_hashes(case.label)]
    return found
