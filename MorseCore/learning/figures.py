"""What a validation found, and who can find it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from MorseCore.learning.distributed import World
from MorseCore.network import Network

__all__ = ["DataFacts", "Figures", "Validation"]


@dataclass(frozen=True)
class Figures:
    """Means over structures and images, by stage (``coarse``, ``refined``)."""

    means: dict[str, dict[str, float]]
    """Stage -> measure -> value; ``dice`` is always there."""
    missed: dict[str, int]
    """Stage -> structures that were not found at all, summed over images."""
    structures: dict[str, float] = field(default_factory=dict)
    """Structure -> DSC of the last stage, where that is to be written down as well."""


class Validation(Protocol):
    """Images that are set aside, and how a network is measured on them."""

    def measure(
        self,
        network: Network,
        *,
        world: World,
        should_stop: Callable[[], bool] | None = None,
    ) -> Figures:
        """Measure a network.

        :raises Cancelled: on every process, if ``should_stop`` answered yes on one.
        """


@dataclass(frozen=True)
class DataFacts:
    """What a model's card says of the data it learned from."""

    labels: dict[int, str]
    """Value -> name, background (0) included."""
    splits: dict[str, int]
    """Number of cases, or label maps, by split."""
    licence: str
    figures: dict[str, Any] = field(default_factory=dict)
    """Split -> stage -> structure or ``mean`` -> measures."""
    field_of_view: tuple[float, ...] | None = None
    """Largest extent in mm along x, y, z of the training images; None: no limit."""
    is_generated: bool = False
    """Whether the images were drawn from label maps."""
