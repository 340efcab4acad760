"""Applies a trained net to pictures: evaluation and prediction."""
