"""What a training compares with, its losses, and the schedules of their weights (MORSE Eq. 4)."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from MorseCore.errors import ConfigError

__all__ = [
    "POINT_LOSSES",
    "SCHEDULES",
    "ClassWeighting",
    "Schedule",
    "Targets",
    "point_cross_entropy",
    "point_region_loss",
    "region_loss",
    "render_weight",
    "soft_region_loss",
]

Schedule = Literal["awa", "constant_from_half", "from_scratch"]
SCHEDULES: tuple[str, ...] = get_args(Schedule)


@cache
def _dice_ce(smooth: float) -> nn.Module:
    from monai.losses import DiceCELoss  # imported here: it costs 3 s, and only training needs it

    # As in MORSE's code: softmax probabilities, all classes, squared denominators, sums over the
    # whole batch; "equal combination" of both terms.
    return DiceCELoss(
        to_onehot_y=True, softmax=True, squared_pred=True, batch=True,
        smooth_nr=smooth, smooth_dr=smooth, lambda_dice=0.5, lambda_ce=0.5,
    )  # fmt: skip


def region_loss(logits: Tensor, labels: Tensor, *, smooth: float = 1e-5) -> Tensor:
    """L_sup = (CE + Dice) / 2 of a map: (B, C, *S), (B, *S) int64 -> scalar.

    :param smooth: added above and below the Dice fraction: 1e-5 in MORSE's code, 1 in SwIPE.
    """
    loss: Tensor = _dice_ce(smooth)(logits.float(), labels[:, None])
    return loss


def point_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """L_rend, mean cross-entropy of points: (B, P, C), (B, P) int64 -> scalar."""
    return functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten())


def point_region_loss(logits: Tensor, labels: Tensor, *, smooth: float = 1e-5) -> Tensor:
    """(CE + Dice) / 2 of points, as L_sup is of pixels: (B, P, C), (B, P) int64 -> scalar."""
    return region_loss(logits.transpose(1, 2), labels, smooth=smooth)


POINT_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": point_cross_entropy,
    "dice_ce": point_region_loss,
}


def render_weight(schedule: Schedule, step: int, *, steps: int, peak: float = 0.1) -> float:
    """Weight lambda_t of L_rend at iteration t = ``step`` of T = ``steps``.

    ``awa`` is MORSE's adaptive weight adjustment, Eq. 4: ``peak * 1[t > T/2] * (t - T/2) / T``,
    which never exceeds ``peak / 2``; the other two are the rows of Table 4.

    :param peak: lambda_rend, 0.1 in the paper. The released code leaves it out (maximum 0.5).
    :raises ConfigError: for an unknown schedule.
    """
    half = steps / 2
    rules: dict[str, Callable[[], float]] = {
        "awa": lambda: peak * (step - half) / steps if step > half else 0.0,
        "constant_from_half": lambda: peak if step > half else 0.0,
        "from_scratch": lambda: peak,
    }
    if schedule not in rules:
        raise ConfigError(f"'schedule' must be one of {', '.join(rules)}; found '{schedule}'.")
    return rules[schedule]()


ClassWeighting = Literal["none", "inverse_sqrt"]

_PIECE = {"cpu": 1 << 14}  # pixels at a time: 2 MB of 33 classes
_ALL = 1 << 24  # on other devices
_SMOOTH = 1e-3  # pixels, below the Dice fraction
_IMPOSSIBLE = -1e4  # a logit whose probability is 0


def soft_region_loss(
    logits: Tensor, shares: Tensor, *, weighting: ClassWeighting = "none"
) -> Tensor:
    """L_sup = (CE + Dice) / 2 of a map against soft labels.

    With ``q`` the soft label and ``p`` the softmax, CE is the weighted mean of -sum_c q_c log p_c,
    and Dice the mean over the classes present of 1 - 2 sum(p q) / (sum(p) + sum(q)), background
    left out; the sums run over the whole batch.

    :param logits: (B, C, *S).
    :param shares: (B, N, *S) uint8 classes at N places inside each pixel.
    :param weighting: of the cross-entropy. ``inverse_sqrt`` weights class c by 1 / sqrt(n_c), n_c
        its pixels in the batch. Unweighted, a brain's small structures were still missing after
        1,000 iterations; weighted, all were there after 500, but too large, so that the last part
        of a training should be unweighted.
    :return: scalar, in single precision at least.
    """
    columns = logits.transpose(0, 1).flatten(1)  # (C, M), a view of one image
    places = shares.transpose(0, 1).flatten(1)  # (N, M)
    loss: Tensor = _SoftRegionLoss.apply(columns, places, weighting)
    return loss


def _class_weights(counts: Tensor, weighting: ClassWeighting) -> Tensor:
    """(C,) weight of a pixel of each class; over all pixels they sum to one."""
    if weighting == "none":
        return torch.full_like(counts, 1.0) / counts.sum()
    present = counts > 0
    return torch.where(present, counts.clamp_min(1e-9).rsqrt(), 0.0) / counts.sqrt().sum()


class _SoftRegionLoss(torch.autograd.Function):
    """The loss above of columns (C, M) and places (N, M).

    Classes come first in each piece, so that sums over them run along whole rows of pixels.
    """

    @staticmethod
    def forward(ctx: Any, columns: Tensor, places: Tensor, weighting: ClassWeighting) -> Tensor:
        number, classes = len(places), len(columns)
        kind = torch.promote_types(columns.dtype, torch.float32)
        counts = torch.bincount(places.flatten(), minlength=classes).to(kind) / number
        weights = _class_weights(counts, weighting)
        predicted, shared = torch.zeros_like(counts), torch.zeros_like(counts)
        entropy = torch.zeros((), dtype=kind, device=columns.device)
        for piece in _pieces(columns):
            p = _probabilities(columns[:, piece], kind)  # (C, m)
            where = places[:, piece].long()  # (N, m)
            at = p.gather(0, where)
            predicted += p.sum(1)
            shared.index_add_(0, where.flatten(), at.flatten() / number)
            entropy -= (at.clamp_min_(1e-7).log_() * weights[where]).sum() / number
        size = predicted + counts + _SMOOTH
        present = counts > 0
        present[0] = False
        found = present.sum().clamp_min(1)
        dice = torch.where(present, 1 - 2 * shared / size, 0.0).sum() / found
        # d(Dice)/dp of a pixel is ``every`` plus, for its own classes, their share of ``own``.
        own = torch.where(present, -2 / size / found, 0.0)
        every = torch.where(present, 2 * shared / size**2 / found, 0.0)
        ctx.save_for_backward(columns, places, weights, own, every)
        return (entropy + dice) / 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        columns, places, weights, own, every = ctx.saved_tensors
        number = len(places)
        result = torch.empty_like(columns)
        for piece in _pieces(columns):
            p = _probabilities(columns[:, piece], weights.dtype)  # (C, m)
            where = places[:, piece].long()  # (N, m)
            weight = weights[where]
            pull = p.gather(0, where) * own[where]
            mean = every @ p + pull.mean(0)  # sum_c p_c dDice/dp_c
            p *= every[:, None] + (weight.mean(0) - mean)
            p.scatter_add_(0, where, (pull - weight) / number)
            result[:, piece] = p.mul_(gradient / 2)
        return result, None, None


def _pieces(columns: Tensor) -> Iterator[slice]:
    size = _PIECE.get(columns.device.type, _ALL)
    count = columns.shape[1]
    return (slice(first, min(first + size, count)) for first in range(0, count, size))


def _probabilities(columns: Tensor, kind: torch.dtype) -> Tensor:
    """Softmax over classes of (C, m), in memory of its own, classes first."""
    return columns.to(kind, memory_format=torch.contiguous_format).softmax(0)


class Targets(NamedTuple):
    """The reference of a batch. ``B`` batch, ``*S`` space, ``P`` points, ``D`` dimensions."""

    labels: Tensor
    """(B, *S) int64."""
    points: Tensor | None = None
    """(B, P, D) coordinates, (x, y[, z]) in [-1, 1], of the points that were drawn before the
    training and lie in the crop; None unless the sampler works with such."""
    shares: Tensor | None = None
    """(B, N, *S) uint8, labels at N places inside each pixel, whose frequencies are a soft label;
    None where a pixel is one class."""
    unannotated: Tensor | None = None
    """(B, C or more) bool, the classes that were not drawn in an image, which its background may
    hide; None where all were."""

    def merge_unannotated(self, logits: Tensor, *, axis: int) -> Tensor:
        """Logits in which background has the probability of all classes that were not drawn, too.

        Then "background" is right wherever such a class may be, and the loss says nothing of it.

        :param logits: (B, ..., C, ...) with the classes along ``axis``; the same comes back.
        """
        if self.unannotated is None:
            return logits
        classes = logits.shape[axis]
        hidden = self.unannotated[:, :classes]  # (B, C)
        merged = hidden.clone()
        merged[:, 0] = True
        shape = [1] * logits.ndim
        shape[0], shape[axis] = hidden.shape
        is_hidden, is_merged = hidden.view(shape), merged.view(shape)
        logits = logits.float()
        together = logits.masked_fill(~is_merged, _IMPOSSIBLE).logsumexp(axis, keepdim=True)
        is_background = is_merged & ~is_hidden
        return torch.where(is_background, together, logits.masked_fill(is_hidden, _IMPOSSIBLE))

    def shares_of_cells(self, cell: int) -> Tensor:
        """Labels at the places inside each cell of ``cell`` pixels an axis.

        :return: (B, N * cell^D, *S / cell), N being 1 where a pixel is one class.
        """
        places = self.labels[:, None] if self.shares is None else self.shares
        if cell == 1:
            return places
        batch, number, *size = places.shape
        dims = len(size)
        split = places.view(batch, number, *(m for n in size for m in (n // cell, cell)))
        inside, cells = range(3, 3 + 2 * dims, 2), range(2, 2 + 2 * dims, 2)
        return split.permute(0, 1, *inside, *cells).flatten(1, 1 + dims)
