"""``morsesegment models``: the models of this machine."""

import argparse
from pathlib import Path
from typing import Any

from MorseCore.errors import ModelError

__all__ = ["add"]


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "models", help="list, show, import, verify or remove models",
        epilog="example: morsesegment models show hippocampus-t1",
    )  # fmt: skip
    actions = parser.add_subparsers(required=True, metavar="list | show | import | verify | remove")
    actions.add_parser("list").set_defaults(run=_list)
    for name, run, metavar in (
        ("show", _show, "M"),
        ("verify", _verify, "M"),
        ("import", _import, "PATH"),
        ("remove", _remove, "M"),
    ):  # fmt: skip
        action = actions.add_parser(name)
        action.add_argument("model", metavar=metavar)
        action.set_defaults(run=run)


def _list(_: argparse.Namespace) -> int:
    from MorseCore.store.library import hides_built_in, list_models
    from MorseCore.store.model_folder import read_model

    for name, folder in list_models().items():
        try:
            info = read_model(folder)
        except ModelError as error:
            print(f"{name:20} broken: {error}")
            continue
        dims = info.preparation.spatial_dims
        note = "; in place of the one that came along" if hides_built_in(folder) else ""
        print(f"{name:20} {info.modality:4} {dims}D  {info.title} ({folder}{note})")
    return 0


def _show(options: argparse.Namespace) -> int:
    from MorseCore.store.library import find_model
    from MorseCore.store.model_folder import read_card, read_model

    folder = find_model(options.model)
    read_model(folder)
    print(read_card(folder))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from MorseCore.store.library import find_model
    from MorseCore.store.model_folder import load_network, read_model

    folder = find_model(options.model)
    info = read_model(folder)
    load_network(folder, info)
    print(f"{info.name}: model.json, SHA-256 and weights are in order ({folder})")
    return 0


def _import(options: argparse.Namespace) -> int:
    from MorseCore.store.library import hides_built_in, import_model

    folder, info = import_model(Path(options.model))
    print(f"{info.name}: imported to {folder}")
    if hides_built_in(folder):
        print(
            f"It takes the place of the '{info.name}' that came with MorseCore; "
            f"'models remove {info.name}' brings that one back."
        )
    return 0


def _remove(options: argparse.Namespace) -> int:
    from MorseCore.store.library import remove_model

    print(f"removed: {remove_model(options.model)}")
    return 0
