"""The constructor of a class, statement by statement as the file has it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Any

from netspec.compiler.ir.op import Torch
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.expressions import literal, module_doc, worded
from netspec.compiler.torch_backend.local_sizes import names_in
from netspec.compiler.torch_backend.naming import (
    is_attribute,
    name_text,
    number,
    quote,
    safe_name,
)
from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.python_layout import (
    INDENT,
    WIDTH,
    Doc,
    Group,
    call,
    flat,
    is_bracketed,
    prefixed,
    split_items,
    statement,
    unbracketed,
)
from netspec.compiler.torch_backend.structured.flow import modules_of, placed_in, steps_in
from netspec.compiler.torch_backend.structured.layout import (
    Container,
    Layout,
    braced,
    change_braced,
)
from netspec.compiler.torch_backend.structured.repeated import NEXT, Repeated, role_of
from netspec.compiler.torch_backend.structured.structure import (
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
    places_in,
    said,
    suites_in,
)
from netspec.diagnostics import Span
from netspec.records import record


@record
class Flag:
    """How an object knows which case of a condition it was made for.

    Attributes:
        name: the attribute.
        holds: the case in which it is true, or in which it is a module.
        is_module: whether it is a module, and None in the other case.
    """

    name: str
    holds: int
    is_module: bool


class Constructor:
    """Writes the statements of one constructor.

    Args:
        body: the statements.
        layout: where the modules lie.
        error: how `ValueError` is written.
        needed: the names that something besides the statements reads.
        flags: how cases are remembered.
        starts: the calls that set the initial values of layers.
        arguments: the names of its arguments.
        classes: the names of classes that something behind the statements reads.
    """

    def __init__(
        self,
        body: Suite,
        layout: Layout,
        error: str,
        needed: Set[str],
        flags: Mapping[Branch, Flag],
        starts: Mapping[Placed, Sequence[Doc]] | None = None,
        arguments: Iterable[str] = (),
        classes: Iterable[str] = (),
    ) -> None:
        self.repeated = Repeated(arguments)
        self.classes = set(classes)
        self.starts = starts or {}
        self.body = body
        self.layout = layout
        self.error = error
        self.flags = flags
        self._read_by: dict[Placed, set[str]] = {}
        self.needed = self._all_needed(needed)
        self._restart()

    def _restart(self) -> None:
        self.counted = Counted(self.body, self.layout)
        self.noted = ""
        self.stored: set[str] = set()
        self.repeated.restart()

    def lines(self) -> list[str]:
        """The statements."""
        lines = self._suite(self.body, 2)
        if not self.repeated.plan(self.layout.names | self.needed | self.classes):
            return lines
        self._restart()
        return self._suite(self.body, 2)

    # -- statements

    def _suite(self, suite: Suite, depth: int) -> list[str]:
        lines: list[str] = []
        steps = suite.steps or []
        for at, step in enumerate(steps):
            self.repeated.step()
            lines += self.repeated.locals(depth)
            for container in self.layout.opened(suite, at):
                lines += self._open(container, depth)
                if container.is_listed:
                    lines += self.started(steps[container.first : container.last + 1], depth)
            if not (isinstance(step, Placed) and self.layout.home_of(step).is_listed):
                lines += self._step(step, depth) + self.started([step], depth)
        return lines

    def _inner(self, suite: Suite, depth: int, given: Sequence[str] = ()) -> list[str]:
        """What stands under a loop, which gives values to names, or under a condition."""
        self.repeated.enter()
        self.repeated.gives(given)
        lines = self._suite(suite, depth)
        self.repeated.leave()
        return lines

    def started(self, steps: Sequence[Step], depth: int) -> list[str]:
        """What sets the initial values of layers, behind the statements that make them."""
        docs = (d for s in steps if isinstance(s, Placed) for d in self.starts.get(s, ()))
        return [line for doc in docs for line in statement(doc, depth)]

    def _open(self, container: Container, depth: int) -> list[str]:
        parent = self.layout.containers.get(container.prefix[:-1], self.layout.root)
        kind = "Dict" if container.is_dict else "List"
        is_apart = container.is_dict or container.is_list
        doc: Doc = f"nn.Module{kind}()" if is_apart else "nn.Sequential()"
        if self.layout.is_apart(container) and not is_apart:
            doc = "nn.Module()"
        if container.is_listed:
            doc = self._listed(container)
        if container.target.startswith("self."):
            kind = ": Any" if container.is_deep else ""
            return statement(prefixed(f"{container.target}{kind} = ", doc), depth)
        name = self._name_text(container.prefix[-1])
        added = call(f"{parent.target}.add_module", name, container.target)
        made = statement(prefixed(f"{container.target} = ", doc), depth)
        return [*made, *statement(added, depth)]

    def _listed(self, container: Container) -> Doc:
        """A `nn.Sequential` with its children."""
        steps = (container.suite.steps or [])[container.first : container.last + 1]
        return self.sequential(steps, "nn.Sequential(")

    def chain(self, steps: Sequence[Step], head: str) -> tuple[list[str], Group]:
        """Modules between brackets, and the variables that they are made of."""
        self.repeated.step()
        made = self.sequential(steps, head)
        if not self.repeated.plan(self.layout.names | self.needed | self.classes):
            return [], made
        self._restart()
        self.repeated.step()
        return self.repeated.locals(2), self.sequential(steps, head)

    def sequential(self, steps: Sequence[Step], head: str) -> Group:
        """Modules between brackets."""
        docs: list[Doc] = []
        notes: list[str] = []
        for step in steps:
            if isinstance(step, Placed):
                for module in modules_of(step):
                    docs.append(self._module(module))
                    notes.append(self._note(step))
        return Group(head, tuple(docs), ")", len(docs) > 1, tuple(notes))

    def _note(self, step: Placed) -> str:
        """Where a layer is from, if that is another line than the one before."""
        note = note_of(step.span)
        known, self.noted = self.noted, note
        return "" if note == known else note

    def _step(self, step: Step, depth: int) -> list[str]:
        if isinstance(step, Let):
            if self.needed.isdisjoint(step.names):
                return []
            names, text = ", ".join(step.names), self.repeated.text(said(step.text).name)
            self.repeated.gives(step.names)
            kind = f": {step.annotation}" if step.annotation else ""
            return statement(_changed(names, text) or f"{names}{kind} = {text}", depth)
        if isinstance(step, Carry):
            return self._carry(step, depth) if step.name in self.needed else []
        if isinstance(step, Refuse):
            raised = Group(f"raise {self.error}(", (quote(step.message),))
            condition = self.repeated.text(step.condition)
            return [*statement(f"if {condition}:", depth), *statement(raised, depth + 1)]
        if isinstance(step, Loop):
            return self._loop(step, depth)
        if isinstance(step, Branch):
            return self._branch(step, depth)
        return self._placed(step, depth) if isinstance(step, Placed) else []

    def _carry(self, step: Carry, depth: int) -> list[str]:
        text = unbracketed(size_text(said(step.size)))
        if text == step.name:
            return []
        text = self.repeated.text(text, NEXT)
        self.repeated.gives([step.name])
        if text.endswith(f" + {step.name}"):
            text = f"{step.name} + {text.removesuffix(f' + {step.name}')}"
        return statement(_changed(step.name, text) or f"{step.name} = {text}", depth)

    def _loop(self, loop: Loop, depth: int) -> list[str]:
        before = self.counted.start(loop, depth)
        mark = self.repeated.mark()
        iterable = self.repeated.text(said(loop.iterable).name)
        body = self._inner(loop.body, depth + 1, loop.targets)
        if not body:
            self.repeated.drop(mark)
            return []
        read = self._words(loop.body, self.needed)
        targets = ", ".join(name if name in read else "_" for name in loop.targets)
        return [*before, *loop_head(targets, iterable, depth), *body]

    def _branch(self, branch: Branch, depth: int) -> list[str]:
        lines = self.counted.start(branch, depth)
        flag = self.flags.get(branch)
        noted, stored = self.noted, set(self.stored)
        mark = self.repeated.mark()
        tests = [self.repeated.text(said(condition).name) for condition in branch.conditions]
        bodies = []
        for case in branch.cases:
            self.noted = noted
            self.stored = set(stored)  # what one case stores, objects of another lack
            bodies.append(self._inner(case, depth + 1))
        self.stored = stored
        if flag is not None and flag.is_module:
            lines += statement(f"self.{flag.name}: nn.Module | None = None", depth)
        elif flag is not None and flag.name not in self.stored:
            self.stored.add(flag.name)
            holds = _case(tests, flag.holds)
            lines += statement(f"self.{flag.name} = {holds}", depth)
        if not any(bodies):
            if flag is None:
                self.repeated.drop(mark)
                return []
            return lines
        if len(bodies) == 2 and not bodies[0]:
            lines += statement(f"if {_case(tests, 1)}:", depth)
            return [*lines, *bodies[1]]
        for at, body in enumerate(bodies):
            if at == len(tests):
                lines += [*statement("else:", depth), *body] if body else []
                continue
            word = "elif" if at else "if"
            lines += statement(f"{word} {tests[at]}:", depth)
            lines += body or statement("pass", depth + 1)
        return lines

    def _placed(self, step: Placed, depth: int) -> list[str]:
        if not self._writes(step):
            return []
        if step.again:
            return []
        home = self.layout.home_of(step)
        target = home.target
        lines: list[str] = []
        note = self._note(step)
        is_chained = self.layout.is_chained(step)
        if step.label is None and (step.held or not is_chained):
            name, count = self.counted.name(step, depth)
            lines += count
        else:
            name = "" if step.label is None else step.label[-1]
        if step.is_array:
            return self._array(step, target, name, depth)
        for module in self._modules(step, is_chained=is_chained):
            doc = module
            if home.is_list:
                doc = call(f"{target}.append", doc)
            elif not name:
                doc = self._appended(home, step, doc)
            elif home.is_key(name):
                key = name[1:-1] if home.keys == "words" else self._name_text(name)
                doc = prefixed(f"{target}[{key}] = ", doc)
            elif is_attribute(name):
                doc = prefixed(f"{target}.{name} = ", doc)
            else:
                doc = call(f"{target}.add_module", self._name_text(name), doc)
            lines += statement(doc, depth, note=note)
            note = ""
        return lines

    def _array(self, step: Placed, target: str, name: str, depth: int) -> list[str]:
        """A parameter or a buffer of the class itself."""
        if step.numbers is not None:
            doc = _numbers(self.repeated.text(said(step.numbers).name))
        else:
            doc = call("torch.ones", *map(literal, worded(said(step.own[""]), self.repeated.text)))
        made: Doc
        if step.is_buffer:
            more = () if step.is_saved else ("persistent=False",)
            made = call(f"{target}.register_buffer", quote(name), doc, *more)
        elif is_attribute(name):
            made = prefixed(f"{target}.{name} = ", call("nn.Parameter", doc))
        else:
            made = call(f"{target}.register_parameter", quote(name), call("nn.Parameter", doc))
        return statement(made, depth, note=self._note(step))

    def _modules(self, step: Placed, *, is_chained: bool) -> list[Doc]:
        if is_chained:
            return list(map(self._module, modules_of(step)))
        if isinstance(step.form, Block):
            return [self._module(said(step.form))]
        inner = step.form.module
        if inner is not None:
            return [self._module(said(replace(inner, inputs=(), call_options={})))]
        items = tuple(
            Group(f"{quote(name)}: nn.Parameter(", (call("torch.ones", *map(literal, shape)),))
            for name, shape in worded(said(step.own), self.repeated.text).items()
        )
        return [call("nn.ParameterDict", Group("{", items, "}"))]

    def _appended(self, home: Container, step: Placed, doc: Doc) -> Doc:
        if not home.is_numbered:
            return call(f"{home.target}.append", doc)
        return call(f"{home.target}.add_module", f'f"{step.kind}{{len({home.target})}}"', doc)

    def _module(self, module: Any) -> Doc:
        write = self.repeated.text
        self.classes.add(module.of.name if isinstance(module, Block) else module.target)
        if isinstance(module, Block):
            given = {
                symbol: worded(value, partial(write, role=symbol))
                for symbol, value in module.given.items()
                if symbol in module.of.symbols
            }
            return use_doc(replace(module, given=given))
        return module_doc(worded(module, partial(write, role=role_of(module.target))))

    def _name_text(self, part: str) -> str:
        """A part of a label, as Python."""
        return name_text(change_braced(part, partial(self.repeated.text, role="index")))

    # -- what is read

    def _all_needed(self, needed: Set[str]) -> set[str]:
        """The names that layers and conditions need too, and what these are made of."""
        found = set(needed)
        while True:
            more = self._words(self.body, found) - found
            if not more:
                return found
            found |= more

    def _writes(self, step: Placed) -> bool:
        return step.has_module or self.layout.is_chained(step)

    def _words(self, suite: Suite, needed: set[str]) -> set[str]:
        """The names that the written statements of a suite read."""
        found: set[str] = set()
        # What is read later is written earlier.
        for step in reversed(suite.steps or ()):
            if isinstance(step, Let):
                if not (needed.isdisjoint(step.names) and found.isdisjoint(step.names)):
                    found |= words_in(said(step.text).name)
            elif isinstance(step, Carry):
                if step.name in needed or step.name in found:
                    found |= {word for n in names_in(said(step.size)) for word in words_in(n)}
            elif isinstance(step, Refuse):
                found |= words_in(step.condition)
            elif isinstance(step, Placed):
                if self._writes(step):
                    found |= self._placed_words(step)
            else:
                found |= self._words_under(step, needed | found)
        return found

    def _placed_words(self, step: Placed) -> set[str]:
        known = self._read_by.get(step)
        if known is None:
            known = self._read_by[step] = label_words(step) | self._form_words(step)
        return known

    def _form_words(self, step: Placed) -> set[str]:
        part: Any = step.form.given if isinstance(step.form, Block) else step.form
        if isinstance(step.form, Torch) and not self.layout.is_chained(step):
            inner = step.form.module
            part = None if inner is None else replace(inner, inputs=(), call_options={})
        found = set[str]()
        own = step.own if step.numbers is None else step.numbers
        for place in places_in((part, own)):
            if place.known:
                found |= {word for name in names_in(place.known[0]) for word in words_in(name)}
        return found

    def _words_under(self, step: Step, needed: set[str]) -> set[str]:
        inner = set[str]().union(*(self._words(s, needed) for s in suites_in(step)))
        is_flagged = isinstance(step, Branch) and step in self.flags
        is_written = inner or any(map(self._writes, placed_in(step))) or _lets(step, needed)
        if not (is_flagged or is_written):
            return set()
        heads = (step.iterable,) if isinstance(step, Loop) else getattr(step, "conditions", ())
        return inner | {word for head in heads for word in words_in(said(head).name)}


def _case(tests: Sequence[str], case: int) -> str:
    """When an object is made for a case of two."""
    return tests[0] if case == 0 else opposite(tests[0])


def loop_head(targets: str, iterable: str, depth: int) -> list[str]:
    """`for i in range(n):`."""
    head = f"for {targets} in {iterable}"
    function, _, arguments = iterable.partition("(")
    doc: Doc = head
    if iterable.startswith("["):
        items = split_items(iterable[1:-1])
        # The items of a tuple have types of their own.
        rows = map(_as_tuple, items) if "," in targets else items
        doc = Group(f"for {targets} in [", tuple(rows), "]")
    elif len(INDENT * depth + head) >= WIDTH and is_bracketed(f"({arguments}"):
        items = split_items(arguments.removesuffix(")"))
        doc = Group(f"for {targets} in {function}(", tuple(items))
    return statement(doc, depth, after=":")


def _as_tuple(row: str) -> str:
    """A list with brackets as a tuple of as many items."""
    if not (row.startswith("[") and len(split_items(row)) == 1 and row.endswith("]")):
        return row
    items = split_items(row[1:-1])
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _numbers(text: str) -> Doc:
    """A tensor of the numbers of a list."""
    kind = "dtype=torch.get_default_dtype()"
    if text.startswith("range(") and is_bracketed(text.removeprefix("range")):
        return call("torch.arange", *split_items(text[len("range(") : -1]), kind)
    listed: Doc = text
    if is_bracketed(text.replace("[", "(").replace("]", ")")):
        listed = Group("[", tuple(split_items(text[1:-1])), "]")
    return call("torch.tensor", listed, kind)


def opposite(text: str) -> str:
    """A condition that holds where another does not."""
    parts = split_comparison(text)
    if parts is not None:
        left, operator, right = parts
        return f"{left} {_OPPOSITES[operator]} {right}"
    if text.startswith("not ") and not re.search(r"\b(and|or|if)\b", text):
        return text.removeprefix("not ")
    return f"not {text}" if re.fullmatch(r"[\w.]+", text) else f"not ({text})"


_OPPOSITES = {"==": "!=", "!=": "==", ">": "<=", "<": ">=", ">=": "<", "<=": ">"}


def split_comparison(text: str) -> tuple[str, str, str] | None:
    """The sides of a comparison of two."""
    if re.search(r"\b(and|or|not|if|else)\b", text):
        return None
    match = re.fullmatch(r"([^<>=!]+) ([<>=!]=|[<>]) ([^<>=!]+)", text)
    return None if match is None else (match[1], match[2], match[3])


def _changed(name: str, text: str) -> str:
    """`at += 1` for `at = at + 1`."""
    match = re.fullmatch(rf"{re.escape(name)} (\+|//|\*|-) (.+)", text)
    if match is None or not (match[1] == "+" or re.fullmatch(r"\w+", match[2])):
        return ""
    return f"{name} {match[1]}= {match[2]}"


def buffer_lines(body: Suite) -> list[str]:
    """`places: torch.Tensor`, for each buffer of a class: nothing else says that it is no module."""
    arrays = (s for s in steps_in(body) if isinstance(s, Placed) and s.is_array and s.is_buffer)
    names = (s.label[0] for s in arrays if s.label)
    lines = [f"{INDENT}{name}: torch.Tensor" for name in dict.fromkeys(filter(is_attribute, names))]
    return [*lines, ""] if lines else []


def use_doc(block: Block) -> Doc:
    """Return the construction of a block's class.

    Arguments with their default values are left out.
    """
    of, given = block.of, block.given
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


def default_values(definition: syntax.Block, taken: Sequence[str]) -> dict[str, Any]:
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


def note_of(span: Span) -> str:
    """Return a place such as `lenet.net:6`: the last part of the file's name, and the line."""
    name = span.source.file_name
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return f"{safe}:{span.line}"


