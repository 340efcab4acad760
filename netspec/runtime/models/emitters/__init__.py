"""Which code computes each elementwise step of a model: NumPy, or numexpr."""
