"""Processes that compute beside this one.

They are forked, so that they begin with all that is loaded here, in milliseconds. Threads
would wait for each other's interpreter: between two kernels a stack takes many short steps
in Python, and asking, telling and logging take more.
"""

import ctypes
import gc
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from typing import Any

from pipeline.errors import RunError
from pipeline.interrupt import Terminated

__all__ = ["Fork", "can_fork"]

POLL_S = 0.05
PR_SET_PDEATHSIG = 1


def can_fork() -> bool:
    """Whether this process can be forked safely: no other thread of it may hold a lock meanwhile."""
    return threading.active_count() == 1 and "fork" in get_all_start_methods()


class Fork:
    """A process that answers requests, one after the other.

    Args:
        answer: called there with each request and a function that reports progress.
    """

    def __init__(self, answer: Callable[[Any, Callable[[float], None]], Any]) -> None:
        context = get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._pipe, answer, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, request: Any, on_progress: Callable[[float], None], check: Callable[[], None]) -> Any:
        """The answer to a picklable request; raises what the other process raised.

        Args:
            check: called now and then while it computes; what it raises ends the waiting.

        Raises:
            RunError: the process has died. Terminated: by SIGTERM.
        """
        kind, value = self._exchange(pickle.dumps(request, pickle.HIGHEST_PROTOCOL), check)
        while kind == "progress":
            on_progress(value)
            kind, value = self._exchange(None, check)
        if kind == "error":
            raise value
        return value

    def _exchange(self, request: bytes | None, check: Callable[[], None]) -> tuple[str, Any]:
        """Sends a request, if there is one, and waits for the next message."""
        try:
            if request is not None:
                self._pipe.send_bytes(request)
            check()
            while not self._pipe.poll(POLL_S):
                check()
            message: tuple[str, Any] = pickle.loads(self._pipe.recv_bytes())
            return message
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join(1)
        code = self._process.exitcode
        if code == -signal.SIGTERM:  # sent to all processes of a job, and come here first
            raise Terminated
        raise RunError(f"a training process died (exit code {code}); is there enough memory?")

    def end(self) -> None:
        """Ends it, whatever it is at."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, parents: Connection, answer: Callable[..., Any], parent: int) -> None:
    gc.freeze()  # what was there before stays: going through it would take time and copy its memory
    parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches the whole group; the parent ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    while True:
        try:
            request = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            message = "answer", answer(request, _now_and_then(pipe))
        except BaseException as error:
            message = "error", _portable(error)
        _send(pipe, message)


def _now_and_then(pipe: Connection) -> Callable[[float], None]:
    """Sends progress, the first and then as often as somebody may look: epochs may take microseconds."""
    last = -POLL_S

    def progress(done: float) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= POLL_S:
            last = now
            _send(pipe, ("progress", done))

    return progress


def _send(pipe: Connection, message: tuple[str, Any]) -> None:
    pipe.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def _portable(error: BaseException) -> BaseException:
    """The error, with where it was raised; what can't be pickled as a RuntimeError that says the same."""
    error.add_note("".join(traceback.format_tb(error.__traceback__)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _die_with(parent: int) -> None:
    """So that a parent that is killed leaves nothing behind that computes."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        return  # not Linux: it ends when it next reads from the pipe
    if os.getppid() != parent:
        os._exit(1)
