"""Training as a whole: records, independence from company, ties, divergence."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import NETWORKS, build
from torch import nn

from pipeline.init import BIASES, WEIGHTS, InitSpec, initial_parameters
from pipeline.models import MLP
from pipeline.optim import OptimizerSpec
from pipeline.plan import Member, Plan
from pipeline.probes import PROBES
from pipeline.seeds import stream
from pipeline.train import train

SPECS = [InitSpec(w, 0.8, b, 0.2) for w, b in zip(sorted(WEIGHTS), sorted(BIASES) * 3, strict=False)]
MEMBERS = [Member(seed % 4, spec, lr=0.01 * (1 + seed % 3)) for seed, spec in enumerate(SPECS)]
PLAN = Plan(epochs=2, batch_size=16, optimizer=OptimizerSpec("adam"), probes=tuple(PROBES), keep_state=True)


def equal(a, b) -> bool:
    same_state = all(np.array_equal(a.state[k], b.state[k], equal_nan=True) for k in a.state)
    return same_state and repr((a.final, a.init, a.curves, a.layers)) == repr((b.final, b.init, b.curves, b.layers))


@pytest.mark.parametrize("batch_size", [16, 50, 64])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_float32_is_the_same_to_the_last_bit_in_any_company_and_slot(name, batch_size, wine64):
    data = wine64.to("cpu", torch.float32)
    plan = replace(PLAN, batch_size=batch_size)
    module = build(name, 13, 3)
    everyone = train(module, data, MEMBERS, plan)
    for order in ([4], [7, 4], [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [0, 1, 2], [5, 4, 5, 5]):
        records = train(module, data, [MEMBERS[i] for i in order], plan)
        for i, record in zip(order, records, strict=True):
            assert equal(record, everyone[i]), (order, i)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 33), (3, 10), (2, 64), (1, 100)])
@pytest.mark.parametrize("batch_size", [64, 33])
def test_the_same_for_odd_shapes_on_digits(shape, batch_size, digits):
    depth, width = shape
    plan = replace(PLAN, epochs=1, batch_size=batch_size)
    module = MLP((64,), 10, depth, width, "sigmoid")
    everyone = train(module, digits, MEMBERS, plan)
    for order in ([4], [10, 3, 2], list(range(7, 0, -1))):
        records = train(module, digits, [MEMBERS[i] for i in order], plan)
        assert all(equal(r, everyone[i]) for i, r in zip(order, records, strict=True)), order


def test_the_whole_loop_against_a_plain_one(digits):
    """Same data order, same start, torch.optim.SGD, one network, no functional torch."""
    data = digits.to("cpu", torch.float64)
    member = Member(3, InitSpec("he_normal", 1.0, "constant", 0.1), lr=0.05)
    plan = Plan(epochs=2, batch_size=64, optimizer=OptimizerSpec("sgd", 0.9), dtype="float64", keep_state=True)
    (record,) = train(MLP((64,), 10, 1, 16), data, [member], plan)

    network = MLP((64,), 10, 1, 16).double()
    with torch.no_grad():
        for name, p in network.named_parameters():
            if p.ndim == 2:
                p.copy_(
                    torch.randn(p.shape, dtype=torch.float64, generator=stream(3, name)) * math.sqrt(2 / p.shape[1])
                )
            else:
                p.fill_(0.1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    generator = stream(3, "data order")
    for _ in range(2):
        order = torch.randperm(len(data.x_train), generator=generator)
        for i in range(len(order) // 64):
            rows = order[i * 64 : (i + 1) * 64]
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(data.x_train[rows]), data.y_train[rows]).backward()
            optimizer.step()
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(record.state[name], value.numpy(), atol=1e-11)
    logits = network(data.x_test).detach()
    assert record.final["test/loss"] == pytest.approx(
        float(nn.functional.cross_entropy(logits, data.y_test)), abs=1e-10
    )
    assert record.final["test/accuracy"] == float((logits.argmax(1) == data.y_test).double().mean())


def test_zero_weights_and_biases_stay_one_neuron_a_layer(digits):
    (record,) = train(MLP((64,), 10), digits, [Member(0, InitSpec("zeros", bias="zeros"))], PLAN)
    assert record.final["redundancy/effective_width"] == 1 / 64
    assert record.final["symmetry/broken_step"] == -1
    assert record.final["test/accuracy"] < 0.15
    assert record.final["signal/gradient_ratio"] == 0


def test_random_weights_have_no_tie_and_constant_ones_keep_theirs(digits):
    members = [Member(0, InitSpec("glorot_normal")), Member(0, InitSpec("constant", 0.01))]
    random, constant = train(MLP((64,), 10, 1, 8), digits, members, replace(PLAN, epochs=1))
    assert random.init["symmetry/broken_step"] == random.final["symmetry/broken_step"] == 0
    assert constant.init["symmetry/broken_step"] == -1
    assert constant.init["redundancy/effective_width"] == 1 / 8
    assert random.final["symmetry/predicted_width"] == random.init["symmetry/predicted_width"] == 1
    assert constant.final["symmetry/predicted_width"] == 1 / 8
    assert random.final["symmetry/first_break"] == random.final["symmetry/lasting_break"] == -1


def test_tied_rows_break_at_the_first_step_where_columns_differ(digits):
    spec = InitSpec("glorot_normal", weight_layers={"first": ("row_tied", 1.0)})
    (record,) = train(MLP((64,), 10, 1, 8), digits, [Member(0, spec)], PLAN)
    assert record.init["symmetry/broken_step"] == -1
    assert record.final["symmetry/first_break"] == record.final["symmetry/broken_step"] == 1
    assert record.final["symmetry/lasting_break"] == -1
    assert record.final["symmetry/predicted_width"] == 1


def test_float32_ties_are_those_of_the_rounded_parameters(digits):
    """Rows that differ by 1e-12 are equal once rounded, so copies are predicted; in float64 they aren't."""
    start = initial_parameters(MLP((64,), 10, 1, 2), InitSpec("tied"), 0)
    start["layers.1.weight"][1] += 1e-12
    member = Member(0, InitSpec(), start=start)
    plan = replace(PLAN, epochs=1)
    (rounded,) = train(MLP((64,), 10, 1, 2), digits, [member], plan)
    (precise,) = train(MLP((64,), 10, 1, 2), digits.to("cpu", torch.float64), [member], replace(plan, dtype="float64"))
    assert rounded.init["symmetry/predicted_width"] == 0.5
    assert precise.init["symmetry/predicted_width"] == 1


