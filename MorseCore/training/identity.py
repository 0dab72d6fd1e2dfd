"""What a resumed run must have in common with its beginning, and how the two differ."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from MorseCore.config import encode
from MorseCore.training.config import RunConfig
from MorseCore.training.dataset import PreparedCase

__all__ = ["differences", "digest_of", "fingerprint"]

_DECISIVE = (
    "preparation", "network", "sampler", "augmentation", "generation", "optimisation",
    "initialise", "train", "seed",
)  # fmt: skip
_MAY_GROW = ("optimisation.iterations", "optimisation.continued_from")


def fingerprint(config: RunConfig, digest: str, *, processes: int) -> dict[str, Any]:
    """Everything that decides the weights. Where the data lie and how they are read does not.

    :param digest: of the data.
    """
    data = encode(config)
    return {
        **{key: data[key] for key in _DECISIVE},
        "data": {
            "source": config.data.source, "foreground": config.data.foreground, "cases": digest,
            "generated_share": config.data.generated_share,
        },
        "processes": processes,
    }  # fmt: skip


def digest_of(cases: Sequence[PreparedCase]) -> str:
    """Of training cases, which count by name, size and labels."""
    digest = hashlib.blake2b(digest_size=8)
    for case in cases:
        digest.update(f"{case.name} {case.labels.shape} ".encode())
        digest.update(case.labels.tobytes())
        if case.unannotated:
            digest.update(f"without {case.unannotated}".encode())
    return digest.hexdigest()


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``place (was X, is Y)`` for each value that changed.

    A key that ``before`` does not know is none: an older version wrote it, and what is new has a
    default that does as that version did. More iterations are no difference: a training may be
    made longer.
    """
    old, new = _flat(before), _flat(now)
    return [
        f"{key} (was {json.dumps(old[key])}, is {json.dumps(value)})"
        for key, value in sorted(new.items())
        if key in old and old[key] != value and not (key in _MAY_GROW and value > old[key])
    ]


def _flat(data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in data.items():
        place = f"{where}{key}"
        result |= _flat(value, f"{place}.") if isinstance(value, Mapping) else {place: value}
    return result
