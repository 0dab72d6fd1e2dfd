"""What ``report.json`` says of a run: its model, input, numbers and warnings."""

import logging
import platform
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch

from MorseCore import __version__
from MorseCore.errors import ImageError
from MorseCore.images.imageio import Volume
from MorseCore.inference.options import PredictOptions, points_asked, renderer_parameters
from MorseCore.store.model_folder import ModelInfo
from MorseCore.system.devices import describe_device, resolve_precision
from MorseCore.system.files import printable

__all__ = [
    "check_channels",
    "exceeds_view",
    "modality_warning",
    "report_rendering",
    "report_segmentation",
    "view_warning",
    "warn_about_scan",
]

_LARGE = 1.6  # times the field of view of the training images that calls for a region of interest
_SMALL = 0.3  # times it: a side that short is no region that somebody meant
_MODALITIES = dict.fromkeys(("CR", "DX", "MG", "XA", "RF"), "XR") | {"OT": ""}  # DICOM's -> ours
_KEPT = ("model", "input", "versions", "device", "seed")  # what a rendering shares with its scan
log = logging.getLogger(__name__)


class Assembled(Protocol):
    """What an assembler counted."""

    @property
    def attention(self) -> float: ...

    windows: int
    evaluations: int
    rendered_voxels: int


def report_segmentation(
    volume: Volume,
    part: Volume,
    options: PredictOptions,
    assembled: Assembled,
    *,
    info: ModelInfo,
    device: torch.device,
    engine: str,
    seed: int,
    warnings: list[str],
) -> dict[str, Any]:
    """The report of one segmentation; timings and what rendering changed are added elsewhere.

    :param volume: the whole scan.
    :param part: what of it was segmented.
    :param options: those that were used in the end.
    :param assembled: all rows of the prediction.
    :param engine: what computed the backbone, with its version.
    :param warnings: sentences for a person.
    """
    renderer = options.renderer(info.renderer, window=info.preparation.window_size)
    asked = points_asked(renderer, window=info.grid_window)
    return {
        "model": {"name": info.name, "sha256": info.sha256},
        "input": _input(volume, part),
        "versions": _versions(),
        "device": describe_device(device),
        "engine": engine,
        "seed": seed,
        "parameters": {
            **renderer_parameters(renderer),
            "scale": options.scale, "overlap": info.windows.overlap,
            "precision": resolve_precision(device, options.precision),
            "roi": asdict(options.roi) if options.roi else None,
            "accept": list(options.accept),
        },
        "attention": assembled.attention,
        "windows": assembled.windows,
        "points": {"asked": None if asked is None else asked * assembled.windows,
                   **_rendered(assembled)},
        "warnings": [*volume.notes, *warnings],
    }  # fmt: skip


def report_rendering(
    first: dict[str, Any], options: PredictOptions, assembled: Assembled, *, info: ModelInfo
) -> dict[str, Any]:
    """The report of a rendering that asked kept fields again.

    :param first: the report of the segmentation that filled them.
    :param options: of the rendering.
    """
    renderer = options.renderer(info.renderer, window=info.preparation.window_size)
    return {
        **{key: first[key] for key in _KEPT},
        "parameters": {
            **first["parameters"], **renderer_parameters(renderer),
            "scale": options.scale, "roi": asdict(options.roi) if options.roi else None,
        },
        "windows": assembled.windows,
        "points": _rendered(assembled),
    }  # fmt: skip


def _input(volume: Volume, part: Volume) -> dict[str, Any]:
    others = [printable(channel.source) for channel in volume.others]
    return {
        "name": printable(volume.source),
        **({"further_channels": others} if others else {}),
        "shape_kji": list(volume.geometry.shape),
        "spacing_mm_ijk": [round(x, 6) for x in volume.geometry.spacing],
        "segmented_shape_kji": list(part.geometry.shape),
    }


def _rendered(assembled: Assembled) -> dict[str, int]:
    return {"evaluated": assembled.evaluations, "rendered_voxels": assembled.rendered_voxels}


