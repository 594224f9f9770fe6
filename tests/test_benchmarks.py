"""The benchmark's arithmetic and files; what it measures is no test's business."""

import datetime
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.__main__ import KEYS, main, parse
from benchmarks.engine import MODES, PRUNING, STUDY, WORKERS, Told, told
from benchmarks.group import Context
from benchmarks.processes import run
from benchmarks.result import MIN_PAIRS, Result, Target, merge, ratios, read, write
from benchmarks.rows.search import cost_to_reach
from benchmarks.rows.study import marginal
from benchmarks.shapes import SHAPES
from benchmarks.sides import Side, in_turn
from benchmarks.subject import Subject
from benchmarks.table import number, page
from benchmarks.template_peer import TEMPLATE, TemplateRun
from benchmarks.unavailable import UnavailableError
from pipeline import models
from pipeline.config import compose

ATLEAST = Target("fast", "lab against (a)", 5.0)
ATMOST = Target("small", "memory", 2.0, at_most=True, unit="GB", figure="largest")
HERE = {"processor": "x", "torch": "2"}


def result(target: Target, *values: float) -> Result:
    return Result(target, values, {"lab, us": 1.5}, date="2026-01-02", environment=HERE)


def test_figures_are_those_that_the_target_names() -> None:
    values = (1.0, 10.0, 4.0)
    found = {name: result(Target("k", "w", figure=name), *values).figure for name in ("median", "mean", "largest")}
    assert found == {"median": 4.0, "mean": 5.0, "largest": 10.0}
    assert result(ATLEAST, *values).spread == (1.0, 10.0)
    assert math.isnan(Result(ATLEAST).figure)


@pytest.mark.parametrize(
    ("target", "value", "met"), [(ATLEAST, 5.0, True), (ATLEAST, 4.9, False), (ATMOST, 2.0, True), (ATMOST, 2.1, False)]
)
def test_bounds_count_from_five_pairs_on(target: Target, value: float, met: bool) -> None:
    enough, few = result(target, *[value] * MIN_PAIRS), result(target, *[value] * (MIN_PAIRS - 1))
    assert (enough.met, enough.passed) == (met, met)
    assert (few.met, few.passed) == (met, False)


def test_without_bound_or_values_there_is_no_verdict() -> None:
    assert result(Target("k", "w"), 1.0).passed is None
    assert Result(ATLEAST, reason="no GPU").passed is None


def test_ratios_are_taken_pair_by_pair() -> None:
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_merging_replaces_what_was_measured_again_and_nothing_else() -> None:
    old = {"a": result(ATLEAST, 1.0), "b": result(ATLEAST, 2.0), "gone": result(ATLEAST, 3.0), "d": Result(ATLEAST)}
    new = {
        "c": result(ATLEAST, 6.0),
        "a": result(ATLEAST, 5.0),
        "b": Result(ATLEAST, reason="no data"),
        "d": Result(ATLEAST, reason="x"),
    }
    merged = merge(old, new, ["c", "b", "a", "d"])
    assert list(merged) == ["c", "b", "a", "d"]
    assert [r.values for r in merged.values()] == [(6.0,), (2.0,), (5.0,), ()]
    assert merged["d"].reason == "x"


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    assert read(path) == {}
    results = {"fast": result(ATLEAST, 5.0, 7.0), "small": Result(ATMOST, reason="no memory")}
    write(path, results)
    assert page(read(path), {}) == page(results, {})
    assert [r.target for r in read(path).values()] == [ATLEAST, ATMOST]
    assert not list(tmp_path.glob("*.part"))


def test_the_page_tells_pass_fail_few_pairs_and_not_run() -> None:
    results = {
        "fast": result(ATLEAST, 5.0, 6.0, 7.0, 8.0, 9.0),
        "slow": result(Target("slow", "w", 5.0), 1.0, 2.0, 3.0, 4.0, 9.0),
        "few": result(ATLEAST, 6.0),
        "small": Result(ATMOST, reason="no memory"),
    }
    text = page(results, {"slow": "the weather:\n  see below", "fast": "not shown"})
    assert "| fast | lab against (a) | at least 5x | **7x** | 5x .. 9x | 5 | pass |" in text
    assert "| slow | w | at least 5x | **3x** | 1x .. 9x | 5 | **fail** |" in text
    assert "| few | lab against (a) | at least 5x | **6x** | 6x .. 6x | 1 | too few pairs |" in text
    assert "| small | memory | at most 2 GB | not run: no memory | | | |" in text
    assert "- **slow**: the weather: see below" in text
    assert "not shown" not in text
    assert text.count("processor x; torch 2") == 1


def test_numbers_have_three_digits_and_a_unit() -> None:
    assert [number(v, u) for v, u in ((5.123, "x"), (0.7124, ""), (1.4, "GB"), (12345.6, ""))] == [
        "5.12x",
        "0.712",
        "1.4 GB",
        "12,346",
    ]


def test_flops_are_those_of_the_matrix_products() -> None:
    forward = 2 * 64 * (64 * 64 + 64 * 64 + 64 * 10)
    of_inputs = 2 * 64 * (64 * 64 + 64 * 10)  # the first layer's inputs need no gradient
    assert SHAPES["digits"].flops == forward + forward + of_inputs


