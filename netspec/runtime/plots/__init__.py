"""Curves and filters as pictures."""
