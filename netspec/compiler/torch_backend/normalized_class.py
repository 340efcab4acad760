"""A class under that of a net, which takes its inputs as they were before they were normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from netspec import codes
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.torch_backend.docstrings import docstring
from netspec.compiler.torch_backend.python_layout import Doc, Group, call, statement
from netspec.compiler.torch_backend.structured.module import forward_head
from netspec.diagnostics import NetspecError

# As many numbers are written into a module; a mean image is for a file of weights.
MOST_NUMBERS = 64


def normalized_name(net: str, taken: Set[str]) -> str:
    """Return the name of the class."""
    name = f"Normalized{net}"
    while name in taken:
        name += "_"
    return name


def normalized_lines(
    name: str,
    net: str,
    inputs: Mapping[str, str],
    scales: Mapping[str, InputScale],
    about: Sequence[str],
    *,
    results: int,
    gives: str,
) -> list[str]:
    """The class, two empty lines in front.

    Args:
        name: the name of this class.
        net: that of the net's.
        inputs: the names of the net's inputs, and their names in Python.
        scales: how inputs are normalised.
        about: lines for the docstring.
        results: how many outputs the net has.
        gives: the class of several.

    Raises:
        NetspecError: `compile/no-torch` for more numbers than a module is for.
    """
    body: list[str] = []
    taken = set(inputs.values())
    passed = list[Doc]()
    for own, python in inputs.items():
        made, normal = _normalised(own, python, scales.get(own), taken)
        body += made
        passed.append(normal)
    return [
        "",
        f"class {name}({net}):",
        *docstring("", f"{net} for inputs as they were before training normalised them", about),
        "",
        *forward_head(list(inputs.values()), results, gives=gives),
        *body,
        *statement(Group("return super().forward(", tuple(passed)), 2),
        "",
    ]


def _normalised(
    own: str, python: str, scale: InputScale | None, taken: set[str]
) -> tuple[list[str], str]:
    """Return statements, and the expression of the normalised input."""
    if scale is None or not (scale.shifts or scale.divides):
        return [], python
    lines: list[str] = []
    formula = python
    parts = (("mean", "-", scale.mean, scale.shifts), ("scale", "/", scale.scale, scale.divides))
    for word, sign, values, is_there in parts:
        if not is_there:
            continue
        numbers = [float(str(value)) for value in values.ravel()]
        if len(numbers) > MOST_NUMBERS:
            raise NetspecError.simple(
                codes.COMPILE_NO_TORCH,
                f"`{own}` is normalised by {len(numbers):,} numbers, which are for no module",
                "leave out --normalize, and normalise before: `weights.normalization.apply`",
            )
        if len(set(numbers)) == 1:  # a number takes the type of what it stands beside
            operand = repr(numbers[0])
        else:
            operand = _free(word, taken)
            lines += statement(_tensor(operand, python, numbers, values.shape), 2)
        left = f"({formula})" if formula != python else formula
        formula = f"{left} {sign} {operand}"
    return lines, formula


def _free(word: str, taken: set[str]) -> str:
    while word in taken:
        word += "_"
    taken.add(word)
    return word


def _tensor(name: str, beside: str, numbers: Sequence[float], shape: tuple[Any, ...]) -> Doc:
    """Return the statement that makes numbers a tensor of this shape, on the device of another."""
    listed = Group("[", tuple(map(repr, numbers)), "]")
    made = call(f"{name} = torch.tensor", listed, f"device={beside}.device")
    assert isinstance(made, Group)
    sizes = ", ".join(map(str, shape))
    return Group(made.open, made.items, f").reshape({sizes})")
