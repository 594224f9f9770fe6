"""A real study, a real MLflow UI and a real browser.

``make test-e2e`` installs what these need; ``make test`` leaves them out.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="the browser's tests need playwright: make test-e2e")
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "e2e-screenshots"
SCHEMES = "+search.space.weight_init.name={choices: [he_normal, glorot_normal, constant]}"


def lab(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``initlab`` in a folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    command = [sys.executable, "-P", "-m", "pipeline", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def chromium() -> str:
    """Debian's chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("no chromium: make test-e2e installs it")
    return found


@pytest.fixture(scope="session")
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, port: int) -> Path:
    """A folder with a study of three schemes, one of 1,000 trials, the two compared, and answers."""
    folder = tmp_path_factory.mktemp("e2e")
    schemes = ["study.name=schemes", "search.n_trials=45", "trainer.epochs=8", f"tracking.port={port}", SCHEMES]
    lab("sweep", *schemes, cwd=folder)
    lab("sweep", "study.name=thousand", "search.n_trials=1000", "trainer.epochs=5", "search.confirm=3",
        f"tracking.port={port}", cwd=folder)  # fmt: skip
    lab("compare", "schemes", "thousand", f"tracking.port={port}", cwd=folder)
    lab("answers", "report.questions=[q1,q2]", "report.answers=out", "dataset=wine", "trainer.batch_size=32",
        "trainer.epochs=3", "search.replicates=3", "model.width=8", "search.space.model.depth.choices=[1]",
        f"tracking.port={port}", cwd=folder)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def ui(home: Path, port: int) -> Iterator[str]:
    """The address of a running MLflow UI over the studies."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    command = [sys.executable, "-P", "-m", "pipeline", "ui", f"tracking.port={port}"]
    address = f"http://127.0.0.1:{port}"
    with (
        (home / "ui.log").open("w") as log,
        subprocess.Popen(
            command, cwd=home, env=environment | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
        ) as server,
    ):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.3)
        yield address
        server.terminate()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # A sandbox can't be made by root.
        yield playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    own = browser.new_context(viewport={"width": 1280, "height": 900})
    yield own
    own.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that fails its test if anything goes wrong in its console."""
    own = context.new_page()
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" or message.text.startswith("WARN:"):  # plotly's own
            errors.append(message.text)

    own.on("console", note)
    own.on("pageerror", lambda error: errors.append(str(error)))
    yield own
    assert errors == []


@pytest.fixture
def shoot() -> Iterator[object]:
    """Keeps a screenshot under a name."""
    SHOTS.mkdir(exist_ok=True)

    def keep(page: Page, name: str, whole: bool = False) -> None:
        page.screenshot(path=SHOTS / f"{name}.png", full_page=whole)

    return keep  # type: ignore[return-value]
