"""What is said of the word under the pointer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.compiler.analysis.costs import LayerSummary
from netspec.compiler.elaborate.arguments import signature
from netspec.compiler.elaborate.scope import MAX_CONSTANTS
from netspec.compiler.explain_codes import explanations
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.graph import show_shape
from netspec.compiler.ir.op import Op
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.allow_comments import allowed_codes
from netspec.language_server.analysis import Analysis, Built
from netspec.language_server.occurrences import Symbol, occurrence_at, occurrences
from netspec.language_server.tree_places import path_to
from netspec.project import page_about

_MOST_TOLD = 12


@dataclass(frozen=True, slots=True)
class Hover:
    """A text in Markdown about the range [start, end) of a text."""

    markdown: str
    start: int
    end: int


def hover(analysis: Analysis, offset: int) -> Hover | None:
    """Return what is said of a place; None if there is nothing to say.

    Where something is wrong, a line below that says what, and where more is said.
    """
    found = _hover_at(analysis, offset)
    wrong = {
        d.code: d.span
        for d in analysis.found
        if d.span is not None
        and d.span.source is analysis.source
        and d.span.start <= offset <= d.span.end
    }
    said = [found.markdown] if found is not None else []
    said += [_in_short(code) for code in wrong if code in explanations()]
    if not said:
        return None
    span = next(iter(wrong.values()), None)
    if found is None and span is not None:
        return Hover("\n\n---\n\n".join(said), span.start, span.end)
    return found and Hover("\n\n---\n\n".join(said), found.start, found.end)


def _hover_at(analysis: Analysis, offset: int) -> Hover | None:
    readable, since = analysis.readable
    at = since.backward(offset)
    found = _of_code(readable, at) if at is not None else None
    if at is not None and found is None:
        found = _of_tree(readable, at)
    if found is None:
        return None
    start, end = since.forward(found.start), since.forward(found.end)
    return Hover(found.markdown, start, end) if start is not None and end is not None else None


# ------------------------------------------------------------------------------------------ codes


def _of_code(analysis: Analysis, offset: int) -> Hover | None:
    """Explain the code in an `# allow:` comment."""
    module = analysis.module
    if module is None or module.tree is None:
        return None
    for span in allowed_codes(module.tree):
        if span.start <= offset <= span.end and span.text in explanations():
            return Hover(explained(span.text), span.start, span.end)
    return None


def _in_short(code: str) -> str:
    """Return one line about a code, with where it is explained."""
    page = page_about(code)
    more = f"`netspec explain {code}`" if page is None else f"[more]({page})"
    return f"**{code}**: {explanations()[code].code.summary} ({more})"


def explained(code: str) -> str:
    """Return the explanation of a code, as `netspec explain` prints it, in Markdown."""
    explanation = explanations()[code]
    parts = [f"**{code}**: {explanation.code.summary}", explanation.text]
    if explanation.example is not None:
        language = "netspec" if explanation.kind == "net" else explanation.kind
        parts.append(f"```{language}\n{explanation.example.rstrip()}\n```")
    return "\n\n".join(parts)


# ----------------------------------------------------------------------------------- what is there


def _of_tree(analysis: Analysis, offset: int) -> Hover | None:
    module = analysis.module
    path = path_to(module.tree if module is not None else None, offset)
    stage = next((node for node in reversed(path) if isinstance(node, syntax.Stage)), None)
    call = next((node for node in reversed(path) if isinstance(node, syntax.Call)), None)
    parent = path[-2] if len(path) > 1 else None
    match path[-1] if path else None:
        case syntax.Label() as label if stage is not None:
            return _hover(label, _label(analysis, stage))
        case syntax.Name() as name if isinstance(parent, syntax.Call) and name is parent.callee:
            whole = stage if stage is not None and stage.call is parent else parent
            return _hover(name, _callee(analysis, parent, whole))
        case syntax.Name() as name if isinstance(parent, syntax.Argument) and name is parent.name:
            return _hover(name, _argument(analysis, call, name)) if call is not None else None
        case syntax.Name() as name if isinstance(parent, syntax.Net | syntax.Block):
            return _hover(name, _definition(analysis, parent))
        case syntax.Name() as name:
            given = _given(analysis, parent) if isinstance(parent, syntax.Assign) else ""
            return _hover(name, (given, *_name(analysis, name, offset)))
    return None


def _hover(node: Any, parts: Iterable[str]) -> Hover | None:
    text = "\n\n".join(part for part in parts if part)
    return Hover(text, node.span.start, node.span.end) if text else None


def _callee(analysis: Analysis, call: syntax.Call, whole: Any) -> Iterator[str]:
    module = analysis.module
    assert module is not None
    name = call.callee.id
    if name in module.blocks:
        block, _ = module.blocks[name]
        yield _block_line(block)
        yield block.doc
    elif name in module.ops:
        op = module.ops[name]
        yield f"```netspec\n{signature(op)}\n```"
        yield about(op)
        yield _attributes(op)
    made = analysis.made_by(whole.span) or analysis.made_by(call.span)
    calls = {
        (layer.net, frame.path)
        for layer in made
        for frame in layer.node.origin.trace
        if frame.call in (whole.span, call.span)
    }
    if len(calls) > 1:
        yield f"called {len(calls)} times here, together:"
    yield _costs(made, _shapes(analysis, whole, made))


def about(op: type[Op]) -> str:
    """Return the first paragraph of an op's documentation."""
    return " ".join((op.__doc__ or "").strip().split("\n\n")[0].split())


