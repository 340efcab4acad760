"""What somebody else asks of a net: facts, layers that it may not or must have, shapes of its ends.

An `assert` is what a file promises of itself; a requirement comes from outside, from a task or from what
the net is made for, and no name of the file can change its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from netspec import codes
from netspec.compiler.analysis.cost_facts import COST_FACTS, cost_facts
from netspec.compiler.driver import Compilation
from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Graph, Node, Shape, show_shape
from netspec.compiler.ops import DECLARED, registry
from netspec.compiler.overrides import parse_expression, sound
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import (
    MOST_WRONG_NAMES,
    Code,
    Diagnostic,
    DiagnosticSink,
    Hint,
    NetspecError,
    Source,
    Span,
    in_order,
    located_names,
    plural,
    quoted,
    suggest,
)
from netspec.records import record

ASSERT_NAME, FORBID_NAME, REQUIRE_NAME = "--assert", "--forbid", "--require"
"""What diagnostics about a requirement itself are located in."""

Sizes = tuple[int | str, ...]
"""A shape without the batch; a word stands for any size."""

# As many digits as the largest sizes have.
_SIZE = re.compile(r"[1-9][0-9]{0,30}|[A-Za-z_][A-Za-z0-9_]*")


@record
class Requirements:
    """What every net of a file must be. Inputs and outputs are compared in order; None is no matter."""

    facts: tuple[str, ...] = ()
    forbidden: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    inputs: tuple[Sizes, ...] | None = None
    outputs: tuple[Sizes, ...] | None = None

    def __bool__(self) -> bool:
        listed = self.facts or self.forbidden or self.needed
        return bool(listed or self.inputs is not None or self.outputs is not None)


def named_ops(lists: Iterable[str], option: str) -> frozenset[str]:
    """Return the ops that lists with commas name, `parameter`, `buffer` and `constant` among them.

    Args:
        lists: the texts.
        option: `FORBID_NAME` or `REQUIRE_NAME`, which has them.

    Raises:
        NetspecError: `require/op`, with the names that are no op, `MOST_WRONG_NAMES` of a list at most.
    """
    known, found, wrong = {*registry(), *DECLARED}, set(), []
    for text in lists:
        for name, span in located_names(text, option):
            if name in known:
                found.add(name)
                continue
            meant = suggest(name, known)
            hints = (Hint(f"did you mean `{meant}`?"),) if meant else ()
            message = f"there is no layer `{name}`" if name else "the name of a layer is missing"
            wrong.append(Diagnostic(codes.REQUIRE_OP, message, span, hints=hints))
            if len(wrong) == MOST_WRONG_NAMES:
                break
    if wrong:
        raise NetspecError(wrong)
    return frozenset(found)


def sizes(text: str, option: str) -> Sizes:
    """Return the shape that a text such as `1,8,8` names; a letter or `_` is any size.

    Raises:
        NetspecError: `require/shape`.
    """
    parts = [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
    if not all(map(_SIZE.fullmatch, parts)):
        message = f"{option} takes sizes such as 1,8,8 or 3,_,_, not {quoted(text)}"
        raise NetspecError.simple(codes.REQUIRE_SHAPE, message)
    return tuple(int(part) if part[0].isdigit() else part for part in parts)


def unmet(graph: Graph, module: Module, required: Requirements) -> list[Diagnostic]:
    """Return an error for each requirement that a net does not meet, located in its file.

    Raises:
        NetspecError: for a fact that cannot be evaluated, located in its text.
    """
    net = module.nets[graph.name]
    found = [*_facts(graph, net, required.facts), *_layers(graph, required.forbidden)]
    found += _lacking(graph, net, required.needed)
    if required.inputs is not None:
        spans = [each.span for each in net.body if isinstance(each, syntax.Input)]
        shapes = list(graph.inputs.values())
        found += _shapes("input", codes.REQUIRE_INPUT, required.inputs, shapes, spans, net)
    if required.outputs is not None:
        spans = [each.span for each in net.body if isinstance(each, syntax.Output)]
        shapes = [graph.shape_of(value) for value in graph.outputs.values()]
        found += _shapes("output", codes.REQUIRE_OUTPUT, required.outputs, shapes, spans, net)
    return found


def with_unmet(
    result: Compilation, module: Module, required: Requirements, *, is_named: bool = True
) -> Compilation:
    """Return a result with the errors of requirements. A file that was named must have a net, one of a
    folder may be a library of blocks.

    Raises:
        NetspecError: for a condition that is none.
    """
    found = []
    for name, graph in result.graphs.items():
        here = unmet(graph, module, required)
        if len(result.graphs) > 1:
            note = f"this is about {name}, one of {plural(len(result.graphs), 'net')}; --net chooses one"
            here = [replace(each, notes=(*each.notes, note)) for each in here]
        found += here
    if not module.nets and is_named and not result.errors:
        found.append(Diagnostic(codes.FILE_NO_NET, f"{module.source.name} has no net"))
    return replace(result, diagnostics=in_order((*result.diagnostics, *found)))


def _facts(graph: Graph, net: syntax.Net, texts: Iterable[str]) -> Iterator[Diagnostic]:
    known = cost_facts(graph) if texts else {}
    for text in texts:
        value, used = _evaluated(text, known)
        if value is not True:
            message = f"{graph.name} does not meet `{text.strip()}`"
            notes = tuple(f"{name} = {_counted(known[name])}" for name in known if name in used)
            yield Diagnostic(codes.REQUIRE_ASSERT, message, net.name.span, notes=notes)


def _counted(value: Constant) -> str:
    return f"{value:,}" if isinstance(value, int) else show(value)


def _evaluated(text: str, known: Mapping[str, Constant]) -> tuple[object, set[str]]:
    """Return the value of a condition, and the names in it.

    Raises:
        NetspecError: if it is none, or names something else.
    """
    sink = DiagnosticSink()

    def value(wrapped: Source, expression: syntax.Expr) -> tuple[object, set[str]]:
        body = Body(Assembly(sink), Module(wrapped))
        for name, fact in known.items():
            body.scope.bind(name, fact, expression.span)
        answer = sound(sink, lambda: body.evaluator.condition(expression))
        used = syntax.parts(expression, syntax.NAMING)
        return answer, {part.id for part in used if isinstance(part, syntax.Name)}

    try:
        return parse_expression(text, ASSERT_NAME, value)
    except NetspecError as error:
        raise NetspecError([_with_known(each) for each in error.diagnostics]) from None


def _with_known(diagnostic: Diagnostic) -> Diagnostic:
    """Add to the error of an unknown name which facts there are."""
    if diagnostic.code != codes.NAME_UNDEFINED:
        return diagnostic
    known = Hint(f"the facts of a net are {', '.join(COST_FACTS)}")
    return replace(diagnostic, hints=(*diagnostic.hints, known))


def _layers(graph: Graph, forbidden: frozenset[str]) -> Iterator[Diagnostic]:
    """Yield an error for each place of a file where a forbidden layer is."""
    seen: set[tuple[str, Span]] = set()
    for node in _every_node(graph):
        name, span = node.op.name, node.origin.span
        if name in forbidden and (name, span) not in seen:
            seen.add((name, span))
            message = f"`{name}` is not allowed here"
            yield Diagnostic(codes.REQUIRE_LAYER, message, span, trace=node.origin.trace)


def _lacking(graph: Graph, net: syntax.Net, needed: frozenset[str]) -> Iterator[Diagnostic]:
    """Yield an error for each layer that must be there; a graph has those that outputs depend on."""
    for name in sorted(needed - {node.op.name for node in _every_node(graph)}):
        message = f"{graph.name} has no `{name}`, which is asked for"
        yield Diagnostic(codes.REQUIRE_LAYER, message, net.name.span)


def _every_node(graph: Graph) -> Iterator[Node]:
    """Yield the layers of a net, those inside scan blocks too."""
    for node in graph.nodes:
        yield node
        body = node.op.steps()
        if body is not None:
            yield from _every_node(body.graph)


def _shapes(
    what: str,
    code: Code,
    wanted: Sequence[Sizes],
    shapes: Sequence[Shape],
    spans: Sequence[Span],
    net: syntax.Net,
) -> Iterator[Diagnostic]:
    asked = " and ".join(_shown(each) for each in wanted)
    if len(shapes) != len(wanted):
        have = " and ".join(map(show_shape, shapes))
        message = f"{net.name.id} shall have {plural(len(wanted), what)}, {asked}"
        yield Diagnostic(code, message, net.name.span, notes=(f"it has {have}",))
        return
    for at, (sizes, shape) in enumerate(zip(wanted, shapes, strict=True)):
        if not _fits(sizes, shape):
            message = f"the {what} shall be {_shown(sizes)}, and is {show_shape(shape)}"
            span = spans[at] if len(spans) == len(shapes) else net.name.span
            yield Diagnostic(code, message, span)


def _fits(sizes: Sizes, shape: Shape) -> bool:
    return len(sizes) == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(sizes, shape, strict=True)
    )


def _shown(sizes: Sizes) -> str:
    return "[" + ", ".join(["N", *map(str, sizes)]) + "]"
