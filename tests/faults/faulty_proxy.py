"""A real TCP proxy before a real server, which can be made to fail in the ways in which networks and servers do."""

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count

__all__ = ["FAULTS", "Proxy", "free_port", "nth", "sometimes"]

ANSWER_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\nConnection: close\r\n\r\nouch\n"

FAULTS = ("drop", "500", "silent", "swallow", "cut")
"""What may become of a request: its connection is reset unread; it is answered 500; it is never
answered; it reaches the server, whose answer is lost; its connection ends in its middle."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """Passes one request a connection on to ``target``, or does to it what ``fault`` says.

    Args:
        fault: called for each request; empty: it passes.
    """

    def __init__(self, target: int, fault: Callable[[], str] = lambda: "") -> None:
        self.target, self.fault, self.port = target, fault, free_port()
        self.counts: Counter[str] = Counter()
        self.delay = 0.0
        self._listener: socket.socket | None = None
        self._held: list[socket.socket] = []
        self.up()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Listens."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Connections are refused from now on."""
        assert self._listener is not None
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._listener = None

    def close(self) -> None:
        if self._listener is not None:
            self.down()
        for held in self._held:
            held.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        fault = self.fault()
        self.counts[fault or "passed"] += 1
        with suppress(OSError):
            self._answer(client, fault)
        if fault == "silent":
            self._held.append(client)  # open, until the proxy closes
        else:
            client.close()

    def _answer(self, client: socket.socket, fault: str) -> None:
        if fault == "drop":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST
            return
        request = _message(client)
        time.sleep(self.delay)
        if fault == "silent" or not request:
            return
        if fault == "500":
            client.sendall(ANSWER_500)
            return
        if fault == "cut":
            request = request[: max(1, len(request) // 2)]
        answer = self._ask(request)
        if fault not in ("swallow", "cut"):
            client.sendall(answer)

    def _ask(self, request: bytes) -> bytes:
        """The server's whole answer."""
        head, _, body = request.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        with socket.create_connection(("127.0.0.1", self.target)) as server:
            server.sendall(b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body)
            if len(request) < _length(head):
                server.shutdown(socket.SHUT_WR)  # or it would wait for the rest
            parts = []
            while part := server.recv(1 << 16):
                parts.append(part)
        return b"".join(parts)


def _message(client: socket.socket) -> bytes:
    """One request, head and body."""
    found = b""
    while b"\r\n\r\n" not in found:
        if not (part := client.recv(1 << 16)):
            return b""
        found += part
    head = found.partition(b"\r\n\r\n")[0]
    while len(found) < _length(head):
        if not (part := client.recv(1 << 16)):
            return b""
        found += part
    return found


def _length(head: bytes) -> int:
    """How long a whole message is."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and value.strip():  # its digits may be cut off
            return len(head) + 4 + int(value)
    return len(head) + 4


def sometimes(seed: int, share: float, faults: tuple[str, ...]) -> Callable[[], str]:
    """Faults at random, for so large a share of requests."""
    chance, lock = random.Random(seed), threading.Lock()

    def fault() -> str:
        with lock:
            return chance.choice(faults) if chance.random() < share else ""

    return fault


def nth(number: int, fault: str) -> Callable[[], str]:
    """A fault of the ``number``-th request, counted from one."""
    asked = count(1)
    return lambda: fault if next(asked) == number else ""
