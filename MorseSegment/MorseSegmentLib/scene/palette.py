"""One colour scale for uncertainty, used by the points, the volume and the legend alike."""

import numpy as np

__all__ = ["BIN_EDGES", "binColors", "binOf", "uncertaintyColors"]

# Yellow to magenta: lightness falls and blue rises all along, so that the order also reads with
# red-green colour blindness, and no stop is grey as the image is.
_STOPS = np.array([[1.00, 0.93, 0.20], [1.00, 0.55, 0.35], [0.90, 0.10, 0.75]])

BIN_EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Fixed, so that a colour means the same uncertainty in every case."""


def uncertaintyColors(values: np.ndarray) -> np.ndarray:
    """RGB (0..1) of uncertainties (0..1); shape (N,) -> (N, 3)."""
    clipped = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    stops = np.linspace(0.0, 1.0, len(_STOPS))
    return np.stack([np.interp(clipped, stops, channel) for channel in _STOPS.T], axis=-1)


def binColors() -> np.ndarray:
    """(5, 3) RGB: the scale sampled from its first to its last colour, a bin each."""
    return uncertaintyColors(np.linspace(0.0, 1.0, len(BIN_EDGES) - 1))


def binOf(uncertainty: np.ndarray) -> np.ndarray:
    """Bin number 0..4 of each uncertainty; a value on an edge belongs to the upper bin."""
    return np.clip(np.digitize(uncertainty, BIN_EDGES[1:-1]), 0, len(BIN_EDGES) - 2)
