"""Commands that make results again do so, whatever a study is called."""

import shlex

import pytest

from pipeline.config import compose, flatten, masked_override, plain
from pipeline.provenance import command_line, git_commit, override, versions
from pipeline.report.build import USUAL
from pipeline.tracking.runs import also

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


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("tracking.uri=http://me:secret@host:5000/x?token=secret", "tracking.uri=http://me:***@host:5000/x"),
        ("search.storage='postgresql://me:se=cr@et@host/db'", "search.storage='postgresql://me:***@host/db'"),
        ('tracking.uri="http://me:secret@host"', 'tracking.uri="http://me:***@host"'),
        ("tracking.uri=sqlite:////a/b.db", "tracking.uri=sqlite:////a/b.db"),
        ("+search.space.a={low: 1, high: 2}", "+search.space.a={low: 1, high: 2}"),
        ("study.name='it\\'s'", "study.name='it\\'s'"),
        ("seed=1", "seed=1"),
    ],
)
def test_no_password_is_put_on_record(given, shown):
    assert masked_override(given) == shown


def test_a_study_that_went_on_under_something_else_says_so():
    assert also("", "a") == "a"
    assert also("a", "a") == "a"
    assert also(also("a", "b"), "a") == "a; later b"


def test_keys_that_a_report_need_not_name_have_their_defaults():
    defaults = flatten(plain(compose([])))
    assert {key: defaults[key] for key in USUAL} == USUAL