def _versions() -> dict[str, str]:
    return {
        "MorseSegment": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def check_channels(volume: Volume, info: ModelInfo) -> None:
    """Refuse an image that has not the channels of the model.

    :raises ImageError: with their names, and how they are given.
    """
    wanted, found = info.preparation.in_channels, len(volume.channels)
    if found == wanted:
        return
    if wanted == 1:
        raise ImageError(f"'{info.name}' sees one image of a case; found {found} channels.")
    names = ", ".join(info.channels or ())
    raise ImageError(
        f"'{info.name}' sees {wanted} images of a case together ({names}), and "
        f"'{printable(volume.source)}' is {found}; name their files CASE_0000.nii.gz, "
        f"CASE_0001.nii.gz … in this order and run: morsesegment segment CASE_0000.nii.gz --model "
        f"{info.name}."
    )


def warn_about_scan(part: Volume, info: ModelInfo) -> list[str]:
    """Sentences about what may spoil the result, which are logged.

    :param part: what of the scan will be segmented.
    """
    found = [view_warning(part, info)]
    if is_slice(part) and info.preparation.spatial_dims == 3:
        found.append(f"'{info.name}' was trained on volumes; the image is one slice.")
    found += [modality_warning(part, info), unit_warning(part, info)]
    texts = [text for text in found if text]
    for text in texts:
        log.warning("%s: %s", printable(part.source), text)
    return texts


def is_slice(part: Volume) -> bool:
    """Whether it is a picture, or a volume of one slice."""
    return part.ndim == 2 or min(part.array.shape) == 1


def unit_warning(part: Volume, info: ModelInfo) -> str:
    """A sentence if a CT for a model of Hounsfield units seems to be in other units."""
    preparation = info.preparation
    if info.modality != "CT" or preparation.normalisation != "range" or part.array.min() < 0:
        return ""
    low, high = preparation.intensity_range
    if low >= 0:
        return ""
    return (
        f"No voxel of the image lies below 0, and the model sees {low:g} to {high:g} Hounsfield "
        "units: are these its values?"
    )


def modality_warning(part: Volume, info: ModelInfo) -> str:
    """A sentence if the file says that it is of another modality than the model's, else nothing."""
    modality = _MODALITIES.get(part.modality, part.modality)
    if not modality or info.modality in ("any", modality):
        return ""
    return (
        f"The image is {modality}, the model '{info.name}' was trained on {info.modality}: what it "
        "finds may mean nothing."
    )


def exceeds_view(part: Volume, info: ModelInfo) -> bool:
    """Whether an image is much larger than the training images were; never if that is unknown."""
    return any(a > _LARGE * b for a, b in _beside_view(part, info))


def _extent(part: Volume) -> list[float]:
    """mm along i, j, k."""
    pairs = zip(part.array.shape[::-1], part.geometry.spacing, strict=True)
    return [float(n * mm) for n, mm in pairs]


def _beside_view(part: Volume, info: ModelInfo) -> list[tuple[float, float]]:
    """Extents of an image and of the largest training images, mm.

    Sorted, as the axes of a scan are not the patient's; a 2D model sees i and j only.
    """
    seen = sorted(_extent(part)[: info.preparation.spatial_dims])
    return list(zip(seen, sorted(info.field_of_view or ()), strict=False))


def view_warning(part: Volume, info: ModelInfo) -> str:
    """A sentence if the image is much larger or smaller than the training images, else nothing."""
    view = info.field_of_view
    if view is None:
        return ""
    extent, pairs = _extent(part), _beside_view(part, info)
    is_picture = is_slice(part) and info.preparation.spatial_dims == 3  # which is said anyway
    if not is_picture and any(a < _SMALL * b for a, b in pairs):
        return (
            f"What is segmented measures {' x '.join(f'{x:.0f}' for x in extent)} mm, the training "
            f"images of '{info.name}' up to {' x '.join(f'{x:.0f}' for x in view)} mm: in so small "
            "a part it has little to go by; choose a larger region."
        )
    if not exceeds_view(part, info):
        return ""
    return (
        f"The image measures {' x '.join(f'{x:.0f}' for x in extent)} mm, the model "
        f"'{info.name}' was trained on at most {' x '.join(f'{x:.0f}' for x in view)} mm; "
        "outside of such a box it may find structures where there are none: choose a region of "
        "interest."
    )
