"""Data sets: where they come from and how they are read.

Knows nothing of a network but its input shape.
"""

from netspec.runtime.data.catalog import NAMES, load
from netspec.runtime.data.dataset import Dataset

__all__ = ["NAMES", "Dataset", "load"]
