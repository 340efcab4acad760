"""Writes the whole generated module: header, imports, classes."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from netspec import codes
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.scan_body import ScanBody
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import labels
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.class_arguments import (
    TracedNet,
    applied,
    chosen_rules,
    trace_net,
)
from netspec.compiler.torch_backend.class_ir import BlockClass, Choice, Layer, symbols_in
from netspec.compiler.torch_backend.classes import Known, classes_of
from netspec.compiler.torch_backend.constructor import (
    Constructor,
    default_values,
    note_of,
    sequential_lines,
)
from netspec.compiler.torch_backend.containers import (
    Chain,
    Unit,
    contain,
    count_uses,
    whole_chain,
)
from netspec.compiler.torch_backend.docstrings import (
    docstring,
    module_docstring,
    net_facts,
    opens_file,
    plain_text,
    wrapped,
)
from netspec.compiler.torch_backend.forward import Forward
from netspec.compiler.torch_backend.init_calls import Owned, init_lines
from netspec.compiler.torch_backend.local_sizes import is_extent, names_in_use
from netspec.compiler.torch_backend.module_paths import Places
from netspec.compiler.torch_backend.naming import CLASH, is_class_name, number, quote, safe_name
from netspec.compiler.torch_backend.python_layout import INDENT, WIDTH, Doc, Group, statement
from netspec.compiler.torch_backend.scan_class import ScanClass, bodies_in, held_parameters
from netspec.compiler.torch_backend.structured.flow import steps_in
from netspec.compiler.torch_backend.structured.net import (
    StructuredNet,
    structured_net,
)
from netspec.compiler.torch_backend.structured.net_class import StructuredClass
from netspec.compiler.torch_backend.structured.structure import (
    NotStructuredError,
    Placed,
    Suite,
)
from netspec.compiler.torch_backend.tied_parameters import tie_lines
from netspec.compiler.torch_backend.traced_numbers import plain, roots_of
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.text.python_tree import parse_python


def torch_source(written: Written) -> str:
    """Return the source of the PyTorch module for a net without errors.

    Args:
        written: the net's syntax, the file it is in, and the arguments that were given.

    Returns:
        Python source, with the same bytes for the same input. It has one class for the net and one
        for each block, and imports only `torch` and the standard library.

    Raises:
        NetspecError: `compile/class-name` for a net or block whose name cannot be that of a Python
            class.
    """
    # The one place where it is decided how a net is written: with the statements of the file,
    # where they can be written; else layer by layer.
    known = Known()
    structured = structured_net(written, known)
    if structured is not None:
        with suppress(NotStructuredError):
            return _source(written, structured.classes, structured.traced, structured)
    traced = trace_net(written.net, written.module, written.arguments)
    return _source(written, classes_of(traced.trace, known), traced, None)


def _source(
    written: Written,
    classes: Sequence[BlockClass],
    traced: TracedNet,
    structured: StructuredNet | None,
) -> str:
    """The source of these classes, and of the net's, if it is structured."""
    net, module, arguments = written.net, written.module, written.arguments
    for definition in (net, *(made.definition for made in classes)):
        _check_name(definition)
    names = {net.name.id, *(made.name for made in classes)}
    functional = "torch.nn.functional" if "F" in names else "F"
    error = CLASH["ValueError"] if "ValueError" in names else "ValueError"
    sequence = "tuple" if "Sequence" in names else "Sequence"
    # First, because it may turn out that it cannot be written.
    last = (
        []
        if structured is None
        else _structured_lines(net, structured, error, functional, sequence)
    )
    bodies = [
        _block_lines(made, error, functional, sequence)
        if made.structure is not None
        else _Class(made, traced, functional, error).lines()
        for made in classes
    ]
    scans = [_scan_lines(body, traced, functional, error) for body in bodies_in(traced.graph)]
    bodies = [*scans, *bodies]
    text = "\n".join(line for body in (*bodies, last) for line in body)
    about = [made.definition.doc for made in classes if opens_file(made.definition)]
    head = [*_header(net, module, arguments), *module_docstring("\n\n".join(about))]
    return "\n".join([*head, *_imports(text, functional, names), text])


