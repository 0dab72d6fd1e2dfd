"""Pixels to evaluate, as rows of indices of one length."""

from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

__all__ = ["pad_rows"]


def pad_rows(wanted: Tensor) -> tuple[Tensor, int]:
    """Positions of the true entries of (B, N) bool as (B, P), and how many there are altogether.

    P is the most of an image, since a field is asked for equally many points of each. Shorter rows
    end with 0: the first pixel belongs to every lattice, so it is asked in any case.
    """
    rows = [row.nonzero()[:, 0] for row in wanted]
    return pad_sequence(rows, batch_first=True, padding_value=0), sum(map(len, rows))
