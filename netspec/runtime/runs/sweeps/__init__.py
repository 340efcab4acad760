"""Sweeps: recipes with lists of values, whose combinations are runs of one folder."""
