"""Measure how good and spoilt results differ: what the limits of a verdict are made of."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from MorseCore.config import decode, encode
from MorseCore.errors import ConfigError, MorseError
from MorseCore.geometry import Geometry
from MorseCore.images.imageio import Volume
from MorseCore.images.preparation import prepare_scan
from MorseCore.inference.options import PredictOptions
from MorseCore.inference.predictor import VolumePredictor
from MorseCore.inference.sliding_window import predict_volume
from MorseCore.quality.fitting import add_volumes
from MorseCore.quality.spoiling import KINDS, STRENGTHS, Spoilt, spoil, vary
from MorseCore.quality.thresholds import VerdictInfo
from MorseCore.store.model_folder import CARD, FORMAT, INFO, ModelInfo, read_card, read_model
from MorseCore.system.files import replaced_together, write_json, write_text
from MorseCore.system.seeds import generator_for, seed_for
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import Case, read_case
from MorseCore.training.generated.images import ImageGenerator
from MorseCore.training.generated.label_maps import find_label_maps, read_label_map, table_for

__all__ = [
    "GeneratedCases",
    "ReadCases",
    "is_generated",
    "kinds_for",
    "measure_runs",
    "store_verdict",
]

_OVERRULED = ("nothing-found", "spacing", "label-map", "flat-image", "missing-values")
_PER_MAP = 3  # images of each label map that are good
_VARIED = 2  # copies of each good image that are as good
_DRAWN = 40  # deformed maps whose volumes count
_HEADING = "## When not to trust it\n"


def is_generated(info: ModelInfo) -> bool:
    """Whether a model learned from label maps alone."""
    data = (info.training.get("config") or {}).get("data") or {}
    return data.get("source") == "generated"


def kinds_for(info: ModelInfo) -> tuple[str, ...]:
    """What its images are spoilt by: a model of any contrast knows others."""
    return tuple(kind for kind in KINDS if kind != "contrast" or not is_generated(info))


def measure_runs(
    predictor: VolumePredictor, image: Volume, labels: np.ndarray, *, name: str, spoilt: bool
) -> list[dict[str, Any]]:
    """A row for the image as it is, for copies as good, and for spoilt ones: signals, and truth.

    :param labels: (K, J, I), of the image.
    :param name: of the case, on which the copies depend.
    :param spoilt: make the copies, too.
    """
    good = Spoilt(image, labels, np.bincount(labels.ravel()).astype(float))
    copies = [good] if not labels.any() else [
        good, *(vary(image, labels, seed=seed_for("vary", name, n)) for n in range(_VARIED))
    ]  # fmt: skip
    rows = [
        {"kind": "", "strength": n, **_run(predictor, copy, is_copy=n > 0)}
        for n, copy in enumerate(copies)
    ]
    for kind in kinds_for(predictor.info) if spoilt else ():
        for strength in STRENGTHS:
            copy = spoil(kind, strength, image, labels, seed=seed_for("spoil", name))
            rows.append({"kind": kind, "strength": strength, **_run(predictor, copy, is_copy=True)})
    return rows


def _run(predictor: VolumePredictor, copy: Spoilt, *, is_copy: bool) -> dict[str, Any]:
    """What is measured of one run; a refusal is one sentence."""
    # The limit of what ``full`` measures comes from good runs: copies need not pay for it.
    options = PredictOptions(verdict="fast" if is_copy else "full", accept=_OVERRULED)
    try:
        result = predictor.segment(copy.image, options)
        entropy = _entropy(predictor, copy.image)
    except MorseError as error:
        return {"refused": str(error)}
    verdict = result.report["verdict"]
    rules = [row for row in verdict["reasons"] if row["range"] == [None, None]]
    return {
        "signals": verdict["signals"],
        "rules": max((row["severity"] for row in rules), default=0.0),
        "quality": round(_quality(result.refined, copy), 4),
        **entropy,
    }


def _quality(mask: np.ndarray, copy: Spoilt) -> float:
    """Mean Dice over what is there; what is lost is missed, what is scaled overlaps less.

    Where nothing is there, an empty mask is right.
    """
    there = np.flatnonzero(copy.voxels[1:]) + 1
    if not len(there):
        return float(not mask.any())
    both = np.bincount(mask[mask == copy.labels].ravel(), minlength=len(copy.voxels))
    found = np.bincount(mask.ravel(), minlength=len(copy.voxels))
    dice = 2 * both[there] / (found[there] + copy.voxels[there])
    factor = copy.volume_factor
    return float(dice.mean()) * 2 * min(1.0, factor) / (1 + factor)


def _entropy(predictor: VolumePredictor, image: Volume) -> dict[str, float]:
    """The mean entropy that others rank by: over all voxels, and over the mask."""
    info = predictor.info
    passes = 0 if hasattr(info.renderer, "passes") else None
    settings = PredictOptions(passes=passes).window_settings(info)
    array = torch.from_numpy(np.ascontiguousarray(prepare_scan(image, info.preparation)[0]))
    coarse = predict_volume(predictor.network, array, settings).coarse
    each = -(coarse * coarse.clamp_min(1e-12).log()).sum(0)
    inside = coarse.argmax(0) > 0
    whole = float(each.mean())
    return {
        "entropy": round(whole, 6),
        "entropy_inside": round(float(each[inside].mean()) if inside.any() else 9.0, 6),
    }


class ReadCases:
    """Cases of a data set with labels.

    :raises ConfigError: for a model of several channels, whose copies would not fit together.
    """

    def __init__(self, info: ModelInfo) -> None:
        if info.channels:
            raise ConfigError(
                f"'{info.name}' sees {len(info.channels)} images of a case, and scans are spoilt "
                "one at a time: its verdict has the volumes of its training alone."
            )
        self._info = info

    def read(self, case: Case) -> tuple[Volume, np.ndarray]:
        """Image and labels (K, J, I). :raises DatasetError: if they cannot be read."""
        image, label = read_case(case, num_classes=self._info.num_classes)
        return image, label.array.astype(np.uint8)

    def volumes(self, cases: Sequence[Case]) -> dict[int, list[float]]:
        """ml of each structure, and of all (0), in the cases that have it."""
        found: dict[int, list[float]] = {}
        for case in cases:
            image, labels = self.read(case)
            add_volumes(found, labels, image.geometry.voxel_volume / 1000)
        return found


class GeneratedCases:
    """Images that are drawn from label maps, as in the model's training.

    :param folder: of the label maps. :param split: which of them were set aside.
    :raises ConfigError: if the model's training drew none.
    """

    def __init__(self, info: ModelInfo, folder: Path, split: Path | None) -> None:
        if not is_generated(info):
            raise ConfigError(f"'{info.name}' was trained on scans: give a dataset.json.")
        config = decode(RunConfig, info.training["config"], "")
        options = config.generation
        files = find_label_maps(folder, split)
        self._info, self._files = info, files.val
        self._table = table_for(
            files, structures=options.structures, surroundings=options.surroundings,
            tissues=options.tissues,
        )  # fmt: skip
        self._draw = ImageGenerator(self._table, config.preparation, options)

    def cases(self) -> list[Case]:
        """Some images of each map that was set aside; their names begin with the map's."""
        return [
            Case(f"{name}_{n}", path, path)
            for n in range(_PER_MAP)
            for name, path in self._files.items()
        ]

    def read(self, case: Case) -> tuple[Volume, np.ndarray]:
        """An image that depends on the case's name, and its labels (K, J, I)."""
        label_map = read_label_map(case.name, case.image, self._table)
        made = self._draw(label_map, generator_for("verdict", case.name))
        spacing = self._draw.spacing[::-1]
        k, j, i = made.image.shape
        geometry = Geometry((k, j, i), np.diag([*spacing, 1.0]))
        return Volume(made.image.numpy(), geometry, case.name), made.labels.numpy()

    def volumes(self, cases: Sequence[Case]) -> dict[int, list[float]]:
        """ml of each structure, and of all (0), in deformed maps: more than the few there are."""
        found: dict[int, list[float]] = {}
        for n in range(_DRAWN):
            case = cases[n % len(cases)]
            image, labels = self.read(replace(case, name=f"{case.name}_volume_{n}"))
            add_volumes(found, labels, image.geometry.voxel_volume / 1000)
        return found


def store_verdict(folder: Path, block: VerdictInfo, table: str) -> None:
    """Put the limits into ``model.json`` and the table into the card; the weights stay.

    :raises OutputError: if it cannot be written.
    """
    info, card = read_model(folder), read_card(folder)
    before, _, after = card.partition(_HEADING)
    _, mark, rest = after.partition("\n## ")
    section = f"{_HEADING}\n{block.origin}\n\n{table}\n"
    with replaced_together(folder, last=INFO) as staged:
        write_text(staged / CARD, f"{before.rstrip()}\n\n{section}{mark}{rest}")
        write_json(staged / INFO, encode(replace(info, verdict=block, format=FORMAT)))
    read_model(folder)
