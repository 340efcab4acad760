"""Finds the blocks that a file imports and does not call."""

from __future__ import annotations

from collections.abc import Iterator

from netspec import codes
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic


def unused_imports(module: Module) -> Iterator[Diagnostic]:
    """Yield a warning for each block that is imported and never called, in whatever branch."""
    definitions = module.tree.definitions if module.tree is not None else ()
    imports = [d for d in definitions if isinstance(d, syntax.Import)]
    if not imports:
        return
    bodies = tuple(d for d in definitions if not isinstance(d, syntax.Import))
    called = {p.callee.id for p in syntax.parts(bodies) if isinstance(p, syntax.Call)}
    for statement in imports:
        for name in statement.names:
            if name.id in module.blocks and name.id not in called:
                message = f"`{name.id}` is never used"
                yield Diagnostic(codes.GRAPH_UNUSED, message, name.span)