def constant_text(value: Any) -> str:
    """A number, a word or a list as Python."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, tuple):
        items = ", ".join(map(constant_text, value))
        return f"({items}{',' * (len(value) == 1)})"
    return number(value)


class Counted:
    """Numbers layers that the file leaves to be numbered.

    A number that does not depend on arguments is written out; others are counted.
    """

    def __init__(self, body: Suite, layout: Layout) -> None:
        self.layout = layout
        self.names: dict[Placed, str] = {}
        self.running: set[str] = set()
        self.numbers: dict[str, int] = {}
        self.counted: set[str] = set()
        self._stems = _free_stems(body)
        self._left_out: set[str] = set()
        self._number(body, {}, set())
        if not self._left_out.isdisjoint(self.counted):
            raise NotStructuredError  # they would have to be counted, too

    def is_numbered(self, step: Placed) -> bool:
        """Whether a layer is called by its number."""
        if step.label is not None or step.again:
            return False
        return step.held or (step.has_module and not self.layout.is_chain)

    def stem(self, step: Placed) -> str:
        """The name of a numbered layer before its number."""
        return step.kind if step.held else self._stems.get(step.kind, step.kind)

    def is_counted(self, step: Placed) -> bool:
        """Whether a layer's number depends on arguments."""
        return self.stem(step) in self.counted

    def _number(self, suite: Suite, counts: dict[str, int], unsure: set[str]) -> None:
        for step in suite.recorded or ():
            if isinstance(step, Placed) and self.is_numbered(step):
                if step in suite.unread and not step.held:
                    continue
                stem = self.stem(step)
                counts[stem] = counts.get(stem, 0) + 1
                self.names[step] = f"{stem}{counts[stem]}"
                self.counted |= unsure & {stem}
                if step in suite.unread:
                    self._left_out.add(stem)
            elif isinstance(step, Loop):
                self.counted |= {self.stem(p) for p in placed_in(step) if self.is_numbered(p)}
                self._require_read(step.body)
            elif isinstance(step, Branch):
                ends = []
                for case in step.cases:
                    end = dict(counts)
                    self._number(case, end, unsure)
                    ends.append(end)
                stems = {stem for end in ends for stem in end}
                unsure |= {s for s in stems if len({end.get(s, 0) for end in ends}) > 1}
                counts |= {s: max(end.get(s, 0) for end in ends) for s in stems}

    def _require_read(self, suite: Suite) -> None:
        """Check that what is counted, and not just numbered, is written.

        Raises:
            NotStructuredError: if it is not.
        """
        for step in suite.recorded or ():
            is_held = isinstance(step, Placed) and step.held and self.is_numbered(step)
            if is_held and step in suite.unread:
                raise NotStructuredError
            for inner in suites_in(step):
                self._require_read(inner)

    def start(self, step: Loop | Branch, depth: int) -> list[str]:
        """Start to count before the first statement in which a kind is counted."""
        lines = []
        for placed in placed_in(step):
            stem = self.stem(placed)
            if self.is_numbered(placed) and stem in self.counted - self.running:
                self.running.add(stem)
                counter = self.layout.counter(stem)
                lines += statement(f"{counter} = {self.numbers.get(stem, 0)}", depth)
        return lines

    def name(self, step: Placed, depth: int) -> tuple[str, list[str]]:
        """The name of a layer, and the statement that counts it."""
        stem = self.stem(step)
        if stem in self.running:
            counter = self.layout.counter(stem)
            return f"{stem}{{{counter}}}", statement(f"{counter} += 1", depth)
        if stem not in self.counted:
            return self.names[step], []
        self.numbers[stem] = self.numbers.get(stem, 0) + 1
        return f"{stem}{self.numbers[stem]}", []


def _free_stems(body: Suite) -> dict[str, str]:
    """What layers that the file gives no name are called before their number, where a label may have it.

    A label whose beginning depends on arguments is seen to by `Layout.check`.
    """
    placed = [p for step in body.steps or () for p in placed_in(step)]
    labels = {p.label[0] for p in placed if p.label is not None}
    stems: dict[str, str] = {}
    for kind in {p.kind for p in placed if p.label is None and not p.held and p.has_module}:
        stem = kind
        while any(_may_be_numbered(label, stem) for label in labels):
            stem += "_"
        if stem != kind:
            stems[kind] = stem
    return stems


def _may_be_numbered(label: str, stem: str) -> bool:
    """Whether a label can be a stem and a number. What it has in braces is taken for numbers."""
    return re.fullmatch(rf"{re.escape(stem)}\d+", re.sub(r"\{[^}]*\}", "0", label)) is not None


# ------------------------------------------------------------------------------------- what is read


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


def label_words(step: Placed) -> set[str]:
    """The names in a label."""
    parts = "".join(step.label or ())
    return set(words_in(" ".join(braced(parts))))
