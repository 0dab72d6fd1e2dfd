"""What a ratio could be at best: counted operations, as if each cost as much wherever it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from MorseCore.metrics.cost import measure_cost
from MorseCore.network import Network
from MorseCore.renderers import RefineConfig

__all__ = ["Operations", "count"]


@dataclass(frozen=True)
class Operations:
    """Multiply-adds (GMAC) of one window."""

    backbone: float
    coarse: float
    """MORSE: its backbone and the coarse mask."""
    rendered: float
    """MORSE with its points."""

    @property
    def inference(self) -> float:
        """MORSE over its backbone."""
        return self.rendered / self.backbone

    @property
    def training(self) -> float:
        """The same, mean of the halves of a run, of which the first has no points (AWA, Eq. 4)."""
        return (self.coarse + self.rendered) / 2 / self.backbone

    def __str__(self) -> str:
        return (
            f"backbone {self.backbone:.2f} GMAC, with the coarse mask {self.coarse:.2f}, "
            f"with points {self.rendered:.2f}"
        )


def count(
    networks: Mapping[str, Network], *, size: Sequence[int], stride: int, points: int, passes: int
) -> Operations:
    """Count on a window (axes of the network) of zeros.

    :param networks: ``MORSE`` and ``backbone``, which has a linear layer for its head.
    :param stride: of MORSE's coarse mask; the backbone's is at every pixel.
    """

    def gmac(name: str, renderer: RefineConfig) -> float:
        network, painter = networks[name], renderer.build()
        return measure_cost(network, lambda x: painter.render(network(x)), size=size).macs / 1e9

    coarse = RefineConfig(passes=0, coarse_stride=stride)
    rendered = RefineConfig(points=points, passes=passes, coarse_stride=stride)
    return Operations(
        gmac("backbone", RefineConfig(passes=0)), gmac("MORSE", coarse), gmac("MORSE", rendered)
    )
