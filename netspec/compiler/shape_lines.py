"""Writes the shapes of a file down, as comments behind the lines on which a stage ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from netspec import codes
from netspec.compiler.analysis.stage_shapes import StageShape, stage_shapes
from netspec.compiler.driver import Compilation, Request, compile_untried
from netspec.compiler.fmt.formatter import formatted
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.ir.sizes import Dim
from netspec.compiler.parse import parse
from netspec.compiler.passes.layer_limit import require_few_shapes
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import NetspecError, Source, Span

_ANY = "_"


def with_shapes(request: Request) -> str:
    """Return the text of a request in canonical style, with a shape comment behind each line on which
    a stage ends, unless the line has a comment.

    In a block that is called with several shapes, a size that differs is written as `_`.

    Args:
        request: what to write; it must have a `source`.

    Raises:
        NetspecError: with the errors of the file; `limit/layers`.
    """
    source = request.source
    assert source is not None
    tree = parse(source)
    # Each of these ends a line in canonical style; most of the time comes behind this.
    require_few_shapes(source.name, _chains(tree), _first(tree))
    tree = formatted(tree)
    source = tree.source
    result = compile_untried(replace(request, source=source, tree=tree))
    if result.errors:
        raise NetspecError(result.errors)
    comments = dict(_comments(result))
    require_few_shapes(source.name, len(comments), _first(tree))
    while comments:
        lines = source.text.split("\n")
        for line, comment in comments.items():
            lines[line - 1] += f"  # {comment}"
        # In canonical style still: what stands behind a line moves nothing.
        tree = parse(Source(source.name, "\n".join(lines)))
        wrong = _wrong(replace(request, source=tree.source, tree=tree), result)
        if not wrong:
            return tree.source.text
        # A comment that would be about another value than the stage on its line, or would say
        # nothing there, is left out.
        kept = {line: each for line, each in comments.items() if each not in wrong}
        comments = kept if len(kept) < len(comments) else {}
    return source.text


def _first(tree: syntax.File) -> Span | None:
    """Return where the file's first net or block is."""
    return tree.definitions[0].span if tree.definitions else None


def _chains(tree: syntax.File) -> int:
    """Return how many statements name, or put out, what a chain of layers gives."""
    bodies = [d.body for d in tree.definitions if isinstance(d, syntax.Net | syntax.Block)]
    statements = (each for body in bodies for each in syntax.nested(body))
    named = (each.value for each in statements if isinstance(each, syntax.Assign | syntax.Output))
    return sum(isinstance(value, syntax.Pipeline) for value in named)


def _comments(result: Compilation) -> Iterator[tuple[int, str]]:
    """Yield the lines that can have a comment, each with what it says."""
    module = result.module
    assert module is not None
    tree = module.tree
    assert tree is not None
    blocks = [d.span for d in tree.definitions if isinstance(d, syntax.Block)]
    for shape in stage_shapes(module, result.given):
        end = shape.span.end
        line, column = module.source.position(end)
        if module.source.line(line)[column - 1 :].strip():
            continue
        in_block = any(span.start <= end <= span.end for span in blocks)
        text = _text(shape, names=not in_block)
        if text is not None:
            yield line, text


def _text(shape: StageShape, *, names: bool) -> str | None:
    """Return a shape as a comment says it, None if it would say nothing.

    `names` says whether the sizes that a net leaves open have names here.
    """
    shapes = [case[0][0] for case in shape.types if len(case) == 1]
    if len(shapes) != len(shape.types) or len({len(each) for each in shapes}) != 1:
        return None
    sizes = [_size([each[axis] for each in shapes], names=names) for axis in range(len(shapes[0]))]
    return f"[{', '.join(sizes)}]" if any(size != _ANY for size in sizes) else None


def _size(sizes: Sequence[Dim], *, names: bool) -> str:
    first = sizes[0]
    if any(size != first for size in sizes) or not (names or isinstance(first, int)):
        return _ANY
    return size_text(first)


def _wrong(request: Request, before: Compilation) -> set[str]:
    """Return the new comments that the compiler warns of, or that break the file."""
    after = compile_untried(request)
    known = {(d.code, d.message) for d in before.diagnostics}
    found = set()
    for d in after.diagnostics:
        if (d.code, d.message) in known:
            continue
        spans = [label.span for label in d.secondary] if d.code == codes.SHAPE_COMMENT else [d.span]
        found |= {
            span.text if span.text.startswith("[") else _whole(span) for span in spans if span
        }
    return found


def _whole(span: Span) -> str:
    """Return the comment behind the line of a span."""
    line = span.source.line(span.line)
    return line[line.rindex("[") :].rstrip() if "[" in line else line
