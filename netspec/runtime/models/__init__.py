"""Compiled nets as objects: parameters, steps, predictors."""
