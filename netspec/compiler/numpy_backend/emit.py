"""Emits NumPy source for a plan: the program that runs, and that can be printed, read and debugged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pkgutil import iter_modules

from netspec import kernels
from netspec.compiler.ir.expression import variables
from netspec.compiler.ir.graph import Graph, Node, show_shape
from netspec.compiler.ir.plan import (
    SCRATCH,
    ElementwiseStep,
    KernelStep,
    Loop,
    Plan,
    Scratch,
    Step,
    ViewStep,
    with_loops,
)
from netspec.compiler.ir.sizes import Size
from netspec.compiler.numpy_backend.emit_elementwise import kernel_modules
from netspec.compiler.numpy_backend.fused_functions import FreeNames, FusedFunctions, Tile
from netspec.compiler.numpy_backend.origins import Origins
from netspec.compiler.numpy_backend.plain_formulas import numpy_formula
from netspec.compiler.numpy_backend.shared_functions import share
from netspec.compiler.numpy_backend.statements import (
    RESHAPE,
    Argument,
    Formula,
    Function,
    Statement,
    Value,
    Whole,
    in_docstring,
    open_sizes_in,
    plain,
)
from netspec.records import record

# Names with another meaning in a program: the functions that it defines, and the kernels that it
# may import.
RESERVED = frozenset(
    ("sample", "forward", "backward", "np", *(m.name for m in iter_modules(kernels.__path__)))
)


@record
class NumpySource:
    """A program and what it needs to run.

    `scratch` is what its kernels need, as a function of the batch.
    """

    text: str
    scratch: tuple[Scratch, ...]
    tiles: tuple[Tile, ...]


def emit_program(
    plan: Plan, graph: Graph, *, plain: bool = False, shares: bool = True
) -> NumpySource:
    """Return the source of a plan: `sample`, `forward` and, if planned, `backward`.

    `plain` writes formulas out, to be read, where the program that runs has functions of tiles.
    Without `shares` each step of the plan is a statement of these functions, and no function stands
    for several.
    """
    return _Emitter(plan, graph, plain).program(shares)


class _Emitter:
    def __init__(self, plan: Plan, graph: Graph, plain: bool) -> None:
        self.plan = plan
        self.graph = graph
        self.plain = plain
        self.origins = Origins(graph)
        self.names = FreeNames(RESERVED)
        self.fused = FusedFunctions(self.names)
        self.modules: set[str] = set()
        self.loops: list[Function] = []

    def program(self, shares: bool) -> NumpySource:
        mode = "training" if self.plan.training else "evaluation"
        phases = list(self._phases(mode))
        shared = share(phases, self.names) if shares else []
        for phase in phases:
            phase.sizes = tuple(self._open_sizes(phase))
        functions = [function.text() for function in (*self.loops, *shared, *phases)]
        fused = self.fused.definitions.values()
        body = "\n\n\n".join([*fused, *functions])
        text = f"{self._head(mode, body)}\n\n\n{body}\n"
        every = with_loops(self.plan.steps)
        steps = [s for s in every if isinstance(s, KernelStep) and s.scratch]
        scratch = tuple(s.scratch for s in steps if s.scratch is not None)
        return NumpySource(text, scratch, tuple(self.fused.tiles))

    def _phases(self, mode: str) -> Iterator[Function]:
        plan = self.plan
        if plan.sample:
            yield self._phase("sample", "b, rng", "Draw the random masks.", plan.sample)
        doc = f"Compute the outputs, in {mode}."
        yield self._phase("forward", "b, p, s", doc, plan.forward)
        if plan.output_gradients:
            doc = "Compute the gradients g of the parameters p, from those of the outputs."
            yield self._phase("backward", "b, p, g, s", doc, plan.backward)

    def _phase(self, name: str, arguments: str, doc: str, steps: Sequence[Step]) -> Function:
        statements = [self._statement(step, self.plan.nodes) for step in steps]
        return Function(name, (arguments,), doc, statements, name)

    def _loop(self, loop: Loop, node: str) -> Whole:
        """Write a function of the steps of a loop, and return its name."""
        is_back = loop.way == "backward"
        what = "step_back_of" if is_back else "step_of"
        name = self.names.take(f"{what}_{re.sub('[^A-Za-z0-9_]', '_', node)}")
        arguments = "b, p, g, s" if is_back else "b, p, s"
        doc = f"Compute one step of {in_docstring(node)}{', backward' if is_back else ''}."
        statements = [self._statement(step, loop.nodes) for step in loop.steps]
        self.loops.append(Function(name, (arguments,), doc, statements, name))
        return Whole(name)

    def _head(self, mode: str, body: str) -> str:
        graph = self.graph
        inputs = ", ".join(f"{name} {graph.show_input(name)}" for name in graph.inputs)
        outputs = ", ".join(
            f"{name} {show_shape(graph.shape_of(value))}" for name, value in graph.outputs.items()
        )
        lines = [
            f'"""{graph.name} in {mode}, made by netspec from {in_docstring(file_name(graph))}.',
            "",
            f"Inputs: {inputs}. Outputs: {outputs}.",
            "Arrays by name: b buffers, p parameters, g gradients; s is scratch memory. Pictures are",
            "stored N, H, W, C.",
        ]
        if self.plain:
            lines += [
                "",
                "In plain form: each layer has its own calls and formulas, backward in mirror order.",
                "Convolutions and pools are plain loops in netspec.kernels.course.naive.",
            ]
        lines.append('"""')
        imports = []
        modules = self.modules | self.fused.modules
        if re.search(r"\bnp\.\w+\(", body):
            imports.append("import numpy as np")
        if modules:
            imports.append(f"from netspec.kernels import {', '.join(sorted(modules))}")
        if "NumexprFunction(" in body:
            imports.append("from netspec.kernels.with_numexpr import NumexprFunction")
        if imports:
            lines += ["", *imports]
        return "\n".join(lines)

    def _open_sizes(self, phase: Function) -> Iterator[str]:
        """Yield the statements that read the open sizes which a phase uses from the shapes of its
        inputs.
        """
        used = set().union(*(open_sizes_in(v) for s in phase.statements for v in s.values()))
        known: set[str] = set()
        for name, shape in self.graph.inputs.items():
            for axis, dim in enumerate(shape, start=1):
                if isinstance(dim, Size) and (size := str(dim)) in used - known:
                    known.add(size)
                    yield f"{size} = {self.plan.inputs[name]}.shape[{axis}]"

    def _statement(self, step: Step, known: Mapping[str, Node]) -> Statement:
        names = step.nodes if isinstance(step, ElementwiseStep) else (step.node,)
        nodes = [node for name in names if (node := known.get(name)) is not None]
        return Statement(
            *self._call(step),
            notes=tuple(map(self.origins.note, nodes)),
            # What a fused step computes from values of other blocks is a value of the last one.
            blocks=self.origins.blocks(nodes[-1]) if nodes else (),
            layer=nodes[0] if len(nodes) == 1 else None,
        )

    def _formula(self, step: ElementwiseStep) -> tuple[Formula, tuple[Argument, ...]]:
        """Return a formula and its target and operands."""
        self.modules |= kernel_modules(step.formula)
        names = variables(step.formula)
        text = numpy_formula(step.formula, {name: f"{{{i}}}" for i, name in enumerate(names)})
        operands = [step.output, *(step.operands[name] for name in names)]
        return Formula(text), tuple(map(Argument, operands))

    def _call(self, step: Step) -> tuple[str | Formula, tuple[Argument, ...]]:
        """Return a function and its arguments."""
        values: list[Value]
        if isinstance(step, ViewStep):
            batch = [-1] if step.output.batched else []
            values = [step.output, step.source, *batch, *step.output.shape]
            return RESHAPE, tuple(map(Argument, values))
        if isinstance(step, ElementwiseStep) and self.plain:
            return self._formula(step)
        if isinstance(step, ElementwiseStep):
            call = self.fused.call(step)
            scratch = [SCRATCH] if step.emitter == "numpy" else []
            return call.function, tuple(map(Argument, [step.output, *call.operands, *scratch]))
        self.modules.add(step.kernel.split(".")[0])
        given = map(Argument, step.arguments)
        if step.loop is not None:
            front = (self._loop(step.loop, step.node), Whole("p"), SCRATCH)
            given = map(Argument, (*front, *step.arguments))
        options = (Argument(value, key) for key, value in step.options.items())
        return step.kernel, (*given, *options)


def file_name(graph: Graph) -> str:
    """Return the file name that a graph is from, without the folder, so that it is the same
    everywhere.
    """
    return plain(graph.span.source.file_name if graph.span is not None else graph.name)
