"""The command line. Exit codes: 0 all done, 1 something failed, 2 wrong usage.

torch is imported by the commands that need it, so that ``--help`` answers at once.
"""

import argparse
import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from MorseCore import __version__
from MorseCore.commands.terminal import print_any_letter, terminal_progress
from MorseCore.commands.train import add_arguments
from MorseCore.errors import (
    ConfigError,
    DatasetError,
    DeviceError,
    ModelError,
    lacking,
)
from MorseCore.system.allocation import SMALL, keep_freed_memory
from MorseCore.system.exits import exit_code_of
from MorseCore.system.signals import terminating

__all__ = ["main"]

_STOPPED = "interrupted; finished cases are kept, run it again to go on"
_DEFAULT = "brain-mr"  # sees whole heads in any MR contrast
_USAGE_ERRORS = (ConfigError, DeviceError, ModelError)  # wrong before any scan was looked at


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every error becomes one sentence on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(_join_region(words))
    print_any_letter()
    try:
        keep_freed_memory(largest=SMALL)
        with terminating(), _speaking(is_verbose=options.verbose):
            return exit_code_of(lambda: options.run(options), usage=_USAGE_ERRORS, stopped=_STOPPED)
    except BrokenPipeError:  # the reader of our output, e.g. head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ModuleNotFoundError as error:
        print(lacking(error), file=sys.stderr)
    except Exception as error:
        if options.verbose:
            traceback.print_exc()
        print(f"error: unexpected {type(error).__name__}: {error}", file=sys.stderr)
    return 1


