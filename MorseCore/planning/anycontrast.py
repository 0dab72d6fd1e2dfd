"""A training with images generated from the label maps, for contrasts that no scan here has."""

from MorseCore.planning.measures import Fingerprint
from MorseCore.planning.names import Matching, pair_sides
from MorseCore.planning.rules import Draft
from MorseCore.training.generated.ranges import Ranges

__all__ = ["generate_images"]

_SHARE = 0.5  # of the batches, where there are scans
_OFF_CENTRE = 0.25  # of the window's extent that generated structures lie off its middle, at most


def generate_images(
    draft: Draft, matching: Matching, fingerprint: Fingerprint, *, has_images: bool
) -> None:
    """Decide how images are generated; what the draft decided for scans alone gives way.

    :param draft: in three dimensions.
    :param has_images: whether the scans are learned from, too.
    """
    if has_images:
        draft.put("data.generated_share", _SHARE, (
            "Half of the batches are generated from the label maps in contrasts of their own, the "
            "others are your scans."
        ))  # fmt: skip
    else:
        draft.put("data", {"source": "generated"})
        draft.why = {k: w for k, w in draft.why.items() if k.split(".")[0] != "data"}
        draft.put("data.source", "generated",
                  "There are label maps alone: every image is generated from one.")  # fmt: skip
        _drop_changes_of_scans(draft)
    draft.put("preparation", {
        key: draft.training["preparation"][key] for key in ("spacing", "window")
    })  # fmt: skip
    draft.why = {k: w for k, w in draft.why.items() if k != "preparation.intensity_range"}
    draft.put("preparation.normalisation", "percentile",
              "Brightness means nothing: each image's dark and bright end become 0 and 1."
              )  # fmt: skip
    draft.put("preparation.percentiles", [1, 99])
    draft.put("card.modality", "any")
    draft.put("card.title", f"{draft.training['card']['data']} (any contrast)"[:100])
    _put_ranges(draft, matching, fingerprint)


def _put_ranges(draft: Draft, matching: Matching, fingerprint: Fingerprint) -> None:
    window = draft.training["preparation"]
    extents = [window["window"][axis] * window["spacing"][axis] for axis in reversed(draft.axes)]
    usual = Ranges().translation
    moved = [round(min(mm, _OFF_CENTRE * n), 1) for mm, n in zip(usual, extents, strict=True)]
    draft.put("generation.ranges.translation", moved, (
        "The middle of generated structures lies off the window's by up to so many mm along S, A "
        "and R, as it does in a window that is laid by a guess."
    ))  # fmt: skip
    _, alone = pair_sides([s.name for s in matching.structures])
    if alone:
        draft.put("generation.ranges.mirror", 0, (
            f"'{alone[0]}' carries a side, and no structure is its partner: generated images are "
            "not mirrored either."
        ))  # fmt: skip


def _drop_changes_of_scans(draft: Draft) -> None:
    """What happens to scans alone; which structures are each other's mirror image stays."""
    kept = {
        key: value for key, value in draft.training["augmentation"].items()
        if key.startswith("mirror_")
    }  # fmt: skip
    draft.training["augmentation"] = kept
    gone = [k for k in draft.why if k.startswith("augmentation.") and "mirror" not in k]
    draft.why = {key: why for key, why in draft.why.items() if key not in gone}
