"""What the tensors of a trace hold, what its operators compute, and which make tensors of one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from netspec.compiler.syntax.tree import NumberType
from netspec.runtime.models.torch_build import require_torch

if TYPE_CHECKING:
    import torch
    from torch import fx

_ZEROS = frozenset("zeros zeros_like new_zeros".split())
_ONES = frozenset("ones ones_like new_ones".split())
_FULL = frozenset("full full_like new_full".split())
# Operators of whole numbers: what goes into them is no quantity.
_OF_PLACES = frozenset("embedding one_hot index index_select gather".split())
# Operators that only move numbers, or give them another kind.
_MOVES = frozenset(
    "contiguous clone detach alias lift_fresh_copy view reshape unsqueeze squeeze slice select"
    " expand permute transpose flatten unbind split chunk cat stack narrow".split()
)


def kind_of(dtype: torch.dtype) -> NumberType:
    """Return what numbers of a type of PyTorch's are in a file."""
    if dtype.is_floating_point:
        return "real"
    return "bool" if str(dtype) == "torch.bool" else "int"


def operator_name(node: fx.Node) -> str:
    """Return the name of the operator that a node calls, without its overload; empty for none."""
    schema = getattr(node.target, "_schema", None)
    return schema.name.partition("::")[2] if schema is not None else ""


def computed(node: fx.Node, tensor_of: Callable[[fx.Node], torch.Tensor | None]) -> Any:
    """Return what the operator of a node gives for tensors in the place of the nodes that it reads,
    on the processor.
    """
    torch = require_torch()
    kept = {name: value for name, value in node.kwargs.items() if name != "device"}
    given, options = torch.fx.node.map_arg((node.args, kept), tensor_of)
    with torch.no_grad():
        return node.target(*given, **options)


def filling_number(name: str, arguments: Mapping[str, object]) -> float | None:
    """Return the number that a call puts at all places of a new tensor; None for other calls.

    Args:
        name: of the operator.
        arguments: of the call, by the schema's names.
    """
    if name in _ZEROS:
        return 0
    if name in _ONES:
        return 1
    number = arguments.get("fill_value") if name in _FULL else None
    return number if isinstance(number, (int, float)) else None


def are_quantities(node: fx.Node) -> bool:
    """Whether whole numbers are computed with, as those of a mask or of a picture's bytes are, and
    do not only choose rows of tables.
    """
    users = list(node.users)
    while users:
        user = users.pop()
        name = operator_name(user)
        if name in _MOVES or not name:
            users += user.users
        elif name not in _OF_PLACES and not name.startswith("sym_"):
            return name != "to" or _measures(user)
    return False


def _measures(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return hasattr(value, "dtype") and kind_of(value.dtype) != "int"
