"""What a case is called: its image's file name without what says the format."""

__all__ = ["IMAGE_SUFFIXES", "name_without_suffix"]

IMAGE_SUFFIXES = (
    ".nii.gz",
    ".nii",
    ".hdr",
    ".hdr.gz",
    ".nrrd",
    ".nhdr",
    ".mha",
    ".mhd",
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
)
_VOXELS = (".img", ".img.gz")  # beside a header, which is what a folder is searched for


def name_without_suffix(file: str) -> str:
    """``sub.01.T1.nii.gz`` is ``sub.01.T1``: other dots than the format's belong to the name."""
    for suffix in (*IMAGE_SUFFIXES, *_VOXELS):
        if file.lower().endswith(suffix) and len(file) > len(suffix):
            return file[: -len(suffix)]
    return file