def _scan_lines(body: ScanBody, traced: TracedNet, functional: str, error: str) -> list[str]:
    """The class of a scan block, two empty lines in front."""
    scan = ScanClass(body)
    step = scan.step()
    _check_name(step.definition)
    lines = _Class(step, traced, functional, error).lines()
    head = "def forward("
    lines = [line.replace(head, "def step(", 1) if head in line else line for line in lines]
    return [*lines, *scan.loop()]


def _block_lines(made: BlockClass, error: str, functional: str, sequence: str) -> list[str]:
    """The class of a block with the statements of the file, two empty lines in front."""
    structure = made.structure
    assert structure is not None
    source = f"Block {made.definition.name.id}, {note_of(made.definition.span)}"
    facts = [*structure.facts(), *_facts_of_views(structure.text.body)]
    doc = "" if opens_file(made.definition) else made.definition.doc
    return [
        "",
        f"class {made.name}(nn.{'Sequential' if structure.text.is_chain else 'Module'}):",
        *docstring(doc, source, facts),
        "",
        *structure.class_lines(error, functional, sequence),
        "",
    ]


def _structured_lines(
    net: syntax.Net, structured: StructuredNet, error: str, functional: str, sequence: str
) -> list[str]:
    """The class of a structured net, two empty lines in front."""
    made = StructuredClass(structured, error, sequence)
    source = f"Net {net.name.id}, {note_of(net.span)}"
    facts = [*net_facts(structured.graph), *made.facts(), *_facts_of_views(structured.body)]
    return [
        "",
        f"class {net.name.id}(nn.{'Sequential' if structured.text.is_chain else 'Module'}):",
        *docstring(net.doc, source, facts),
        "",
        *made.constructor(),
        *made.forward(functional),
        "",
    ]


def _check_name(definition: syntax.Net | syntax.Block) -> None:
    name = definition.name
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


