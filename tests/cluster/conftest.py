"""A real two-node Slurm, a real PostgreSQL and a real MLflow server, on loopback.

``make test-cluster`` installs what these need; ``make test`` leaves them out.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

pytest.importorskip("submitit", reason="the cluster's tests need an extra: make test-cluster")
from loopback import ROOT, Site, free_ports, needs, script

AUTH = """[mlflow]
default_permission = READ
database_uri = postgresql+psycopg://initlab@127.0.0.1:{port}/mlflow_auth
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 300
"""


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that other users can reach, as PostgreSQL's must where root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="initlab-cluster-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(place: Path) -> Iterator[int]:
    """The port of a PostgreSQL, whose password stands in a file for clients."""
    needs("psql")
    port = free_ports(1)
    script("postgres.sh", "up", str(place / "postgres"), str(port))
    yield port
    script("postgres.sh", "down", str(place / "postgres"))


@pytest.fixture(scope="session")
def environment(place: Path, postgres: int) -> dict[str, str]:
    """Of all commands; passwords are in it or in the file that it names, and nowhere else."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "INITLAB", "PG"))}
    return clean | {
        "PYTHONPATH": str(ROOT),
        "PGPASSFILE": str(place / "postgres" / "pgpass"),
        "MLFLOW_TRACKING_USERNAME": "lab",
        "MLFLOW_TRACKING_PASSWORD": secrets.token_urlsafe(18),
    }


@pytest.fixture(scope="session")
def mlflow_server(place: Path, postgres: int, environment: dict[str, str]) -> Iterator[str]:
    """The address of an MLflow server on PostgreSQL that asks for name and password, with a user for the lab."""
    port, folder = free_ports(1), place / "mlflow"
    folder.mkdir()
    (folder / "auth.ini").write_text(AUTH.format(port=postgres))
    password = secrets.token_urlsafe(18)
    server = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(18),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1",
               "--host", "127.0.0.1", "--port", str(port),
               "--backend-store-uri", f"postgresql+psycopg://initlab@127.0.0.1:{postgres}/mlflow",
               "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment | server, stdout=log, stderr=log)
    try:
        _answers(f"{address}/health")
        user = {key: environment[f"MLFLOW_TRACKING_{key.upper()}"] for key in ("username", "password")}
        made = requests.post(f"{address}/api/2.0/mlflow/users/create", json=user, auth=("admin", password), timeout=30)
        made.raise_for_status()
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"{address} did not answer within two minutes")


@pytest.fixture
def site(
    place: Path, postgres: int, mlflow_server: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A working directory, and the services; this process may read from them too."""
    for key in ("PGPASSFILE", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(key, environment[key])
    with tempfile.TemporaryDirectory(dir=place) as home:
        yield Site(
            home=Path(home),
            storage=f"postgresql+psycopg://initlab@127.0.0.1:{postgres}/initlab",
            tracking=mlflow_server,
            environment=environment,
            secrets=(environment["MLFLOW_TRACKING_PASSWORD"], (place / "postgres" / "password").read_text().strip()),
            database_log=place / "postgres" / "server" / "log",
        )


@pytest.fixture(scope="session")
def cluster(place: Path) -> Iterator[str]:
    """The path of a running Slurm's configuration."""
    needs("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")
    folder = place / "slurm"
    script("slurm.sh", "up", str(folder), str(free_ports(5)))
    yield str(folder / "slurm.conf")
    script("slurm.sh", "down", str(folder))


@pytest.fixture
def slurm_site(site: Site, cluster: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The same with a Slurm."""
    monkeypatch.setenv("SLURM_CONF", cluster)
    return replace(site, environment=site.environment | {"SLURM_CONF": cluster})


@pytest.fixture
def figure(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[[object], None]:
    """Prints a figure, whatever becomes of the test."""

    def show(text: object) -> None:
        with capsys.disabled():
            print(f"\n{request.node.name}: {text}")

    return show
