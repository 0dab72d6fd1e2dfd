"""SwIPE's cascade aggregation: finer maps are averaged and added to coarser ones (neck E_n)."""

from collections.abc import Sequence
from math import prod

from torch import Tensor

__all__ = ["aggregate", "average_pool"]


def average_pool(x: Tensor, factor: int) -> Tensor:
    """Means over blocks of ``factor`` pixels an axis: (B, C, *S) -> (B, C, *S / factor).

    Written as a reshape: exact, alike in 2D and 3D, and with a deterministic gradient on GPUs.
    """
    if factor == 1:
        return x
    for axis in range(2, x.ndim):
        x = x.unflatten(axis, (-1, factor)).mean(axis + 1)
    return x


def aggregate(maps: Sequence[Tensor], factors: Sequence[int], *, cascade: bool) -> list[Tensor]:
    """One map per level, all at the coarsest resolution.

    With D the average pooling to the next level and a_n the level's own map,
    s_{n+1} = D(a_n + s_n), s of the finest being 0. Level n < L gives D(... D(s_{n+1})), the
    coarsest a_L + s_L: for four levels at strides 4 to 32 the released ``ShapeMapperV3``, with
    s_8 = D(a_4), s_16 = D(a_8 + s_8), s_32 = D(a_16 + s_16), of which e_2 to e_5 are made. The
    paper draws four levels; the rule holds for any number. Without the cascade (ablation) each
    level gives its own map, averaged down.

    :param maps: (B, h, *S_n), fine to coarse.
    :param factors: ratio of each level's stride to that of the next finer one; one fewer than maps.
    """
    if not cascade:
        return [average_pool(a, prod(factors[n:])) for n, a in enumerate(maps)]
    carried: Tensor | None = None
    results = []
    for n, own in enumerate(maps[:-1]):
        carried = average_pool(own if carried is None else own + carried, factors[n])
        results.append(average_pool(carried, prod(factors[n + 1 :])))
    results.append(maps[-1] if carried is None else maps[-1] + carried)
    return results
