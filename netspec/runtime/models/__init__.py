"""Compiled nets as objects: parameters, training steps, predictors."""
