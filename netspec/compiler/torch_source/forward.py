"""The `forward` of a generated class: one statement a node, values under the file's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from netspec.compiler.torch_source.classes import BlockClass, Choice, Layer, Value
from netspec.compiler.torch_source.constructor import note_of
from netspec.compiler.torch_source.containers import Chain, Unit
from netspec.compiler.torch_source.expressions import expression_doc
from netspec.compiler.torch_source.layout import Doc, Group, flat, prefixed, statement
from netspec.compiler.torch_source.modules import Places
from netspec.compiler.torch_source.naming import quote, safe_name
from netspec.diagnostics import Span


class Forward:
    """Writes the statements of one `forward`."""

    def __init__(
        self,
        made: BlockClass,
        units: Sequence[Unit],
        places: Places,
        tests: Mapping[Choice, list[str]],
        uses: Counter[Value],
        functional: str,
    ) -> None:
        self.made = made
        self.places = places
        self.tests = tests
        self.left = Counter(uses)
        self.functional = functional
        self.plain = "x" if made.traces[0].prefix == "" else "out"
        self.wanted = _wanted_names(made, units, uses)
        # The names that hold a value now, and the other way round.
        self.name_of: dict[Value, str] = {v: safe_name(n) for n, v in made.inputs.items()}
        self.holds: dict[str, Value] = {name: v for v, name in self.name_of.items()}
        self.lines: list[str] = []
        self._units(units, 2, tail=True)

    def _units(self, units: Sequence[Unit], depth: int, *, tail: bool = False) -> None:
        for unit in units:
            last = tail and unit is units[-1]
            if isinstance(unit, Choice):
                self._choice(unit, depth)
            else:
                doc = self._expression(unit)
                for value in unit.inputs:
                    self.left[value] -= 1
                note = note_of(unit.span) if not isinstance(unit, Chain) else _lines_of(unit.span)
                if last and unit.results == self.made.results:
                    self.lines += statement(prefixed("return ", doc), depth, note=note)
                    return
                names = ", ".join(self._define(value) for value in unit.results)
                self.lines += statement(prefixed(f"{names} = ", doc), depth, note=note)
        if tail:
            names = ", ".join(self.name_of[value] for value in self.made.results)
            self.lines += statement(f"return {names}", depth)

    def _expression(self, unit: Unit) -> Doc:
        assert not isinstance(unit, Choice)
        inputs = [self.name_of[value] for value in unit.inputs]
        if not isinstance(unit, Layer):
            return Group(f"{self.places.reach(unit.path)}(", tuple(inputs))
        reached, parameters = "", {}
        if unit.torch.module is not None:
            reached = self.places.reach(unit.path)
        elif unit.parameters:
            home = self.places.reach(unit.path)
            parameters = {name: f"{home}[{quote(name)}]" for name in unit.parameters}
        doc = expression_doc(unit.torch, inputs, reached, parameters, self.functional)
        return doc if isinstance(doc, (str, Group)) else flat(doc)

    def _define(self, value: Value, wanted: str | None = None) -> str:
        """A name for a new value: the one it wants, if what that holds is not needed any more."""
        wanted = wanted or self.wanted.get(value) or self.plain
        name, number = wanted, 1
        while name in self.holds and self.left[self.holds[name]] > 0:
            number += 1
            name = safe_name(f"{wanted}{number}")
        self._hold(value, name)
        return name

    def _hold(self, value: Value, name: str) -> None:
        self.name_of[value] = name
        self.holds[name] = value

    def _choice(self, choice: Choice, depth: int) -> None:
        """The cases; each leaves what it decides under one name."""
        joined = {}
        for value, parts in choice.joined.items():
            name = self.wanted.get(value) or self.plain
            # The name must be free before the first case and after the last.
            number, free = 1, name
            while free in self.holds and not self._may_take(free, parts, choice):
                number += 1
                free = safe_name(f"{name}{number}")
            joined[value] = free
        tests = self.tests[choice]
        bodies = []
        before = dict(self.name_of), dict(self.holds)
        for at, (_, units) in enumerate(choice.cases):
            self.name_of, self.holds = dict(before[0]), dict(before[1])
            outer, self.lines = self.lines, []
            for value, parts in choice.joined.items():
                if parts[at] not in self.name_of:
                    self.wanted[parts[at]] = joined[value]
            self._units(units, depth + 1)
            for value, parts in choice.joined.items():
                if self.name_of[parts[at]] != joined[value]:
                    source = self.name_of[parts[at]]
                    self.lines += statement(f"{joined[value]} = {source}", depth + 1)
            bodies.append(self.lines)
            self.lines = outer
        self.name_of, self.holds = before
        for parts in choice.joined.values():
            for part in parts:
                self.left[part] -= 1
        for value, name in joined.items():
            self._hold(value, name)
        self._write_cases(tests, bodies, depth, note_of(choice.span))

    def _may_take(self, name: str, parts: Sequence[Value], choice: Choice) -> bool:
        """Whether a name's value is not needed but for this choice, as what a case leaves it."""
        held = self.holds[name]
        needed = self.left[held]
        if held in parts:
            needed -= sum(held == part for values in choice.joined.values() for part in values)
            inside = sum(_reads(units, held) for _, units in choice.cases)
            needed -= inside if len([p for p in parts if p == held]) == 1 else 0
        return needed <= 0

    def _write_cases(
        self, tests: Sequence[str], bodies: list[list[str]], depth: int, note: str
    ) -> None:
        if len(bodies) == 2 and not bodies[0]:
            self.lines += statement(f"if {_opposite(tests[0])}:", depth, note=note)
            self.lines += bodies[1]
            return
        if len(bodies) == 2 and len(bodies[1]) == 0:
            self.lines += statement(f"if {tests[0]}:", depth, note=note)
            self.lines += bodies[0]
            return
        for at, body in enumerate(bodies):
            test = f"{'if' if at == 0 else 'elif'} {tests[at]}:" if at < len(tests) else "else:"
            self.lines += statement(test, depth, note=note if at == 0 else "")
            self.lines += body or statement("pass", depth + 1)


