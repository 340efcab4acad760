"""PyTorch's order of arguments, some of which give the size of an input, which netspec infers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING

from netspec.compiler.elaborate.fix_its import apply_edits, removal
from netspec.compiler.elaborate.values import UNKNOWN, SharedLayer, Tensor, Tensors, Value
from netspec.compiler.ir.attributes import Int, WrongValueError
from netspec.compiler.ir.initializers import Initializer
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.compiler.syntax import other_frameworks
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Span, plural, quoted

if TYPE_CHECKING:
    from netspec.compiler.elaborate.arguments import Bound


def attribute_order(op: type[Op], values: Sequence[Value], named: Set[str]) -> tuple[str, ...]:
    """Return the attributes to which positional arguments belong, in order.

    It is our order, unless the arguments only fit PyTorch's, in which "" is an inferred size.
    """
    ours = tuple(op.attributes())
    # The names alone decide nearly all calls.
    if not _names_fit(op, op.torch_order, len(values), frozenset(named)):  # type: ignore[arg-type]
        return ours
    if _fits(op, ours, values, named) or input_size(op, values, named) is None:
        return ours
    # If an attribute is given twice, the extra name is a more likely mistake than an extra size, as
    # long as there are no more positional arguments than required attributes.
    is_twice = named & set(ours[: len(values)]) and len(values) <= len(_needed(op))
    return ours if is_twice else op.torch_order


def _needed(op: type[Op]) -> frozenset[str]:
    return _without_default(op)  # type: ignore[arg-type]


@functools.cache
def _without_default(op: type[Op]) -> frozenset[str]:
    attributes = op.attributes().items()
    return frozenset(name for name, f in attributes if f.default is dataclasses.MISSING)


def input_size(op: type[Op], values: Sequence[Value], named: Set[str]) -> int | None:
    """Return the index of the positional argument that gives the size of the input.

    It is None if the arguments are not in PyTorch's order.
    """
    order = op.torch_order[: len(values)]
    return order.index("") if "" in order and _fits(op, op.torch_order, values, named) else None


def _fits(op: type[Op], order: Sequence[str], values: Sequence[Value], named: Set[str]) -> bool:
    """Whether positional arguments can belong to these attributes, in this order."""
    is_possible = _names_fit(op, tuple(order), len(values), frozenset(named))  # type: ignore[arg-type]
    return is_possible and all(_takes(op, *pair) for pair in zip(order, values, strict=False))


@functools.lru_cache(1_000)
def _names_fit(op: type[Op], order: tuple[str, ...], count: int, named: frozenset[str]) -> bool:
    """Whether so many positional arguments give all that is needed, and nothing twice, whatever they
    are.
    """
    first = order[:count]
    return count <= len(order) and _needed(op) <= {*first, *named} and named.isdisjoint(first)


def _takes(op: type[Op], name: str, value: Value) -> bool:
    if value is UNKNOWN:
        return True
    if isinstance(value, (Tensor, Tensors, SharedLayer)):
        return False
    if name and value is None and op.attributes()[name].default is None:
        return True
    if name in op.parameter_names and isinstance(value, (Initializer, tuple)):
        return True
    try:
        (op.kind(name) if name else Int(1)).convert(value)
    except WrongValueError:
        return False
    return True


def input_sizes(statements: Sequence[syntax.Statement]) -> Iterator[Edit]:
    """Yield the edits that remove the input sizes from all calls of a body that look like
    PyTorch's.
    """
    for item in syntax.parts(statements):
        if isinstance(item, syntax.Call) and (size := _literal_input_size(item)) is not None:
            yield removal(item, size)


def likely_input_size(op: Op, bound: Bound) -> syntax.Argument | None:
    """Return the argument that would be the size of the input if this were PyTorch, or None."""
    values = tuple(bound.positional.values())
    named = set(bound.spans) - set(list(op.attributes())[: len(values)])
    where = input_size(type(op), values, named)
    return None if where is None else list(bound.positional)[where]


def input_size_hints(
    statements: Sequence[syntax.Statement], op: Op, bound: Bound, call: syntax.Call, size: object
) -> Iterator[Hint]:
    """Yield a hint to leave out what may be the size of the input, here or everywhere in a body.

    `size` is what the layer infers.
    """
    argument = likely_input_size(op, bound)
    if argument is None:
        if (first := two_numbers(op, bound, call, size)) is not None:
            yield _kernel_hint(call, first)
        return
    edits = tuple(input_sizes(statements))
    own = removal(call, argument)
    said = f"{quoted(argument.span.text)[1:-1]} is"
    others = len(edits) - (own in edits)
    if others <= 0:
        better = quoted(apply_edits(call.span, (own,)))
        yield Hint(f"if {said} the size of the input, leave it out: {better}", (own,))
    elif own in edits:
        where = plural(others, "other layer")
        yield Hint(f"if {said} the size of the input, leave it out, here and in {where}", edits)


def torch_input_size(call: syntax.Call, op: type[Op]) -> syntax.Argument | None:
    """Return the argument that gives the size of the input, in a call that is known to be
    PyTorch's.
    """
    given = [argument for argument in call.arguments if argument.name is None]
    # An expression that is not a literal may still be a number.
    values = [a.value.value if isinstance(a.value, syntax.Literal) else UNKNOWN for a in given]
    names = [argument.name.id for argument in call.arguments if argument.name is not None]
    named = {other_frameworks.ATTRIBUTES.get(name, name) for name in names}
    where = input_size(op, values, named & set(op.attributes()))
    return None if where is None else given[where]


def without_input_size(call: syntax.Call, op: type[Op]) -> tuple[Edit, ...]:
    """Return the edits that leave out the size of the input in a call that is PyTorch's, and give
    its arguments our names; none if the call has no such size.
    """
    size = torch_input_size(call, op)
    if size is None:
        return ()
    edits = [removal(call, size)]
    for argument in call.arguments:
        name = argument.name
        if name is None or name.id in op.attributes():
            continue
        if (own := other_frameworks.attribute_meant(name.id, op.attributes())) is not None:
            edits.append(Edit(name.span, own))
    return tuple(edits)


def two_numbers(op: Op, bound: Bound, call: syntax.Call, size: object) -> syntax.Argument | None:
    """Return the first of two numbers, as in `conv(3, 16)`, if it is the size of the input, the
    second looks like a number of channels, and the call would be PyTorch's with one number more.

    A kernel is rarely even and large, unless it is twice a stride, as where a picture is enlarged.
    """
    order = op.torch_order
    if len(bound.positional) != 2 or order[:1] != ("",) or tuple(op.attributes())[:2] != order[1:3]:
        return None
    names = {argument.name.id for argument in call.arguments if argument.name is not None}
    if not names <= {*op.attributes(), *op.parameter_names}:  # an error says what is meant
        return None
    (argument, first), (_, kernel) = bound.positional.items()
    if first != size or not isinstance(kernel, int) or kernel % 2 or not op.is_unlikely():
        return None
    is_alike = getattr(op, "groups", 1) == 1 and kernel != 2 * getattr(op, "stride", 1)
    return argument if is_alike and kernel >= 8 else None


def _kernel_hint(call: syntax.Call, first: syntax.Argument) -> Hint:
    """Return the hint for `conv(3, 16)`: nobody but who wrote it knows the kernel."""
    second = call.arguments[call.arguments.index(first) + 1]
    end = Span(second.span.source, second.span.end, second.span.end)
    better = apply_edits(call.span, (removal(call, first), Edit(end, ", kernel")))
    said = quoted(first.span.text)[1:-1]
    return Hint(f"if {said} is the size of the input, write the kernel: {quoted(better)}")


def _literal_input_size(call: syntax.Call) -> syntax.Argument | None:
    """Return the argument that looks like the size of the input, in a call with literal numbers, or
    None.
    """
    op = registry().get(call.callee.id)
    numbers = [a for a in call.arguments if a.name is None and isinstance(a.value, syntax.Literal)]
    values = [a.value.value for a in numbers if isinstance(a.value, syntax.Literal)]
    named = {a.name.id for a in call.arguments if a.name is not None}
    where = None if op is None else input_size(op, values, named)
    if op is None or where is None:
        return None
    order = attribute_order(op, values, named)
    if order != op.torch_order:
        given = {n: op.kind(n).convert(v) for n, v in zip(order, values, strict=False)}
        try:
            likely = not op(**given).is_unlikely()
        except TypeError:  # a required attribute is given by name
            likely = True
        if likely:
            return None
    return numbers[where]
