"""The structure of a net, recorded with its arguments and proved with others.

The net is built with other values for its arguments, one after another and together. The statements
must stay the same, the classes of its blocks must be what the blocks do, and the initial values must be
those that the constructor gives. Every case of a condition must have been met. Else there is no
structure, and the net keeps the arguments that it was generated with.

The syntax alone does not prove an expression: what a size or a number of a layer is made of is said by
the rules of layers, which are Python and may ask for anything, and a rule may refuse what the statements
would allow. So the statements are compared with what the building does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from netspec.compiler.elaborate.net import build
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.initializers import Initializer, Values
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.built_net import BuiltNet
from netspec.compiler.torch_backend.init_calls import (
    Fill,
    Owned,
    chosen_rules,
    fills_of,
    init_docs,
    parameter_text,
)
from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.python_constants import (
    PythonConstants,
    names_of,
    no_value,
    python_name,
    words_in,
)
from netspec.compiler.torch_backend.python_layout import Doc
from netspec.compiler.torch_backend.scan_class import held_parameters
from netspec.compiler.torch_backend.structured.block import Trials
from netspec.compiler.torch_backend.structured.calls import Ran
from netspec.compiler.torch_backend.structured.cases import unmet_names, without_unmet
from netspec.compiler.torch_backend.structured.constructor import label_words
from netspec.compiler.torch_backend.structured.flow import chain_end, given_by, under
from netspec.compiler.torch_backend.structured.follower import (
    Carried,
    Places,
    RestartError,
    Results,
    StraightFollower,
    StructureFollower,
)
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.kept import Kept
from netspec.compiler.torch_backend.structured.layout import Placement
from netspec.compiler.torch_backend.structured.liveness import mark_unread
from netspec.compiler.torch_backend.structured.module import ModuleText
from netspec.compiler.torch_backend.structured.other_values import (
    other_words,
    others_in_net,
    words_asked,
)
from netspec.compiler.torch_backend.structured.recording import Recording
from netspec.compiler.torch_backend.structured.structure import (
    NotStructuredError,
    Placed,
    Recorder,
    Suite,
)
from netspec.compiler.torch_backend.structured.trial import FirstError
from netspec.compiler.torch_backend.symbolic_numbers import SymbolicFloat

# So many other values of an argument are enough, and so many starts over.
_ENOUGH, _STARTS = 2, 40
# So many are tried of a whole number with which no layer has another shape, as a size that the stride
# of the first layer divides away.
_UNSEEN = 4
# So many turns of a loop show what the others do.
_FEW = 2
# So many layers and blocks may be built to try other values, all starts together.
_TRIED = 2_500
# So many arguments and conditions take no time to speak of.
_USUAL, _USUAL_CONDITIONS = 20, 200


Inner = tuple[BlockClass, str]
"""A parameter in all objects of a block's class: its path there."""


@dataclass
class StructuredNet:
    """A net as statements.

    Attributes:
        built: the net with these arguments.
        homes: the classes of its blocks.
        body: the statements.
        text: the class with these statements.
        values: the arguments, by their Python names.
        kept: what the attributes are called that hold arguments.
        derived: the defaults that other arguments give, as Python.
        fractional: those whole numbers that may be fractions.
        fixed: those that keep their values, for the layers depend on them.
        fills: what all modules of a class start from, by the class.
        own: the initial values of single parameters: by statement and the path in its module.
        owned: whose these parameters are.
        inner: the initial values of parameters in blocks: by class and the path in it.
        within: those that the constructors of the blocks give.
    """

    built: BuiltNet
    homes: Homes
    body: Suite
    text: ModuleText
    values: dict[str, Any]
    kept: Kept
    derived: dict[str, str] = field(default_factory=dict)
    fractional: set[str] = field(default_factory=set)
    fixed: set[str] = field(default_factory=set)
    fills: dict[str, list[Fill]] = field(default_factory=dict)
    own: dict[tuple[Placed, str], Initializer] = field(default_factory=dict)
    owned: dict[tuple[Placed, str], Owned] = field(default_factory=dict)
    inner: dict[Inner, tuple[Initializer, Owned]] = field(default_factory=dict)
    within: dict[Inner, tuple[Initializer, Owned]] = field(default_factory=dict)

    def starts(self, block: BlockClass) -> dict[Placed, list[Doc]]:
        """The calls that set initial values in the constructor of a block's class, by the layer."""
        found: dict[Placed, list[Doc]] = {}
        for (of, path), (rule, owned) in self.within.items():
            place = block.structure.place_of(path) if of is block else None
            if place is not None:
                docs = init_docs(parameter_text("self", path, owned), rule, owned.rank, {})
                found.setdefault(place, []).extend(docs)
        return found

    @property
    def graph(self) -> Graph:
        """The net with these arguments, layer by layer."""
        return self.built.graph


