"""Losses and the schedules of their weights (MORSE §2, Eq. 4)."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from MorseCore.errors import ConfigError

__all__ = [
    "POINT_LOSSES",
    "SCHEDULES",
    "Schedule",
    "point_cross_entropy",
    "point_region_loss",
    "region_loss",
    "render_weight",
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
