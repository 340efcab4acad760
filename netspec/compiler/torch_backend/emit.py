"""Writes the whole generated module: header, imports, classes."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import field
from typing import Any

from netspec import codes
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.parse.loader import Module
from netspec.compiler.passes.layer_limit import require_few_written
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.built_net import build_net
from netspec.compiler.torch_backend.classes import classes_of
from netspec.compiler.torch_backend.docstrings import (
    docstring,
    module_docstring,
    net_facts,
    opens_file,
    wrapped,
)
from netspec.compiler.torch_backend.naming import CLASH, is_class_name, quote
from netspec.compiler.torch_backend.normalized_class import normalized_lines, normalized_name
from netspec.compiler.torch_backend.output_class import output_class, output_lines
from netspec.compiler.torch_backend.python_layout import Doc
from netspec.compiler.torch_backend.scan_class import ScanClass, bodies_in
from netspec.compiler.torch_backend.structured.constructor import note_of
from netspec.compiler.torch_backend.structured.flow import steps_in
from netspec.compiler.torch_backend.structured.net import StructuredNet, structured_net
from netspec.compiler.torch_backend.structured.net_class import StructuredClass
from netspec.compiler.torch_backend.structured.structure import (
    NotStructuredError,
    Placed,
    Suite,
)
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.records import record
from netspec.text.python_tree import parse_python


@record(eq=False)
class AboutData:
    """What a module says of the data that its weights are for.

    Attributes:
        lines: paragraphs for its docstring.
        scales: how inputs are normalised; a class under the net's does it.
    """

    lines: tuple[str, ...] = ()
    scales: Mapping[str, InputScale] = field(default_factory=dict)


def torch_source(written: Written, about: AboutData | None = None) -> str:
    """Return the source of the PyTorch module for a net without errors.

    Args:
        written: the net's syntax, the file it is in, and the arguments that were given.
        about: what is known of the data.

    Returns:
        Python source, with the same bytes for the same input. It has one class for the net and one
        for each block, and imports only `torch` and the standard library.

    Raises:
        NetspecError: `compile/class-name` for a net or block whose name cannot be that of a Python
            class; `compile/no-torch` for each layer that has no form in PyTorch; `limit/layers`.
    """
    built = build_net(written)
    homes = classes_of(written.net, built)
    for name in (written.net.name, *(made.definition.name for made in homes.all)):
        _check_name(name)
    # The one place where it is decided how a net is written: with the statements of the file,
    # where they can be written; else layer by layer.
    about = about or AboutData()
    with suppress(NotStructuredError):
        return _source(written, structured_net(written, built, homes), about)
    require_few_written(written.net.name.id, len(built.graph.nodes), written.net.name.span)
    return _source(written, structured_net(written, built, homes, is_flat=True), about)


def _source(written: Written, structured: StructuredNet, data: AboutData) -> str:
    net, module, arguments = written.net, written.module, written.arguments
    classes = structured.homes.all
    scans = [ScanClass(body) for body in bodies_in(structured.graph)]
    for scan in scans:
        _check_name(scan.name)
    names = {net.name.id, *(made.name for made in classes)}
    functional = "torch.nn.functional" if "F" in names else "F"
    error = CLASH["ValueError"] if "ValueError" in names else "ValueError"
    sequence = "tuple" if "Sequence" in names else "Sequence"
    given = list(structured.graph.outputs)
    outputs = output_class(net.name.id, given, names | {s.body.class_name for s in scans})
    bodies = [
        *(_scan_lines(scan, functional, error) for scan in scans),
        *(
            _block_lines(made, structured.starts(made), error, functional, sequence)
            for made in classes
        ),
        output_lines(outputs, net.name.id, given) if outputs else [],
        _net_lines(net, structured, error, functional, sequence, outputs),
        _normalized_lines(net, structured, data, outputs, names),
    ]
    text = "\n".join(line for body in bodies for line in body)
    about = [made.definition.doc for made in classes if opens_file(made.definition)]
    about += data.lines
    head = [*_header(net, module, arguments), *module_docstring("\n\n".join(about))]
    return "\n".join([*head, *_imports(text, functional, names), text])


def _scan_lines(scan: ScanClass, functional: str, error: str) -> list[str]:
    """The class of a scan block, two empty lines in front."""
    source = f"Block {scan.name.id}, {note_of(scan.name.span)}"
    return [
        "",
        f"class {scan.body.class_name}(nn.Module):",
        *docstring(scan.doc, source, _facts_of_views(scan.steps)),
        "",
        *scan.lines(functional, error),
        "",
    ]


def _block_lines(
    made: BlockClass,
    starts: Mapping[Placed, Sequence[Doc]],
    error: str,
    functional: str,
    sequence: str,
) -> list[str]:
    """The class of a block with the statements of the file, two empty lines in front."""
    structure = made.structure
    source = f"Block {made.definition.name.id}, {note_of(made.definition.span)}"
    if made.is_variant:
        places = [call.full_path for call in made.calls]
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        source += f", as it is in {', '.join(places[:3])}{more}"
    facts = [*structure.facts(), *_facts_of_views(structure.text.body)]
    doc = "" if opens_file(made.definition) else made.definition.doc
    return [
        "",
        f"class {made.name}({structure.text.layout.base}):",
        *docstring(doc, source, facts),
        "",
        *structure.class_lines(error, functional, sequence, starts),
        "",
    ]


def _net_lines(
    net: syntax.Net,
    structured: StructuredNet,
    error: str,
    functional: str,
    sequence: str,
    outputs: str,
) -> list[str]:
    """The class of the net, two empty lines in front."""
    made = StructuredClass(structured, error, sequence, outputs)
    source = f"Net {net.name.id}, {note_of(net.span)}"
    facts = [*net_facts(structured.graph), *made.facts(), *_facts_of_views(structured.body)]
    return [
        "",
        f"class {net.name.id}({structured.text.layout.base}):",
        *docstring(net.doc, source, facts),
        "",
        *made.constructor(),
        *made.forward(functional),
        "",
    ]


def _normalized_lines(
    net: syntax.Net, structured: StructuredNet, data: AboutData, outputs: str, taken: Set[str]
) -> list[str]:
    """The class that normalises its inputs, two empty lines in front; none if nothing is normalised."""
    if not data.scales:
        return []
    name = normalized_name(net.name.id, taken)
    graph = structured.graph
    inputs = dict(zip(graph.inputs, structured.text.inputs, strict=True))
    return normalized_lines(
        name, net.name.id, inputs, data.scales, [], results=len(graph.outputs), gives=outputs
    )


def _check_name(name: syntax.Name) -> None:
    if not is_class_name(name.id):
        message = f"`{name.id}` cannot be the name of a Python class"
        raise NetspecError([Diagnostic(codes.COMPILE_CLASS_NAME, message, name.span)])


def _header(net: syntax.Net, module: Module, arguments: Mapping[str, Any]) -> list[str]:
    digest = hashlib.sha256()
    for source in module.sources():
        digest.update(source.text.encode())
    file = note_of(net.span).rpartition(":")[0]
    given = "".join(f" --set {name}={_shown(value)}" for name, value in sorted(arguments.items()))
    return [
        f"# Generated by netspec from {file}, net {net.name.id}.",
        f"# sha256 of the source: {digest.hexdigest()}",
        *([f"# Arguments:{given}"] if given else []),
        "# Change the .net file and compile it again rather than this one.",
    ]


def _shown(value: Any) -> str:
    return quote(show(value))[1:-1]


def _imports(text: str, functional: str, names: set[str]) -> list[str]:
    used = {node.id for node in ast.walk(parse_python(text)) if isinstance(node, ast.Name)}
    standard = [f"import {name}" for name in ("builtins", "collections", "math") if name in used]
    standard += ["from collections.abc import Sequence"] if "Sequence" in used - names else []
    types = [name for name in ("Any", "NamedTuple") if name in used - names]
    standard += [f"from typing import {', '.join(types)}"] if types else []
    lines = ["", *standard, *([""] if standard else [])]
    lines += ["import torch"] if "torch" in used else []
    if functional in used:
        lines += ["import torch.nn.functional as F"]
    return [*lines, "from torch import nn", ""]


_OF_VIEWS = (
    "Norms of pictures take [N, channels, pixels] here: next to a permute, the gradient of"
    " nn.BatchNorm2d can be wrong in PyTorch where the height or the width is 1, and that of"
    " nn.InstanceNorm2d where the batch is one image."
)


def _facts_of_views(body: Suite) -> list[str]:
    """What a docstring says of layers that are correct for views with permuted axes."""
    is_there = any(isinstance(step, Placed) and step.of_views for step in steps_in(body))
    return ["", *wrapped(_OF_VIEWS)] if is_there else []
