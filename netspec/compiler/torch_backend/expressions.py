"""Writes PyTorch expressions, which ops give as data, as Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, cast

from netspec.compiler.ir.op import ITEM, TRAINING, P, Torch, Training, X
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.torch_backend.local_sizes import Symbol, is_extent
from netspec.compiler.torch_backend.naming import number, quote
from netspec.compiler.torch_backend.python_layout import Doc, Group, flat, unbracketed
from netspec.records import record

# Functions that are written as Python operators.
OPERATORS = {
    "torch.add": "+", "torch.sub": "-", "torch.mul": "*", "torch.div": "/", "torch.matmul": "@",
    "torch.pow": "**", "torch.gt": ">",
}  # fmt: skip

NEGATIVE = "torch.neg"
METHOD = "torch.Tensor."


def module_doc(torch: Torch) -> Doc:
    """Return the construction of a module."""
    return Group(f"{torch.target}(", tuple(_arguments(torch, torch.arguments)))


@record
class Reached:
    """How an expression in `forward` refers to its parts.

    Attributes:
        inputs: the Python names of its inputs.
        module: the expression for the module in it.
        parameters: the expressions for parameters that no module holds.
        functional: the name of `torch.nn.functional`.
        write: gives an expression as it is written.
        lists: the places of those inputs that are lists of values.
        ranks: how many axes the inputs have with that of the batch, where that is known.
    """

    inputs: Sequence[str]
    module: str
    parameters: Mapping[str, str]
    functional: str
    write: Callable[[str], str]
    lists: Sequence[int] = ()
    ranks: Sequence[int] = ()

    def whole(self, torch: Torch) -> Doc:
        """Return a PyTorch expression as Python."""
        if torch.is_module:
            given = [f"{name}={flat(self.part(to))}" for name, to in torch.call_options.items()]
            return Group(f"{self.module}(", (*map(self.part, torch.inputs), *given))
        if torch.target == NEGATIVE:
            return f"-{_operand(torch.arguments[0], '**', 0, self.part)}"
        if torch.target == ITEM:
            several, at = self.part(torch.arguments[0]), f"[{torch.arguments[1]}]"
            if isinstance(several, Group):
                return replace(several, close=several.close + at)
            return f"{flat(several)}{at}"
        if torch.target == "torch.mul" and torch.arguments[0] == TRAINING:
            return f"{flat(self.part(torch.arguments[1]))} if self.training else 0.0"
        if torch.target in OPERATORS:
            operator = OPERATORS[torch.target]
            sides = [
                _operand(value, operator, at, self.part) for at, value in enumerate(torch.arguments)
            ]
            return ("**" if operator == "**" else f" {operator} ").join(sides)
        if torch.target.startswith(METHOD):
            return self._method(torch)
        target = torch.target
        if target.startswith("F."):
            target = f"{self.functional}.{target[2:]}"
        return Group(f"{target}(", tuple(_arguments(torch, torch.arguments, self.part)))

    def _method(self, torch: Torch) -> Doc:
        """Return a method of a tensor: TorchScript knows no functions of the class."""
        owner = self.part(torch.arguments[0])
        rest = tuple(_arguments(torch, torch.arguments[1:], self.part))
        name = torch.target.removeprefix(METHOD)
        if isinstance(owner, Group):
            return replace(owner, close=f"{owner.close}.{name}({', '.join(map(flat, rest))})")
        text = flat(owner)
        owned = text if re.fullmatch(r"[\w.]+", text) else f"({text})"
        return Group(f"{owned}.{name}(", rest)

    def part(self, value: Any) -> Doc:
        """Return an argument of an expression as Python."""
        if isinstance(value, X):
            return self.inputs[value.index]
        if isinstance(value, P):
            return self.parameters[value.name]
        if isinstance(value, Torch):
            return self.whole(value)
        if isinstance(value, Training):
            return "self.training"
        if isinstance(value, tuple):
            is_list = any(isinstance(item, X) for item in value)
            if any(isinstance(item, X) and item.index in self.lists for item in value):
                return self._joined(value)
            if whole := self._shape(value):
                return whole
            open_, close = ("[", "]") if is_list else ("(", ")")
            return Group(open_, tuple(map(self.part, value)), close)
        if isinstance(value, Size):
            sizes = {name: self._size(name) for name in value.names()}
            return self.write(unbracketed(size_text(value.at(cast(Any, sizes)))))
        return self.write(value.name) if isinstance(value, Symbol) else literal(value)

    def _shape(self, sizes: tuple[Any, ...]) -> str:
        """`x.shape`, if these are all of the sizes of an input; else nothing."""
        names = [size.name for size in sizes if isinstance(size, Size)]
        index = names[0].partition(".")[0] if len(names) == len(sizes) > 0 else ""
        if not index.isdecimal() or int(index) >= len(self.ranks):
            return ""
        rank = self.ranks[int(index)]
        is_whole = names == [f"{index}.{axis}" for axis in range(rank)]
        return f"{self.inputs[int(index)]}.shape" if is_whole else ""

    def _joined(self, inputs: tuple[X, ...]) -> str:
        """`parts + [x]`: TorchScript knows no `[*parts, x]`."""
        texts: list[str] = []
        for is_list, some in groupby(inputs, lambda x: x.index in self.lists):
            names = [self.inputs[x.index] for x in some]
            texts += names if is_list else [f"[{', '.join(names)}]"]
        return " + ".join(texts)

    def _size(self, name: str) -> Dim:
        if not is_extent(name):
            return cast(Dim, Size.named(name))
        index, _, axis = name.partition(".")
        return cast(Dim, Size.named(f"{self.inputs[int(index)]}.shape[{axis}]"))


def _operand(value: Any, operator: str, at: int, part: Callable[[Any], Doc]) -> str:
    text = flat(part(value))
    if isinstance(value, Torch) and value.target in OPERATORS:
        inner = OPERATORS[value.target]
        if operator == "**" or not (at == 0 and (inner == operator or inner in "*/@")):
            return f"({text})"
    is_whole = not isinstance(value, Size) or re.fullmatch(r"\w+", text) is not None
    return text if is_whole else f"({text})"


def _arguments(
    torch: Torch, positional: Sequence[Any], part: Callable[[Any], Doc] | None = None
) -> list[Doc]:
    """Return the arguments that must be written. Those with PyTorch's defaults are left out."""
    part = part or literal
    docs = [part(_single(value) if torch.pairs else value) for value in positional]
    for name, value in torch.options.items():
        if name in torch.defaults and _equal(value, torch.defaults[name]):
            continue
        shown = part(_single(value) if torch.pairs else value)
        if isinstance(shown, Group):
            docs.append(Group(f"{name}={shown.open}", shown.items, shown.close))
        else:
            docs.append(f"{name}={flat(shown)}")
    return docs


