"""The verdict before training: its factors, its sentences, its use."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from pipeline.cli import main
from pipeline.config import compose
from pipeline.pool import run_jobs
from pipeline.records import Verdict
from pipeline.runner import Job, look_ahead, verdicts
from pipeline.verdict import Budget, Signs, judge, typical
from pipeline.verdict.growth import NEVER, escape_steps

BUDGET = Budget(steps=340, rate=0.5)
PINNED = {
    "sgd": 0.9428,
    "without momentum": 0.7056,
    "adam": 0.8585,
    "deep": 0.2895,
    "saturated": 0.6872,
    "theory": 0.8394,
}


def signs(**changes) -> Signs:
    """A healthy network of two hidden layers, with changes."""
    healthy = {
        "finite": True,
        "classes": 10,
        "strengths": (1.0, 1.0, 1.0),
        "slopes": (0.7, 0.7),
        "label_signal": 1.0,
        "label_gradients": (0.5, 0.5, 0.5),
        "reached": 3,
        "flat": 0.1,
        "dead_layers": (),
        "units": (64, 64),
        "widths": (64, 64),
        "seen_apart": (1, 1),
        "chain": True,
        "sequential": True,
        "normalised": False,
        "activation": "tanh",
        "sigma_w2": 1.5,
        "sigma_b2": 0.05,
    }
    return Signs(**(healthy | changes))


@pytest.mark.parametrize("strengths", [(0.05, 0.05), (0.1, 0.2, 0.15), (0.3, 0.3, 0.3, 0.3)])
def test_the_plateau_against_an_integrator(strengths):
    network = signs(strengths=strengths, slopes=(1.0,) * (len(strengths) - 1), label_gradients=(0.0,) * len(strengths))
    rate = 0.01

    def flow(_, w):
        return rate * w.prod() / w

    def left(_, w):
        return w.prod() - 1

    left.terminal = True
    solved = solve_ivp(flow, (0, 1e8), np.array(strengths), events=left, rtol=1e-10, atol=1e-12)
    assert escape_steps(network, rate) == pytest.approx(float(solved.t_events[0][0]), rel=0.06)


def test_zero_weights_never_leave_a_deep_plateau():
    deep = signs(strengths=(0.0,) * 11, slopes=(0.5,) * 10, label_gradients=(0.0,) * 11)
    assert escape_steps(deep, 0.5) == NEVER
    shallow = signs(strengths=(0.0, 0.0), slopes=(0.5,), label_gradients=(0.0, 0.0))
    assert escape_steps(shallow, 0.5) < 340


@pytest.mark.parametrize(
    ("changes", "sentence", "hopeless"),
    [
        ({}, "healthy", False),
        ({"finite": False}, "unstable: activations or gradients are not finite at the start", True),
        ({"label_gradients": (1e4, 1e4, 1e4)}, "unstable: a first step would move the loss by about 2e+08", True),
        (
            {"label_gradients": (0.0,) * 3, "strengths": (0.0,) * 3, "reached": 0},
            "dead: no weight gets a gradient",
            True,
        ),
        (
            {"label_gradients": (0.0,) * 3, "slopes": (0.0, 0.0), "dead_layers": (1, 2), "flat": 1.0},
            "dead: every hidden unit is flat on all inputs",
            True,
        ),
        (
            {"label_gradients": (0.0,) * 3, "slopes": (0.7, 0.0), "dead_layers": (2,), "flat": 0.6},
            "dead: every unit of hidden layer 2 is flat on all inputs",
            True,
        ),
        ({"widths": (1, 1)}, "one neuron a layer for ever", True),
        ({"widths": (64, 1)}, "one neuron in a layer for ever", True),
        ({"widths": (64, 5)}, "5 distinct neurons in a layer for ever, for 10 classes", False),
        ({"widths": (1, 1), "classes": 2}, "healthy", False),
        ({"widths": (1, 1), "seen_apart": (9, 4), "chain": False}, "one unit a layer for ever", False),
        (
            {"widths": (64, 2), "seen_apart": (9, 1), "chain": False},
            "2 distinct units in a layer for ever, for 10 classes",
            False,
        ),
        ({"widths": (1, 1), "seen_apart": (9, 9), "chain": False}, "healthy", False),
        (
            {"label_gradients": (0.0, 0.0, 1e-4), "strengths": (1e-3,) * 3, "slopes": (0.1, 0.1), "reached": 1},
            "gradient reaches 1 of 3 layers",
            True,
        ),
        ({"flat": 0.9}, "saturated: 90% of units and samples are flat", False),
    ],
)
def test_sentences(changes, sentence, hopeless):
    verdict = judge(signs(**changes), BUDGET)
    assert verdict.sentence == sentence
    assert verdict.hopeless == hopeless
    assert 0 <= verdict.score <= 1


def test_theory_names_a_network_that_is_too_deep():
    depth = 60
    network = signs(
        strengths=(0.3,) * (depth + 1),
        slopes=(0.8,) * depth,
        label_gradients=(1e-9,) * (depth + 1),
        reached=depth + 1,
        widths=(64,) * depth,
        units=(64,) * depth,
        seen_apart=(1,) * depth,
        sigma_w2=1.0,
        sigma_b2=0.05,
    )
    assert judge(network, BUDGET).sentence == "6 xi_c = 22 < depth 60"


def test_more_steps_and_larger_gradients_never_lower_the_growth():
    slow = signs(strengths=(0.05,) * 3, label_gradients=(1e-3,) * 3)
    scores = [judge(slow, Budget(steps, 0.5)).score for steps in (10, 100, 1000, 10_000, 100_000)]
    assert scores == sorted(scores)
    assert scores[-1] > 0.9 > 0.3 > scores[0]


def test_a_trial_has_the_median_replicate_s_verdict():
    given = [Verdict(score, f"{score}", hopeless=False) for score in (0.9, 0.1, 0.5)]
    assert typical(given).sentence == "0.5"
    assert typical(given[:2]).sentence == "0.1"


def test_a_verdict_does_not_depend_on_its_company():
    configs = [compose([f"weight_init.scale={s}", "model.width=8"]) for s in (0.01, 1.0, 30.0)]
    jobs = [Job(config, seed) for seed, config in enumerate(configs)]
    assert verdicts(jobs) == [verdicts([job])[0] for job in jobs]


def judged(*overrides: str) -> tuple[Signs, Verdict]:
    """Signs and verdict of a configured network, seed 0."""
    ((found, verdict),) = look_ahead([Job(compose(list(overrides)), 0)])
    return found, verdict


def test_a_network_that_is_one_layer_is_judged_and_measured():
    linear = [
        "model=custom",
        "allow_custom_code=true",
        "model._target_=torch.nn.Linear",
        "+model.in_features=64",
        "+model.out_features=10",
    ]
    found, verdict = judged(*linear)
    assert len(found.strengths) == 1
    assert verdict.sentence == "healthy"
    (record,) = run_jobs([Job(compose([*linear, "trainer.epochs=1"]), 0)])
    assert record.final["test/accuracy"] > 0.5
    assert record.final["signal/update_ratio"] > 0


def test_symmetry_bounds_the_width_unless_dropout_breaks_it():
    found, verdict = judged("weight_init=tied")
    assert found.widths == (1, 1)
    assert (verdict.sentence, verdict.hopeless) == ("one neuron a layer for ever", True)
    found, verdict = judged("weight_init=tied", "model.dropout=0.1")
    assert found.widths == (64, 64)
    assert not verdict.hopeless


def test_what_the_signs_cannot_tell_is_not_judged():
    assert judge(signs(normalised=True), BUDGET).sentence.startswith("not judged: batch normalisation")
    assert judge(signs(strengths=(), slopes=(), units=(), widths=(), seen_apart=()), BUDGET).score == 0.5


def test_a_network_of_branches_is_hopeless_only_where_that_is_certain():
    slow = {"label_gradients": (1e-9,) * 3, "chain": False, "sequential": False}
    assert judge(signs(**slow), BUDGET).score < 0.1
    assert not judge(signs(**slow), BUDGET).hopeless
    assert judge(signs(**slow, reached=0), BUDGET).hopeless
    assert judge(signs(label_gradients=(1e4,) * 3, chain=False, sequential=False), BUDGET).hopeless


@pytest.mark.parametrize("rows", [20, 32])
def test_few_probe_rows_do_not_make_a_verdict_depend_on_its_company(rows):
    overrides = [f"probes.rows={rows}", "model.activation=sigmoid", "model.width=8"]
    jobs = [
        Job(compose([*overrides, f"weight_init.scale={s}"]), seed) for seed, s in enumerate((0.1, 1.0, 3.0, 9.0, 2.0))
    ]
    assert verdicts(jobs) == [verdicts([job])[0] for job in jobs]


def test_scores_are_pinned():
    """A change of a constant or of the budget shows here, and belongs in docs/verdict.md."""
    found = {
        "sgd": judged("weight_init.scale=0.05")[1].score,
        "without momentum": judged("weight_init.scale=0.05", "optimizer.momentum=0.0")[1].score,
        "adam": judged("weight_init.scale=0.05", "optimizer=adam", "optimizer.lr=0.0003")[1].score,
        "deep": judged("model.depth=10", "weight_init.scale=3.0")[1].score,
        "saturated": judged("weight_init.scale=20.0")[1].score,
        "theory": judged("model.depth=10", "weight_init.scale=0.5")[1].score,
    }
    assert found == pytest.approx(PINNED, abs=2e-3)


def test_the_model_of_the_plateau_is_for_layers_one_after_the_other():
    plateau = {"strengths": (5.0, 5.0, 5.0), "label_gradients": (1e-3,) * 3}
    assert escape_steps(signs(**plateau), 0.5) == 1
    assert escape_steps(signs(**plateau, chain=False), 0.5) == 1
    branched = signs(**plateau, chain=False, sequential=False)
    assert escape_steps(branched, 0.5) == pytest.approx(1 / (0.5 * 3e-6))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_scores_of_a_cnn_follow_what_becomes_of_it(activation):
    """From scales at which nothing moves to those that train; of these nothing is called hopeless."""
    scales = ("0.001", "0.3", "1.0")
    configs = [
        compose(["model=cnn", "model.width=8", f"model.activation={activation}", f"weight_init.scale={s}"])
        for s in scales
    ]
    jobs = [Job(config, 0) for config in configs]
    found = verdicts(jobs)
    reached = [record.final["test/accuracy"] for record in run_jobs(jobs)]
    assert reached[0] < 0.2 < 0.9 < reached[1]
    assert found[0].score < 0.5 < min(found[1].score, found[2].score)
    assert not any(verdict.hopeless for verdict in found[1:])
    assert found[0].sentence.startswith("too slow")
    assert found[2].sentence == "healthy"


def test_copies_in_a_cnn_are_seen():
    found, verdict = judged("model=cnn", "weight_init=tied", "model.activation=tanh")
    assert (found.chain, found.sequential) == (False, True)
    assert found.widths == (1, 1)
    assert found.seen_apart == (9, 4)  # a kernel; the positions of a map of 2 x 2 that is flattened
    assert verdict.sentence == "one unit a layer for ever"
    (record,) = run_jobs([Job(compose(["model=cnn", "weight_init=tied", "model.activation=tanh"]), 0)])
    assert record.final["redundancy/functional_width"] == pytest.approx(2 / 48)
    # Equal filters that are read apart are no copies for long.
    found, _ = judged("model=cnn", "weight_init=tied", "weight_init.layers.last=he_normal")
    assert found.widths == (1, 32)


def test_products_of_many_layers_neither_under_nor_overflow():
    depth = 1000
    sunk = signs(
        strengths=(8.0,) * (depth + 1), slopes=(0.05,) * depth, label_gradients=(0.0,) * (depth + 1), reached=1
    )
    assert escape_steps(sunk, 0.5) == NEVER
    assert escape_steps(replace(sunk, slopes=(0.2,) * depth), 0.5) == 1


def test_diagnose_says_why(capsys):
    assert main(["diagnose", "weight_init=zeros", "bias_init=normal", "bias_init.value=1.0", "model.depth=5"]) == 0
    text = capsys.readouterr().out
    assert "gradient reaches 1 of 6 layers (score 0.05, hopeless)" in text
    assert main(["diagnose", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sentence"] == "healthy"
    assert found["score"] > 0.8
    assert found["signs"]["widths"] == [64, 64]
