"""From a trained network to a model folder, with its figures and its card."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from MorseCore import __version__
from MorseCore.config import encode, nearest
from MorseCore.errors import ConfigError
from MorseCore.metrics.casetable import write_cases
from MorseCore.metrics.scores import MEASURES, Summary
from MorseCore.network import Network
from MorseCore.quality.fitting import named_volumes, volumes_alone
from MorseCore.result import brain_values
from MorseCore.store.model_folder import ModelInfo, StructureInfo, write_model
from MorseCore.training.config import CardStructure, RunConfig
from MorseCore.training.dataset import PreparedCase
from MorseCore.training.step import learning_rate
from MorseCore.training.validation import DataFacts, Validator, summarise_cases

__all__ = ["describe_structures", "export_model", "measure_cases"]

_PALETTE = (  # Okabe and Ito: told apart with any colour vision
    (0.90, 0.62, 0.00), (0.00, 0.45, 0.70), (0.00, 0.62, 0.45), (0.80, 0.47, 0.65),
    (0.34, 0.71, 0.91), (0.84, 0.37, 0.00), (0.94, 0.89, 0.26), (0.60, 0.60, 0.60),
)  # fmt: skip


def export_model(
    folder: Path,
    config: RunConfig,
    facts: DataFacts,
    network: Network,
    *,
    command: str,
    steps: int | None = None,
    is_ended: bool = False,
) -> None:
    """Write a network's model folder.

    :param command: what was typed to train it.
    :param steps: done so far; None: the training is finished. Otherwise the model is called
        preliminary.
    :param is_ended: a person ended the training there: nothing goes on.
    :raises OutputError: if the folder cannot be written.
    """
    options = config.optimisation
    done = options.iterations if steps is None else steps
    training = {
        "data": config.card.data,
        "splits": facts.splits,
        "figures": facts.figures,
        "command": command,
        "steps": done,
        "learning_rate": learning_rate(max(0, done - 1), options),
        "preliminary": done < options.iterations and not is_ended,
        "accepted": list(facts.accepted),
        "config": encode(config),
        "versions": {
            "MorseSegment": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }  # fmt: skip
    structures = describe_structures(config, facts.labels)
    title = config.card.title + (" – preliminary" if training["preliminary"] else "")
    view = facts.field_of_view
    # A preset may come to mean other sizes, and a gate's stride is in no weight.
    info = ModelInfo(
        config.name, title, config.card.task, config.card.modality,
        structures, config.network.filled(network), config.preparation, config.card.licence, "",
        config.renderer, config.windows,
        None if view is None else view[: config.preparation.spatial_dims], training,
        locator=config.card.locator, contrast=config.card.contrast,
        verdict=volumes_alone(
            named_volumes(facts.volumes, structures),
            origin="Only volumes have limits, those of the training's label maps.",
        ),
        channels=facts.channels or None,
    )  # fmt: skip
    weights = network.state_dict()
    if config.half_weights:
        weights = {n: x.half() if x.is_floating_point() else x for n, x in weights.items()}
    write_model(folder, info, weights, card=_card(config, info, facts))


def measure_cases(
    table: Path,
    network: Network,
    validator: Validator,
    cases: Sequence[PreparedCase],
    labels: dict[int, str],
) -> dict[str, Any]:
    """Figures by stage and structure, of cases whose scores are written into a table (CSV)."""
    scores = validator.scores(network, cases)
    by_case = {
        case.name: {stage: scores[stage][n] for stage in scores} for n, case in enumerate(cases)
    }
    write_cases(table, by_case, labels)
    return {stage: _figures(summarise_cases(found), labels) for stage, found in scores.items()}


def describe_structures(config: RunConfig, names: Mapping[int, str]) -> tuple[StructureInfo, ...]:
    """Name, colour and terminology of each foreground class.

    :param names: by value, background included.

    :raises ConfigError: if the card describes a structure that the data set does not have.
    """
    described = config.card.structures
    labels = {value: label for value, label in names.items() if value}
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
        structures.append(StructureInfo(
            value, known.name or label, color, known.terminology, known.freesurfer
        ))  # fmt: skip
    return tuple(structures)


def _figures(summary: Summary, labels: Mapping[int, str]) -> dict[str, Any]:
    rows = {labels[value]: part for value, part in summary.structures.items()}
    rows["mean"] = summary.mean
    miou = {"miou": round(summary.miou.mean, 5)} if summary.miou else {}
    return {
        name: {
            **{m.name: round(getattr(row, m.name).mean, 5) for m in MEASURES},
            **{f"{m.name}_sd": round(getattr(row, m.name).sd, 5) for m in MEASURES},
            "cases": row.n, "missed": row.n_missed, "spurious": row.n_spurious,
            **(miou if name == "mean" else {}),
        }
        for name, row in rows.items()
    }  # fmt: skip


def _card(config: RunConfig, info: ModelInfo, facts: DataFacts) -> str:
    card, splits, training = config.card, facts.splits, info.training
    kind = "Label maps" if facts.is_generated else "Cases"
    lines = [
        f"# {info.title}", "", card.task, "",
        f"- Name: `{config.name}`", f"- Modality: {card.modality}",
        "- Structures: " + ", ".join(f"{s.value} {s.name}" for s in info.structures),
        *_numbers(info),
        *_channels(info),
        f"- Data: {card.data}",
        f"- Licence of the data set: {facts.licence}",
        f"- Licence of the weights: {card.licence}",
        f"- {kind}: {splits['train']} training, {splits['val']} validation, {splits['test']} test",
        f"- Trained by: `{training['command']}`, {training['steps']} iterations "
        f"of {config.optimisation.batch_size} samples, seed {config.seed}",
    ]  # fmt: skip
    if facts.is_generated:
        lines.append("- No image was used: every training image was generated from a label map.")
    if config.data.generated_share:
        lines.append(
            f"- {config.data.generated_share:.0%} of the training batches were no scans: they were "
            "generated from the label maps, of any contrast."
        )
    if training["preliminary"]:
        lines.append(
            f"- **Preliminary**: {training['steps']} of {config.optimisation.iterations} "
            "iterations are done; the training goes on."
        )
    elif training["steps"] < config.optimisation.iterations:
        lines.append(
            f"- Ended by the person who trained it after {training['steps']} of "
            f"{config.optimisation.iterations} iterations."
        )
    if config.optimisation.continued_from:
        lines.append(
            f"- Made longer: {config.optimisation.continued_from} iterations were planned first; "
            "there the learning rate rose again."
        )
    if facts.accepted:
        more = f" (and {len(facts.accepted) - 1} more)" if len(facts.accepted) > 1 else ""
        lines.append(f"- **Overruled by the person who trained it**: {facts.accepted[0]}{more}")
    if card.limits:
        lines.append(f"- Limits: {card.limits}")
    lines += ["", "## Measured", "", *_measured(facts, len(info.structures)), ""]
    lines += [_which_weights(config, facts), ""]
    return "\n".join(lines)


def _numbers(info: ModelInfo) -> list[str]:
    """FreeSurfer's numbers, and what a whole brain's structures add up to."""
    numbered = [f"{s.value} = {s.freesurfer}" for s in info.structures if s.freesurfer]
    lines = [f"- FreeSurfer's numbers: {', '.join(numbered)}"] if numbered else []
    if brain_values(info.result_structures()):
        lines.append(
            "- Brain mask and brain volume: all structures but the fluid around the brain. "
            "Intracranial volume: these and that fluid, an estimate, for no structure is the skull."
        )
    return lines


def _channels(info: ModelInfo) -> list[str]:
    return [f"- Images of a case, in order: {', '.join(info.channels)}"] if info.channels else []


def _measured(facts: DataFacts, structures: int) -> list[str]:
    if not facts.figures:
        return ["Nothing: the data set has no validation or test split."]
    if facts.is_generated:
        rows = facts.figures["validation"]["refined"]
        return [
            "| structure | DSC |", "|---|---|",
            *(f"| {name} | {row['dice']:.4f} |" for name, row in rows.items()), "",
            "Mean over generated images of the validation maps, at the model's own resolution.",
        ]  # fmt: skip
    return [
        *_table(facts.figures, structures),
        "",
        "Means over cases; distances in mm; a structure that is missed counts with the image's "
        "diagonal. *Coarse* is before rendering, *refined* after.",
    ]


def _which_weights(config: RunConfig, facts: DataFacts) -> str:
    if config.validation.keep == "best" and "validation" in facts.figures:
        return (
            "The weights are those with the best mean DSC on the validation split, whose figures "
            "are therefore too good."
        )
    average = " (a running average of them)" if config.optimisation.average else ""
    return f"The weights are the last ones{average}; nothing was chosen."


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
