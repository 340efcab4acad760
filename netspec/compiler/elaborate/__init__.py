"""Elaboration: from a syntax tree to a graph.

It resolves names, blocks, loops and arguments, and infers every shape.
"""
