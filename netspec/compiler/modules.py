"""Files and their imports: each file read once, blocks found by name, nothing outside the tree.

The tree is the folder of the file that was named on the command line; an import that leaves it, by
`..` or through a symbolic link, is an error before anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from netspec.compiler import syntax
from netspec.compiler.parse import parse, read_source
from netspec.diagnostics import (
    Diagnostic,
    DiagnosticSink,
    Edit,
    Hint,
    Label,
    NetspecError,
    Source,
    Span,
    suggest,
)

MAX_FILES = 200
MAX_IMPORTS_DEEP = 32
MAX_PATH = 200


@dataclass
class Module:
    """One file: its nets, and the blocks that can be called in it, with the files they live in.

    `missing` are the names of imports that failed: their calls are not reported again.
    """

    source: Source
    nets: dict[str, syntax.Net] = field(default_factory=dict)
    blocks: dict[str, tuple[syntax.Block, Module]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)


class Loader:
    """Reads a file and what it imports.

    `overrides` gives other texts for some sources, by name: the compiler tries its hints with it.
    """

    def __init__(
        self, root: Path | None, sink: DiagnosticSink, overrides: Mapping[str, str] | None = None
    ) -> None:
        self.root = root.resolve() if root is not None else None
        self.sink = sink
        self.overrides = overrides or {}
        self.modules: dict[Path, Module] = {}
        self.open: list[Path] = []

    def load(self, path: Path, shown_as: str) -> Module:
        """The module of a file.

        Raises:
            NetspecError: if the file or one that it imports cannot be read or parsed.
        """
        key = path.resolve()
        if key not in self.modules:
            override = self.overrides.get(shown_as)
            source = read_source(path, shown_as) if override is None else Source(shown_as, override)
            self.open.append(key)
            self.modules[key] = self.module(source, path.parent)
            self.open.pop()
        return self.modules[key]

    def module(self, source: Source, folder: Path | None) -> Module:
        """The module of a source; `folder` is where its imports start."""
        if source.name in self.overrides:
            source = Source(source.name, self.overrides[source.name])
        module = Module(source)
        places: dict[str, Span] = {}
        for definition in parse(source).definitions:
            if isinstance(definition, syntax.Import):
                for name, block, home in self._imported(definition, folder, module):
                    if self._is_new(name, places):
                        module.blocks[name.id] = (block, home)
            elif not isinstance(definition, syntax.Version) and self._is_new(
                definition.name, places
            ):
                self._check_case(definition)
                if isinstance(definition, syntax.Net):
                    module.nets[definition.name.id] = definition
                else:
                    module.blocks[definition.name.id] = (definition, module)
        return module

    def _is_new(self, name: syntax.Name, places: dict[str, Span]) -> bool:
        if name.id in places:
            earlier = (Label(places[name.id], "already here"),)
            self._error("name/twice", f"`{name.id}` is defined twice", name.span, secondary=earlier)
            return False
        places[name.id] = name.span
        return True

    def _check_case(self, definition: syntax.Net | syntax.Block) -> None:
        """Nets and blocks become classes: PascalCase, which also keeps them apart from layers."""
        name = definition.name
        if name.id[0].isupper():
            return
        better = "".join(part[:1].upper() + part[1:] for part in name.id.split("_")) or "Net"
        kind = "net" if isinstance(definition, syntax.Net) else "block"
        edits = (Edit(name.span, better),) if kind == "net" and better[0].isupper() else ()
        hint = Hint(f"call it `{better}`", edits)
        message = f"the name of a {kind} starts with a capital, like the class it becomes"
        self._error("name/case", message, name.span, hints=(hint,))

    def _imported(
        self, statement: syntax.Import, folder: Path | None, module: Module
    ) -> list[tuple[syntax.Name, syntax.Block, Module]]:
        home = self._target(statement, folder)
        if home is None:
            module.missing.update(name.id for name in statement.names)
            return []
        own = {name: block for name, (block, module) in home.blocks.items() if module is home}
        found = []
        for name in statement.names:
            if name.id in own:
                found.append((name, own[name.id], home))
                continue
            meant = suggest(name.id, own)
            module.missing.update((name.id, meant or name.id))
            hints = (Hint(f"did you mean `{meant}`?", (Edit(name.span, meant),)),) if meant else ()
            what = "is a net; only blocks are imported" if name.id in home.nets else "is not there"
            message = f"`{name.id}` {what}"
            notes = (f"{home.source.name} defines {', '.join(own) or 'no blocks'}",)
            self._error("import/name", message, name.span, hints=hints, notes=notes)
        return found

    def _target(self, statement: syntax.Import, folder: Path | None) -> Module | None:
        span = statement.path_span
        if folder is None or self.root is None:
            self._error("import/path", "text that is in no file has nothing to import from", span)
            return None
        relative = Path(statement.path)
        usable = statement.path.endswith(".net") and len(statement.path) <= MAX_PATH
        if "\0" in statement.path or relative.is_absolute() or not usable:
            message = "an import names a .net file by its relative path"
            self._error("import/path", message, span)
            return None
        path = folder / relative
        resolved = path.resolve()
        if not resolved.is_relative_to(self.root):
            message = f"{statement.path} lies outside the folder of the net"
            notes = ("only files in that folder and below can be imported",)
            self._error("import/outside", message, span, notes=notes)
            return None
        if resolved in self.open:
            self._error("import/cycle", f"{statement.path} imports this file in turn", span)
            return None
        if len(self.modules) + len(self.open) >= MAX_FILES:
            self._error("limit/files", f"more than {MAX_FILES} files", span)
            return None
        if len(self.open) >= MAX_IMPORTS_DEEP:
            self._error("limit/files", f"imports lead more than {MAX_IMPORTS_DEEP} deep", span)
            return None
        if not resolved.is_file():
            self._error("import/missing", f"there is no file {statement.path}", span)
            return None
        shown = Path(span.source.name).parent / relative
        try:
            return self.load(path, shown.as_posix())
        except NetspecError as error:
            for diagnostic in error.diagnostics:
                self.sink.add(diagnostic)
            return None

    def _error(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        secondary: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        hints: tuple[Hint, ...] = (),
    ) -> None:
        self.sink.add(
            Diagnostic("error", code, message, span, secondary=secondary, notes=notes, hints=hints)
        )
