"""Checks that a course makes before training: loss, gradients, dead units, a small batch learnt."""

from netspec.tools.doctor.examine import examine
from netspec.tools.doctor.report import DoctorReport, Symptom

__all__ = ["DoctorReport", "Symptom", "examine"]
