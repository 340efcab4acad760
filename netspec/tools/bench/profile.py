"""Where netspec's time goes, by statement of the program and by line of the file.

A statement is a step of the plan, and a step knows the nodes of the graph that it computes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.plan import Buffer, GradientRef, KernelStep, Plan, Step, ViewStep
from netspec.runtime.engine.program import make_plan
from netspec.runtime.models.emitters.choice import Emitters
from netspec.runtime.models.numpy_model import Model
from netspec.runtime.optim.losses import SoftmaxCrossEntropy
from netspec.runtime.optim.optimizers import SGD
from netspec.tools.bench.instrumented import PARTS, ClockedProgram
from netspec.tools.bench.workload import LEARNING_RATE, Workload

SECONDS = 1.0
LEAST_STEPS = 5


@dataclass(frozen=True)
class StepTiming:
    """A step of the plan, or several that do the same for the same line.

    Attributes:
        part: `sample`, `forward` or `backward`.
        ops: the ops of the nodes whose values or gradients it computes.
        place: where these nodes are in the file, such as `resnet.net:4`.
        kernel: the function that runs.
        seconds: in a step of training or inference.
        flops: two for each multiply-add of a product.
        count: how many steps of the plan.
    """

    part: str
    ops: str
    place: str
    kernel: str
    seconds: float
    flops: int
    count: int = 1


@dataclass(frozen=True)
class Profile:
    """A profile of a step.

    Attributes:
        rows: in the order they run.
        rest: seconds outside of the rows: the loss, the update of the parameters, calls.
    """

    rows: tuple[StepTiming, ...]
    rest: float

    @property
    def seconds(self) -> float:
        """The seconds of the whole step."""
        return self.rest + sum(row.seconds for row in self.rows)

    def by_line(self) -> tuple[StepTiming, ...]:
        """Merge rows that do the same for the same line, such as the calls of a block."""
        found: dict[tuple[str, ...], StepTiming] = {}
        for row in self.rows:
            key = (row.part, row.ops, row.place, row.kernel)
            before = found.get(key, replace(row, seconds=0.0, flops=0, count=0))
            found[key] = replace(
                before,
                seconds=before.seconds + row.seconds,
                flops=before.flops + row.flops,
                count=before.count + 1,
            )
        return tuple(found.values())


def measure(case: Workload) -> Profile:
    """Run steps of the program with timers for a while."""
    model = Model(case.graph, seed=case.seed)
    if case.weights is not None:
        model.load_state_dict(case.weights)
    plan = make_plan(case.graph, training=case.train, backward=case.train)
    program = ClockedProgram(case.graph, plan, model.dtype, Emitters().choose)
    rest = _run(_step(case, model, program), program)
    rows = []
    for part in PARTS:
        steps: Sequence[Step] = getattr(plan, part)
        times = program.clocks[part].times
        assert len(times) == len(steps), f"{part}: {len(steps)} steps, {len(times)} statements"
        for index, step in enumerate(steps):
            if not isinstance(step, ViewStep):
                rows.append(_row(case, plan, part, step, median(times[index])))
    return Profile(tuple(rows), max(0.0, rest))


def _step(case: Workload, model: Model, program: ClockedProgram) -> Callable[[], None]:
    """Return a function that does what `Model` does in a step, with this program."""
    plan, batch = program.plan, case.inputs()
    labels = case.labels() if case.train else None
    rng, loss = np.random.default_rng(case.seed), SoftmaxCrossEntropy()
    optimizer = SGD(model.flat_parameters, model.flat_gradients, model.members)
    output = list(plan.outputs)[case.output]

    def step() -> None:
        buffers = program.bind(case.batch)
        for name, buffer in plan.inputs.items():
            buffers[buffer.name] = batch[name]
        program.sample(buffers, rng)
        program.forward(buffers, model.parameters)
        if labels is None:
            return
        for gradient in plan.output_gradients.values():
            buffers[gradient.name].fill(0)
        scores = buffers[plan.outputs[output].name]
        dscores = buffers[plan.output_gradients[output].name]
        loss.value_and_gradient(scores, labels, dscores)
        program.backward(buffers, model.parameters, model.gradients)
        optimizer.step(LEARNING_RATE)

    return step


def _run(step: Callable[[], None], program: ClockedProgram) -> float:
    """Run steps; returns the seconds that the median step spends outside the program's statements."""
    outside: list[float] = []
    end = time.perf_counter() + SECONDS
    step()
    while time.perf_counter() < end or len(outside) < LEAST_STEPS:
        start = time.perf_counter()
        step()
        whole = time.perf_counter() - start
        outside.append(whole - sum(clock.last for clock in program.clocks.values()))
    return median(outside)


def _row(case: Workload, plan: Plan, part: str, step: Step, seconds: float) -> StepTiming:
    names = (step.node,) if isinstance(step, (KernelStep, ViewStep)) else step.nodes
    nodes = [node for name in names if (node := _written(case.graph, name)) is not None]
    kernel = step.kernel if isinstance(step, KernelStep) else "fused elementwise"
    flops = sum(_flops(case.graph, plan, part, node, step) for node in nodes) * case.batch
    ops = _ops(nodes) or ", ".join(names)  # an input of the net is not a node
    return StepTiming(part, ops, _place(nodes), kernel, seconds, flops)


def _written(graph: Graph, name: str) -> Node | None:
    """Return the node of this name; `pool1.first` was made from `pool1` by a pass."""
    while name and name not in graph.by_name:
        name = name.rpartition(".")[0]
    return graph.by_name.get(name)


def _flops(graph: Graph, plan: Plan, part: str, node: Node, step: Step) -> int:
    """Return the FLOPs for one image.

    There is a product for a node's value, one for each weight, and one for each input's gradient.
    """
    macs = node.op.macs(*graph.shapes_into(node))
    if not macs:
        return 0
    if part == "forward":
        return 2 * macs * (plan.activations.get(node.name) in step.writes)
    given = {plan.contributions.get((node.name, i)) for i in range(len(node.inputs))}
    products = sum(
        (isinstance(operand, GradientRef) and graph.parameters[operand.name].role == "weight")
        or (isinstance(operand, Buffer) and operand in given)
        for operand in step.writes
    )
    return 2 * macs * products


def _ops(nodes: Sequence[Node]) -> str:
    return " + ".join(dict.fromkeys(node.op.name for node in nodes))


def _place(nodes: Sequence[Node]) -> str:
    """Return where the nodes are written: the file and the lines."""
    spans = [node.origin.span for node in nodes]
    lines: dict[str, set[int]] = {}
    for span in spans:
        lines.setdefault(span.source.name.rpartition("/")[2], set()).add(span.line)
    return ", ".join(
        f"{name}:{','.join(map(str, sorted(numbers)))}" for name, numbers in lines.items()
    )
