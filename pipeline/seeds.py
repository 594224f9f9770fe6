"""Random streams: each member has its own, named after what they are for.

A stream depends on the member's seed and the stream's name alone, so that a network's
weights don't change when its bias scheme does, nor with what shares its stack.
"""

import hashlib

import torch

__all__ = ["CONFIRMATION_OFFSET", "MAX_SEED", "confirmation_seeds", "replicate_seeds", "stream", "stream_seed"]

SEEDS_PER_STUDY = 10_000
CONFIRMATION_OFFSET = 5_000
MAX_SEED = 2**40


def stream_seed(seed: int, name: str) -> int:
    """A 63-bit seed for the stream ``name`` of ``seed`` (SHA-256, so streams are unrelated)."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, name: str) -> torch.Generator:
    """The generator of the stream ``name`` of ``seed``."""
    return torch.Generator().manual_seed(stream_seed(seed, name))


def replicate_seeds(seed: int, count: int) -> list[int]:
    """The member seeds of a trial's replicates; with seed 0 they read 0, 1, 2, ..."""
    return [seed * SEEDS_PER_STUDY + i for i in range(count)]


def confirmation_seeds(seed: int, count: int) -> list[int]:
    """Fresh member seeds to confirm a winner on: never among ``replicate_seeds``."""
    return [seed * SEEDS_PER_STUDY + CONFIRMATION_OFFSET + i for i in range(count)]
