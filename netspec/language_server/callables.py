"""What can be called at a place of a text, and what its arguments are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache

from netspec.compiler.elaborate.names import SPLIT
from netspec.compiler.elaborate.split import Split
from netspec.compiler.ir.attributes import Kind
from netspec.compiler.ir.constants import FUNCTIONS
from netspec.compiler.ir.initializers import RULES
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.language_server.analysis import Analysis
from netspec.language_server.heads import heads
from netspec.language_server.hover import about, default_of

# More values than any call has: those of `concat`, which takes as many as it is given.
_MANY = 1000
# What functions of constants take, where it is not one value.
_TAKES = {
    "range": "start = 0, stop, step = 1",
    "min": "value, other",
    "max": "value, other",
    "zip": "list, other",
    **dict.fromkeys(("len", "sum", "enumerate", "reversed"), "list"),
}


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a layer or a block: its name, and what is said of it."""

    name: str
    written: str
    about: str = ""
    kind: Kind | None = None

    @property
    def is_needed(self) -> bool:
        """Whether a call must give it."""
        return "=" not in self.written


@dataclass(frozen=True, slots=True)
class Callable:
    """A layer, a block, a function of constants or a rule of initial values.

    Attributes:
        name: its name.
        kind: what it is.
        arguments: its arguments, in order.
        about: what it does.
        rules: the parameters whose initial values a call can set.
        values: how many values a call takes before its arguments, one of which an arrow can bring.
    """

    name: str
    kind: str
    arguments: tuple[Argument, ...]
    about: str = ""
    rules: tuple[str, ...] = ()
    values: int = 0

    @property
    def signature(self) -> str:
        """How it is called."""
        written = ", ".join(argument.written for argument in self.arguments)
        return f"{self.name}({written})"


def callables(analysis: Analysis) -> dict[str, Callable]:
    """Return the layers and blocks that a text can call, by name."""
    module = analysis.readable[0].module
    ops: Mapping[str, type[Op]] = module.ops if module is not None else registry()
    found = {name: _layer(op) for name, op in ops.items()}  # type: ignore[arg-type]
    found[SPLIT] = _layer(Split)
    for name, (block, _) in module.blocks.items() if module is not None else ():
        written = [" ".join(parameter.span.text.split()) for parameter in block.parameters]
        found[name] = _block(name, written, block.doc, len(block.inputs))
    for head in heads(analysis.tokens):
        if head.kind == "block" and head.name:
            doc = found[head.name].about if head.name in found else ""
            found[head.name] = _block(head.name, head.parameters, doc, len(head.inputs))
    return found


@cache
def _layer(op: type[Op]) -> Callable:
    arguments = tuple(
        Argument(
            name,
            f"{name}{f' = {shown}' if (shown := default_of(f)) is not None else ''}",
            f"{f.metadata['doc']}; {f.metadata['kind'].describe()}",
            f.metadata["kind"],
        )
        for name, f in op.attributes().items()
    )
    values = _MANY if op.arity is None else op.arity
    return Callable(op.name, "layer", arguments, about(op), op.parameter_names, values)


def _block(name: str, written: list[str] | tuple[str, ...], doc: str, values: int) -> Callable:
    arguments = tuple(Argument(each.partition(" ")[0], each) for each in written)
    return Callable(name, "block", arguments, doc, (), values)


@cache
def constant_functions() -> Mapping[str, Callable]:
    """Return the functions of constants, by name."""
    return {name: _written(name, "function", _TAKES.get(name, "value")) for name in FUNCTIONS}


@cache
def rules() -> Mapping[str, Callable]:
    """Return the rules of initial values, by name."""
    found = {}
    for name, rule in RULES.items():
        takes = ", ".join(
            f.name if f.default is MISSING else f"{f.name} = {f.default:g}" for f in fields(rule)
        )
        found[name] = _written(name, "rule", takes, " ".join((rule.__doc__ or "").split()))
    return found


def _written(name: str, kind: str, takes: str, about: str = "") -> Callable:
    arguments = tuple(Argument(each.partition(" ")[0], each) for each in takes.split(", ") if each)
    return Callable(name, kind, arguments, about)