@contextmanager
def _speaking(*, is_verbose: bool) -> Iterator[None]:
    """Meanwhile what is logged goes to stderr, and what is meant for programmers nowhere."""
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stderr)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if is_verbose else logging.INFO)
    try:
        with warnings.catch_warnings():
            if not is_verbose:
                warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _join_region(words: list[str]) -> list[str]:
    """``--roi -20,20,…`` as ``--roi=-20,20,…``, which argparse would take for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--roi" and word[:1] == "-" and word[1:2] in {*"0123456789."}:
            joined[-1] = f"--roi={word}"
        else:
            joined.append(word)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="morsesegment",
        description="Segment CT and MR; render the boundary again where the network is unsure.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="details of unexpected errors")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_demo, _add_segment, _add_evaluate, _add_models, _add_preview, _add_train,
        _add_methods, _add_worker,
    ):  # fmt: skip
        add(commands)
    return parser


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo", help="segment a real brain MR and draw the result",
        epilog="example: morsesegment demo --output demo-output",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR")
    parser.set_defaults(run=_demo)


def _add_segment(commands: Any) -> None:
    parser = commands.add_parser(
        "segment", help="segment images, DICOM folders or folders of images",
        epilog="example: morsesegment segment head.nii.gz --model hippocampus-t1 --output out",
    )  # fmt: skip
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT",
        help="image, DICOM folder, folder of images (not searched deeper), or pattern",
    )  # fmt: skip
    parser.add_argument(
        "--model", metavar="M", help="name or folder of a model; default: brain-mr, for any MR"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR",
        help="gets a folder for each case; default: 'segmentations' beside the input",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda:N")
    parser.add_argument(
        "--engine", default="torch", choices=("torch", "openvino"),
        help="what computes the backbone; openvino is faster on a CPU (an extra: [cpu])",
    )  # fmt: skip
    parser.add_argument(
        "--roi",
        metavar="BOX",
        help="where to segment: r0,r1,a0,a1,s0,s1 (RAS mm) or ijk:i0,i1,j0,j1,k0,k1 (voxels)",
    )
    parser.add_argument(
        "--points",
        type=int,
        metavar="N",
        help="points rendered per window and pass, at most; default: the model's",
    )
    parser.add_argument(
        "--passes",
        type=int,
        metavar="K",
        help="rendering passes; 0: coarse only; default: the model's",
    )
    parser.add_argument(
        "--scale", type=int, default=1, metavar="S", help="output S times finer, 1 (default) to 4"
    )
    parser.add_argument(
        "--format",
        default="nii.gz",
        choices=("nii.gz", "seg.nrrd"),
        help="of the masks; default: nii.gz",
    )
    parser.add_argument(
        "--series", metavar="UID", help="which series of a DICOM folder; a beginning will do"
    )
    parser.add_argument(
        "--volume", type=int, metavar="N", help="which volume of a file with four axes, from 0"
    )
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME",
        help="overrule a refusal, by the name that its message gives",
    )  # fmt: skip
    parser.add_argument(
        "--hang-limit", type=float, default=600.0, metavar="S",
        help="give a case up after S seconds without progress; default: 600",
    )  # fmt: skip
    parser.set_defaults(run=_segment)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate", help="score masks against reference masks",
        epilog="example: morsesegment evaluate --prediction left --reference labels",
    )  # fmt: skip
    parser.add_argument("--prediction", required=True, type=Path, metavar="DIR",
                        help="what segment wrote, or one label map a case")  # fmt: skip
    parser.add_argument("--reference", required=True, type=Path, metavar="DIR",
                        help="one label map a case, named like it")  # fmt: skip
    parser.add_argument("--model", help="take the names of the structures from this model")
    parser.add_argument(
        "--rule", choices=("mm", "voxel", "legacy"), default="mm",
        help="distances in mm, in voxels, or all as in the code behind the papers' tables",
    )  # fmt: skip
    parser.add_argument(
        "--subjects", type=Path, metavar="FILE",
        help="CSV with columns case and subject; intervals are then over subjects",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="JSON; a CSV is written beside it"
    )
    parser.set_defaults(run=_evaluate)


def _add_models(commands: Any) -> None:
    parser = commands.add_parser(
        "models", help="list, show, import, verify or remove models",
        epilog="example: morsesegment models show hippocampus-t1",
    )  # fmt: skip
    actions = parser.add_subparsers(required=True, metavar="list | show | import | verify | remove")
    actions.add_parser("list").set_defaults(run=_models_list)
    for name, run, metavar in (
        ("show", _models_show, "M"),
        ("verify", _models_verify, "M"),
        ("import", _models_import, "PATH"),
        ("remove", _models_remove, "M"),
    ):  # fmt: skip
        action = actions.add_parser(name)
        action.add_argument("model", metavar=metavar)
        action.set_defaults(run=run)


def _add_preview(commands: Any) -> None:
    parser = commands.add_parser(
        "preview", help="images generated from label maps, as a picture",
        epilog="example: morsesegment preview my-labels --output grid.png",
    )  # fmt: skip
    parser.add_argument(
        "labels", type=Path, metavar="LABELS",
        help="folder of label maps, dataset.json, or a configuration of Training/configs",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("grid.png"), metavar="PNG")
    parser.add_argument(
        "--preset", choices=("any", "t1"), help="any MR contrast (default), or like T1"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other images")
    parser.set_defaults(run=_preview)


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        "train", help="train a model by a configuration",
        epilog="example: morsesegment train Training/configs/hippocampus-t1.json device=cuda:0",
    )  # fmt: skip
    add_arguments(parser)
    parser.set_defaults(run=_train)


def _add_methods(commands: Any) -> None:
    parser = commands.add_parser(
        "methods", help="everything a training configuration can name",
        epilog="example: morsesegment methods --json",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=_methods)


def _add_worker(commands: Any) -> None:
    parser = commands.add_parser(
        "worker", help="serve the Slicer module over stdin and stdout",
        epilog="example: morsesegment worker   (one JSON object a line, see Documentation)",
    )  # fmt: skip
    parser.set_defaults(run=_worker)


def _demo(options: argparse.Namespace) -> int:
    from MorseCore.commands.demo import run_demo

    return run_demo(options.output)


def _segment(options: argparse.Namespace) -> int:
    from MorseCore.commands.batch import run_batch
    from MorseCore.commands.cases import output_beside

    with terminal_progress() as progress:
        if options.model is None:
            logging.info("no --model given: '%s' is taken, which is for MR of a head", _DEFAULT)
        output = options.output or output_beside(options.inputs[0])
        if options.output is None:
            logging.info("no --output given: results go to '%s'", output)
        return run_batch(
            options.inputs, output, device=options.device,
            model=_DEFAULT if options.model is None else options.model,
            engine=options.engine, points=options.points, passes=options.passes, roi=options.roi,
            scale=options.scale, mask_format=options.format, series=options.series,
            volume=options.volume, accept=options.accept, hang_limit=options.hang_limit,
            progress=progress,
        )  # fmt: skip


def _evaluate(options: argparse.Namespace) -> int:
    from MorseCore.inference.files import written_names
    from MorseCore.metrics.evaluation import evaluate_folder, summary_path
    from MorseCore.metrics.evaluationtable import format_table
    from MorseCore.metrics.subjects import read_subjects

    labels = None
    if options.model:
        from MorseCore.store.library import find_model
        from MorseCore.store.model_folder import read_model

        labels = {s.value: s.name for s in read_model(find_model(options.model)).structures}
        labels |= written_names(options.prediction)  # of both sides, where it segmented both
    subjects = read_subjects(options.subjects) if options.subjects else {}
    if options.subjects and not subjects:
        raise DatasetError(
            f"'{options.subjects}' names no subject in columns 'case' and 'subject'."
        )
    summary = evaluate_folder(
        options.prediction, options.reference, output=options.output, labels=labels,
        rule=options.rule, subjects=subjects,
    )  # fmt: skip
    print(format_table(summary))
    if options.output is not None:
        written = summary_path(options.output)
        print(f"written: {written}, {written.with_suffix('.csv').name}")
    return 0


def _models_list(_: argparse.Namespace) -> int:
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


def _models_show(options: argparse.Namespace) -> int:
    from MorseCore.store.library import find_model
    from MorseCore.store.model_folder import read_card, read_model

    folder = find_model(options.model)
    read_model(folder)
    print(read_card(folder))
    return 0


def _models_verify(options: argparse.Namespace) -> int:
    from MorseCore.store.library import find_model
    from MorseCore.store.model_folder import load_network, read_model

    folder = find_model(options.model)
    info = read_model(folder)
    load_network(folder, info)
    print(f"{info.name}: model.json, SHA-256 and weights are in order ({folder})")
    return 0


def _models_import(options: argparse.Namespace) -> int:
    from MorseCore.store.library import hides_built_in, import_model

    folder, info = import_model(Path(options.model))
    print(f"{info.name}: imported to {folder}")
    if hides_built_in(folder):
        print(
            f"It takes the place of the '{info.name}' that came with MorseCore; "
            f"'models remove {info.name}' brings that one back."
        )
    return 0


def _models_remove(options: argparse.Namespace) -> int:
    from MorseCore.store.library import remove_model

    print(f"removed: {remove_model(options.model)}")
    return 0


def _preview(options: argparse.Namespace) -> int:
    from MorseCore.commands.preview import run_preview

    return run_preview(options.labels, options.output, preset=options.preset, seed=options.seed)


def _train(options: argparse.Namespace) -> int:
    from MorseCore.commands.train import train_as_asked

    return train_as_asked("morsesegment train", options)


def _methods(options: argparse.Namespace) -> int:
    from MorseCore.commands.methods import list_methods

    methods = list_methods()
    if options.json:
        print(json.dumps([asdict(method) for method in methods], indent=2))
        return 0
    width = max(len(method.where) for method in methods)
    for method in methods:
        print(f"{method.kind:9} {method.name:19} {method.where:{width}} {method.paper}")
    return 0


def _worker(_: argparse.Namespace) -> int:
    from MorseCore.service.worker import main as serve

    return serve()
