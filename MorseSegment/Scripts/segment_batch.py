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

__all__ = ["main"]

SCENE = "scene.mrb"


def main(arguments: Sequence[str]) -> int:
    """Run the batch; returns the exit code. Every error becomes one sentence on stderr."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        _findPackages()
        return _run(options)
    except ModuleNotFoundError as error:
        print(
            f"error: This Slicer lacks the Python package '{error.name}'; install it with: "
            f"PythonSlicer -m pip install {error.name}",
            file=sys.stderr,
        )
        return 1
    except Exception as error:
        return _report(error)


def _run(options: argparse.Namespace) -> int:
    from MorseCore.commands.batch import find_cases, run_batch
    from MorseCore.service.supervisor import SupervisedWorker
    from MorseSegmentLib.worker.launch import workerCommand

    with SupervisedWorker(workerCommand()) as worker:  # Slicer's own Python need not have torch
        code = run_batch(
            options.input, options.output, model=options.model, device=options.device,
            points=options.points, passes=options.passes, roi=options.roi, scale=options.scale,
            mask_format=options.format, series=options.series, volume=options.volume,
            accept=options.accept, worker=worker,
            on_result=partial(_saveScene, options) if options.scene else None,
        )  # fmt: skip
    if options.scene:
        code = max(code, _saveMissingScenes(options, find_cases(options.input)))
    return code


def _saveScene(options: argparse.Namespace, name: str, image: Path, folder: Path) -> None:
    """One case as Slicer opens it: scan, masks, points."""
    import slicer

    from MorseCore.images.imageio import ReadOptions, read_volume
    from MorseCore.inference.files import read_result
    from MorseCore.system.acceptance import Acceptance
    from MorseSegmentLib.scene.bundle import saveBundle

    reading = ReadOptions(options.series, options.volume, Acceptance(options.accept))
    volume, result = read_volume(image, reading), read_result(folder)
    saveBundle(
        slicer.mrmlScene, folder / SCENE, result, image=volume.array, geometry=volume.geometry,
        name=name,
    )  # fmt: skip


def _saveMissingScenes(options: argparse.Namespace, cases: dict[str, Path]) -> int:
    """Scenes of cases that an earlier run finished without them; 1 if one fails, else 0."""
    from MorseCore.errors import MorseError

    failed = 0
    for name, image in cases.items():
        report = options.output / name / "report.json"
        scene = report.with_name(SCENE)
        if not report.is_file():  # the case failed, and the batch has said so
            continue
        if scene.is_file() and scene.stat().st_mtime_ns >= report.stat().st_mtime_ns:
            continue
        try:
            _saveScene(options, name, image, report.parent)
        except (MorseError, OSError) as error:
            logging.getLogger(__name__).error("%s: %s", name, error)
            failed = 1
    return failed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="segment_batch.py", description="Segment many scans.")
    parser.add_argument(
        "--input",
        nargs="+",
        required=True,
        metavar="PATH",
        help="images, DICOM folders or folders of images",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    parser.add_argument("--model", required=True, metavar="M", help="name or folder of a model")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--points", type=int, metavar="N", help="points per window and pass")
    parser.add_argument("--passes", type=int, metavar="K", help="rendering passes")
    parser.add_argument(
        "--roi", help="box: --roi=r0,r1,a0,a1,s0,s1 (RAS mm) or ijk:i0,i1,j0,j1,k0,k1 (voxels)"
    )
    parser.add_argument("--scale", type=int, default=1, metavar="S", help="output S times finer")
    parser.add_argument("--format", default="nii.gz", choices=("nii.gz", "seg.nrrd"))
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder")
    parser.add_argument("--volume", type=int, metavar="N", help="which volume of a 4D file, from 0")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="overrule a refusal"
    )
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


def _report(error: Exception) -> int:
    from MorseCore.errors import ConfigError, DeviceError, ModelError, MorseError

    if isinstance(error, MorseError):
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError | DeviceError | ModelError) else 1
    print(f"error: unexpected {type(error).__name__}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    # Slicer only quits by itself when asked to: any way out of the script has to be an exit.
    sys.exit(main([word for n, word in enumerate(sys.argv[1:]) if n or word != "--"]))
