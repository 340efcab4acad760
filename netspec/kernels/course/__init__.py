"""A course's layers, to be read and to be held against: no compiled program calls them."""
