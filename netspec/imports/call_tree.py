"""The nodes of an imported net as a tree of calls of modules: what may become blocks.

A call holds items in the order they run, nodes and calls. Modules that only hold others, and those
with a single layer, are not calls: they lie in their parent, and prefix its labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netspec.compiler.ops import registry
from netspec.imports.imported_net import ImportedNet, ImportedNode, ImportedTensor, Scope
from netspec.text.free_name import take_name

# From how many layers on a module that is called once is a block of its own.
_OWN_BLOCK = 4


@dataclass(slots=True, eq=False)
class ModuleCall:
    """One call of a module.

    Attributes:
        kind: the name of its class; empty for the net itself.
        path: the whole path.
        items: what it computes, in order.
        tensors: the tensors that it declares.
        inputs: the values from outside that it reads, in the order of the first use.
        outputs: its values that are read outside, in order.
        lent: a value from outside that it gets though it reads none, for a block has an input.
    """

    kind: str
    path: str
    call: int = 0
    items: list[ImportedNode | ModuleCall] = field(default_factory=list)
    tensors: list[ImportedTensor] = field(default_factory=list)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    lent: str = ""

    def nodes(self) -> Iterator[ImportedNode]:
        """Yield all nodes in it."""
        for item in self.items:
            if isinstance(item, ModuleCall):
                yield from item.nodes()
            else:
                yield item

    def splice(self, calls: Sequence[ModuleCall]) -> None:
        """Put the items of some calls in it in their places."""
        items: list[ImportedNode | ModuleCall] = []
        for item in self.items:
            if isinstance(item, ModuleCall):
                item.splice(calls)
                if item in calls:
                    items += item.items
                    continue
            items.append(item)
        self.items = items

    def calls(self) -> Iterator[ModuleCall]:
        """Yield the calls in it, the inner ones first."""
        for item in self.items:
            if isinstance(item, ModuleCall):
                yield from item.calls()
                yield item


def call_tree(net: ImportedNet) -> ModuleCall:
    """Return the tree of a net, whose root is the net itself."""
    net = _with_growing_joins(_without_dead(net))
    root = ModuleCall("", "", 0)
    for node in net.nodes:
        _place_for(root, node.scopes).items.append(node)
    owners = _declare(root, net)
    _splice_small(root, owners)
    _splice_recursive(root, ())
    _splice_rare(root, owners)
    _find_values(root, net)
    return root


def _without_dead(net: ImportedNet) -> ImportedNet:
    """Leave out nodes that no output depends on."""
    needed = set(net.outputs.values())
    kept: list[ImportedNode] = []
    for node in reversed(net.nodes):
        if node.value in needed:
            needed.update(node.inputs)
            kept.append(node)
    tensors = tuple(t for t in net.tensors if t.value in needed)
    return replace(net, nodes=tuple(reversed(kept)), tensors=tensors)


def _with_growing_joins(net: ImportedNet) -> ImportedNet:
    """Write a join of what was joined before, and one value more, as a join of these two.

    A join of values from outside a module is moved out of the module.
    """
    ops = registry()
    known: dict[tuple[object, ...], str] = {}
    made_in: dict[str, tuple[Scope, ...]] = {}
    nodes = []
    for node in net.nodes:
        if node.op in ops and ops[node.op].is_associative:
            attributes = tuple(sorted(node.attributes.items()))
            for end in range(len(node.inputs) - 1, 1, -1):
                before = known.get((node.op, attributes, node.inputs[:end]))
                if before is not None:
                    known[node.op, attributes, node.inputs] = node.value
                    node = replace(node, inputs=(before, *node.inputs[end:]))
                    break
            else:
                known[node.op, attributes, node.inputs] = node.value
            scopes = node.scopes
            while scopes and not any(
                made_in.get(value, ())[: len(scopes)] == scopes for value in node.inputs
            ):
                scopes = scopes[:-1]
            node = replace(node, scopes=scopes)
        made_in[node.value] = node.scopes
        nodes.append(node)
    return replace(net, nodes=tuple(nodes))


def _place_for(root: ModuleCall, scopes: Sequence[Scope]) -> ModuleCall:
    at = root
    for scope in scopes:
        if scope.only_holds or not scope.kind:
            continue
        last = at.items[-1] if at.items else None
        is_same = isinstance(last, ModuleCall) and (last.path, last.call) == (
            scope.path,
            scope.call,
        )
        if not is_same:
            last = ModuleCall(scope.kind, scope.path, scope.call)
            at.items.append(last)
        assert isinstance(last, ModuleCall)
        at = last
    return at


def _declare(root: ModuleCall, net: ImportedNet) -> set[str]:
    """Give each tensor to the module that holds it, and what none holds to what reads it."""
    calls = {call.path: call for call in root.calls()} | {"": root}
    owners = set()
    for tensor in net.tensors:
        path, _, name = tensor.name.rpartition(".")
        owner = calls.get(path, root)
        if tensor.kind == "constant" and (not tensor.is_own or owner.path != path):
            readers = [call for call in (*root.calls(), root) if _reads(call, tensor.value)]
            owner = readers[0] if len(readers) == 1 else root
            name = take_name(name, _taken_names(owner, net))
            tensor = replace(tensor, name=name, is_own=False)
        owner.tensors.append(tensor)
        owners.add(owner.path)
    return owners


def _taken_names(call: ModuleCall, net: ImportedNet) -> set[str]:
    """Return the names that something in a call has already."""
    prefix = f"{call.path}." if call.path else ""
    labels = [i.path if isinstance(i, ModuleCall) else i.label for i in call.items]
    names = [*labels, *(tensor.name for tensor in call.tensors)]
    taken = {name.removeprefix(prefix).partition(".")[0] for name in names if name}
    return taken if call.path else taken | {i.name for i in net.inputs}


def _reads(call: ModuleCall, value: str) -> bool:
    return any(isinstance(i, ImportedNode) and value in i.inputs for i in call.items)


def _splice_small(call: ModuleCall, owners: set[str]) -> None:
    """Put calls with one item into their parents."""
    items: list[ImportedNode | ModuleCall] = []
    for item in call.items:
        if isinstance(item, ModuleCall):
            _splice_small(item, owners)
            if len(item.items) < 2 and item.path not in owners:
                items += item.items
                continue
        items.append(item)
    call.items = items


def _splice_recursive(call: ModuleCall, around: tuple[str, ...]) -> None:
    """Put calls inside a call of the same class into their parents: a block cannot call itself."""
    inside = (*around, call.kind) if call.kind else around
    items: list[ImportedNode | ModuleCall] = []
    for item in call.items:
        if isinstance(item, ModuleCall):
            _splice_recursive(item, inside)
            if item.kind in inside and not item.tensors:
                items += item.items
                continue
        items.append(item)
    call.items = items


def _splice_rare(root: ModuleCall, owners: set[str]) -> None:
    """Put what is called once, and is short or most of its parent, into its parent."""
    counts = Counter(call.kind for call in root.calls())

    def splice(call: ModuleCall) -> None:
        total = sum(1 for _ in call.nodes())
        items: list[ImportedNode | ModuleCall] = []
        for item in call.items:
            if isinstance(item, ModuleCall):
                splice(item)
                count = sum(1 for _ in item.nodes())
                is_rare = counts[item.kind] == 1 and item.path not in owners
                if is_rare and (len(item.items) < _OWN_BLOCK or 2 * count > total):
                    items += item.items
                    continue
            items.append(item)
        call.items = items

    splice(root)


def _find_values(root: ModuleCall, net: ImportedNet) -> None:
    readers: dict[str, list[int]] = {}
    order = {node.value: i for i, node in enumerate(root.nodes())}
    for i, node in enumerate(root.nodes()):
        for value in node.inputs:
            readers.setdefault(value, []).append(i)
    for value in net.outputs.values():
        readers.setdefault(value, []).append(len(order))
    given = {i.name for i in net.inputs}
    nodes = list(root.nodes())
    for call in root.calls():
        if not _read_outside(call):
            beside = _values_beside(call, nodes, readers, order, given)
            call.lent = next(beside, net.inputs[0].name)
            readers.setdefault(call.lent, []).append(order[next(call.nodes()).value])
    for call in root.calls():
        inside = {order[node.value] for node in call.nodes()}
        call.inputs = tuple(_read_outside(call))
        call.outputs = tuple(
            node.value
            for node in call.nodes()
            if any(r not in inside for r in readers.get(node.value, ()))
        )
    root.inputs = tuple(i.name for i in net.inputs)
    root.outputs = tuple(net.outputs.values())


def _read_outside(call: ModuleCall) -> list[str]:
    """Return the values that a call reads and does not make or declare, in the order of first use."""
    calls = [call, *call.calls()]
    own = {node.value for node in call.nodes()} | {t.value for c in calls for t in c.tensors}
    read = [value for node in call.nodes() for value in node.inputs]
    read += [c.lent for c in calls if c.lent]
    return [value for value in dict.fromkeys(read) if value not in own]


def _values_beside(
    call: ModuleCall, nodes: Sequence[ImportedNode], readers: Mapping[str, list[int]],
    order: Mapping[str, int], given: Container[str],
) -> Iterator[str]:  # fmt: skip
    """Yield the values, there before a call, that what it computes is used with."""
    first = order[next(call.nodes()).value]
    for node in call.nodes():
        for reader in readers.get(node.value, ()):
            for value in nodes[reader].inputs if reader < len(nodes) else ():
                if value in given or order.get(value, first) < first:
                    yield value
