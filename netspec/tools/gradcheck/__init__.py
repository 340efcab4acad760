"""Gradients held against slopes measured by central differences."""

from netspec.tools.gradcheck.report import Report
from netspec.tools.gradcheck.run import gradcheck

__all__ = ["Report", "gradcheck"]
