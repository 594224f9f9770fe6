"""The failures a user sees, each with the exit code it ends in."""

from pipeline.masking import masked

__all__ = ["InitlabError", "RunError", "StoreAwayError", "UsageError", "in_one_line", "shortened"]

LONGEST = 120  # characters of a key or a value that are shown
LONGEST_REASON = 150  # and of what somebody else's error says


def shortened(text: str, most: int = LONGEST) -> str:
    """No more than ``most`` characters of ``text``, with dots where something is left out."""
    return text if len(text) <= most else text[: most - 3] + "..."


def in_one_line(error: BaseException) -> str:
    """What an error of somebody else's code says, shortened."""
    return shortened(" ".join(str(error).split()), LONGEST_REASON)


class InitlabError(Exception):
    """A failure with a message written for the user.

    Attributes:
        exit_code: what the process ends with.
    """

    exit_code = 1


class RunError(InitlabError):
    """Something failed while running (exit 1)."""


class StoreAwayError(RunError):
    """The store can't be opened now; it may be back soon."""


class UsageError(InitlabError):
    """Bad configuration, data or usage (exit 2): names the key, the value and what is allowed."""

    exit_code = 2

    @classmethod
    def of(cls, key: str, given: object, allowed: str) -> "UsageError":
        """The standard form: ``key=given: allowed``, in one line, without passwords."""
        text = masked(str(given).replace("\n", " "))
        return cls(f"{shortened(key)}={shortened(text)}: {allowed}")
