"""From graph to graph: pure functions that both backends use."""
