"""``initlab theory``: what mean-field theory says of a point of the phase diagram."""

import json
import math
from collections.abc import Sequence

from pipeline.config import TheoryConfig
from pipeline.console import say, table
from pipeline.theory import DEPTH_SCALES, MeanField, critical_sigma_w2, scheme_sigma_w2, variance_profile

__all__ = ["theory"]

# Correlation lengths beyond this are infinite to the precision of the quadrature.
ENDLESS = 1e9


def theory(config: TheoryConfig, flags: Sequence[str] = ()) -> int:
    """Prints the critical sigma_w^2, and the figures there or at ``sigma_w2``."""
    critical = critical_sigma_w2(config.activation, config.sigma_b2)
    at = _sigma_w2(config, critical)
    point = MeanField(config.activation, at, config.sigma_b2) if at is not None else None
    figures = {
        "sigma_w2_critical": critical,
        "q_star": point.q_star if point else None,
        "chi_1": point.chi_1 if point else None,
        "xi_q": point.xi_q if point else None,
        "xi_c": point.xi_c if point else None,
    }
    if "--json" in flags:
        # JSON has no infinity: what is infinite or isn't there is null.
        say(json.dumps({k: v if v is not None and math.isfinite(v) else None for k, v in figures.items()}))
        return 0
    where = f"{config.scheme} x{config.scale:g}, " if config.scheme else ""
    where += f"sigma_w2={at:.6g}" if at is not None else "no critical sigma_w2"
    say(f"{config.activation} at sigma_b2={config.sigma_b2:g}, {where}", "")
    rows = [
        ["critical sigma_w^2", _number(critical)],
        ["q*", _number(figures["q_star"])],
        ["chi_1", _number(figures["chi_1"])],
        ["xi_q", _number(figures["xi_q"])],
        ["xi_c", _number(figures["xi_c"])],
        ["6 xi_c", _number(DEPTH_SCALES * point.xi_c if point else None)],
    ]
    say(*table(["figure", "value"], rows))
    if config.depth and at is not None:
        say("", *_profile(config, at))
    return 0


def _sigma_w2(config: TheoryConfig, critical: float | None) -> float | None:
    if config.scheme is not None:
        return scheme_sigma_w2(config.scheme, 1, 1, config.scale)
    return config.sigma_w2 if config.sigma_w2 is not None else critical


def _profile(config: TheoryConfig, sigma_w2: float) -> list[str]:
    """The variance map of ``depth`` layers on inputs of unit mean square."""
    layers = variance_profile(config.activation, sigma_w2, config.sigma_b2, config.depth)
    rows = [[str(layer.layer), f"{layer.q:.6g}", f"{layer.backward:.6g}"] for layer in layers]
    return table(["layer", "pre-activation variance", "backward factor"], rows)


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return "inf" if value > ENDLESS else f"{value:.6g}"
