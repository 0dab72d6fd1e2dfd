"""The data sets of the three papers, as their owners hand them out."""

import re
from bisect import bisect
from collections.abc import Callable
from pathlib import Path

import SimpleITK

from Training.conversion.layout import Pair, PublicDataset, same_file

__all__ = ["SOURCES"]

# MORSE, I²Net and TransUNet train on 18 of BTCV's 30 training scans and test on these 12.
_SYNAPSE_TEST = {1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38}
_BTCV_ORGANS = (
    "background", "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver",
    "stomach", "aorta", "inferior vena cava", "portal and splenic veins", "pancreas",
    "right adrenal gland", "left adrenal gland",
)  # fmt: skip
# TransUNet's order of its 8 organs, by BTCV's label.
_SYNAPSE = {8: 1, 4: 2, 3: 3, 2: 4, 6: 5, 11: 6, 1: 7, 7: 8}
_AMOS_ORGANS = (
    "background", "spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver",
    "stomach", "aorta", "inferior vena cava", "pancreas", "right adrenal gland",
    "left adrenal gland", "duodenum", "bladder", "prostate or uterus",
)  # fmt: skip

# CVC-ClinicDB's 29 videos, by their first frame (its own table): frames of one show one polyp.
_CVC_VIDEOS = (
    1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298, 318, 343, 364, 384, 409,
    429, 448, 467, 479, 504, 529, 547, 572, 592,
)  # fmt: skip


def to_grey(image: SimpleITK.Image) -> SimpleITK.Image:
    """Luminance (ITU-R BT.601) of a colour image, as uint8; a grey image as it is.

    Our networks take one channel; the papers' take three.
    """
    if image.GetNumberOfComponentsPerPixel() == 1:
        return SimpleITK.Cast(image, SimpleITK.sitkUInt8)
    parts = [SimpleITK.VectorIndexSelectionCast(image, n, SimpleITK.sitkFloat32) for n in range(3)]
    grey = 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]
    return SimpleITK.Cast(SimpleITK.Round(grey), SimpleITK.sitkUInt8)


def foreground(*, above: int) -> Callable[[SimpleITK.Image], SimpleITK.Image]:
    """1 where a mask is brighter than ``above`` (JPEG masks are not 0 and 255 only)."""
    return lambda image: to_grey(image) > above


def _btcv(folder: Path) -> list[Pair]:
    pairs = []
    for image in sorted(folder.glob("img/img*.nii.gz")):
        if not re.fullmatch(r"img\d{4}\.nii\.gz", image.name):
            continue
        number = int(image.name[3:7])
        part = "test" if number in _SYNAPSE_TEST else "train"
        label = folder / "label" / f"label{number:04}.nii.gz"
        pairs.append(Pair(f"btcv_{number:04}", image, label, str(number), part))
    return pairs


def _btcv_drawn(folder: Path) -> list[Pair]:
    """SwIPE draws 60/20/20 itself."""
    return [Pair(p.name, p.image, p.label, p.subject) for p in _btcv(folder)]


def _amos(folder: Path) -> list[Pair]:
    """CT only: numbers up to 500 are CT, the others MR."""
    pairs = []
    for split, part in (("Tr", "train"), ("Va", "test")):
        for image in sorted(folder.glob(f"images{split}/amos_*.nii.gz")):
            if not re.fullmatch(r"amos_\d+\.nii\.gz", image.name):
                continue
            number = int(image.name.removesuffix(".nii.gz").split("_")[-1])
            label = folder / f"labels{split}" / image.name
            if number <= 500 and label.is_file():
                pairs.append(
                    Pair(image.name.removesuffix(".nii.gz"), image, label, image.name, part)
                )
    return pairs


def _sessile(folder: Path) -> list[Pair]:
    return [
        Pair(image.stem, image, folder / "masks" / image.name, image.stem)
        for image in sorted((folder / "images").glob("*.jpg"))
    ]


def _cvc(folder: Path) -> list[Pair]:
    """Frames, of which those of one video are a subject."""
    pairs = []
    for suffix in ("png", "tif"):
        images = [p for p in (folder / "Original").glob(f"*.{suffix}") if p.stem.isdecimal()]
        for image in sorted(images, key=lambda path: int(path.stem)):
            number, label = int(image.stem), folder / "Ground Truth" / image.name
            video = f"video_{bisect(_CVC_VIDEOS, number):02}"
            pairs.append(Pair(f"cvc_{number:03}", image, label, video))
        if pairs:
            break  # the same frames once more
    return pairs


