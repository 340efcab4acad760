"""Finds the steps of a class that make up a `nn.Sequential`, from labels with dots.

A run of steps becomes a `nn.Sequential` if each takes the result of the step before, if the run has
all labels below one name, and if these labels are 0, 1, 2, ... or names. Layers without parameters
in between become modules too; they are the gaps in `features.0`, `features.3`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netspec.compiler.ir.op import X
from netspec.compiler.torch_backend.class_ir import (
    Assembled,
    BlockClass,
    Choice,
    Layer,
    Step,
    Use,
    Value,
)
from netspec.compiler.torch_backend.local_sizes import is_extent, names_in
from netspec.diagnostics import Span

# Attributes of `nn.Sequential`, which cannot be names of children.
SEQUENTIAL_ATTRIBUTES = frozenset("append extend insert pop".split())


@dataclass(eq=False)
class Chain:
    """A `nn.Sequential`, with its children by name."""

    path: str
    children: list[tuple[str, Layer | Use | Chain]]
    inputs: tuple[Value, ...]
    results: tuple[Value, ...]
    span: Span
    reused: bool = False

    @property
    def indexed(self) -> bool:
        """Whether its children are 0, 1, 2, ..."""
        return self.children[0][0].isdigit()


Unit = Layer | Use | Chain | Choice | Assembled


def contain(steps: Sequence[Step], uses: Counter[Value]) -> list[Unit]:
    """Return the steps, with each run that can be a chain replaced by one."""
    units: list[Unit] = list(steps)
    for unit in units:
        if isinstance(unit, Choice):
            unit.cases = [(c, contain(inner, uses)) for c, inner in unit.cases]  # type: ignore
    below_choices = {p for u in units if isinstance(u, Choice) for p in _prefixes([u])}
    for prefix in dict.fromkeys(_prefixes(units)):
        if prefix in below_choices:
            continue
        inside = [i for i, u in enumerate(units) if below(u, prefix)]
        if not inside:
            continue  # an earlier chain contains them
        run = _run(units, inside[0], inside[-1] + 1, prefix, uses)
        if run is not None:
            start, stop, chain = run
            units[start:stop] = [chain]
    return units


def whole_chain(made: BlockClass, uses: Counter[Value]) -> Chain | None:
    """Return a block as one chain, if it is one and its layers are labelled 0, 1, 2, ...; else
    None.
    """
    labels = [s.path for s in made.steps if not isinstance(s, Choice) and s.path[:1].isdigit()]
    if not labels or len(made.inputs) != 1:
        return None
    chain = _chain(made.steps, "", uses)
    fits = chain is not None and chain.results == made.results
    starts = chain is not None and chain.inputs == tuple(made.inputs.values())
    return chain if fits and starts else None


def count_uses(steps: Sequence[Unit], results: Sequence[Value]) -> Counter[Value]:
    """Count how often each value is read."""
    uses = Counter(results)
    for step in steps:
        if isinstance(step, Choice):
            for _, inner in step.cases:
                uses += count_uses(inner, ())
            uses.update(step.parts())
        else:
            uses.update(step.inputs)
    return uses


def _prefixes(units: Sequence[Unit]) -> Iterator[str]:
    for unit in units:
        if isinstance(unit, Choice):
            for _, inner in unit.cases:
                yield from _prefixes(inner)
        elif "." in unit.path:
            yield unit.path.partition(".")[0]
        elif isinstance(unit, Chain):
            yield unit.path


def below(unit: Unit, prefix: str) -> bool:
    """Whether a unit's label is below a prefix.

    Labels that start with a number are below the empty one.
    """
    if isinstance(unit, Choice):
        return False
    return unit.path.startswith(prefix + ".") if prefix else unit.path[:1].isdigit()


def _run(
    units: Sequence[Unit], start: int, stop: int, prefix: str, uses: Counter[Value]
) -> tuple[int, int, Chain] | None:
    """Return the start, the end and the chain of the run around `units[start:stop]`, or None."""
    first = units[start]
    assert not isinstance(first, Choice)
    name = _child(first, prefix)
    if name.isdigit():
        start -= int(name)
    if start < 0:
        return None
    filled = any(not below(unit, prefix) for unit in units[start:stop])
    while filled and name.isdigit() and stop < len(units):
        after = units[stop]
        last = units[stop - 1]
        if not (
            isinstance(after, Layer)
            and not after.torch.is_module
            and fills(after)
            and not isinstance(last, Choice)
            and after.inputs == last.results
            and uses[last.results[0]] == 1
        ):
            break
        stop += 1
    chain = _chain(units[start:stop], prefix, uses)
    return None if chain is None else (start, stop, chain)


def _child(unit: Layer | Use | Chain | Assembled, prefix: str) -> str:
    return unit.path[len(prefix) + bool(prefix) :].partition(".")[0]


def _chain(units: Sequence[Unit], prefix: str, uses: Counter[Value]) -> Chain | None:
    parts = _in_a_row(units, prefix, uses)
    if parts is None:
        return None
    indexed = _child(next(p for p in parts if below(p, prefix)), prefix).isdigit()
    children = _children(parts, prefix, indexed, uses)
    if children is None or not _can_be_keys([name for name, _ in children], indexed):
        return None
    span = parts[0].span.to(parts[-1].span) if _same_file(parts) else parts[0].span
    return Chain(prefix, children, parts[0].inputs, parts[-1].results, span)


def _in_a_row(
    units: Sequence[Unit], prefix: str, uses: Counter[Value]
) -> list[Layer | Use | Chain] | None:
    """Return the units as modules, each of which takes the result of the one before; None if they
    do not.
    """
    parts: list[Layer | Use | Chain] = []
    for unit in units:
        if isinstance(unit, (Choice, Assembled)) or unit.reused or len(unit.inputs) != 1:
            return None
        if len(unit.results) != 1 or not (below(unit, prefix) or fills(unit)):
            return None
        if isinstance(unit, Layer) and not is_module(unit):
            return None
        if parts and (unit.inputs != parts[-1].results or uses[unit.inputs[0]] != 1):
            return None
        parts.append(unit)
    return parts


def _children(
    parts: Sequence[Layer | Use | Chain], prefix: str, indexed: bool, uses: Counter[Value]
) -> list[tuple[str, Layer | Use | Chain]] | None:
    """Return the children by name. Those with children of their own are chains."""
    children: list[tuple[str, Layer | Use | Chain]] = []
    at = 0
    while at < len(parts):
        part = parts[at]
        if not below(part, prefix):
            if not indexed and "." in part.path:
                return None
            children.append((str(len(children)) if indexed else part.path, part))
            at += 1
            continue
        name = _child(part, prefix)
        path = f"{prefix}.{name}" if prefix else name
        if part.path == path:
            children.append((name, part))
            at += 1
            continue
        end = max(i for i, p in enumerate(parts) if p.path.startswith(path + ".")) + 1
        inner = _chain(parts[at:end], path, uses)
        if inner is None:
            return None
        children.append((name, inner))
        at = end
    return children


def _can_be_keys(names: Sequence[str], indexed: bool) -> bool:
    """Whether these can be the names of a `nn.Sequential`'s children."""
    if indexed:
        return list(names) == [str(i) for i in range(len(names))]
    is_free = SEQUENTIAL_ATTRIBUTES.isdisjoint(names) and len(set(names)) == len(names)
    return is_free and not any(map(str.isdigit, names))


def _same_file(parts: Sequence[Layer | Use | Chain]) -> bool:
    return parts[0].span.source is parts[-1].span.source


def fills(unit: Unit) -> bool:
    """Whether a unit has no parameters, and so no keys in a state dict, and can be a module of any
    name.
    """
    return isinstance(unit, Layer) and not unit.parameters_held and is_module(unit)


def is_module(layer: Layer) -> bool:
    """Whether a layer is a module of one value, or can be written as one."""
    if layer.torch.inputs != (X(0),) or layer.torch.call_options:
        return False
    if any(map(is_extent, names_in(layer.torch))):
        return False
    if layer.torch.is_module:
        return True
    return layer.torch.as_module is not None and layer.torch.arguments[:1] == (X(0),)
