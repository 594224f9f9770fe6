"""Shared fixtures: small real data, a store that is made once, a place of one's own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from made_up_store import Log
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from pipeline.config import Config, compose
from pipeline.data import SOURCES, prepare
from pipeline.dataset import Dataset
from pipeline.tracking import Outage, Spool, Writer, open_store

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
QUICK = ["trainer.epochs=2", "search.replicates=2", "search.confirm=2", "search.batch=5", "model.width=8"]


@pytest.fixture(autouse=True)
def stores_of_others() -> Iterator[None]:
    """A test that left MLflow speaking to its own store would have later ones read it."""
    before = {key: value for key, value in os.environ.items() if key.startswith("MLFLOW")}
    yield
    assert {key: value for key, value in os.environ.items() if key.startswith("MLFLOW")} == before


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return prepare(SOURCES["digits"](), 0, 0.2, 0.2)


@pytest.fixture(scope="session")
def wine64() -> Dataset:
    return prepare(SOURCES["wine"](), 0, 0.2, 0.2).to("cpu", torch.float64)


@pytest.fixture(scope="session")
def template_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh sqlite store takes seconds to make, so tests copy this one."""
    folder = tmp_path_factory.mktemp("store")
    open_store(compose([f"tracking.dir={folder}", "tracking.experiment=template"]))
    return folder / "mlflow.db"


@pytest.fixture
def home(tmp_path: Path, template_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a ready store under ``mlruns/``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").mkdir()
    shutil.copy(template_store, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


@pytest.fixture
def quick(home: Path) -> Callable[..., Config]:
    """Composes a configuration for a study of seconds, in ``home``."""
    return lambda *overrides: compose([*QUICK, *overrides])


@pytest.fixture
def lines() -> list[str]:
    """What a writer tells people."""
    return []


@pytest.fixture
def writes(tmp_path: Path, lines: list[str]) -> Callable[..., Writer]:
    """Makes a writer to a store that is made up."""

    def make(store: Log, *overrides: str, spool: type[Spool] = Spool) -> Writer:
        config = compose([f"tracking.dir={tmp_path}", *overrides])
        return Writer(store, spool(tmp_path / "spool" / "s" / "me"), Outage(config, lines.append))

    return make


SMALL = [*QUICK, "study.name=small", "search.n_trials=8", "search.batch=4"]


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory, template_store: Path) -> Path:
    """A real study of eight trials, run by the command; returns its working directory. Read only."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "mlruns").mkdir()
    shutil.copy(template_store, folder / "mlruns" / "mlflow.db")
    done = run_command("sweep", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


def run_command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``initlab ARGUMENTS`` as a process of its own."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-m", "pipeline", *arguments]
    clean = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        command, cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=300, check=False
    )


def runs(client: MlflowClient, kind: str) -> list[Run]:
    """The runs of a kind in the default experiment."""
    experiment = client.get_experiment_by_name("initlab").experiment_id
    found: list[Run] = client.search_runs([experiment], f"tags.`initlab.kind` = '{kind}'")
    return found
