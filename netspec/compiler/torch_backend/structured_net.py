"""The structure of a net, recorded with its arguments and proved with others.

The net is built with other values for its arguments, one after another and together. The statements
must stay the same, the classes of its blocks must be what the blocks do, and the initial values must be
those that the constructor gives. Every case of a condition must have been met. Else there is no
structure, and the net keeps the arguments that it was generated with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netspec.compiler.elaborate.net import build
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.initializers import Initializer, Values
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.class_arguments import TracedNet, chosen_rules, trace_fixed
from netspec.compiler.torch_backend.class_ir import BlockClass
from netspec.compiler.torch_backend.classes import classes_of
from netspec.compiler.torch_backend.drop_dead import live_part
from netspec.compiler.torch_backend.honoured_arguments import agrees
from netspec.compiler.torch_backend.init_calls import Fill, Owned, fills_of
from netspec.compiler.torch_backend.python_constants import names_of, python_name
from netspec.compiler.torch_backend.structure import (
    Block,
    NotStructuredError,
    Placed,
    Recorder,
    Suite,
    suites_in,
)
from netspec.compiler.torch_backend.structure_tracer import (
    Carried,
    Places,
    RestartError,
    Results,
    StructureTracer,
    named,
)
from netspec.compiler.torch_backend.structured_layout import Layout, Placement
from netspec.compiler.torch_backend.trace import Called, Event
from netspec.compiler.torch_backend.traced_numbers import TracedFloat, plain
from netspec.diagnostics import DiagnosticSink

# So many other values of an argument are enough, and so many starts over.
_ENOUGH, _STARTS = 2, 40


@dataclass
class StructuredNet:
    """A net as statements.

    Attributes:
        traced: the net with these arguments.
        classes: those of its blocks.
        body: the statements.
        layout: where their modules lie.
        values: the arguments, by their Python names.
        fractional: those whole numbers that may be fractions.
        fills: what all modules of a class start from, by the class.
        own: the initial values of single layers: by statement and the parameter's own name.
        ranks: how many axes these parameters have.
        homes: the class of each block.
    """

    traced: TracedNet
    classes: list[BlockClass]
    body: Suite
    layout: Layout
    values: dict[str, Any]
    homes: Mapping[syntax.Block, BlockClass]
    fractional: set[str] = field(default_factory=set)
    fills: dict[str, list[Fill]] = field(default_factory=dict)
    own: dict[tuple[Placed, str], Initializer] = field(default_factory=dict)
    ranks: dict[tuple[Placed, str], int] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The net with these arguments, layer by layer."""
        return self.traced.graph


def has_loops(net: syntax.Net) -> bool:
    """Whether a net's body has loops or conditions, and so a structure that is not its layers'.

    One with arrays of its own is no chain.
    """
    found = set(map(type, syntax.parts(net.body)))
    return not found.isdisjoint((syntax.For, syntax.If)) and syntax.Declared not in found


def structured_net(written: Written) -> StructuredNet | None:
    """The structure of a sound net, if it has one."""
    traced = trace_fixed(written.net, written.module, written.arguments)
    *classes, _ = classes_of(traced.trace)
    try:
        return _Proof(written, traced, classes).structured()
    except NotStructuredError:
        return None


