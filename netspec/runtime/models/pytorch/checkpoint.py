"""PyTorch's own checkpoint files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.models.torch_build import require_torch

_NESTED = ("state_dict", "model")
_PREFIX = "module."


def load_checkpoint(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a state dict saved with `torch.save`, by name; bfloat16 becomes float32.

    Nothing in the file is run: `weights_only=True` admits tensors and plain containers.

    Raises:
        NetspecError: `weights/bad-file`, `torch/missing`.
    """
    torch = require_torch()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise anything: KeyError, EOFError, ...
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise _bad(path, f"PyTorch cannot read it: {reason[0][:200]}") from None
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise _bad(path, f"it holds a {type(content).__name__}, not a state dict")
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and torch.is_tensor(v)}
    if not tensors:
        raise _bad(path, "it holds no tensors by name")
    if all(name.startswith(_PREFIX) for name in tensors):
        tensors = {name[len(_PREFIX) :]: tensor for name, tensor in tensors.items()}
    return {name: _array(path, name, tensor) for name, tensor in tensors.items()}


def _array(path: Path, name: str, tensor: Any) -> NDArray[Any]:
    torch = require_torch()
    plain = tensor.detach()
    if plain.layout != torch.strided or plain.is_quantized or plain.is_complex():
        raise _bad(path, f"`{name[:80]}` is no ordinary tensor of numbers")
    if plain.is_floating_point() and plain.dtype not in (torch.float64, torch.float16):
        plain = plain.float()
    array: NDArray[Any] = plain.numpy()
    return array


def _bad(path: Path, reason: str) -> NetspecError:
    return NetspecError.simple(codes.WEIGHTS_BAD_FILE, f"{path}: {reason}")
