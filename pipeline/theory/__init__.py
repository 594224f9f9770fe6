"""Theory: what mean-field theory and variance maps predict, before anything is trained."""

from pipeline.theory.meanfield import DEPTH_SCALES, MeanField, critical_sigma_w2
from pipeline.theory.nonlinearities import NONLINEARITIES
from pipeline.theory.schemes import SCHEME_VARIANCES, LayerVariance, scheme_sigma_w2, variance_profile

__all__ = [
    "DEPTH_SCALES",
    "NONLINEARITIES",
    "SCHEME_VARIANCES",
    "LayerVariance",
    "MeanField",
    "critical_sigma_w2",
    "scheme_sigma_w2",
    "variance_profile",
]