def test_symmetry_is_predicted_for_chains_alone(digits):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 10))
    (record,) = train(module, digits, [Member(0, InitSpec("tied"))], replace(PLAN, epochs=1))
    assert "symmetry/broken_step" in record.final
    assert not {"symmetry/predicted_width", "symmetry/lasting_break"} & {*record.final, *record.init}


def test_ties_can_be_kept_by_decree(digits):
    """Gradients averaged over classes: what round-off does to a float32 training, it doesn't do to this one."""
    start = initial_parameters(MLP((64,), 10, 2, 12), InitSpec("tied"), 0)
    row = torch.linspace(0.1, 0.5, 12, dtype=torch.float64)
    start["layers.3.weight"] = torch.stack([row.roll(i) for i in range(12)])  # sums in another order for each
    member = Member(0, InitSpec(), lr=0.05, start=start)
    plan = replace(PLAN, optimizer=OptimizerSpec("sgd", 0.9))
    (free,) = train(MLP((64,), 10, 2, 12), digits, [member], plan)
    (kept,) = train(MLP((64,), 10, 2, 12), digits, [member], replace(plan, keep_ties=True))
    assert free.final["symmetry/lasting_break"] >= 1
    assert kept.final["symmetry/lasting_break"] == -1
    rows = kept.state["layers.1.weight"]
    assert (rows == rows[0]).all()
    assert not np.array_equal(rows, start["layers.1.weight"].float().numpy())
    with pytest.raises(ValueError, match="in MLPs only"):
        train(build("residual", 64, 10), digits, [replace(member, start=None)], replace(plan, keep_ties=True))


def test_too_large_weights_saturate(digits):
    (record,) = train(MLP((64,), 10), digits, [Member(0, InitSpec("glorot_normal", 30.0))], PLAN)
    assert record.init["saturation/flat_fraction"] > 0.5
    assert record.final["saturation/flat_fraction"] > 0.5


def test_divergence_is_a_value(digits):
    members = [Member(0, InitSpec("he_normal", 1e18)), Member(1, InitSpec("he_normal"))]
    plan = replace(PLAN, optimizer=OptimizerSpec("sgd", 0.9))
    wild, calm = train(MLP((64,), 10, 2, 16, "relu"), digits, [replace(members[0], lr=1e18), members[1]], plan)
    assert wild.diverged_step is not None
    assert 1 <= wild.diverged_step <= 5
    assert wild.final["val/accuracy"] == 0
    assert math.isnan(wild.final["redundancy/effective_width"])
    assert calm.diverged_step is None
    assert calm.final["val/accuracy"] > 0.5


def test_curves_cover_every_epoch_and_the_probe_schedule(digits):
    epochs = []
    (record,) = train(MLP((64,), 10), digits, [Member(0, InitSpec())], replace(PLAN, batch_size=64), epochs.append)
    steps = len(digits.x_train) // 64
    assert epochs == [1, 2]
    assert sorted(record.curves["val/accuracy"]) == [0, steps, 2 * steps]
    probed = sorted(record.curves["redundancy/effective_width"])
    assert probed[0] == 0
    assert probed[-1] == 2 * steps
    assert {row.step for row in record.layers} == set(probed)
    of_layers_alone = {"signal/activation_variance", "signal/gradient_variance", "signal/layer_update_ratio"}
    assert set(PROBES) - set(record.final) == of_layers_alone
    assert {row.metric for row in record.layers} >= of_layers_alone
    headline = {f"{part}/{m}" for part in ("train", "val", "test") for m in ("loss", "accuracy")}
    assert headline | {"symmetry/broken_step"} <= set(record.final)


def test_networks_without_activations_train_and_have_no_hidden_metrics(digits):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    (record,) = train(module, digits, [Member(0, InitSpec(), lr=0.01)], replace(PLAN, epochs=3))
    assert record.final["test/accuracy"] > 0.8
    assert "redundancy/effective_width" not in record.final


def test_frozen_parameters_stay_as_they_were_built(digits):
    module = MLP((64,), 10, 1, 8)
    module.layers[1].weight.requires_grad_(False)
    before = module.layers[1].weight.detach().numpy().copy()
    (record,) = train(module, digits, [Member(0, InitSpec("normal"))], PLAN)
    assert np.array_equal(record.state["layers.1.weight"], before)
    assert not np.array_equal(record.state["layers.3.weight"], module.layers[3].weight.detach().numpy())
