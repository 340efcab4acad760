"""The old import path of `netspec.kernels.course.stages`, kept for those who use it."""

from netspec.kernels.course.stages import *  # noqa: F403