def _opposite(test: str) -> str:
    if test.endswith(" is not None"):
        return test.removesuffix(" is not None") + " is None"
    if test.endswith(" is None"):
        return test.removesuffix(" is None") + " is not None"
    return test.removeprefix("not ") if test.startswith("not ") else f"not {test}"


def _reads(units: Sequence[Unit], value: Value) -> int:
    count = 0
    for unit in units:
        if isinstance(unit, Choice):
            count += sum(_reads(inner, value) for _, inner in unit.cases)
            count += sum(value == p for parts in unit.joined.values() for p in parts)
        else:
            count += unit.inputs.count(value)
    return count


def _wanted_names(
    made: BlockClass, units: Sequence[Unit], uses: Counter[Value]
) -> dict[Value, str]:
    """What values should be called: the file's name for them, or for what becomes of them."""
    wanted = {value: safe_name(name) for value, name in made.names.items()}
    for value in made.inputs.values():
        wanted.pop(value, None)

    def walk(units: Sequence[Unit]) -> None:
        for unit in reversed(units):
            if isinstance(unit, Choice):
                for joined, parts in unit.joined.items():
                    for part in parts:
                        if joined in wanted and uses[part] == 1:
                            wanted.setdefault(part, wanted[joined])
                for _, inner in unit.cases:
                    walk(inner)
                continue
            name = next((wanted[v] for v in unit.results if v in wanted), None)
            if name is not None and len(unit.inputs) == 1 and uses[unit.inputs[0]] == 1:
                wanted.setdefault(unit.inputs[0], name)

    walk(units)
    for value in made.inputs.values():
        wanted.pop(value, None)
    return wanted


def _lines_of(span: Span) -> str:
    """`lenet.net:6-10`."""
    first = note_of(span)
    last, _ = span.source.position(max(span.start, span.end - 1))
    return first if last == span.line else f"{first}-{last}"
