"""What a command hands on to the processes that it starts.

Everybody on a machine can read the arguments of a process, and a batch system keeps them in
files. So addresses, which may hold a password, go through the environment.
"""

from collections.abc import Sequence

from pipeline.config.schema import Config

__all__ = ["SECRET", "handed_on"]

SECRET = {"tracking.uri": "MLFLOW_TRACKING_URI", "search.storage": "INITLAB_STORAGE"}
"""Keys whose values may hold a password, and the variable that each is taken from where it isn't given."""


def handed_on(config: Config, overrides: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The overrides behind a configuration, as far as all may read them, and variables in place of the others."""
    open_ones = [text for text in overrides if not ("://" in text and _key(text) in SECRET)]
    given = {"tracking.uri": config.tracking.uri, "search.storage": config.search.storage}
    hidden = {_key(text) for text in overrides if text not in open_ones}
    return open_ones, {SECRET[key]: value for key, value in given.items() if key in hidden and value is not None}


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]
