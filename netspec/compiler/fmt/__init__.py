"""Formats a syntax tree as canonical text."""
