"""Base classes and functions that several ops share.

An op imports them from here, never from another op.
"""
