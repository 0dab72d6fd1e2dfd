"""A table: the configuration of a data set, and rows that change it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MorseCore.config import apply_overrides, decode, nearest, read_json
from MorseCore.errors import ConfigError
from MorseCore.training.config import RunConfig

__all__ = ["Row", "Table", "list_tables", "read_table", "row_config"]

TABLES = Path(__file__).resolve().parents[2] / "tables"
MEASURES = ("dice", "jaccard", "miou", "hd95", "asd", "assd")


@dataclass(frozen=True)
class Row:
    """One method, or one setting of it."""

    name: str
    group: str
    """Rows of one group are compared with its baseline, e.g. all heads on one backbone."""
    set: dict[str, Any] = field(default_factory=dict)
    """Dotted key of the run's configuration -> value, as on the command line of train.py."""
    quick: dict[str, Any] = field(default_factory=dict)
    """Likewise, in a quick run, after all else."""
    published: dict[str, float] = field(default_factory=dict)
    """What the paper reports, for its own data: a measure's name -> value."""
    baseline: bool = False
    """Whether the other rows of the group are compared with this one."""


@dataclass(frozen=True)
class Table:
    """A table of a paper, or a study of ours."""

    title: str
    source: str
    """Paper and table."""
    base: str
    """Configuration that all rows start from, relative to this file."""
    rows: tuple[Row, ...]
    set: dict[str, Any] = field(default_factory=dict)
    """For all rows, before their own."""
    quick: dict[str, Any] = field(default_factory=dict)
    """For all rows of a quick run, before their own ``quick``."""
    quick_rows: tuple[str, ...] = ()
    """Of a quick run; all if empty."""
    measures: tuple[str, ...] = ("dice", "jaccard", "hd95", "asd")
    note: str = ""
    """Printed under the table."""

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"'rows' must have different names; found {names}.")
        for group in {row.group for row in self.rows}:
            count = sum(row.baseline for row in self.rows if row.group == group)
            if count != 1:
                raise ConfigError(f"The group '{group}' needs one baseline; found {count}.")
        for name in self.quick_rows:
            if name not in names:
                raise ConfigError(f"'quick_rows' names '{name}'{nearest(name, names)}.")
        if not self.measures or not set(self.measures) <= set(MEASURES):
            raise ConfigError(
                f"'measures' must be some of {', '.join(MEASURES)}; found {list(self.measures)}."
            )


def list_tables() -> dict[str, Path]:
    """The tables that come with the project, by name."""
    return {path.stem: path for path in sorted(TABLES.glob("*.json"))}


def read_table(name: str) -> tuple[Table, Path]:
    """A table by name or path, and the configuration file of its base.

    :raises ConfigError: if there is none, or it is faulty.
    """
    known = list_tables()
    path = known.get(name, Path(name))
    if not path.is_file():
        raise ConfigError(
            f"There is no table '{name}'{nearest(name, known)}; known are {', '.join(known)}."
        )
    table = decode(Table, read_json(path), "")
    return table, (path.parent / table.base).resolve()


def row_config(
    base: Mapping[str, Any], table: Table, row: Row, *, quick: bool, overrides: Sequence[str]
) -> RunConfig:
    """The run of one row. Later changes win: base, table, row, quick, command line.

    :raises ConfigError: if the row does not make a valid configuration.
    """
    changes = [table.set, row.set, *((table.quick, row.quick) if quick else ())]
    data = dict(base)
    try:
        for change in changes:
            data = _put(data, change)
        return decode(RunConfig, apply_overrides(data, overrides), "")
    except ConfigError as error:
        raise ConfigError(f"Row '{row.name}': {error}") from None


def _put(data: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = apply_overrides(data, [])
    for key, value in changes.items():
        *parents, last = key.split(".")
        target = result
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"'{key}' cannot be set: '{parent}' is not an object.")
        target[last] = value
    return result
