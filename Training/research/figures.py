"""Pictures of what a model does to one image.

    python Training/research/figures.py points MODEL IMAGE --output points.png
    python Training/research/figures.py gates MODEL IMAGE --output gates.png

``points``: three slices through the structures with the refined masks, the outlines of the coarse
ones and the points that were rendered. ``gates``: on the slice with most foreground of one window,
how the head shares each pixel among its experts (MORSE's W_i) or its pattern learners (I²Net's gate
maps). A model of a part of the body needs ``--roi``.
"""

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from a checkout, not installed

import numpy as np
import torch

from MorseCore.commands.demo_figure import draw_slices
from MorseCore.errors import ConfigError, OutputError
from MorseCore.field import Field
from MorseCore.images.imagechecks import check_is_intensity_image, check_values
from MorseCore.images.imageio import Volume, read_volume
from MorseCore.images.preparation import prepare_scan
from MorseCore.images.roi import parse_roi
from MorseCore.inference.blending import crop_window, lay_windows
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.ready_scan import cut_region
from MorseCore.inference.report import modality_warning, view_warning
from MorseCore.inference.sliding_window import window_to_source
from MorseCore.points import grid_coords
from MorseCore.store.library import find_model
from Training.research.shared.commandline import command_line, exit_code
from Training.research.shared.output import new_figure, save_figure

log = logging.getLogger(__name__)


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
        draw_slices(volume, result, options.output)
    else:
        draw_gates(gate_maps(predictor, cut_region(volume, roi)[0]), options.output)
    print(options.output)


def check_target(path: Path, image: Path) -> None:
    """Check the output before the segmentation, which takes a while.

    :raises OutputError: if there cannot be a picture of this name, or it is the image's.
    """
    if path.suffix.lower() != ".png" or path.resolve() == image.resolve():
        raise OutputError(f"'{path}' does not end in .png; a picture is written there.")
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder; --output takes the name of a file.")
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: its folder does not exist.")


@dataclass(frozen=True, eq=False)
class GateMaps:
    """Of one slice of one window, at the model's spacing. ``K`` gates."""

    image: np.ndarray
    """(J, I), normalised."""
    labels: np.ndarray
    """(J, I), the coarse answer."""
    gates: np.ndarray
    """(K, J, I) float32; they sum to one at every pixel."""
    aspect: float
    """Height of a pixel over its width."""


@torch.inference_mode()
def gate_maps(predictor: VolumePredictor, volume: Volume) -> GateMaps:
    """The gates on the slice with most foreground, by the coarse answer, of all windows.

    :raises ConfigError: if the model's head has no gates.
    :raises ImageError: if the volume is no scan (constant, a label map, nothing but NaN).
    """
    check_is_intensity_image(volume)
    check_values(volume, predictor.info.preparation, is_region=False)
    for text in (view_warning(volume, predictor.info), modality_warning(volume, predictor.info)):
        if text:
            log.warning(text)
    preparation, device = predictor.info.preparation, predictor.device
    window = preparation.window_size
    array, geometry = prepare_scan(volume, preparation)
    aspect = geometry.spacing[1] / geometry.spacing[0]
    best: tuple[int, GateMaps | None] = (-1, None)
    for layer in [array] if len(window) == 3 else list(array):
        image = torch.from_numpy(np.ascontiguousarray(layer))
        box, starts = lay_windows(image.shape, window, overlap=0)
        for start in starts:
            begin = [a - b for a, b in zip(start, box[0], strict=True)]
            crop = crop_window(image, begin, window)[None, None]
            place = window_to_source(box, start, window)[None]
            inner = tuple(slice(max(a - s, 0), b - s) for a, b, s in zip(*box, start, strict=True))
            field = predictor.network(crop.to(device), to_source=place.to(device))
            axes = [axis[part] for axis, part in zip(field.pixels(), inner, strict=True)]
            labels = field.coarse_grid(axes)[0].argmax(0).cpu().numpy()
            counts = (labels > 0).sum((-2, -1))
            if counts.max() > best[0]:
                maps = _slice(field, axes, crop[0, 0][inner].numpy(), labels, aspect)
                if maps is None:
                    raise ConfigError(f"The head of '{predictor.info.name}' has no gates to draw.")
                best = int(counts.max()), maps
    assert best[1] is not None  # every image has a window, and each counts more than -1
    return best[1]


def _slice(
    field: Field, axes: list[torch.Tensor], image: np.ndarray, labels: np.ndarray, aspect: float
) -> GateMaps | None:
    """The gates of a window's slice with most foreground; None if the field has none.

    :param axes: of the pixels that ``image`` and ``labels`` hold; without the padding.
    """
    if labels.ndim == 3:
        middle = int((labels > 0).sum((1, 2)).argmax())
        axes[0] = axes[0][middle : middle + 1]
        image, labels = image[middle], labels[middle]
    gates = field.gates(grid_coords(axes).to(field.device))
    if gates is None:
        return None
    values = gates[0].T.float().cpu().numpy().reshape(-1, *image.shape)
    return GateMaps(image, labels, values, aspect)


def draw_gates(maps: GateMaps, path: Path) -> None:
    """The slice, then one map a gate, all on one scale from 0, with the outline of the masks."""
    count = len(maps.gates) + 1
    ratio = maps.aspect * maps.image.shape[0] / maps.image.shape[1]
    figure = new_figure(2.6 * count + 0.8, 2.6 * ratio + 0.5)
    panels = figure.subplots(1, count)
    panels[0].imshow(maps.image, cmap="gray", origin="lower", aspect=maps.aspect)
    panels[0].set_title("image", fontsize=10)
    # One scale for all: 1 learner of 5 with a fifth of every pixel is to look like the others.
    top = float(maps.gates.max())
    shades = None
    for n, (axes, gate) in enumerate(zip(panels[1:], maps.gates, strict=True), start=1):
        shades = axes.imshow(
            gate, cmap="viridis", vmin=0, vmax=top, origin="lower", aspect=maps.aspect
        )
        axes.set_title(f"gate {n}: mean {gate.mean():.2f}", fontsize=10)
    for axes in panels:
        axes.set_axis_off()
        for value in np.unique(maps.labels[maps.labels > 0]):
            axes.contour(maps.labels == value, levels=[0.5], colors="white", linewidths=0.8)
    figure.colorbar(shades, ax=panels, fraction=0.02, pad=0.01).set_label("share of the pixel")
    save_figure(figure, path)


if __name__ == "__main__":
    sys.exit(main())
