"""The old import path of `netspec.kernels.course.sandwich`, kept for those who use it."""

from netspec.kernels.course.sandwich import *  # noqa: F403
