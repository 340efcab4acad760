"""The NumPy backend: lowers a graph to a plan, runs passes over the plan, and emits source text."""
