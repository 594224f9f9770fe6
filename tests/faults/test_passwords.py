"""A password in ``tracking.uri`` and ``search.storage`` is found in no file, log, run or table afterwards."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from attempts import attempt, run_command

PLANTED = "Xq7-planted-Zw4"
ESCAPED = "Xq7-plan%40ted-Zw4"  # with an @ in it
QUICK = ["trainer.epochs=2", "search.replicates=2", "search.confirm=2", "search.batch=5", "model.width=8"]
STUDY = [*QUICK, "study.name=kept", "search.n_trials=3", "search.batch=3", "search.confirm=1", "report.exemplars=false"]
PIECES = ("planted", "plan%40ted", "plan@ted", "Xq7", "Zw4")


def postgres() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_postgres(*command: str) -> list[str]:
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``USER:PASSWORD@HOST:PORT`` of a PostgreSQL that asks for passwords, with databases ``runs`` and ``studies``."""
    programs = postgres()
    pytest.importorskip("psycopg", reason="needs psycopg")
    if programs is None or (os.geteuid() == 0 and shutil.which("runuser") is None):
        pytest.skip("PostgreSQL isn't installed")
    folder = Path(tempfile.mkdtemp())  # where the server's own user can go as well
    (folder / "pw").write_text(PLANTED.replace("planted", "plan@ted"))
    if os.geteuid() == 0:
        for path in (folder, folder / "pw"):
            shutil.chown(path, "postgres")
    port = free_port()
    made = as_postgres(
        *(str(programs / "initdb"), "-D", str(folder / "data"), "-U", "me", "-A", "scram-sha-256"),
        *("--pwfile", str(folder / "pw"), "-E", "UTF8", "--no-sync"),
    )
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    control = as_postgres(str(programs / "pg_ctl"), "-D", str(folder / "data"), "-s", "-w")
    try:
        subprocess.run(made, cwd="/", check=True, capture_output=True)
        subprocess.run([*control, "-l", str(folder / "log"), "-o", options, "start"], cwd="/", check=True)
        import psycopg

        url = f"me:{ESCAPED}@127.0.0.1:{port}"
        with psycopg.connect(f"postgresql://{url}/postgres", autocommit=True) as connection:
            for name in ("runs", "studies"):
                connection.execute(f"CREATE DATABASE {name}")
        yield url
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], cwd="/", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def found_in(text: str) -> list[str]:
    return [piece for piece in PIECES if piece in text]


def in_files(folder: Path) -> list[str]:
    """Files that hold a piece of the password, in their content or their name."""
    pieces = [piece.encode() for piece in PIECES]
    return [
        str(path)
        for path in folder.rglob("*")
        if found_in(path.name) or (path.is_file() and any(piece in path.read_bytes() for piece in pieces))
    ]


def in_tables(url: str) -> list[str]:
    import psycopg

    found = []
    with psycopg.connect(url) as connection:
        names = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        assert len(names) > 5
        for name in names:
            rows = connection.execute(f'SELECT t::text FROM "{name}" t').fetchall()
            found += [f"{name}: {row[0][:200]}" for row in rows if found_in(row[0])]
    return found


def test_of_databases(database, tmp_path):
    runs, studies = (f"postgresql+psycopg://{database}/{name}" for name in ("runs", "studies"))
    places = [f"tracking.uri='{runs}'", f"search.storage='{studies}'"]
    said = []
    for verb in (["sweep", *STUDY], ["sweep", *STUDY], ["report", "study.name=kept"], ["compare", "kept", "kept"],
                 ["open", "kept"], ["status"], ["status", "--json"], ["train", *QUICK]):  # fmt: skip
        done = run_command(*verb, *places, cwd=tmp_path)
        assert done.returncode == 0, (verb, done.stderr)
        said.append(done.stdout + done.stderr)
    assert "kept" in said[5]
    # In the environment, and without the password in a file that the driver reads.
    done = run_command("status", cwd=tmp_path, INITLAB_STORAGE=studies, MLFLOW_TRACKING_URI=runs)
    assert "kept" in done.stdout
    user, _, host = database.rpartition("@")
    (tmp_path.parent / "pgpass").write_text(f"127.0.0.1:*:*:me:{PLANTED.replace('planted', 'plan@ted')}\n")
    (tmp_path.parent / "pgpass").chmod(0o600)
    bare = f"postgresql+psycopg://{user.split(':')[0]}@{host}"
    done = run_command(
        "status", f"search.storage={bare}/studies", cwd=tmp_path, PGPASSFILE=str(tmp_path.parent / "pgpass")
    )
    assert "kept" in done.stdout, done.stderr
    assert not [found_in(text) for text in said if found_in(text)]
    assert not in_files(tmp_path)
    plain = runs.replace("+psycopg", "")
    assert not in_tables(plain) + in_tables(plain.replace("/runs", "/studies"))
    count = len(list(tmp_path.rglob("*")))
    print(f"a password in tracking.uri and search.storage: {count} files, two databases and the output of")
    print(f"{len(said)} commands hold no piece of it")


