"""Weights that a model of PyTorch gets before it is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netspec.runtime.models.torch_build import require_torch
from netspec.runtime.weights.safetensors_file import check_tensors
from netspec.runtime.weights.tensor_names import match_names, may_be_missing
from netspec.runtime.weights.weights_file import load_weights

if TYPE_CHECKING:
    from torch import nn


def load_into(module: nn.Module, path: Path) -> tuple[str, ...]:
    """Load weights into a model; return notes on how names were matched.

    The file is read as data, and no code in it runs. Prefixes of wrappers are taken off.

    Args:
        module: the model, which is changed.
        path: a state dict, a checkpoint with one in it, or safetensors.

    Raises:
        NetspecError: `weights/bad-file`; `weights/mismatch`, naming all that the model lacks or has
            in another shape.
    """
    torch = require_torch()
    weights = load_weights(path)
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    matched = match_names(weights.tensors, expected)
    tensors = {matched.names.get(name, name): array for name, array in weights.tensors.items()}
    needed = {n: shape for n, shape in expected.items() if n in tensors or not may_be_missing(n)}
    check_tensors(tensors, needed)
    state = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    module.load_state_dict(state, strict=False)  # what is missing was looked at
    return (*weights.notes, *matched.notes)