class _Proof:
    def __init__(
        self,
        written: Written,
        traced: TracedNet,
        classes: list[BlockClass],
    ) -> None:
        self.written = written
        self.values = {name: plain(value) for name, value in traced.values.items()}
        self.recorder = Recorder()
        self.carried = Carried()
        self.results = Results()
        self.places = Places(written.net, written.module)
        homes: dict[syntax.Block, BlockClass] = {}
        for made in classes:
            assert isinstance(made.definition, syntax.Block)
            if made.definition in homes:
                raise NotStructuredError
            homes[made.definition] = made
        own = {python_name(name): value for name, value in self.values.items()}
        empty = Suite([])
        self.net = StructuredNet(traced, classes, empty, Layout(empty, set()), own, homes)
        self.small: dict[str, Any] = {}
        self.runs: list[list[Placement]] = []
        self.checked: set[tuple[Any, ...]] = set()

    def structured(self) -> StructuredNet:
        """The net, proved."""
        if any(p.default is not None and names_of(p.default) for p in self.written.net.parameters):
            raise NotStructuredError
        if any(node.op.moves_axes for node in self.net.graph.nodes):
            raise NotStructuredError
        others = list(self._others())
        for _ in range(_STARTS):
            try:
                self._record(others)
            except RestartError:
                self.recorder = Recorder()
                continue
            self.net.body = self.recorder.root
            _require_all(self.net.body)
            self.net.layout = Layout(self.net.body, self.places.names)
            for placements in self.runs:
                self.net.layout.check(placements)
            return self.net
        raise NotStructuredError

    def _record(self, others: Sequence[Mapping[str, Any]]) -> None:
        self.net.fractional.clear()
        self.runs.clear()
        runs = [self._run(self.values)]
        for other in others:
            runs.append(self._run({**self.values, **other}))
        for name, value in self.values.items():
            if type(value) is int and self._takes_fraction(name, value, runs):
                self.net.fractional.add(python_name(name))
        self._rules(*max(runs, key=lambda run: len(chosen_rules(run[1]))))
        for run in runs:
            self._check_rules(*run)

    def _takes_fraction(
        self, name: str, value: int, runs: list[tuple[StructureTracer, Graph]]
    ) -> bool:
        """Whether an argument may be a fraction too; the runs that show it are added to others."""
        kept = len(runs), len(self.runs)
        before = Carried(
            {span: set(axes) for span, axes in self.carried.axes.items()},
            set(self.carried.unknown),
        )
        taken = 0
        for other in (value * 0.5, value + 0.5, value * 1.75 + 0.125):
            given = {**self.values, **self.small, name: other}
            if taken == 2 or self._graph(given) is None:
                continue
            try:
                runs.append(self._run(given))
            except (NotStructuredError, RestartError):
                del runs[kept[0] :], self.runs[kept[1] :]
                self.recorder.forget()
                self.carried.axes, self.carried.unknown = before.axes, before.unknown
                return False
            taken += 1
        return taken > 0

    # -- other arguments

    def _others(self) -> Iterator[dict[str, Any]]:
        """Sound settings: one argument changed, then all at once; lists first, to be short after."""
        found: dict[str, list[Any]] = {}
        order = sorted(self.values, key=lambda name: not isinstance(self.values[name], tuple))
        for name in order:
            found[name] = []
            for other in _other_values(self.values[name]):
                setting = {**self.small, name: other}
                if self._graph({**self.values, **setting}) is not None:
                    found[name].append(other)
                    if len(found[name]) == 1 or type(other) is not int:
                        yield setting
                if len(found[name]) == _ENOUGH:
                    break
            if not found[name]:  # nothing shows what depends on it
                raise NotStructuredError
            short = [other for other in found[name] if isinstance(other, tuple) and other]
            if short:
                self.small[name] = min(short, key=len)
        for at in range(_ENOUGH):
            together = {name: others[at] for name, others in found.items() if len(others) > at}
            if len(together) > 1 and self._graph({**self.values, **together}) is not None:
                yield together

    def _graph(self, arguments: Mapping[str, Any]) -> Graph | None:
        whole = {**self.written.arguments, **arguments}
        return build(self.written.net, self.written.module, whole, DiagnosticSink())[0]

    def _run(self, arguments: Mapping[str, Any]) -> tuple[StructureTracer, Graph]:
        """Record the net with these arguments, or compare it with what was recorded."""
        net, module = self.written.net, self.written.module
        self.recorder.begin()
        taken = {block: home.symbols for block, home in self.net.homes.items()}
        tracer = StructureTracer(net, self.recorder, self.carried, self.places, taken, self.results)
        own = {name: named(python_name(name), value) for name, value in arguments.items()}
        given = {**self.written.arguments, **own}
        graph, assembly = build(net, module, given, DiagnosticSink(), follower=tracer)
        if graph is None or list(graph.outputs.values()) != [tracer.current]:
            raise NotStructuredError
        if len(assembly.inputs) != 1:
            raise NotStructuredError
        self.recorder.leave()
        live = eliminate_dead(graph)
        if len(live.nodes) != len(graph.nodes):
            raise NotStructuredError
        events = live_part(tracer.record.events, {*graph.by_name, *graph.inputs})
        for called in _calls(events):
            self._check_call(called)
        self.runs.append(tracer.placements)
        return tracer, graph

    # -- blocks

    def _check_call(self, called: Called) -> None:
        """Whether the class of a block does what this call does."""
        body = called.body
        assert isinstance(body.definition, syntax.Block)
        home = self.net.homes.get(body.definition)
        if home is None:
            raise NotStructuredError
        numbers = {name: plain(value) for name, value in body.symbols.items()}
        plains = {n: v for n, v in body.arguments.items() if n not in numbers}
        key = (home.name, *numbers.items(), repr(plains))
        if key in self.checked:
            return
        first = home.traces[0]
        if plains != {n: v for n, v in first.arguments.items() if n not in numbers}:
            raise NotStructuredError
        if any(number not in home.known.get(n, (number,)) for n, number in numbers.items()):
            raise NotStructuredError
        if not agrees(home, body, numbers):
            raise NotStructuredError
        self.checked.add(key)

    # -- initial values

    def _rules(self, tracer: StructureTracer, graph: Graph) -> None:
        """Find the fills of whole classes, and what single layers have besides."""
        rules, owners = chosen_rules(graph), _owners(tracer, graph)
        self.net.fills, covered = fills_of(rules, {n: owned for n, (owned, _) in owners.items()})
        self.net.own, self.net.ranks = {}, {}
        for full, rule in rules.items():
            owned, place = owners[full]
            if full in covered:
                continue
            if place is None or isinstance(rule, Values):
                raise NotStructuredError
            self.net.own[place, owned.name] = rule
            self.net.ranks[place, owned.name] = owned.rank

    def _check_rules(self, tracer: StructureTracer, graph: Graph) -> None:
        rules, owners = chosen_rules(graph), _owners(tracer, graph)
        for target, fills in self.net.fills.items():
            have = [owned.name for owned, _ in owners.values() if owned.target == target]
            for at, fill in enumerate(fills):
                lacks = have.count(fill.name) < have.count("weight")
                fills[at] = replace(fill, optional=fill.optional or lacks)
        for full, (owned, place) in owners.items():
            common = {fill.name: fill.rule for fill in self.net.fills.get(owned.target, ())}
            mine = common.get(owned.name)
            if place is not None:
                mine = self.net.own.get((place, owned.name), mine)
            if _facts(mine) != _facts(rules.get(full)):
                raise NotStructuredError