def _attributes(op: type[Op]) -> str:
    rows = [
        f"- `{name}`{_default(f)}: {f.metadata['doc']}; {f.metadata['kind'].describe()}"
        for name, f in op.attributes().items()
    ]
    return "\n".join(rows)


def default_of(f: dataclasses.Field[object]) -> str | None:
    """Return the default of an attribute as a file writes it; None if it has none."""
    if f.default is dataclasses.MISSING:
        return None
    return "none" if f.default is None else str(f.metadata["kind"].show(f.default))


def _default(f: dataclasses.Field[object]) -> str:
    shown = default_of(f)
    return "" if shown is None else f" = `{shown}`"


def _argument(analysis: Analysis, call: syntax.Call, name: syntax.Name) -> Iterator[str]:
    module = analysis.module
    assert module is not None
    if call.callee.id in module.blocks:
        block, _ = module.blocks[call.callee.id]
        for parameter in block.parameters:
            if parameter.name.id == name.id:
                yield f"`{parameter.span.text}`, an argument of block {block.name.id}"
    elif call.callee.id in module.ops:
        declared = module.ops[call.callee.id].attributes().get(name.id)
        if declared is not None:
            doc, kind = declared.metadata["doc"], declared.metadata["kind"]
            yield f"`{name.id}`{_default(declared)}: {doc}"
            yield str(kind.describe())


def _label(analysis: Analysis, stage: syntax.Stage) -> Iterator[str]:
    made = analysis.made_by(stage.span)
    names = list(dict.fromkeys(layer.node.origin.layer or layer.node.name for layer in made))
    if names:
        yield "the name in weight files: " + _some([f"`{name}`" for name in names])
    yield _costs(made, _shapes(analysis, stage, made))


def _definition(analysis: Analysis, definition: syntax.Net | syntax.Block) -> Iterator[str]:
    if isinstance(definition, syntax.Block):
        yield _block_line(definition)
        yield definition.doc
        inside = [
            layer
            for layer in analysis.layers
            if any(frame.block == definition.name.id for frame in layer.node.origin.trace)
        ]
        calls = {
            frame.path
            for layer in inside
            for frame in layer.node.origin.trace
            if frame.block == definition.name.id
        }
        if calls:
            times = "once" if len(calls) == 1 else f"{len(calls)} times"
            yield f"called {times}, together:"
            yield _costs(inside, [])
        return
    yield f"```netspec\nnet {definition.name.id}({_parameters(definition.parameters)})\n```"
    yield definition.doc
    if definition.name.id in analysis.result.graphs:
        costs = analysis.summary(definition.name.id)
        inputs = [f"{name}: {costs.show_input(name)}" for name in costs.inputs]
        yield "\n".join(
            [
                f"- inputs: `{', '.join(inputs)}`",
                f"- parameters: {costs.parameters:,}",
                f"- MACs: {costs.macs:,}",
                f"- layers: {len(costs.layers)}",
            ]
        )


