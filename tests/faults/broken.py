"""Configurations that are wrong by construction, as arguments of the command."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

from pipeline.config import choices, compose_tree, flatten, groups

Arguments = Sequence[str]

# The whole configuration under some choices: a key that is broken in it is broken for every verb.
BASES = ([], ["model=cnn"], ["optimizer=adam"], ["search=grid"], ["weight_init=zeros", "bias_init=normal"])
TREES = [(base, flatten(compose_tree(base))) for base in BASES]
VERBS = [
    *["sweep"] * 6,
    "train",
    "diagnose",
    "symmetry",
    "report",
    "compare one other",
    "open one",
    "status",
    "answers",
]

# Keys that take any text, or numbers without a bound.
FREE = {"study.name", "dataset.path", "tracking.dir", "tracking.experiment", "report.answers", "search.storage"}
HOSTS = {"tracking.host"}  # any name, as whether a host has it shows when it is served on
UNBOUNDED = {"trainer.batch_size", "search.min_epochs"}
SIGNED = {"bias_init.value"}
LISTS = {"probes.only"}  # empty, it is a choice: no probes

words = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=12).map(lambda word: f"zz{word}")


def _wrong_values(key: str, value: object) -> st.SearchStrategy[str]:
    """Texts of values that the key can't have."""
    wrong = ["[]", "[1,2]", "{a: 1}", "{}"] if not isinstance(value, list | dict) else ["3", "zzword", "true"]
    if isinstance(value, dict):
        return st.sampled_from(["3", "zzword", "true", "[1]"])
    if (not isinstance(value, str) and value is not None) or key in ("seed",):
        wrong += ["zzword", "''", "'1'"]
    if value is not None:
        wrong += ["null"]
    if isinstance(value, bool):
        wrong += ["3", "0.5", "yes please"]
    elif isinstance(value, int):
        wrong += ["1.5", "-1", "true", "nan", "inf", "1e3", "0x10"]
        wrong += [] if key in UNBOUNDED else ["9" * 30]
    elif isinstance(value, float):
        wrong += ["nan", "inf", "-inf", "true"] + ([] if key in SIGNED else ["-1", "-1e-9"])
    elif isinstance(value, str):
        wrong += ["3", "1.5", "true"] + ([] if key in FREE else ["''"])
        wrong += [] if key in FREE | HOSTS else ["zzword", "ZZ.zz"]
    elif value is None:
        wrong += ["true"]
    wrong = [text for text in wrong if not (key in LISTS and text == "[]")]
    return st.sampled_from([text for text in wrong if not (key == "search.space" and text == "{}")])


@st.composite
def wrong_values(draw: st.DrawFn) -> Arguments:
    """A key of the real tree with a value of the wrong type or out of its range."""
    base, tree = draw(st.sampled_from(TREES))
    keys = [key for key in tree if not key.startswith(("search.space", "search.enqueue", "experiment"))]
    key = draw(st.sampled_from(keys))
    return [*base, f"{draw(st.sampled_from(['', '++']))}{key}={draw(_wrong_values(key, tree[key]))}"]


@st.composite
def unknown_keys(draw: st.DrawFn) -> Arguments:
    base, tree = draw(st.sampled_from(TREES))
    key = draw(st.sampled_from([key for key in tree if not key.startswith("search.space")]))
    parent, _, _ = key.rpartition(".")
    new = draw(words)
    full = draw(st.sampled_from([new, f"{parent}.{new}" if parent else new, f"{key}.{new}", f"{new}.{key}"]))
    return [
        *base,
        f"{draw(st.sampled_from(['', '+', '++', '~']))}{full}" + draw(st.sampled_from(["=1", "=zz", "={a: 1}"])),
    ]


@st.composite
def unknown_choices(draw: st.DrawFn) -> Arguments:
    group = draw(st.sampled_from(groups()))
    known = draw(st.sampled_from(choices(group)))
    forms = [
        f"../{group}/{known}",
        f"../../conf/{group}/{known}",
        f"/etc/{known}",
        f"{known}.yaml",
        f"{known}/",
        "base.yaml",
    ]
    choice = draw(
        st.one_of(words, st.sampled_from([*forms, "", "null1", "3", "[a]", "{a: b}", "true", f"{known},{known}"]))
    )
    place = draw(st.sampled_from([group, f"+{group}", f"++{group}"]))
    wrong = [
        f"{place}={choice}",
        f"{group}@zz={known}",
        f"{group}@_global_={known}",
        f"{group}/zz={known}",
        f"{group}/../{group}={known}",
    ]
    return [draw(st.sampled_from(wrong))]


