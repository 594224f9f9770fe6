"""Theory: what mean-field theory and variance maps predict, before anything is trained."""

from pipeline.theory.meanfield import DEPTH_SCALES, MeanField, critical_sigma_w2
from pipeline.theory.nonlinearities import NONLINEARITIES

__all__ = ["DEPTH_SCALES", "NONLINEARITIES", "MeanField", "critical_sigma_w2"]
