"""Data: from a name or a file to standardised tensors."""

from pipeline.data.npz import read_npz
from pipeline.data.prepare import prepare
from pipeline.data.raw import Raw
from pipeline.data.sources import SOURCES
from pipeline.dataset import Dataset

__all__ = ["SOURCES", "Dataset", "Raw", "prepare", "read_npz"]
