"""Where results come from: the code, the versions of what it rests on, and commands that make them again."""

import platform
import re
import shlex
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline import __version__

__all__ = ["VERSIONED", "command_line", "git_commit", "override", "versions"]

# Words that are no text in Hydra's grammar.
RESERVED = ("null", "true", "false", "inf", "nan")
VERSIONED = ("torch", "numpy", "scikit-learn", "optuna", "mlflow", "hydra-core")


@lru_cache(maxsize=1)
def git_commit() -> str:
    """The commit of the lab's own checkout, with ``+`` if files in it differ; empty outside of one."""
    root = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """``{name: version}`` of the lab, Python and the packages that results rest on."""
    found = {"initlab": __version__, "python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def override(key: str, value: str) -> str:
    """``key=value`` as Hydra's grammar takes it, whatever the value holds."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", value) and value.lower() not in RESERVED:
        return f"{key}={value}"
    escaped = re.sub(r"(\\*)'", lambda m: m[1] * 2 + r"\'", value)
    trailing = re.search(r"\\*$", escaped)
    return f"{key}='{escaped}{trailing[0] if trailing else ''}'"


def command_line(verb: str, *overrides: str) -> str:
    """A command to type: for make where every shell and make take it as it is, else for the shell alone."""
    if all(re.fullmatch(r"[A-Za-z0-9_./:=-]+", text) for text in overrides):
        return f'make {verb} ARGS="{" ".join(overrides)}"' if overrides else f"make {verb}"
    return shlex.join([".venv/bin/initlab", verb, *overrides])
