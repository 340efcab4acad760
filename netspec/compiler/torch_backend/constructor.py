"""Writes the constructor of a generated class: its arguments, and the modules in the order of the
file.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.class_ir import Assembled, BlockClass, Choice, Layer, Step, Use
from netspec.compiler.torch_backend.conditions import Condition
from netspec.compiler.torch_backend.containers import Chain, Unit
from netspec.compiler.torch_backend.expressions import as_module, literal, module_doc
from netspec.compiler.torch_backend.module_paths import Places, has_module
from netspec.compiler.torch_backend.naming import is_attribute, quote, safe_name
from netspec.compiler.torch_backend.python_layout import (
    Comprehension,
    Doc,
    Group,
    call,
    flat,
    prefixed,
    statement,
    tuple_of,
)
from netspec.diagnostics import Span

# At least this many children that differ by a constant step are written as a loop.
_LEAST_RUN = 3


class Constructor:
    """Writes the statements of one constructor.

    Attributes:
        tests: for each decision, the tests in `forward`: one expression for each case but the last.
    """

    def __init__(
        self, units: Sequence[Unit], places: Places, taken: set[str], arguments: Sequence[str]
    ) -> None:
        self.arguments = arguments
        self.places = places
        self.taken = taken
        self.tests: dict[Choice, list[str]] = {}
        self.made: set[str] = set()
        self.lines: list[str] = []
        self.makers = Counter(_made_paths(units))
        self._units(units, 2)

    def _units(self, units: Sequence[Unit], depth: int) -> None:
        for unit in units:
            if isinstance(unit, Choice):
                self._choice(unit, depth)
            elif not unit.reused and has_module(unit):
                self._holders(unit.path, depth)
                if isinstance(unit, Chain) and not unit.indexed:
                    doc = self.places.put(unit.path, "nn.Sequential()")
                    self.lines += statement(doc, depth)
                    self._fill_chain(unit, self.places.reach(unit.path), depth)
                    continue
                if isinstance(unit, Assembled):
                    self._assembled(unit, depth)
                    continue
                note = _note(unit)
                self.lines += statement(self._put(unit), depth, note=note)

    def _put(self, unit: Layer | Use | Chain) -> Doc:
        doc = child_doc(unit)
        if isinstance(unit, Layer) and unit.is_buffer:
            return self.places.put_buffer(unit.path, doc, saved=unit.is_saved)
        return self.places.put(unit.path, doc)

    def _assembled(self, unit: Assembled, depth: int) -> None:
        """Write a `nn.Sequential` that is made from a list, to which decisions append modules."""
        name = "layers"
        while name in self.arguments:
            name += "_"
        head = f"{name}: list[nn.Module] = "
        children = list(unit.children)
        plain = list(itertools.takewhile(lambda child: not isinstance(child, Choice), children))
        self.lines += statement(_list_doc(head, plain), depth)
        self._fill(name, children[len(plain) :], depth)
        doc = self.places.put(unit.path, call("nn.Sequential", f"*{name}"))
        self.lines += statement(doc, depth)

    def _fill(self, name: str, children: Sequence[Step], depth: int) -> None:
        """Append modules to a list."""
        for decides, group in itertools.groupby(children, lambda c: isinstance(c, Choice)):
            plain = list(group)
            if decides:
                for choice in plain:
                    assert isinstance(choice, Choice)
                    self._fill_by_case(name, choice, depth)
            elif len(plain) == 1:
                (child,) = plain
                doc = call(f"{name}.append", child_doc(child))  # type: ignore[arg-type]
                self.lines += statement(doc, depth, note=note_of(child.span))
            else:
                self.lines += statement(_list_doc(f"{name} += ", plain), depth)

    def _fill_by_case(self, name: str, choice: Choice, depth: int) -> None:
        shown = 0
        for at, (condition, steps) in enumerate(choice.cases):
            if len(choice.cases) == 2 and not steps:
                continue
            if len(choice.cases) == 2 and not shown:
                first = choice.cases[0][0]
                assert first is not None
                test = f"if {_text(first if at == 0 else first.negated())}"
            elif condition is None:
                test = "else"
            else:
                test = f"{'elif' if shown else 'if'} {_text(condition)}"
            shown += 1
            self.lines += statement(f"{test}:", depth)
            self._fill(name, steps, depth + 1)
            if not steps:
                self.lines += statement("pass", depth + 1)

    def _fill_chain(self, chain: Chain, target: str, depth: int) -> None:
        """Write the named children of a `nn.Sequential`, with a statement for each."""
        at = 0
        while at < len(chain.children):
            name, unit = chain.children[at]
            run = _run(chain, at)
            if run is not None:
                at += run.length
                added = call(f"{target}.add_module", run.name, run.doc)
                self.lines += statement(f"for i in range({run.length}):", depth)
                self.lines += statement(added, depth + 1, note=note_of(unit.span))
                continue
            at += 1
            plain = is_attribute(name)
            if isinstance(unit, Chain) and not unit.indexed and plain:
                self.lines += statement(f"{target}.{name} = nn.Sequential()", depth)
                self._fill_chain(unit, f"{target}.{name}", depth)
                continue
            note = _note(unit)
            doc = child_doc(unit)
            added = call(f"{target}.add_module", quote(name), doc)
            doc = prefixed(f"{target}.{name} = ", doc) if plain else added
            self.lines += statement(doc, depth, note=note)

    def _holders(self, path: str, depth: int) -> None:
        parts = path.split(".")
        for end in range(1, len(parts)):
            holder = ".".join(parts[:end])
            if holder not in self.made:
                self.made.add(holder)
                doc = self.places.put(holder, f"{self.places.holders[holder]}()")
                self.lines += statement(doc, depth)

    def _choice(self, choice: Choice, depth: int) -> None:
        holding = [any(_holds(u) for u in units) for _, units in choice.cases]
        condition = choice.cases[0][0]
        assert condition is not None
        if len(choice.cases) == 2 and holding.count(True) == 1:
            at = holding.index(True)
            first = next(u for u in choice.cases[at][1] if _holds(u))
            # The test uses one of the case's modules, whose attribute is None in the other case:
            # unless a case of another decision has a module of that name.
            if (
                not isinstance(first, Choice)
                and is_attribute(first.path)
                and self.makers[first.path] == 1
            ):
                path = first.path
                met = condition if at == 0 else condition.negated()
                self.lines += statement(f"if {met.text}:", depth)
                self._units(choice.cases[at][1], depth + 1)
                self.lines += statement("else:", depth)
                self.lines += statement(f"self.{path} = None", depth + 1)
                self.tests[choice] = [f"self.{path} is {'not ' if at == 0 else ''}None"]
                return
        name = self._free("case")
        self.lines += statement(f"self.{name} = {_case_number(choice)}", depth)
        several = len(choice.cases) > 2
        self.tests[choice] = [
            f"self.{name} == {i}" if several else f"self.{name}"
            for i in range(len(choice.cases) - 1)
        ]
        tests = self.tests[choice]
        shown = 0
        for at, (_, units) in enumerate(choice.cases):
            if not holding[at]:
                continue
            test = f"{'elif' if shown else 'if'} "
            if at < len(tests):
                test += tests[at]
            elif shown == at:
                test = "else"
            else:
                test += f"self.{name} == {at}" if several else f"not self.{name}"
            shown += 1
            self.lines += statement(f"{test}:", depth)
            self._units(units, depth + 1)

    def _free(self, word: str) -> str:
        number = 1
        while f"{word}{number}" in self.taken:
            number += 1
        self.taken.add(f"{word}{number}")
        return f"{word}{number}"


def _holds(unit: Unit) -> bool:
    """Whether the constructor writes anything for a unit, which it always does for a decision."""
    return isinstance(unit, Choice) or (not unit.reused and has_module(unit))


def _made_paths(units: Sequence[Unit]) -> Iterator[str]:
    """Yield the path of each module that the constructor makes, in whatever case."""
    for unit in units:
        if isinstance(unit, Choice):
            for _, inner in unit.cases:
                yield from _made_paths(inner)
        elif _holds(unit):
            yield unit.path


def _case_number(choice: Choice) -> str:
    conditions = [condition for condition, _ in choice.cases[:-1]]
    if len(conditions) == 1:
        return _text(conditions[0])
    parts = [f"{at} if {_text(condition)}" for at, condition in enumerate(conditions)]
    return " else ".join([*parts, str(len(conditions))])


def _text(condition: Condition | None) -> str:
    assert condition is not None
    assert condition.text is not None
    return condition.text


def _note(unit: Layer | Use | Chain) -> str:
    """Return a note with the place of a unit.

    A chain has none, because its children have notes, unless there is only one child.
    """
    if not isinstance(unit, Chain):
        return note_of(unit.span)
    alone = unit.indexed and len(unit.children) == 1
    return _note(unit.children[0][1]) if alone else ""


def note_of(span: Span) -> str:
    """Return a place such as `lenet.net:6`: the last part of the file's name, and the line."""
    name = span.source.file_name
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return f"{safe}:{span.line}"