def _turns(net: syntax.Net) -> set[str]:
    """The names that say how often a net's loops turn."""
    loops = (part for part in syntax.parts(net.body) if isinstance(part, syntax.For))
    return {name for loop in loops for name in names_of(loop.iterable)}


def _deciding(net: syntax.Net, turns: Set[str]) -> set[str]:
    """The names that say which layers there are, in conditions and loops, and in what these read.

    `turns` are those that say how often loops turn.
    """
    found = set(turns)
    for part in syntax.parts(net.body):
        if isinstance(part, syntax.If):
            found |= {name for condition, _ in part.branches for name in names_of(condition)}
        elif isinstance(part, syntax.Conditional):
            found |= {name for _, condition in part.cases for name in names_of(condition)}
    assigned = [part for part in syntax.parts(net.body) if isinstance(part, syntax.Assign)]
    count = -1
    while count < len(found):
        count = len(found)
        for part in assigned:
            if not found.isdisjoint(target.id for target in part.targets):
                found |= names_of(part.value)
    return found


def _has_loops(net: syntax.Net) -> bool:
    """Whether a net's body has loops or conditions."""
    return not {syntax.For, syntax.If}.isdisjoint(map(type, syntax.parts(net.body)))


def structured_net(
    written: Written, built: BuiltNet, homes: Homes, *, is_flat: bool = False
) -> StructuredNet:
    """The structure of a sound net.

    Args:
        written: the net in its file.
        built: the net with these arguments.
        homes: the classes of its blocks.
        is_flat: whether it is written one layer after another, not as in the file.

    Raises:
        NotStructuredError: if it has none.
    """
    return _Proof(written, built, homes, is_flat=is_flat).structured()


class _Run:
    """The net with some arguments.

    Attributes:
        rules: the initial values that are not those of the modules, by the parameter.
        owners: who holds each parameter; the statement in the net that made it, and its path in
            the module of that.
        blocks: the blocks, by where they are called.
        changed: the arguments with other values than the net was generated with.
        shapes: of the layers, in order.
    """

    def __init__(
        self,
        recording: Recording,
        graph: Graph,
        blocks: Mapping[str, BlockClass],
        changed: Mapping[str, Any],
    ) -> None:
        self.changed = changed
        self.shapes = tuple(node.shape for node in graph.nodes)
        self.owners = _owners(recording, graph)
        self.blocks = blocks
        rules = chosen_rules(graph)
        self.rules = {full: rule for full, rule in rules.items() if not self._is_listed(full)}

    def _is_listed(self, full: str) -> bool:
        """Whether the constructor that makes a parameter has the list that it starts as."""
        inner = self.inner(full)
        if inner is not None:
            return inner[1] in inner[0].structure.lists
        place = self.owners[full][1]
        return place.is_array and place.numbers is not None

    def inner(self, full: str) -> Inner | None:
        """The innermost block that holds a parameter, and its path there."""
        parts = full.split(".")
        for end in range(len(parts) - 1, 0, -1):
            block = self.blocks.get(".".join(parts[:end]))
            if block is not None:
                return block, ".".join(parts[end:])
        return None


