"""Which failures pass by themselves: as real servers, databases and files raise them."""

import errno
import gc
import os
import socket
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config import compose
from pipeline.errors import RunError, StoreAwayError
from pipeline.tracking import Outage, briefly, check_there, open_store
from pipeline.tracking.database import engine_of
from pipeline.tracking.faults import is_transient, reason_of
from pipeline.tracking.outage import pauses

PASSWORD = "pa55word"


class Answer(BaseHTTPRequestHandler):
    """Answers every request as the server is told to."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.answer
        if status == 0:
            self.server.gate.wait(30)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    made.daemon_threads, made.gate = True, threading.Event()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.gate.set()
    made.shutdown()
    made.server_close()
    thread.join()


def failure(call):
    with pytest.raises(Exception) as found:  # noqa: PT011
        call()
    return found.value


def asked(port):
    uri = f"http://someone:{PASSWORD}@127.0.0.1:{port}"
    return failure(lambda: MlflowClient(uri, uri).get_experiment_by_name("a"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"ouch", b'{"error_code": "INTERNAL_ERROR", "message": "ouch"}'])
def test_a_server_that_fails_may_be_well_later(server, status, body):
    server.answer = status, body
    error = asked(server.server_port)
    assert is_transient(error)
    assert reason_of(error) == f"HTTP {status}"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_PARAMETER_VALUE"),
        (404, "RESOURCE_DOES_NOT_EXIST"),
        (403, "PERMISSION_DENIED"),
        (400, "BAD_REQUEST"),
    ],
)
def test_what_a_server_refuses_it_refuses_again(server, status, code):
    server.answer = status, f'{{"error_code": "{code}", "message": "no"}}'.encode()
    uri = f"http://127.0.0.1:{server.server_port}"
    error = failure(lambda: MlflowClient(uri, uri).get_run("a" * 32))
    assert isinstance(error, MlflowException)
    assert not is_transient(error)


def test_a_page_of_a_proxy_is_no_answer(server):
    server.answer = 200, b"<html>down for maintenance</html>"
    assert is_transient(asked(server.server_port))


def test_nobody_listens():
    error = asked(free_port())
    assert is_transient(error)
    assert reason_of(error) == "connection refused"


def test_a_request_that_failed_and_is_told_as_a_wrong_argument(server):
    """As MLflow tells it of a logged model's tags."""
    uri = f"http://127.0.0.1:{free_port()}"
    error = failure(lambda: MlflowClient(uri, uri).set_logged_model_tags("m-1", {"a": "b"}))
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert is_transient(error)
    assert reason_of(error) == "connection refused"
    server.answer = 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}'
    uri = f"http://127.0.0.1:{server.server_port}"
    assert not is_transient(failure(lambda: MlflowClient(uri, uri).set_logged_model_tags("m-1", {"a": "b"})))


def test_a_server_that_takes_a_request_and_says_nothing(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    server.answer = 0, b""
    error = asked(server.server_port)
    assert is_transient(error)
    assert "timed out" in reason_of(error)


def test_no_request_is_sent_twice_unseen(server):
    """MLflow's own repetitions would make a second run of one whose answer was lost."""
    server.answer = 500, b"ouch"
    asked_for = []
    server.RequestHandlerClass = type("Counting", (Answer,), {"log_request": lambda *_: asked_for.append(1)})
    asked(server.server_port)
    assert len(asked_for) == 1


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x INT PRIMARY KEY)")
    connection.commit()
    connection.close()
    return path


def written(path, statement="INSERT INTO t VALUES (1)"):
    with engine_of(f"sqlite:///{path}", 0.1).begin() as connection:
        connection.execute(text(statement))


def test_a_locked_database(database):
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    error = failure(lambda: written(database))
    other.close()
    assert is_transient(error)
    assert reason_of(error) == "database is locked"


def test_a_read_only_database(database):
    error = failure(lambda: written(f"file:{database}?mode=ro&uri=true"))
    assert is_transient(error)
    assert reason_of(error) == "attempt to write a readonly database"


