"""Bodies of blocks, of which a net that is built again and again computes each outcome once.

The generator of PyTorch classes builds a net with other arguments, one after another. Most calls of
blocks have the same arguments and shapes as one before, in that build or in another: their layers differ
in nothing but the path in front of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from netspec.compiler.elaborate.constant_loops import NotPlainError, facts_of
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.scope import Scope
from netspec.compiler.elaborate.values import Result, Tensor, Tensors
from netspec.compiler.ir.graph import Node, Parameter
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span
from netspec.records import record

if TYPE_CHECKING:
    from netspec.compiler.elaborate.follower import Follower
    from netspec.compiler.elaborate.reporter import Reports
    from netspec.compiler.ir.initializers import Initializer

    Rename = Callable[[str], str]
    """Returns what a value, a layer or a parameter is called in a repetition."""

_T = TypeVar("_T")

# Outcomes of so many layers are kept, and one more.
_MOST_LAYERS = 20_000
_WHOLE = frozenset({int})


@record(slots=True)
class BlockOutcome:
    """What the body of a block added to a net.

    Attributes:
        path: the path of the block.
        inputs: the names of its inputs.
        nodes, parameters: its layers.
        taken, above: the paths of labels that it claims.
        work: how much of the file's limit it used.
        result: what it returns.
        followed: what the follower keeps of it.
    """

    path: str
    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    parameters: tuple[Parameter, ...]
    taken: Mapping[str, Span]
    above: Mapping[str, Span]
    work: int
    result: Tensor | Tensors
    followed: object

    def renaming(self, path: str, inputs: tuple[str, ...]) -> Rename:
        """Return what renames for a call with another path and with other inputs."""
        names = dict(zip(self.inputs, inputs, strict=True))
        start = len(self.path)

        def rename(name: str) -> str:
            known = names.get(name)
            return path + name[start:] if known is None else known

        return rename


class BlockOutcomes:
    """The outcomes of blocks, by the block and all that its body depends on."""

    def __init__(self) -> None:
        self._known: dict[object, BlockOutcome] = {}
        self._layers = 0

    def get(self, key: object) -> BlockOutcome | None:
        """What the body did, if that is known."""
        return self._known.get(key)

    def keep(self, key: object, outcome: BlockOutcome) -> None:
        """Keep what the body did. If that is too much, the oldest outcomes go."""
        self._known[key] = outcome
        self._layers += len(outcome.nodes)
        while self._layers > _MOST_LAYERS and len(self._known) > 1:
            self._layers -= len(self._known.pop(next(iter(self._known))).nodes)


class RepeatedBlocks:
    """Runs the body of a block, or repeats what it did before.

    Only what the graph and the follower need is repeated: nobody reads the messages of such builds.

    Args:
        assembly, scope, reporter, follower: those of the body.
        path: the path of the block.
        rules: the initial values that the enclosing body sets.
    """

    def __init__(
        self,
        assembly: Assembly,
        scope: Scope,
        reporter: Reports,
        follower: Follower,
        path: str,
        rules: Mapping[str, Initializer],
    ) -> None:
        self.assembly = assembly
        self.scope = scope
        self.reporter = reporter
        self.follower = follower
        self.path = path
        self.rules = rules

    def run(
        self, block: syntax.Block, outcomes: BlockOutcomes, body: Callable[[], Result | None]
    ) -> Result | None:
        """Return what a block returns whose arguments and inputs are bound; `body` runs its body."""
        try:
            inputs, key = self._inputs(block), self._key(block)
        except NotPlainError:
            return body()
        known = outcomes.get(key)
        if known is not None:
            return self._repeat(block, known, inputs)
        assembly = self.assembly
        grown = assembly.nodes, assembly.parameters, assembly.taken, assembly.above
        before, work, apart = list(map(len, grown)), assembly.work, self._apart()
        returned = body()
        items = returned.items if isinstance(returned, Tensors) else (returned,)
        is_sound = not assembly.failed and all(isinstance(item, Tensor) for item in items)
        if is_sound and isinstance(returned, (Tensor, Tensors)) and self._apart() == apart:
            nodes, parameters, taken, above = before
            outcome = BlockOutcome(
                self.path,
                inputs,
                tuple(assembly.nodes[nodes:]),
                tuple(islice(assembly.parameters.values(), parameters, None)),
                dict(islice(assembly.taken.items(), taken, None)),
                dict(islice(assembly.above.items(), above, None)),
                assembly.work - work,
                returned,
                self.follower.block_followed(),
            )
            outcomes.keep(key, outcome)
        return returned

    def _inputs(self, block: syntax.Block) -> tuple[str, ...]:
        return tuple(value.name for value in self._values(block))

    def _values(self, block: syntax.Block) -> Iterator[Tensor]:
        for name in block.inputs:
            binding = self.scope.get(name.id)
            if binding is None or not isinstance(binding.value, Tensor):
                raise NotPlainError
            yield binding.value

    def _key(self, block: syntax.Block) -> object:
        """All that the body depends on.

        Raises:
            NotPlainError: if a part of it is no constant, or long.
        """
        arguments = []
        for parameter in block.parameters:
            binding = self.scope.get(parameter.name.id)
            if binding is None:
                raise NotPlainError
            arguments.append(_facts(binding.value))
        values = list(self._values(block))
        names = [value.name for value in values]
        return (
            block,
            tuple(arguments),
            tuple((_facts(value.shape), value.holds) for value in values),
            # Which inputs are the same value.
            tuple(map(names.index, names)),
            tuple(
                (role, type(rule), tuple(map(_facts, vars(rule).values())))
                for role, rule in self.rules.items()
            ),
            # How deep calls and expressions may be nested is limited.
            self.assembly.calls_deep,
            self.assembly.depth,
        )

    def _apart(self) -> tuple[int, ...]:
        """How much there is of what is not repeated."""
        classes = sum(map(len, self.assembly.scan_classes.values()))
        return classes, len(self.assembly.deferred), len(self.assembly.misfits)

    def _repeat(
        self, block: syntax.Block, known: BlockOutcome, inputs: tuple[str, ...]
    ) -> Tensor | Tensors:
        """Add to the net what the body added before, under its own names."""
        assembly = self.assembly
        self.reporter.count_work(block.span, known.work)
        rename = known.renaming(self.path, inputs)
        for node in known.nodes:
            assembly.add_node(
                Node(
                    rename(node.name),
                    node.op,
                    tuple(map(rename, node.inputs)),
                    node.shape,
                    {own: rename(full) for own, full in node.parameters.items()},
                    node.origin,
                )
            )
        for each in known.parameters:
            full = rename(each.name)
            assembly.parameters[full] = Parameter(
                full, each.shape, each.initializer, each.role, each.span
            )
        assembly.taken.update(_renamed(known.taken, rename))
        assembly.above.update(_renamed(known.above, rename))
        self.follower.block_repeated(known.followed, rename)
        if isinstance(known.result, Tensor):
            return _tensor(known.result, rename)
        return Tensors(
            tuple(_tensor(item, rename) for item in known.result.items if isinstance(item, Tensor))
        )


def _facts(value: object) -> object:
    """What tells a constant apart: a list of whole numbers is itself, however long."""
    if isinstance(value, tuple) and _WHOLE.issuperset(map(type, value)):
        return value
    return facts_of(value)


def _tensor(value: Tensor, rename: Rename) -> Tensor:
    return Tensor(rename(value.name), value.shape, value.span, value.holds)


def _renamed(paths: Mapping[str, _T], rename: Rename) -> dict[str, _T]:
    return {rename(path): value for path, value in paths.items()}
