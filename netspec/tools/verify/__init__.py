"""Compares the reference, the NumPy program and the generated PyTorch module."""

from netspec.tools.verify.report import VerifyReport
from netspec.tools.verify.run import verify

__all__ = ["VerifyReport", "verify"]
