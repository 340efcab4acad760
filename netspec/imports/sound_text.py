"""An imported net as a text that compiles; what does not is told by the line of the model.

A front says of each layer whether it fits. Should a text have an error all the same, nobody sees the
line that it is in, for the text is not written: the node that it comes from is looked for.
"""

from __future__ import annotations

from dataclasses import replace

from netspec import codes
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.imports.allowances import allowed
from netspec.imports.imported_net import ImportedNet, Problem
from netspec.imports.problems import told
from netspec.imports.proof import CheckedText, checked_tree
from netspec.imports.structure import structured
from netspec.imports.text import net_tree


def sound_text(
    name: str, net: ImportedNet, *, nowhere: str
) -> tuple[str, CheckedText, tuple[str, ...]]:
    """Return a net as a text, the same compiled, and what a reader should know about it.

    A net whose blocks no file can say is written without any. If that fails too, the first error is
    told: what a block declares has no name outside of it, and so the second one may blame a layer
    that is sound.

    Args:
        name: of the text.
        net: the net.
        nowhere: what a place without a path is called in errors.

    Raises:
        NetspecError: `import/inexpressible`, with the first node that no file can say.
    """
    try:
        return *allowed(net_tree(name, structured(net))), ()
    except NetspecError as error:
        failed = error
    plain = _without_blocks(net)
    try:
        text, checked = allowed(net_tree(name, structured(plain)))
    except NetspecError:
        raise NetspecError(_located(name, net, failed, nowhere)) from None
    note = f"the net is written without blocks: {failed.diagnostics[0].message}"
    return text, checked, (note,)


def _without_blocks(net: ImportedNet) -> ImportedNet:
    return replace(
        net,
        nodes=tuple(replace(node, scopes=()) for node in net.nodes),
        tensors=tuple(replace(tensor, scopes=()) for tensor in net.tensors),
    )


def _located(name: str, net: ImportedNet, whole: NetspecError, nowhere: str) -> list[Diagnostic]:
    """Return the error of a net as that of its first node with which it does not compile."""
    sound, wrong, error = 0, len(net.nodes) + 1, whole
    while wrong - sound > 1:
        middle = (sound + wrong) // 2
        found = _error_of(name, _beginning(net, middle))
        if found is None:
            sound = middle
        else:
            wrong, error = middle, found
    message = error.diagnostics[0].message
    if wrong > len(net.nodes):
        said = f"the net that was read is no sound file: {message}"
        return [Diagnostic(codes.IMPORT_INEXPRESSIBLE, said)]
    node = net.nodes[wrong - 1]
    scope = node.scopes[-1] if node.scopes else None
    path = node.label or (scope.path if scope else "")
    kind = scope.kind if scope and scope.path == path else ""
    return told([Problem(node.op, message, path, kind, node.place)], nowhere=nowhere)


def _error_of(name: str, net: ImportedNet) -> NetspecError | None:
    try:
        checked_tree(net_tree(name, structured(net)))
    except NetspecError as error:
        return error
    return None


def _beginning(net: ImportedNet, count: int) -> ImportedNet:
    """Return the first nodes of a net; its outputs are what none of them reads."""
    nodes = net.nodes[:count]
    read = {value for node in nodes for value in node.inputs}
    ends = [node.value for node in nodes if node.value not in read]
    return replace(net, nodes=nodes, outputs={f"end{i}": value for i, value in enumerate(ends)})