@st.composite
def broken_grammar(draw: st.DrawFn) -> Arguments:
    _, tree = draw(st.sampled_from(TREES))
    key = draw(st.sampled_from(sorted(tree)))
    opened = draw(
        st.sampled_from(
            [
                "[",
                "{",
                "'",
                '"',
                "[1,",
                "{a:",
                "{a: 1",
                "[[1]",
                "f(",
                "${",
                "${oc.env:",
                "'a'b",
                "[1 2",
                "1]",
                "}",
                "a=[",
                "|>",
            ]
        )
    )
    junk = draw(st.text("abc123., :", max_size=6))
    return [
        draw(
            st.sampled_from(
                [f"{key}={opened}{junk}", f"{key}", f"={junk}", f"{key}[0]=1", f".{key}=1", f"{key}.=1", f" ={opened}"]
            )
        )
    ]


@st.composite
def broken_interpolations(draw: st.DrawFn) -> Arguments:
    _, tree = draw(st.sampled_from(TREES))
    key = draw(st.sampled_from([key for key in tree if not key.startswith("search.space")]))
    name = draw(words)
    forms = [
        f"${{{name}}}",
        f"${{oc.env:{name.upper()}}}",
        f"${{{key}}}",
        f"${{{name}:1}}",
        f"${{..{name}}}",
        f"${{hydra:{name}}}",
        f"a${{{name}}}b",
        f"[${{{name}}}]",
        f"${{oc.select:{key}}}",
        f"${{oc.dict.keys:{name}}}",
        f"${{${{{name}}}}}",
    ]
    return [f"{key}={draw(st.sampled_from(forms))}"]


SWEEPS = [
    *("1,2", "a,b", "range(1,4)", "choice(a,b)", "glob(*)", "interval(0,1)", "shuffle(1,2)"),
    "tag(a,choice(1,2))",
]


@st.composite
def sweeps_of_hydra(draw: st.DrawFn) -> Arguments:
    _, tree = draw(st.sampled_from(TREES))
    key = draw(st.sampled_from([*sorted(tree), *groups()]))
    return [f"{key}={draw(st.sampled_from(SWEEPS))}"]


@st.composite
def control_characters(draw: st.DrawFn) -> Arguments:
    key = draw(st.sampled_from(sorted(FREE)))
    character = draw(st.characters(categories=["Cc", "Cs"]))
    return [f'{key}="zz{character}zz"']


@st.composite
def deleted_keys(draw: st.DrawFn) -> Arguments:
    base, tree = draw(st.sampled_from(TREES))
    keys = [
        key
        for key in tree
        if not key.startswith(("search.space", "experiment", "weight_init.layers", "bias_init.layers"))
    ]
    return [
        *base,
        f"~{draw(st.sampled_from([*keys, *(g for g in groups() if g != 'experiment'), 'study', 'search.space']))}",
    ]


COMPUTED = [
    ["zz\x1b[31m"],
    ["sweep", f"search.space.bias_init.value.high={'9' * 400}"],
    ["sweep", f"tracking.dir={'a' * 300}"],
    ["sweep", f"search.storage={'a/' * 3000}x"],
    *[
        [verb, override]
        for verb in ("sweep", "status")
        for override in (
            f"seed={'9' * 5000}",
            f"zz={'[' * 3000}",
            f"seed={'[' * 300}{']' * 300}",
            f"+{'a.' * 400}b=1",
            f"{'x' * 200_000}=1",
            f"study.name={'x' * 300}",
            f"tracking.experiment={'x' * 300}",
            "\udcff=1",
            "seed=\udcff",
        )
    ],
]
LISTED: list[list[str]] = [
    *[shlex.split(line) for line in Path(__file__).with_name("listed.txt").read_text().splitlines()],
    *COMPUTED,
]
"""Written by hand: arguments of the command."""

AXES = [found for found in LISTED if len(found) == 2 and found[1].lstrip("+").startswith("search.space.")]


def _for_any_verb(arguments: st.SearchStrategy[Arguments]) -> st.SearchStrategy[Arguments]:
    return st.tuples(st.sampled_from(VERBS), arguments).map(lambda pair: [*pair[0].split(), *pair[1]])


broken = st.one_of(
    _for_any_verb(wrong_values()),
    _for_any_verb(wrong_values()),
    _for_any_verb(unknown_keys()),
    _for_any_verb(unknown_choices()),
    _for_any_verb(broken_grammar()),
    _for_any_verb(broken_interpolations()),
    _for_any_verb(sweeps_of_hydra()),
    _for_any_verb(control_characters()),
    _for_any_verb(deleted_keys()),
    st.sampled_from(AXES),
)
"""Arguments that a verb must refuse, drawn."""
