"""Makes the classes of a net's blocks: one for all calls of a block, where that is possible.

Calls get classes of their own (`Block`, `Block2`) if other results of them are needed, if they have other
layers, or if their numbers differ in a way that no argument explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set

from netspec.compiler.passes.layer_limit import CLASS, require_small_classes
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.built_net import BuiltNet
from netspec.compiler.torch_backend.structured.block import StructuredBlock, Trials
from netspec.compiler.torch_backend.structured.calls import BlockCall, Ran
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.structure import NotStructuredError
from netspec.diagnostics import Span
from netspec.text.free_name import take_name

# So many layers may be built to find out which calls of blocks can share a class. Then each call that is
# left has a class of its own.
_COMPARED = 1_000


def classes_of(net: syntax.Net, built: BuiltNet) -> Homes:
    """Return the classes of a net's blocks. A class comes before those that use it.

    Raises:
        NetspecError: `limit/layers` for too many.
    """
    return _Classes(net, built).all()


class _Classes:
    def __init__(self, net: syntax.Net, built: BuiltNet) -> None:
        self.net, self.built = net, built
        self.homes, self.trials, self.compared = Homes(), Trials(), Trials(_COMPARED)

    def all(self) -> Homes:
        """All classes, in order."""
        name, taken = self.net.name, {self.net.name.id}
        groups = _groups(self.built.ran)
        size = sum(_size(calls[0]) for calls in groups)
        require_small_classes(name.id, size, name.span)
        known: set[tuple[Span, tuple[int, ...]]] = set()
        for calls in groups:
            block, which = calls[0].block, (calls[0].block.span, calls[0].kept)
            # A block that calls itself has a class for each depth.
            found = self._structures(calls, is_first=which not in known)
            known.add(which)
            size += sum(_size(its[0]) for _, its in found[1:])
            require_small_classes(name.id, size, name.span)
            for structure, its in found:
                own = take_name(block.name.id, taken, joint="")
                self.homes.add(BlockClass(block, own, structure.taken, its, structure))
        count = Counter(made.definition.span for made in self.homes.all)
        for made in self.homes.all:
            made.is_variant = count[made.definition.span] > 1
        return self.homes

    def _structures(
        self, calls: list[BlockCall], *, is_first: bool
    ) -> list[tuple[StructuredBlock, list[BlockCall]]]:
        """The classes of a block's calls, each with the calls that are of it."""
        if is_first:
            try:
                return [(self._structured(calls, self.trials), calls)]
            except NotStructuredError:
                pass
        groups: list[list[BlockCall]] = []
        for call in calls:
            group = next((g for g in groups if self._fits(g, call)), None)
            if group is None:
                groups.append([call])
                name = call.block.name
                require_small_classes(name.id, sum(_size(g[0]) for g in groups), name.span)
            else:
                group.append(call)
        return [(self._structured(g, self.trials, is_flat=True), g) for g in groups]

    def _structured(
        self, calls: Sequence[BlockCall], trials: Trials, *, is_flat: bool = False
    ) -> StructuredBlock:
        return StructuredBlock(calls, self.homes, self.built.views, trials, is_flat=is_flat)

    def _fits(self, group: Sequence[BlockCall], call: BlockCall) -> bool:
        """Whether one class does what these calls do."""
        if _spans(group[0].body) != _spans(call.body):
            return False
        layers = len(call.body.calls) + len(call.body.layers)
        if not self.compared.take((1 + len(group)) * (1 + layers)):
            return False
        try:
            self._structured([*group, call], Trials(0), is_flat=True)
        except NotStructuredError:
            return False
        return True


def _size(call: BlockCall) -> int:
    """How much there is to record of a body."""
    return CLASS + len(call.body.calls) + len(call.body.layers)


def _spans(ran: Ran) -> tuple[list[Span], list[Span]]:
    """Where the layers and the calls of a body stand. One class has the same for all of its calls."""
    return [layer.span for layer in ran.layers], [call.span for call in ran.calls]


def _groups(ran: Ran) -> list[list[BlockCall]]:
    """The calls of each block of which the same results are needed, behind those of the blocks that it
    calls.

    A block that calls itself has a group for each depth of its calls.
    """
    calls: dict[Span, dict[int, list[BlockCall]]] = {}
    inner: dict[Span, set[Span]] = {}
    for call in ran.calls:
        _collect(call, calls, inner)
    groups: dict[tuple[int, Span, int, tuple[int, ...]], list[BlockCall]] = {}
    for span, by_height in calls.items():
        is_recursive = span in _reached(span, inner)
        lowest = max(by_height)
        for height, its in sorted(by_height.items()):
            at, depth = (height, height) if is_recursive else (lowest, 0)
            for each in its:
                groups.setdefault((at, span, depth, each.kept), []).append(each)
    return [groups[group] for group in sorted(groups, key=lambda group: group[0])]


def _reached(block: Span, inner: Mapping[Span, set[Span]]) -> Set[Span]:
    """The blocks that a block calls, and those that these call."""
    found: set[Span] = set()
    left = [block]
    while left:
        new = inner.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def _collect(
    call: BlockCall, calls: dict[Span, dict[int, list[BlockCall]]], inner: dict[Span, set[Span]]
) -> int:
    """Sort calls into `calls` by block, then by the depth of the calls within them.

    `inner` are the blocks that each calls. Return the depth of this call.
    """
    height = 0
    span = call.block.span
    for each in call.body.calls:
        inner.setdefault(span, set()).add(each.block.span)
        height = max(height, 1 + _collect(each, calls, inner))
    calls.setdefault(span, {}).setdefault(height, []).append(call)
    return height
