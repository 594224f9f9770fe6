"""``initlab ui``: the MLflow UI on 127.0.0.1."""

import os
import socket
import subprocess
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import say
from pipeline.errors import RunError
from pipeline.tracking import newest_views, ui_command

__all__ = ["ui"]

NEWEST = 5


def ui(config: Config, flags: Sequence[str] = ()) -> int:
    """Serves the UI until it is stopped."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", config.tracking.port))
        except OSError as error:
            taken = f"port {config.tracking.port} can't be had ({error.strerror}); choose another tracking.port"
            raise RunError(taken) from None
    command = ui_command(config)
    views = newest_views(config, NEWEST)
    if views:
        say("the newest studies, the best trials first:", *[f"  {name}: {address}" for name, address in views.items()])
    say("the MLflow UI; Ctrl-C stops it", f"http://127.0.0.1:{config.tracking.port}")
    # Jobs are a feature of MLflow that the lab doesn't use; they cost eight processes.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen(command, env=environment) as server:
        try:
            return 1 if server.wait() else 0
        except BaseException:
            server.terminate()
            raise
