"""From a fingerprint to a draft of a training: each decision has its reason in one sentence.

The spacing follows nnU-Net's rule; the sizes are of what a CPU, or a GPU, learns in hours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from MorseCore.errors import DatasetError
from MorseCore.planning.doubts import duplicates_of
from MorseCore.planning.layouts import FoundCase, FoundData
from MorseCore.planning.measures import Fingerprint
from MorseCore.planning.names import Matching, pair_sides

__all__ = ["Candidate", "Draft", "draft_training", "split_subjects", "thin_structures"]

_ANISOTROPIC = 3.0  # nnU-Net's threshold
_THIN = 3.0  # voxels
_HOLD_OUT_FROM = 30  # subjects; fewer are cross-validated
_FOLDS = 5
_SHARE, _MOST_HELD_OUT = 0.2, 40
_SMALL = 1e-3  # share of the median image
_UNEQUAL = 50.0  # largest structure over the smallest
_SIDES = {3: {False: 64, True: 112}, 2: {False: 256, True: 384}}  # of a cubic window; on a GPU
_BATCH = {3: 2, 2: 4}
_SMALLEST_MAP = 4  # voxels of a window's side in the deepest level
_WIDTHS = {"narrow": 8, "middle": 16, "wide": 32}
_COARSER = 1.5


@dataclass(frozen=True)
class Candidate:
    """A size of network that the trial measures."""

    name: str
    changes: Mapping[str, Any]
    """Key of the training -> value."""


@dataclass
class Draft:
    """A training with its reasons; what time decides is still open."""

    axes: tuple[str, ...]
    """Names of the network's axes, the order of its lists x, y[, z]."""
    training: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    """Key of the training -> sentence."""

    def put(self, key: str, value: Any, why: str = "") -> None:
        """Decide."""
        *parents, last = key.split(".")
        target = self.training
        for parent in parents:
            target = target.setdefault(parent, {})
        target[last] = value
        if why:
            self.why[key] = why

    def named(self, values: Sequence[float]) -> dict[str, Any]:
        """Axis -> value."""
        return {a: _number(v) for a, v in zip(self.axes, values, strict=True)}


def draft_training(
    found: FoundData, matching: Matching, fingerprint: Fingerprint, *, name: str, on_gpu: bool,
    in_volumes: bool = False,
) -> tuple[Draft, list[Candidate]]:  # fmt: skip
    """All that the data decide, and the sizes between which time decides, the cheapest first.

    :param in_volumes: three dimensions, however far apart slices lie.
    """
    dims, axes, why_dims = _dimensions(fingerprint, in_volumes=in_volumes)
    draft = Draft(tuple(_axis_names(fingerprint)[n] for n in axes))
    draft.put("name", name)
    draft.put("network.spatial_dims", dims, why_dims)
    spacing, why_spacing = _target_spacing(fingerprint)
    size = np.median(fingerprint.sizes() * fingerprint.spacings(), axis=0) / spacing
    if fingerprint.is_pictures:
        draft.put("preparation.spacing", None, "Pictures have no millimetres: their own pixels.")
    else:
        inside = "The median of the scans; slices stay where they are."
        why_spacing = inside if dims == 2 else why_spacing
        draft.put("preparation.spacing", draft.named([spacing[n] for n in axes]), why_spacing)
    _put_intensity(draft, fingerprint)
    _put_window(draft, [spacing[n] for n in axes], [size[n] for n in axes], on_gpu=on_gpu)
    _put_sampling(draft, fingerprint, matching)
    _put_augmentation(draft, fingerprint, matching)
    _put_points(draft)
    _put_card(draft, found, matching, fingerprint)
    return draft, _candidates(draft, fingerprint, [size[n] for n in axes], on_gpu=on_gpu)


def _axis_names(fingerprint: Fingerprint) -> str:
    return "xyn" if fingerprint.is_pictures else "RAS"


