import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.masking import masked, one_line, without_passwords


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("postgresql://me:se@cr:et@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se/cret@host/db?x=secret", "postgresql://me:***@host/db"),
        ("postgresql://me:s%40cret@h1:1,h2:2/db", "postgresql://me:***@h1:1,h2:2/db"),
        ("postgresql://me:se cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:s?cret@host/db", "postgresql://***"),
        ("postgresql://host/db?user=me&password=se@cret", "postgresql://***"),
        ("postgresql://me:secret", "postgresql://me:***"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("https://secret@host:5000/path", "https://***@host:5000/path"),
        ("https://:secret@host", "https://:***@host"),
        ("https://host/path?token=secret", "https://host/path"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("sqlite:////home/a@b:c.db?key=secret", "sqlite:////home/a@b:c.db"),
        ("['postgresql://me:secret@host', 'http://you:secret@host']", "['postgresql://me:***@host']"),
        ("runs.journal", "runs.journal"),
    ],
)
def test_addresses_are_shown_without_passwords(uri, shown):
    assert masked(uri) == shown
    assert masked(shown) == shown
    assert "secret" not in without_passwords(f"no such thing: {uri.replace(' ', '')}, or so")


@given(
    st.text(min_size=6), st.sampled_from(["postgresql://me:{}@host:1/db", "http://:{}@h", "mysql://me:{}@h,g/d?a=b"])
)
def test_no_password_shines_through(password, form):
    marked = f"QQ{password}ZZ"
    shown = masked(form.format(marked))
    assert "QQ" not in shown
    assert "ZZ" not in shown


def test_words_of_libraries():
    text = "API request to http://me:secret@host:5/api/x?y=secret failed (password=secret)"
    assert without_passwords(text) == "API request to http://me:***@host:5/api/x failed (password=***"
    assert without_passwords("weight_init=/etc/passwd: must be one of") == "weight_init=/etc/passwd: must be one of"


def test_one_line_speaks_to_no_terminal():
    assert one_line("a\x1b[31m\nb\t c\u202e\udcff") == "a\\x1b[31m b c\\u202e\\udcff"
