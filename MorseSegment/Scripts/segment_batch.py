"""Segment many scans with Slicer and no window.

Slicer --no-splash --no-main-window --exit-after-startup --python-script segment_batch.py -- \
    --input scans --output results --model hippocampus-t1 --scene

Without --exit-after-startup Slicer would stay open for ever if the script itself could not start.
Exit codes: 0 all done, 1 some cases failed, 2 usage.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["main"]

SCENE = "scene.mrb"


def main(arguments: Sequence[str]) -> int:
    """Run the batch; returns the exit code. Every error becomes one sentence on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        _findPackages()
        from MorseCore.system.exits import exit_code_of

        options = _parser().parse_args(arguments)
        return exit_code_of(lambda: _run(options))
    except ModuleNotFoundError as error:
        print(
            f"error: This Slicer lacks the Python package '{error.name}'; install it with: "
            f"PythonSlicer -m pip install {error.name}",
            file=sys.stderr,
        )
        return 1
    except Exception as error:
        print(f"error: unexpected {type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    from MorseCore.commands.batch import run_batch
    from MorseCore.commands.segment import settings_of
    from MorseCore.service.supervisor import SupervisedWorker
    from MorseSegmentLib.worker.launch import workerCommand

    with SupervisedWorker(workerCommand()) as worker:  # Slicer's own Python need not have torch
        return run_batch(
            options.input, options.output, settings_of(options), is_strict=options.strict,
            hang_limit=options.hang_limit, worker=worker,
            on_result=partial(_saveScene, options) if options.scene else None,
        )  # fmt: skip


def _saveScene(options: argparse.Namespace, name: str, scan: Any, folder: Path) -> None:
    """One case as Slicer opens it: scan, masks, points; unless that is there already.

    :param scan: a ``Scan`` of :mod:`MorseCore.commands.inputs`.
    """
    scene, report = folder / SCENE, folder / "report.json"
    if scene.is_file() and scene.stat().st_mtime_ns >= report.stat().st_mtime_ns:
        return
    import slicer

    from MorseCore.images.imageio import ReadOptions, read_volume
    from MorseCore.inference.files import read_result
    from MorseCore.system.acceptance import Acceptance
    from MorseSegmentLib.scene.bundle import saveBundle

    series = scan.series or options.series
    reading = ReadOptions(series, options.volume, Acceptance(options.accept))
    volume, result = read_volume(scan.path, reading), read_result(folder)
    saveBundle(
        slicer.mrmlScene, scene, result, image=volume.array, geometry=volume.geometry,
        name=name,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    from MorseCore.commands.segment import add_settings

    parser = argparse.ArgumentParser(prog="segment_batch.py", description="Segment many scans.")
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="PATH",
        help="images, DICOM folders or folders of images",
    )  # fmt: skip
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    add_settings(parser)
    parser.add_argument(
        "--scene", action="store_true", help=f"also save {SCENE} a case, to open in Slicer"
    )
    return parser


def _findPackages() -> None:
    # Installed, both packages lie beside Scripts/; in the source tree MorseCore is a folder up.
    module = Path(__file__).resolve().parents[1]
    for folder in (module, module.parent):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


if __name__ == "__main__":
    # Slicer only quits by itself when asked to: any way out of the script has to be an exit.
    sys.exit(main([word for n, word in enumerate(sys.argv[1:]) if n or word != "--"]))
