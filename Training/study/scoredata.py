"""What a model is scored on: a training's data set, or any other that has labels."""

from pathlib import Path

from MorseCore.config import decode, read_json
from MorseCore.errors import ConfigError
from MorseCore.learning.dataset import Case, Decathlon, open_dataset
from MorseCore.learning.training_config import DataConfig

__all__ = ["PARTS", "cases_of", "open_data"]

PARTS = ("train", "val", "test", "all")


def open_data(path: Path) -> tuple[DataConfig, Decathlon]:
    """The data set that a training's configuration names, or that a ``dataset.json`` is.

    The latter has its splits in a ``splits.json`` beside it; without one all cases are ``test``.
    Nothing is trained, so no case need be.

    :raises ConfigError: if the file is neither.
    :raises DatasetError: if the data set cannot be used.
    """
    content = read_json(path)
    if "data" in content:
        where = decode(DataConfig, content["data"], "data")
    elif "training" in content or "test_labels" in content:
        beside = path.parent / "splits.json"
        where = DataConfig(str(path), str(beside) if beside.is_file() else "")
    else:
        raise ConfigError(
            f"'{path}' is neither a training's configuration nor a dataset.json: it has neither "
            "'data' nor 'training'."
        )
    split = Path(where.split) if where.split else None
    data = open_dataset(Path(where.dataset), split, fold=where.fold, may_lack_training=True)
    return where, data


def cases_of(data: Decathlon, split: str) -> tuple[Case, ...]:
    """The cases of a split, or of every split (``all``).

    :raises ConfigError: if there are none.
    """
    if split == "all":
        chosen = tuple(case for part in data.splits.values() for case in part)
    else:
        chosen = data.splits[split]
    if not chosen:
        others = ", ".join(f"'{p}' holds {len(c)}" for p, c in data.splits.items() if c)
        raise ConfigError(f"The split '{split}' holds no cases; {others or 'nor does any other'}.")
    return chosen
