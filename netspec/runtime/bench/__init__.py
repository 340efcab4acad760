"""How long a net takes, next to others that compute the same."""

from netspec.runtime.bench.case import Case
from netspec.runtime.bench.compare import Comparison, compare

__all__ = ["Case", "Comparison", "compare"]