def _facts(rule: Initializer | None) -> Any:
    """What tells initial values apart: of an argument its name."""
    if rule is None or isinstance(rule, Values):
        return rule
    return type(rule), [
        v.outer if isinstance(v, TracedFloat) and v.outer else v for v in vars(rule).values()
    ]


def _owners(tracer: StructureTracer, graph: Graph) -> dict[str, tuple[Owned, Placed | None]]:
    """Who holds each parameter; the statement that made it, if that stands in the net."""
    found = {}
    for node in graph.nodes:
        module = node.op.torch(*graph.shapes_into(node)).module
        for own, full in node.parameters.items():
            parameter = graph.parameters[full]
            if parameter.trainable or module is None:
                target = module.target if module is not None else ""
                place = tracer.owners.get(full.rpartition(".")[0])
                if place is not None and isinstance(place.modules[0], Block):
                    place = None
                found[full] = Owned(target, own, len(parameter.shape)), place
    return found


def _calls(events: Sequence[Event]) -> Iterator[Called]:
    for event in events:
        if isinstance(event, Called):
            yield event
        yield from _calls(_inner(event))


def _inner(event: Event) -> Sequence[Event]:
    if isinstance(event, Called):
        return event.body.events
    return getattr(event, "events", ())


def _other_values(value: Any) -> Iterator[Any]:
    """Other values for an argument, most likely ones first."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        steps = (1, -1, value // 2, -(value // 2), 2, -2, 3, -3, 4, -4, 5, -5, 6, 8, 12, 2 * value)
        yield from (value + step for step in steps if step and value + step >= 0)
    elif isinstance(value, float):
        yield from (value / 2 + 0.0125, 0.0, value * 0.75, value * 2, value + 1.0)
    elif isinstance(value, tuple) and value and all(type(item) is int for item in value):
        longer = (*value, value[-1])
        yield tuple(min(item, 3) for item in longer)
        yield tuple(min(item, 2) for item in value[:-1])
        yield from (value[:-1], longer, tuple(item + 1 for item in value))
        yield tuple(2 * item for item in value)
    else:
        raise NotStructuredError


def _require_all(suite: Suite) -> None:
    """Every case of a condition and every loop must have been met."""
    if suite.steps is None:
        raise NotStructuredError
    for step in suite.steps:
        for inner in suites_in(step):
            _require_all(inner)
