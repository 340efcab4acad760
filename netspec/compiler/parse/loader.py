"""Loads files and their imports.

Each file is read once, blocks are found by name, and nothing outside the tree is read.

The tree is the folder of the file that was named on the command line. An import that leaves it, by
`..` or through a symbolic link, is an error before anything is read. Links inside the tree are
followed: a file is identified by its real path relative to the tree, and its own imports start
there.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

from netspec import codes
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.compiler.parse import MAX_FILE_BYTES, parse, read_source
from netspec.compiler.parse.shape_comments import ShapeComment, shape_comments
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.allow_comments import Silenced, allowed_codes, silenced
from netspec.diagnostics import (
    Code,
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

if TYPE_CHECKING:
    from netspec.compiler.parse import op_files

MAX_FILES = 200
MAX_IMPORTS_DEEP = 32
MAX_PATH = 200
# So many names that are not there are compared with those that are; so many of these are listed.
_GUESSES, _LISTED = 100, 40


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


@dataclass(eq=False, repr=False)
class Module:
    """One file: its nets, and the blocks that can be called in it, each with the module that
    defines it.

    `place` is the real path of the file in the tree of folders, `tree` its syntax. `linked` has an
    edit for each import that leads through a symbolic link, which replaces its path by the real
    one. `missing` are the names of imports that failed: calls of them are not reported again. `ops`
    are the ops that can be called, by name: netspec's own and those that it uses; if it `lacks_ops`
    that it uses, names that are unknown may be theirs, and are not reported. `names_in` keeps the
    names in parts of the tree that are asked for each time the net is built.
    """

    source: Source
    place: PurePosixPath = PurePosixPath()
    tree: syntax.File | None = None
    nets: dict[str, syntax.Net] = field(default_factory=dict)
    blocks: dict[str, tuple[syntax.Block, Module]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    ops: Mapping[str, type[Op]] = field(default_factory=registry)
    lacks_ops: bool = False
    shape_comments: Mapping[object, ShapeComment] = field(default_factory=dict)
    linked: list[Edit] = field(default_factory=list)
    names_in: dict[object, frozenset[str]] = field(default_factory=dict)

    def sources(self) -> list[Source]:
        """Return its own source, then those of the files that its blocks come from, each once."""
        return [module.source for module in self.modules()]

    def modules(self) -> list[Module]:
        """Return itself, then the modules that its blocks come from, and theirs in turn, each once."""
        seen = {id(self): self}
        pending = [self]
        for module in pending:
            for _, home in module.blocks.values():
                if id(home) not in seen:
                    seen[id(home)] = home
                    pending.append(home)
        return list(seen.values())

    def text_without_links(self) -> str:
        """Return its text, with the real path of the file in every import.

        So it has the same meaning in a copy of the files in which no symbolic link is left.
        """
        text = self.source.text
        for edit in sorted(self.linked, key=lambda edit: -edit.span.start):
            text = text[: edit.span.start] + edit.replacement + text[edit.span.end :]
        return text


class Loader:
    """Loads a file and what it imports.

    `overrides` replaces the texts of some sources, by name: the compiler uses it to try its hints.
    `buffers` are the texts of files that an editor has not saved, by their real paths.
    `parsed` is the tree of a source that was parsed before.
    `text_size` counts the characters of all these files: those that a file imports are read before
    one of them is parsed, so that what is too large together is refused soon. `silenced` are the
    warnings that the comments of all these files silence, and `allowed` the spans of the codes in
    those comments.
    """

    def __init__(
        self,
        root: Path | None,
        sink: DiagnosticSink,
        overrides: Mapping[str, str] | None = None,
        buffers: Mapping[Path, str] | None = None,
        parsed: syntax.File | None = None,
    ) -> None:
        self.root = Path(os.path.realpath(root)) if root is not None else None
        self.shown_root = Path()
        self.sink = sink
        self.guesses = _GUESSES
        self.overrides = overrides or {}
        self.buffers = buffers or {}
        self.parsed = parsed
        self.sources: dict[Path, Source] = {}
        self.modules: dict[Path, Module] = {}
        self.failed: set[Path] = set()  # the files whose errors were reported
        self.named: set[Path] = set()  # the files that imports name, whether or not they exist
        self._listed: dict[Path, list[str]] = {}
        self.text_size = 0
        self.open: list[Path] = []
        self.silenced: list[Silenced] = []
        self.allowed: list[Span] = []

    def load(self, path: Path, shown_as: str) -> Module:
        """Return the module of a file.

        Raises:
            NetspecError: if the file or one that it imports cannot be read or parsed.
        """
        try:
            key = Path(os.path.realpath(path))
        except ValueError:  # the path has a NUL in it, which reading it reports
            key = path
        if key not in self.modules:
            self.shown_root = Path(shown_as).parent
            source = self._source(path, shown_as, None)
            self._count(source)
            self.sources[key] = source
            self._keep(key, path.parent, PurePosixPath(path.name))
        return self.modules[key]

    def _source(self, path: Path, shown_as: str, root: Path | None) -> Source:
        text = self.overrides.get(shown_as, self.buffers.get(path))
        return read_source(path, shown_as, root) if text is None else Source(shown_as, text)

    def _keep(self, key: Path, folder: Path, place: PurePosixPath) -> None:
        self.open.append(key)
        try:
            self.modules[key] = self.module(self.sources[key], folder, place)
        finally:
            self.open.pop()

    def module(
        self, source: Source, folder: Path | None, place: PurePosixPath | None = None
    ) -> Module:
        """Return the module of a source. `folder` is where its imports start."""
        if source.name in self.overrides:
            source = Source(source.name, self.overrides[source.name])
        if place is None:  # this is the text that was asked for, not an imported one
            self.shown_root = Path(source.name).parent
            place = PurePosixPath(Path(source.name).name)
            self._count(source)
        module = Module(source, place)
        places: dict[str, Span] = {}
        is_parsed = self.parsed is not None and self.parsed.source is source
        module.tree = tree = self.parsed if self.parsed and is_parsed else parse(source)
        module.shape_comments = shape_comments(tree)
        self.silenced += silenced(tree)
        self.allowed += allowed_codes(tree)
        imports = [d for d in tree.definitions if isinstance(d, syntax.Import)]
        places_of = {id(d): self._place_read(d, folder, module) for d in imports}
        uses = [d for d in tree.definitions if isinstance(d, syntax.Use)]
        if uses:
            self._use(uses, module)
        for definition in tree.definitions:
            if isinstance(definition, syntax.Import):
                for name, block, home in self._imported(
                    definition, places_of[id(definition)], module
                ):
                    if self._is_new(name, places):
                        module.blocks[name.id] = (block, home)
            elif isinstance(definition, (syntax.Net, syntax.Block)) and self._is_new(
                definition.name, places
            ):
                self._check_case(definition)
                if isinstance(definition, syntax.Net):
                    module.nets[definition.name.id] = definition
                else:
                    module.blocks[definition.name.id] = (definition, module)
        return module

    def _use(self, uses: Sequence[syntax.Use], module: Module) -> None:
        """Give a module the ops of the files and packages that it uses."""
        own: dict[str, type[Op]] = {}
        module.ops = ChainMap(own, cast("dict[str, type[Op]]", registry()))  # it is only read
        files: dict[str, syntax.Use] = {}
        homes: dict[str, syntax.Use] = {}
        for use in uses[:MAX_FILES]:
            if use.name in files:
                self._report_twice(f"`{use.name}`", use, files[use.name])
                continue
            files[use.name] = use
            found = self._used_file(use)
            if found is None:
                module.lacks_ops = True
                continue
            for name, op in found.ops.items():
                if name in homes:
                    self._report_twice(f"an op called `{name}`", use, homes[name])
                else:
                    own[name] = op
                    homes[name] = use
        if len(uses) > MAX_FILES:
            module.lacks_ops = True
            message = f"a file uses at most {MAX_FILES} files of ops"
            self._report(codes.LIMIT_FILES, message, uses[MAX_FILES].name_span)

    def _report_twice(self, what: str, use: syntax.Use, earlier: syntax.Use) -> None:
        label = (Label(earlier.name_span, "already here"),)
        self._report(codes.USE_TWICE, f"{what} is used twice", use.name_span, secondary=label)

    @cached_property
    def _installed(self) -> op_files.Installed:
        """The packages that all files may use; most use none, and do not import what lists them."""
        from netspec.compiler.parse import op_files

        return op_files.Installed()

    def _used_file(self, use: syntax.Use) -> op_files.OpFile | None:
        """Return what a `use` names. It is None if it was reported as an error."""
        from netspec.compiler.parse import op_files

        span, name = use.name_span, use.name
        try:
            found = op_files.op_file(name, self._installed)
        except NetspecError as error:
            (only,) = error.diagnostics
            self._report(only.code, only.message, span)
            return None
        if found is not None:
            return found
        plain = PurePosixPath(name).name
        if name.endswith(".py") and name != plain:
            better = f'"{plain}"'
            hint = Hint(f"write `{better}`: --ops says in which folder", (Edit(span, better),))
            message = "`use` names a file of ops without its folder"
            self._report(codes.USE_NAME, message, span, hints=(hint,))
            return None
        meant = op_files.meant_by(name, self._installed)
        edits = () if meant is None else (Edit(span, f'"{meant}"'),)
        hints = (Hint(f"did you mean `{meant}`?", edits),) if meant is not None else ()
        if name.endswith(".py"):
            message = f"{name} is Python code, which a file alone cannot run"
            notes = (f"--ops {name} on the command line, or netspec.load_ops in Python, allows it",)
            self._report(codes.USE_NOT_ALLOWED, message, span, hints=hints, notes=notes)
        else:
            message = f"no installed package declares ops as `{name}`"
            self._report(codes.USE_NAME, message, span, hints=hints)
        return None

    def _count(self, source: Source) -> None:
        """Add a text to those that were read.

        Raises:
            NetspecError: `limit/file-size` if they are too large together.
        """
        self.text_size += len(source.text)
        if self.text_size > MAX_FILE_BYTES:
            message = f"{source.name} and the files read before it are larger than "
            raise NetspecError.simple(
                codes.LIMIT_FILE_SIZE, f"{message}{MAX_FILE_BYTES // 1024} KiB together"
            )

    def _is_new(self, name: syntax.Name, places: dict[str, Span]) -> bool:
        if name.id in places:
            earlier = (Label(places[name.id], "already here"),)
            self._report(
                codes.NAME_TWICE, f"`{name.id}` is defined twice", name.span, secondary=earlier
            )
            return False
        places[name.id] = name.span
        return True

    def _check_case(self, definition: syntax.Net | syntax.Block) -> None:
        """Report a net or block whose name is not in PascalCase.

        It becomes the name of a class; the case also distinguishes it from layers.
        """
        name = definition.name
        if name.id[0].isupper():
            return
        better = "".join(part[:1].upper() + part[1:] for part in name.id.split("_")) or "Net"
        kind = "net" if isinstance(definition, syntax.Net) else "block"
        edits = _renamed(name, better) if kind == "block" else (Edit(name.span, better),)
        edits = edits if better[0].isupper() else ()
        hint = Hint(f"call it `{better}`", edits)
        message = f"the name of a {kind} starts with a capital, like the class it becomes"
        self._report(codes.NAME_CASE, message, name.span, hints=(hint,))

    def _imported(
        self, statement: syntax.Import, place: PurePosixPath | None, module: Module
    ) -> list[tuple[syntax.Name, syntax.Block, Module]]:
        home = self._loaded(place)
        if home is None:
            module.missing.update(name.id for name in statement.names)
            return []
        own = {name: block for name, (block, module) in home.blocks.items() if module is home}
        found = []
        for name in statement.names:
            if name.id in own:
                found.append((name, own[name.id], home))
                continue
            self.guesses -= 1
            meant = suggest(name.id, own) if self.guesses >= 0 else None
            module.missing.update((name.id, meant or name.id))
            hints = (Hint(f"did you mean `{meant}`?", _renamed(name, meant)),) if meant else ()
            what = "is a net; only blocks are imported" if name.id in home.nets else "is not there"
            message = f"`{name.id}` {what}"
            notes = (f"{home.source.name} defines {_listed(list(own)) or 'no blocks'}",)
            self._report(codes.IMPORT_NAME, message, name.span, hints=hints, notes=notes)
        return found

    def _place(self, statement: syntax.Import, folder: Path | None) -> PurePosixPath | None:
        """Return the path in the tree of the file that an import names, whether or not it exists.

        It is None if the import was reported as an error.
        """
        span = statement.path_span
        if folder is None or self.root is None:
            self._report(codes.IMPORT_PATH, "text that is not in a file cannot import", span)
            return None
        relative = Path(statement.path)
        usable = statement.path.endswith(".net") and len(statement.path) <= MAX_PATH
        if "\0" in statement.path or relative.is_absolute() or not usable:
            message = "an import names a .net file by its relative path"
            is_short = len(statement.path) <= MAX_PATH and statement.path.isprintable()
            better = f'"{relative.as_posix()}.net"'
            hint = Hint(f"write `{better}`", (Edit(span, better),))
            self._report(codes.IMPORT_PATH, message, span, hints=(hint,) if is_short else ())
            return None
        resolved = Path(os.path.realpath(folder / relative))  # no error for a link to itself
        if not resolved.is_relative_to(self.root):
            message = f"{statement.path} lies outside the folder of the net"
            notes = ("only files in that folder and below can be imported",)
            self._report(codes.IMPORT_OUTSIDE, message, span, notes=notes)
            return None
        return PurePosixPath(resolved.relative_to(self.root).as_posix())

    def _loaded(self, place: PurePosixPath | None) -> Module | None:
        """Return the module of a file that was read; None if it has errors, which are reported."""
        if place is None or self.root is None:
            return None
        key = self.root / place
        if key in self.failed:
            return None
        if key not in self.modules:
            try:
                self._keep(key, key.parent, place)
            except NetspecError as error:
                self.failed.add(key)
                self._add(error)
                return None
        return self.modules[key]

    def _place_read(
        self, statement: syntax.Import, folder: Path | None, module: Module
    ) -> PurePosixPath | None:
        """Return the path in the tree of the file that an import names, which is then read.

        It is None if the import was reported as an error.

        Raises:
            NetspecError: if the files are too large together.
        """
        place = self._place(statement, folder)
        if place is None or self.root is None:
            return None
        span, resolved = statement.path_span, self.root / place
        if resolved in self.open:
            self._report(codes.IMPORT_CYCLE, f"{statement.path} imports this file in turn", span)
            return None
        self.named.add(resolved)
        if len(self.named) >= MAX_FILES and resolved not in self.sources:
            self._report(codes.LIMIT_FILES, f"more than {MAX_FILES} files", span)
            return None
        if len(self.open) >= MAX_IMPORTS_DEEP:
            self._report(codes.LIMIT_FILES, f"imports lead more than {MAX_IMPORTS_DEEP} deep", span)
            return None
        if resolved not in self.buffers and not resolved.is_file():
            meant = suggest(resolved.name, self._files_in(resolved.parent))
            better = f'"{Path(statement.path).with_name(meant or resolved.name).as_posix()}"'
            hint = Hint(f"did you mean `{better}`?", (Edit(span, better),))
            message = f"there is no file {statement.path}"
            self._report(codes.IMPORT_MISSING, message, span, hints=(hint,) if meant else ())
            return None
        relative = Path(statement.path).as_posix()
        shown = Path(span.source.name).parent / relative
        if posixpath.normpath(module.place.parent / relative) != str(place):
            direct = posixpath.relpath(f"/{place}", f"/{module.place.parent}")
            if not _can_be_written(direct):
                message = f"{statement.path} leads to a file that an import could not name: {place}"
                self._report(codes.IMPORT_PATH, message, span)
                return None
            module.linked.append(Edit(span, f'"{direct}"'))
            shown = self.shown_root / place
        return place if self._read(resolved, shown.as_posix()) else None

    def _read(self, key: Path, shown_as: str) -> bool:
        """Read an imported file, unless it was read. Returns whether there was no error.

        Raises:
            NetspecError: if the files are too large together.
        """
        if key not in self.sources:
            try:
                # The path may have become a link: opening it fails if it leads out of the root.
                source = self._source(key, shown_as, self.root)
            except NetspecError as error:
                self._add(error)
                return False
            self._count(source)
            self.sources[key] = source
        return True

    def _files_in(self, folder: Path) -> list[str]:
        """Return the `.net` files of a folder, which an import could have meant; none if it cannot
        be listed.
        """
        if folder not in self._listed:
            try:
                paths = list(islice(folder.iterdir(), 1000))
            except OSError:
                paths = []
            self._listed[folder] = [path.name for path in paths if path.suffix == ".net"]
        return self._listed[folder]

    def _add(self, error: NetspecError) -> None:
        for diagnostic in error.diagnostics:
            self.sink.add(diagnostic)

    def _report(
        self,
        code: Code,
        message: str,
        span: Span,
        *,
        secondary: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        hints: tuple[Hint, ...] = (),
    ) -> None:
        self.sink.add(
            Diagnostic(code, message, span, secondary=secondary, notes=notes, hints=hints)
        )


def _can_be_written(path: str) -> bool:
    """Whether an import can say this path, as it is, between its quotes."""
    return (
        path.endswith(".net")
        and len(path) <= MAX_PATH
        and not set(path) & set('"\\')
        and path.isprintable()
    )


def _renamed(name: syntax.Name, meant: str) -> tuple[Edit, ...]:
    """Return the edits that rename a block, in its import and where it is called."""
    source = name.span.source
    calls = re.compile(rf"(?:(?<=-> )|(?<=: )){name.id}\b|\b{name.id}(?=\()")
    spans = [Span(source, *match.span()) for match in calls.finditer(source.text)]
    return tuple(Edit(span, meant) for span in dict.fromkeys((name.span, *spans)))
