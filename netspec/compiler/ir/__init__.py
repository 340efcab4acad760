"""What all stages talk about: ops, graphs, plans, expressions as data."""
