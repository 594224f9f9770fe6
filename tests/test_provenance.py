"""Commands that make results again do so, whatever a study is called."""

import shlex

import pytest

from pipeline.config import compose
from pipeline.provenance import command_line, git_commit, override, versions

NAMES = ["plain", "with space", "it's", 'quo"te', "<script>alert(1)</script>", "../../x", "back\\slash", "ends\\",
         "a,b", "{x: 1}", "$HOME", "`id`", "\\'", "a=b", "null", "1e3", "Ünïcode", "#x", "%s"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_hydra_reads_the_name_back(name):
    assert compose([override("study.name", name)]).study.name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_shell_reads_the_override_back(name):
    given = override("study.name", name)
    command = command_line("report", given)
    if command.startswith("make"):
        assert command == f'make report ARGS="{given}"'
    else:
        assert shlex.split(command) == [".venv/bin/initlab", "report", given]


def test_versions_and_commit():
    found = versions()
    assert {"initlab", "python", "torch", "optuna", "mlflow"} <= set(found)
    assert len(git_commit().rstrip("+")) in (0, 40)