def _dimensions(fingerprint: Fingerprint, *, in_volumes: bool) -> tuple[int, list[int], str]:
    """2 or 3, which of R, A, S are the network's axes, and why."""
    if in_volumes:
        if fingerprint.is_pictures or fingerprint.sizes().min() == 1:
            raise DatasetError(
                "Images are generated as volumes, and there are pictures, or volumes of one slice: "
                "leave '--any-contrast' out."
            )
        spacing = np.median(fingerprint.spacings(), axis=0)
        ratio = spacing.max() / spacing.min()
        apart = f", though slices lie {ratio:.1f} times as far apart as pixels"
        return 3, [0, 1, 2], (
            f"Images are generated as volumes{apart if ratio >= _ANISOTROPIC else ''}."
        )  # fmt: skip
    if fingerprint.is_pictures:
        return 2, [0, 1], "Pictures have two axes."
    across = {case.slice_axis for case in fingerprint.cases}
    inside = [n for n in range(3) if n not in across]
    if len(across) == 1:
        (axis,) = across
        spacing, count = np.median(fingerprint.spacings(), axis=0), fingerprint.sizes()[:, axis]
        ratio = spacing[axis] / max(spacing[n] for n in inside)
        if np.median(count) == 1:
            return 2, inside, "The volumes have one slice."
        if ratio >= _ANISOTROPIC:
            return 2, inside, (
                f"Slices lie {ratio:.1f} times as far apart as pixels: a network that halves every "
                "axis alike would lose them, so it learns slice by slice."
            )  # fmt: skip
    return 3, [0, 1, 2], "Voxels are near enough to cubes for a network in three dimensions."


def _target_spacing(fingerprint: Fingerprint) -> tuple[np.ndarray, str]:
    """Along R, A, S: the median; of an axis that is far coarser, its 10th percentile."""
    spacings = fingerprint.spacings()
    spacing, size = np.median(spacings, axis=0), np.median(fingerprint.sizes(), axis=0)
    axis = int(np.argmax(spacing))
    others = [n for n in range(3) if n != axis]
    coarsest = max(spacing[n] for n in others)
    if spacing[axis] > _ANISOTROPIC * coarsest and size[axis] * 3 < min(size[n] for n in others):
        spacing[axis] = max(float(np.percentile(spacings[:, axis], 10)), coarsest)
        return spacing, (
            f"The median of the scans; along {'RAS'[axis]}, where slices are far apart, the 10th "
            "percentile, so that thin slices are not thrown away."
        )
    return spacing, "The median of the scans: half of them are finer, half coarser."


def _put_intensity(draft: Draft, fingerprint: Fingerprint) -> None:
    if not fingerprint.channels:
        for key, (value, why) in _intensity(fingerprint.modality, fingerprint.foreground()).items():
            draft.put(f"preparation.{key}", value, why)
        return
    names = ", ".join(fingerprint.channels)
    draft.put("network.in_channels", len(fingerprint.channels),
              f"The images of a case are seen together: {names}.")  # fmt: skip
    each = {}
    for n, (name, modality) in enumerate(fingerprint.channels.items()):
        found = _intensity(modality, fingerprint.foreground(n))
        each[name] = {key: value for key, (value, _) in found.items()}
        draft.why[f"preparation.channels.{name}"] = " ".join(why for _, why in found.values())
    draft.put("preparation.channels", each)


def _intensity(modality: str, foreground: Sequence[float]) -> dict[str, tuple[Any, str]]:
    """Key of an image's intensities -> value and reason."""
    if modality == "CT" and foreground:
        low, _, high = foreground
        return {
            "normalisation": (
                "range", "CT values mean the same in every scan, so all are scaled alike."
            ),
            "intensity_range": (
                [_number(low), _number(max(high, low + 1))],
                "The 0.5th and 99.5th percentile of what is marked.",
            ),
        }  # fmt: skip
    why = "Brightness differs from scan to scan: each is brought to mean 0 and deviation 1."
    return {"normalisation": ("zscore", why)}


