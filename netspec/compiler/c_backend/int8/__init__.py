"""A net in whole numbers of 8 bits: scales, integer steps, a reference in NumPy, and the C file."""
