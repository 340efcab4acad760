"""What a course checks before it trains: losses, gradients, dead units, a small batch learnt."""

from netspec.runtime.doctor.examine import examine
from netspec.runtime.doctor.report import Finding, Report

__all__ = ["Finding", "Report", "examine"]
