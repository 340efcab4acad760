"""Merges the calls of a block into one class, by comparing their traces event by event.

Where the calls took different branches, the class makes a decision when it is instantiated. The
values that depend on it are joined after its cases, but only those that are read there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

from netspec import codes
from netspec.compiler.ir.op import Torch
from netspec.compiler.ir.sizes import Size
from netspec.compiler.torch_backend.class_ir import (
    BlockClass,
    Choice,
    Layer,
    Step,
    Use,
    Value,
    symbols_in,
)
from netspec.compiler.torch_backend.local_sizes import Symbol, local, local_torch
from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.shifting_sequentials import SHIFTED, assemble
from netspec.compiler.torch_backend.trace import Applied, Called, Chosen, Event, Named, Trace
from netspec.compiler.torch_backend.traced_numbers import TracedFloat, outer_of
from netspec.diagnostics import Diagnostic, NetspecError


class CannotMergeError(Exception):
    """Two calls of a block differ in a way that no argument explains."""


_Path = tuple[tuple[Choice, int], ...]


class Merger:
    """Merges the traces of one block."""

    def __init__(self, traces: list[Trace], homes: Mapping[int, BlockClass]) -> None:
        self.traces = traces
        self.homes = homes
        self.values: list[dict[str, Value]] = [{} for _ in traces]
        self.names: dict[Value, str] = {}
        self.count = 0
        # The blocks so far: what the object at each path was created from.
        self.objects: dict[str, list[tuple[BlockClass, Any]]] = {}
        # The decisions so far: each with the case that every trace took.
        self.decided: list[tuple[Choice, dict[int, int]]] = []
        # The cases that enclose the current place, those in which each value was made, and those
        # around each decision.
        self.path: _Path = ()
        self.home: dict[Value, _Path] = {}
        self.place: dict[Choice, _Path] = {}
        # The numbers in those labels that differ between the calls.
        self.numbers: dict[Layer | Use, dict[int, int]] = {}

    def merged(self) -> BlockClass:
        """The class that serves all traces.

        Raises:
            CannotMergeError: if there is none.
        """
        first = self.traces[0]
        if len({(tuple(trace.inputs), len(trace.results)) for trace in self.traces}) > 1:
            raise CannotMergeError
        inputs = {}
        for name in first.inputs:
            inputs[name] = self._new()
            for at, trace in enumerate(self.traces):
                self.values[at].setdefault(trace.inputs[name], inputs[name])
        everyone = list(range(len(self.traces)))
        steps = self._steps([list(trace.events) for trace in self.traces], everyone)
        results = tuple(
            self._value(everyone, names)
            for names in zip(*(trace.results for trace in self.traces), strict=True)
        )
        flat = _without_idle_choices(steps)
        steps = self._assembled(flat, results)
        made = BlockClass(
            first.definition, first.definition.name.id, [], inputs, results, steps, self.names,
            self.traces, unassembled=flat,
        )  # fmt: skip
        used = symbols_in(made)
        # Sizes of inputs come before the arguments of the file, which may have defaults.
        own = {safe_name(parameter.name.id) for parameter in first.definition.parameters}
        made.symbols = [s for s in first.symbols if s in used]
        made.symbols.sort(key=lambda symbol: symbol in own)
        return made

    def _assembled(self, steps: list[Step], results: Sequence[Value]) -> list[Step]:
        """Return the steps, with lists in place of those whose labels have different numbers in
        different calls.

        Raises:
            CannotMergeError: if they do not form such a list.
        """
        if not self.numbers:
            return steps
        found = assemble(steps, results, self.numbers, dict(self.decided), len(self.traces))
        if found is None:
            raise CannotMergeError
        return found

    def _label(self, heads: Sequence[Applied | Called], holds_module: bool = True) -> str:
        """Return the label that all calls share, or a label of shifting numbers.

        The label does not matter if the step holds no module.
        """
        paths = [head.path for head in heads]
        if len(set(paths)) == 1 or not holds_module:
            return paths[0]
        homes = {path.rpartition(".")[0] for path in paths}
        numbered = all(path.rpartition(".")[2].isdigit() for path in paths)
        if len(homes) > 1 or not numbered or homes == {""} or any(head.reused for head in heads):
            raise CannotMergeError
        return f"{homes.pop()}.{SHIFTED}"

    def _count(self, step: Layer | Use, heads: Sequence[Applied | Called], who: list[int]) -> None:
        """Keep the numbers of a label that differs between the calls."""
        if step.path.endswith(SHIFTED):
            self.numbers[step] = {
                at: int(head.path.rpartition(".")[2]) for at, head in zip(who, heads, strict=True)
            }

    def _new(self) -> Value:
        self.count += 1
        self.home[self.count] = self.path
        return self.count

    def _steps(self, lists: list[list[Event]], who: list[int]) -> list[Step]:
        steps: list[Step] = []
        while any(lists):
            if not all(lists):
                raise CannotMergeError
            heads = [events.pop(0) for events in lists]
            head = heads[0]
            if any(type(other) is not type(head) for other in heads):
                raise CannotMergeError
            if isinstance(head, Chosen):
                step = self._choice(heads, lists, who)  # type: ignore[arg-type]
                if step is not None:
                    steps.append(step)
            elif isinstance(head, Named):
                self._name(heads, who)  # type: ignore[arg-type]
            elif isinstance(head, Applied):
                steps.append(self._layer(heads, who))  # type: ignore[arg-type]
            else:
                steps.append(self._use(heads, who))  # type: ignore[arg-type]
        return steps

    def _choice(
        self, heads: list[Chosen], lists: list[list[Event]], who: list[int]
    ) -> Choice | None:
        if len({head.span for head in heads}) > 1:
            raise CannotMergeError
        cases = sorted({head.case for head in heads})
        if len(cases) == 1:
            for events, head in zip(lists, heads, strict=True):
                events[:0] = head.events
            return None
        if len({head.conditions for head in heads}) > 1:
            raise CannotMergeError
        conditions = heads[0].conditions
        choice = Choice([], heads[0].span)
        inside = [list(head.events) for head in heads]
        if not all(lists):
            # One case has returned, so the remaining events of the others belong to their cases.
            for events, rest in zip(inside, lists, strict=True):
                events += rest
                rest.clear()
        outside = self.place[choice] = self.path
        for number, case in enumerate(cases):
            self.path = (*outside, (choice, number))
            members = [at for at, head in enumerate(heads) if head.case == case]
            condition = None if case == cases[-1] else conditions[case]
            inner = self._steps([inside[at] for at in members], [who[at] for at in members])
            choice.cases.append((condition, inner))
        self.path = outside
        took = {who[at]: cases.index(head.case) for at, head in enumerate(heads)}
        self.decided.append((choice, took))
        return choice

    def _name(self, heads: list[Named], who: list[int]) -> None:
        if len({head.name for head in heads}) > 1:
            raise CannotMergeError
        value = self._value(who, [head.value for head in heads])
        self.names[value] = heads[0].name

    def _layer(self, heads: list[Applied], who: list[int]) -> Layer:
        head = heads[0]
        torch = self._agreed([local_torch(h.torch(), h.shapes) for h in heads], who)
        # A module of `torch.nn` creates its parameters by itself.
        own = {} if torch.module is not None else {s.name for s in head.specs}
        shapes = self._agreed(
            [{s.name: local(s.shape) for s in h.specs if s.name in own} for h in heads], who
        )
        step = Layer(
            torch,
            shapes,
            bool(head.specs),
            self._label(heads, torch.module is not None or bool(head.specs)),
            self._same([h.reused for h in heads]),
            self._inputs(heads, who),
            self._results(heads, who),
            head.span,
            head.of_views,
            torch.module is None and any(s.role in ("statistic", "constant") for s in head.specs),
            all(s.role != "constant" for s in head.specs),
        )
        self._count(step, heads, who)
        return step

    def _use(self, heads: list[Called], who: list[int]) -> Use:
        of = self._same([self.homes[id(h.body)] for h in heads])
        given = self._agreed(
            [{k: local(v) for k, v in _all_given(h).items() if k in of.symbols} for h in heads], who
        )
        objects = self.objects.setdefault(heads[0].path, [])
        objects.append((of, given))
        if heads[0].reused and any(other != (of, given) for other in objects):
            message = (
                f"`{heads[0].path}` would need a separate PyTorch module for each of its calls"
            )
            note = "its layers depend on the sizes of its inputs, which differ"
            raise NetspecError(
                [Diagnostic(codes.COMPILE_SHARED_BLOCK, message, heads[0].span, notes=(note,))]
            )
        step = Use(
            of,
            given,
            self._label(heads),
            self._same([h.reused for h in heads]),
            self._inputs(heads, who),
            self._results(heads, who),
            heads[0].span,
        )
        self._count(step, heads, who)
        return step

    def _inputs(self, heads: Sequence[Applied | Called], who: list[int]) -> tuple[Value, ...]:
        if len({len(h.inputs) for h in heads}) > 1:
            raise CannotMergeError
        return tuple(
            self._value(who, names) for names in zip(*(h.inputs for h in heads), strict=True)
        )

    def _results(self, heads: Sequence[Applied | Called], who: list[int]) -> tuple[Value, ...]:
        results = []
        for names in zip(*(h.results for h in heads), strict=True):
            value = self._new()
            results.append(value)
            for at, name in zip(who, names, strict=True):
                self.values[at][name] = value
        return tuple(results)

    def _same(self, found: list[Any]) -> Any:
        if any(other != found[0] for other in found):
            raise CannotMergeError
        return found[0]

    def _agreed(self, found: list[Any], who: Sequence[int]) -> Any:
        """Return an expression that is right for all calls.

        Where their numbers differ, it may use arguments.

        If one call has `channels` where another has `expand * channels`, and `expand` is 1 in the
        first, the longer expression is right for both.
        """
        first = found[0]
        if all(other == first and type(other) is type(first) for other in found):
            return first
        if isinstance(first, (int, float, Size, Symbol)) and not isinstance(first, bool):
            values = [self._outer(value, at) for at, value in zip(who, found, strict=True)]
            for candidate in found:
                if [self._outer(candidate, at) for at in who] == values:
                    return candidate
        if all(type(other) is type(first) for other in found):
            if isinstance(first, Torch):
                parts = [{f.name: getattr(t, f.name) for f in fields(Torch)} for t in found]
                return Torch(**self._agreed(parts, who))
            if isinstance(first, tuple) and len({len(other) for other in found}) == 1:
                return tuple(self._agreed(list(items), who) for items in zip(*found, strict=True))
            if isinstance(first, dict) and len({tuple(other) for other in found}) == 1:
                return {key: self._agreed([other[key] for other in found], who) for key in first}
        raise CannotMergeError

    def _outer(self, value: Any, at: int) -> Any:
        """Convert a number in the class's arguments to one in the net's arguments, for one call."""
        given = self.traces[at].symbols
        if isinstance(value, Symbol):
            number = given[value.name]
            return (isinstance(number, TracedFloat) and number.outer) or float(number)
        if isinstance(value, Size):
            numbers = {name: outer_of(n) for name, n in given.items() if isinstance(n, int)}
            return value.at(cast(Mapping[str, int], numbers))
        return value

    def _value(self, who: Sequence[int], names: Sequence[str]) -> Value:
        """Return the value for which names stand, one in each trace: one value, or one joined by a
        decision.
        """
        found = {at: self.values[at][name] for at, name in zip(who, names, strict=True)}
        return self._brought_out(self._join(found), self.path)

    def _join(self, found: dict[int, Value]) -> Value:
        if len(set(found.values())) == 1:
            return next(iter(found.values()))
        for choice, took in reversed(self.decided):
            if not found.keys() <= took.keys():
                continue
            cases = range(len(choice.cases))
            by_case = [{at: v for at, v in found.items() if took[at] == case} for case in cases]
            if sum(map(bool, by_case)) < 2:
                continue
            try:
                values = tuple(self._join(part) if part else None for part in by_case)
            except CannotMergeError:
                continue
            if len({value for value in values if value is not None}) == 1:
                return next(value for value in values if value is not None)
            return self._joined(choice, values)
        raise CannotMergeError

    def _joined(self, choice: Choice, values: tuple[Value | None, ...]) -> Value:
        """Return the value that is one of these after a decision, depending on its case."""
        outside = self.place[choice]
        parts = tuple(
            None if value is None else self._brought_out(value, (*outside, (choice, at)))
            for at, value in enumerate(values)
        )
        for joined, known in choice.joined.items():
            if all(a is None or b is None or a == b for a, b in zip(known, parts, strict=True)):
                both = zip(known, parts, strict=True)
                choice.joined[joined] = tuple(b if a is None else a for a, b in both)
                return joined
        joined = self._new()
        self.home[joined] = outside
        choice.joined[joined] = parts
        name = next((self.names[v] for v in reversed(parts) if v in self.names), None)
        if name is not None:
            self.names[joined] = name
        return joined

    def _brought_out(self, value: Value, path: _Path) -> Value:
        """Return a value as seen from a place, joined by each decision whose cases the place is
        outside of.
        """
        while (home := self.home[value]) != path[: len(home)]:
            choice, case = home[-1]
            parts = tuple(value if at == case else None for at in range(len(choice.cases)))
            value = self._joined(choice, parts)
        return value


def _all_given(head: Called) -> dict[str, Any]:
    """What a block is called with: numbers, and what is no number."""
    given = {safe_name(name): value for name, value in head.body.arguments.items()}
    return {**given, **head.given}


def _without_idle_choices(steps: Sequence[Step]) -> list[Step]:
    """Return the steps without decisions that have no effect.

    Raises:
        CannotMergeError: if any other decision has a condition that arguments cannot express.
    """
    kept: list[Step] = []
    for step in steps:
        if isinstance(step, Choice):
            step.cases = [(c, _without_idle_choices(inner)) for c, inner in step.cases]
            if not step.joined and not any(inner for _, inner in step.cases):
                continue
            for condition, _ in step.cases[:-1]:
                if condition is None or condition.text is None or not condition.symbols:
                    raise CannotMergeError
        kept.append(step)
    return kept
