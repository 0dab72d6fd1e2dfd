"""A page of one case to scroll and turn, with the scan and both masks in it.

Everything is inside the one file: it opens from a disk and asks for nothing. The drawing is done by
NiiVue, whose build and licences lie in ``templates``.
"""

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
from scipy import ndimage

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume, write_labels
from MorseCore.quality.mosaic import on_result_grid, shown_values
from MorseCore.quality.pages import fill_template, page_text, viewer_path
from MorseCore.result import Segmentation, Structure
from MorseCore.system.files import prepare_output_directory, write_text

__all__ = ["NIIVUE", "write_viewer"]

NIIVUE = "0.69.0"
_BUILD = Path(__file__).parent / "templates" / f"niivue-{NIIVUE}.umd.js.gz"
_MARGIN = 20.0  # mm around what was found
_MOST = 6_000_000  # voxels of a map; a finer scan is thinned


def write_viewer(picture: Path, name: str, volume: Volume, result: Segmentation) -> Path:
    """Write the page of a case; returns it.

    :param picture: of the case, beside which it lies. :param name: what the case is called.
    :raises OutputError: if it cannot be written.
    """
    box = _box(result)
    step = max(1, int(np.ceil((np.prod([s.stop - s.start for s in box]) / _MOST) ** (1 / 3))))
    geometry = _thinned(result.geometry, box, step)
    part = tuple(slice(s.start, s.stop, step) for s in box)
    image = _as_bytes(on_result_grid(volume, result)[part])
    maps = {"scan": image, "coarse": result.coarse[part], "refined": result.refined[part]}
    data = {
        "maps": [_embedded(key, array, geometry) for key, array in maps.items()],
        "colors": _colors(result.structures),
    }
    sizes = " x ".join(f"{mm:.3g}" for mm in geometry.spacing)
    page = fill_template(
        "viewer.html", NAME=page_text(name), PAGE=f"{quote(picture.stem)}.html", VERSION=NIIVUE,
        SHOWN=f"Cropped to what was found, voxels of {sizes} mm, 256 grey values.",
        VIEWER=gzip.decompress(_BUILD.read_bytes()).decode(),
        DATA=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )  # fmt: skip
    path = viewer_path(picture)
    prepare_output_directory(path.parent)
    write_text(path, page)
    return path


def _box(result: Segmentation) -> tuple[slice, ...]:
    """What was found with a margin, (K, J, I); the whole image if that is nothing."""
    found = (result.coarse > 0) | (result.refined > 0)
    places = ndimage.find_objects(found.astype(np.uint8))
    if not places:
        return tuple(slice(0, n) for n in found.shape)
    margins = np.ceil(_MARGIN / np.array(result.geometry.spacing[::-1])).astype(int)
    return tuple(
        slice(max(0, s.start - m), min(n, s.stop + m))
        for s, m, n in zip(places[0], margins, found.shape, strict=True)
    )


def _thinned(geometry: Geometry, box: Sequence[slice], step: int) -> Geometry:
    """The grid of every n-th voxel of a box."""
    (a, b, c), (d, e, f) = (s.start for s in box), (s.stop for s in box)
    matrix = geometry.crop((a, b, c), (d, e, f)).ijk_to_ras.copy()
    matrix[:3, :3] *= step
    k, j, i = (len(range(s.start, s.stop, step)) for s in box)
    return Geometry((k, j, i), matrix)


def _as_bytes(image: np.ndarray) -> np.ndarray:
    low, high = shown_values(image)
    share = np.clip((np.nan_to_num(image.astype(np.float32), nan=low) - low) / (high - low), 0, 1)
    return np.rint(share * 255).astype(np.uint8)


def _embedded(name: str, array: np.ndarray, geometry: Geometry) -> dict[str, str]:
    """A map as NIfTI in text."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "map.nii.gz"
        write_labels(path, array, geometry)
        text = base64.b64encode(path.read_bytes()).decode()
    return {"name": f"{name}.nii.gz", "base64": text}


def _colors(structures: Sequence[Structure]) -> dict[str, Any]:
    """Value -> colour and name, as NiiVue wants it; 0 is not drawn."""
    colors = [(0, 0, 0), *(tuple(round(255 * x) for x in s.color) for s in structures)]
    red, green, blue = (list(channel) for channel in zip(*colors, strict=True))
    return {
        "R": red, "G": green, "B": blue, "A": [0, *[255] * len(structures)],
        "I": [0, *(s.value for s in structures)], "labels": ["", *(s.name for s in structures)],
    }  # fmt: skip
