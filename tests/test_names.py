import pytest

from pipeline.config import compose
from pipeline.names import counted, own_name, run_title, slug


def test_plain_names_stay_and_others_become_plain():
    assert slug("digits-1f_2") == "digits-1f_2"
    assert slug("../x") != slug("x")
    assert set(slug("<a b>/c")) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    ("swept", "expected"),
    [
        ({}, "glorot_normal x1, bias 0"),
        ({"weight_init.scale": 1.0, "bias_init.value": 0.0}, "glorot_normal x1, bias 0"),
        ({"arm": "none", "model.depth": 3}, "glorot_normal x1, bias 0; arm none; depth 3"),
    ],
)
def test_titles_name_the_init_and_what_else_is_swept(swept, expected):
    assert run_title(compose([]), swept) == expected


def test_no_two_workers_have_one_name():
    names = {own_name() for _ in range(100)}
    assert len(names) == 100
    assert all(slug(name) == name for name in names)  # each is a file's name as it stands


def test_one_is_counted_as_one():
    assert [counted(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
