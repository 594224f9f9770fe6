import pytest

from pipeline.errors import UsageError
from pipeline.folders import check_writable, make_writable


def test_nothing_is_made_by_looking(tmp_path):
    check_writable(tmp_path / "a" / "b", "tracking.dir", "a/b")
    assert not list(tmp_path.iterdir())
    make_writable(tmp_path / "a" / "b", "tracking.dir", "a/b")
    check_writable(tmp_path / "a" / "b", "tracking.dir", "a/b")


def test_what_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    for name in ("file", "file/x", "loop/x", "gone", "gone/x", "n" * 300):
        for look in (check_writable, make_writable):
            with pytest.raises(UsageError, match=r"^tracking\.dir=.*: can't be written"):
                look(tmp_path / name, "tracking.dir", name)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "loop", "gone"}
