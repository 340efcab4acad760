"""The generic tests of an op: its documentation, and its examples in every evaluator.

`netspec test-op` runs them for ops of one's own, and the project's tests for netspec's. Nothing here
names an op.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from netspec.compiler.ir.graph import Graph, Shape
from netspec.compiler.ir.op import (
    BadExample,
    Evaluation,
    Example,
    NoTorchFormError,
    Op,
    ShapeError,
)
from netspec.compiler.ir.sizes import Size, names_in
from netspec.compiler.numpy_backend.lower import lower
from netspec.compiler.parse.op_files import place_in_ops
from netspec.diagnostics import NetspecError
from netspec.net import loads
from netspec.runtime.engine.program import make_plan
from netspec.testing.op_examples import (
    Array,
    agreement,
    assert_equal_runs,
    graph_of,
    net_of,
    random_inputs,
    random_output_gradients,
    random_parameters,
    require,
    run_program,
    run_reference,
)

BATCHES = (1, 2, 5)
# Slopes are measured to about this, as steps are 1e-6.
SEEN = 1e-8


class Skipped(Exception):  # noqa: N818 - it is no error
    """A check does not apply to an example, for the reason in its message."""


@dataclasses.dataclass(frozen=True)
class ExampleCase:
    """One example of an op, in a net of its own.

    Attributes:
        uses: what the net uses, for an op that is not netspec's own.
    """

    op: type[Op]
    example: Example
    uses: str | None = None

    def data(self, batch: int = 3) -> _Data:
        """Return the net of the example, with random data for it."""
        graph = graph_of(self.example.call, self.example.inputs, self.uses)
        return _Data(
            graph,
            random_parameters(graph),
            random_inputs(graph, batch),
            random_output_gradients(graph, batch),
        )


class _Data(NamedTuple):
    graph: Graph
    parameters: dict[str, Array]
    inputs: dict[str, Array]
    dy: dict[str, Array]


def check_documentation(op: type[Op]) -> None:
    """It documents itself and its attributes, and some example sets each attribute.

    Raises:
        AssertionError: with what is missing; so do all checks.
    """
    made_up = f"{op.__name__}("  # the beginning of a dataclass's own docstring
    require(not (op.__doc__ or made_up).startswith(made_up), "the class has no docstring")
    require(op.examples, "the generic tests need examples")
    for name, field in op.attributes().items():
        require(field.metadata["doc"], f"{name} has no line of documentation")
    named = " ".join([*(e.call for e in op.examples), *(e.call for e in op.bad_examples)])
    for name, field in op.attributes().items():
        if field.default is not dataclasses.MISSING:
            require(f"{name} =" in named or "(" in named, f"no example sets `{name}`")


def check_formulas(case: ExampleCase) -> None:
    """An op of every element returns a formula, and a tuple of them for the gradient.

    Raises:
        Skipped: for other ops.
        TypeError: with what it returned.
    """
    (node,) = graph_of(case.example.call, case.example.inputs, case.uses).nodes
    if not node.op.require_formulas((*node.inputs, *node.parameters)):
        raise Skipped("it has none")


def check_shape(case: ExampleCase, training: bool) -> None:
    """The inferred shape is the shape that the reference computes."""
    graph, parameters, inputs, dy = case.data()
    masks = run_program(graph, parameters, inputs, dy, training=training).masks
    run = run_reference(graph, parameters, inputs, dy, training=training, masks=masks)
    found, inferred = run.outputs["output"].shape[1:], graph.nodes[-1].shape
    require(found == inferred, f"`shape` says {inferred}, and `forward` computes {found}")
    for name, dx in run.input_gradients.items():
        require(dx.shape == inputs[name].shape, f"the gradient of {name} has shape {dx.shape}")
    for parameter in graph.trainable():
        shape = run.gradients[parameter.name].shape
        require(shape == parameter.shape, f"the gradient of {parameter.name} has shape {shape}")


def check_slope(case: ExampleCase, training: bool) -> None:
    """The gradient of the reference is the slope.

    The slope is measured by central differences along random directions, in float64.
    """
    graph, parameters, inputs, dy = case.data()
    masks = run_program(graph, parameters, inputs, dy, training=training).masks
    run = run_reference(graph, parameters, inputs, dy, training=training, masks=masks)
    rng = np.random.default_rng(3)

    def objective(shift_p: Mapping[str, Array], shift_x: Mapping[str, Array], step: float) -> float:
        p = {n: a + step * shift_p[n] if n in shift_p else a for n, a in parameters.items()}
        x = {n: a + step * shift_x[n] if n in shift_x else a for n, a in inputs.items()}
        out = run_reference(graph, p, x, dy, training=training, masks=masks).outputs
        return sum(float((out[n] * dy[n]).sum()) for n in out)

    step = 1e-6
    for group, gradients in (("p", run.gradients), ("x", run.input_gradients)):
        for name, gradient in gradients.items():
            direction = {name: rng.standard_normal(gradient.shape)}
            if name in graph.untrained_rows:
                direction[name][graph.untrained_rows[name]] = 0
            shifts = (direction, {}) if group == "p" else ({}, direction)
            slope = (objective(*shifts, step) - objective(*shifts, -step)) / (2 * step)
            expected = float((gradient * direction[name]).sum())
            terms = float(np.abs(gradient * direction[name]).sum())
            message = f"the gradient of {name} is {expected:.6g} where the slope is {slope:.6g}"
            apart = abs(slope - expected)
            is_small = apart <= max(1e-3 * terms, SEEN)  # of an op whose values are all small
            require(apart <= 1e-6 * max(1.0, terms) and is_small, message)


def check_program(case: ExampleCase, training: bool, batch: int = 3) -> None:
    """The compiled program equals the reference, in float64."""
    graph, parameters, inputs, dy = case.data(batch)
    least = graph.nodes[0].op.least_training_batch(*case.example.inputs)
    if training and batch < least:
        raise Skipped("a batch too small to train on")
    ours = run_program(graph, parameters, inputs, dy, training=training)
    theirs = run_reference(graph, parameters, inputs, dy, training=training, masks=ours.masks)
    assert_equal_runs(ours, theirs, 1e-11)


def check_single_precision(case: ExampleCase, training: bool) -> None:
    """The compiled program in float32 computes in float32 alone, and equals the reference."""
    graph, parameters, inputs, dy = case.data()
    ours = run_program(graph, parameters, inputs, dy, training=training, dtype=np.float32)
    for name, array in (*ours.outputs.items(), *ours.gradients.items()):
        require(array.dtype == np.float32, f"{name} is {array.dtype}")
    theirs = run_reference(graph, parameters, inputs, dy, training=training, masks=ours.masks)
    assert_equal_runs(ours, theirs, 2e-4)


def check_passes(case: ExampleCase) -> None:
    """No pass of the compiler changes a result."""
    graph, parameters, inputs, dy = case.data()
    plain = lower(graph, training=True, input_gradients=True)
    planned = make_plan(graph, training=True, input_gradients=True)
    a = run_program(graph, parameters, inputs, dy, training=True, plan=plain)
    b = run_program(graph, parameters, inputs, dy, training=True, plan=planned)
    assert_equal_runs(a, b, 1e-13)


def check_positions(case: ExampleCase) -> None:
    """What the op says of `mixes` holds: a part of the inputs along an axis gives that of the value."""
    graph, parameters, inputs, _ = case.data(2)
    (node,) = graph.nodes
    shapes = graph.shapes_into(node)
    choices = [[None, *range(1, len(shape) + 1)] for shape in shapes]
    own = {name: parameters[full] for name, full in node.parameters.items()}
    given = [inputs[name] for name in node.inputs]
    whole = node.op.forward(Evaluation(node, False, own), *given)
    tried = 0
    for over in itertools.product(*choices):
        at = _free_axis(node.op, shapes, over)
        if at is None:
            continue
        size = whole.shape[at]
        for place in {0, size // 2, size - 1}:
            parts = [
                a if axis is None else a.take([place], axis)
                for a, axis in zip(given, over, strict=True)
            ]
            with suppress(ShapeError):  # a size that the file gives
                node.op.shape(*(part.shape[1:] for part in parts))
                part = node.op.forward(Evaluation(node, False, own), *parts)
                error = agreement(part, whole.take([place], at))
                message = f"places along {over} of {shapes} are not by themselves: {error:.2e}"
                require(error <= 1e-12, message)
                tried += 1
    if not tried:
        raise Skipped("it mixes places along each axis")


def _free_axis(op: Op, shapes: Sequence[Shape], over: tuple[int | None, ...]) -> int | None:
    """Return the axis of the value whose places follow from those of the axes `over` of the inputs, as
    far as the op says; None if there is none.
    """
    sizes = {shape[axis - 1] for shape, axis in zip(shapes, over, strict=True) if axis}
    if len(sizes) != 1:
        return None
    size = cast(int, Size.named("T"))
    opened = [
        shape if axis is None else (*shape[: axis - 1], size, *shape[axis:])
        for shape, axis in zip(shapes, over, strict=True)
    ]
    try:
        value = op.shape(*opened)
    except ShapeError:
        return None
    found = [axis for axis, dim in enumerate(value, 1) if dim == size]
    others = names_in(dim for dim in value if dim != size)
    if len(found) != 1 or others or op.mixes(over, *opened):
        return None
    same = [spec.shape for spec in op.parameters(*opened)]
    return found[0] if same == [spec.shape for spec in op.parameters(*shapes)] else None


def check_pytorch(case: ExampleCase, training: bool) -> None:
    """The compiled program equals PyTorch: values, gradients and buffers."""
    try:
        import torch
    except ImportError:
        raise Skipped("PyTorch is not installed") from None
    from netspec.runtime.models.pytorch.expressions import evaluate
    from netspec.tools.agreement.torch_trace import SharedMasks

    graph, parameters, inputs, dy = case.data()
    ours = run_program(graph, parameters, inputs, dy, training=training)
    try:
        expression = graph.nodes[0].op.torch(*case.example.inputs)
    except NoTorchFormError as error:
        raise Skipped(str(error)) from None
    inner, module = expression.module, None
    path = graph.nodes[0].name
    state = {name.removeprefix(path + "."): torch.tensor(a) for name, a in parameters.items()}
    loose = {}
    if inner is not None:
        build = getattr(torch.nn, inner.target.removeprefix("nn."))
        module = build(*inner.arguments, **inner.options).double().train(training)
        module.load_state_dict(state)
    else:
        loose = {name: tensor.requires_grad_() for name, tensor in state.items()}
    x = [torch.tensor(a, requires_grad=True) for a in inputs.values()]
    with SharedMasks(torch.tensor(mask) for mask in ours.masks.values()):
        y = evaluate(expression, x, module, loose, training=training)
    if y.requires_grad:
        y.backward(torch.tensor(dy["output"]))

    def compare(what: str, ours: Array, theirs: Any, tol: float) -> None:
        error = agreement(ours, theirs.detach().numpy())
        require(error <= tol, f"{what} differs from PyTorch's by {error:.2e}")

    compare("the value", ours.outputs["output"], y, 1e-11)
    for (name, array), tensor in zip(ours.input_gradients.items(), x, strict=True):
        theirs = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        compare(f"the gradient of {name}", array, theirs, 1e-10)
    trained = module.named_parameters() if module is not None else loose.items()
    for name, p in trained:
        compare(f"the gradient of {name}", ours.gradients[f"{path}.{name}"], p.grad, 1e-10)
    for name, b in module.named_buffers() if module is not None else ():
        compare(name, ours.parameters[f"{path}.{name}"], b, 1e-11)


def check_refused(bad: BadExample, uses: str | None = None) -> None:
    """A bad example is refused with its code alone, at a place in the file."""
    refusal: NetspecError | None = None
    try:
        loads(net_of(bad.call, bad.inputs, uses))
    except NetspecError as error:
        refusal = error
    if refusal is None:
        raise AssertionError(f"{bad.call} is accepted")
    found = [d.code for d in refusal.diagnostics]
    require(found == [bad.code], f"{bad.call} is refused with {', '.join(found)}")
    require(refusal.diagnostics[0].span is not None, f"{bad.call}: the error has no place")


class Finding(NamedTuple):
    """The result of one check of one op.

    Attributes:
        check: what was to hold, in words.
        runs: how often it was checked: for each example, mode and batch.
        skipped: the reasons why some of the runs did not apply, and how many each was for.
        failures: what did not hold: the call, and the difference.
    """

    check: str
    runs: int
    skipped: Mapping[str, int]
    failures: tuple[str, ...]


def check_op(op: type[Op], uses: str | None = None) -> Iterator[Finding]:
    """Yield the findings of all checks of an op, in the order of the text of `docs/add-an-op.md`."""
    cases = [ExampleCase(op, example, uses) for example in op.examples]
    modes = (("training", True), ("evaluation", False))
    both = [(f"{c.example.call} in {word}", c, mode) for c in cases for word, mode in modes]

    def in_both(check: Callable[[ExampleCase, bool], None]) -> list[_Run]:
        return [(name, partial(check, c, mode)) for name, c, mode in both]

    about = [(op.name, partial(check_documentation, op))]
    batches = [
        (f"{name}, batch {batch}", partial(check_program, c, mode, batch))
        for name, c, mode in both
        for batch in BATCHES
    ]
    passes = [(c.example.call, partial(check_passes, c)) for c in cases]
    positions = [(c.example.call, partial(check_positions, c)) for c in cases]
    refused = [(bad.call, partial(check_refused, bad, uses)) for bad in op.bad_examples]
    yield _finding("it is documented, and has examples", about)
    formulas = _finding(
        "its formulas are formulas", [(c.example.call, partial(check_formulas, c)) for c in cases]
    )
    if formulas.failures:  # which all other checks would run into
        yield formulas
        return
    yield _finding("the shape is what `forward` computes", in_both(check_shape))
    yield _finding("the gradient is the slope", in_both(check_slope))
    yield _finding("the program equals the reference", batches)
    yield _finding("the program in float32", in_both(check_single_precision))
    yield _finding("no pass changes a result", passes)
    yield _finding("what it says of positions", positions)
    yield _finding("the program equals PyTorch", in_both(check_pytorch))
    yield _finding("bad examples are refused", refused)


_Run = tuple[str, Callable[[], None]]


def _finding(check: str, runs: Sequence[tuple[str, Callable[[], None]]]) -> Finding:
    skipped: Counter[str] = Counter()
    failures = []
    for name, run in runs:
        try:
            run()
        except Skipped as reason:
            skipped[str(reason)] += 1
        except NetspecError as error:
            failures.append(f"{name}: {error}")
        except (Exception, SystemExit) as error:  # whatever the op's own code raises
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            failures.append(f"{name}: {kind}{error}{place_in_ops(error)}")
    return Finding(check, len(runs), skipped, tuple(failures))
