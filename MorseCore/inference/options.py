"""What a user may choose for one run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any

from MorseCore.errors import ConfigError
from MorseCore.images.roi import Roi
from MorseCore.renderers import RENDERERS, RendererConfig
from MorseCore.system.devices import Precision

__all__ = ["PredictOptions", "points_asked", "renderer_parameters"]


@dataclass(frozen=True)
class PredictOptions:
    """What a user may choose for one run; None takes the model's default."""

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

    def __post_init__(self) -> None:
        if self.scale not in (1, 2, 3, 4):
            raise ConfigError(f"The scale must be 1, 2, 3 or 4; found {self.scale}.")
        if self.points is not None and self.points < 1:
            raise ConfigError(
                f"The number of points must be positive; found {self.points}. "
                "To render nothing, ask for 0 passes."
            )
        if self.passes is not None and self.passes < 0:
            raise ConfigError(f"The number of passes must not be negative; found {self.passes}.")

    def renderer(self, default: Any, *, window: Sequence[int]) -> Any:
        """The model's renderer, of :data:`RENDERERS`, with the chosen numbers.

        :param window: the model's, of which its points may be a share.
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
        if getattr(default, "certain_margin", 0):
            own, wanted = (r.points_of(prod(window)) * r.passes for r in (default, result))
            if wanted > own:
                result = replace(result, certain_margin=0.0)
        return result


def points_asked(renderer: RendererConfig, *, window: Sequence[int]) -> int | None:
    """Points that are rendered in a window at most; None for a renderer that sets no number."""
    return renderer.most_points(prod(window))


def renderer_parameters(renderer: Any) -> dict[str, Any]:
    """Of a report: the renderer's name and numbers."""
    return {"renderer": RENDERERS.name_of(renderer), **asdict(renderer)}
