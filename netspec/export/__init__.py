"""Standalone files that need only NumPy: a network's program, its kernels, and a reader of weights.

No code is written twice: what netspec itself runs (kernels, initial values, the loss, ...) is
copied from netspec's modules as source text, each definition together with those that it needs.
"""

from netspec.export.assemble import standalone_source

__all__ = ["standalone_source"]
