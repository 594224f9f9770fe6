"""Broken configurations: exit 2, at most two lines, no traceback, nothing written."""

import random
from collections import Counter

import pytest
from attempts import Attempt, attempt, files, run_command
from broken import LISTED, broken
from hypothesis import HealthCheck, Phase, given, seed, settings
from laboratory import SEED

DRAWN = 300
# As drawn, a configuration says enough: to look for a smaller one takes minutes.
DRAWING = settings(
    max_examples=DRAWN + 100,
    phases=[Phase.generate],
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def no_store_of_ones_own(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "INITLAB_STORAGE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "arguments", LISTED, ids=lambda arguments: " ".join(arguments)[:60].encode("unicode_escape").decode()
)
def test_listed(arguments):
    found = attempt(arguments)
    assert not found.trouble, (arguments, found.trouble)


def test_drawn():
    print(f"INITLAB_FAULT_SEED={SEED}")
    refused: dict[tuple[str, ...], Attempt] = {}

    @seed(SEED)
    @DRAWING
    @given(broken)
    def every_one_is_refused(arguments):
        if tuple(arguments) not in refused and len(refused) < DRAWN:
            found = attempt(arguments)
            assert not found.trouble, (arguments, found.trouble)
            refused[tuple(arguments)] = found

    every_one_is_refused()
    verbs = Counter(arguments[0] for arguments in refused).most_common()
    print(f"{len(refused)} broken configurations drawn, {len(LISTED)} listed: exit 2, at most two lines,")
    print(f"no traceback, nothing written; {', '.join(f'{n} {verb}' for verb, n in verbs)}")
    assert len(refused) == DRAWN


@pytest.mark.parametrize("arguments", random.Random(SEED).sample(LISTED, 10), ids=str)
def test_as_processes(arguments, tmp_path):
    if any("\udcff" in text for text in arguments):
        arguments = ["sweep", "seed=\udcff"]
    done = run_command(*arguments, cwd=tmp_path)
    found = Attempt(done.returncode, done.stdout, done.stderr, sorted(files(tmp_path)))
    assert not found.trouble, (arguments, found.trouble)