def _put_window(
    draft: Draft, spacing: Sequence[float], size: Sequence[float], *, on_gpu: bool
) -> None:
    """A window as wide in mm along every axis, at most the median image and a number of voxels."""
    dims = len(spacing)
    most = _SIDES[dims][on_gpu] ** dims
    levels = 5 if dims == 2 else 4
    while levels > 2 and min(size) / 2 ** (levels - 1) < _SMALLEST_MAP:
        levels -= 1
    step = 2 ** (levels - 1)
    best = [step] * dims
    for extent in np.geomspace(step * min(spacing), 1e4 * max(spacing), 600):
        sides = [
            min(-(-n // step) * step, max(step, round(extent / mm / step) * step))
            for n, mm in zip(np.ceil(size), spacing, strict=True)
        ]
        if np.prod(sides) > most:
            break
        best = [int(n) for n in sides]
    draft.put("preparation.window", draft.named(best), (
        f"As wide along each axis, no more than the median image "
        f"({' x '.join(f'{n:.0f}' for n in size)}) and {most:,} voxels, which "
        f"{'a GPU' if on_gpu else 'a CPU'} learns from in good time."
    ))  # fmt: skip
    draft.put("network.backbone.name", "unet" if dims == 2 else "unet3d",
              "MORSE's own network for slices." if dims == 2 else "MORSE's own for volumes."
              )  # fmt: skip
    draft.put("network.backbone.channels", [_WIDTHS["middle"] * 2**n for n in range(levels)], (
        f"{levels} levels: the deepest map of a window still has {min(best) // step} voxels a side."
    ))  # fmt: skip
    draft.put("network.backbone_stride", 1, (
        "The network sees every voxel; 2 would show it half of them, and only points the image "
        "itself: quicker, but not measured to be better in the same time."
    ))  # fmt: skip
    draft.put("optimisation.batch_size", _BATCH[dims],
              "Enough for a Dice over a batch; steps are worth more than larger batches."
              )  # fmt: skip


def _put_sampling(draft: Draft, fingerprint: Fingerprint, matching: Matching) -> None:
    whole = float(np.median(np.prod(fingerprint.sizes(), axis=1)))
    means = {s.name: float(np.mean([m.voxels for m in fingerprint.of(s.name)]))
             for s in matching.structures if fingerprint.of(s.name)}  # fmt: skip
    smallest = min(means, key=lambda n: means[n])
    is_small = means[smallest] < _SMALL * whole
    why = f"The smallest structure, '{smallest}', fills {means[smallest] / whole:.2%} of an image"
    draft.put("data.foreground", 0.67 if is_small else 0.33, (
        f"{why}: two crops of three are laid on something that is marked." if is_small
        else f"{why}: one crop of three is laid on something that is marked."
    ))  # fmt: skip
    ratio = max(means.values()) / means[smallest]
    if ratio > _UNEQUAL:
        draft.put("optimisation.class_weighting", "inverse_sqrt", (
            f"The largest structure is {ratio:.0f} times '{smallest}': rare classes count more, so "
            "that it is found early."
        ))  # fmt: skip
        draft.put("optimisation.class_weighting_until", 0.7,
                  "Weighted to the end, small structures come out too large.")  # fmt: skip


def _put_augmentation(draft: Draft, fingerprint: Fingerprint, matching: Matching) -> None:
    _put_mirroring(draft, fingerprint, matching)
    draft.put("augmentation.rotation_probability", 0.3)
    draft.put("augmentation.rotation_degrees", [20.0],
              "Patients lie a little turned, seldom more.")  # fmt: skip
    draft.put("augmentation.scale_probability", 0.3)
    draft.put("augmentation.scale", [0.8, 1.25], "People differ in size by about so much.")
    if fingerprint.modality == "MR":
        draft.put("augmentation.bias_probability", 0.2,
                  "MR is brighter near its coils, differently in each scan.")  # fmt: skip


def _put_mirroring(draft: Draft, fingerprint: Fingerprint, matching: Matching) -> None:
    """Along R, where left and right change places with their labels; pictures along all axes."""
    pairs, alone = pair_sides([s.name for s in matching.structures])
    axes = [axis for axis in draft.axes if axis == "R"]
    if alone:
        axes, why = [], (
            f"'{alone[0]}' carries a side, and no structure is its partner: a mirrored image would "
            "teach that left is right."
        )  # fmt: skip
    elif pairs and fingerprint.is_pictures:
        axes, why = [], (
            f"'{pairs[0][0]}' carries a side, and pictures do not say which of their axes runs "
            "from left to right."
        )  # fmt: skip
    elif fingerprint.is_pictures:
        axes, why = list(draft.axes), "No name carries a side, and pictures may be turned over."
    elif not axes:
        why = "No axis of these slices runs from left to right."
    elif pairs:
        others = len(pairs) - 1
        more = f" (and {others} more pair{'s' if others > 1 else ''})" if others else ""
        why = (
            f"In a mirrored image '{pairs[0][0]}' and '{pairs[0][1]}'{more} change places, and so "
            "do their labels: it is one more patient."
        )
        draft.put("augmentation.mirror_pairs", [list(pair) for pair in pairs])
    else:
        why = "No name carries a side: a body is nearly its own mirror image."
    draft.put("augmentation.mirror_axes", axes, why)


def _put_points(draft: Draft) -> None:
    dims = len(draft.axes)
    draft.put("network.head", {"name": "morse", "preset": "default"})
    draft.put("sampler", {"name": "uncertain", "points": 2048, "oversample": 3},
              "Points of a training step, drawn where the network is unsure.")  # fmt: skip
    points = 4096 if dims == 2 else 8192
    draft.put("renderer", {"name": "refine", "points": points, "passes": 2, "coarse_stride": 2},
              "The coarse mask is made at every second voxel; points refine its outline."
              )  # fmt: skip
    draft.put("optimisation.supervision_stride", 2,
              "Neighbouring voxels say nearly the same; every second makes steps quicker."
              )  # fmt: skip


def _put_card(draft: Draft, found: FoundData, matching: Matching, fingerprint: Fingerprint) -> None:
    """What a person has not said stays blank, and says so."""
    names = ", ".join(s.name for s in matching.structures)
    modality = fingerprint.modality
    title = f"{found.name} ({modality})" if modality != "any" else found.name
    draft.put("card", {
        "title": title[:100], "task": f"Segments {names}."[:400], "modality": modality,
        "licence": "not stated", "data": found.name,
        "limits": "Nobody stated its limits. Not a medical device.",
    })  # fmt: skip


def _candidates(
    draft: Draft, fingerprint: Fingerprint, size: Sequence[float], *, on_gpu: bool
) -> list[Candidate]:
    levels = len(draft.training["network"]["backbone"]["channels"])
    sizes = [
        Candidate(name, {"network.backbone.channels": [width * 2**n for n in range(levels)]})
        for name, width in _WIDTHS.items()
    ]
    spacing = draft.training["preparation"]["spacing"]
    if fingerprint.is_pictures or len(draft.axes) == 2:
        return sizes
    coarse = Draft(draft.axes, {"preparation": {}})
    finest = min(spacing.values())  # slices that lie far apart stay where they are
    factors = [_COARSER if mm < _ANISOTROPIC * finest else 1 for mm in spacing.values()]
    wider = [mm * factor for mm, factor in zip(spacing.values(), factors, strict=True)]
    fewer = [n / factor for n, factor in zip(size, factors, strict=True)]
    _put_window(coarse, wider, fewer, on_gpu=on_gpu)
    levels = len(coarse.training["network"]["backbone"]["channels"])
    changes = {
        "preparation.spacing": draft.named(wider),
        "preparation.window": coarse.training["preparation"]["window"],
        "network.backbone.channels": [_WIDTHS["narrow"] * 2**n for n in range(levels)],
    }
    return [Candidate(f"narrow at {_COARSER:g} times the spacing", changes), *sizes]


def thin_structures(fingerprint: Fingerprint, spacing: Mapping[str, float] | None) -> list[str]:
    """Sentences about structures that have few voxels across at the planned spacing.

    :param spacing: axis -> mm; None: the images' own.
    """
    medians = np.median(fingerprint.spacings(), axis=0)
    names = _axis_names(fingerprint)
    mm = [(spacing or {}).get(a, medians[n]) for n, a in enumerate(names)]
    across = range(2) if fingerprint.is_pictures else range(3)
    sentences = []
    for structure in dict.fromkeys(name for c in fingerprint.cases for name in c.structures):
        found = np.median([m.thickness for m in fingerprint.of(structure)], axis=0)
        voxels = {names[n]: found[n] / mm[n] for n in across}
        axis = min(voxels, key=lambda a: voxels[a])
        if voxels[axis] < _THIN:
            sentences.append(
                f"'{structure}' is {voxels[axis]:.1f} voxels thick along {axis} at the planned "
                f"spacing, on average: below {_THIN:g}, its outline is a guess there."
            )
    return sentences


def split_subjects(
    cases: Sequence[FoundCase], matching: Matching, fingerprint: Fingerprint, *, seed: int
) -> tuple[dict[str, int | None], str]:
    """Case -> the fold that validates it (None: it always trains), and why.

    Subjects stay together, and so do images that are the same. A case in which a structure is not
    annotated cannot be scored: it trains.
    """
    subjects = {case.name: case.subject for case in cases}
    for first, *others in duplicates_of(fingerprint.cases):
        merged = {subjects[name] for name in others}
        subjects = {n: subjects[first] if s in merged else s for n, s in subjects.items()}
    partial = {subjects[c.name] for c in cases if matching.unannotated_in(c.name)}
    whole = sorted(set(subjects.values()) - partial)
    order = [whole[n] for n in np.random.default_rng(seed).permutation(len(whole))]
    total = len(set(subjects.values()))
    if total < 3 or not whole:
        why = "Nothing is set aside: there are too few subjects whose structures are all annotated."
        return dict.fromkeys(subjects), why
    if len(whole) > _HOLD_OUT_FROM:
        held = min(_MOST_HELD_OUT, round(_SHARE * len(whole)))
        folds = dict.fromkeys(order[:held], 0)
        why = f"{held} of {total} subjects are held out, each with all its cases."
    else:
        count = min(_FOLDS, len(whole))
        folds = {subject: n % count for n, subject in enumerate(order)}
        why = (
            f"{total} subjects are too few for one part to speak for all: {count} folds, of which "
            "data.fold=0 is trained first."
        )
    return {name: folds.get(subject) for name, subject in subjects.items()}, why


def _number(value: float) -> float | int:
    rounded = round(float(value), 4)
    return int(rounded) if rounded == int(rounded) and isinstance(value, int) else rounded
