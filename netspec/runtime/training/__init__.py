"""The training loop, which is the same for every backend."""
