"""Recordings: the NumPy calls of a step, made again without the kernels."""
