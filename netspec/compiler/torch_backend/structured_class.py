"""The class of a structured net: a `nn.Sequential` that its constructor fills, loop by loop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from netspec.compiler.torch_backend.constructor import note_of, use_doc
from netspec.compiler.torch_backend.expressions import module_doc
from netspec.compiler.torch_backend.init_calls import fill_lines, init_doc
from netspec.compiler.torch_backend.local_sizes import names_in
from netspec.compiler.torch_backend.naming import is_attribute, number, quote
from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.python_layout import (
    INDENT,
    WIDTH,
    Doc,
    Group,
    call,
    is_bracketed,
    prefixed,
    split_items,
    statement,
)
from netspec.compiler.torch_backend.structure import (
    Block,
    Branch,
    Carry,
    Let,
    Loop,
    NotStructuredError,
    Placed,
    Refuse,
    Step,
    Suite,
    suites_in,
)
from netspec.compiler.torch_backend.structured_layout import Container, braced
from netspec.compiler.torch_backend.structured_net import StructuredNet
from netspec.compiler.torch_backend.traced_numbers import TracedFloat


class StructuredClass:
    """Writes the class of a net.

    Args:
        net: the net.
        error: how `ValueError` is written.
        sequence: the type of an argument that is a list.
    """

    def __init__(self, net: StructuredNet, error: str, sequence: str) -> None:
        self.sequence = sequence
        self.net = net
        self.error = error
        self.needed = _needed(net)
        self.arguments = [name for name in net.values if name in self.needed]
        self.counted = _Counted()
        self.noted = ""
        self.body = self._suite(net.body, 2)

    # -- the head

    def signature(self) -> list[str]:
        """`def __init__(self, depth: int = 20) -> None:`."""
        items: list[Doc] = ["self"]
        for name in self.arguments:
            value = self.net.values[name]
            kind = "float" if name in self.net.fractional else _kind(value, self.sequence)
            items.append(f"{name}: {kind} = {_default(value)}")
        return statement(Group("def __init__(", tuple(items), ") -> None"), 1, after=":")

    def constructor(self) -> list[str]:
        """The constructor, all of the class but its docstring."""
        lines = [*self.signature(), f"{INDENT * 2}super().__init__()", *self.body]
        lines += fill_lines(self.net.fills, _Itself())
        for (place, own), rule in self.net.own.items():
            full = ".".join((*_path(place, self.net), own))
            text = f'f"{full}"' if "{" in full else quote(full)
            tensor = f"self.get_parameter({text})"
            if all(map(is_attribute, full.split("."))):
                tensor = f"self.{full}"
            lines += statement(init_doc(tensor, rule, self.net.ranks[place, own], _Itself()), 2)
        return lines

    # -- statements

    def _suite(self, suite: Suite, depth: int) -> list[str]:
        lines: list[str] = []
        steps = suite.steps or []
        for at, step in enumerate(steps):
            for container in self.net.layout.opened(suite, at):
                lines += self._open(container, depth)
            if not (isinstance(step, Placed) and self.net.layout.home_of(step).is_listed):
                lines += self._step(step, depth)
        return lines

    def _open(self, container: Container, depth: int) -> list[str]:
        parent = self.net.layout.containers.get(container.prefix[:-1], self.net.layout.root)
        doc: Doc = "nn.Sequential()"
        if container.is_listed:
            doc = self._listed(container)
        if container.target.startswith("self."):
            return statement(prefixed(f"{container.target} = ", doc), depth)
        name = _name_text(container.prefix[-1])
        added = call(f"{parent.target}.add_module", name, container.target)
        made = statement(prefixed(f"{container.target} = ", doc), depth)
        return [*made, *statement(added, depth)]

    def _listed(self, container: Container) -> Doc:
        """A `nn.Sequential` with its children."""
        docs: list[Doc] = []
        notes: list[str] = []
        for step in (container.suite.steps or [])[container.first : container.last + 1]:
            assert isinstance(step, Placed)
            docs.append(self._module(step.modules[0]))
            notes.append(self._note(step))
        return Group("nn.Sequential(", tuple(docs), ")", len(docs) > 1, tuple(notes))

    def _note(self, step: Placed) -> str:
        """Where a layer is from, if that is another line than the one before."""
        note = note_of(step.span)
        known, self.noted = self.noted, note
        return "" if note == known else note

    def _step(self, step: Step, depth: int) -> list[str]:
        if isinstance(step, Let):
            if self.needed.isdisjoint(step.names):
                return []
            names = ", ".join(step.names)
            kind = f": {step.annotation}" if step.annotation else ""
            return statement(_changed(names, step.text) or f"{names}{kind} = {step.text}", depth)
        if isinstance(step, Carry):
            if step.name not in self.needed:
                return []
            changed = _changed(step.name, step.text) or f"{step.name} = {step.text}"
            return statement(changed, depth)
        if isinstance(step, Refuse):
            raised = Group(f"raise {self.error}(", (quote(step.message),))
            return [*statement(f"if {step.condition}:", depth), *statement(raised, depth + 1)]
        if isinstance(step, Loop):
            return self._loop(step, depth)
        if isinstance(step, Branch):
            return self._branch(step, depth)
        return self._placed(step, depth)

    def _loop(self, loop: Loop, depth: int) -> list[str]:
        before = self.counted.start(loop, depth)
        body = self._suite(loop.body, depth + 1)
        if not body:
            return before
        read = _words(loop.body, self.needed, self.net)
        targets = ", ".join(name if name in read else "_" for name in loop.targets)
        head = f"for {targets} in {loop.iterable}"
        function, _, arguments = loop.iterable.partition("(")
        doc: Doc = head
        if len(INDENT * depth + head) >= WIDTH and is_bracketed(f"({arguments}"):
            items = split_items(arguments.removesuffix(")"))
            doc = Group(f"for {targets} in {function}(", tuple(items))
        return [*before, *statement(doc, depth, after=":"), *body]

    def _branch(self, branch: Branch, depth: int) -> list[str]:
        lines = self.counted.start(branch, depth)
        noted = self.noted
        bodies = []
        for case in branch.cases:
            self.noted = noted
            bodies.append(self._suite(case, depth + 1))
        if not any(bodies):
            return lines
        for at, body in enumerate(bodies):
            if at == len(branch.conditions):
                lines += [*statement("else:", depth), *body] if body else []
                continue
            word = "elif" if at else "if"
            lines += statement(f"{word} {branch.conditions[at]}:", depth)
            lines += body or statement("pass", depth + 1)
        return lines

    def _placed(self, step: Placed, depth: int) -> list[str]:
        home = self.net.layout.home_of(step)
        target = home.target
        lines: list[str] = []
        note = self._note(step)
        if step.label is None and step.held:
            name, count = self.counted.name(step, depth)
            lines += count
        else:
            name = "" if step.label is None else step.label[-1]
        for module in step.modules:
            doc = self._module(module)
            if not name:
                doc = self._appended(home, step, doc)
            elif is_attribute(name):
                doc = prefixed(f"{target}.{name} = ", doc)
            else:
                doc = call(f"{target}.add_module", _name_text(name), doc)
            lines += statement(doc, depth, note=note)
            note = ""
        return lines

    def _appended(self, home: Container, step: Placed, doc: Doc) -> Doc:
        if not home.is_numbered:
            return call(f"{home.target}.append", doc)
        return call(f"{home.target}.add_module", f'f"{step.kind}{{len({home.target})}}"', doc)

    def _module(self, module: Any) -> Doc:
        if isinstance(module, Block):
            return use_doc(self.net.homes[module.definition], module.given)
        return module_doc(module)


def _changed(name: str, text: str) -> str:
    """`at += 1` for `at = at + 1`."""
    match = re.fullmatch(rf"{re.escape(name)} (\+|//|\*|-) (.+)", text)
    if match is None or not (match[1] == "+" or re.fullmatch(r"\w+", match[2])):
        return ""
    return f"{name} {match[1]}= {match[2]}"


class _Itself(dict[str, str]):
    """Every name stands for itself."""

    def __missing__(self, key: str) -> str:
        return key


def _name_text(part: str) -> str:
    """A part of a label as a Python string."""
    if part.startswith("{") and part.count("{") == 1 and part.endswith("}"):
        return f"str({part[1:-1]})"
    return f'f"{part}"' if "{" in part else quote(part)


def _kind(value: Any, sequence: str) -> str:
    if isinstance(value, tuple):
        return f"{sequence}[int{', ...' if sequence == 'tuple' else ''}]"
    return type(value).__name__


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        items = ", ".join(map(number, value))
        return f"({items}{',' * (len(value) == 1)})"
    return number(value)


def _path(place: Placed, net: StructuredNet) -> tuple[str, ...]:
    if place.label is None:
        raise NotStructuredError
    return place.label


class _Counted:
    """Numbers layers that the file leaves to be numbered."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.running: set[str] = set()

    def start(self, step: Loop | Branch, depth: int) -> list[str]:
        """Start to count before the first loop in which a kind is numbered."""
        lines = []
        for placed in placed_in(step):
            kind = placed.kind
            if placed.held and placed.label is None and kind not in self.running:
                self.running.add(kind)
                lines += statement(f"{kind}_count = {self.numbers.get(kind, 0)}", depth)
        return lines

    def name(self, step: Placed, depth: int) -> tuple[str, list[str]]:
        """The name of a layer, and the statement that counts it."""
        kind = step.kind
        if kind in self.running:
            return f"{kind}{{{kind}_count}}", statement(f"{kind}_count += 1", depth)
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return f"{kind}{self.numbers[kind]}", []


