"""How long a net takes, compared with other libraries that compute the same."""

from netspec.tools.bench.compare import BenchResult, compare
from netspec.tools.bench.workload import Workload

__all__ = ["BenchResult", "Workload", "compare"]
