"""Analyses of a checked graph: costs, differences between two nets, warnings."""
