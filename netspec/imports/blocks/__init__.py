"""Blocks that all calls of a class share: items are lined up, constants become arguments, written out."""
