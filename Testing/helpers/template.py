"""The ICBM 152 template: a brain without its skull, from nilearn's own files."""

import numpy as np

from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.roi import Roi

REGIONS = {
    "left": Roi((-42.0, -47.0, -32.0), (-6.0, 3.0, 6.0)),
    "right": Roi((6.0, -47.0, -32.0), (42.0, 3.0, 6.0)),
}
"""Boxes around the hippocampi, RAS mm, as large as the images of the training set."""


def load_template() -> Volume:
    """T1, 1 mm."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    array = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)  # nibabel is (i, j, k)
    shape = (array.shape[0], array.shape[1], array.shape[2])
    grid = Geometry(shape, image.affine)
    return Volume(np.ascontiguousarray(array), grid, "ICBM 152 T1 template")
