"""`netspec.from_torch`: a PyTorch module as a checked net."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from netspec.net import Net

if TYPE_CHECKING:
    import torch
    from torch import nn


def from_torch(
    module: nn.Module,
    example: torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor],
    *,
    name: str = "",
    prove: Literal["outputs", "full"] = "outputs",
) -> Net:
    """Import a PyTorch module: its layers, blocks and names, proved to compute the same.

    The text of the file is `net.written.module.source.text`. A model that is compiled from the net
    loads the module's state dict.

    Args:
        module: the module, which is not changed.
        example: an input (N, ...) with any batch of at least 2, several in order, or by the names
            that the net's inputs get; by default those of `forward`'s parameters.
        name: the net's name; by default that of the module's class.
        prove: what is compared first: the outputs, in evaluation and in training, or `full`, the
            gradients in training too. In training parameters are random and nothing is dropped.

    Raises:
        NetspecError: `import/inexpressible`, one for each operator that no layer stands for;
            `import/module` if PyTorch cannot trace the module; `import/differs`.
    """
    from netspec.imports.torch_import import import_torch

    found = import_torch(module, _by_name(module, example), name=name, prove=prove)
    return Net(found.net.graph, found.net.written, found.net.warnings)


def _by_name(
    module: nn.Module, example: torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    if isinstance(example, Mapping):
        return dict(example)
    given = list(example) if isinstance(example, (tuple, list)) else [example]
    names = list(inspect.signature(module.forward).parameters)
    return {
        names[i] if i < len(names) and names[i].isidentifier() else f"input{i + 1}": tensor
        for i, tensor in enumerate(given)
    }