class _Class:
    """One class of the module."""

    def __init__(self, made: BlockClass, traced: TracedNet, functional: str, error: str) -> None:
        self.made = made
        self.traced = traced
        self.is_net = isinstance(made.definition, syntax.Net)
        # An argument on which only shapes depend, such as the size of pictures, does nothing here.
        used = self._used() if self.is_net else set()
        self.kept = {name: symbol for name, symbol in traced.kept.items() if symbol in used}
        self.functional = functional
        self.error = error
        self.of_views = _has_views(made.steps)
        # Before `contain`, which replaces the steps of decisions by units.
        self.read = symbols_in(made)
        uses = count_uses(made.steps, made.results)
        self.whole = None if self.is_net else whole_chain(made, uses)
        self.units = contain(made.steps, uses)
        self.places = Places(self.units)
        self.taken = {path.partition(".")[0] for path in _all_paths(made.steps)}
        used = _names_in_forward(self.units)
        known = [*self._arguments(), *made.fixed]
        self.attributes = {s: self._attribute(s) for s in known if s in used}
        # Open sizes are those of inputs, and are read from the tensors.
        assert used == set(self.attributes), used
        self.constructor = Constructor(self.units, self.places, self.taken, known)
        symbols = {s: f"self.{name}" for s, name in self.attributes.items()}
        self.forward = Forward(
            made, self.units, self.places, self.constructor.tests, uses, functional, symbols
        )

    def _attribute(self, symbol: str) -> str:
        """Return the attribute in which the object keeps an argument: a name that no module has."""
        name = symbol.lstrip("_") or "argument"
        while name in self.taken or labels.problem(name) is not None:
            name += "_"
        self.taken.add(name)
        return name

    def lines(self) -> list[str]:
        """Return the lines of the class, with two empty lines in front."""
        return [
            "",
            f"class {self.made.name}({'nn.Module' if self.whole is None else 'nn.Sequential'}):",
            *self._docstring(),
            "",
            *self._init(),
            "",
            *(self._forward() if self.whole is None else []),
            *([""] if self.whole is None else []),
        ]

    # -- documentation

    def _docstring(self) -> list[str]:
        made = self.made
        kind = "Net" if self.is_net else "Block"
        source = f"{kind} {made.definition.name.id}, {note_of(made.definition.span)}"
        if not self.is_net and made.is_variant:
            places = [trace.prefix for trace in made.traces]
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            source += f", as it is in {', '.join(places[:3])}{more}"
        facts = self._net_facts() if self.is_net else self._block_facts()
        if self.of_views:
            facts += ["", *wrapped(_OF_VIEWS)]
        doc = "" if opens_file(made.definition) else made.definition.doc
        return docstring(doc, source, facts)

    def _net_facts(self) -> list[str]:
        lines = net_facts(self.traced.graph)
        if self.traced.frozen:
            lines += ["", "Fixed when this was generated, for the layers depend on them:"]
            lines += [
                f"{INDENT}{name} = {plain_text(show(value))}"
                for name, value in self.traced.frozen.items()
            ]
        return lines

    def _block_facts(self) -> list[str]:
        """Describe the arguments that the code would not honour."""
        lines = []
        if self.made.fixed:
            lines += ["", "Fixed when this was generated, for numbers follow from them:"]
            lines += [f"{INDENT}{s} = {number(v)}" for s, v in self.made.fixed.items()]
        if self.made.bounded:
            lines += ["", "Numbers follow from these, so they have no other values:"]
            for symbol in self.made.bounded:
                values = " or ".join(map(number, self.made.known[symbol]))
                lines.append(f"{INDENT}{symbol} = {values}")
        return lines

    def _used(self) -> set[str]:
        """Return the net's arguments that something in the class reads."""
        rules = chosen_rules(self.traced.graph).values()
        roots = {
            root for rule in rules for value in vars(rule).values() for root in roots_of(value)
        }
        found = {*self.made.symbols, *(self.traced.kept[root] for root in roots)}
        for text in self.traced.derived.values():
            found |= set(re.findall(r"[A-Za-z_]\w*", text))
        return found | {
            s for condition, _ in self.made.traces[0].asserts for s in condition.symbols
        }

    # -- constructor

    def _arguments(self) -> list[str]:
        return list(self.kept.values()) if self.is_net else self.made.symbols

    def _signature(self) -> list[str]:
        items: list[Doc] = ["self"]
        if self.is_net:
            for name, symbol in self.kept.items():
                value = self.traced.values[name]
                kind = type(value + 0).__name__
                if symbol in self.traced.derived:
                    items.append(f"{symbol}: {kind} | None = None")
                else:
                    items.append(f"{symbol}: {kind} = {number(value)}")
        else:
            defaults = default_values(self.made.definition, self.made.symbols)
            values = self.made.traces[0].symbols
            for symbol in self.made.symbols:
                kind = "float" if isinstance(values[symbol], float) else "int"
                default = f" = {number(defaults[symbol])}" if symbol in defaults else ""
                items.append(f"{symbol}: {kind}{default}")
        return statement(Group("def __init__(", tuple(items), ") -> None"), 1, after=":")

    def _init(self) -> list[str]:
        if self.whole is not None:
            lines = [*self._signature(), *self._fixed(), *self._asserts()]
            return [*lines, *sequential_lines(self.whole)]
        lines = [*self._signature(), f"{INDENT * 2}super().__init__()"]
        if self.is_net:
            derived = self.traced.derived.items()
            for symbol, text in ((s, t) for s, t in derived if s in self.kept.values()):
                lines += statement(f"if {symbol} is None:", 2)
                lines += statement(f"{symbol} = {text}", 3)
        lines += [*self._fixed(), *self._asserts()]
        for symbol, name in self.attributes.items():
            lines += statement(f"self.{name} = {symbol}", 2)
        lines += self.constructor.lines
        if self.is_net:
            lines += [*self._initial_values(), *tie_lines(self.traced.graph)]
        return lines

    def _fixed(self) -> list[str]:
        """Write the values of arguments that the class does not take, and checks of those with
        limited values.
        """
        lines: list[str] = []
        for symbol, value in self.made.fixed.items():
            if symbol in self.read:
                lines += statement(f"{symbol} = {number(value)}", 2)
        if self.made.bounded:
            given = _tuple(self.made.bounded)
            found = dict.fromkeys(
                _tuple([number(plain(trace.symbols[s])) for s in self.made.bounded])
                for trace in self.made.traces
            )
            test = f"if {given} not in ({', '.join(found)}):"
            is_long = len(INDENT * 2 + test) > WIDTH
            listed = Group(f"if {given} not in (", tuple(found), ")", exploded=is_long)
            lines += statement(listed, 2, after=":")
            message = f"made for other values of {' and '.join(self.made.bounded)}"
            lines += statement(Group(f"raise {self.error}(", (quote(message),)), 3)
        return lines

    def _asserts(self) -> list[str]:
        lines: list[str] = []
        known = set(self._arguments())
        seen = []
        for condition, message in self.made.traces[0].asserts:
            everywhere = all((condition, message) in t.asserts for t in self.made.traces)
            if condition.text is None or not condition.symbols or not everywhere:
                continue
            if condition.symbols <= known and condition not in seen:
                seen.append(condition)
                lines += statement(f"if {condition.negated().text}:", 2)
                lines += statement(Group(f"raise {self.error}(", (quote(message),)), 3)
        return lines

    def _initial_values(self) -> list[str]:
        graph = self.traced.graph
        return init_lines(
            chosen_rules(graph), _owners(self.traced, graph), self._reach, self.traced.kept
        )

    def _reach(self, full: str) -> str:
        """Return the expression for a parameter of the net, by attributes of its class where
        possible.
        """
        path, _, name = full.rpartition(".")
        for unit in self.units:
            if isinstance(unit, Layer) and unit.path == full and "" in unit.parameters:
                return self.places.reach(full)
            if isinstance(unit, Chain):
                inner = path.removeprefix(f"{unit.path}.")
                if inner != path and unit.indexed and inner in dict(unit.children):
                    return f"{self.places.reach(unit.path)}[{inner}].{name}"
            elif getattr(unit, "path", None) == path and name.isidentifier():
                if getattr(unit, "parameters", None):
                    return f"{self.places.reach(path)}[{quote(name)}]"
                return f"{self.places.reach(path)}.{name}"
        kind = "parameter" if self.traced.graph.parameters[full].trainable else "buffer"
        return f"self.get_{kind}({quote(full)})"

    # -- forward

    def _forward(self) -> list[str]:
        tensors: list[Doc] = [f"{safe_name(name)}: torch.Tensor" for name in self.made.inputs]
        count = len(self.made.results)
        gives = "torch.Tensor"
        if count > 1:
            gives = f"tuple[{', '.join(['torch.Tensor'] * count)}]"
        if count > 3:
            gives = "tuple[torch.Tensor, ...]"
        head = Group("def forward(", ("self", *tensors), f") -> {gives}")
        return [*statement(head, 1, after=":"), *self.forward.lines]


