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
import threading
from contextlib import suppress
from functools import lru_cache
from importlib import resources
from pathlib import Path

from pipeline.folders import settle

__all__ = ["NoCompilerError", "build_ahead", "cache_folder", "compiler", "library", "machine", "stop_building"]

SOURCES = (
    "kernels.hpp",
    "buffer.hpp",
    "doubles.hpp",
    "looks.hpp",
    "layer.hpp",
    "ties.hpp",
    "mlp.cpp",
    "looks.cpp",
    "rows.cpp",
    "pooling.cpp",
    "spectrum.cpp",
)
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
    """The compiled kernels; waits for them where they are being compiled.

    Raises:
        NoCompilerError: they can't be compiled here, nor were before.
    """
    path = _built()
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NoCompilerError(f"the compiled kernels can't be loaded ({error})") from None


def build_ahead() -> None:
    """Begins to compile the kernels beside what is done meanwhile: importing torch takes as long."""
    _ahead.append(threading.Thread(target=_quietly, name="kernels"))
    _ahead[-1].start()


def stop_building() -> None:
    """Ends the compilers, if any are at work: nobody needs the kernels any more."""
    with _guard:
        _stopped.set()
        for process in _compilers:
            process.terminate()
    for thread in _ahead:
        thread.join()
    _ahead.clear()
    _stopped.clear()


_ahead: list[threading.Thread] = []
_compilers: list["subprocess.Popen[str]"] = []
_stopped = threading.Event()
_guard = threading.Lock()  # of the two before
_building = threading.Lock()


def _quietly() -> None:
    with suppress(NoCompilerError):  # raised again for whoever needs them
        _built()


def _built() -> Path:
    """Where the library is, compiled if it wasn't."""
    with _building:
        source = resources.files(__package__)
        texts = {name: (source / name).read_text() for name in SOURCES}
        found = compiler()
        key = "\0".join([*texts.values(), *FLAGS, _version(found) if found else "", machine()])
        path = cache_folder() / f"kernels-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
        if not path.exists():
            if found is None:
                raise NoCompilerError("no C++ compiler found (set CXX, or install g++)")
            _compile(found, texts, path)
        return path


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
            settle(built)  # else a loss of power could leave a library with nothing in it under the name
            built.replace(path)
    except OSError as error:
        raise NoCompilerError(f"{path.parent} can't be written ({error.strerror})") from None


def _run(*commands: list[str]) -> None:
    """Runs compilers side by side; raises what the first that failed said."""
    with _guard:
        if _stopped.is_set():
            raise NoCompilerError("stopped")
        running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for c in commands]
        _compilers[:] = running
    said = [process.communicate()[1] for process in running]
    for process, command, errors in zip(running, commands, said, strict=True):
        if process.returncode != 0:
            first = next((line for line in errors.splitlines() if "error" in line), errors[:200])
            raise NoCompilerError(f"{command[0]} failed: {' '.join(first.split())[:200]}")
