"""The `forward` of a class, over the statements of its constructor."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

from netspec.compiler.ir.op import Torch
from netspec.compiler.torch_backend.expressions import Reached
from netspec.compiler.torch_backend.local_sizes import names_in
from netspec.compiler.torch_backend.naming import is_attribute, quote
from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.python_layout import Doc, Group, call, flat, prefixed, statement
from netspec.compiler.torch_backend.structured.constructor import (
    Counted,
    Flag,
    loop_head,
    note_of,
    opposite,
)
from netspec.compiler.torch_backend.structured.flow import (
    alike,
    chain_end,
    placed_in,
    steps_in,
    under,
)
from netspec.compiler.torch_backend.structured.layout import (
    Container,
    Layout,
    NoChainError,
    braced,
    change_braced,
)
from netspec.compiler.torch_backend.structured.readers import Readers
from netspec.compiler.torch_backend.structured.repeated import Repeated
from netspec.compiler.torch_backend.structured.structure import (
    Bind,
    Block,
    Branch,
    Gather,
    Let,
    Loop,
    NotStructuredError,
    Placed,
    Read,
    Return,
    Source,
    Step,
    Suite,
    reads_of,
    said,
    suites_in,
)


@dataclass(eq=False)
class _Call:
    """Something that is called: a layer, a block, a container, or the parts of a value."""

    steps: list[Placed]
    reads: list[Source]
    gives: list[Source]
    container: Container | None = None


@dataclass(eq=False)
class _End:
    """The last statement of a suite: its value is returned, or gets a name."""

    value: Source
    name: str | None


_Item = _Call | Bind | Gather | Let | Loop | Branch | Return | _End


@dataclass
class _Names:
    """The names of temporary values, and which of them are still needed.

    `awaited` are those values that a statement may still read, those that were read last among them
    until somebody asks.
    """

    place: dict[Source, str] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)
    awaited: list[Source] = field(default_factory=list)

    def give(self, source: Source, name: str) -> None:
        """A value is in a name now."""
        if source not in self.place:
            self.awaited.append(source)
        self.place[source] = name

    def busy(self, at: int, readers: Readers) -> set[str]:
        """The names that a statement after `at` reads."""
        self.awaited = [s for s in self.awaited if readers.after(at, s) is not None]
        return {self.place[source] for source in self.awaited}


class _Items:
    """The statements of one suite, with what reads what.

    Args:
        items: the statements.
        reads: what each of them reads.
    """

    def __init__(self, items: list[_Item], reads: Sequence[Iterable[Source]]) -> None:
        self.all = items
        self.readers = Readers(reads)
        self._binds: dict[str, list[int]] = {}
        for at, item in enumerate(items):
            if isinstance(item, Bind):
                self._binds.setdefault(item.name, []).append(at)
        self._ends: list[int | None] = [None] * len(items)
        for at in reversed(range(len(items))):
            item = items[at]
            if isinstance(item, _Call) and len(item.gives) == 1:
                self._ends[at] = self.end(at, item.gives[0])
        self._returned = {
            source
            for item, sources in zip(items, reads, strict=True)
            if isinstance(item, Return) or (isinstance(item, _End) and not item.name)
            for source in sources
        }

    def following(self, at: int) -> _Item | None:
        """The statement after this one."""
        return self.all[at + 1] if at + 1 < len(self.all) else None

    def end(self, at: int, source: Source) -> int | None:
        """The place where a value of the statement `at`, or what is computed of it, gets a name."""
        reader = self.readers.after(at, source)
        if reader is None or isinstance(self.all[reader], (Bind, _End)):
            return reader
        return self._ends[reader]

    def is_clear(self, name: str, start: int, stop: int) -> bool:
        """Whether nothing between two statements reads a name or gives it a value."""
        reader = self.readers.after(start, name)
        binds = self._binds.get(name, [])
        after = bisect_right(binds, start)
        return (reader is None or reader >= stop) and (after == len(binds) or binds[after] >= stop)

    def is_returned(self, source: Source) -> bool:
        """Whether a statement returns a value."""
        return source in self._returned


class Forward:
    """Writes one `forward`.

    Args:
        body: the statements.
        layout: where the modules lie.
        inputs: the names of its inputs.
        functional: how `torch.nn.functional` is written.
        flags: how the object remembers which cases it was made for.
        plain: the name of values without one.
        gives: the class of its results, if they have one.
    """

    def __init__(
        self,
        body: Suite,
        layout: Layout,
        inputs: Sequence[str],
        functional: str,
        flags: Mapping[Branch, Flag],
        plain: str,
        gives: str,
    ) -> None:
        self.body = body
        self.layout = layout
        self.inputs = inputs
        self.functional = functional
        self.flags = flags
        self.plain = plain
        self.gives = gives
        self.counted = Counted(body, layout)
        self.noted = ""
        self.same: dict[Source, Source] = {}
        self.items: dict[int, list[_Item]] = {}
        self._texts_of: dict[_Item, list[str]] = {}
        self.numbers: dict[_Item, set[str]] = {}
        self._readers = _readers(body)
        self.lists = _lists(body)
        self._prepare(body)
        named = (s.name for s in steps_in(body) if isinstance(s, (Bind, Gather)))
        self.variables = {*named, *inputs}
        self.turns: dict[Placed, str] = {}
        self.heads: dict[Loop, tuple[str, str]] = {}
        for step in steps_in(body):
            if isinstance(step, Loop):
                self._turn(step)
        self.read = self._names_read()
        self.needed = self._needed()
        self.typed = set(inputs)
        self.returned: set[str] = set()
        self.loose: set[str] = set()
        self.annotated: set[str] = set()
        self.given: set[str] = set()
        self.repeated = Repeated(inputs)

    def attributes(self) -> list[str]:
        """The arguments that the object keeps."""
        found: dict[str, None] = {}
        for text in self._texts(self.needed):
            for match in _ATTRIBUTE.finditer(text):
                found[match[1]] = None
        return list(found)

    def lines(self) -> list[str]:
        """The statements."""
        self.returned = {
            value.source
            for step in steps_in(self.body)
            if isinstance(step, Return)
            for value in step.values
            if isinstance(value.source, str)
        }
        untyped: set[str] | None = None
        while True:
            known = untyped
            lines = self._whole()
            untyped = (self.returned & self.loose) - self.annotated
            if not untyped or untyped == known:
                break
            # A name that turns out to be returned has a type where it is first given.
        words = {self.gives, self.functional, *self.variables, *self.needed, *self.given}
        return self._whole() if self.repeated.plan(self.layout.names | words) else lines

    def _whole(self) -> list[str]:
        """All statements, written from the beginning."""
        self.counted, self.noted = Counted(self.body, self.layout), ""
        self.typed, self.annotated = set(self.inputs), set(self.inputs)
        self.given = set(self.inputs)
        self.repeated.restart()
        return self._suite(self.body, 2, None, _Names())

    def _gives(self, names: Iterable[str]) -> None:
        """Variables get values."""
        self.given |= set(names)
        self.repeated.gives(names)

    # -- what is called

    def _prepare(self, suite: Suite) -> None:
        items: list[_Item] = []
        steps = suite.steps or []
        at = 0
        while at < len(steps):
            step = steps[at]
            opened = [c for c in self.layout.opened(suite, at) if not self.layout.is_apart(c)]
            if opened:
                inside = _named_within(steps, opened[0])
                items += self._container(steps, opened[0], inside)
                at += len(inside)
                continue
            if isinstance(step, Placed) and step not in self._readers and step.cut is None:
                at += 1  # it makes the module of another layer
                continue
            if isinstance(step, Placed):
                group = self._parts(steps, at)
                reads = [self._at(read.source) for read in step.reads]
                items.append(
                    _Call(group, reads, [_first(s, k) for s in group for k in range(s.gives)])
                )
                at += len(group)
                continue
            is_read = not isinstance(step, Gather) or step.name in self.lists
            if is_read and isinstance(step, (Bind, Gather, Let, Loop, Branch, Return)):
                items.append(step)
            for inner in suites_in(step):
                self._prepare(inner)
            names = self._only_numbers(step) if isinstance(step, Loop) else None
            if isinstance(step, Loop) and names is not None:
                self.numbers[step] = names
            at += 1
        self.items[id(suite)] = items

    def _container(
        self, steps: Sequence[Step], container: Container, inside: Sequence[Step]
    ) -> list[_Item]:
        """A chain that the object holds as one module: the statements `inside`."""
        first = next(p for step in inside for p in placed_in(step))
        start = first.reads[0].source
        sources = first.reads[0].sources
        end = chain_end(inside, frozenset(sources))
        end = end or chain_end(inside, alike(steps[: container.first], sources))
        if end is None or any(isinstance(step, Return) for step in inside):
            raise NoChainError(container.prefix)
        within = dict.fromkeys(s for step in inside for s in (step, *under(step)))
        last = next((source for source in end if not isinstance(source, str)), None)
        names = [s.name for s in within if isinstance(s, Bind)]
        for made in (*names, *within):
            for source, reader in self._readers.get(made, ()):
                if reader not in within and source not in end:
                    raise NoChainError(container.prefix)
        key: Source = last if last is not None else (inside[0], 0)
        for source in end:
            if not isinstance(source, str):
                self.same[source] = key
        call = _Call([first], [self._at(start)], [key], container)
        binds = [name for name in dict.fromkeys(names) if name in end]
        return [call, *(Bind(name, Read([key])) for name in binds)]

    def _parts(self, steps: Sequence[Step], at: int) -> list[Placed]:
        """A layer, or all parts of an even split."""
        step = steps[at]
        assert isinstance(step, Placed)
        if step.cut is None:
            return [step]
        group = [s for s in steps[at : at + step.cut[0]] if isinstance(s, Placed)]
        if len(group) != step.cut[0] or any(
            s.span != step.span or s.cut != step.cut for s in group
        ):
            return [step]
        return group if len({s.reads[0].source for s in group}) == 1 else [step]

    def _at(self, source: Source) -> Source:
        return self.same.get(source, source)

    # -- what is read

    def _names_read(self) -> set[str]:
        """The names of values that something reads."""
        found: set[str] = set()
        for items in self.items.values():
            for item in items:
                found |= {s for s in self.reads_of(item) if isinstance(s, str)}
                found |= self._shapes(item)
        for step in steps_in(self.body):
            if isinstance(step, Branch):
                for value in step.values:
                    if value is not None and isinstance(value.source, str):
                        found.add(value.source)
        return found

    def reads_of(self, item: _Item) -> list[Source]:
        """The values that a statement itself reads."""
        if isinstance(item, _Call):
            return item.reads
        if isinstance(item, Bind):
            return [self._at(item.value.source)]
        if isinstance(item, Gather):
            return [part if isinstance(part, str) else self._at(part.source) for part in item.parts]
        if isinstance(item, Return):
            return [self._at(value.source) for value in item.values]
        return [item.value] if isinstance(item, _End) else []

    def _allreads_of(self, item: _Item) -> Iterator[Source]:
        """The values that a statement reads, also under loops and conditions."""
        yield from self.reads_of(item)
        yield from self._shapes(item)
        if isinstance(item, (Loop, Branch)):
            for suite in suites_in(item):
                for inner in self.items[id(suite)]:
                    yield from self._allreads_of(inner)
        if isinstance(item, Branch):
            yield from (self._at(v.source) for v in item.values if v is not None)

    def _shapes(self, item: _Item) -> set[str]:
        """The names of values whose sizes a statement reads."""
        return {word for text in self._own_texts(item) for word in words_in(text)} & self.variables

    def _own_texts(self, item: _Item) -> list[str]:
        """The expressions in a statement."""
        known = self._texts_of.get(item)
        if known is None:
            known = self._texts_of[item] = self._find_texts(item)
        return known

    def _find_texts(self, item: _Item) -> list[str]:
        items = [s for s in self.reads_of(item) if isinstance(s, str)]
        if isinstance(item, Gather):
            return items
        return [*self._find_numbers(item), *(text for text in items if "[" in text)]

    def _find_numbers(self, item: _Item) -> list[str]:
        if isinstance(item, Let):
            return [item.later.known[0].name] if item.later.known else []
        if isinstance(item, Loop):
            return [] if item in self.heads else [said(item.later).name]
        if isinstance(item, Branch):
            if item in self.flags:
                return []
            return [said(condition).name for condition in item.later]
        if not isinstance(item, _Call):
            return []
        if item.container is not None:
            return list(braced("".join(self._later_prefix(item.container))))
        texts: list[str] = []
        for step in item.steps:
            if step.later is not None and len(item.steps) == 1:
                texts += sorted(names_in(_said_later(step.later)))
            if (step.has_module or step.again) and step not in self.turns:
                texts += braced("".join(step.later_label or ()))
        return texts

    def _texts(self, needed: Set[str]) -> Iterator[str]:
        """The expressions of all statements that are written."""
        for items in self.items.values():
            for item in items:
                given = item.names if isinstance(item, Let) else self.numbers.get(item)
                if given is None or not needed.isdisjoint(given):
                    yield from self._own_texts(item)

    def _only_numbers(self, loop: Loop) -> set[str] | None:
        """The names that a loop gives values to, if these are numbers alone."""
        names: set[str] = set()
        for item in self.items[id(loop.body)]:
            given = item.names if isinstance(item, Let) else self.numbers.get(item)
            if given is None:
                return None
            names.update(given)
        return names

    def _needed(self) -> set[str]:
        lets: dict[str, list[Let]] = {}
        for item in (item for items in self.items.values() for item in items):
            if isinstance(item, Let):
                for name in item.names:
                    lets.setdefault(name, []).append(item)
        needed: set[str] = set()
        new = {word for text in self._texts(needed) for word in words_in(text)}
        while new:
            needed |= new
            texts = (t for name in new for let in lets.get(name, ()) for t in self._own_texts(let))
            new = {word for text in texts for word in words_in(text)} - needed
        return needed

    # -- statements

    def _suite(self, suite: Suite, depth: int, end: _End | None, outer: _Names) -> list[str]:
        listed = [*self.items[id(suite)], *([] if end is None else [end])]
        items = _Items(listed, [list(self._allreads_of(item)) for item in listed])
        names = _Names(dict(outer.place), set(outer.live), list(outer.place))
        lines: list[str] = []
        done: set[_Item] = set()
        for at, item in enumerate(listed):
            if item in done:
                continue
            self.repeated.step()
            lines += self.repeated.locals(depth)
            if isinstance(item, _Call):
                lines += self._call(items, at, depth, names, done)
            elif isinstance(item, Branch):
                lines += self._branch(items, at, depth, names, done)
            elif isinstance(item, Loop):
                lines += self._loop(item, depth, names)
            else:
                lines += self._plain(item, depth, names)
        return lines

    def _plain(
        self, item: Bind | Gather | Let | Return | _End, depth: int, names: _Names
    ) -> list[str]:
        """A statement that calls nothing."""
        if isinstance(item, Gather):
            return self._gather(item, depth, names)
        if isinstance(item, Let):
            if self.needed.isdisjoint(item.names):
                return []
            head = ", ".join(item.names)
            kind = f": {item.annotation}" if item.annotation else ""
            text = self.repeated.text(said(item.later).name)
            self._gives(item.names)
            return statement(f"{head}{kind} = {text}", depth)
        if isinstance(item, Return):
            given = [self._name(value.source, names) for value in item.values]
            self.returned |= set(given)
            if self.gives:
                return statement(Group(f"return {self.gives}(", tuple(given)), depth)
            return statement(f"return {', '.join(given)}", depth)
        value = self._name(item.value if isinstance(item, _End) else item.value.source, names)
        if item.name is None:
            self.returned.add(value)
            return statement(f"return {value}", depth)
        if value == item.name or (isinstance(item, Bind) and item.name not in self.read):
            return []
        if self._are_loose([value]):
            self.loose.add(item.name)
        self._gives([item.name])
        return statement(f"{self._annotated(item.name)} = {value}", depth)

    def _gather(self, item: Gather, depth: int, names: _Names) -> list[str]:
        """`parts = parts + [x]`: TorchScript knows no `[*parts, x]`."""
        lists: list[str] = []
        values: list[str] = []
        for part in (*item.parts, ""):
            if isinstance(part, Read):
                values.append(self._name(part.source, names))
                continue
            lists += [f"[{', '.join(values)}]"] if values else []
            values = []
            lists += [part] if part else []
        self._gives([item.name])
        return statement(f"{item.name} = {' + '.join(lists)}", depth)

    def _are_loose(self, names: Sequence[str]) -> bool:
        """Whether a type checker takes one of these for anything."""
        return not (self.loose - self.annotated).isdisjoint(names)

    def _annotated(self, name: str) -> str:
        """A name that gets a value, with its type where it is first given and must have one."""
        needs = name in self.returned & self.loose and name not in self.typed
        self.typed.add(name)
        if needs:
            self.annotated.add(name)
        return f"{name}: torch.Tensor" if needs else name

    def _name(self, source: Source, names: _Names) -> str:
        if isinstance(source, str):
            return source
        found = names.place.get(self._at(source))
        if found is None:
            raise NotStructuredError
        return found

    def _call(
        self, items: _Items, at: int, depth: int, names: _Names, done: set[_Item]
    ) -> list[str]:
        item = items.all[at]
        assert isinstance(item, _Call)
        mark = self.repeated.mark()
        doc, count = self._expression(item, names, depth)
        used = [items.readers.after(at, given) is not None for given in item.gives]
        holds = item.container is not None or any(s.has_module or s.again for s in item.steps)
        if not any(used) and not holds:
            self.repeated.drop(mark)
            return []
        note = self._note(item.steps[0])
        reads = [self._name(source, names) for source in item.reads]
        # PyTorch's types say of a module that it gives anything, and so do sums with what it gave.
        is_loose = holds or (isinstance(doc, str) and self._are_loose(reads))
        if len(item.gives) == 1 and self._returns(items, at) and not holds:
            if is_loose:
                self.returned |= set(reads)
            done.add(items.all[at + 1])
            return [*count, *statement(prefixed("return ", doc), depth, note=note)]
        wanted = []
        taken: set[str] = set()
        for result, is_used in zip(item.gives, used, strict=True):
            name = self._choose(items, at, result, names, taken, done) if is_used else "_"
            taken.add(name)
            wanted.append(name)
        target = ", ".join(wanted)
        self._gives(wanted)
        if is_loose:
            self.loose |= set(wanted)
        if len(wanted) == 1:
            target = self._annotated(target)
        return [*count, *statement(prefixed(f"{target} = ", doc), depth, note=note)]

    def _returns(self, items: _Items, at: int) -> bool:
        """Whether what is called here is returned at once."""
        item, after = items.all[at], items.following(at)
        assert isinstance(item, _Call)
        if isinstance(after, _End):
            return after.name is None and self._at(after.value) == item.gives[0]
        if isinstance(after, Return) and len(after.values) == 1:
            return self._at(after.values[0].source) == item.gives[0]
        return False

    # -- names

    def _choose(
        self,
        items: _Items,
        at: int,
        result: Source,
        names: _Names,
        taken: Set[str],
        done: set[_Item],
    ) -> str:
        """The name of a new value: that of the file, or of what is computed from it."""
        busy = names.busy(at, items.readers) | names.live | taken
        target, bind = self._target(items, at, result)
        if target is not None and target not in busy:
            names.give(result, target)
            if bind is not None and self._is_next(items, at, bind):
                done.add(items.all[bind])
            return target
        name, number = self.plain, 1
        while name in busy or name in self.variables or name in self.needed:
            number += 1
            name = f"{self.plain}{number}"
        if items.is_returned(result):
            self.returned.add(name)
        names.give(result, name)
        return name

    def _is_next(self, items: _Items, at: int, bind: int) -> bool:
        """Whether a name is given with nothing in between but other names."""
        return all(isinstance(items.all[i], (Bind, Let)) for i in range(at + 1, bind))

    def _target(self, items: _Items, at: int, result: Source) -> tuple[str | None, int | None]:
        """The name that a value ends up with, if it can have it from the start.

        With it the place of the statement that gives it, if that has nothing else to do.
        """
        end = items.end(at, result)
        item = None if end is None else items.all[end]
        if end is None or not isinstance(item, (Bind, _End)) or item.name is None:
            return None, None
        if isinstance(item, Bind) and item.name not in self.read:
            return None, None
        if not items.is_clear(item.name, at, end):
            return None, None
        if result in self.reads_of(item):
            return item.name, end if isinstance(item, Bind) else None
        is_gone = items.readers.after(end, result) is None
        return (item.name if is_gone else None), None

    # -- expressions

    def _expression(self, item: _Call, names: _Names, depth: int) -> tuple[Doc, list[str]]:
        inputs = [self._name(source, names) for source in item.reads]
        step = item.steps[0]
        if item.container is not None:
            container = item.container
            later = self._later_label(self._later_prefix(container))
            reached = self.layout.reach(container.prefix, later)
            return Group(f"{reached}(", tuple(inputs)), []
        if len(item.steps) > 1:
            assert step.cut is not None
            count, axis = step.cut
            return call("torch.chunk", inputs[0], str(count), f"dim={axis}"), []
        module, count_lines = "", list[str]()
        if step.has_module or step.again:
            module, count_lines = self._module(step, depth)
        if isinstance(step.form, Block):
            return Group(f"{module}(", tuple(inputs)), count_lines
        assert step.later is not None
        parameters = {
            name: f"{module}[{quote(name)}]" if name else self._array(step, module)
            for name in step.own
        }
        write = self.repeated.text
        means = Reached(inputs, module, parameters, self.functional, write, step.whole, step.ranks)
        doc = means.whole(_said_later(step.later))
        return (doc if isinstance(doc, (str, Group)) else flat(doc)), count_lines

    def _array(self, step: Placed, module: str) -> str:
        """A parameter or a buffer of the class itself."""
        (name,) = step.label or ("",)
        kind = "buffer" if step.is_buffer else "parameter"
        return module if is_attribute(name) else f"self.get_{kind}({quote(name)})"

    def _module(self, step: Placed, depth: int) -> tuple[str, list[str]]:
        if step in self.turns:
            return self.turns[step], []
        if step.later_label is not None:
            return self.layout.reach(step.label or (), self._later_label(step.later_label)), []
        name, lines = self.counted.name(step, depth)
        return self.layout.reach((name,), (name,)), lines

    def _later_label(self, label: Sequence[str]) -> list[str]:
        """A label as it is written in `forward`."""
        return [change_braced(p, partial(self.repeated.text, role="index")) for p in label]

    def _later_prefix(self, container: Container) -> tuple[str, ...]:
        """What a container is called, as `forward` writes it."""
        steps = (container.suite.steps or [])[container.first : container.last + 1]
        inside = (placed for step in steps for placed in placed_in(step))
        label = next(p.later_label for p in inside if p.later_label is not None)
        return label[: len(container.prefix)]

    def _note(self, step: Placed) -> str:
        note = note_of(step.span)
        known, self.noted = self.noted, note
        return "" if note == known else note

    # -- loops and conditions

    def _loop(self, loop: Loop, depth: int, names: _Names) -> list[str]:
        before = self.counted.start(loop, depth)
        read = {w for i in self._flat(loop.body) for t in self._own_texts(i) for w in words_in(t)}
        targets = ", ".join(name if name in read else "_" for name in loop.targets)
        targets, text = self.heads.get(loop, (targets, said(loop.later).name))
        mark = self.repeated.mark()
        text = self.repeated.text(text)
        given = targets.split(", ")
        body = self._inner(loop.body, depth + 1, None, self._inside(loop, names), given)
        if not body:
            self.repeated.drop(mark)
            return []
        return [*before, *loop_head(targets, text, depth), *body]

    def _inner(
        self,
        suite: Suite,
        depth: int,
        end: _End | None,
        outer: _Names,
        given: Sequence[str] = (),
    ) -> list[str]:
        """What stands under a loop, which gives values to names, or under a condition."""
        self.repeated.enter()
        self._gives(given)
        lines = self._suite(suite, depth, end, outer)
        self.repeated.leave()
        return lines

    def _turn(self, loop: Loop) -> None:
        """Let a loop run over the modules that its turns made, as TorchScript wants it."""
        index = f"{{{loop.targets[0]}}}"
        steps = [s for s in loop.body.steps or () if isinstance(s, Placed) and not s.again]
        made: list[Placed] = []
        homes: list[Container] = []
        for step in steps:
            home = self.layout.turned(step.label or ())
            if home is not None and step.label and step.label[-1] == index:
                made.append(step)
                homes.append(home)
        if not made:
            return
        labels = [step.later_label or () for step in made]
        names = [self.layout.module_for_turns(label[:-1]) for label in labels]
        reached = [self.layout.reach(label[:-1], label[:-1]) for label in labels]
        self.turns |= dict(zip(made, names, strict=True))
        items = list(self._flat(loop.body))
        read = {word for item in items for t in self._own_texts(item) for word in words_in(t)}
        counts = not read.isdisjoint(loop.targets[:1])
        # Keys of modules are words.
        has_no_count = counts and (len(made) > 1 or homes[0].keys == "numbers")
        if not read.isdisjoint(loop.targets[1:]) or has_no_count:
            for step in made:
                del self.turns[step]
            self._texts_of.clear()
            return
        targets = ", ".join([*(loop.targets[:1] if counts else ()), *names])
        if counts:
            runs_over = f"{reached[0]}.items()" if homes[0].keys else f"enumerate({reached[0]})"
        else:
            lists = [f"{r}.values()" if h.keys else r for r, h in zip(reached, homes, strict=True)]
            runs_over = lists[0] if len(made) == 1 else f"zip({', '.join(lists)}, strict=True)"
        self.heads[loop] = targets, runs_over

    def _flat(self, suite: Suite) -> Iterator[_Item]:
        for item in self.items[id(suite)]:
            yield item
            if isinstance(item, (Loop, Branch)):
                for inner in suites_in(item):
                    yield from self._flat(inner)

    def _inside(self, step: Loop | Branch, names: _Names) -> _Names:
        """Names under a loop or a condition: those of values outside are taken."""
        return _Names(dict(names.place), names.live | set(names.place.values()) - self.variables)

    def _branch(
        self, items: _Items, at: int, depth: int, names: _Names, done: set[_Item]
    ) -> list[str]:
        branch = items.all[at]
        assert isinstance(branch, Branch)
        values = [value for value in branch.values if value is not None]
        source: Source = (branch, 0)
        ends: list[_End | None] = [None] * len(branch.cases)
        if values:
            after = items.following(at)
            returns = (isinstance(after, Return) and len(after.values) == 1) or (
                isinstance(after, _End) and after.name is None
            )
            if after is not None and returns and self.reads_of(after) == [source]:
                done.add(after)
                ends = [_End(self._at(v.source), None) if v else None for v in branch.values]
            else:
                name = self._choose(items, at, source, names, set(), done)
                ends = [_End(self._at(v.source), name) if v else None for v in branch.values]
        mark = self.repeated.mark()
        tests = list(map(self.repeated.text, self._tests(branch)))
        lines = self.counted.start(branch, depth)
        noted = self.noted
        bodies = []
        inside = self._inside(branch, names)
        if ends[0] is not None and ends[0].name is not None:
            inside.live.discard(ends[0].name)
            inside.place.pop(source, None)
        for case, end in zip(branch.cases, ends, strict=True):
            self.noted = noted
            bodies.append(self._inner(case, depth + 1, end, inside))
        if not any(bodies):
            self.repeated.drop(mark)
            return []
        return lines + _cases(tests, bodies, depth)

    def _tests(self, branch: Branch) -> list[str]:
        flag = self.flags.get(branch)
        if flag is None:
            return [said(condition).name for condition in branch.later]
        if flag.is_module:
            return [f"self.{flag.name} is {'not ' if flag.holds == 0 else ''}None"]
        return [f"self.{flag.name}" if flag.holds == 0 else f"not self.{flag.name}"]


def _cases(tests: Sequence[str], bodies: list[list[str]], depth: int) -> list[str]:
    """`if`, `elif` and `else`; a case that returns needs no `else` after it."""
    if len(bodies) == 2 and not bodies[0]:
        return [*statement(f"if {_not(tests[0])}:", depth), *bodies[1]]
    lines: list[str] = []
    returned = False
    for at, body in enumerate(bodies):
        if at == len(tests):
            if returned:
                return lines + [line.removeprefix("    ") for line in body]
            return lines + ([*statement("else:", depth), *body] if body else [])
        word = "if" if at == 0 or returned else "elif"
        lines += statement(f"{word} {tests[at]}:", depth)
        lines += body or statement("pass", depth + 1)
        returned = bool(body) and body[-1].lstrip().startswith(("return ", ")"))
        returned = returned and any(
            line.startswith("    " * (depth + 1) + "return ") for line in body
        )
    return lines


def _not(test: str) -> str:
    if test.endswith(" is not None"):
        return test.removesuffix(" is not None") + " is None"
    if test.endswith(" is None"):
        return test.removesuffix(" is None") + " is not None"
    return opposite(test)


def _said_later(form: Torch) -> Torch:
    """A form as `forward` needs it: without what a module is made with."""
    if form.is_module:
        inputs = tuple(_said_later(i) if isinstance(i, Torch) else said(i) for i in form.inputs)
        given = {
            name: _said_later(to) if isinstance(to, Torch) else said(to)
            for name, to in form.call_options.items()
        }
        return replace(form, arguments=(), options={}, inputs=inputs, call_options=given)
    arguments = tuple(_said_later(a) if isinstance(a, Torch) else said(a) for a in form.arguments)
    return replace(
        form, arguments=arguments, options=said(form.options), defaults=said(form.defaults)
    )


def _named_within(steps: Sequence[Step], container: Container) -> Sequence[Step]:
    """The statements of a container, with what gives its value to a name that it has itself."""
    stop = container.last + 1
    names = {
        s.name for step in steps[container.first : stop] for s in under(step) if isinstance(s, Bind)
    }
    while stop < len(steps):
        step = steps[stop]
        if not (isinstance(step, Bind) and step.name in names):
            break
        stop += 1
    return steps[container.first : stop]


def _first(step: Step, at: int) -> Source:
    return step, at


def _readers(body: Suite) -> dict[str | Step, list[tuple[Source, Step]]]:
    """What reads each name and each value of a statement, and which of its values that is."""
    found: dict[str | Step, list[tuple[Source, Step]]] = {}
    for step in steps_in(body):
        for read in reads_of(step):
            for source in read.sources[:1]:  # where it is written that it is read from
                made = source if isinstance(source, str) else source[0]
                found.setdefault(made, []).append((source, step))
    return found


def _lists(body: Suite) -> set[str]:
    """The lists of values that something reads, or an item of them."""
    made: dict[str, list[Gather]] = {}
    new: set[str] = set()
    for step in steps_in(body):
        if isinstance(step, Gather):
            made.setdefault(step.name, []).append(step)
    if not made:
        return new
    for step in steps_in(body):
        if isinstance(step, Placed):
            new |= {
                source for at in step.whole for source in step.reads[at].sources if source in made
            }
        for read in reads_of(step):
            source = read.source if read.sources else ""
            if isinstance(source, str) and "[" in source and not isinstance(step, Gather):
                new |= words_in(source) & made.keys()
    found: set[str] = set()
    while new:
        found |= new
        parts = [part for name in new for step in made[name] for part in step.parts]
        inner = {word for part in parts for word in words_in(_text_of(part))}
        new = (inner & made.keys()) - found
    return found


def _text_of(part: Read | str) -> str:
    if isinstance(part, str):
        return part
    source = part.sources[0] if part.sources else ""
    return source if isinstance(source, str) else ""


_ATTRIBUTE = re.compile(r"\bself\.([A-Za-z_]\w*)")
