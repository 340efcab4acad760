"""Checks gradients against slopes measured by central differences."""

from netspec.tools.gradcheck.report import GradcheckReport
from netspec.tools.gradcheck.run import gradcheck

__all__ = ["GradcheckReport", "gradcheck"]
