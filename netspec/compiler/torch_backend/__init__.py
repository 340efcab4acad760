"""The PyTorch backend: writes the source of a module that reads as if a careful person had written
it.

A net whose body has loops or conditions keeps them: its structure is recorded (`structure`,
`structure_tracer`), proved with other arguments (`structured_net`) and written (`net_class`), a
chain of layers as a `nn.Sequential` and any other as a module with a `forward`. So are blocks
(`structured_block`). Other nets are traced (`class_arguments`, `trace`) and written layer by
layer. For both, the calls of each block are merged into one class (`classes`), and labels with
dots become containers (`containers`, `structured_layout`). `emit` decides between them, in one
place.
"""

from netspec.compiler.torch_backend.emit import torch_source

__all__ = ["torch_source"]
