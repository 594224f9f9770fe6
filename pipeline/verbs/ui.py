"""``initlab ui``: the MLflow UI, on 127.0.0.1 unless told otherwise."""

import socket
import subprocess
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import say
from pipeline.errors import RunError, UsageError
from pipeline.tracking import is_loopback, newest_views, ui_address, ui_server

__all__ = ["ui"]

NEWEST = 5


def ui(config: Config, flags: Sequence[str] = ()) -> int:
    """Serves the UI until it is stopped."""
    _check_port(config.tracking.host, config.tracking.port)
    command, environment = ui_server(config)
    views = newest_views(config, NEWEST)
    if views:
        say("the newest studies, the best trials first:", *[f"  {name}: {address}" for name, address in views.items()])
    say("the MLflow UI; Ctrl-C stops it", ui_address(config))
    if not is_loopback(config.tracking.host):
        say("whoever can reach this address can read, change and delete the runs")
    with subprocess.Popen(command, env=environment) as server:
        try:
            return 1 if server.wait() else 0
        except BaseException:
            server.terminate()
            raise


def _check_port(host: str, port: int) -> None:
    """Finds out whether a server can have the port."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError.of("tracking.host", host, f"is no address of this machine ({error.strerror})") from None
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            taken = f"port {port} can't be had on {host} ({error.strerror}); choose another tracking.port"
            raise RunError(taken) from None
