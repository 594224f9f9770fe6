"""Configurations that are wrong by construction, as arguments of the command."""

from collections.abc import Sequence

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
UNBOUNDED = {"trainer.batch_size", "search.min_epochs"}
SIGNED = {"bias_init.value"}

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
        wrong += ["3", "1.5", "true"] + ([] if key in FREE else ["zzword", "''", "ZZ.zz"])
    elif value is None:
        wrong += ["true"]
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


@st.composite
def sweeps_of_hydra(draw: st.DrawFn) -> Arguments:
    _, tree = draw(st.sampled_from(TREES))
    key = draw(st.sampled_from([*sorted(tree), *groups()]))
    return [
        f"{key}={draw(st.sampled_from(['1,2', 'a,b', 'range(1,4)', 'choice(a,b)', 'glob(*)', 'interval(0,1)', 'shuffle(1,2)', 'tag(a,choice(1,2))']))}"
    ]


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


AXES = [
    "weight_init.scale={low: 2, high: 1}", "weight_init.scale={low: 0, high: 1, log: true}", "weight_init.scale.low=-1",
    "weight_init.scale={low: nan, high: 1}", "weight_init.scale={low: a, high: b}", "weight_init.scale.log=maybe",
    "weight_init.scale.high=inf", "weight_init.scale.high=1e300", "weight_init.scale.low=1e-320", "weight_init.scale=3",
    "weight_init.scale=[1,2]", "weight_init.scale.low=[1]", "weight_init.scale.zero=1", "bias_init.value.high=-3",
    "bias_init.value.low=-1e300", "bias_init.value=free", f"bias_init.value.high={'9' * 400}",
    "+weight_init.scale.step=1", "+weight_init.scale.choices=[1]", "+weight_init.scale.arms={a: {model.depth: 1}}",
    "+bias_init.value.zero=true", "+bias_init.value.int=2", "+bias_init.value.log=true",
    "+model.depth={choices: []}", "+model.depth={choices: 3}", "+model.depth={choices: [1,1]}", "+model.depth={choices: [0]}",
    "+model.depth={choices: [[1]]}", "+model.depth={choices: [a]}", "+model.depth={choices: [null]}", "+model.depth={choices: [true]}",
    "+model.depth={low: 1, high: 3}", "+model.depth={low: 1.5, high: 3, int: true}", "+model.depth={low: 0, high: 3, int: true}",
    "+model.depth={low: 1, high: 3, int: true, zero: true}", "+model.depth={low: 1, high: 9999, int: true}", "+model.depth={low: 1}",
    "+model.activation={choices: [tanh, swish]}", "+model.activation={low: 0, high: 1}", "+model={choices: [mlp]}",
    "+seed={choices: [1,2]}", "+device={choices: [cpu]}", "+dataset.name={choices: [digits, wine]}", "+search.batch={choices: [1]}",
    "+tracking.uri={choices: [a]}", "+allow_custom_code={choices: [true, false]}", "+launcher.name={choices: [local]}",
    "+model._target_={choices: [os.system]}", "+model._target_={choices: [pipeline.models.MLP]}", "+model.x._target_={choices: [os.system]}",
    "+optimizer.name={choices: [sgd, adam]}", "+optimizer.lr={low: 0, high: 1}", "+optimizer.momentum={low: 0, high: 1}",
    "+trainer.batch_size={choices: [64, 99999]}", "+trainer.dtype={choices: [float16]}", "+zz={low: 0, high: 1}", "+zz.yy={choices: [1]}",
    "+zz={arms: {}}", "+zz={arms: 3}", "+zz={arms: [a]}", "+zz={arms: {a: 1}}", "+zz={arms: {a: {}}}", "+zz={arms: {a: {zz.yy: 1}}}",
    "+zz={arms: {a: {model.depth: 0}}}", "+zz={arms: {a: {model.depth: 2}, b: {model.depth: 2}}}", "+zz={arms: {a: {weight_init.scale: 1}}}",
    "+zz={arms: {a: {model._target_: os.system}}}", "+zz={arms: {a: {seed: 1}}}", "+zz={arms: {a: {weight_init: zeros}}}",
    "+zz={arms: {a: {model.depth: 2}}, low: 1}", "+model={arms: {a: {model.depth: 2}}}", "+zz={low: 1, high: 2, arms: {}}",
]  # fmt: skip
POINTS = [
    "3", "[3]", "{a: 1}", "[[]]", "[{weight_init.scale: -1}]", "[{weight_init.scale: 11}]", "[{weight_init.scale: a}]", "[{zz: 1}]",
    "[{weight_init.scale: null}]", "[{weight_init.scale: nan}]", "[{weight_init.scale: inf}]", "[{weight_init.scale: [1]}]",
    "[{weight_init.scale: true}]", "[{bias_init.value: 5}]", "[{weight_init: {scale: 99}}]", "[{weight_init: {zz: 1}}]", "[{1: 2}]",
    "[{model._target_: os.system}]", "[{weight_init.scale: 1.0}, {bias_init.value: -2.1}]", "[null]", "null", "[{weight_init.scale: '1'}]",
]  # fmt: skip
WHOLE = [
    ["search=grid", "search.grid_points=1000", "+search.space.optimizer.lr={low: 0.1, high: 1}"],
    ["search.pruner=halving", "search.replicates=1", "trainer.epochs=5"],
    ["search.pruner=wilcoxon", "search.replicates=1"],
    ["search.pruner=median", "+search.space.trainer.epochs={choices: [5, 30]}"],
    ["~search.space.weight_init", "~search.space.bias_init"],
    ["search.space.weight_init=null", "search.space.bias_init=null"],
    ["weight_init=zeros", "bias_init=zeros"],
    ["trainer.batch_size=1078"], ["dataset.train_limit=3"], ["dataset.val_fraction=0.5", "dataset.test_fraction=0.5"],
    ["dataset.val_fraction=1e-9"], ["model=cnn", "dataset=wine"], ["model=cnn", "model.depth=4"], ["dataset=npz", "dataset.path=null"],
    ["search.storage=/"], ["search.storage=/dev/null/x"], ["search.storage=/dev/null"], ["tracking.dir=/dev/null"],
    ["tracking.dir=/dev/null/x"], ["tracking.uri=sqlite:////dev/null/x.db"], ["tracking.uri=sqlite:////"], ["search.storage=sqlite:////dev"],
    [f"tracking.dir={'a' * 300}"], [f"search.storage={'a/' * 3000}x"], ["search.storage=postgresql+psycopg://me@127.0.0.1:1/db"],
]  # fmt: skip
ADDRESSES = [
    "nowhere", "file:///tmp/x", "foo://bar", "://", "http://", "http://:5000", "http://h:99999", "http://h:port", "http://a@b@c", "databricks",
    "postgresql://u:p@h:p@q/db", "postgresql://u:p/q@h/db", "postgresql://u:p?q@h/db", "postgresql://h:1:2/db", "POSTGRESQL://h/db",
    "sqlite://", "sqlite:///", "sqlite://host/x", "sqlite:///:memory:", "sqlite:///?x=1", "'http://a b'", "'postgresql://u:p q@h/db'",
    "[http://h]", "3", "true", "''", "http://[::1", "http://u:p:q@h",
]  # fmt: skip
CODE = [
    ["model=custom", "model._target_=os.system"], ["model=custom", "model._target_=torch.nn.Identity"], ["model._target_=os.system"],
    ["model=custom"], ["model=custom", "model._target_=null", "allow_custom_code=true"], ["model=custom", "model._target_=''", "allow_custom_code=true"],
    ["model=custom", "model._target_=no.such.thing", "allow_custom_code=true"], ["model=custom", "model._target_=os", "allow_custom_code=true"],
    ["model=custom", "model._target_=builtins.dict", "allow_custom_code=true"], ["model=custom", "model._target_=torch.nn.Linear", "allow_custom_code=1"],
    ["model=custom", "model._target_=torch.nn.Linear", "allow_custom_code=true", "+model.zz=1"], ["+model.zz._target_=os.system"],
    ["++model.depth={_target_: os.system}"], ["+model._args_=[1]"], ["+model._partial_=true"], ["model=custom", "model._target_=pipeline.models.MLP"],
    ["model=custom", "model._target_=pipeline.models.MLP", "+model.zz._target_=os.system"], ["model=custom", "model._target_=..", "allow_custom_code=true"],
    ["+weight_init._target_=os.system"], ["+_target_=os.system"], ["+optimizer._partial_=true"], ["+dataset.path._target_=os.system"],
]  # fmt: skip
ODD = [
    ["--zz"], ["-x"], ["--"], ["--json=1"], ["hydra.run.dir=x"], ["+hydra.searchpath=[/tmp]"], ["hydra/launcher=basic"], ["+defaults=[x]"], ["defaults=[x]"],
    ["_self_=1"], ["+_self_=1"], ["seed=" + "9" * 5000], ["zz=" + "[" * 3000], ["+" + "a." * 400 + "b=1"], ["x" * 200_000 + "=1"], ["seed=" + "[" * 300 + "]" * 300],
    ["study.name=" + "x" * 300], ["tracking.experiment=" + "x" * 300], ["experiment=q9"], ["experiment=../config"], ["experiment=[q1]"], ["\udcff=1"], ["seed=\udcff"],
    ["seed=1", "seed"], ["=seed"], ["~"], ["+"], ["+=1"], ["tracking.host='a b'"], ["tracking.host=''"], ["tracking.port=65536"], ["device=cuda:0"], ["device=tpu"],
]  # fmt: skip
THEORY = [
    "activation=swish", "activation=3", "activation=null", "sigma_b2=-1", "sigma_b2=nan", "sigma_b2=a", "sigma_b2=1e7", "sigma_w2=0", "sigma_w2=inf", "sigma_w2=[1]",
    "scheme=zz", "scheme=3", "scale=0", "scale=2", "depth=-1", "depth=1.5", "depth=10001", "zz=1", "weight_init=zeros", "seed=1", "~depth", "depth=${zz}", "depth=1,2",
]  # fmt: skip


