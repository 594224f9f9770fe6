"""Faults are injected for real, under seeds that are printed."""

import os
import random

import pytest


@pytest.fixture
def rng(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> random.Random:
    """Randomness under INITLAB_FAULT_SEED, or a fresh seed, which is printed."""
    seed = int(os.environ.get("INITLAB_FAULT_SEED", random.SystemRandom().randrange(2**32)))
    with capsys.disabled():
        print(f"\n{request.node.name}: INITLAB_FAULT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def figure(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]):
    """Prints a figure, whatever becomes of the test."""

    def show(text: object) -> None:
        with capsys.disabled():
            print(f"\n{request.node.name}: {text}")

    return show
