"""Writes the `forward` of a generated class: one statement per node, with the file's names for
values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from netspec.compiler.torch_backend.class_ir import Assembled, BlockClass, Choice, Layer, Value
from netspec.compiler.torch_backend.constructor import note_of
from netspec.compiler.torch_backend.containers import Chain, Unit
from netspec.compiler.torch_backend.expressions import Reached
from netspec.compiler.torch_backend.module_paths import Places
from netspec.compiler.torch_backend.naming import quote, safe_name
from netspec.compiler.torch_backend.python_layout import Doc, Group, flat, prefixed, statement
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
        symbols: Mapping[str, str],
    ) -> None:
        """Write the statements.

        Args:
            made: the class.
            units: its steps, with chains.
            places: the attributes that hold its modules.
            tests: the tests of each decision.
            uses: how often each value is read.
            functional: the name of `torch.nn.functional`.
            symbols: the expressions for arguments of the class.
        """
        self.made = made
        self.places = places
        self.tests = tests
        self.left = Counter(uses)
        self.functional = functional
        self.symbols = symbols
        self.plain = "x" if made.traces[0].prefix == "" else "out"
        self.wanted = _wanted_names(made, units, uses)
        # The name that holds each value now, and the value that each name holds.
        self.name_of: dict[Value, str] = {v: safe_name(n) for n, v in made.inputs.items()}
        self.holds: dict[str, Value] = {name: v for v, name in self.name_of.items()}
        self.lines: list[str] = []
        self._units(units, 2, made.results)

    def _units(
        self, units: Sequence[Unit], depth: int, results: Sequence[Value] | None = None
    ) -> None:
        """Write the statements of units. If there are `results`, they are returned at the end."""
        for unit in units:
            last = results is not None and unit is units[-1]
            if isinstance(unit, Choice):
                if last and results is not None and any(v in unit.joined for v in results):
                    self._last_choice(unit, depth, results)
                    return
                self._choice(unit, depth)
            else:
                doc = self._expression(unit)
                for value in unit.inputs:
                    self.left[value] -= 1
                note = (
                    _lines_of(unit.span)
                    if isinstance(unit, (Assembled, Chain))
                    else note_of(unit.span)
                )
                if last and unit.results == tuple(results or ()):
                    self.lines += statement(prefixed("return ", doc), depth, note=note)
                    return
                names = ", ".join(self._define(value) for value in unit.results)
                self.lines += statement(prefixed(f"{names} = ", doc), depth, note=note)
        if results is not None:
            names = ", ".join(self.name_of[value] for value in results)
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
            parameters = {n: f"{home}[{quote(n)}]" if n else home for n in unit.parameters}
        means = Reached(inputs, reached, parameters, self.functional, self.symbols)
        doc = means.whole(unit.torch)
        return doc if isinstance(doc, (str, Group)) else flat(doc)

    def _define(self, value: Value, wanted: str | None = None) -> str:
        """Choose a name for a new value: the wanted one, unless it holds a value that is still
        needed.
        """
        if not self.left[value]:
            return "_"
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
        """Write the cases of a decision. Each case assigns its joined values to the same names."""
        inside, after = self._readers(choice)
        joined = self._joined_names(choice, after)
        before = dict(self.name_of), dict(self.holds)
        outer, bodies = self.lines, []
        for at, (_, units) in enumerate(choice.cases):
            self.name_of, self.holds = dict(before[0]), dict(before[1])
            self.left, self.lines = after + inside[at], []
            for value, parts in choice.joined.items():
                part = parts[at]
                if part is not None and part not in self.name_of:
                    self.wanted[part] = joined[value]
            self._units(units, depth + 1)
            moves = {}
            for value, parts in choice.joined.items():
                part = parts[at]
                if part is not None and self.name_of[part] != joined[value]:
                    moves[joined[value]] = self.name_of[part]
            if moves:
                doc = f"{', '.join(moves)} = {', '.join(moves.values())}"
                self.lines += statement(doc, depth + 1)
            bodies.append(self.lines)
        self.lines, self.left = outer, after
        self.name_of, self.holds = before
        for value, name in joined.items():
            self._hold(value, name)
        self._write_cases(self.tests[choice], bodies, depth, note_of(choice.span))

    def _last_choice(self, choice: Choice, depth: int, results: Sequence[Value]) -> None:
        """Write the cases of a decision, each of which returns."""
        inside, after = self._readers(choice)
        before = dict(self.name_of), dict(self.holds)
        tests = self.tests[choice]
        for at, (_, units) in enumerate(choice.cases):
            self.name_of, self.holds = dict(before[0]), dict(before[1])
            self.left = after + inside[at]
            if at < len(tests):
                note = note_of(choice.span) if at == 0 else ""
                self.lines += statement(f"if {tests[at]}:", depth, note=note)
            own = [choice.joined[v][at] if v in choice.joined else v for v in results]
            known = [value for value in own if value is not None]
            assert len(known) == len(own)
            self._units(units, depth + (at < len(tests)), known)

    def _readers(self, choice: Choice) -> tuple[list[Counter[Value]], Counter[Value]]:
        """Return how often values are read in each case, and how often after all of them."""
        inside = [_reads(units) for _, units in choice.cases]
        for at, reads in enumerate(inside):
            reads.update(choice.parts(at))
        after = Counter(self.left)
        for reads in inside:
            after.subtract(reads)
        return inside, after

    def _joined_names(self, choice: Choice, after: Mapping[Value, int]) -> dict[Value, str]:
        """Choose names for the joined values, among those that hold nothing that is needed after
        the cases.
        """
        joined: dict[Value, str] = {}
        for value in choice.joined:
            wanted = self.wanted.get(value) or self.plain
            name, number = wanted, 1
            while name in joined.values() or after.get(self.holds.get(name, 0), 0) > 0:
                number += 1
                name = safe_name(f"{wanted}{number}")
            joined[value] = name
        return joined

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


def _reads(units: Sequence[Unit]) -> Counter[Value]:
    """Count how often each value is read."""
    count: Counter[Value] = Counter()
    for unit in units:
        if isinstance(unit, Choice):
            for _, inner in unit.cases:
                count += _reads(inner)
            count.update(unit.parts())
        else:
            count.update(unit.inputs)
    return count


def _wanted_names(
    made: BlockClass, units: Sequence[Unit], uses: Counter[Value]
) -> dict[Value, str]:
    """Return the names that values should have: that of the file, or that of a value computed from
    them.
    """
    wanted = {value: safe_name(name) for value, name in made.names.items()}
    for value in made.inputs.values():
        wanted.pop(value, None)

    _name_sources(units, uses, wanted)
    for value in made.inputs.values():
        wanted.pop(value, None)
    return wanted


def _name_sources(units: Sequence[Unit], uses: Counter[Value], wanted: dict[Value, str]) -> None:
    """Give a value that is read once the name of the value that is computed from it."""
    for unit in reversed(units):
        if isinstance(unit, Choice):
            for joined, parts in unit.joined.items():
                for part in parts:
                    if part is not None and joined in wanted and uses[part] == 1:
                        wanted.setdefault(part, wanted[joined])
            for _, inner in unit.cases:
                _name_sources(inner, uses, wanted)
            continue
        name = next((wanted[v] for v in unit.results if v in wanted), None)
        if name is not None and len(unit.inputs) == 1 and uses[unit.inputs[0]] == 1:
            wanted.setdefault(unit.inputs[0], name)


def _lines_of(span: Span) -> str:
    """Return a place such as `lenet.net:6-10`."""
    first = note_of(span)
    last, _ = span.source.position(max(span.start, span.end - 1))
    return first if last == span.line else f"{first}-{last}"