class _Proof:
    def __init__(self, written: Written, built: BuiltNet, homes: Homes, *, is_flat: bool) -> None:
        self.written = written
        self.is_flat = is_flat
        self.name = safe_name if is_flat else python_name
        self.values = dict(built.values)
        self.recorder = Recorder(is_strict=is_flat)
        self.carried = Carried()
        self.results = Results()
        self.places = Places(written.net, written.module)
        own = {self.name(name): value for name, value in self.values.items()}
        if is_flat:
            self.places.names |= {*own, *map(safe_name, self.places.names)}
        self.inputs = list(map(self.name, built.graph.inputs))
        self.ties = built.graph.ties
        if not is_flat and any(
            part.isdecimal() for each in self.ties.items() for p in each for part in p.split(".")
        ):
            raise NotStructuredError  # a layer of a loop, of which there may be fewer
        kept = Kept(own, built.ran.attributes())
        empty = ModuleText(Suite([]), set(), kept, set(), self.inputs, is_chain=True)
        self.net = StructuredNet(built, homes, empty.body, empty, own, kept, self._derived())
        if is_flat:  # its conditions and loops are not written
            self.net.fixed |= {
                self.name(name) for name in _deciding(written.net, self.turns)
            } & set(own)
        self.called = homes.classes([built.ran], by_path=is_flat)
        self.views = built.views
        self.small: dict[str, Any] = {}
        self.runs: list[list[Placement]] = []
        self.sound: dict[str, bool] = {}
        # The settings with which recordings began again, and what those did in this recording.
        self.hard: dict[str, Mapping[str, Any]] = {}
        self.done: dict[str, _Run] = {}
        self.trials = Trials(_TRIED)
        self.has_text = False
        self.last: _Run | None = None

    def structured(self) -> StructuredNet:
        """The net, proved."""
        for _ in range(_STARTS + 2 * len(self.values)):
            try:
                self._record()
            except RestartError:
                self.recorder = Recorder(is_strict=self.is_flat)
                continue
            self.net.body = self.recorder.root
            without_unmet(self.net.body, self.net.fixed)
            self.net.text = self._text()
            for placements in () if self.is_flat else self.runs:
                self.net.text.layout.check(placements)
            return self.net
        raise NotStructuredError

    def _derived(self) -> dict[str, str]:
        """The defaults that other arguments give, of those arguments that are not given."""
        python = PythonConstants(no_value, self._is_list, self.name)
        found: dict[str, str] = {}
        for parameter in self.written.net.parameters:
            name, default = parameter.name.id, parameter.default
            if default is not None and name not in self.written.arguments and names_of(default):
                with suppress(NotStructuredError):
                    found[self.name(name)] = python.text(default)
        return found

    def _is_list(self, name: str) -> bool:
        return isinstance(self.values.get(name), tuple)

    def _text(self) -> ModuleText:
        body = self.recorder.root
        mark_unread(body)
        # What has no loops reads best as a `forward` with functions.
        is_chain = (
            not self.is_flat
            and _has_loops(self.written.net)
            and not self.ties
            and len(self.inputs) == 1
            and chain_end(body.steps or (), frozenset(self.inputs)) is not None
        )
        return ModuleText(
            body,
            self.places.names,
            self.net.kept,
            set(self.net.values),
            self.inputs,
            is_chain=is_chain,
        )

    def _record(self) -> None:
        self.net.fractional.clear()
        self.runs.clear()
        self.done.clear()
        first = self._run(self.values)
        assert first is not None, "the net was built with these arguments before"
        runs = [first]
        self._try_hard(runs)
        if not self.has_text:  # what has no structure is found out soon
            self._text()
            self.has_text = True
        self._try_others(runs)
        for name, value in self.values.items():
            if (
                type(value) is int
                and self.name(name) not in self.net.fixed
                and self._takes_fraction(name, value, runs)
            ):
                self.net.fractional.add(self.name(name))
        unmet = unmet_names(self.recorder.root) & set(self.net.values)
        if not unmet <= self.net.fixed:
            # No setting that was tried shows the other case, so that it cannot be written.
            self.net.fixed |= unmet
            if not self._forget_trial(runs):
                raise RestartError
        self._fix_with_defaults()
        # A flat net has the rules of its own values; which it has with others is what is asked.
        self._rules(first if self.is_flat else max(runs, key=lambda run: len(run.rules)))
        wrong = [run.changed for run in runs if not self._has_rules(run)]
        if wrong:
            # Of runs in which several arguments changed, others may be the reason.
            single = [changed for changed in wrong if len(changed) == 1]
            fixed = {name for changed in single or map(self._to_blame, wrong) for name in changed}
            if not fixed:
                raise NotStructuredError
            self.net.fixed.update(map(self.name, fixed))
            raise RestartError

    def _forget_trial(self, runs: list[_Run]) -> bool:
        """Whether nothing but the last run is to be forgotten, for all arguments are fixed: it is."""
        is_last = len(runs) == 2 and runs[-1] is self.last and self.recorder.is_trial
        if not is_last or not set(self.net.values) <= self.net.fixed:
            return False
        self.recorder.forget()
        del runs[1:], self.runs[1:]
        return True

    def _try_hard(self, runs: list[_Run]) -> None:
        """Run the settings first that made recordings begin again: they are likely to do so once more."""
        for key, setting in list(self.hard.items()):
            try:
                self._tried(setting, runs)
            except NotStructuredError:  # in its turn it is found out what must be fixed for that
                del self.hard[key]
                raise RestartError from None

    def _to_blame(self, changed: Mapping[str, Any]) -> Mapping[str, Any]:
        """Those of changed arguments that change initial values by themselves; else all of them."""
        found = {}
        for name, value in changed.items():
            runs: list[_Run] = []
            with suppress(NotStructuredError, RestartError):
                self._tried({**self.small, name: value}, runs)
            if runs and not self._has_rules(runs[0]):
                found[name] = value
        return found or changed

    def _fix_with_defaults(self) -> None:
        """Arguments are fixed if defaults that are made of them are."""
        known, count = set(self.net.values), len(self.net.fixed)
        # A default reads the arguments in front of it.
        for name, text in reversed(self.net.derived.items()):
            if name in self.net.fixed:
                self.net.fixed |= words_in(text) & known
        if len(self.net.fixed) > count:
            raise RestartError

    def _takes_fraction(self, name: str, value: int, runs: list[_Run]) -> bool:
        """Whether an argument may be a fraction too; the runs that show it are added to others."""
        kept = len(runs), len(self.runs)
        before = self.carried.state()
        taken = 0
        for other in (value * 0.5, value + 0.5, value * 1.75 + 0.125):
            if taken == 2:
                break
            if not self._may_try():
                return False
            try:
                run = self._run({**self.values, **self.small, name: other}, is_trial=True)
                if run is None:
                    self.recorder.forget()
                    self.carried.restore(before)
                    before = self.carried.state()
                    continue
                runs.append(run)
                self.recorder.require_said()
                if not taken and self._needs_whole(name, value):
                    raise NotStructuredError
            except (NotStructuredError, RestartError):
                del runs[kept[0] :], self.runs[kept[1] :]
                self.recorder.forget()
                self.carried.restore(before)
                return False
            taken += other != int(other)
        return taken > 0

    def _needs_whole(self, name: str, value: int) -> bool:
        """Whether large fractions are refused where whole numbers are not, as in `max(least, 3)`."""
        return any(
            self._is_sound({**self.small, name: whole})
            and not self._is_sound({**self.small, name: whole + 0.5})
            for whole in (8 * value + 8, 64 * value + 1000)
        )

    # -- other arguments

    def _try_others(self, runs: list[_Run]) -> None:
        """Run sound settings: one argument changed, then all at once.

        Lists come first, and the numbers of turns, to be short after; then words, which are fixed most
        often, so that the recording begins again.
        """
        found: dict[str, list[Any]] = {}
        tried = [name for name in self.values if self.name(name) not in self.net.fixed]
        turns = self.turns
        kinds = {name: type(self.values[name]) for name in tried}
        order = sorted(
            tried,
            key=lambda name: (kinds[name] is not tuple, name not in turns, kinds[name] is not str),
        )
        for name in order:
            found[name] = self._accepted(name, runs)
            if not found[name]:  # nothing shows what depends on it
                self.net.fixed.add(self.name(name))
            short = [other for other in found[name] if isinstance(other, tuple) and other]
            if short:
                self.small[name] = min(short, key=len)
            elif name in turns and found[name] and self._is_short(name, runs):
                self.small[name] = _FEW
        for at in range(_ENOUGH):
            together = {name: others[at] for name, others in found.items() if len(others) > at}
            if len(together) > 1:
                self._together(together, runs)

    def _is_short(self, name: str, runs: list[_Run]) -> bool:
        """Whether the net takes few turns of a loop."""
        value = self.values[name]
        if type(value) is not int or value <= 2 * _FEW:
            return False
        with suppress(NotStructuredError, RestartError):
            return self._tried({**self.small, name: _FEW}, runs)
        return False

    def _together(self, setting: Mapping[str, Any], runs: list[_Run]) -> None:
        try:
            self._tried(setting, runs)
        except NotStructuredError:
            if not self.is_flat:
                raise
            self.net.fixed.update(map(self.name, setting))
            raise RestartError from None

    def _accepted(self, name: str, runs: list[_Run]) -> list[Any]:
        """Other values of an argument that the net takes, as many as are enough."""
        found: list[Any] = []
        for other in self._others(self.values[name]):
            setting = {**self.small, name: other}
            if repr(setting) not in self.sound and not self._may_try():
                break
            try:
                is_sound = self._tried(setting, runs)
            except NotStructuredError:
                self.net.fixed.add(self.name(name))
                self.small.pop(name, None)
                raise RestartError from None
            if is_sound:
                found.append(other)
            enough = 1 if type(other) is int else _ENOUGH
            if enough == 1 and is_sound and not self._is_seen(name, runs):
                enough = _UNSEEN
            if len(found) >= enough and (self.name(name) not in unmet_names(self.recorder.root)):
                break
        return found

    def _others(self, value: Any) -> Iterator[Any]:
        """Other values for an argument, most likely ones first."""
        if isinstance(value, str):
            return other_words(value, words_asked(self.written.module))
        return others_in_net(value)

    def _is_seen(self, name: str, runs: list[_Run]) -> bool:
        """Whether some layer has another shape in the last run, for this argument was changed."""
        others = {other: value for other, value in self.small.items() if other != name}
        alike = (run for run in reversed(runs[:-1]) if run.changed == others)
        return runs[-1].shapes != next(alike, runs[0]).shapes

    def _tried(self, setting: Mapping[str, Any], runs: list[_Run]) -> bool:
        """Run the net with some arguments changed, if it takes them."""
        key = repr(setting)
        if self.sound.get(key) is False:
            return False
        if (known := self.done.get(key)) is not None:
            if known in runs:
                runs.remove(known)
            runs.append(known)
            return True
        before = self.carried.state()
        run = None
        try:
            is_new = key not in self.sound
            run = self._run({**self.values, **setting}, is_trial=is_new or self.is_flat)
        except NotStructuredError:
            if self._is_sound(setting):
                raise
        except RestartError:
            if self._is_sound(setting):
                self.hard[key] = setting
                raise
        self.sound[key] = run is not None
        if run is None:
            self.recorder.forget()
            self.carried.restore(before)
            return False
        if key in self.hard:
            self.done[key] = run
        runs.append(run)
        return True

    def _may_try(self) -> bool:
        """Whether the net may be built once more with other arguments."""
        return self.trials.take(1 + len(self.runs[0]) + self.many)

    @cached_property
    def turns(self) -> set[str]:
        """The names that say how often loops turn."""
        return _turns(self.written.net)

    @cached_property
    def many(self) -> int:
        """What very many arguments or conditions add to the time of a run, in layers."""
        kinds = map(type, syntax.parts(self.written.net.body))
        conditions = sum(kind in (syntax.If, syntax.Conditional) for kind in kinds)
        arguments = max(0, len(self.values) - _USUAL)
        return arguments // 2 + max(0, conditions - _USUAL_CONDITIONS) // 4

    def _is_sound(self, setting: Mapping[str, Any]) -> bool:
        """Whether the net takes these arguments."""
        key = repr(setting)
        if key not in self.sound:
            whole = {**self.written.arguments, **self.values, **setting}
            net, module = self.written.net, self.written.module
            self.sound[key] = build(net, module, whole, FirstError())[0] is not None
        return self.sound[key]

    def _run(self, arguments: Mapping[str, Any], *, is_trial: bool = False) -> _Run | None:
        """Record the net with these arguments, or compare it with what was recorded.

        Return None for arguments that the net does not take.
        """
        net, module = self.written.net, self.written.module
        self.recorder.begin(is_trial=is_trial)
        follower = self._follower()
        own = {name: follower.argument(name, value) for name, value in arguments.items()}
        given = {**self.written.arguments, **own}
        sink = FirstError()
        try:
            graph, assembly = build(net, module, given, sink, follower=follower)
        except (NotStructuredError, RestartError):
            if sink.errors:  # after an error anything can follow
                return None
            raise
        if graph is None:
            return None
        if list(map(self.name, assembly.inputs)) != self.inputs:
            raise NotStructuredError
        follower.gives(list(graph.outputs.values()))
        graph = eliminate_dead(graph)
        live = {*graph.by_name, *graph.inputs}
        self.runs.append(follower.run.placements(live))
        follower.run.calls.ran.cut(live)
        if is_trial and self.is_flat:
            self.recorder.require_said()
        changed = {n: v for n, v in arguments.items() if repr(self.values[n]) != repr(v)}
        self.last = _Run(follower.run, graph, self._blocks(follower.run.calls.ran), changed)
        return self.last

    def _follower(self) -> StructureFollower:
        homes, kept = self.net.homes, self.net.kept
        run = Recording(self.recorder, homes, self.views, kept, self.called)
        if self.is_flat:
            return StraightFollower(run, self.places)
        return StructureFollower(run, self.carried, self.places, self.results)

    def _blocks(self, ran: Ran) -> dict[str, BlockClass]:
        """The classes of the blocks, by where they are called; each does what the call does."""
        found: dict[str, BlockClass] = {}
        left = [(call, self.called) for call in ran.calls]
        while left:
            call, classes = left.pop()
            home = classes.of(call.block, call.span, call.path)
            if home is None:
                raise NotStructuredError
            home.structure.require(call)
            found[call.full_path] = home
            left += [(inner, home.structure.called) for inner in call.body.calls]
        return found

    # -- initial values

    def _rules(self, run: _Run) -> None:
        """Find the fills of whole classes, and what single layers have besides."""
        rules, owners = run.rules, run.owners
        self.net.fills, covered = fills_of(rules, {n: owned for n, (owned, *_) in owners.items()})
        self.net.own, self.net.owned, self.net.inner, self.net.within = {}, {}, {}, {}
        alike: dict[Inner | None, list[Any]] = {}
        for full in owners:
            alike.setdefault(run.inner(full), []).append(_facts(rules.get(full)))
        objects = Counter(run.blocks.values())
        for full, rule in rules.items():
            owned, place, path = owners[full]
            if full in covered:
                continue
            inner = run.inner(full)
            if inner is not None and self._is_of_block(inner, owned, rule, alike[inner]):
                self.net.within[inner] = rule, owned
                continue
            if inner is not None and not (self.is_flat and isinstance(rule, Values)):
                is_alike = alike[inner] == objects[inner[0]] * alike[inner][:1]
            else:
                is_alike = False
            if inner is not None and is_alike:
                self.net.inner[inner] = rule, owned
            elif self._is_lasting(place):
                self.net.own[place, path] = rule
                self.net.owned[place, path] = owned
            else:
                raise NotStructuredError

    def _is_of_block(
        self, inner: Inner, owned: Owned, rule: Initializer, facts: Sequence[Any]
    ) -> bool:
        """Whether the constructor of a block can give an initial value: no argument of the net is in
        it, and nothing changes it after.
        """
        is_filled = any(fill.name == owned.name for fill in self.net.fills.get(owned.target, ()))
        is_plain = not any(isinstance(v, SymbolicFloat) and v.outer for v in vars(rule).values())
        is_alike = all(fact == facts[0] for fact in facts)
        if is_filled or not is_plain or not is_alike or isinstance(rule, Values):
            return False
        return inner[0].structure.place_of(inner[1]) is not None

    def _is_lasting(self, place: Placed) -> bool:
        """Whether the label of a statement means the same module at the end of the constructor."""
        if self.is_flat:
            return True
        steps = self.recorder.root.steps or []
        if place not in steps:
            return False
        later = [s for step in steps[steps.index(place) :] for s in (step, *under(step))]
        changed = {name for step in later for name in given_by(step)}
        return changed.isdisjoint(label_words(place))

    def _has_rules(self, run: _Run) -> bool:
        """Whether the initial values of a run are those that the constructor gives."""
        rules, owners = run.rules, run.owners
        for target, fills in self.net.fills.items():
            have = [owned.name for owned, *_ in owners.values() if owned.target == target]
            for at, fill in enumerate(fills):
                lacks = have.count(fill.name) < have.count("weight")
                fills[at] = replace(fill, optional=fill.optional or lacks)
        for full, (owned, place, path) in owners.items():
            common = {fill.name: fill.rule for fill in self.net.fills.get(owned.target, ())}
            mine = common.get(owned.name)
            inner = run.inner(full)
            if inner in self.net.inner:
                mine = self.net.inner[inner][0]
            elif inner in self.net.within:
                mine = self.net.within[inner][0]
            mine = self.net.own.get((place, path), mine)
            if _facts(mine) != _facts(rules.get(full)):
                return False
        # All objects of a class must have what a loop over them fills.
        return all(
            f"{prefix}.{path}" in owners
            for prefix, block in run.blocks.items()
            for other, path in self.net.inner
            if other == block
        )


def _facts(rule: Initializer | None) -> Any:
    """What tells initial values apart: of an argument its name."""
    if rule is None or isinstance(rule, Values):
        return rule
    return type(rule), [
        v.outer if isinstance(v, SymbolicFloat) and v.outer else v for v in vars(rule).values()
    ]


def _owners(recording: Recording, graph: Graph) -> dict[str, tuple[Owned, Placed, str]]:
    """Who holds each parameter; the statement in the net that made it, and its path there."""
    found = {}
    for node in graph.nodes:
        for full, target, own in held_parameters(node, graph):
            parameter = graph.parameters[full]
            if full in found:  # the layer that made it is the first
                continue
            if parameter.trainable or not target:
                above = full
                while above not in recording.owners:
                    above = above.rpartition(".")[0]
                place = recording.owners[above]
                path = full.removeprefix(above).removeprefix(".")
                found[full] = (
                    Owned(target, own, len(parameter.shape), not parameter.trainable),
                    place,
                    path,
                )
    return found