def _list_doc(head: str, children: Sequence[Any]) -> Group:
    """Return a list of modules."""
    notes = tuple(note_of(child.span) for child in children)
    return Group(f"{head}[", tuple(map(child_doc, children)), "]", bool(children), notes)


def child_doc(unit: Layer | Use | Chain) -> Doc:
    """Return the expression that constructs a module."""
    if isinstance(unit, Use):
        return use_doc(unit.of, unit.given)
    if isinstance(unit, Chain):
        return _chain_doc(unit)
    if unit.torch.module is None and unit.parameters:
        if (shape := unit.parameters.get("")) is not None:
            array = call("torch.ones", *map(literal, shape))
            return array if unit.is_buffer else call("nn.Parameter", array)
        items = tuple(
            Group(f"{quote(name)}: nn.Parameter(", (call("torch.ones", *map(literal, shape)),))
            for name, shape in unit.parameters.items()
        )
        return call("nn.ParameterDict", Group("{", items, "}"))
    inner = unit.torch.module
    return module_doc(inner) if inner is not None else as_module(unit.torch)


def use_doc(of: BlockClass, given: dict[str, Any] | Any) -> Doc:
    """Return the construction of a block's class.

    Arguments with their default values are left out.
    """
    defaults = default_values(of.definition, of.symbols)
    docs: list[Doc] = []
    skipped = False
    for symbol in of.symbols:
        value = given[symbol]
        if (
            symbol in defaults
            and type(value) is type(defaults[symbol])
            and defaults[symbol] == value
        ):
            skipped = True
            continue
        text = literal(value)
        docs.append(f"{symbol}={flat(text)}" if skipped or symbol in defaults else text)
    return Group(f"{of.name}(", tuple(docs))