@pytest.mark.parametrize("name", ["digits", "mnist", "cnn"])
def test_peers_train_the_lab_s_networks(name: str) -> None:
    kind, arguments = SHAPES[name].model
    if not hasattr(models, kind):
        pytest.skip(f"the lab has no {kind}")
    sample = (64,) if name == "digits" else (1, 28, 28)
    ours = getattr(models, kind)(sample, 10, **arguments)
    plain = SHAPES[name].plain()
    assert [p.shape for p in plain.parameters()] == [p.shape for p in ours.parameters()]
    plain.load_state_dict(dict(zip(plain.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(3, *sample, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain(x), ours(x))


def test_marginal_time_doesn_t_depend_on_batches() -> None:
    in_batches = [Told(number=i, at=0.5 * 10 * (i // 10 + 1), value=0.5, steps=0) for i in range(1000)]
    assert marginal(in_batches, 200, 600) == pytest.approx(0.5, rel=0.01)
    assert marginal(in_batches, 203, 607) == pytest.approx(0.5, rel=0.01)


def test_cost_to_reach_counts_what_pruned_trials_took() -> None:
    trials = [Told(0, 0.0, 0.5, 10), Told(1, 1.0, None, 3), Told(2, 2.0, 0.9, 10), Told(3, 3.0, 0.95, 10)]
    assert cost_to_reach(trials, 0.9) == (23, True)
    assert cost_to_reach(trials, 0.99) == (33, False)


def test_trials_are_told_in_the_order_in_which_they_ended(tmp_path: Path) -> None:
    folder = tmp_path / "mlruns" / "optuna"
    folder.mkdir(parents=True)
    study = optuna.create_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(folder / "s.journal"))), direction="maximize"
    )
    first, second, third, cut, _ = (study.ask() for _ in range(5))
    cut.report(0.1, 10)
    cut.report(0.2, 20)
    study.tell(second, 0.25)
    study.tell(third, state=optuna.trial.TrialState.PRUNED)
    study.tell(cut, state=optuna.trial.TrialState.PRUNED)
    study.tell(first, 0.75)
    found = told(tmp_path, 10, 60)
    assert [(t.number, t.value, t.steps) for t in found] == [
        (1, 0.25, 600),
        (2, None, 0),
        (3, None, 200),
        (0, 0.75, 600),
    ]
    assert found[0].at <= found[-1].at <= datetime.datetime.now().timestamp()


def test_the_template_s_slope_leaves_out_its_start() -> None:
    assert TemplateRun(100.0, [60.0, 70.0, 72.0, 74.0, 76.0]).slope(2) == 2.0


@pytest.mark.parametrize(
    ("argument", "named"), [("row=nonsense", "row=nonsense"), ("--only", "--only"), ("rows=digits", "rows=digits")]
)
def test_wrong_usage_is_named(argument: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument]) == 2
    assert capsys.readouterr().err.startswith(f"bench: {named}: must be")


def test_rows_can_be_chosen() -> None:
    assert parse([]).rows == KEYS
    assert len(set(KEYS)) == len(KEYS)
    options = parse(["row=digits,cnn", "mnist=a.npz", "--quick"])
    assert (options.rows, options.mnist, options.quick) == (["digits", "cnn"], "a.npz", True)


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    def python(code: str) -> list[str]:
        return [sys.executable, "-c", code]

    ran = run(python("x = bytearray(200_000_000); import time; time.sleep(1)"), tmp_path / "a", {}, memory=True)
    assert ran.seconds > 1
    assert ran.peak_bytes > 200_000_000
    with pytest.raises(UnavailableError, match="no such key"):
        run(python("import sys; print('no such key'); sys.exit(2)"), tmp_path / "b", {})
    with pytest.raises(RuntimeError, match="exit code 1: ValueError: broken"):
        run(python("raise ValueError('broken')"), tmp_path / "c", {})


@pytest.mark.slow
def test_sides_are_measured_in_turn(tmp_path: Path) -> None:
    said: list[str] = []
    context = Context(True, None, tmp_path, said.append)
    sides = {
        "one": [Subject("gemm")],
        "two": [Subject("gemm"), Subject("gemm")],
        "none": [Subject("jobs", options={"overrides": ["model.widht=3"], "workers": 1})],
    }
    rates = in_turn(sides, 2, context, optional=["none"])
    assert {name: len(found) for name, found in rates.items()} == {"one": 2, "two": 2}
    assert min(map(min, rates.values())) > 0
    assert [text for text in said if "left out" in text and "model.widht" in text]
    with pytest.raises(UnavailableError, match=r"model\.widht"):
        Side(*sides["none"], caches={})


def test_the_template_logs_twelve_finite_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TEMPLATE))
    import training  # type: ignore[import-not-found]

    for name in ("training", "probes"):
        monkeypatch.delitem(sys.modules, name)
    config = SimpleNamespace(seeds=[0, 1], epochs=2, batch_size=64, lr=0.05, momentum=0.9, probe_rows=64)
    config.sizes, config.weight_scale, config.bias_value = [64, 64, 64, 10], 1.0, 0.0
    before = torch.get_num_threads()
    try:
        epochs: list[dict[str, Any]] = list(training.train(config))
    finally:
        torch.set_num_threads(before)
    assert [len(metrics) for metrics in epochs] == [12, 12]
    assert all(math.isfinite(value) for metrics in epochs for value in metrics.values())
    assert epochs[1]["train/loss"] < epochs[0]["train/loss"]


@pytest.mark.parametrize("mode", MODES)
def test_the_lab_knows_the_keys_that_the_benchmark_names(mode: str) -> None:
    config = compose([*STUDY, *PRUNING, f"{WORKERS}=2", f"trainer.execution={mode}"])
    assert (config.search.confirm, config.trainer.workers, config.trainer.execution) == (0, 2, mode)