def _equal(value: Any, default: Any) -> bool:
    if isinstance(value, tuple) and not isinstance(default, tuple):
        return all(item == default for item in value)
    return bool(value == default)


def _single(value: Any) -> Any:
    alike = isinstance(value, tuple) and all(item == value[0] for item in value[1:])
    return value[0] if alike and value else value


def worded(value: Any, write: Callable[[str], str]) -> Any:
    """A value, or a form that makes a module, with its expressions as `write` has them.

    It is not called for what is left out.
    """
    if isinstance(value, Torch):
        arguments = tuple(worded(_single(a) if value.pairs else a, write) for a in value.arguments)
        options = {
            name: option
            if name in value.defaults and _equal(option, value.defaults[name])
            else worded(_single(option) if value.pairs else option, write)
            for name, option in value.options.items()
        }
        return replace(value, arguments=arguments, options=options)
    if isinstance(value, tuple):
        return tuple(worded(item, write) for item in value)
    if isinstance(value, Mapping):
        return {name: worded(item, write) for name, item in value.items()}
    if isinstance(value, Size):
        return Symbol(write(unbracketed(size_text(value))))
    return Symbol(write(value.name)) if isinstance(value, Symbol) else value


def literal(value: Any) -> Doc:
    """Return a number, a word or a tuple of them as Python."""
    if isinstance(value, Size):
        return unbracketed(size_text(value))
    if isinstance(value, Symbol):
        return value.name
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, tuple):
        return Group("(", tuple(literal(item) for item in value))
    return number(value)
