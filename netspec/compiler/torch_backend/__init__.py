"""The PyTorch backend: writes the source of a module that reads as if a careful person had written
it.

The net is traced (`class_arguments`, `trace`), the calls of each block are merged into one class
(`classes`), labels with dots become containers (`containers`), and the classes are written
(`emit`).
"""

from netspec.compiler.torch_backend.emit import torch_source

__all__ = ["torch_source"]
