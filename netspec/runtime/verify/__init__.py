"""The reference, the NumPy program and the generated PyTorch module, held against each other."""

from netspec.runtime.verify.report import Report
from netspec.runtime.verify.run import verify

__all__ = ["Report", "verify"]
