"""How long a net takes, next to others that compute the same."""

from netspec.tools.bench.compare import Comparison, compare
from netspec.tools.bench.workload import Case

__all__ = ["Case", "Comparison", "compare"]
