"""The ops' own tables of PyTorch operators and classes of modules, gathered."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from netspec.compiler.ir.aten_form import AtenForm, ModuleForm
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry

# How similar names are, from 0 to 1, of which one may stand for the other.
_NEAR = 0.75


@dataclass(frozen=True, slots=True)
class AtenTable:
    """What operators and modules are in netspec.

    Attributes:
        operators: the ops and forms for an operator, by its name without or with its overload.
        modules: the op and form for a class of modules.
    """

    operators: Mapping[str, list[tuple[type[Op], AtenForm]]] = field(default_factory=dict)
    modules: Mapping[str, tuple[type[Op], ModuleForm]] = field(default_factory=dict)

    def forms(self, operator: str) -> list[tuple[type[Op], AtenForm]]:
        """Return the forms for `relu_` or `add.Tensor`, the more special ones first."""
        name, _, overload = operator.partition(".")
        plain = name if name.startswith("__") else name.rstrip("_")
        return [
            *self.operators.get(f"{plain}.{overload}", ()),
            *self.operators.get(plain, ()),
        ]

    def module(self, path: str) -> tuple[type[Op], ModuleForm] | None:
        """Return the form for a class, by its name with its module."""
        return self.modules.get(path) or self.modules.get(path.rpartition(".")[2])

    def has_others(self, operator: str) -> bool:
        """Whether an operator has forms for other overloads than the given one."""
        name = operator.partition(".")[0]
        return any(known.partition(".")[0] == name for known in self.operators)

    def nearest(self, operator: str) -> str:
        """Return the name of the op with the most similar name, or an empty string."""
        name = operator.partition(".")[0].strip("_")
        known = {
            known.partition(".")[0]: forms[0][0].name for known, forms in self.operators.items()
        }
        near = difflib.get_close_matches(name, known, 1, _NEAR)
        return known[near[0]] if near else ""


@functools.cache
def aten_table() -> AtenTable:
    """Return the table of netspec's own ops."""
    operators: dict[str, list[tuple[type[Op], AtenForm]]] = {}
    modules: dict[str, tuple[type[Op], ModuleForm]] = {}
    for op in registry().values():
        for form in op.aten:
            for name in form.operators:
                operators.setdefault(name, []).append((op, form))
        for module_form in op.torch_modules:
            for name in module_form.classes:
                modules[name] = (op, module_form)
    return AtenTable(operators, modules)
