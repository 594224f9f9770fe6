"""The MLflow server that shows the runs."""

import ipaddress
import os
import socket
import sys

from pipeline.config import Config, masked
from pipeline.errors import UsageError
from pipeline.tracking.place import check_store, directory_of, shown_host, store_uri, ui_address
from pipeline.tracking.store import open_store

__all__ = ["is_loopback", "ui_server"]


def ui_server(config: Config) -> tuple[list[str], dict[str, str]]:
    """The command that serves the MLflow UI, and its environment; opens the store first.

    The store's address may hold a password, and everybody on a machine can read the arguments of
    a process. So it goes into the environment, which its owner alone can read.

    Raises:
        UsageError: the store is a server itself.
    """
    uri = store_uri(config)
    if uri.startswith("http"):
        raise UsageError.of("tracking.uri", masked(uri), f"has a UI of its own: {ui_address(config)}")
    check_store(config)
    open_store(config)
    artifacts = (directory_of(config) / "artifacts").as_uri()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--default-artifact-root", artifacts]
    command += ["--host", config.tracking.host, "--port", str(config.tracking.port)]
    own = {
        "MLFLOW_BACKEND_STORE_URI": uri,
        # Jobs are a feature of MLflow that the lab doesn't use; they cost eight processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return command, os.environ | own | ({} if is_loopback(config.tracking.host) else _names(config))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(config: Config) -> dict[str, str]:
    """Under which names the server lets itself be called; MLflow refuses a browser that uses another."""
    host, port = config.tracking.host, config.tracking.port
    names = dict.fromkeys(["localhost", "127.0.0.1", host, shown_host(config), *_addresses()])
    places = [f"[{name}]" if ":" in name else name for name in names]
    hosts = [form for place in places for form in (place, f"{place}:{port}")]
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{place}:{port}" for place in places),
    }


def _addresses() -> list[str]:
    """This machine's names and addresses, as far as it knows them."""
    name = socket.gethostname()
    try:
        return [name, *sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None)})]
    except OSError:
        return [name]
