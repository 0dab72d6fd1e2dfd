"""The configuration of a training run: what a file in ``Training/configs`` may hold."""

from dataclasses import dataclass, field
from typing import Any, Literal

from MorseCore.augmentation import AugmentationConfig
from MorseCore.errors import ConfigError
from MorseCore.losses import Schedule
from MorseCore.network import NetworkConfig
from MorseCore.prediction import Precision, WindowConfig
from MorseCore.preparation import Preparation
from MorseCore.renderers import RefineConfig
from MorseCore.samplers import SAMPLERS, UncertainConfig

__all__ = ["CardConfig", "DataConfig", "OptimisationConfig", "RunConfig", "ValidationConfig"]


@dataclass(frozen=True)
class DataConfig:
    """Where the data are."""

    dataset: str
    """Path of ``dataset.json``; relative paths start at the working directory."""
    split: str
    """Path of the split file."""
    fold: int = 0
    """Which entry, if the split file holds a list of folds."""
    foreground: float = 0.33
    """Share of the crops that are centred on a labelled voxel."""
    workers: int = 0
    """Processes that prepare samples beside the training; the samples do not depend on it."""


@dataclass(frozen=True)
class OptimisationConfig:
    """AdamW with polynomial decay, and how a step is made."""

    iterations: int = 30_000
    """T (30 K in the paper)."""
    batch_size: int = 2
    """Samples a step and process."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step."""
    learning_rate: float = 5e-4
    """At the start; decays as (1 - t/T)^power."""
    power: float = 0.9
    """Of the decay; the paper is silent, the released code has 0.9."""
    weight_decay: float = 1e-2
    """AdamW's."""
    clip: float = 12.0
    """Largest norm of the gradient."""
    schedule: Schedule = "awa"
    """Weight of the rendering loss over time (Eq. 4, Table 4)."""
    render_weight: float = 0.1
    """lambda_rend."""
    supervision_stride: int = 1
    """Take L_sup at every n-th pixel an axis, with a random phase (see Head.losses)."""
    precision: Precision = "auto"
    """``auto``: bf16 or fp16 on a GPU that has it, else fp32."""

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "accumulate", "supervision_stride"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'{name}' must be positive; found {getattr(self, name)}.")
        for name in ("learning_rate", "clip"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"'{name}' must be positive; found {getattr(self, name)}.")
        if self.render_weight < 0 or self.weight_decay < 0:
            raise ConfigError("'render_weight' and 'weight_decay' must not be negative.")


@dataclass(frozen=True)
class ValidationConfig:
    """When and how the validation split is segmented."""

    every: int = 500
    """Iterations between two validations; a checkpoint is written at the same time."""
    keep: Literal["best", "last"] = "best"
    """Which weights make the model folder: best mean DSC of the refined masks, or the last."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"'every' must be positive; found {self.every}.")


@dataclass(frozen=True)
class CardConfig:
    """What the model says of itself."""

    title: str
    task: str
    modality: Literal["MR", "CT", "US", "XR", "any"]
    licence: str
    """Of the weights."""
    data: str
    """Name, source, licence and citation of the training data."""
    structures: dict[str, Any] = field(default_factory=dict)
    """Per label name: ``{"name": ..., "color": [r, g, b], "terminology": ...}``, each optional."""
    limits: str = ""
    """What the model is not made for."""


@dataclass(frozen=True)
class RunConfig:
    """A training run."""

    name: str
    """Of the model; its folder is called so."""
    data: DataConfig
    preparation: Preparation
    network: NetworkConfig
    card: CardConfig
    sampler: Any = field(default_factory=UncertainConfig, metadata={"registry": SAMPLERS})
    """Points of the rendering loss."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    renderer: RefineConfig = field(default_factory=RefineConfig)
    """Defaults of the model at inference, and what validation uses."""
    windows: WindowConfig = field(default_factory=WindowConfig)
    """Likewise."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    output: str = "runs"
    """Folder for the run's own folder, ``<output>/<name>``."""
    resume: Literal["auto", "never"] = "auto"
    """``auto`` goes on from the last checkpoint of a run with the same configuration."""
    seed: int = 1337

    def __post_init__(self) -> None:
        if self.preparation.spatial_dims != self.network.spatial_dims:
            raise ConfigError(
                f"'preparation.window' has {self.preparation.spatial_dims} sizes, but "
                f"'network.spatial_dims' is {self.network.spatial_dims}."
            )
        if not self.name or any(c in self.name for c in "/\\ "):
            raise ConfigError(f"'name' must be a folder name without spaces; found '{self.name}'.")
