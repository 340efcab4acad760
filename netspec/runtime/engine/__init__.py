"""Runs a NumPy program: steps, threads, recordings; and the reference it is held against."""
