"""One file that needs NumPy alone: a network's program, the kernels it calls, and a weights reader.

Nothing in it is written twice: what netspec runs itself (kernels, initial values, the loss, ...) is
taken from netspec's modules as source text, each definition with those that it needs.
"""

from netspec.export.assemble import standalone_source

__all__ = ["standalone_source"]
