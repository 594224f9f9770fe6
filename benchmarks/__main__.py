"""``python -m benchmarks``: measures rows and writes RESULTS.md and results.json.

usage: make bench ARGS="[row=KEY,KEY...] [mnist=PATH] [--quick] [--list]"

  row=KEY,KEY   only these rows, and those that are measured with them; all others stay
  mnist=PATH    an .npz with x_train y_train x_test y_test; else INITLAB_MNIST, else
                ../shared/data/mnist.npz, else OpenML
  --quick       a smoke run of minutes: fewer pairs, small studies; prints, stores nothing
  --list        the rows
"""

import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.data import ROOT, mnist_file
from benchmarks.machine import busy_elsewhere, environment
from benchmarks.result import Result, merge, read, write
from benchmarks.rows import GROUPS, Context, Group
from benchmarks.table import page
from benchmarks.unavailable import UnavailableError

FOLDER = ROOT / "benchmarks"
KEYS = [key for group in GROUPS for key in group.keys]
# From here on others take so much of the machine that figures suffer.
BUSY_CORES = 0.2


@dataclass
class Options:
    """The command line."""

    rows: list[str] = field(default_factory=lambda: list(KEYS))
    mnist: str | None = None
    quick: bool = False
    listed: bool = False


def parse(arguments: Sequence[str]) -> Options:
    """Raises ``ValueError`` with a line for the user."""
    options = Options()
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if argument in ("--quick", "--list"):
            options.quick |= argument == "--quick"
            options.listed |= argument == "--list"
        elif key == "row" and separator:
            options.rows = value.split(",")
        elif key == "mnist" and value:
            options.mnist = value
        else:
            raise ValueError(f"{argument}: must be row=KEY,KEY, mnist=PATH, --quick or --list")
    for row in options.rows:
        if row not in KEYS:
            raise ValueError(f"row={row}: must be one of {', '.join(KEYS)}")
    return options


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def measure(group: Group, options: Options, where: dict[str, str]) -> dict[str, Result]:
    """The results of a group; without values where it can't be measured or fails."""
    say(f"-- {', '.join(group.keys)}")
    busy = busy_elsewhere()
    if busy > BUSY_CORES:
        say(f"others keep {busy:.1f} cores busy: figures will suffer")
    date = time.strftime("%Y-%m-%d")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        context = Context(options.quick, mnist_file(options.mnist), Path(folder), say)
        try:
            found = group.measure(context)
        except UnavailableError as reason:
            say(f"not run: {reason}")
            return {target.key: Result(target, reason=str(reason), date=date) for target in group.targets}
        except (RuntimeError, OSError) as error:
            say(f"failed: {error}")
            return {target.key: Result(target, reason=f"failed: {error}", date=date) for target in group.targets}
    busy = max(busy, busy_elsewhere())
    results = {}
    for target in group.targets:
        m = found[target.key]
        remarks = [m.remark] if m.remark else []
        if busy > BUSY_CORES:
            remarks.append(f"other processes kept up to {busy:.1f} cores busy before or after")
        results[target.key] = Result(target, m.values, m.detail, "; ".join(remarks), date=date, environment=where)
    return results


def store(new: dict[str, Result]) -> None:
    """Merges results into those that are stored; both files are written anew."""
    results = merge(read(FOLDER / "results.json"), new, KEYS)
    write(FOLDER / "results.json", results)
    (FOLDER / "RESULTS.md").write_text(page(results, notes()))


def notes() -> dict[str, str]:
    """What bounds the rows, by row."""
    return tomllib.loads((FOLDER / "notes.toml").read_text())


def main(arguments: Sequence[str]) -> int:
    try:
        options = parse(arguments)
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    if options.listed:
        for group in GROUPS:
            for target in group.targets:
                print(f"{target.key:20} {target.what}")
        return 0
    where = environment()
    results: dict[str, Result] = {}
    for group in GROUPS:
        if set(group.keys) & set(options.rows):
            results |= measure(group, options, where)
            if not options.quick:
                store(results)
    print(page(results, notes()))
    if not options.quick:
        print(FOLDER / "RESULTS.md", FOLDER / "results.json", sep="\n")
    return int(any(result.reason.startswith("failed") for result in results.values()))


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        sys.exit(0)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("bench: interrupted; rows that were done are stored", file=sys.stderr)
        sys.exit(130)
