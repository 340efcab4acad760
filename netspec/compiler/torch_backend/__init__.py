"""The PyTorch backend: writes the source of a module that reads as if a careful person had written
it.

A net whose body has loops or conditions keeps them, and so do blocks: `structured` records its
structure, proves it with other arguments and writes it. Other nets are traced (`class_arguments`,
`trace`) and written layer by layer. For both, the calls of each block are merged into one class
(`classes`), and labels with dots become containers (`containers`). `emit` decides between them, in
one place.
"""

from netspec.compiler.torch_backend.emit import torch_source

__all__ = ["torch_source"]
