"""Losses, optimizers and learning rates."""