def placed_in(step: Step) -> Iterator[Placed]:
    """The layers and blocks of a statement."""
    if isinstance(step, Placed):
        yield step
    for suite in suites_in(step):
        for inner in suite.steps or ():
            yield from placed_in(inner)


# ------------------------------------------------------------------------------------- what is read


def _needed(net: StructuredNet) -> set[str]:
    """The names that layers, conditions and initial values need, and what these are made of."""
    needed: set[str] = set()
    for rule in (*net.own.values(), *(f.rule for fills in net.fills.values() for f in fills)):
        for value in vars(rule).values():
            if isinstance(value, TracedFloat):
                needed |= words_in(value.outer)
    for place, _ in net.own:
        needed |= _label_words(place)
    while True:
        more = needed | _words(net.body, needed, net)
        if more == needed:
            return needed
        needed = more


def _words(suite: Suite, needed: set[str], net: StructuredNet) -> set[str]:
    """The names that the written statements of a suite read."""
    found: set[str] = set()
    for step in suite.steps or ():
        if isinstance(step, Let):
            found |= words_in(step.text) if not needed.isdisjoint(step.names) else set()
        elif isinstance(step, Carry):
            found |= words_in(step.text) if step.name in needed else set()
        elif isinstance(step, Refuse):
            found |= words_in(step.condition)
        elif isinstance(step, Placed):
            found |= _label_words(step)
            for module in step.modules:
                part = module.given if isinstance(module, Block) else module
                found |= {word for name in names_in(part) for word in words_in(name)}
        else:
            inner = set[str]().union(*(_words(s, needed, net) for s in suites_in(step)))
            heads = (step.iterable,) if isinstance(step, Loop) else step.conditions
            if inner or any(True for _ in placed_in(step)) or _lets(step, needed):
                found |= inner | {word for head in heads for word in words_in(head)}
    return found


def _lets(step: Step, needed: set[str]) -> bool:
    for suite in suites_in(step):
        for inner in suite.steps or ():
            if isinstance(inner, Let) and not needed.isdisjoint(inner.names):
                return True
            if isinstance(inner, Carry) and inner.name in needed:
                return True
            if isinstance(inner, Refuse) or _lets(inner, needed):
                return True
    return False


def _label_words(step: Placed) -> set[str]:
    parts = "".join(step.label or ())
    return words_in(" ".join(braced(parts)))
