"""DICOM files as scanners write them, and as they must not be."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.543"
CT, MR, PET = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "4", "128"))
ENHANCED_CT, ENHANCED_MR = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2.1", "4.1"))
SHAPE = (8, 10)


def write_slice(
    folder: Path,
    number: int,
    position: tuple[float, float, float],
    *,
    series: int = 1,
    axes: str = "1\\0\\0\\0\\1\\0",
    instance: int | None = None,
) -> Path:
    """A 3 x 2 CT slice whose every voxel is ``number``."""
    data = slice_data(number, np.full((2, 3), number, np.int16), series=series)
    data.InstanceNumber = number if instance is None else instance
    data.ImagePositionPatient = [float(x) for x in position]
    data.ImageOrientationPatient = [float(x) for x in axes.split("\\")]
    data.PixelSpacing = [1, 1]
    return save(data, folder / f"s{series}_{(number * 7) % 11:02}.dcm")  # no order in names


def slice_pixels(number: int) -> np.ndarray:
    """What :func:`write_series` puts into a slice: noise that no two slices share."""
    return np.random.default_rng(number).integers(1, 2000, SHAPE).astype(np.int16)


def slice_data(number: int, pixels: np.ndarray | None = None, *, series: int = 1) -> Dataset:
    """An axial CT slice of 0.5 x 0.75 mm pixels at 2 mm times its number, yet unsaved."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = CT, f"{ROOT}.9.{series}.{number}"
    data.StudyInstanceUID, data.SeriesInstanceUID = f"{ROOT}.1", f"{ROOT}.2.{series}"
    data.FrameOfReferenceUID = f"{ROOT}.3"
    data.Modality, data.PatientID, data.SeriesDescription = "CT", "7", f"Series {series}"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.InstanceNumber = number + 1
    data.ImagePositionPatient = [-10.0, 20.0, 2.0 * number]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelSpacing = [0.75, 0.5]
    data.SliceThickness = 2
    data.RescaleSlope, data.RescaleIntercept = 1, 0
    put_pixels(data, slice_pixels(number) if pixels is None else pixels)
    return data


def put_pixels(data: Dataset, pixels: np.ndarray) -> None:
    """Pixels (J, I) or (frames, J, I) of whole numbers, and what describes them."""
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape[-2:]
    bits = 8 * pixels.dtype.itemsize
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if bits == 8 else "OW"


def save(data: Dataset, path: Path, *, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a data set as a file, in a transfer syntax that its pixels have already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if int(pydicom.__version__[0]) >= 3:
        data.save_as(path, enforce_file_format=True)
    else:
        data.is_little_endian = syntax != ExplicitVRBigEndian
        data.is_implicit_VR = syntax == ImplicitVRLittleEndian
        data.save_as(path, write_like_original=False)
    return path


def write_series(
    folder: Path,
    count: int = 5,
    *,
    edit: Callable[[Dataset, int], None] | None = None,
    series: int = 1,
    syntax: str = ExplicitVRLittleEndian,
) -> list[Path]:
    """Slices of noise, 2 mm apart.

    :param edit: changes a slice, given with its number, before it is written.
    :return: the files in the order of the slices; their names have no order.
    """
    files = []
    for number in range(count):
        data = slice_data(number, series=series)
        if edit is not None:
            edit(data, number)
        files.append(save(data, folder / f"IM{series}{(number * 37) % 101:03}.dcm", syntax=syntax))
    return files


def put_jpeg(data: Dataset, pixels: np.ndarray, folder: Path) -> None:
    """Pixels (J, I) in lossless JPEG; to be saved as :data:`JPEGLosslessSV1`.

    :param folder: for a file in between.
    """
    put_pixels(data, pixels)
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(folder / "jpeg.dcm"))
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.Execute(SimpleITK.GetImageFromArray(pixels[None]))
    data.PixelData = pydicom.dcmread(folder / "jpeg.dcm").PixelData
    data["PixelData"].is_undefined_length = True
    (folder / "jpeg.dcm").unlink()


def item(**values: object) -> Items:
    """A sequence of one item."""
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return Items([data])


def enhanced_data(
    depths: Sequence[float],
    *,
    scales: Sequence[tuple[float, float]] = ((1, 0),),
    sop_class: str = ENHANCED_MR,
    frame: Callable[[Dataset, int], None] | None = None,
) -> Dataset:
    """A file of many frames; frame n lies at ``depths[n]`` mm and is filled with n + 1.

    :param scales: slope and intercept, of each frame or of all.
    :param frame: changes the groups of a frame, given with its number.
    """
    data = slice_data(0)
    data.SOPClassUID, data.Modality = sop_class, "MR" if sop_class == ENHANCED_MR else "CT"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
                    "SliceThickness", "RescaleSlope", "RescaleIntercept"):  # fmt: skip
        delattr(data, keyword)
    pixels = np.stack([np.full(SHAPE, n + 1, np.uint16) for n in range(len(depths))])
    put_pixels(data, pixels)
    data.NumberOfFrames = len(depths)
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.75, 0.5], SliceThickness=5)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    data.SharedFunctionalGroupsSequence = Items([shared])
    groups = []
    for n, depth in enumerate(depths):
        group = Dataset()
        group.PlanePositionSequence = item(ImagePositionPatient=[-10.0, 20.0, float(depth)])
        slope, intercept = scales[n % len(scales)]
        group.PixelValueTransformationSequence = item(
            RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US"
        )
        if frame is not None:
            frame(group, n)
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = Items(groups)
    return data
