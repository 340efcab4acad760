"""The steps of a plan as lines of C, each under a comment with its layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netspec import codes
from netspec.compiler.c_backend.c_text import comment, without_brackets
from netspec.compiler.c_backend.elementwise import ElementwiseFunctions
from netspec.compiler.c_backend.forms import BATCH_FORMS, FORMS, Form
from netspec.compiler.c_backend.kernel_call import KernelCall
from netspec.compiler.c_backend.library import called, sharing
from netspec.compiler.c_backend.loop_steps import TURNS, LoopMemory, LoopSteps
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.c_backend.memory import FileMemory
from netspec.compiler.c_backend.open_sizes import SET_HINT
from netspec.compiler.c_backend.turns import in_turns
from netspec.compiler.ir.graph import Graph, Node, Shape
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, KernelStep, Loop, Step, ViewStep
from netspec.compiler.numpy_backend.origins import Origins
from netspec.diagnostics import Diagnostic, Hint, NetspecError


@dataclass
class Calls:
    """Writes calls.

    Attributes:
        graph: the net.
        nodes: the nodes of the plan, by name: those of the net after passes.
        memory: where operands are.
        functions: the functions that apply formulas.
        double: whether numbers are written in double precision.
        count: the variable that holds how many images there are; empty if it is one.
        are_open: whether the caller passes sizes.
        first_forms: forms that are taken before all others, where they have lines.
    """

    graph: Graph
    nodes: Mapping[str, Node]
    memory: FileMemory | LoopMemory
    functions: ElementwiseFunctions
    double: bool = False
    count: str = ""
    are_open: bool = False
    first_forms: Mapping[str, Form] = field(default_factory=dict)
    missing: dict[str, Diagnostic] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._origins = Origins(self.graph)

    def lines(self, steps: Sequence[Step]) -> list[str]:
        """Return the lines of steps.

        Raises:
            NetspecError: `compile/no-c` for each layer that has no form in C.
        """
        lines: list[str] = []
        said: list[str] = []
        for step in steps:
            if isinstance(step, ViewStep):
                continue
            nodes = step.nodes if isinstance(step, ElementwiseStep) else (step.node,)
            notes = self._notes(nodes)
            if notes != said:
                lines += ["", *notes] if lines else notes
                said = notes
            call = self._call(step)
            lines += in_turns(call, self._shares) if self.first_forms else call
        if self.missing:
            raise NetspecError(tuple(self.missing.values()))
        return lines

    def _shares(self, code: str) -> bool:
        """Whether all members of a team run C, and share loops of it."""
        names = called(code)
        return "SHARE(" in code or not names.isdisjoint(sharing() | self.functions.made())

    def _notes(self, names: Iterable[str]) -> list[str]:
        out = []
        for name in names:
            node = self.graph.by_name.get(name) or self.nodes.get(name)
            if node is None:
                shape = self.graph.inputs.get(name)  # None for what a step of a loop is given
                text = "" if shape is None else f" {show(shape)}"
                out.append(f"/* the input {comment(name)}{text} */")
                continue
            note = self._origins.note(node)
            shown = f"{comment(note.where)}: {comment(note.name)} = {comment(note.source)}"
            out.append(f"/* {shown}  {show(node.shape)} */")
        return out

    def _call(self, step: Step) -> list[str]:
        if isinstance(step, ElementwiseStep):
            return self.functions.call(step, self.memory, self.count)
        assert isinstance(step, KernelStep)
        call = KernelCall(step, self.memory, self.double, self.count)
        try:
            found = self._form(call)
        except TypeError:
            if not self.are_open:
                raise
            found = None  # it needs numbers, for tables
        if found is None and (node := self.nodes.get(step.node)) is not None:
            self.missing.setdefault(step.node, no_form(node, step.kernel, are_open=self.are_open))
        return [] if found is None else [*call.before, *found]

    def _form(self, call: KernelCall) -> list[str] | None:
        step = call.step
        if step.loop is not None:
            return self._loop(call, step.loop)
        if step.kernel in self.first_forms:
            found = self.first_forms[step.kernel](call)
            if found is not None:
                return found
        if self.count and step.kernel in BATCH_FORMS:
            return BATCH_FORMS[step.kernel](call)
        return self._of_each_image(call) if step.kernel in FORMS else None

    def _loop(self, call: KernelCall, loop: Loop) -> list[str] | None:
        """Return the loop over the steps of a sequence; None for those that go back over it."""
        if loop.way != "forward" or self.count:
            return None
        steps = LoopSteps(call, loop, self.memory)
        if steps.memory.depth >= len(TURNS):
            return None
        inner = replace(self, nodes={**self.nodes, **loop.nodes}, memory=steps.memory, missing={})
        try:
            lines = inner.lines(loop.steps)
        except NetspecError:
            self.missing |= inner.missing
            return []
        return steps.around(lines)

    def _of_each_image(self, call: KernelCall) -> list[str] | None:
        """Return a call, in a loop over the images if there are several."""
        operands = (*call.step.reads, *call.step.writes)
        batched = any(isinstance(each, Buffer) and each.batched for each in operands)
        if isinstance(self.memory, LoopMemory):
            return FORMS[call.step.kernel](call)
        self.memory.image = "n" if self.count and batched else ""
        found = FORMS[call.step.kernel](call)
        looped = self.memory.image
        self.memory.image = ""
        if found is None or not looped:
            return found
        loop, apart = f"for (int n = 0; n < {self.count}; n++)", _apart(call, found)
        if self.first_forms:  # in `ONCE` no loop of what is called is shared
            loop = f"SHARE(n, {self.count}, 1, {self.count} > 1)" if apart else f"ONCE {loop}"
        elif apart:
            return ["PARALLEL", f"{loop} {{", *indented(found), "}"]
        return [f"{loop} {{", *indented(found), "}"]


def _apart(call: KernelCall, lines: Sequence[str]) -> bool:
    """Whether no image writes what another one reads or writes.

    Scratch memory is written for each image, unless it was filled before the loop.
    """
    batched = all(isinstance(each, Buffer) and each.batched for each in call.step.writes)
    return batched and (bool(call.before) or not any("_SCRATCH" in line for line in lines))


def no_form(node: Node, kernel: str, *, are_open: bool = False) -> Diagnostic:
    """Return the error for a layer without a form in C, perhaps for sizes that the caller passes."""
    sizes = " for sizes that are arguments" if are_open else ""
    return Diagnostic(
        codes.COMPILE_NO_C,
        f"`{node.op.name}` has no form in C{sizes}",
        node.origin.span,
        label=kernel,
        hints=(Hint(SET_HINT),) if are_open else (),
    )


def show(shape: Shape) -> str:
    """Return a shape as it is written in comments."""
    return "[" + ", ".join(without_brackets(str(size)) for size in shape) + "]"
