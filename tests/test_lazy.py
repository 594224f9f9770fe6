"""What takes seconds to import comes when it is used."""

import subprocess
import sys

import pytest

from pipeline import report, tracking


@pytest.mark.parametrize("package", [tracking, report])
def test_every_public_name_is_found(package):
    for name in package.__all__:
        found = getattr(package, name)
        assert getattr(found, "__name__", name) == name


def test_no_other_name_is():
    with pytest.raises(AttributeError, match=r"module 'pipeline.report' has no attribute 'nonsense'"):
        report.nonsense  # noqa: B018


def test_a_study_begins_without_what_writes_and_draws():
    code = (
        "import sys, pipeline.verbs.sweep; print([m for m in ('mlflow', 'matplotlib', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
