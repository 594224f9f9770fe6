"""``initlab ui``: the MLflow UI on 127.0.0.1."""

import os
import subprocess
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import say
from pipeline.tracking import ui_command

__all__ = ["ui"]


def ui(config: Config, flags: Sequence[str] = ()) -> int:
    """Serves the UI until it is stopped."""
    command = ui_command(config)
    say("the MLflow UI; Ctrl-C stops it", f"http://127.0.0.1:{config.tracking.port}")
    # Jobs are a feature of MLflow that the lab doesn't use; they cost eight processes.
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen(command, env=environment) as server:
        try:
            return 1 if server.wait() else 0
        except BaseException:
            server.terminate()
            raise
