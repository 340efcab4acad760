"""Runs the steps from a file to checked graphs, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.compiler.analysis.allowed_codes import misspelt_codes
from netspec.compiler.analysis.lint import lint
from netspec.compiler.analysis.unused_imports import unused_imports
from netspec.compiler.elaborate.inputs import open_sizes
from netspec.compiler.elaborate.net import build, check_block, sketch
from netspec.compiler.elaborate.net_builder import MAX_ERRORS, MAX_WORK, Assembly
from netspec.compiler.elaborate.sketch import Sketch, ValueTypes
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.graph import Graph
from netspec.compiler.parse.loader import Loader, Module
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.allow_comments import is_allowed
from netspec.diagnostics import (
    Diagnostic,
    DiagnosticSink,
    Edit,
    Hint,
    NetspecError,
    Source,
    Span,
    in_order,
    suggest,
)
from netspec.records import record

# Trying a hint compiles the file again. All trials of a run together may cost as much as compiling
# this many expressions (about a quarter of a second). A character of text costs half an expression, and
# a syntax error `SLIP_COST` expressions.
MAX_TRIAL_COST = 20_000
SLIP_COST = 200
MAX_TRIALS = 60
MAX_HINTS = 2


@dataclass
class Compilation:
    """The result of checking a file: a graph for each net without errors, and the diagnostics in
    order of place.

    `sketches` are what is known of each net, also of those with errors.
    `unsaid` are diagnostics that only follow from a guess; they are not to be shown. `text_size` is
    the number of characters that were read, those of imported files included; `imports` are the real
    paths that the imports name, whether or not there is such a file.
    """

    module: Module | None = None
    graphs: dict[str, Graph] = field(default_factory=dict)
    sketches: dict[str, Sketch] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    unsaid: tuple[Diagnostic, ...] = ()
    work: int = 0
    text_size: int = 0
    imports: frozenset[Path] = frozenset()

    @cached_property
    def given(self) -> Mapping[object, tuple[ValueTypes, ...]]:
        """What each expression and stage of the files gave, by its node in the tree, in any net."""
        found: dict[object, dict[ValueTypes, None]] = {}
        for known in self.sketches.values():
            for node, types in known.given.items():
                found.setdefault(node, {}).update(dict.fromkeys(types))
        return {node: tuple(types) for node, types in found.items()}

    @property
    def errors(self) -> list[Diagnostic]:
        """The diagnostics that are errors."""
        return [d for d in self.diagnostics if d.severity == "error"]


@dataclass
class TrialBudget:
    """What trials may take: how many there may be, and their cost together."""

    left: int = MAX_TRIALS
    cost: int = MAX_TRIAL_COST

    @classmethod
    def of_changes(cls) -> TrialBudget:
        """Return what may be tried where changes are asked for: as much as in four checks."""
        return cls(4 * MAX_TRIALS, 4 * MAX_TRIAL_COST)

    def allows(self, result: Compilation) -> bool:
        """Whether the file of a result may be compiled once more, with a change."""
        return self.left > 0 and self.cost >= _trial_cost(result)

    def spend(self, result: Compilation, changed: Compilation) -> None:
        """Count a trial of a change, and what it gave."""
        self.left -= 1
        self.cost -= max(_trial_cost(result), changed.work)


def _trial_cost(result: Compilation) -> int:
    slips = sum(d.code.startswith("syntax/") for d in result.diagnostics)
    reads = 3 if slips else 1  # code that explains syntax errors reads a text again
    return result.work + reads * result.text_size // 2 + slips * SLIP_COST


@record
class Request:
    """What to compile: a file or a text, which net of it, and with which arguments.

    `tree` is that of the text, where it was parsed before. `folder` is where the imports of a text
    start. Without it a text cannot import anything. `buffers` are the texts of imported files that an
    editor has not saved, by their real paths.
    """

    path: Path | None = None
    source: Source | None = None
    tree: syntax.File | None = None
    folder: Path | None = None
    net: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    buffers: Mapping[Path, str] = field(default_factory=dict)


def written(result: Compilation, request: Request, net: str) -> Written:
    """Return what a net without errors was built from: its definition, its module and its
    arguments.
    """
    assert result.module is not None
    definition = result.module.nets[net]
    known = _arguments_of(definition)
    given = {name: value for name, value in request.arguments.items() if name in known}
    return Written(definition, result.module, given)


def compile_request(request: Request) -> Compilation:
    """Check a file. Mistakes in the file never raise; they are in `.diagnostics`."""
    return with_tried_hints(request, compile_untried(request))


def compile_untried(request: Request) -> Compilation:
    """Check a file without trying its hints, which takes most of the time of a file with mistakes.

    The hints of its diagnostics are not to be shown before `with_tried_hints` has seen them.
    """
    result = _compile(request, {})
    result.diagnostics = in_order(result.diagnostics)
    return result


def with_tried_hints(
    request: Request, result: Compilation, budget: TrialBudget | None = None
) -> Compilation:
    """Return the result of `compile_untried` with only those edits in its hints that help.

    `budget` is what is left for trials, by default all that a run may take.
    """
    if not any(d.hints for d in result.diagnostics):
        return result
    tried = _tried(request, result, TrialBudget() if budget is None else budget)
    return replace(result, diagnostics=in_order(tried))


def select(result: Compilation, net: str | None) -> Graph:
    """Return the one graph that was asked for.

    Raises:
        NetspecError: with the file's errors, or if it is not clear which net is meant.
    """
    if result.errors:
        raise NetspecError(result.errors)
    if net is not None:
        return result.graphs[net]
    if len(result.graphs) == 1:
        return next(iter(result.graphs.values()))
    assert result.module is not None
    name = result.module.source.name
    if not result.graphs:
        raise NetspecError.simple(codes.FILE_NO_NET, f"{name} has no net")
    names = ", ".join(result.graphs)
    raise NetspecError.simple(
        codes.FILE_SEVERAL_NETS, f"{name} has several nets: {names}", "name one with --net"
    )


def _compile(request: Request, overrides: Mapping[str, str]) -> Compilation:
    sink = DiagnosticSink()
    result = Compilation()
    folder = request.path.parent if request.path is not None else request.folder
    loader = Loader(folder, sink, overrides, request.buffers, request.tree)
    try:
        if request.path is not None:
            result.module = loader.load(request.path, str(request.path))
        else:
            assert request.source is not None
            result.module = loader.module(request.source, folder)
        _build_nets(request, result, sink)
        if not sink.errors:  # a misspelt call would leave an import without use
            for warning in unused_imports(result.module):
                sink.add(warning)
        for warning in misspelt_codes(loader.allowed):
            sink.add(warning)
    except NetspecError as error:
        for diagnostic in error.diagnostics:
            sink.add(diagnostic)
    result.text_size = loader.text_size
    result.imports = frozenset(loader.named)
    result.diagnostics = tuple(
        d for d in sink.diagnostics if d.severity == "error" or not is_allowed(d, loader.silenced)
    )
    result.unsaid = tuple(sink.unsaid)
    return result


def _build_nets(request: Request, result: Compilation, sink: DiagnosticSink) -> None:
    module = result.module
    assert module is not None
    nets = _wanted_nets(request, module)
    if not nets and not module.blocks:
        if sink.errors:
            return
        raise NetspecError.simple(
            codes.FILE_NO_NET,
            f"{module.source.name} defines no net",
            "a net is written `net Name { ... }`, with an `input` and an `output` in it",
        )
    _check_arguments(request, nets)
    called: set[Span] = set()
    for name, net in nets.items():
        known = _arguments_of(net)
        arguments = {k: v for k, v in request.arguments.items() if k in known}
        graph, assembly = build(net, module, arguments, sink, result.work)
        result.work = assembly.work
        result.sketches[name] = sketch(net, assembly, is_whole=graph is not None)
        if graph is not None:
            _finish(graph, assembly, result, name)
        called |= assembly.called
        if assembly.work > MAX_WORK or len(sink.errors) >= MAX_ERRORS:
            return
    for block, home in module.blocks.values():
        if home is module and block.name.span not in called:
            # Each block has an assembly of its own: names that two of them share never meet in a
            # net.
            alone = Assembly(sink, work=result.work, called=called)
            check_block(block, module, alone)
            result.work = alone.work
            if alone.work > MAX_WORK or len(sink.errors) >= MAX_ERRORS:
                return


def _wanted_nets(request: Request, module: Module) -> Mapping[str, syntax.Net]:
    """Return all nets of a file, or only the one that was asked for."""
    if request.net is None:
        return module.nets
    if request.net not in module.nets:
        meant = suggest(request.net, module.nets)
        raise NetspecError.simple(
            codes.FILE_NO_SUCH_NET,
            f"{module.source.name} has no net {request.net}",
            f"did you mean {meant}?" if meant else f"it has {', '.join(module.nets) or 'none'}",
        )
    return {request.net: module.nets[request.net]}


def _finish(graph: Graph, assembly: Assembly, result: Compilation, name: str) -> None:
    lint(graph, assembly)
    result.graphs[name] = eliminate_dead(graph)


def _arguments_of(net: syntax.Net) -> set[str]:
    """Return the names that a caller can set: the net's arguments, and the sizes that it leaves
    open.
    """
    inputs = [s for s in net.body if isinstance(s, syntax.Input)]
    sizes = {name.id for s in inputs for name in open_sizes(s)}
    return sizes | {parameter.name.id for parameter in net.parameters}


def _check_arguments(request: Request, nets: Mapping[str, syntax.Net]) -> None:
    """Check that every argument is taken by some net.

    Raises:
        NetspecError: for an argument that no net has.
    """
    known = {name for net in nets.values() for name in _arguments_of(net)}
    for name, value in request.arguments.items():
        if name not in known:
            meant = suggest(name, known)
            raise NetspecError.simple(
                codes.CALL_UNKNOWN_ATTRIBUTE,
                f"{' and '.join(nets) or 'the file'} has no argument `{name}`",
                f"did you mean `{meant}`?" if meant else _how_to_take(name, value, known, nets),
            )


def _how_to_take(name: str, value: object, known: set[str], nets: Mapping[str, syntax.Net]) -> str:
    """Say what can be set, and how a file without arguments, as an import is, gets one."""
    if known:
        return f"it takes {', '.join(sorted(known))}"
    net = next(iter(nets), "NAME")
    return (
        f"it takes none: declare it as `net {net}({name} = {show(value)})`, with the number that the"
        f" file has now, and write `{name}` where that number stands"
    )


# ------------------------------------------------------------------------------------ trying hints


def _tried(request: Request, result: Compilation, budget: TrialBudget) -> list[Diagnostic]:
    """Return the diagnostics with only those edits that were tried and helped."""
    trials = _Trials(request, result, budget)
    tried = []
    for diagnostic in result.diagnostics:
        kept: list[Hint] = []
        changes = 0
        for hint in diagnostic.hints:
            if not hint.edits:
                kept.append(hint)
            elif changes < MAX_HINTS and (helpful := trials.helpful(diagnostic, hint)) is not None:
                kept.append(helpful)
                changes += 1
            elif hint.stands:
                kept.append(replace(hint, edits=()))
        hints = tuple(hint for hint in kept if not (hint.instead and changes))
        tried.append(replace(diagnostic, hints=hints))
    return tried


class _Trials:
    """Compiles the file with the edits of hints, for as long as the budget lasts."""

    def __init__(self, request: Request, result: Compilation, budget: TrialBudget) -> None:
        self.request = request
        self.result = result
        self.budget = budget
        self.before = _keys(result.diagnostics)

    def helpful(self, diagnostic: Diagnostic, hint: Hint) -> Hint | None:
        """Return a hint whose edits remove the error and bring no new one; else None.

        Where they make a text that can be parsed and has an error within what they wrote they are no
        help, and where it has one right beside or around they are a guess.
        """
        if not self.budget.allows(self.result):
            return None
        changed = _compile(self.request, _edited(hint.edits))
        self.budget.spend(self.result, changed)
        key = _key(diagnostic)
        mended = _keys(changed.diagnostics)[key] < self.before[key]
        if not mended or not _brings_no_error(changed, self.result):
            return None
        if changed.module is None or self.result.module is not None:
            return hint
        written = [*_written(hint.edits)]
        spans = [error.span for error in changed.errors if error.span is not None]
        if any(start <= a.start and a.end <= end for a in spans for start, end in written):
            return None
        beside = any(a.start <= end and start <= a.end for a in spans for start, end in written)
        return replace(hint, unsure=True) if beside else hint


def _written(edits: tuple[Edit, ...]) -> Iterator[tuple[int, int]]:
    """Yield where the texts that edits of one source write are in the changed one."""
    shift = 0
    for edit in sorted(edits, key=lambda e: e.span.start):
        start, text = edit.span.start + shift, edit.replacement
        shift += len(text) - (edit.span.end - edit.span.start)
        if text:
            yield start, start + len(text)


def is_better(after: Compilation, before: Compilation, *, warnings: bool) -> bool:
    """Whether a change removed a diagnostic and brought no new error.

    Args:
        after: the result of checking with the change.
        before: the result of checking without it.
        warnings: whether removing a warning counts.
    """
    if not _brings_no_error(after, before):
        return False
    if after.module is not None and before.module is None:
        return True
    counts = [len(side.diagnostics if warnings else side.errors) for side in (after, before)]
    # What was guessed at counts, too: a name put right brings the errors of its arguments to light.
    with_guesses = [n + len(side.unsaid) for n, side in zip(counts, (after, before), strict=True)]
    return counts[0] < counts[1] or (counts[0] == counts[1] and with_guesses[0] < with_guesses[1])


def removes_all(chosen: Iterable[Diagnostic], after: Compilation, before: Compilation) -> bool:
    """Whether changes for these diagnostics, made together in a file that could be parsed, removed each
    of them, and brought no new error.
    """
    if before.module is None or after.module is None or not _brings_no_error(after, before):
        return False
    left = _keys(before.diagnostics)
    left.subtract(map(_key, chosen))
    return all(count <= left[key] for key, count in _keys(after.diagnostics).items() if key in left)


def _brings_no_error(after: Compilation, before: Compilation) -> bool:
    """Whether there is no new error.

    A file that could not be parsed before always passes: its other mistakes only show once it can
    be.
    """
    if after.module is not None and before.module is None:
        return True
    return _keys(after.errors) <= _keys((*before.diagnostics, *before.unsaid))


def _keys(diagnostics: Iterable[Diagnostic]) -> Counter[tuple[str, str]]:
    return Counter(map(_key, diagnostics))


def _key(diagnostic: Diagnostic) -> tuple[str, str]:
    return diagnostic.code, diagnostic.message


def _edited(edits: tuple[Edit, ...]) -> dict[str, str]:
    """Return the full texts of the edited sources, by their names."""
    texts: dict[str, str] = {}
    for edit in sorted(edits, key=lambda e: e.span.start, reverse=True):
        name = edit.span.source.name
        text = texts.get(name, edit.span.source.text)
        texts[name] = text[: edit.span.start] + edit.replacement + text[edit.span.end :]
    return texts