def _tuple(items: Sequence[str]) -> str:
    return f"({', '.join(items)})" if len(items) > 1 else items[0]


def _has_views(steps: Sequence[Any]) -> bool:
    """Whether a layer is written in the form that is correct for views with permuted axes."""
    return any(
        any(_has_views(inner) for _, inner in step.cases)
        if isinstance(step, Choice)
        else isinstance(step, Layer) and step.of_views
        for step in steps
    )


def _all_paths(steps: Sequence[Any]) -> Iterator[str]:
    for step in steps:
        if hasattr(step, "cases"):
            for _, inner in step.cases:
                yield from _all_paths(inner)
        else:
            yield step.path


def _names_in_forward(units: Sequence[Unit]) -> set[str]:
    """Return the arguments and open sizes that the statements of `forward` need."""
    found: set[str] = set()
    for unit in units:
        if isinstance(unit, Choice):
            found |= {name for _, inner in unit.cases for name in _names_in_forward(inner)}
        elif isinstance(unit, Layer):
            found |= {name for name in names_in_use(unit.torch) if not is_extent(name)}
    return found


def _owners(traced: TracedNet, graph: Graph) -> dict[str, Owned]:
    owners = {}
    for event in applied(traced.trace.events):
        for full, target, own in held_parameters(event.node, graph, event.torch()):
            if full in owners:  # the layer that made it is the first
                continue
            if graph.parameters[full].trainable or not target:
                owners[full] = Owned(target, own, len(graph.parameters[full].shape))
    return owners
