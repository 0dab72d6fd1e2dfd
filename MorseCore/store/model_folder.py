"""A model is a folder: ``model.json``, ``weights.safetensors`` and a card. Nothing in it runs."""

import re
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
from MorseCore.images.preparation import Preparation
from MorseCore.limits import check_bounds, check_magnitudes
from MorseCore.network import Network, NetworkConfig
from MorseCore.quality.thresholds import VerdictInfo
from MorseCore.renderers import RENDERERS, RefineConfig
from MorseCore.result import Structure
from MorseCore.store.metadevice import shapes_only
from MorseCore.store.weightsfile import check_fits, read_header
from MorseCore.system.files import (
    atomic_path,
    prepare_output_directory,
    replaced_together,
    sha256,
    write_json,
    write_text,
)

__all__ = [
    "LocatorInfo",
    "ModelInfo",
    "StructureInfo",
    "WindowConfig",
    "LARGEST",
    "check_file_size",
    "check_in_channels",
    "check_model_name",
    "check_renderer",
    "check_text",
    "load_network",
    "printable_text",
    "read_card",
    "read_model",
    "save_weights",
    "write_model",
]

FORMAT = 2  # of what is written; 1 had no optional blocks and is read for ever
_BLOCKS = ("locator", "contrast", "verdict", "plan", "channels")
MAX_STRUCTURES = 65_535  # what a label map can hold
_MOST_RENDERED = {"stride": 4096, "coarse_stride": 4096, "rings": 64, "width": 1025}
MOST_OVERLAP, MOST_BATCH = 0.9, 4096  # at 0.9 a voxel lies in a thousand windows
_NAME = re.compile(r"\w[\w .+-]{0,79}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows
WEIGHTS, INFO, CARD = "weights.safetensors", "model.json", "README.md"
LARGEST = {INFO: 2**24, CARD: 2**24, WEIGHTS: 2**32}
"""Bytes that a file of a model may have: 16 MiB, and 4 GiB of weights."""


@dataclass(frozen=True)
class WindowConfig:
    """How windows are laid over an image."""

    overlap: float = 0.25
    """Share of a window that neighbours have in common. TotalSegmentator measured 0.2 as harmless
    where 0.5 is the custom; an image has 4 times fewer windows so."""
    batch: int = 1
    """Windows evaluated at once."""

    def __post_init__(self) -> None:
        check_bounds(self, overlap=(0.0, MOST_OVERLAP), batch=(1, MOST_BATCH))


@dataclass(frozen=True)
class LocatorInfo:
    """Whose structures tell where a model works.

    A model that sees a whole scan may name itself: then its window is laid around what a first pass
    finds, and a result that its mirror image contradicts is refused.
    """

    model: str
    """Name of the model that finds them in a whole scan."""
    structures: tuple[str, ...]
    """Each gives a box of its own; of a model's own block, what its window has to hold."""
    margin: float = 10.0
    """mm around each."""
    subject: str = "known anatomy"
    """What a scan must show, for the sentence where it does not."""
    least_agreement: float = 0.0
    """Of a model's own block: mean Dice with the mirror image's pass below which there is none."""

    def __post_init__(self) -> None:
        check_model_name(self.model)
        if not self.structures:
            raise ConfigError("'structures' must name at least one.")
        if not 0 <= self.margin <= 100:
            raise ConfigError(f"'margin' must lie between 0 and 100 mm; found {self.margin}.")
        if not 0 <= self.least_agreement <= 1:
            raise ConfigError(
                f"'least_agreement' must lie between 0 and 1; found {self.least_agreement}."
            )


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
    freesurfer: int = 0
    """FreeSurfer's number of it; 0: none."""

    def __post_init__(self) -> None:
        check_bounds(self, freesurfer=(0, MAX_STRUCTURES))
        check_text("name", self.name)
        check_text("terminology", self.terminology, may_be_empty=True)
        if not all(0 <= share <= 1 for share in self.color):
            raise ConfigError(f"'color' must hold values from 0 to 1; found {self.color}.")


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
    renderer: Any = field(default_factory=RefineConfig, metadata={"registry": RENDERERS})
    """Defaults for rendering."""
    windows: WindowConfig = field(default_factory=WindowConfig)
    """Defaults for sliding the window."""
    field_of_view: tuple[float, ...] | None = None
    """Largest extent in mm along x, y[, z] that the training images had; a much larger image should
    be limited by a region of interest. Null: no limit."""
    training: dict[str, Any] = field(default_factory=dict)
    """Provenance: data, splits, iterations, command, versions, measured figures."""
    temperature: float = 1.0
    """Of the probabilities, softmax(logits / temperature), fitted by
    ``Training/research/uncertainty.py``; 1 leaves them as the network was trained to give them."""
    locator: LocatorInfo | None = None
    """Where in a whole scan the model works; null: where the person says."""
    contrast: Literal["T1", "T2"] | None = None
    """Of MR: the weighting of the training images, if the model knows no other; null: any."""
    verdict: VerdictInfo | None = None
    """What results of its training cases were like, to tell a result that is not."""
    plan: dict[str, Any] | None = None
    """Why it was trained as it was."""
    channels: tuple[str, ...] | None = None
    """Names of its image channels, where there are several; null: one image."""
    format: int = FORMAT

    def __post_init__(self) -> None:
        check_model_name(self.name)
        for key in ("title", "task", "licence"):
            check_text(key, getattr(self, key), may_be_empty=True)
        values = [item.value for item in self.structures]
        if values != list(range(1, len(values) + 1)) or not 1 <= len(values) <= MAX_STRUCTURES:
            raise ConfigError(f"'structures' must have the values 1, 2, 3 …; found {values[:20]}.")
        names = [item.name for item in self.structures]
        if len(set(names)) < len(names):
            raise ConfigError(f"'structures' must have different names; found {names[:20]}.")
        check_renderer(self.renderer)
        check_bounds(self, temperature=(1e-3, 1e3), field_of_view=(1e-3, 1e6))
        if self.preparation.spatial_dims != self.network.spatial_dims:
            raise ConfigError("'preparation.window' and 'network.spatial_dims' disagree.")
        if self.asks_scan and self.preparation.spatial_dims != 3:
            raise ConfigError("The renderer's 'voxels' scan are for networks of volumes.")
        if not 1 <= self.format <= FORMAT:
            raise ConfigError(
                f"'format' is {self.format}, and this release reads 1 to {FORMAT}: the model needs "
                "a newer release of MorseSegment."
            )
        if self.format == 1 and (early := [n for n in _BLOCKS if getattr(self, n) is not None]):
            raise ConfigError(f"'{early[0]}' belongs to format 2; found format 1.")
        self._check_channels()
        view = self.field_of_view
        if view is not None and len(view) != self.preparation.spatial_dims:
            raise ConfigError(
                f"'field_of_view' needs {self.preparation.spatial_dims} values in mm; found {view}."
            )

    def _check_channels(self) -> None:
        """Refuse names, intensities and a network that are not of as many channels."""
        check_in_channels(self.preparation, self.network)
        names, count = self.channels, self.network.in_channels
        if (names is None) != (count == 1) or len(names or "1") != count:
            raise ConfigError(
                f"'channels' must name {count} images, and null stands for one; found {names}."
            )
        for name in names or ():
            check_text("channels", name)
        if len(set(names or ())) < len(names or ()):
            raise ConfigError(f"'channels' must have different names; found {names}.")
        if names is not None and self.locator is not None:
            raise ConfigError("'locator' is for models that see one image; found 'channels', too.")

    @property
    def num_classes(self) -> int:
        """Background included."""
        return len(self.structures) + 1

    @property
    def asks_scan(self) -> bool:
        """Whether points are the scan's own voxels, see :class:`RefineConfig`."""
        return getattr(self.renderer, "voxels", "model") == "scan"

    @property
    def grid_stride(self) -> int:
        """Voxels of the prepared image along each axis that are one of the coarse map's grid.

        Where points are the scan's own voxels, the map is made at the backbone's resolution.
        """
        return self.network.backbone_stride if self.asks_scan else 1

    @property
    def grid_window(self) -> tuple[int, ...]:
        """The window in voxels of that grid, array order."""
        return tuple(n // self.grid_stride for n in self.preparation.window_size)

    def result_structures(self) -> tuple[Structure, ...]:
        """For results, free of torch."""
        return tuple(
            Structure(
                item.value, item.name, item.color, item.terminology, freesurfer=item.freesurfer
            )
            for item in self.structures
        )  # fmt: skip


def check_in_channels(preparation: Preparation, network: NetworkConfig) -> None:
    """:raises ConfigError: if a network sees another number of images than are prepared."""
    if network.in_channels != preparation.in_channels:
        raise ConfigError(
            f"'network.in_channels' must be {preparation.in_channels}, as 'preparation.channels' "
            f"describes {len(preparation.channels) or 'none'}; found {network.in_channels}."
        )


def check_renderer(config: Any) -> None:
    """Refuse numbers of a renderer that none is made for.

    :raises ConfigError: naming the number.
    """
    options = encode(config)
    check_magnitudes("renderer", options, integer=2**31, real=1e9)
    for name, most in _MOST_RENDERED.items():
        check_magnitudes(f"renderer.{name}", options.get(name), integer=most)


def check_model_name(name: str) -> str:
    """Return a name that is a plain folder name on every system.

    :raises ConfigError: if it is anything else.
    """
    if not _NAME.fullmatch(name) or name.endswith((".", " ")) or _RESERVED.fullmatch(name):
        raise ConfigError(
            f"'name' must be a plain folder name of at most 80 letters, digits and . _ + -; "
            f"found '{printable_text(name[:100])}'."
        )
    return name


def printable_text(text: str) -> str:
    """Text of others without control characters, which could steer a terminal; lines stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def read_model(folder: Path) -> ModelInfo:
    """Read and check ``model.json``, what the weights' file says of itself, and its hash.

    :raises ModelError: if a file or key is missing or wrong, a file is larger than it may be, or
        the weights were altered.
    """
    if not folder.is_dir():
        raise ModelError(f"The model folder '{folder}' does not exist.")
    for name in (INFO, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"The model folder '{folder}' lacks '{name}'.")
    try:
        info = decode(ModelInfo, read_json(folder / INFO), "")
    except (ConfigError, RecursionError) as error:
        reason = printable_text(str(error))
        raise ModelError(f"The model '{folder.name}' has a faulty model.json: {reason}") from None
    try:
        check_file_size(folder / WEIGHTS)
        read_header(folder / WEIGHTS)
        found = sha256(folder / WEIGHTS)
    except OSError as error:
        raise ModelError(
            f"The weights of '{folder.name}' cannot be read: {error.strerror}."
        ) from None
    if found != info.sha256:
        raise ModelError(
            f"The weights of '{folder.name}' were altered or damaged: their SHA-256 starts with "
            f"{found[:12]}, model.json states {printable_text(info.sha256[:12])}."
        )
    return info


def check_file_size(path: Path) -> None:
    """Refuse a model's file that is larger than any of its name may be (:data:`LARGEST`).

    :raises ModelError: with both sizes. :raises OSError: if the file cannot be looked at.
    """
    size, most = path.stat().st_size, LARGEST[path.name]
    if size > most:
        raise ModelError(
            f"'{path.parent.name}/{path.name}' may have {most:,} bytes; found {size:,}."
        )


def read_card(folder: Path) -> str:
    """The model card. :raises ModelError: if it is missing, too large or no text."""
    path = folder / CARD
    try:
        if path.is_file():  # not a pipe, which one would wait for
            check_file_size(path)
            return printable_text(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        pass
    raise ModelError(f"The model '{folder.name}' has no readable card ({CARD}).") from None


def load_network(folder: Path, info: ModelInfo, *, device: torch.device | str = "cpu") -> Network:
    """The network with its weights, ready to infer.

    :raises ModelError: if the weights do not fit the network or are not finite, or the window does
        not suit the network.
    """
    try:
        stored = read_header(folder / WEIGHTS)
        # Without memory, whatever sizes model.json states, and not more layers than there can be.
        with shapes_only(most=len(stored)):
            empty = info.network.build(num_classes=info.num_classes)
        check_fits(folder.name, stored, empty.state_dict())
        if wrong := [n for n in info.preparation.window if n % empty.divisor]:
            raise ModelError(
                f"The window of '{folder.name}' must be multiples of {empty.divisor}, as its "
                f"network halves it; found {wrong[0]}."
            )
        empty.check_size(info.preparation.window_size, what="the window")
        network = info.network.build(num_classes=info.num_classes)
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, OSError):
        raise ModelError(f"The weights of '{folder.name}' are incomplete or damaged.") from None
    except (ArithmeticError, RuntimeError, TypeError, ConfigError) as error:
        reason = " ".join(printable_text(str(error)).split())[:300]
        raise ModelError(
            f"The weights of '{folder.name}' do not fit its network: {reason}"
        ) from None
    weights = network.state_dict().values()  # single precision may hold less than what was stored
    if not all(bool(torch.isfinite(x).all()) for x in weights if x.is_floating_point()):
        raise ModelError(f"The weights of '{folder.name}' hold values that are not numbers.")
    return network.to(device).eval()


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a state dictionary as safetensors, atomically.

    :raises OutputError: if the file cannot be written.
    """
    with atomic_path(path) as temporary:
        mode = temporary.stat().st_mode
        save_file({name: x.detach().cpu().contiguous() for name, x in weights.items()}, temporary)
        temporary.chmod(mode)  # safetensors leaves 0600, which would hide a model from a group


def write_model(
    folder: Path, info: ModelInfo, weights: Mapping[str, Tensor], *, card: str
) -> ModelInfo:
    """Write a model folder; the hash in ``info`` is replaced by the weights' own.

    :raises OutputError: if it cannot be written; an older model there stays as it was.
    """
    prepare_output_directory(folder)
    with replaced_together(folder, last=INFO) as staged:
        save_weights(staged / WEIGHTS, weights)
        write_text(staged / CARD, card)
        write_json(staged / INFO, encode(info) | {"sha256": sha256(staged / WEIGHTS)})
    return read_model(folder)


def check_text(key: str, text: str, *, may_be_empty: bool = False) -> None:
    """Refuse a text that is no line of at most 1000 characters.

    :raises ConfigError: naming the key.
    """
    if (not text and not may_be_empty) or len(text) > 1000 or not text.isprintable():
        raise ConfigError(
            f"'{key}' must be one line of text, of at most 1000 characters; "
            f"found '{printable_text(text[:60])}'."
        )
