"""The class of a net's outputs, where there are several: a tuple whose items have their names."""

from __future__ import annotations

from collections.abc import Sequence, Set

from netspec.compiler.torch_backend.docstrings import docstring
from netspec.compiler.torch_backend.naming import safe_name

# What tuples have themselves.
_METHODS = frozenset({"count", "index"})


def output_class(net: str, outputs: Sequence[str], taken: Set[str]) -> str:
    """Return the name of the class; "" for one output, and for names that no field can have.

    Args:
        net: the name of the net.
        outputs: the names of its outputs.
        taken: the names of the other classes.
    """
    if len(outputs) < 2 or "NamedTuple" in taken or not all(map(_is_field, outputs)):
        return ""
    name = f"{net}Outputs"
    while name in taken:
        name += "_"
    return name


def _is_field(name: str) -> bool:
    return safe_name(name) == name and not name.startswith("_") and name not in _METHODS


def output_lines(name: str, net: str, outputs: Sequence[str]) -> list[str]:
    """The class, two empty lines in front."""
    fields = [f"    {output}: torch.Tensor" for output in outputs]
    doc = docstring("", f"What {net} returns", [])
    return ["", f"class {name}(NamedTuple):", *doc, "", *fields, ""]
