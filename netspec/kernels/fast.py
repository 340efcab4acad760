"""The old import path of `netspec.kernels.course.fast`, kept for those who use it."""

from netspec.kernels.course.fast import *  # noqa: F403
