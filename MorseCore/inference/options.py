"""What a run is given: what the user chose, how windows are computed, and who watches."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import prod
from typing import Any, Literal, get_args

from MorseCore.errors import Cancelled, ConfigError
from MorseCore.images.roi import Roi
from MorseCore.renderers import RENDERERS, Renderer, RendererConfig
from MorseCore.store.model_folder import ModelInfo, WindowConfig
from MorseCore.system.acceptance import Acceptance
from MorseCore.system.devices import Precision

__all__ = [
    "UNWATCHED",
    "PredictOptions",
    "RunMonitor",
    "ShouldStop",
    "StageProgress",
    "Verdict",
    "WindowSettings",
    "points_asked",
    "renderer_parameters",
]

Verdict = Literal["fast", "full", "off"]
_MOST = 2**31  # points, or passes; a pass beyond the last voxel renders none
ShouldStop = Callable[[], bool]
"""Answers yes when the caller wants the run to end."""
StageProgress = Callable[[str, float], None]
"""Called with the stage of a run (``prepare``, ``network``, ``restore``) and its share, 0..1."""


@dataclass(frozen=True)
class PredictOptions:
    """What a user may choose for one run; None takes the model's default.

    :raises ConfigError: if a number makes no sense.
    """

    roi: Roi | None = None
    """Segment only inside this box."""
    points: int | None = None
    """Points rendered per window and pass, at most. A model may leave out those that are certain,
    but not if more points are asked for than its own number."""
    passes: int | None = None
    """Rendering passes; 0 renders nothing, refined = coarse."""
    scale: int = 1
    """Output grid this many times finer than the input's, asked from the field."""
    precision: Precision = "auto"
    """Of the computation; ``auto`` takes what the device computes fastest."""
    accept: tuple[str, ...] = ()
    """Refusals to overrule, of :data:`MorseCore.system.acceptance.ACCEPTABLE`."""
    verdict: Verdict = "fast"
    """How a result is checked: ``fast`` takes one coarse pass more, of the mirror image, where the
    model allows it; ``full`` takes four more; ``off`` gives no verdict."""

    def __post_init__(self) -> None:
        if self.scale not in (1, 2, 3, 4):
            raise ConfigError(f"The scale must be 1, 2, 3 or 4; found {self.scale}.")
        Acceptance(self.accept)  # knows the names
        if self.verdict not in get_args(Verdict):
            raise ConfigError(
                f"The verdict must be one of {', '.join(get_args(Verdict))}; "
                f"found '{self.verdict}'."
            )
        if self.points is not None and self.points < 1:
            raise ConfigError(
                f"The number of points must be positive; found {self.points}. "
                "To render nothing, ask for 0 passes."
            )
        if self.passes is not None and self.passes < 0:
            raise ConfigError(f"The number of passes must not be negative; found {self.passes}.")
        for name in ("points", "passes"):
            if (getattr(self, name) or 0) > _MOST:
                raise ConfigError(f"The number of {name} may be {_MOST:,} at most.")

    def renderer(self, default: Any, *, window: Sequence[int]) -> Any:
        """The model's renderer, of :data:`RENDERERS`, with the chosen numbers.

        :param default: the model's renderer.
        :param window: the model's, array order, of which its points may be a share.
        :raises ConfigError: if a number is chosen that this renderer does not have.
        """
        wanted = {"points": self.points, "passes": self.passes}
        chosen = {name: value for name, value in wanted.items() if value is not None}
        for name in chosen:
            if not hasattr(default, name):
                raise ConfigError(
                    f"The model renders by '{RENDERERS.name_of(default)}', which has no number of "
                    f"{name} to choose."
                )
        result = replace(default, **chosen)
        if "points" in chosen and hasattr(default, "points_fraction"):
            result = replace(result, points_fraction=0.0)  # the number counts, not a share
        if getattr(default, "certain_margin", 0) and default.voxels == "model":
            own, wanted = (r.points_of(prod(window)) * r.passes for r in (default, result))
            if wanted > own:
                result = replace(result, certain_margin=0.0)
        return result

    def window_settings(self, info: ModelInfo) -> "WindowSettings":
        """How a model's windows are computed with these options.

        :raises ConfigError: as :meth:`renderer`.
        """
        window, scale = info.preparation.window_size, self.scale
        renderer = self.renderer(info.renderer, window=window)
        if info.asks_scan:  # later, of the scan's voxels
            renderer, scale = replace(renderer, passes=0, coarse_stride=1), 1
        return WindowSettings(
            info.grid_window, renderer.build(), info.windows, scale=scale, stride=info.grid_stride,
            temperature=info.temperature, precision=self.precision,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class WindowSettings:
    """How the windows of a volume are computed, rendered and blended."""

    window: Sequence[int]
    """Size of a window in voxels of the grid, array order; two sizes for a 2D network."""
    renderer: Renderer
    """Asks each window's field."""
    windows: WindowConfig
    """How windows overlap, and how many are computed at once."""
    scale: int = 1
    """Ask the fields on a grid this many times finer; a 2D network leaves K as it is."""
    stride: int = 1
    """Voxels of the image along each axis that are one of the grid on which windows are laid and
    fields are asked."""
    temperature: float = 1.0
    """Of the probabilities, softmax(logits / temperature)."""
    precision: Precision = "auto"
    """Of network and renderer."""


@dataclass(frozen=True)
class RunMonitor:
    """Who watches a run: told how far it is, asked whether it shall go on.

    Example::

        monitor = RunMonitor(bar.update, should_stop=button.is_pressed)
        for n, window in enumerate(windows, start=1):
            monitor.check()
            compute(window)
            monitor.tell(n / len(windows))
    """

    progress: Callable[[float], None] | None = None
    """Called with the share that is done, 0..1."""
    should_stop: ShouldStop | None = None
    """Asked before each piece of work."""

    @classmethod
    def of_stage(
        cls, stage: str, progress: StageProgress | None, should_stop: ShouldStop | None
    ) -> "RunMonitor":
        """The monitor of one stage, for a caller who follows several."""
        return cls(None if progress is None else partial(progress, stage), should_stop)

    def part(self, index: int, count: int) -> "RunMonitor":
        """The monitor of one of ``count`` equal parts of the run."""
        return RunMonitor(lambda share: self.tell((index + share) / count), self.should_stop)

    def tell(self, share: float) -> None:
        """Report the share that is done, 0..1."""
        if self.progress is not None:
            self.progress(share)

    def check(self, task: str = "The segmentation") -> None:
        """Go on only if nobody wants to stop.

        :param task: what the error names, the beginning of a sentence.
        :raises Cancelled: if ``should_stop`` answers yes.
        """
        if self.should_stop is not None and self.should_stop():
            raise Cancelled(f"{task} was cancelled.")


UNWATCHED = RunMonitor()
"""Nobody watches."""


def points_asked(renderer: RendererConfig, *, window: Sequence[int]) -> int | None:
    """Most points that are rendered in a window; None for a renderer that sets no number.

    :param window: size in voxels.
    """
    return renderer.most_points(prod(window))


def renderer_parameters(renderer: Any) -> dict[str, Any]:
    """The renderer's name and numbers, as a report holds them."""
    return {"renderer": RENDERERS.name_of(renderer), **asdict(renderer)}
