"""What a resumed run must have in common with its beginning, and how the two differ."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from MorseCore.config import encode
from MorseCore.learning.dataset import PreparedCase
from MorseCore.learning.training_config import RunConfig

__all__ = ["differences", "fingerprint"]

_DECISIVE = ("preparation", "network", "sampler", "augmentation", "optimisation", "seed")


def fingerprint(
    config: RunConfig, cases: Sequence[PreparedCase], *, processes: int
) -> dict[str, Any]:
    """Everything that decides the weights. Where the data lie and how they are read does not.

    :param cases: the training cases; they count by name, size and labels.
    """
    data = encode(config)
    return {
        **{key: data[key] for key in _DECISIVE},
        "data": {"foreground": config.data.foreground, "cases": _digest(cases)},
        "processes": processes,
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``place (was X, is Y)`` for each value that changed.

    A key that ``before`` does not know is none: an older version wrote it, and what is new has a
    default that does as that version did.
    """
    old, new = _flat(before), _flat(now)
    return [
        f"{key} (was {json.dumps(old[key])}, is {json.dumps(value)})"
        for key, value in sorted(new.items())
        if key in old and old[key] != value
    ]


def _flat(data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in data.items():
        place = f"{where}{key}"
        result |= _flat(value, f"{place}.") if isinstance(value, Mapping) else {place: value}
    return result


def _digest(cases: Sequence[PreparedCase]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for case in cases:
        digest.update(f"{case.name} {case.labels.shape} ".encode())
        digest.update(case.labels.tobytes())
    return digest.hexdigest()
