"""initlab: a laboratory for weight and bias initialisation of neural networks."""

import os

__version__ = "0.1.0"

# MKL's matrix products depend, in the last bit, on where a matrix happens to lie in
# memory, so a network's numbers would depend on its slot in a stack. Strict
# conditional numerical reproducibility removes that at no measurable cost. MKL reads
# the variable at its first product, so it is set before anything else is imported.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
