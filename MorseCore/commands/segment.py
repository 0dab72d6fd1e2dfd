"""``morsesegment segment``: scans in, a folder of results a scan out."""

import argparse
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

from MorseCore.commands.report import add_interactive
from MorseCore.service.protocol import CaseSettings

__all__ = ["add", "add_settings", "add_sharing", "settings_of"]

_MOST_JOBS = 256
_DEFAULT = "brain-mr"  # sees whole heads in any MR contrast
log = logging.getLogger(__name__)


def add(commands: Any) -> None:
    """The command and its options."""
    parser = commands.add_parser(
        "segment", help="segment images, DICOM folders or folders of images",
        epilog="example: morsesegment segment head.nii.gz --model hippocampus-t1 --output out",
    )  # fmt: skip
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT",
        help="image, DICOM folder, folder with either below it (BIDS too), list (.csv) or pattern",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=_folder, metavar="DIR",
        help="gets a folder for each case; default: 'segmentations' beside the input",
    )  # fmt: skip
    add_settings(parser)
    add_sharing(parser)
    parser.set_defaults(run=run)


def _folder(text: str) -> Path:
    """A folder; no name at all, as of a variable that is not set, would be the current one."""
    if not text:
        raise argparse.ArgumentTypeError("a folder is expected; found an empty name")
    return Path(text)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """How scans are segmented; every way to start a batch takes these options."""
    add_option = parser.add_argument
    add_option("--model", metavar="M", help="name or folder of a model; default: brain-mr, any MR")
    add_option("--device", default="auto", help="auto (default), cpu or cuda:N")
    add_option(
        "--engine", default="torch", choices=("torch", "openvino"),
        help="what computes the backbone; openvino is faster on a CPU (an extra: [cpu])",
    )  # fmt: skip
    add_option(
        "--roi", metavar="BOX",
        help="where to segment: r0,r1,a0,a1,s0,s1 (RAS mm) or ijk:i0,i1,j0,j1,k0,k1 (voxels)",
    )  # fmt: skip
    add_option(
        "--points", type=int, metavar="N",
        help="points rendered per window and pass, at most; default: the model's",
    )  # fmt: skip
    add_option(
        "--passes", type=int, metavar="K",
        help="rendering passes; 0: coarse only; default: the model's",
    )  # fmt: skip
    add_option(
        "--scale", type=int, default=1, metavar="S", help="output S times finer, 1 (default) to 4"
    )
    add_option(
        "--format", default="nii.gz", choices=("nii.gz", "seg.nrrd"),
        help="of the masks; default: nii.gz",
    )  # fmt: skip
    add_option(
        "--series", metavar="UID", help="which series of a DICOM folder; a beginning will do"
    )
    add_option(
        "--volume", type=int, metavar="N", help="which volume of a file with four axes, from 0"
    )
    add_option(
        "--accept", action="append", default=[], metavar="NAME",
        help="overrule a refusal, by the name that its message gives",
    )  # fmt: skip
    add_option(
        "--verdict", default="fast", choices=("fast", "full", "off"),
        help="how a result is checked: fast (default) takes one coarse pass more where the model "
        "allows it, full four more",
    )  # fmt: skip
    add_option("--strict", action="store_true", help="an implausible result counts as failed")
    add_option(
        "--hang-limit", type=float, default=600.0, metavar="S",
        help="give a case up after S seconds without progress; default: 600",
    )  # fmt: skip
    add_option(
        "--rerun", choices=("implausible",),
        help="make finished cases again whose verdict is this; failed ones always are",
    )  # fmt: skip


def add_sharing(parser: argparse.ArgumentParser) -> None:
    """How a batch is shared out among processes, and what is made of it at the end."""
    parser.add_argument(
        "--jobs", type=_jobs, default=1, metavar="N",
        help="processes on this machine that segment at the same time; default: 1",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=_part, metavar="I/N",
        help="do the I-th of N equal parts of the cases, for job arrays; then 'report' the folder",
    )  # fmt: skip
    parser.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="let the workers of a Dask scheduler do the cases (an extra: [cluster])",
    )  # fmt: skip
    add_interactive(parser)


def _jobs(text: str) -> int:
    """A number of processes that one machine may have."""
    value = int(text) if text.isdecimal() and len(text) < 9 else 0
    if not 1 <= value <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(
            f"expected a whole number from 1 to {_MOST_JOBS}; got '{text}'"
        )
    return value


def _part(text: str) -> tuple[int, int]:
    """``2/8`` as two numbers."""
    try:
        number, count = (int(word) for word in text.split("/"))
    except ValueError:
        number, count = 0, 0
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(
            f"expected I/N with I from 1 to N, as in 2/8; got '{text}'"
        )
    return number, count


def settings_of(options: argparse.Namespace) -> CaseSettings:
    """The settings that :func:`add_settings` asked for."""
    values = {item.name: getattr(options, item.name) for item in fields(CaseSettings)}
    values["accept"] = tuple(options.accept)
    if options.model is None:
        log.info("no --model given: '%s' is taken, which is for MR of a head", _DEFAULT)
        values["model"] = _DEFAULT
    return CaseSettings(**values)


def run(options: argparse.Namespace) -> int:
    """Segment every input; returns the exit code."""
    from MorseCore.commands.batch import run_batch
    from MorseCore.commands.inputs import output_beside
    from MorseCore.commands.terminal import terminal_progress  # Slicer has no tqdm

    with terminal_progress() as progress:
        settings = settings_of(options)
        output = options.output or output_beside(options.inputs[0])
        if options.output is None:
            log.info("no --output given: results go to '%s'", output)
        return run_batch(
            options.inputs, output, settings, is_strict=options.strict,
            hang_limit=options.hang_limit, jobs=options.jobs,
            part=options.batch, scheduler=options.scheduler, interactive=options.interactive,
            progress=progress,
        )  # fmt: skip