@pytest.mark.parametrize("statement", ["INSERT INTO t VALUES (1), (1)", "INSERT INTO nowhere VALUES (1)", "SELEKT"])
def test_what_a_database_refuses_it_refuses_again(database, statement):
    error = failure(lambda: written(database, statement))
    assert isinstance(error, SQLAlchemyError)
    assert not is_transient(error)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "a.db").write_bytes(b"no database at all" * 100)
    assert not is_transient(failure(lambda: written(tmp_path / "a.db")))


def test_a_full_device():
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        error = failure(lambda: full.write(b"a"))
    assert error.errno == errno.ENOSPC
    assert is_transient(error)
    assert reason_of(error) == "no space left on device"


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EDQUOT, errno.ESTALE, errno.EACCES])
def test_a_disk_in_trouble(number):
    assert is_transient(OSError(number, os.strerror(number)))


@pytest.mark.parametrize("error", [ValueError("a"), KeyError("a"), OSError("no number"), IsADirectoryError(21, "a")])
def test_a_mistake_stays(error):
    assert not is_transient(error)


def test_a_server_of_databases_that_is_away_is_found_out_at_once(tmp_path):
    pytest.importorskip("psycopg", reason="needs a PostgreSQL driver")
    uri = f"postgresql+psycopg://someone:{PASSWORD}@127.0.0.1:{free_port()}/a"
    began = time.monotonic()
    error = failure(lambda: open_store(compose([f"tracking.dir={tmp_path}", f"tracking.uri={uri}"])))
    assert time.monotonic() - began < 10
    assert isinstance(error, StoreAwayError)
    assert is_transient(error)
    assert PASSWORD not in str(error)


@pytest.mark.parametrize(
    "given", [("500", True), ("429", True), ("404", False), ("", True)], ids=lambda g: g[0] or "nobody"
)
def test_what_is_asked_before_a_store_is_read(server, given):
    """Where a study is in the middle it is waited for, as everything else is."""
    status, passes = given
    server.answer = int(status or 0), b"ouch"
    port = server.server_port if status else free_port()
    error = failure(lambda: check_there(compose([f"tracking.uri=http://someone:{PASSWORD}@127.0.0.1:{port}"])))
    assert is_transient(error) is passes
    assert isinstance(error, RunError)
    assert f"no MLflow server answers at http://someone:***@127.0.0.1:{port} (" in str(error)
    if not status:
        assert reason_of(error) == "connection refused"
    del error
    gc.collect()  # warns of a connection that was left open


def outage(port, lines, *more):
    config = compose([f"tracking.uri=http://someone:{PASSWORD}@127.0.0.1:{port}", *more])
    return Outage(config, lines.append)


def test_a_call_waits_for_the_store_and_says_so_once(server):
    server.answer = 500, b"ouch"
    lines = []
    uri = f"http://127.0.0.1:{server.server_port}"
    found = b'{"experiment": {"experiment_id": "7", "name": "a"}}'
    threading.Timer(2.0, lambda: setattr(server, "answer", (200, found))).start()
    waiting = outage(server.server_port, lines)
    assert waiting.patiently(lambda: MlflowClient(uri, uri).get_experiment_by_name("a")).experiment_id == "7"
    assert [line.partition("127.0.0.1")[0] for line in lines] == ["the tracking server at http://someone:***@"] * 2
    assert "does not answer (HTTP 500); waiting for it up to 600 s" in lines[0]
    assert lines[1].endswith("answers again")


def test_a_call_does_not_wait_for_ever():
    port, lines = free_port(), []
    waiting = outage(port, lines, "tracking.patience_s=1")
    with pytest.raises(RunError, match=r"does not answer \(connection refused\), for 1 s") as found:
        waiting.patiently(lambda: MlflowClient(f"http://127.0.0.1:{port}").get_experiment_by_name("a"))
    assert PASSWORD not in str(found.value)


def test_a_call_that_is_refused_does_not_wait():
    calls = []

    def call():
        calls.append(1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        outage(1, []).patiently(call)
    assert calls == [1]


def test_pauses_grow_up_to_a_limit():
    waits = pauses()
    assert [next(waits) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]


def test_a_brief_call_is_left_alone_when_it_takes_long():
    gate, done = threading.Event(), []
    assert briefly(lambda: done.append(1), 5)
    assert done == [1]
    assert not briefly(gate.wait, 0.1)
    assert not briefly(lambda: 1 / 0, 5)
    gate.set()
