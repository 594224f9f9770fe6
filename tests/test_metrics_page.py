"""Presets, names and the page that documents them."""

import re

import pytest
from conftest import ROOT

from pipeline.config import choices, compose
from pipeline.errors import UsageError
from pipeline.probes import PRESETS, PROBES, LayerProbe, Pool, preset
from pipeline.probes.docs import metrics_page

HEADLINE = {
    "redundancy/effective_width",
    "redundancy/functional_width",
    "redundancy/effective_rank",
    "redundancy/row_cosine",
    "saturation/flat_fraction",
    "saturation/dead_fraction",
    "saturation/linear_fraction",
    "signal/gradient_ratio",
    "signal/update_ratio",
}
PAGE = (ROOT / "docs" / "metrics.md").read_text()


def test_the_page_is_what_the_registry_makes():
    assert metrics_page() == PAGE, "make it again: python -m pipeline.probes.docs > docs/metrics.md"


@pytest.mark.parametrize("name", sorted(PROBES))
def test_every_probe_says_formula_source_cost_and_check(name):
    section = PAGE.split(f"### {name}\n")[1].split("###")[0]
    for part in ("Formula", "Source", "Cost", "Check"):
        assert re.search(rf"^- {part}: .{{10,}}\.$", section, re.MULTILINE), part
    assert f"[`{name}`](#{name.replace('/', '')})" in PAGE


def test_headline_metrics_are_those_of_the_design():
    assert {name for name, probe in PROBES.items() if probe.headline} == HEADLINE


def test_presets_grow_and_hold_what_they_must():
    light, standard, full = (set(preset(name)) for name in PRESETS)
    assert light < standard < full == set(PROBES)
    assert standard >= HEADLINE
    assert choices("probes") == sorted(PRESETS)


def test_few_values_of_the_whole_network():
    """A chart each in MLflow's UI, were they all metrics."""
    pooled = {n for n, p in PROBES.items() if not (isinstance(p, LayerProbe) and p.pool is Pool.NONE)}
    assert len(pooled & set(preset("standard"))) <= 25
    assert len(pooled) <= 40


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_chosen_by_its_name(name):
    config = compose([f"probes={name}"])
    assert config.probes.chosen == preset(name)
    assert (config.probes.points, config.probes.rows) == (6, 256)


def test_probes_are_chosen_one_by_one():
    names = ["signal/cka_to_start", "redundancy/srank"]
    assert compose([f"probes.only=[{','.join(names)}]"]).probes.chosen == tuple(names)
    assert compose(["probes=full", "probes.only=[]"]).probes.chosen == ()


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("probes=huge", ["probes=huge", "full, light, standard"]),
        ("probes.preset=huge", ["probes.preset=huge", "'light', 'standard' or 'full'"]),
        ("probes.only=[redundancy/foo]", ["probes.only=", "redundancy/foo", "redundancy/srank"]),
        ("probes.only=redundancy/srank", ["probes.only=redundancy/srank", "list"]),
    ],
)
def test_unknown_names_end_in_one_line(override, parts):
    with pytest.raises(UsageError) as caught:
        compose([override])
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in parts), caught.value
