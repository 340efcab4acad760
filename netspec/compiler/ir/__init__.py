"""The data that all stages share: ops, graphs, plans and expressions."""
