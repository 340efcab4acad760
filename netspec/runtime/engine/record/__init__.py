"""Recordings: the NumPy calls of a step, repeated without running the kernels' Python code."""
