"""Compute the backbone with OpenVINO on a CPU; torch computes the head and what is not converted.

OpenVINO is an extra (``pip install -e ".[cpu]"``) that runs only where it is asked for. On two
cores it took 0.49 times torch's time for a window of the shipped model's 3D-UNet in float32, and
0.62 times in bf16 (``Training/research/benchmarks/engines.py``). Converting takes seconds, so it
pays for large images and for batches.
"""

import logging
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from MorseCore.backbones.pyramid import Backbone, Pyramid
from MorseCore.errors import ConfigError, DeviceError
from MorseCore.network import Network

__all__ = ["Engine", "OpenVinoBackbone", "use_engine"]

Engine = Literal["torch", "openvino"]
_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
log = logging.getLogger(__name__)


def use_engine(
    network: Network, engine: str, *, device: torch.device, window: Sequence[int], channels: int = 1
) -> str:
    """Have the backbone computed by an engine; the network is changed in place.

    :param engine: ``torch`` or ``openvino``.
    :param window: size in voxels, array order, of the images that it will see; the conversion is
        compared with torch on one of them.
    :param channels: of an image.
    :return: what computes it, with its version. A backbone that OpenVINO cannot convert stays with
        torch, and a warning says so.
    :raises ConfigError: if there is no such engine, or it is not installed.
    :raises DeviceError: if OpenVINO is asked for and the device is no CPU.
    """
    if engine not in get_args(Engine):
        raise ConfigError(
            f"There is no engine '{engine}'; there are {', '.join(get_args(Engine))}."
        )
    if engine == "openvino":
        if device.type != "cpu":
            raise DeviceError(
                f"The engine 'openvino' is for a CPU (--device cpu); the device is '{device}'."
            )
        openvino = _import_openvino()
        try:
            size = [n // network.backbone_stride for n in window]
            network.backbone = OpenVinoBackbone(network.backbone, size, channels=channels)
        except Exception as error:  # whatever its converter raises; it has no type of its own
            log.debug("conversion failed", exc_info=True)
            reason = (str(error).strip().splitlines() or ["no message"])[0]
            log.warning("OpenVINO cannot convert this backbone; torch computes it (%s).", reason)
        else:
            return f"openvino {openvino.__version__.split('-')[0]}"
    return f"torch {torch.__version__}"


class OpenVinoBackbone(Backbone):
    """A backbone whose maps OpenVINO computes, as :class:`Pyramid`, like the original's.

    For images of the window's size; each batch size is compiled when it first occurs, in some
    tenths of a second. The precision is that of the autocast around the call.
    """

    def __init__(self, backbone: Backbone, window: Sequence[int], *, channels: int = 1) -> None:
        """:raises Exception: if it cannot be converted, or gives other maps than torch."""
        super().__init__()
        openvino = _import_openvino()
        self.spec = backbone.spec
        noise = torch.Generator().manual_seed(0)
        example = torch.randn((1, channels, *window), generator=noise)
        self._model = _convert(openvino, backbone, example)
        self._core = openvino.Core()
        self._compiled: dict[tuple[Any, ...], Any] = {}
        with torch.no_grad():
            _compare(self(example).levels, backbone(example).levels)

    def forward(self, image: Tensor) -> Pyramid:
        """(B, C_in, *S) on the CPU -> maps in single precision."""
        found = self._compile(tuple(image.shape))(image.float().contiguous().numpy())
        levels = tuple(torch.from_numpy(values) for values in found.values())
        return Pyramid(levels, tuple(image.shape[2:]))

    def _compile(self, shape: tuple[int, ...]) -> Any:
        is_mixed = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if is_mixed else torch.float32
        key = (*shape, dtype)
        if key not in self._compiled:
            model = self._model.clone()
            model.reshape(list(shape))
            self._compiled[key] = self._core.compile_model(model, "CPU", {
                "INFERENCE_PRECISION_HINT": _HINTS[dtype],
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            })  # fmt: skip
        return self._compiled[key]


def _convert(openvino: ModuleType, backbone: nn.Module, example: Tensor) -> Any:
    root = logging.getLogger()
    level = root.level
    try:
        # Not in inference mode, in which our layers take an operation that the converter lacks.
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, about sizes, which are compiled in
            return openvino.convert_model(_Levels(backbone).eval(), example_input=example)
    finally:
        root.setLevel(level)  # the converter sets it for everybody, and warnings would be lost


def _compare(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """Trust no conversion: a UNETR on 8 x 16 pixels was wrong by a tenth and raised nothing.

    :raises ValueError: if a map differs by more than rounding does.
    """
    for a, b in zip(found, expected, strict=True):
        if a.shape != b.shape or not (a - b).abs().max() <= 1e-2 * b.abs().max():
            raise ValueError("its maps differ from torch's")


class _Levels(nn.Module):
    """A backbone that gives a tuple, which is all that the converter knows."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        levels: tuple[Tensor, ...] = self.backbone(image).levels
        return levels


def _import_openvino() -> ModuleType:
    """Import OpenVINO with its telemetry switched off.

    :raises ConfigError: if it is not installed.
    """
    if "openvino" not in sys.modules:
        # OpenVINO reports its use when it is imported; without this package it takes a stub.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError:
        sys.modules.pop("openvino_telemetry", None)
        raise ConfigError(
            "The engine 'openvino' is not installed: pip install \"openvino>=2026\"."
        ) from None
    module: ModuleType = openvino
    return module
