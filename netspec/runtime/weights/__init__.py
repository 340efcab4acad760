"""Weights files: reading, writing, and names from other versions."""
