"""The PyTorch backend: writes the source of a module that reads as if a careful person had written
it.

Nets and blocks keep their statements, loops and conditions among them: `structured` records the
structure, proves it with other arguments and writes it. Where that cannot be, for one with lists
that hold values, a net is traced (`class_arguments`, `trace`) and written layer by layer. For both,
the calls of each block are merged into one class (`classes`), and labels with dots become containers
(`containers`). `emit` decides between them, in one place.
"""

from netspec.compiler.torch_backend.emit import torch_source

__all__ = ["torch_source"]
