"""The configuration of a training run: what a file in ``Training/configs`` may hold."""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from MorseCore.config import encode
from MorseCore.errors import ConfigError
from MorseCore.images.preparation import Preparation
from MorseCore.limits import check_bounds, check_magnitudes
from MorseCore.losses import ClassWeighting, Schedule
from MorseCore.network import NetworkConfig
from MorseCore.renderers import RENDERERS, RefineConfig
from MorseCore.samplers import SAMPLERS, UncertainConfig
from MorseCore.store.model_folder import (
    LocatorInfo,
    WindowConfig,
    check_in_channels,
    check_model_name,
    check_renderer,
    check_text,
)
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.devices import Precision
from MorseCore.training.augmentation import AugmentationConfig
from MorseCore.training.generated.config import GenerationConfig

__all__ = [
    "CardConfig",
    "CardStructure",
    "DataConfig",
    "OptimisationConfig",
    "RunConfig",
    "ValidationConfig",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # a folder name on every system


@dataclass(frozen=True)
class DataConfig:
    """Where the data are."""

    dataset: str = ""
    """Path of ``dataset.json``, of ``images``; relative paths start at the working directory."""
    split: str = ""
    """Path of the split file. Label maps may do without: every fifth is then for validation."""
    fold: int = 0
    """Which entry, if the split file holds a list of folds."""
    share: float = 1.0
    """Share of the training subjects to learn from, drawn by the run's ``seed``: the subjects of a
    smaller share are among those of a larger one (SwIPE's study of annotation amounts)."""
    foreground: float = 0.33
    """Share of the crops that are centred on a labelled voxel, of images that have any: in 2D an
    image is a slice, and a slice without labels is cropped anywhere."""
    workers: int = 0
    """Processes that prepare samples beside the training; the samples do not depend on it."""
    source: Literal["images", "generated"] = "images"
    """``generated``: images are drawn from label maps at every step (see ``generation``)."""
    labels: str = ""
    """Of ``generated``: a folder of label maps, or a ``dataset.json``, whose images may be
    missing."""
    generated_share: float = 0.0
    """Of ``images``: share of the batches that are generated instead, from the label maps of the
    training's cases, so that the network learns other contrasts than the scans have."""

    def __post_init__(self) -> None:
        needed = "dataset" if self.source == "images" else "labels"
        if not getattr(self, needed):
            raise ConfigError(f"'{needed}' is needed where 'source' is '{self.source}'.")
        if not 0 <= self.foreground <= 1:
            raise ConfigError(f"'foreground' must lie in [0, 1]; found {self.foreground}.")
        if not 0 < self.share <= 1:
            raise ConfigError(f"'share' must lie above 0 and be at most 1; found {self.share}.")
        if self.generated_share and self.source == "generated":
            raise ConfigError("'generated_share' is of 'images'; here all batches are generated.")
        check_bounds(self, generated_share=(0, 1))
        check_bounds(self, fold=(0, 10_000), workers=(0, 256))


@dataclass(frozen=True)
class OptimisationConfig:
    """Optimiser, its learning rate over time, and how a step is made."""

    GONE: ClassVar[dict[str, str]] = dict.fromkeys(
        ("finishing", "finishing_rate", "finishing_loss"),
        "is gone; train the head alone on a finished model: initialise=MODEL train=head",
    )
    """Keys of earlier releases, and the way out."""
    iterations: int = 30_000
    """T (30 K in the paper)."""
    batch_size: int = 2
    """Samples a batch; a step has ``batch_size * accumulate`` of them on each process."""
    accumulate: int = 1
    """Batches whose gradients are averaged before a step. The Dice term is taken over a batch, so
    two batches of one are not one batch of two; two on one process are one on each of two."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """MORSE's and SwIPE's papers have AdamW, I²Net's configuration Adam; MORSE's released code has
    SGD with momentum, learning rate 0.01 and weight decay 1e-4."""
    learning_rate: float = 5e-4
    """At the start, or after the warm-up."""
    decay: Literal["poly", "cosine", "constant"] = "poly"
    """``poly``: (1 - t/T)^power (MORSE); ``cosine``: half a wave (SwIPE)."""
    power: float = 0.9
    """Of ``poly``; the paper is silent, the released code has 0.9."""
    final_learning_rate: float = 0.0
    """Where the decay ends (SwIPE: 1e-5; MORSE's released code: a tenth of the first)."""
    hold: float = 0.0
    """Share of the iterations after the warm-up in which the rate stays what it is. A training
    whose end is not known yet keeps learning fast until then."""
    warmup: int = 0
    """First steps, in which the rate rises linearly; transformers trained from scratch need it."""
    continued_from: int = 0
    """Iterations after which a finished training was made longer: there the schedule of all
    ``iterations`` begins again to rise linearly, over a tenth of the rest, 200 steps at most."""
    momentum: float = 0.9
    """Of ``sgd``."""
    nesterov: bool = False
    """Nesterov's form of the momentum; MORSE's released code has it in 3D only."""
    weight_decay: float = 1e-2
    """The optimiser's (decoupled in ``adamw``)."""
    clip: float = 12.0
    """Largest norm of the gradient."""
    schedule: Schedule = "awa"
    """Weight of the rendering loss over time (Eq. 4, Table 4)."""
    render_weight: float = 0.1
    """lambda_rend."""
    supervision_stride: int = 1
    """Take L_sup at every n-th pixel an axis, with a random phase (see Head.losses)."""
    supervision_grid: Literal["image", "backbone"] = "image"
    """Where L_sup is taken: at the image's pixels, or at those that the backbone sees
    (``network.backbone_stride``), against the shares of the classes inside each. Points lie in the
    image's grid in either case."""
    class_weighting: ClassWeighting = "none"
    """Of the cross-entropy in L_sup: ``inverse_sqrt`` lets small structures be found early, but too
    large (:mod:`MorseCore.losses`)."""
    class_weighting_until: float = 1.0
    """Share of the iterations after which classes are no longer weighted."""
    average: float = 0.0
    """Decay of a running average of the weights, which is then what is validated and exported; its
    first steps follow faster. 0: none. Not in the papers."""
    precision: Precision = "auto"
    """``auto``: bf16 or fp16 on a GPU that has it, else fp32."""

    def __post_init__(self) -> None:
        check_bounds(
            self, iterations=(1, 10**9), batch_size=(1, 65_536), accumulate=(1, 65_536),
            supervision_stride=(1, 65_536), learning_rate=(1e-12, 10.0), clip=(1e-9, 1e9),
            final_learning_rate=(0, 10.0), power=(0, 100), weight_decay=(0, 10), hold=(0, 1),
            render_weight=(0, 1e6), class_weighting_until=(0, 1), average=(0, 0.99999),
        )  # fmt: skip
        if not 0 <= self.warmup < self.iterations or not 0 <= self.momentum < 1:
            raise ConfigError(
                "'warmup' must lie in [0, 'iterations') and 'momentum' in [0, 1); "
                f"found {self.warmup} and {self.momentum}."
            )
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ConfigError(
                "'nesterov' needs the 'optimizer' sgd and a 'momentum' above 0; "
                f"found {self.optimizer} and {self.momentum}."
            )
        if not 0 <= self.continued_from < self.iterations:
            raise ConfigError(
                "'continued_from' must lie in [0, 'iterations'); "
                f"found {self.continued_from} of {self.iterations}."
            )
        if self.final_learning_rate > self.learning_rate:
            raise ConfigError("'final_learning_rate' must not exceed 'learning_rate'.")


@dataclass(frozen=True)
class ValidationConfig:
    """When and how the validation split is segmented."""

    every: int = 500
    """Iterations between two validations; a checkpoint is written at the same time."""
    keep: Literal["best", "last"] = "best"
    """Which weights make the model folder: those with the best mean DSC of the refined masks, among
    the validations since the rendering head is trained, or the last."""
    monitor: str = ""
    """A JSON file of real scans to watch beside, with what others found in them
    (:mod:`MorseCore.training.monitor`). It is written down and decides nothing."""
    monitor_every: int = 2000
    """Iterations between two looks at them."""
    verdict_minutes: float = 10.0
    """Minutes at most, at the end, in which the limits of the model's verdict are fitted on the
    validation split and spoilt copies of it; 0: volumes alone get limits."""

    def __post_init__(self) -> None:
        check_bounds(self, every=(1, 10**9), monitor_every=(1, 10**9), verdict_minutes=(0, 100_000))


@dataclass(frozen=True)
class CardStructure:
    """How a label of the data set is shown."""

    name: str = ""
    """Empty: the data set's own."""
    color: tuple[float, float, float] | None = None
    """RGB, each 0..1; null: one of a palette."""
    terminology: str = ""
    """Slicer's terminology entry."""
    freesurfer: int = 0
    """FreeSurfer's number of it; 0: none."""

    def __post_init__(self) -> None:
        if self.color is not None and not all(0 <= part <= 1 for part in self.color):
            raise ConfigError(f"'color' must be three values from 0 to 1; found {self.color}.")


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
    structures: dict[str, CardStructure] = field(default_factory=dict)
    """Per label name of the data set."""
    limits: str = ""
    """What the model is not made for."""
    locator: LocatorInfo | None = None
    """Where in a whole scan the model works; null: where the person says."""
    contrast: Literal["T1", "T2"] | None = None
    """Of MR: the weighting of the images, if the model knows no other."""

    def __post_init__(self) -> None:
        for name in ("title", "task", "licence"):  # found now, not when the model is written
            check_text(name, getattr(self, name), may_be_empty=True)


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
    """Of images that were taken."""
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    """Of images that are generated."""
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    renderer: Any = field(default_factory=RefineConfig, metadata={"registry": RENDERERS})
    """Defaults of the model at inference, and what validation uses."""
    windows: WindowConfig = field(default_factory=WindowConfig)
    """Likewise."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""
    output: str = "runs"
    """Folder for the run's own folder, ``<output>/<name>``."""
    resume: Literal["auto", "never"] = "auto"
    """``auto`` goes on from the last checkpoint of a run with the same configuration;
    ``optimisation.iterations`` alone may have been raised."""
    initialise: str = ""
    """Name or folder of a model whose weights the run starts from, where names and sizes agree."""
    train: Literal["all", "head"] = "all"
    """``head``: the backbone's weights stay what they are."""
    half_weights: bool = False
    """Store the model's weights in half precision."""
    seed: int = 1337
    accept: tuple[str, ...] = ()
    """Refusals to overrule, of :data:`MorseCore.system.acceptance.ACCEPTABLE`; the model's card
    says which were."""

    def __post_init__(self) -> None:
        Acceptance(self.accept)  # knows the names
        check_renderer(self.renderer)
        check_magnitudes("", encode(self))
        self._check_sampler()
        if self.data.source == "images" and not self.data.split:
            raise ConfigError("The key 'data.split' is missing.")
        self._check_generation()
        dims = self.preparation.spatial_dims
        if dims != self.network.spatial_dims:
            raise ConfigError(
                f"'preparation.window' has {dims} sizes, but 'network.spatial_dims' is "
                f"{self.network.spatial_dims}."
            )
        check_in_channels(self.preparation, self.network)
        if self.preparation.channels and self.validation.monitor:
            raise ConfigError(
                "'validation.monitor' watches scans of one image; 'preparation.channels' describes "
                f"{len(self.preparation.channels)}."
            )
        stride, side = self.optimisation.supervision_stride, min(self.preparation.window)
        if self.optimisation.supervision_grid == "backbone":
            side //= self.network.backbone_stride
        if stride > side:
            where = "" if side == min(self.preparation.window) else " on the backbone's grid"
            raise ConfigError(
                f"'optimisation.supervision_stride' ({stride}) must not exceed the smallest side "
                f"of 'preparation.window'{where} ({side})."
            )
        if any(axis >= dims for axis in self.augmentation.mirror_axes):
            raise ConfigError(
                f"'augmentation.mirror_axes' of a {dims}D network must be below {dims}; "
                f"found {self.augmentation.mirror_axes}."
            )
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                "'name' must be a folder name of letters, digits, '.', '-' and '_'; "
                f"found '{self.name}'."
            )
        check_model_name(self.name)

    def acceptance(self) -> Acceptance:
        """What the person overruled, which notes what of that was needed."""
        return Acceptance(self.accept, hint="'accept=[\"{name}\"]'")

    def _check_sampler(self) -> None:
        options = encode(self.sampler)
        check_magnitudes("sampler", options, integer=2**24, real=1e6)
        candidates = options.get("points", 0) * options.get("oversample", 1)
        if candidates > 2**26:
            raise ConfigError(
                f"'sampler' would draw {candidates:,.0f} points an image ('points' times "
                f"'oversample'); {2**26:,} are the most."
            )

    def _check_generation(self) -> None:
        """Refuse what images from label maps cannot do."""
        if self.data.source != "generated" and not self.data.generated_share:
            return
        self.generation.check_fits(self.preparation)
        if self.sampler.presample is not None:
            raise ConfigError(
                "Points of 'sampler' are drawn before the training in whole images, which "
                "generated ones are not; choose another sampler."
            )
        if self.data.share != 1 and self.data.source == "generated":
            raise ConfigError("'data.share' is of subjects; generated images have none.")
        if self.data.generated_share and (self.generation.structures or self.generation.windows):
            raise ConfigError(
                "'generation.structures' and 'generation.windows' are for label maps alone; beside "
                "scans the data set names the structures, and all windows have one size."
            )
