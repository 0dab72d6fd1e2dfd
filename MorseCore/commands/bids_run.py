"""What ``morsesegment bids`` does: a BIDS data set in, its derivatives out."""

import argparse
import logging
import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from MorseCore import __version__
from MorseCore.commands.cohort_tables import check_tables, write_cohort
from MorseCore.commands.inputs import Scan
from MorseCore.commands.segment import settings_of
from MorseCore.commands.terminal import terminal_progress
from MorseCore.config import nearest, read_json
from MorseCore.errors import ConfigError
from MorseCore.images.bids import bids_entities, bids_images, derivative_path
from MorseCore.quality.cohort import keep_participants
from MorseCore.system.files import (
    atomic_path,
    output_error,
    prepare_output_directory,
    write_json,
    write_text,
)

__all__ = ["run_bids"]

COHORT = "morsesegment"
"""Folder of the derivatives with everything that BIDS has no names for."""
_MASKS = ("coarse", "refined")
log = logging.getLogger(__name__)


def run_bids(options: argparse.Namespace) -> int:
    """Segment the participants, or make the group's tables; returns the exit code."""
    root, output = options.bids_dir, options.output
    if bids_images(root, every=True) is None:
        raise ConfigError(
            f"'{root}' is no BIDS data set: sub-*/anat/*.nii.gz or sub-*/ses-*/anat/*.nii.gz is "
            "expected."
        )
    cohort = output / COHORT
    if options.level == "group":
        prepare_output_directory(cohort)
        keep_participants([root], cohort)
        check_tables(cohort)
        print(write_cohort(cohort, interactive=options.interactive))
        return 0
    if options.format != "nii.gz":
        raise ConfigError("Derivatives of BIDS are NIfTI files: leave out --format.")
    return _participants(options, root, cohort)


def _participants(options: argparse.Namespace, root: Path, cohort: Path) -> int:
    from MorseCore.commands.batch import run_batch

    prepare_output_directory(options.output)
    write_json(options.output / "dataset_description.json", _description())
    write_text(options.output / ".bidsignore", f"{COHORT}/\n")
    wanted = _subjects(root, options.participant_label)
    with terminal_progress() as progress:
        return run_batch(
            [root], cohort, settings_of(options), hang_limit=options.hang_limit,
            jobs=options.jobs, part=options.batch, scheduler=options.scheduler, progress=progress,
            only=None if wanted is None else lambda name: bids_entities(name)[0] in wanted,
            interactive=options.interactive, on_result=partial(_link, root, options.output),
        )  # fmt: skip


def _subjects(root: Path, labels: list[str] | None) -> set[str] | None:
    """The subjects asked for; None: all. :raises ConfigError: if the data set lacks one."""
    if labels is None:
        return None
    known = {path.name.removeprefix("sub-") for path in root.glob("sub-*") if path.is_dir()}
    wanted = {label.removeprefix("sub-") for label in labels}
    for label in sorted(wanted - known):
        raise ConfigError(f"'{root}' has no participant '{label}'{nearest(label, known)}.")
    return wanted


def _description() -> dict[str, Any]:
    return {
        "Name": "MorseSegment",
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "MorseSegment", "Version": __version__}],
    }


def _link(root: Path, output: Path, name: str, scan: Scan, folder: Path) -> None:
    """A case's masks under the names that BIDS gives them, with what their labels mean.

    :raises OutputError: if they cannot be written.
    """
    report = read_json(folder / "report.json")
    for mask in _MASKS:
        target = output / derivative_path(name, mask, "dseg.nii.gz")
        prepare_output_directory(target.parent)
        _link_file(folder / f"{mask}.nii.gz", target)
        write_json(
            output / derivative_path(name, mask, "dseg.json"),
            {"Sources": [f"bids:raw:{scan.path.relative_to(root).as_posix()}"],
             "Model": report["model"]["name"], "ModelSHA256": report["model"]["sha256"]},
        )  # fmt: skip
        write_text(output / derivative_path(name, mask, "dseg.tsv"), _labels(report))


def _link_file(source: Path, target: Path) -> None:
    """The same file by another name, which takes no room; a copy where the disk has no links."""
    try:
        if target.exists() and target.samefile(source):
            return
        with atomic_path(target) as temporary:
            temporary.unlink()
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
    except OSError as error:
        raise output_error(target, error) from error


def _labels(report: Mapping[str, Any]) -> str:
    lines = ["index\tname\tcolor"]
    for label in report["labels"]:
        color = "".join(f"{round(255 * share):02x}" for share in label["color"])
        lines.append(f"{label['value']}\t{label['name']}\t#{color}")
    return "\n".join(lines) + "\n"
