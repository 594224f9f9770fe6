import pytest

from pipeline.config import compose
from pipeline.names import run_title, slug


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