def _glas(folder: Path) -> list[Pair]:
    pairs = []
    for image in sorted(folder.glob("*.bmp")):
        found = re.fullmatch(r"(train|testA|testB)_\d+", image.stem)
        if found:
            part = "train" if found.group(1) == "train" else "test"
            label = image.with_name(f"{image.stem}_anno.bmp")
            pairs.append(Pair(image.stem, image, label, image.stem, part))
    return pairs


def _acdc(folder: Path) -> list[Pair]:
    pairs = []
    for label in sorted(folder.glob("**/patient*_frame*_gt.nii.gz")):
        image = label.with_name(label.name.replace("_gt.nii.gz", ".nii.gz"))
        name = image.name.removesuffix(".nii.gz")
        part = "test" if "testing" in label.parent.parent.name else ""
        pairs.append(Pair(name, image, label, name.split("_")[0], part))
    return pairs


def _to_synapse(label: SimpleITK.Image) -> SimpleITK.Image:
    changes = {float(n): float(_SYNAPSE.get(n, 0)) for n in range(len(_BTCV_ORGANS))}
    return SimpleITK.ChangeLabel(SimpleITK.Cast(label, SimpleITK.sitkUInt8), changes)


_BTCV = "BTCV, doi:10.7303/syn3193805; registration and terms at synapse.org"
_BTCV_FOLDER = "img/img0001.nii.gz … and label/label0001.nii.gz … (BTCV 'RawData/Training')"

SOURCES = {
    "synapse": PublicDataset(
        "Synapse multi-organ (8 organs of BTCV)", _BTCV, _BTCV, "CT",
        ("background", "aorta", "gallbladder", "left kidney", "right kidney", "liver", "pancreas",
         "spleen", "stomach"),
        ".nii.gz", _btcv, same_file, _to_synapse, expected=_BTCV_FOLDER,
    ),
    "btcv": PublicDataset(
        "BTCV (13 organs)", _BTCV, _BTCV, "CT", _BTCV_ORGANS, ".nii.gz", _btcv_drawn, same_file,
        same_file, expected=_BTCV_FOLDER,
    ),
    "amos": PublicDataset(
        "AMOS 2022, CT (15 organs)", "CC BY-NC-SA 4.0", "Ji et al., NeurIPS 2022", "CT",
        _AMOS_ORGANS, ".nii.gz", _amos, same_file, same_file,
        expected="imagesTr, labelsTr, imagesVa, labelsVa with amos_0001.nii.gz …",
    ),
    "kvasir-sessile": PublicDataset(
        "Kvasir-Sessile", "research and education only", "Jha et al., MMM 2020", "endoscopy",
        ("background", "polyp"), ".png", _sessile, to_grey, foreground(above=127),
        expected="images/*.jpg and masks/*.jpg of the same names",
    ),
    "cvc-clinicdb": PublicDataset(
        "CVC-ClinicDB", "research only",
        "Bernal et al., Computerized Medical Imaging and Graphics 43 (2015) 99", "endoscopy",
        ("background", "polyp"), ".png", _cvc, to_grey, foreground(above=127),
        expected="Original/1.png … (or .tif) and 'Ground Truth/1.png' …",
    ),
    "glas": PublicDataset(
        "GlaS", "research only", "Sirinukunwattana et al., Medical Image Analysis 35 (2017) 489",
        "histology", ("background", "gland"), ".png", _glas, to_grey, foreground(above=0),
        expected="train_1.bmp, train_1_anno.bmp, testA_1.bmp … in one folder",
    ),
    "acdc": PublicDataset(
        "ACDC", "research only", "Bernard et al., IEEE TMI 37 (2018) 2514", "cine MR",
        ("background", "right ventricle", "myocardium", "left ventricle"), ".nii.gz", _acdc,
        same_file, same_file, proportions=(0.7, 0.1, 0.2),
        expected="…/patient001/patient001_frame01.nii.gz and …_frame01_gt.nii.gz",
    ),
}  # fmt: skip