def default_values(definition: syntax.Net | syntax.Block, taken: Sequence[str]) -> dict[str, Any]:
    """Return the defaults of a block's arguments, as far as they are written out."""
    found: dict[str, Any] = {}
    for parameter in definition.parameters:
        default = parameter.default
        symbol = safe_name(parameter.name.id)
        if isinstance(default, syntax.Literal) and symbol in taken:
            if default.value is not None:
                found[symbol] = default.value
        elif symbol in taken:
            found.clear()  # a default may not precede an argument without one
    return found


# ----------------------------------------------------------------------------------------- chains


def sequential_lines(chain: Chain) -> list[str]:
    """Return the constructor of a class that is itself a `nn.Sequential`."""
    doc = _chain_doc(chain)
    assert isinstance(doc, Group)
    return statement(Group("super().__init__(", doc.items, ")", doc.exploded, doc.notes), 2)


def _chain_doc(chain: Chain) -> Doc:
    items: list[Doc] = []
    notes: list[str] = []
    at = 0
    while at < len(chain.children):
        name, unit = chain.children[at]
        run = _run(chain, at)
        if run is None:
            doc = child_doc(unit)
            items.append(doc if chain.indexed else tuple_of((quote(name), doc)))
        else:
            each = run.doc if chain.indexed else tuple_of((run.name, run.doc))
            tail = f"for {run.turn} in range({run.length})"
            items.append(Group("*(", (Comprehension(each, tail),)))
        notes.append(_note(unit))
        at += 1 if run is None else run.length
    if chain.indexed:
        return Group("nn.Sequential(", tuple(items), ")", len(items) > 1, tuple(notes))
    children = Group("[", tuple(items), "]", exploded=True, notes=tuple(notes))
    return call("nn.Sequential", call("collections.OrderedDict", children))


@dataclass(frozen=True)
class _Run:
    """Blocks whose arguments differ by a constant step, written as a loop over `i`."""

    length: int
    name: str
    doc: Doc
    turn: str


def _run(chain: Chain, at: int) -> _Run | None:
    """Return the run that begins with a child, or None."""
    name, unit = chain.children[at]
    if not isinstance(unit, Use):
        return None
    stem = name.rstrip("0123456789")
    start = name[len(stem) :]
    if not start or start != str(int(start)):
        return None
    step: dict[str, Dim] | None = None
    length = 1
    while at + length < len(chain.children):
        other_name, other = chain.children[at + length]
        if not isinstance(other, Use) or other.of is not unit.of:
            break
        if other_name != f"{stem}{int(start) + length}":
            break
        change = _change(unit.given, other.given, length)
        if change is None or (step is not None and change != step):
            break
        step = change
        length += 1
    if length < _LEAST_RUN or step is None:
        return None
    given = {
        name: _Moving(value, step[name]) if step[name] else value
        for name, value in unit.given.items()
    }
    number = f"{{i + {start}}}" if int(start) else "{i}"
    moves = any(step.values()) or not chain.indexed
    return _Run(length, f'f"{stem}{number}"', use_doc(unit.of, given), "i" if moves else "_")


class _Moving(Size):
    """An argument that grows linearly with the loop variable."""

    def __init__(self, base: Any, step: Any) -> None:
        whole = base + step * Size.named("i")
        super().__init__(whole.terms)


def _change(before: Any, after: Any, turns: int) -> dict[str, Dim] | None:
    """Return by how much each argument grows per iteration; None if one does not grow evenly."""
    steps: dict[str, Dim] = {}
    for name, value in before.items():
        other = after[name]
        if value == other and type(value) is type(other):
            steps[name] = 0
            continue
        if not all(isinstance(v, (int, Size)) and not isinstance(v, bool) for v in (value, other)):
            return None
        difference = other - value
        each = difference // turns
        if each * turns != difference:
            return None
        steps[name] = each
    return steps