def failures(database: str) -> dict[str, str]:
    user, _, host = database.rpartition("@")
    return {
        "a wrong port": f"postgresql+psycopg://{user}@127.0.0.1:1/runs",
        "a wrong password": f"postgresql+psycopg://{user}-{PLANTED}@{host}/runs",
        "no such database": f"postgresql+psycopg://{database}/{'nothere'}",
        "no such option": f"postgresql+psycopg://{database}/runs?zz={PLANTED}",
        "an @ as it is": f"postgresql+psycopg://me:{PLANTED}@{PLANTED}@{host}/runs",
        "a slash as it is": f"postgresql+psycopg://me:x/{PLANTED}@{host}/runs",
        "a port of letters": f"postgresql+psycopg://me:x@127.0.0.1:{PLANTED}/runs",
        "a space": f"postgresql+psycopg://me:x {PLANTED}@{host}/runs",
        "a brace": f"postgresql+psycopg://me:x${{{PLANTED}}}@{host}/runs",
        "no such scheme": f"oracle://me:{PLANTED}@{host}/runs",
        "a server that is away": f"http://me:{PLANTED}@127.0.0.1:1",
        "a server of another kind": f"http://me:{PLANTED}@{host}",
    }


@pytest.mark.parametrize("case", list(failures("me:x@127.0.0.1:1")))
@pytest.mark.parametrize("key", ["tracking.uri", "search.storage"])
def test_of_what_fails(key, case, database, tmp_path):
    place = failures(database)[case]
    quoted = f'{key}="{place}"' if case != "a brace" else f"{key}={place}"
    for verb in (["sweep", *STUDY], ["status"] if key == "search.storage" else ["report", "study.name=kept"]):
        found = attempt([*verb, quoted], tmp_path)
        assert found.code in (1, 2), (verb, found)
        assert len(found.err.splitlines()) == 1, found.err
        assert key in found.err or "MLflow" in found.err
        assert not found_in(found.out + found.err), found.err
        assert not found.left


def test_of_a_server(tmp_path, template_store):
    """A real MLflow server, spoken to with a password that it doesn't ask for."""
    home, served = tmp_path / "home", tmp_path / "served"
    home.mkdir()
    served.mkdir()
    shutil.copy(template_store, served / "mlflow.db")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{served}/mlflow.db",
        "--artifacts-destination",
        str(served / "files"),
    ]
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (
        (tmp_path / "server.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=quiet, cwd=served) as server,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            place = f"tracking.uri=http://me:{PLANTED}@127.0.0.1:{port}"
            for verb in (["sweep", *STUDY], ["report", "study.name=kept"], ["open", "kept"]):
                done = run_command(*verb, place, cwd=home)
                assert done.returncode == 0, (verb, done.stderr)
                assert not found_in(done.stdout + done.stderr)
        finally:
            server.terminate()
    assert not in_files(tmp_path)
    print(f"a password in the address of a server: {len(list(tmp_path.rglob('*')))} files hold no piece of it")


def wait_for(address: str) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        try:
            urlopen(address, timeout=2).close()
        except (URLError, OSError):
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(address)


def test_the_ui_is_no_other_process_s_to_read(database, tmp_path):
    """Arguments of processes are for all to read: the server's hold no password, and it listens on loopback."""
    place = f"postgresql+psycopg://{database}/runs"
    port = free_port()
    command = [sys.executable, "-m", "pipeline", "ui", f"tracking.port={port}"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": place}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log) as ui,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            commands = [c for c in arguments_of_all() if str(port) in c]
        finally:
            ui.terminate()
    assert any("mlflow" in c for c in commands)
    assert not [c for c in commands if found_in(c)]
    assert not in_files(tmp_path)


def arguments_of_all() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(re.sub(r"\0", " ", path.read_bytes().decode(errors="replace")))
        except OSError:  # it has ended
            continue
    return found
