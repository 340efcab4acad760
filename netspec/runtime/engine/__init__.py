"""Runs NumPy programs: steps, threads, recordings; and the reference they are compared with."""
