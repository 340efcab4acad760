"""Gradients held against slopes measured by central differences."""

from netspec.runtime.gradcheck.report import Report
from netspec.runtime.gradcheck.run import gradcheck

__all__ = ["Report", "gradcheck"]
