"""Graph-to-graph passes that both backends use. They are pure functions."""
