"""From a trained network to a model folder, with its figures and its card."""

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from MorseCore import __version__
from MorseCore.config import encode, nearest
from MorseCore.errors import ConfigError
from MorseCore.learning.dataset import Decathlon, PreparedCase
from MorseCore.learning.training_config import CardStructure, RunConfig
from MorseCore.learning.validation import Validator, summarise_cases
from MorseCore.model_folder import ModelInfo, StructureInfo, write_model
from MorseCore.network import Network
from MorseCore.scoring.casetable import write_cases
from MorseCore.scoring.metrics import Summary

__all__ = ["describe_structures", "export_model"]

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
    """Measure the network on both splits and write its model folder; returns the figures.

    Beside the folder, ``scores-validation.csv`` and ``scores-test.csv`` hold every case's scores.

    :param command: what was typed to train it.
    :param field_of_view: largest extent in mm along x, y, z of the training images.
    :raises OutputError: if the folder cannot be written.
    """
    figures = {}
    for name, cases in (("validation", val), ("test", test)):
        if cases:
            scores = validator.scores(network, cases)
            figures[name] = {s: _figures(summarise_cases(c), data) for s, c in scores.items()}
            by_case = {
                case.name: {stage: scores[stage][n] for stage in scores}
                for n, case in enumerate(cases)
            }
            write_cases(folder.parent / f"scores-{name}.csv", by_case, data.labels)
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
    structures = describe_structures(config, data)
    # A preset may come to mean other sizes, and a gate's stride is in no weight.
    info = ModelInfo(
        config.name, config.card.title, config.card.task, config.card.modality,
        structures, config.network.filled(network), config.preparation, config.card.licence, "",
        config.renderer, config.windows,
        field_of_view[: config.preparation.spatial_dims], training,
    )  # fmt: skip
    card = _card(config, info, figures, splits, licence=data.licence)
    write_model(folder, info, network.state_dict(), card=card)
    return figures


def describe_structures(config: RunConfig, data: Decathlon) -> tuple[StructureInfo, ...]:
    """Name, colour and terminology of each foreground class.

    :raises ConfigError: if the card describes a structure that the data set does not have.
    """
    described = config.card.structures
    labels = {value: label for value, label in data.labels.items() if value}
    for label in described:
        if label not in labels.values():
            raise ConfigError(
                f"'card.structures' describes '{label}', which is no label of the data set"
                f"{nearest(label, labels.values())}; its labels are {', '.join(labels.values())}."
            )
    structures = []
    for value, label in labels.items():
        known = described.get(label, CardStructure())
        color = known.color or _PALETTE[(value - 1) % len(_PALETTE)]
        structures.append(StructureInfo(value, known.name or label, color, known.terminology))
    return tuple(structures)


def _figures(summary: Summary, data: Decathlon) -> dict[str, Any]:
    rows = {data.labels[value]: part for value, part in summary.structures.items()}
    rows["mean"] = summary.mean
    miou = {"miou": round(summary.miou.mean, 5)} if summary.miou else {}
    return {
        name: {
            **{m: round(getattr(row, m).mean, 5) for m in _METRICS},
            **{f"{m}_sd": round(getattr(row, m).sd, 5) for m in _METRICS},
            "cases": row.n, "missed": row.n_missed, "spurious": row.n_spurious,
            **(miou if name == "mean" else {}),
        }
        for name, row in rows.items()
    }  # fmt: skip


def _card(
    config: RunConfig,
    info: ModelInfo,
    figures: dict[str, Any],
    splits: dict[str, int],
    *,
    licence: str,
) -> str:
    card = config.card
    lines = [
        f"# {card.title}", "", card.task, "",
        f"- Name: `{config.name}`", f"- Modality: {card.modality}",
        "- Structures: " + ", ".join(f"{s.value} {s.name}" for s in info.structures),
        f"- Data: {card.data}",
        f"- Licence of the data set: {licence}",
        f"- Licence of the weights: {card.licence}",
        f"- Cases: {splits['train']} training, {splits['val']} validation, {splits['test']} test",
        f"- Trained by: `{info.training['command']}`, {config.optimisation.iterations} iterations "
        f"of {config.optimisation.batch_size} samples, seed {config.seed}",
    ]  # fmt: skip
    if card.limits:
        lines.append(f"- Limits: {card.limits}")
    lines += ["", "## Measured", ""]
    if figures:
        lines += _table(figures, len(info.structures))
        lines += [
            "",
            "Means over cases; distances in mm; a structure that is missed counts with the image's "
            "diagonal. *Coarse* is before rendering, *refined* after.",
        ]
    else:
        lines.append("Nothing: the data set has no validation or test split.")
    is_chosen = config.validation.keep == "best" and "validation" in figures
    lines += [
        "",
        "The weights are those with the best mean DSC on the validation split, whose figures are "
        "therefore too good."
        if is_chosen
        else "The weights are the last ones; nothing was chosen.",
        "",
    ]
    return "\n".join(lines)


def _table(figures: dict[str, Any], structures: int) -> list[str]:
    lines = [
        "| split | mask | structure | DSC | Jaccard | HD95 | ASD | missed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for split, stages in figures.items():
        for stage, rows in stages.items():
            for name, row in rows.items():
                count = row["cases"] * (structures if name == "mean" else 1)  # it is a sum there
                lines.append(
                    f"| {split} | {stage} | {name} | {row['dice']:.4f} | {row['jaccard']:.4f} | "
                    f"{row['hd95']:.3f} | {row['asd']:.3f} | {row['missed']} of {count} |"
                )
    return lines
