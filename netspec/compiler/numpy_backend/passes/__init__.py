"""Passes: pure functions from graph to graph, and from plan to plan."""
