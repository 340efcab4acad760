"""From a graph to a NumPy program: lowering, passes over the plan, source text."""
