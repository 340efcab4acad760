"""The old import path of `netspec.kernels.course.naive`, kept for those who use it."""

from netspec.kernels.course.naive import *  # noqa: F403
