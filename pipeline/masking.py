"""Text that may be shown: without passwords, in one line, without control characters."""

import re

__all__ = ["masked", "one_line", "without_passwords"]

HIDDEN = "***"
WORDS = re.compile(r"(?i)(\b\w*(?:password|passwd|pwd|secret|token)=)[^\s,&;]+")


def masked(uri: str) -> str:
    """A URI that may be shown: without password and query.

    All that stands behind the ``://`` is taken for one URI, whatever it holds. What a user
    took for one may be none: where it isn't clear what is the password, all is hidden.
    """
    start, separator, rest = uri.partition("://")
    if not separator:
        return uri
    if rest.startswith("/"):  # a file: there is no host, and so no user before it
        return start + separator + _place(rest)
    user, at, place = rest.rpartition("@")
    if at and re.search(r"[?#]", user):
        return f"{start}{separator}{HIDDEN}"
    name, colon, _ = user.partition(":")
    if at and not colon and re.search(r"https?$", start):  # a token in the place of a user
        name = HIDDEN
    return f"{start}{separator}{name}{f':{HIDDEN}' if colon else ''}{at}{_place(place)}"


def _place(text: str) -> str:
    """Host, port and path; what stands for a port and is no number may be a password that lacks its host."""
    host, slash, path = re.split(r"[?#]", text, maxsplit=1)[0].partition("/")
    if not host.startswith("["):
        host = re.sub(r":(?!\d{1,5}\b)[^,:\s]+", f":{HIDDEN}", host)
    return host + slash + path


def without_passwords(text: str) -> str:
    """Any text, with every URI in it masked, and what stands behind ``password=`` and its like hidden."""
    shown = re.sub(r"\S*://\S*", lambda found: masked(found[0]), text)
    return WORDS.sub(rf"\1{HIDDEN}", shown)


def one_line(text: str) -> str:
    """The same in one line, in which nothing speaks to a terminal."""
    line = " ".join(without_passwords(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in line)
