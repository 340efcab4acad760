"""A course's layers, for reading and for comparison: no compiled program calls them."""
