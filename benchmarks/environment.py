"""The environment of the command, for all processes that are measured."""

import os

__all__ = ["ENVIRONMENT"]

ENVIRONMENT = dict(os.environ)
"""As it was before the lab was imported, which sets variables of its own (``MKL_CBWR``): no peer is to have them."""