def _for_any_verb(arguments: st.SearchStrategy[Arguments]) -> st.SearchStrategy[Arguments]:
    return st.tuples(st.sampled_from(VERBS), arguments).map(lambda pair: [*pair[0].split(), *pair[1]])


def _for_sweeps(arguments: st.SearchStrategy[Arguments]) -> st.SearchStrategy[Arguments]:
    return arguments.map(lambda found: ["sweep", *found])


def _with_prefix(axis: str) -> str:
    return f"+search.space.{axis[1:]}" if axis.startswith("+") else f"search.space.{axis}"


COMPUTING = ["sweep", "train", "diagnose"]
LISTED = [
    *[["sweep", _with_prefix(axis)] for axis in AXES],
    *[["sweep", f"search.enqueue={point}"] for point in POINTS],
    *[["sweep", *whole] for whole in WHOLE],
    *[["sweep", f"{key}={address}"] for key in ("tracking.uri", "search.storage") for address in ADDRESSES
      if not (key == "search.storage" and address in ("nowhere", "databricks"))],
    *[[verb, *code] for code in CODE for verb in COMPUTING],
    *[[verb, *odd] for odd in ODD for verb in ("sweep", "status")],
    *[["theory", wrong] for wrong in THEORY],
    ["zz"], [""], ["zz\x1b[31m"], ["compare"], ["compare", "one"], ["compare", "one", "other"], ["open"], ["open", "one"], ["open", "one", "other"],
    ["report"], ["report", "study.name=zz"], ["status", "search.storage=zz.journal"], ["status", "search.storage=sqlite:///zz.db"],
    ["answers", "study.name=x"], ["answers", "experiment=q1"], ["answers", "report.questions=[]"], ["answers", "report.questions=[q9]"],
    ["answers", "search.preflight=prune", "report.questions=[q1]"], ["answers", "report.answers=/dev/null", "report.questions=[q1]"],
    ["answers", "search.n_trials=2", "report.questions=[q1]"], ["ui", "tracking.port=0"], ["ui", "tracking.host=no.such.host.invalid"],
    ["ui", "tracking.uri=http://127.0.0.1:1"], ["symmetry", "model=cnn"], ["train", "zz"], ["train", "trainer.batch_size=5000"],
]  # fmt: skip
"""Written by hand: arguments of the command."""

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
    _for_sweeps(st.sampled_from(AXES).map(lambda axis: [_with_prefix(axis)])),
)
"""Arguments that a verb must refuse, drawn."""
