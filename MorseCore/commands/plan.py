"""``morsesegment plan``: what a training on a person's data would do, and why.

torch is imported by the work itself, so that ``--help`` answers at once.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from MorseCore.planning.planfile import Plan

__all__ = ["ANY_CONTRAST", "HOURS", "add", "add_start", "changes_of", "describe", "shown_bar"]

HOURS = 10.0
"""A night."""
ANY_CONTRAST = "any_contrast=true"
"""What ``--any-contrast`` says of the data."""
log = logging.getLogger(__name__)


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "plan", help="look at scans with labels and say how to train on them, and why",
        epilog="example: morsesegment plan my_scans --hours 3 --output plan.json",
    )  # fmt: skip
    parser.add_argument(
        "data", type=Path, metavar="DATA",
        help="a folder with images and labels, a dataset.json, or a CSV of pairs",
    )  # fmt: skip
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value",
        help="replaces a key of the plan; names.WRITTEN=NAME renames a structure",
    )  # fmt: skip
    parser.add_argument(
        "--hours", type=float, default=HOURS, metavar="H",
        help="time for the training on this machine (default %(default)g, a night)",
    )  # fmt: skip
    add_start(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("plan.json"), metavar="FILE",
        help="where to write the plan (default %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def add_start(parser: argparse.ArgumentParser) -> None:
    """From which weights a training starts, and from which images it learns; see
    :func:`changes_of`."""
    parser.add_argument(
        "--from", dest="start", metavar="MODEL",
        help="start from this model's weights; your structures may be others",
    )  # fmt: skip
    parser.add_argument(
        "--any-contrast", action="store_true",
        help="of DATA: train with images generated from the label maps, too, or with these alone "
        "where there are no images: for scanners and contrasts that your scans do not show",
    )  # fmt: skip


def changes_of(options: argparse.Namespace) -> list[str]:
    """All ``key=value`` that the options amount to."""
    start = [f"initialise={options.start}"] if options.start else []
    return [*options.overrides, *start, *([ANY_CONTRAST] if options.any_contrast else [])]


def run(options: argparse.Namespace) -> int:
    """Plan, print and write; returns the exit code."""
    from MorseCore.planning.making import make_plan
    from MorseCore.planning.planfile import write_plan

    plan = make_plan(
        options.data, hours=options.hours, name="", overrides=changes_of(options), bar=shown_bar
    )
    print(describe(plan))
    write_plan(options.output, plan)
    print(f"\nwritten: {options.output}; morsesegment train {options.output} trains by it")
    return 0


def shown_bar(items: Sequence[Any], what: str) -> Any:
    """A bar on a terminal, a line elsewhere."""
    from tqdm import tqdm

    bar = tqdm(items, desc=what, leave=False, disable=None)
    if bar.disable:
        log.info("%s: %d", what, len(items))
    return bar


def describe(plan: "Plan") -> str:
    """The plan for a terminal: data, structures, what looks wrong, decisions with reasons, time."""
    subjects = len({case.subject for case in plan.cases})
    lines = [f"{plan.layout}: {len(plan.cases)} cases of {subjects} subjects", ""]
    lines += _structures(plan)
    lines += ["", *(f"note: {sentence}" for sentence in plan.notes)] if plan.notes else []
    if plan.warnings:
        lines += ["", *(f"WARNING: {sentence}" for sentence in plan.warnings)]
    lines += ["", "What the training will do, and why:"]
    for key, why in plan.why.items():
        lines += [f"  {key} = {_value(plan.training, key)}", f"      {why}"]
    minutes = plan.expected["minutes"]
    parts = ", ".join(f"{name} {value:g}" for name, value in minutes.items() if name != "in all")
    lines += [
        "",
        f"Expected on {plan.device}: {minutes['in all']:g} minutes ({parts}); "
        f"memory {plan.expected['memory']} of {plan.expected['memory there']}.",
    ]
    return "\n".join(lines)


def _structures(plan: "Plan") -> list[str]:
    """A line a structure: how files write it, and where it is missing."""
    rows = [("structure", "written", "annotated in")]
    total = len(plan.cases)
    for one in plan.structures:
        written = ", ".join(f"{name} ({count})" for name, count in one.written.items())
        missing = f", not in {', '.join(one.unannotated[:5])}" if one.unannotated else ""
        more = ", …" if len(one.unannotated) > 5 else ""
        count = total - len(one.unannotated)
        rows.append((f"{one.value} {one.name}", written, f"{count} of {total}{missing}{more}"))
    widths = [max(len(row[n]) for row in rows) for n in range(2)]
    return [f"{a.ljust(widths[0])}  {b.ljust(widths[1])}  {c}".rstrip() for a, b, c in rows]


def _value(training: Any, key: str) -> str:
    value = training
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return json.dumps(value, ensure_ascii=False)
