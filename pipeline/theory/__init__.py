"""Theory: what mean-field theory and variance maps predict, before anything is trained."""

from pipeline.theory.fields import Biases, critical_line, depth_lines
from pipeline.theory.meanfield import DEPTH_SCALES, MeanField, critical_sigma_w2
from pipeline.theory.nonlinearities import NONLINEARITIES
from pipeline.theory.schemes import SCHEME_VARIANCES, LayerVariance, scheme_sigma_w2, variance_profile

__all__ = [
    "DEPTH_SCALES",
    "NONLINEARITIES",
    "SCHEME_VARIANCES",
    "Biases",
    "LayerVariance",
    "MeanField",
    "critical_line",
    "critical_sigma_w2",
    "depth_lines",
    "scheme_sigma_w2",
    "variance_profile",
]
