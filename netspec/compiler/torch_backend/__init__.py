"""The PyTorch backend: writes the source of a module that reads as if a careful person had written
it.

A net is built once with its arguments (`built_net`): which blocks it calls, with what, and what of that
an output depends on. Nets and blocks keep their statements, loops and conditions among them:
`structured` records the structure, proves it with other arguments and writes it; what a function would
write again and again becomes a variable (`structured/repeated`). What the statements of the file cannot
say for all calls, such as a block that calls itself, is recorded by the same means with a statement for
each layer. `classes` decides which calls of a block share a class, and `emit` how
the net is written.
"""

from netspec.compiler.torch_backend.emit import torch_source

__all__ = ["torch_source"]
