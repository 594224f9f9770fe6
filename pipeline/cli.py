"""The command line: ``initlab VERB key=value ...``, its help and its exit codes."""

import gc
import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import __version__
from pipeline.errors import InitlabError, UsageError
from pipeline.interrupt import Terminated, install
from pipeline.masking import one_line, without_passwords
from pipeline.native import build_ahead, stop_building

if TYPE_CHECKING:
    from pipeline.config import Section

__all__ = ["VERBS", "main"]

FAILED, INTERRUPTED, TERMINATED = 1, 130, 143


@dataclass(frozen=True)
class Verb:
    """A verb: its module and function of one name, its line of help, the flags it takes.

    Attributes:
        kind: the class in ``pipeline.config`` of the configuration that it takes.
        base: overrides that its configuration starts from, before the user's.
        relays: whether its function gets the overrides as well, to hand them on to other commands.
        computes: whether it trains or looks at networks, for which the kernels are compiled as it starts.
        named: what its arguments besides overrides are called; empty if it takes none.
    """

    name: str
    help: str
    flags: tuple[str, ...] = ()
    kind: str = "Config"
    base: tuple[str, ...] = ()
    relays: bool = False
    computes: bool = False
    named: str = ""

    def compose(self, overrides: Sequence[str]) -> "Section":
        # Imported here: it takes seconds, which help and typing errors need not wait for.
        from pipeline import config

        kind: type[Section] = getattr(config, self.kind)
        return config.compose_as(kind, [*self.base, *overrides])

    def run(self, arguments: Sequence[str], flags: Sequence[str]) -> int:
        """arguments: overrides, and the names that it takes."""
        if not self.computes:
            return self._run(arguments, flags)
        build_ahead()
        try:
            return self._run(arguments, flags)
        finally:
            stop_building()

    def _run(self, arguments: Sequence[str], flags: Sequence[str]) -> int:
        names = [text for text in arguments if self.named and "=" not in text and not text.startswith("~")]
        overrides = [text for text in arguments if text not in names]
        # A million objects come with the libraries and stay: the collector need not go through them
        # again and again, neither while they come (a fifth of that time) nor later.
        gc.disable()
        try:
            config = self.compose(overrides)
            function: Callable[..., int] = getattr(importlib.import_module(f"pipeline.verbs.{self.name}"), self.name)
            if not gc.get_freeze_count():
                gc.freeze()
        finally:
            gc.enable()
        if self.relays:
            return function(config, flags, overrides)
        return function(config, flags, names) if self.named else function(config, flags)


VERBS = {
    verb.name: verb
    for verb in (
        Verb("sweep", "search init scale and bias value, confirm the winner, write the report", computes=True),
        Verb("worker", "join a study: train its trials beside those who work on it already", computes=True),
        Verb("train", "train one network and log its run", computes=True),
        Verb("diagnose", "the verdict on one network and its data, before training", ("--json",), computes=True),
        Verb(
            "symmetry",
            "which neurons must stay copies, and what broke the ties of the others",
            ("--json",),
            computes=True,
        ),
        Verb("report", "make the HTML report of a study again"),
        Verb("compare", "set two or more studies or runs side by side", named="STUDY|RUN_ID ..."),
        # The first question stands for all: their experiments have the same keys, with few exceptions.
        Verb("answers", "answer the seven questions by experiment", base=("experiment=q1",), relays=True),
        Verb("ui", "serve the MLflow UI, on 127.0.0.1 unless told otherwise"),
        Verb("open", "print the address of a study or a run in the MLflow UI", ("--browser",), named="STUDY|RUN_ID"),
        Verb(
            "theory",
            "mean-field figures at a point: critical line, q*, chi_1, depth scales",
            ("--json",),
            "TheoryConfig",
        ),
        Verb("status", "list the studies and their trials", ("--json",)),
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit code (0, 1, 2, 130 or 143)."""
    install()
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except InitlabError as error:
        print("initlab:", one_line(str(error)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("initlab: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("initlab: terminated", file=sys.stderr)
        return TERMINATED
    except Exception:  # a mistake of the lab's own; what libraries say may quote an address with its password
        print(without_passwords(traceback.format_exc()), end="", file=sys.stderr)
        return FAILED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(f"initlab {__version__}")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        raise UsageError(f"{name!r} is no verb; it must be one of {', '.join(VERBS)}")
    verb = VERBS[name]
    if "-h" in rest or "--help" in rest:
        print(_verb_help(verb))
        return 0
    flags = [a for a in rest if a.startswith("-")]
    for flag in flags:
        if flag not in verb.flags:
            allowed = ", ".join(("--help", *verb.flags))
            raise UsageError(f"{flag}: not a flag of {name}; allowed: {allowed}, and overrides key=value")
    return verb.run([a for a in rest if not a.startswith("-")], flags)


def _usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb.name:{width}}  {verb.help}" for verb in VERBS.values())
    return f"initlab {__version__}: a laboratory for weight and bias initialisation\n\n" + (
        f"usage: initlab VERB [key=value ...]\n\n{verbs}\n\n`initlab VERB --help` lists the keys."
    )


def _verb_help(verb: Verb) -> str:
    from pipeline.config import choices, groups, to_yaml

    flags = "".join(f" [{flag}]" for flag in verb.flags)
    defaults = "".join(f"  {line}\n" for line in to_yaml(verb.compose([])).splitlines())
    listed = "".join(f"  {group}={', '.join(choices(group))}\n" for group in groups())
    offered = f"groups (weight_init=he_normal):\n{listed}\n" if verb.kind == "Config" else ""
    return (
        f"initlab {verb.name}: {verb.help}\n\n"
        f"usage: initlab {verb.name}{f' {verb.named}' if verb.named else ''}{flags} [key=value ...]\n\n"
        f"{offered}keys and their defaults:\n{defaults}"
    )
