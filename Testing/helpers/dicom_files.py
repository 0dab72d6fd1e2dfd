"""DICOM slices, one file each."""

from pathlib import Path

import numpy as np
import SimpleITK

ROOT = "1.2.826.0.1.3680043.10.543"


def write_slice(
    folder: Path,
    number: int,
    position: tuple[float, float, float],
    *,
    series: int = 1,
    axes: str = "1\\0\\0\\0\\1\\0",
    instance: int | None = None,
) -> None:
    """A 3 x 2 CT slice whose every voxel is ``number``."""
    folder.mkdir(exist_ok=True)
    image = SimpleITK.GetImageFromArray(np.full((1, 2, 3), number, np.int16))
    tags = {
        "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
        "0008|0018": f"{ROOT}.9.{series}.{number}",
        "0008|0060": "CT",
        "0008|103e": f"Series {series}",
        "0020|000d": f"{ROOT}.1",
        "0020|000e": f"{ROOT}.2.{series}",
        "0020|0013": str(number if instance is None else instance),
        "0020|0032": "\\".join(f"{x:g}" for x in position),
        "0020|0037": axes,
        "0028|0030": "1\\1",
    }
    for key, value in tags.items():
        image.SetMetaData(key, value)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(folder / f"s{series}_{(number * 7) % 11:02}.dcm"))  # no order in names
    writer.Execute(image)
