"""From a trained network to a model folder, with its figures and its card."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from MorseCore import __version__
from MorseCore.config import encode
from MorseCore.dataset import Decathlon, PreparedCase
from MorseCore.metrics import Summary
from MorseCore.model_folder import ModelInfo, StructureInfo, write_model
from MorseCore.network import Network
from MorseCore.training_config import RunConfig
from MorseCore.validation import Validator

__all__ = ["export_model"]

_PALETTE = (  # Okabe and Ito: told apart with any colour vision
    (0.90, 0.62, 0.00), (0.00, 0.45, 0.70), (0.00, 0.62, 0.45), (0.80, 0.47, 0.65),
    (0.34, 0.71, 0.91), (0.84, 0.37, 0.00), (0.94, 0.89, 0.26), (0.60, 0.60, 0.60),
)  # fmt: skip
_METRICS = ("dice", "jaccard", "hd95", "asd", "assd")


def export_model(
    folder: Path,
    config: RunConfig,
    data: Decathlon,
    network: Network,
    validator: Validator,
    *,
    val: Sequence[PreparedCase],
    test: Sequence[PreparedCase],
    command: str,
    field_of_view: tuple[float, ...],
) -> dict[str, Any]:
    """Measure the network on both splits and write its model folder; returns the figures."""
    figures = {}
    for name, cases in (("validation", val), ("test", test)):
        if cases:
            summaries = validator.summary(network, cases)
            figures[name] = {stage: _figures(s, data) for stage, s in summaries.items()}
    splits = {name: len(cases) for name, cases in data.splits.items()}
    training = {
        "data": config.card.data,
        "splits": splits,
        "figures": figures,
        "command": command,
        "config": encode(config),
        "versions": {
            "MorseSegment": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }  # fmt: skip
    info = ModelInfo(
        config.name, config.card.title, config.card.task, config.card.modality,
        _structures(config, data), config.network, config.preparation, config.card.licence, "",
        config.renderer, config.windows,
        field_of_view[: config.preparation.spatial_dims], training,
    )  # fmt: skip
    write_model(folder, info, network.state_dict(), card=_card(config, info, figures, splits))
    return figures


def _structures(config: RunConfig, data: Decathlon) -> tuple[StructureInfo, ...]:
    structures = []
    for value, label in data.labels.items():
        if value:
            known = config.card.structures.get(label, {})
            color = tuple(known.get("color", _PALETTE[(value - 1) % len(_PALETTE)]))
            name, terminology = str(known.get("name", label)), str(known.get("terminology", ""))
            structures.append(StructureInfo(value, name, color, terminology))
    return tuple(structures)


def _figures(summary: Summary, data: Decathlon) -> dict[str, Any]:
    rows = {data.labels[value]: part for value, part in summary.structures.items()}
    rows["mean"] = summary.mean
    return {
        name: {
            **{m: round(getattr(row, m).mean, 5) for m in _METRICS},
            **{f"{m}_sd": round(getattr(row, m).sd, 5) for m in _METRICS},
            "cases": row.n, "missed": row.n_missed, "spurious": row.n_spurious,
        }
        for name, row in rows.items()
    }  # fmt: skip


def _card(
    config: RunConfig, info: ModelInfo, figures: dict[str, Any], splits: dict[str, int]
) -> str:
    card = config.card
    lines = [
        f"# {card.title}", "", card.task, "",
        f"- Name: `{config.name}`", f"- Modality: {card.modality}",
        "- Structures: " + ", ".join(f"{s.value} {s.name}" for s in info.structures),
        f"- Data: {card.data}",
        f"- Licence of the weights: {card.licence}",
        f"- Cases: {splits['train']} training, {splits['val']} validation, {splits['test']} test",
        f"- Trained by: `{info.training['command']}`, {config.optimisation.iterations} iterations "
        f"of {config.optimisation.batch_size} samples, seed {config.seed}",
    ]  # fmt: skip
    if card.limits:
        lines.append(f"- Limits: {card.limits}")
    lines += ["", "## Measured", ""]
    lines += (
        _table(figures) if figures else ["Nothing: the data set has no validation or test split."]
    )
    lines += [
        "",
        "Means over cases; distances in mm; a structure that is missed counts with the image's "
        "diagonal. *Coarse* is before rendering, *refined* after. The weights were chosen on the "
        "validation split"
        + (
            " (best mean DSC)."
            if config.validation.keep == "best"
            else " by nothing: the last ones."
        ),
        "",
    ]
    return "\n".join(lines)


def _table(figures: dict[str, Any]) -> list[str]:
    lines = [
        "| split | mask | structure | DSC | Jaccard | HD95 | ASD | missed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for split, stages in figures.items():
        for stage, rows in stages.items():
            for name, row in rows.items():
                lines.append(
                    f"| {split} | {stage} | {name} | {row['dice']:.4f} | {row['jaccard']:.4f} | "
                    f"{row['hd95']:.3f} | {row['asd']:.3f} | {row['missed']} of {row['cases']} |"
                )
    return lines
