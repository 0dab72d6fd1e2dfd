"""Whether an image is such as a model was trained on, as far as one can tell before looking."""

from MorseCore.images.imageio import Volume
from MorseCore.model_folder import ModelInfo

__all__ = ["modality_warning", "view_warning"]

_LARGE = 1.6  # times the field of view of the training images that calls for a region of interest
_SMALL = 0.3  # times it: a side that short is no region that somebody meant
_MODALITIES = dict.fromkeys(("CR", "DX", "MG", "XA", "RF"), "XR") | {"OT": ""}  # DICOM's -> ours


def modality_warning(part: Volume, info: ModelInfo) -> str:
    """A sentence if the file says that it is of another modality than the model's, else nothing."""
    modality = _MODALITIES.get(part.modality, part.modality)
    if not modality or info.modality in ("any", modality):
        return ""
    return (
        f"The image is {modality}, the model '{info.name}' was trained on {info.modality}: what it "
        "finds may mean nothing."
    )


def view_warning(part: Volume, info: ModelInfo) -> str:
    """A sentence if the image is much larger or smaller than the training images, else nothing."""
    if info.field_of_view is None:
        return ""
    view = info.field_of_view
    extent = [n * mm for n, mm in zip(part.array.shape[::-1], part.geometry.spacing, strict=True)]
    # Sorted, as the axes of a scan are not the patient's; a 2D model sees i and j only.
    seen = sorted(extent[: info.preparation.spatial_dims])
    pairs = list(zip(seen, sorted(view), strict=True))
    is_picture = part.ndim < info.preparation.spatial_dims  # which is said anyway
    if not is_picture and any(a < _SMALL * b for a, b in pairs):
        return (
            f"What is segmented measures {' x '.join(f'{x:.0f}' for x in extent)} mm, the training "
            f"images of '{info.name}' up to {' x '.join(f'{x:.0f}' for x in view)} mm: in so small "
            "a part it has little to go by; choose a larger region."
        )
    if all(a <= _LARGE * b for a, b in pairs):
        return ""
    return (
        f"The image measures {' x '.join(f'{x:.0f}' for x in extent)} mm, the model "
        f"'{info.name}' was trained on at most {' x '.join(f'{x:.0f}' for x in view)} mm; "
        "outside of such a box it may find structures where there are none: choose a region of "
        "interest."
    )
