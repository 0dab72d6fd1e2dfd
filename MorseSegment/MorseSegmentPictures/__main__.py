"""`python -m MorseSegmentPictures RESULT --image IMAGE --output DIR`: pictures of a result.

Run it in a process of its own, with the repository and its MorseSegment folder on PYTHONPATH.
Exit codes: 0 pictures written, 1 the result or image cannot be used, 2 usage, 3 no OpenGL here.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from MorseCore.errors import MorseError
from MorseSegmentPictures.probe import INSTALL_HINT, canRender

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures and print their paths; returns the exit code."""
    options = _parser().parse_args(arguments)
    if not canRender():
        print(INSTALL_HINT, file=sys.stderr)
        return 3
    # Not before: these load VTK and Slicer's libraries, seconds that --help can do without.
    from MorseCore.images.imageio import read_volume
    from MorseCore.inference.files import read_result
    from MorseSegmentPictures.figure import renderScenePictures

    try:
        result = read_result(options.result)
        volume = read_volume(options.image)
        paths = renderScenePictures(volume.array, result, options.output, geometry=volume.geometry)
    except (MorseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths:
        print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m MorseSegmentPictures",
        description="Draw a segmentation result as 3D Slicer does, without a screen.",
    )
    parser.add_argument("result", type=Path, help="folder that 'segment' wrote for one image")
    parser.add_argument("--image", type=Path, required=True, help="the image that was segmented")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
