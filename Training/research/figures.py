"""Pictures of what a model does to one image.

    python Training/research/figures.py points MODEL IMAGE --output points.png
    python Training/research/figures.py gates MODEL IMAGE --output gates.png

``points``: the coarse masks over the refined ones, with the points that were rendered, as in
MORSE's Fig. 4; on up to three slices through the structures. ``gates``: on the slice with most
foreground of one window, how the head shares each pixel among its experts (MORSE's W_i) or its
pattern learners (I²Net's gate maps). A model of a part of the body needs ``--roi``.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

from MorseCore.errors import OutputError
from MorseCore.images.imageio import read_volume
from MorseCore.images.roi import parse_roi
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor, cut_region
from MorseCore.store.library import find_model
from Training.research.study.commandline import command_line, exit_code
from Training.research.study.pictures import draw_gates, draw_points, gate_maps


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: drawn; 1: failed; 2: wrong usage."""
    parser = command_line(__doc__)
    parser.add_argument("kind", choices=("points", "gates"))
    parser.add_argument("model", help="name or folder")
    parser.add_argument("image", type=Path)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.png")
    parser.add_argument("--roi", metavar="BOX", help="as of segment: r0,r1,a0,a1,s0,s1 (RAS mm)")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    return exit_code(lambda: run(options))


def run(options: argparse.Namespace) -> None:
    """Draw."""
    check_target(options.output, options.image)
    roi = parse_roi(options.roi) if options.roi else None
    predictor = VolumePredictor(find_model(options.model), device=options.device)
    volume = read_volume(options.image)
    if options.kind == "points":
        result = predictor.segment(volume, PredictOptions(roi=roi))
        draw_points(volume, result, options.output)
    else:
        draw_gates(gate_maps(predictor, cut_region(volume, roi)[0]), options.output)
    print(options.output)


def check_target(path: Path, image: Path) -> None:
    """Before the segmentation, which takes its time.

    :raises OutputError: if there cannot be a picture of this name, or it is the image's.
    """
    if path.suffix.lower() != ".png" or path.resolve() == image.resolve():
        raise OutputError(f"'{path}' does not end in .png; a picture is written there.")
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder; --output takes the name of a file.")
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: its folder does not exist.")


if __name__ == "__main__":
    sys.exit(main())
