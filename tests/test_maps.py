"""The phase diagram: cells, points, and the theory's lines."""

import numpy as np
import pandas as pd
import pytest
from made_up import Runs

from pipeline.config import compose, plain
from pipeline.report.figures import map_figure
from pipeline.report.maps import maps_of
from pipeline.report.scales import axis_scale
from pipeline.report.summary import DOTS, some_trials
from pipeline.theory import MeanField, critical_sigma_w2

AXES = ["bias_init.value", "weight_init.scale"]


def config_of(*overrides):
    return plain(compose(list(overrides)))


def test_cells_are_means_of_all_trials_and_points_are_some():
    trials = Runs(3700).trials
    found, _ = maps_of(trials, some_trials(trials, "val/accuracy"), AXES, config_of())
    drawn = found["val/accuracy"]
    assert len(drawn.dots) == DOTS
    bias = trials["params.bias_init.value"].astype(float)
    scale = np.log10(trials["params.weight_init.scale"].astype(float))
    accuracy = trials["metrics.val/accuracy"]
    for row, column in ((0, 0), (7, 11), (23, 23)):
        x, y = drawn.across.cells[column : column + 2], drawn.up.cells[row : row + 2]
        inside = (bias >= x[0]) & (bias <= x[1]) & (scale >= y[0]) & (scale <= y[1])
        assert inside.sum() > 0
        assert drawn.cells[row][column] == pytest.approx(accuracy[inside].mean(), abs=1e-12)


def test_a_point_knows_its_run():
    trials = Runs(30).trials
    found, _ = maps_of(trials, trials, AXES, config_of())
    points = next(
        trace for trace in map_figure(found["val/accuracy"]).data if trace.type == "scatter" and trace.mode == "markers"
    )
    assert [own[0] for own in points.customdata] == trials["run_id"].tolist()
    assert [own[2] for own in points.customdata] == trials["metrics.val/accuracy"].tolist()


def test_a_text_axis_has_labels():
    trials = Runs(30).trials
    found, reason = maps_of(trials, trials, ["arm"], config_of())
    drawn = found["val/accuracy"]
    assert drawn.up is None
    assert drawn.cells is None
    assert set(drawn.across.labels) == {"a", "b"}
    assert [drawn.across.labels[round(x)] for x in drawn.dots["x"]] == trials["params.arm"].tolist()
    assert "need the axes" in reason


def test_zero_has_a_column_of_its_own_on_an_axis_of_logarithms():
    scale = axis_scale("weight_init.scale", pd.Series(["0.0", "0.001", "10"]))
    zero, low, high = scale.place(["0.0", "0.001", "10"])
    assert scale.cells[0] < zero < scale.cells[1] < low < high == scale.cells[-1]
    assert scale.ticks()[1][0] == "0"


def lines_of(*overrides):
    trials = Runs(200).trials
    found, reason = maps_of(trials, trials, AXES, config_of(*overrides))
    return {line.name: line for line in found["val/accuracy"].lines}, reason


def test_the_critical_line_is_where_the_theory_has_it():
    """Under Glorot square layers have sigma_w^2 = scale^2, and normal biases sigma_b = value."""
    lines, _ = lines_of("bias_init=normal", "model.depth=8")
    line = lines["critical line"]
    inside = np.isfinite(line.y) & (np.abs(line.x) < 1.5)
    assert inside.sum() > 20
    for bias, scale in list(zip(line.x[inside], line.y[inside], strict=True))[::5]:
        assert 10 ** (2 * scale) == pytest.approx(critical_sigma_w2("tanh", bias**2), rel=0.01)


@pytest.mark.parametrize("side", ["ordered", "chaotic"])
def test_on_the_depth_contours_six_correlation_lengths_are_the_depth(side):
    lines, _ = lines_of("bias_init=normal", "model.depth=20")
    line = lines[f"6 xi_c = depth 20, {side} side"]
    at = np.flatnonzero(np.isfinite(line.y))[::5]
    assert at.size > 3
    for i in at:
        exact = MeanField("tanh", 10 ** (2 * line.y[i]), line.x[i] ** 2)
        assert exact.depth_limit == pytest.approx(20, rel=0.03)
        assert (exact.chi_1 > 1) == (side == "chaotic")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.depth=1"], "two or more hidden layers"),
        (["model=cnn", "dataset=digits"], "those of an MLP"),
        (["weight_init=sparse"], "no mean-field theory of sparse"),
        (["bias_init=uniform"], "no mean-field theory of bias_init=uniform"),
    ],
)
def test_without_a_theory_the_reason_is_told(overrides, says):
    lines, reason = lines_of(*overrides)
    assert not lines
    assert says in reason
