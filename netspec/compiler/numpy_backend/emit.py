"""Emits NumPy source for a plan: the program that runs, and that can be printed, read and debugged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pkgutil import iter_modules

from netspec import kernels
from netspec.compiler.ir.graph import Graph, show_shape
from netspec.compiler.ir.plan import (
    ElementwiseStep,
    KernelStep,
    Option,
    Plan,
    Scratch,
    Step,
    ViewStep,
)
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.ir.sizes import Size
from netspec.compiler.numpy_backend.emit_elementwise import Emitted, emit

# A fused function of more ops than this has a name made of only the first and the last.
MOST_IN_A_NAME = 4
# Names with another meaning in a program: the functions that it defines, and the kernels that it
# may import.
RESERVED = frozenset(
    ("sample", "forward", "backward", *(module.name for module in iter_modules(kernels.__path__)))
)


@dataclass(frozen=True)
class NumpySource:
    """A program and what it needs to run.

    `scratch` is what its kernels need, as a function of the batch.
    """

    text: str
    scratch: tuple[Scratch, ...]
    tiles: tuple[Emitted, ...]


def emit_program(plan: Plan, graph: Graph) -> NumpySource:
    """Return the source of a plan: `sample`, `forward` and, if planned, `backward`."""
    return _Emitter(plan, graph).program()


class _Emitter:
    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan = plan
        self.graph = graph
        self.named: dict[str, str] = {}  # definitions, by function name
        self.names: dict[str, str] = {}  # function names, by definition under the wanted name
        self.numbers: Counter[str] = Counter()  # last suffix of a wanted name, less one
        self.suffix = ""
        self.tiles: dict[tuple[int, int], Emitted] = {}
        self.modules: set[str] = set()
        self.sizes: set[str] = set()

    def program(self) -> NumpySource:
        mode = "training" if self.plan.training else "evaluation"
        functions = []
        if self.plan.sample:
            functions.append(
                self._function("sample", "b, rng", "Draw the random masks.", self.plan.sample)
            )
        functions.append(
            self._function(
                "forward", "b, p, scratch", f"Compute the outputs, in {mode}.", self.plan.forward
            )
        )
        if self.plan.output_gradients:
            functions.append(
                self._function(
                    "backward",
                    "b, p, g, scratch",
                    "Compute the gradients g of the parameters p, from those of the outputs.",
                    self.plan.backward,
                )
            )
        text = "\n\n\n".join([self._head(mode), *self.named.values(), *functions]) + "\n"
        steps = [s for s in self.plan.steps if isinstance(s, KernelStep) and s.scratch]
        scratch = tuple(s.scratch for s in steps if s.scratch is not None)
        return NumpySource(text, scratch, tuple(self.tiles.values()))

    def _head(self, mode: str) -> str:
        graph = self.graph
        inputs = ", ".join(f"{name} {show_shape(s)}" for name, s in graph.inputs.items())
        outputs = ", ".join(
            f"{name} {show_shape(graph.shape_of(value))}" for name, value in graph.outputs.items()
        )
        lines = [
            f'"""{graph.name} in {mode}, made by netspec from {file_name(graph)}.',
            "",
            f"Inputs: {inputs}. Outputs: {outputs}.",
            "Arrays by name: b buffers, p parameters, g gradients. Pictures are stored N, H, W, C.",
            '"""',
        ]
        imports = []
        if any("np." in text for text in self.named.values()):
            imports.append("import numpy as np")
        if self.modules:
            imports.append(f"from netspec.kernels import {', '.join(sorted(self.modules))}")
        if any("NumexprFunction" in text for text in self.named.values()):
            imports.append("from netspec.kernels.with_numexpr import NumexprFunction")
        if imports:
            lines += ["", *imports]
        return "\n".join(lines)

    def _function(self, name: str, arguments: str, doc: str, steps: Sequence[Step]) -> str:
        lines: list[str] = []
        self.sizes = set()
        self.suffix = "_grad" if name == "backward" else ""
        nodes: tuple[str, ...] = ()
        for step in steps:
            of = step.nodes if isinstance(step, ElementwiseStep) else (step.node,)
            if of != nodes:
                nodes = of
                lines += self._comments(nodes)
            lines.append(f"    {self._statement(step)}")
        head = [f"def {name}({arguments}):", f'    """{doc}"""']
        return "\n".join([*head, *self._open_sizes(), *lines])

    def _open_sizes(self) -> Iterator[str]:
        """Yield the statements that read the open sizes which a function uses from the shapes of
        its inputs.
        """
        known: set[str] = set()
        for name, shape in self.graph.inputs.items():
            for axis, dim in enumerate(shape, start=1):
                if isinstance(dim, Size) and (size := str(dim)) in self.sizes - known:
                    known.add(size)
                    yield f"    {size} = {self.plan.inputs[name]}.shape[{axis}]"

    def _literal(self, value: Option) -> str:
        """Return a number, a word or a tuple of them as source.

        Open sizes have the names of `_open_sizes`.
        """
        if isinstance(value, tuple):
            items = ", ".join(map(self._literal, value))
            return f"({items},)" if len(value) == 1 else f"({items})"
        if isinstance(value, Size):
            self.sizes |= value.names()
            return size_text(value)
        return repr(value)

    def _comments(self, nodes: tuple[str, ...]) -> list[str]:
        """Return comments with the lines of the file that a statement comes from."""
        comments = []
        for name in nodes:
            node = self.plan.nodes.get(name)
            if node is not None:
                where = f"line {node.origin.span.line}"
                comments.append(f"    # {where}: {node.name} = {plain(str(node.op))}")
        return comments

    def _statement(self, step: Step) -> str:
        if isinstance(step, ViewStep):
            batch = ["-1"] if step.output.batched else []
            sizes = ", ".join([*batch, *map(self._literal, step.output.shape)])
            return f"{step.output} = {step.source}.reshape({sizes})"
        if isinstance(step, ElementwiseStep):
            return self._elementwise(step)
        self.modules.add(step.kernel.split(".")[0])
        arguments = [str(argument) for argument in step.arguments]
        arguments += [f"{key}={self._literal(value)}" for key, value in step.options.items()]
        return _call(step.kernel, arguments)

    def _elementwise(self, step: ElementwiseStep) -> str:
        """Return a call of the fused function.

        Steps with the same name and definition share the function.
        """
        wanted = self._function_name(step)
        emitted = emit(step, wanted)
        name = self.names.get(emitted.definition)
        if name is None:
            name = self.names[emitted.definition] = self._free_name(wanted)
        if name != wanted:
            emitted = emit(step, name)
        self.named[name] = emitted.definition
        self.tiles[(emitted.width, emitted.registers)] = emitted
        self.modules |= emitted.modules
        function, _, arguments = emitted.call.partition("(")
        return _call(function, arguments.removesuffix(")").split(", "))

    def _free_name(self, wanted: str) -> str:
        """Return a name that no function has yet: the wanted one, with a number if it is taken."""
        name = wanted
        while name in self.named:
            self.numbers[wanted] += 1
            name = f"{wanted}_{self.numbers[wanted] + 1}"
        return name

    def _function_name(self, step: ElementwiseStep) -> str:
        """Return a name for a fused function, made of the ops whose formulas it computes."""
        found = (self.plan.nodes.get(name) for name in step.nodes)
        ops = list(dict.fromkeys(node.op.name for node in found if node is not None))
        if len(ops) > MOST_IN_A_NAME:
            ops = [ops[0], "to", ops[-1]]
        name = "_".join(ops or ["elementwise"]) + self.suffix
        return name if name not in RESERVED else f"{name}_elements"


def _call(function: str, arguments: Sequence[str]) -> str:
    """Return a call on one line, or with its arguments on lines of their own if it is too long."""
    call = f"{function}({', '.join(arguments)})"
    if len(call) <= 92:
        return call
    lines = [""]
    for argument in arguments:
        if lines[-1] and len(lines[-1]) + len(argument) > 86:
            lines.append("")
        lines[-1] += f" {argument}," if lines[-1] else f"{argument},"
    return "\n        ".join([f"{function}(", *lines]) + "\n    )"


def plain(text: str) -> str:
    """Escape text from the user for a comment or docstring, so that it cannot end it."""
    return text.encode("unicode_escape").decode("ascii").replace('"', "'")


def file_name(graph: Graph) -> str:
    """Return the file name that a graph is from, without the folder, so that it is the same
    everywhere.
    """
    return plain(graph.span.source.file_name if graph.span is not None else graph.name)
