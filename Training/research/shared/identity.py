"""The identity of a folder: it holds the results of one study, and nothing is measured twice."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from MorseCore.config import encode, read_json
from MorseCore.errors import ConfigError
from MorseCore.images.contents import input_hashes
from MorseCore.metrics.casetable import CaseScore, read_cases
from MorseCore.store.model_folder import ModelInfo
from MorseCore.system.files import write_json
from MorseCore.training.dataset import Case

__all__ = ["check_identity", "check_model_identity", "contents_of", "measure_cases",
           "other_study", "read_scores"]  # fmt: skip


def check_identity(
    path: Path,
    settings: Mapping[str, Any],
    *,
    found: str,
    option: str = "--output",
    otherwise: str = "delete it",
    cases: Sequence[Case] = (),
    done: Collection[str] = (),
) -> None:
    """Record what a folder is for, or compare it with the record.

    Cases may be added and removed. A case without a result may change. A case with a result may
    not, because the result would belong to other files.

    :param path: JSON file of the settings, in the folder.
    :param found: names what the folder holds, for the error message.
    :param option: chooses another folder.
    :param otherwise: what the person can do instead.
    :param cases: whose results are kept in the folder by name.
    :param done: names of those that have one.
    :raises ConfigError: if the folder is for something else.
    """
    mine = json.loads(json.dumps(settings))  # as it is read back: tuples are lists
    now = contents_of(cases)
    before = read_json(path) if path.is_file() else {"settings": mine, "cases": {}}
    if "settings" not in before:  # written by a version that did not list cases
        before = {"settings": before, "cases": {}}
    known = before["cases"]
    changed = [n for n in now if n in done and known.get(n, now[n]) != now[n]]
    if before["settings"] != mine or changed:
        named = f" (case '{changed[0]}' has other files now)" if changed else ""
        raise other_study(path.parent, f"{found}{named}", option=option, otherwise=otherwise)
    if not path.is_file() or known != known | now:
        write_json(path, {"settings": mine, "cases": known | now})


def check_model_identity(
    path: Path,
    info: ModelInfo,
    cases: Sequence[Case],
    *,
    done: Collection[str],
    found: str,
    **settings: Any,
) -> None:
    """:func:`check_identity` of what a model does on cases: all that changes its answers counts.

    :param settings: what else the study depends on, the script's own name among it.
    """
    model = encode(info)
    parts = ("name", "sha256", "temperature", "preparation", "renderer", "windows")
    settings = {key: model[key] for key in parts} | settings
    check_identity(path, settings, found=found, cases=cases, done=done)


def other_study(
    folder: Path, found: str, *, option: str = "--output", otherwise: str = "delete it"
) -> ConfigError:
    """The error for a folder that holds something else."""
    return ConfigError(f"'{folder}' holds {found}; choose another {option}, or {otherwise}.")


def contents_of(cases: Sequence[Case]) -> dict[str, list[list[str]]]:
    """By name the files of image and label map with their SHA-256.

    A case with a file that cannot be read is left out: reading the case will say why.
    """
    found = {}
    for case in cases:
        with suppress(OSError):
            found[case.name] = [*input_hashes(case.image), *input_hashes(case.label)]
    return found


class Named(Protocol):
    """What has a result of its own: a case, or a trial."""

    @property
    def name(self) -> str: ...


_Case = TypeVar("_Case", bound=Named)


def measure_cases(
    folder: Path, cases: Sequence[_Case], measure: Callable[[_Case], Any], *, title: str
) -> dict[str, dict[str, Any]]:
    """What ``measure`` says of each case: read from the folder, or measured now and kept there."""
    found = {}
    for case in tqdm(cases, desc=title, unit="case"):
        path = folder / f"{case.name}.json"
        if not path.is_file():
            write_json(path, measure(case))
        found[case.name] = read_json(path)
    return found


def read_scores(path: Path) -> dict[str, dict[str, CaseScore]]:
    """The scores of an interrupted run, by case and stage; empty if there are none yet."""
    return read_cases(path) if path.is_file() else {}
