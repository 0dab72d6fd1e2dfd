"""A model is a folder: ``model.json``, ``weights.safetensors`` and a card. Nothing in it runs."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from MorseCore.config import decode, encode, read_json
from MorseCore.errors import ConfigError, ModelError
from MorseCore.files import atomic_path, sha256, write_json, write_text
from MorseCore.network import Network, NetworkConfig
from MorseCore.prediction import WindowConfig
from MorseCore.preparation import Preparation
from MorseCore.renderers import RefineConfig
from MorseCore.result import Structure

__all__ = [
    "ModelInfo",
    "StructureInfo",
    "load_network",
    "read_model",
    "save_weights",
    "write_model",
]

FORMAT = 1
WEIGHTS, INFO, CARD = "weights.safetensors", "model.json", "README.md"


@dataclass(frozen=True)
class StructureInfo:
    """One foreground class."""

    value: int
    """Voxel value, from 1 without a gap."""
    name: str
    color: tuple[float, float, float]
    """RGB, each 0..1."""
    terminology: str = ""
    """Slicer's terminology entry, empty if none."""


@dataclass(frozen=True)
class ModelInfo:
    """``model.json``: all that is needed to use the weights, and where they come from."""

    name: str
    title: str
    task: str
    """One sentence for the person who chooses a model."""
    modality: Literal["MR", "CT", "US", "XR", "any"]
    structures: tuple[StructureInfo, ...]
    network: NetworkConfig
    preparation: Preparation
    licence: str
    """Licence of the weights."""
    sha256: str
    """Of ``weights.safetensors``."""
    renderer: RefineConfig = field(default_factory=RefineConfig)
    """Defaults for rendering."""
    windows: WindowConfig = field(default_factory=WindowConfig)
    """Defaults for sliding the window."""
    field_of_view: tuple[float, ...] | None = None
    """Largest extent in mm along x, y[, z] that the training images had; a much larger image should
    be limited by a region of interest. Null: no limit."""
    training: dict[str, Any] = field(default_factory=dict)
    """Provenance: data, splits, iterations, command, versions, measured figures."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        values = [item.value for item in self.structures]
        if values != list(range(1, len(values) + 1)) or not values:
            raise ConfigError(f"'structures' must have the values 1, 2, 3 …; found {values}.")
        if self.preparation.spatial_dims != self.network.spatial_dims:
            raise ConfigError("'preparation.window' and 'network.spatial_dims' disagree.")
        if self.format != FORMAT:
            raise ConfigError(f"'format' must be {FORMAT}; found {self.format}.")

    @property
    def num_classes(self) -> int:
        """Background included."""
        return len(self.structures) + 1

    def result_structures(self) -> tuple[Structure, ...]:
        """For results, free of torch."""
        return tuple(
            Structure(item.value, item.name, item.color, item.terminology)
            for item in self.structures
        )


def read_model(folder: Path) -> ModelInfo:
    """Read and check ``model.json`` and the weights' hash.

    :raises ModelError: if a file or key is missing or wrong, or the weights were altered.
    """
    if not folder.is_dir():
        raise ModelError(f"The model folder '{folder}' does not exist.")
    for name in (INFO, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"The model folder '{folder}' lacks '{name}'.")
    try:
        info = decode(ModelInfo, read_json(folder / INFO), "")
    except ConfigError as error:
        raise ModelError(f"The model '{folder.name}' has a faulty model.json: {error}") from None
    _refuse_pickle(folder / WEIGHTS)
    found = sha256(folder / WEIGHTS)
    if found != info.sha256:
        raise ModelError(
            f"The weights of '{folder.name}' were altered or damaged: their SHA-256 starts with "
            f"{found[:12]}, model.json states {info.sha256[:12]}."
        )
    return info


def load_network(folder: Path, info: ModelInfo, *, device: torch.device | str = "cpu") -> Network:
    """The network with its weights, ready to infer.

    :raises ModelError: if the weights do not fit the network or are not finite.
    """
    network = info.network.build(num_classes=info.num_classes)
    try:
        weights = load_file(folder / WEIGHTS)
        network.load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"The weights of '{folder.name}' do not fit its network: {reason}"
        ) from None
    if not all(bool(torch.isfinite(x).all()) for x in weights.values() if x.is_floating_point()):
        raise ModelError(f"The weights of '{folder.name}' hold values that are not numbers.")
    return network.to(device).eval()


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a state dictionary as safetensors, atomically."""
    with atomic_path(path) as temporary:
        save_file({name: x.detach().cpu().contiguous() for name, x in weights.items()}, temporary)


def write_model(
    folder: Path, info: ModelInfo, weights: Mapping[str, Tensor], *, card: str
) -> ModelInfo:
    """Write a model folder; the hash in ``info`` is replaced by the weights' own."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / WEIGHTS, weights)
    data = encode(info) | {"sha256": sha256(folder / WEIGHTS)}
    write_text(folder / CARD, card)
    write_json(folder / INFO, data)
    return read_model(folder)


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(4)
    if head[:1] == b"\x80" or zipfile.is_zipfile(path):  # torch.save: a pickle, alone or in a zip
        raise ModelError(
            f"'{path.parent.name}/{path.name}' is a Python pickle, which can run code and is never "
            "loaded; the weights must be in the safetensors format."
        )
