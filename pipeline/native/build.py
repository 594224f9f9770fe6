"""Compiles the kernels for this machine's processor, once, and loads them.

The shared library lies in a cache folder under a name made from its sources, the
compiler and the processor, so that nothing stale is ever loaded. It is plain C++17 with
no header of torch's, which takes two seconds to compile, whatever network is trained.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from importlib import resources
from pathlib import Path

__all__ = ["NoCompilerError", "cache_folder", "compiler", "library", "machine"]

SOURCES = ("kernels.hpp", "doubles.hpp", "looks.hpp", "layer.hpp", "mlp.cpp", "looks.cpp", "rows.cpp", "spectrum.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-fno-math-errno", "-w")


class NoCompilerError(Exception):
    """There is no C++ compiler, or it failed; the message says which, in one line."""


def cache_folder() -> Path:
    """``INITLAB_CACHE``, or ``initlab`` in the user's cache folder."""
    given = os.environ.get("INITLAB_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "initlab"


def compiler() -> str | None:
    """The C++ compiler: ``CXX``, or the first that is there."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return next((found for name in names if (found := shutil.which(name))), None)


def machine() -> str:
    """The processor, as far as compiled code and timings depend on it."""
    wanted = ("model name", "flags", "Features", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith(wanted)]
    return "\n".join([platform.machine(), platform.processor(), *known])


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The compiled kernels.

    Raises:
        NoCompilerError: they can't be compiled here, nor were before.
    """
    source = resources.files(__package__)
    texts = {name: (source / name).read_text() for name in SOURCES}
    found = compiler()
    key = "\0".join([*texts.values(), *FLAGS, _version(found) if found else "", machine()])
    path = cache_folder() / f"kernels-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if not path.exists():
        if found is None:
            raise NoCompilerError("no C++ compiler found (set CXX, or install g++)")
        _compile(found, texts, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NoCompilerError(f"the compiled kernels can't be loaded ({error})") from None


def _version(command: str) -> str:
    try:
        run = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return command
    return run.stdout or command


def _compile(command: str, texts: dict[str, str], path: Path) -> None:
    """Into a file of its own first, so that of several processes each finds a whole library."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            for name, text in texts.items():
                (Path(folder) / name).write_text(text)
            units = [Path(folder) / name for name in texts if name.endswith(".cpp")]
            objects = [unit.with_suffix(".o") for unit in units]
            # Side by side: each takes seconds.
            _run(*([command, *FLAGS, "-c", "-o", str(o), str(u)] for u, o in zip(units, objects, strict=True)))
            built = Path(folder) / "kernels.so"
            _run([command, *FLAGS, "-shared", "-o", str(built), *map(str, objects)])
            built.replace(path)
    except OSError as error:
        raise NoCompilerError(f"{path.parent} can't be written ({error.strerror})") from None


def _run(*commands: list[str]) -> None:
    """Runs compilers side by side; raises what the first that failed said."""
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for c in commands]
    said = [process.communicate()[1] for process in running]
    for process, command, errors in zip(running, commands, said, strict=True):
        if process.returncode != 0:
            first = next((line for line in errors.splitlines() if "error" in line), errors[:200])
            raise NoCompilerError(f"{command[0]} failed: {' '.join(first.split())[:200]}")
