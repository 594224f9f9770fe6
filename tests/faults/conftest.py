"""Studies that are killed, or whose store fails: real signals, a real MLflow server behind a proxy, real full disks.

``make test-faults`` runs these; ``make test`` leaves them out, as they take minutes. Seeds are printed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from faulty_proxy import Proxy, free_port
from laboratory import SEED, Held, Lab, clean_environment, held_by


@pytest.fixture
def rng() -> random.Random:
    """Randomness under INITLAB_FAULT_SEED, or a fresh seed, which is printed."""
    print(f"INITLAB_FAULT_SEED={SEED}")
    return random.Random(SEED)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(*arguments: str, name: str = "lab") -> Lab:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        made.append(Lab(folder, list(arguments)))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Compiles a C++ source of this folder for LD_PRELOAD, once a session."""
    folder = tmp_path_factory.mktemp("libraries")

    @cache
    def compiled(name: str) -> Path:
        made, source = folder / f"{name}.so", Path(__file__).with_name(f"{name}.cpp")
        command = ["g++", "-std=c++17", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", made, source, "-ldl"]
        subprocess.run(command, check=True)
        return made

    return compiled


@pytest.fixture
def server(tmp_path: Path, template_store: Path) -> Iterator[tuple[int, Path]]:
    """A real MLflow server on sqlite: its port and its database."""
    folder, port = tmp_path / "server", free_port()
    folder.mkdir()
    database = folder / "mlflow.db"
    shutil.copy(template_store, database)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(folder / "artifacts")]
    environment = clean_environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + 120
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            assert time.monotonic() < deadline, (folder / "log.txt").read_text()
            time.sleep(0.3)
        yield port, database
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture
def proxy(server: tuple[int, Path]) -> Iterator[Proxy]:
    made = Proxy(server[0])
    yield made
    made.close()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, template_store: Path) -> Callable[..., Held]:
    """What the same study leaves in a store that works."""
    known: dict[tuple[str, ...], Held] = {}

    def held(*arguments: str) -> Held:
        if arguments not in known:
            folder = tmp_path_factory.mktemp("reference")
            (folder / "mlruns").mkdir()
            shutil.copy(template_store, folder / "mlruns" / "mlflow.db")
            Lab(folder, list(arguments)).run()
            known[arguments] = held_by(folder / "mlruns" / "mlflow.db")
        return known[arguments]

    return held
