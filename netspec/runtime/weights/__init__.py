"""Weights files: reading, writing, names of other versions."""
