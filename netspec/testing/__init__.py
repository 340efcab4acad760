"""Compares layers written by hand with netspec's.

`check_layer` compares a course's forward and backward functions with the compiled op, argument by
argument, and reports where they differ and, if it can tell, why.
"""

from __future__ import annotations

from netspec.testing.check import check_layer
from netspec.testing.report import LayerMismatchError, LayerReport

__all__ = ["LayerMismatchError", "LayerReport", "check_layer"]
