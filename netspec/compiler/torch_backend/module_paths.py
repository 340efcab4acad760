"""The attributes in which a class holds its modules: `self.conv1`, `self.features[0]`,
`self.blocks["stem"]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.compiler.torch_backend.class_ir import Choice, Layer
from netspec.compiler.torch_backend.containers import Chain, Unit
from netspec.compiler.torch_backend.naming import is_attribute, quote
from netspec.compiler.torch_backend.python_layout import Doc, Group, prefixed

# Attributes of `nn.ModuleDict`, which cannot be keys.
DICT_ATTRIBUTES = frozenset("clear items keys pop update values".split())


class Places:
    """How each module of a class is assigned and referred to.

    Modules whose labels have dots, but that are not in a `nn.Sequential`, are in a `nn.ModuleDict`.
    If a name would hide an attribute of the dict, they are in a plain `nn.Module`.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self.holders: dict[str, str] = {}  # the class of the container at each path
        children: dict[str, list[str]] = {}
        for path in _paths(units):
            parts = path.split(".")
            for depth in range(1, len(parts)):
                names = children.setdefault(".".join(parts[:depth]), [])
                if parts[depth] not in names:
                    names.append(parts[depth])
        for path, names in children.items():
            hides = not DICT_ATTRIBUTES.isdisjoint(names)
            self.holders[path] = "nn.Module" if hides else "nn.ModuleDict"

    def reach(self, path: str) -> str:
        """Return the expression for a module."""
        holder, _, name = path.rpartition(".")
        if holder and self.holders[holder] == "nn.ModuleDict":
            return f"{self.reach(holder)}[{quote(name)}]"
        home = self.reach(holder) if holder else "self"
        return f"{home}.{name}" if is_attribute(name) else f"getattr({home}, {quote(name)})"

    def put(self, path: str, doc: Doc) -> Doc:
        """Return the statement that assigns a module to its place."""
        holder, _, name = path.rpartition(".")
        in_dict = bool(holder) and self.holders[holder] == "nn.ModuleDict"
        if in_dict or is_attribute(name):
            return prefixed(f"{self.reach(path)} = ", doc)
        home = self.reach(holder) if holder else "self"
        return Group(f"{home}.add_module(", (quote(name), doc))

    def put_buffer(self, path: str, doc: Doc, *, saved: bool) -> Doc:
        """Return the statement that makes a tensor the buffer at a path."""
        holder, _, name = path.rpartition(".")
        home = self.reach(holder) if holder else "self"
        more = () if saved else ("persistent=False",)
        return Group(f"{home}.register_buffer(", (quote(name), doc, *more))


def _paths(units: Sequence[Unit]) -> Iterator[str]:
    """Yield the paths of all modules."""
    for unit in units:
        if isinstance(unit, Choice):
            for _, inner in unit.cases:
                yield from _paths(inner)
        elif isinstance(unit, Chain) or (not unit.reused and has_module(unit)):
            yield unit.path


def has_module(unit: Unit) -> bool:
    """Whether a class holds a module, or a parameter, for a unit."""
    return not isinstance(unit, Layer) or unit.torch.module is not None or bool(unit.parameters)
