"""Seeds that depend on what is drawn, not on how many draws came before.

A training sample is seeded by (seed, step, index), so a run that is resumed, or that has another
number of workers, draws the very same numbers.
"""

import hashlib

import torch

__all__ = ["generator_for", "home_of", "seed_for"]


def seed_for(*parts: int | str) -> int:
    """A 63-bit seed from any number of integers and words."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by :func:`seed_for`."""
    return torch.Generator().manual_seed(seed_for(*parts))


def home_of(generator: torch.Generator | None) -> torch.device:
    """Where a generator draws; the global one, None, draws on the CPU."""
    return generator.device if generator is not None else torch.device("cpu")