def _name(analysis: Analysis, name: syntax.Name, offset: int) -> Iterator[str]:
    module = analysis.module
    assert module is not None
    types = analysis.result.given.get(name)
    if types:
        shapes = list(
            dict.fromkeys(", ".join(show_shape(*each) for each in case) for case in types)
        )
        yield f"`{name.id}`: " + _some([f"`{shape}`" for shape in shapes])
        return
    found = occurrence_at(analysis, offset)
    if found is None:
        return
    if found.symbol.kind == "block" and name.id in module.blocks:
        block, home = module.blocks[name.id]
        yield _block_line(block)
        yield block.doc
        if home is not module:
            yield f"defined in {home.source.file_name}"
    elif found.line:
        yield f"```netspec\n{found.line.removesuffix('{').rstrip()}\n```"
        yield _constants(analysis, name, found.symbol)


def _constants(analysis: Analysis, name: syntax.Name, symbol: Symbol) -> str:
    """Return the constants that a name is given in all nets: here, or wherever its body gives it
    some.
    """
    module = analysis.module
    assert module is not None
    same = {each.span for each in occurrences(module) if each.symbol == symbol}
    values: dict[str, None] = {}
    for sketch in analysis.result.sketches.values():
        places = [name.span] if name.span in sketch.constants else same & sketch.constants.keys()
        for span in sorted(places, key=lambda each: each.start):
            values.update(dict.fromkeys(f"`{show(value)}`" for value in sketch.constants[span]))
    shown = list(values)
    more = " and more" if len(shown) >= MAX_CONSTANTS else ""
    return f"`{name.id}` = {', '.join(shown[:MAX_CONSTANTS])}{more}" if shown else ""


def _given(analysis: Analysis, assignment: syntax.Assign) -> str:
    """Return the shapes that an assignment gives to its one name, if it is one."""
    value: syntax.Expr | syntax.Stage = assignment.value
    if isinstance(value, syntax.Pipeline):
        value = value.stages[-1]
    if len(assignment.targets) > 1:
        return ""
    shapes = _shapes(analysis, value, ())
    return f"`{assignment.targets[0].id}`: {_some(shapes)}" if shapes else ""


def _block_line(block: syntax.Block) -> str:
    inputs = ", ".join(name.id for name in block.inputs)
    parameters = f"({_parameters(block.parameters)})" if block.parameters else ""
    kind = "inline " * block.inline + "scan " * block.scan
    return f"```netspec\n{kind}block {block.name.id}{parameters} {inputs}\n```"


def _parameters(parameters: Sequence[syntax.Parameter]) -> str:
    return ", ".join(" ".join(parameter.span.text.split()) for parameter in parameters)


# ------------------------------------------------------------------------------------------ costs


def _shapes(analysis: Analysis, node: Any, made: Sequence[Built]) -> list[str]:
    """Return `[N, 3, 32, 32] -> [N, 8, 32, 32]` for each case that differs."""
    ways: dict[str, None] = {}
    given = analysis.result.given.get(node, ())
    if made and all(layer.node.origin.span == node.span for layer in made):
        for layer in made:
            graph = analysis.result.sketches[layer.net].graph
            inputs = ", ".join(
                show_shape(graph.shape_of(value), graph.holds(value)) for value in layer.node.inputs
            )
            value = show_shape(layer.node.shape, graph.holds(layer.node.name))
            ways[f"`{inputs} -> {value}`" if inputs else f"`{value}`"] = None
    else:
        for case in given:
            ways["`" + ", ".join(show_shape(*each) for each in case) + "`"] = None
    return list(ways)


def _costs(made: Sequence[Built], shapes: Sequence[str]) -> str:
    rows = [f"- shape: {_some(shapes)}"] if shapes else []
    if made:
        costs = [layer.costs for layer in made]
        rows.append(f"- parameters: {sum(each.parameters for each in costs):,}")
        if buffers := sum(each.buffers for each in costs):
            rows.append(f"- not trained: {buffers:,}")
        macs = sum(each.macs for each in costs)
        rows.append(f"- MACs: {macs:,}" if macs != 0 else "- MACs: 0")
        if (field := _field(costs)) is not None:
            rows.append(f"- receptive field: {field}")
        if len(made) > 1:
            rows.append(f"- layers: {len(made)}")
    return "\n".join(rows)


def _field(costs: Sequence[LayerSummary]) -> str | None:
    """Return the receptive field behind the last layer."""
    field = costs[-1].field
    return None if field is None else " x ".join(map(str, field))


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST_TOLD} more" if len(texts) > _MOST_TOLD else ""
    return ", ".join(texts[:_MOST_TOLD]) + more
