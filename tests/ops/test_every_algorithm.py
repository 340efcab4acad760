"""Every algorithm and every way to divide the work, each forced in turn, at odd sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

import netspec
from netspec.compiler.ir.expression import FUNCTIONS, Apply, walk
from netspec.compiler.ir.plan import ElementwiseStep, Plan
from netspec.compiler.numpy_backend import pipeline as planning
from netspec.compiler.numpy_backend.pass_names import PASS_NAMES
from netspec.kernels.convolution import im2col, winograd
from netspec.testing.op_examples import (
    assert_equal_runs,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)
from tests.helpers.heavy import some_quick

# One channel, prime sizes, and every kind of kernel.
MIXED = netspec.loads("""net Mixed {
    input image: [1, 17, 13]
    a = image -> conv(5, 3, pad = 1, bias = false) -> batch_norm -> relu -> max_pool(2)
    b = a -> conv(7, [5, 3], pad = [2, 1]) -> gelu
    c = b -> conv(7, 3, pad = 1, groups = 7) -> batch_norm -> silu
    d = (b + c) -> conv(5, 7, pad = 3) -> tanh -> avg_pool(3, stride = 2, pad = 1)
    output d -> conv(3, 1) -> relu -> conv(4, 3, stride = 2, pad = 1) -> sigmoid -> flatten
           -> linear(11) -> relu -> linear(3)
}""")
# Images of one pixel.
SMALL = netspec.loads("""net Small {
    input image: [1, 1, 1]
    output image -> conv(3, 3, pad = 1) -> relu -> conv(1, 1) -> conv(4, 5, pad = 2) -> max_pool(1)
           -> conv(4, 3, pad = 1, groups = 4) -> sigmoid -> avg_pool(1) -> flatten -> linear(2)
}""")
# A signal and a volume, of several groups and strides.
RANKS = netspec.loads("""net Ranks {
    input sound: [2, 9]
    input clip: [2, 3, 4, 4]
    a = sound -> conv(4, 3, pad = 1) -> batch_norm -> relu -> max_pool(2) -> conv(4, 3, groups = 4)
    b = clip -> conv(4, 3, pad = 1) -> relu -> conv(4, [2, 3, 3], groups = 2, stride = [2, 1, 1])
    c = b -> conv_transpose(2, [2, 1, 2], stride = [1, 1, 2]) -> tanh -> avg_pool(2)
    output signal = a -> flatten -> linear(3)
    output volume = c -> flatten -> linear(2)
}""")
NETS = {"mixed": MIXED, "one pixel": SMALL, "signal and volume": RANKS}

Patch = Callable[[pytest.MonkeyPatch], None]


HOMES = dict.fromkeys(("conv_plan", "depthwise", "im2col", "volume", "winograd"), "convolution.")


def setting(values: dict[str, object]) -> Patch:
    """Return a patch that sets names of kernels, such as `{"winograd.SMALL_PRODUCT": 1}`."""

    def patch(to: pytest.MonkeyPatch) -> None:
        for place, value in values.items():
            to.setattr(f"netspec.kernels.{HOMES.get(place.split('.')[0], '')}{place}", value)

    return patch


def by_winograd(to: pytest.MonkeyPatch) -> None:
    """Use Winograd's algorithm wherever it is possible, also in float64."""
    to.setattr(
        winograd, "applies", lambda _x, _y, groups, window: winograd.possible(groups, window)
    )

    def applies(x, y, groups, window) -> bool:
        return y.flags.c_contiguous and winograd.possible(groups, window)

    to.setattr(im2col, "_is_winograd", applies)


def by_winograd_in_rows(to: pytest.MonkeyPatch) -> None:
    by_winograd(to)
    to.setattr(winograd, "SMALL_PRODUCT", 1)


def by_numexpr(to: pytest.MonkeyPatch) -> None:
    """Use numexpr wherever it has the functions, by a pass after all others."""

    def choose(step):
        if not isinstance(step, ElementwiseStep) or step.vectors:
            return step
        functions = [FUNCTIONS[e.function] for e in walk(step.formula) if isinstance(e, Apply)]
        known = all(function.in_numexpr for function in functions)
        return dataclasses.replace(step, emitter="numexpr") if known else step

    def chosen(plan: Plan) -> Plan:
        parts = {part: tuple(map(choose, getattr(plan, part))) for part in ("forward", "backward")}
        return dataclasses.replace(plan, **parts)

    last = planning.Pass("by-numexpr", "", chosen, lambda before, after: iter(()))
    to.setattr(planning, "PASSES", (*planning.PASSES, last))


def without(name: str) -> Patch:
    """Leave a pass out of every plan."""

    def patch(to: pytest.MonkeyPatch) -> None:
        for kind in ("PASSES", "GRAPH_PASSES"):
            passes = getattr(planning, kind)
            to.setattr(planning, kind, tuple(each for each in passes if each.name != name))

    return patch


FORCED: dict[str, Patch] = {
    "Winograd": by_winograd,
    "Winograd, row by row": by_winograd_in_rows,
    "no Winograd": setting(
        {"winograd.applies": lambda *_: False, "im2col._is_winograd": lambda *_: False}
    ),
    "one output a run": setting(
        {"conv_plan._choose_span": lambda *_: 1, "winograd._choose_span": lambda *_: 1}
    ),
    "depthwise as groups": setting({"depthwise.applies": lambda *_: False}),
    "small tiles": setting({
        "conv_plan.TILE": 64, "conv_plan.FEWEST_OUTPUTS": 1, "pool.TILE": 16,
        "pool.GLOBAL_IMAGES": 2, "elementwise.TILE": 8, "batch_norm.BLOCK": 32, "depthwise.TILE": 32,
        "volume.AT_ONCE": 1000,
    }),
    "linear, weight first": setting({"linear.FEW_ROWS": 1 << 30}),
    "linear, weight last": setting({"linear.FEW_ROWS": 0}),
    "linear, in blocks": setting({
        "linear.VERY_FEW_ROWS": 1 << 30, "linear.BLOCK_COLUMNS": 2, "linear.LEAST_BLOCK_ROWS": 1,
    }),
    "numexpr": by_numexpr,
    "one thread": setting({"parallel._threads": 1}),
    "a thread a step": setting({"parallel._threads": 4, "parallel.WORTH_A_THREAD": 1}),
    **{f"no {name}": without(name) for name in PASS_NAMES},
}  # fmt: skip


# All are compared with the reference, whose gradients are checked op by op; those that compute a
# gradient in a way of their own are also checked by differences.
CHECKED = ("Winograd", "no Winograd")
VERIFIED = ("Winograd, row by row", "small tiles", "numexpr", "a thread a step")


@pytest.fixture(params=FORCED)
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    FORCED[request.param](monkeypatch)


@pytest.mark.usefixtures("forced")
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("batch", "dtype"),
    [
        pytest.param(1, "f8", marks=pytest.mark.heavy),
        (3, "f8"),
        pytest.param(17, "f8", marks=pytest.mark.heavy),
        (1, "f4"),
        pytest.param(3, "f4", marks=pytest.mark.heavy),
        pytest.param(17, "f4", marks=pytest.mark.heavy),
    ],
)
def test_it_gives_what_the_reference_gives(net, batch, dtype) -> None:
    graph = NETS[net].graph
    for training in (True, False):
        parameters, inputs = random_parameters(graph), random_inputs(graph, batch)
        dy = random_output_gradients(graph, batch)
        ours = run_program(graph, parameters, inputs, dy, training=training, dtype=dtype)
        theirs = run_reference(graph, parameters, inputs, dy, training=training)
        assert_equal_runs(ours, theirs, 1e-9 if dtype == "f8" else 2e-3)


@pytest.mark.parametrize("forced", some_quick(FORCED, CHECKED), indirect=True)
def test_its_gradients_are_right(forced) -> None:
    assert (report := netspec.gradcheck(MIXED, batch=3, mode="train")).verdict == "ok", str(report)
    assert (report := netspec.gradcheck(SMALL, batch=3, full=True)).verdict == "ok", str(report)


@pytest.mark.parametrize("forced", some_quick(FORCED, VERIFIED), indirect=True)
@pytest.mark.parametrize("net", NETS)
def test_it_is_verified(forced, net) -> None:
    report = netspec.verify(NETS[net], batch=3, steps=0, torch=False)
    assert report.ok, str(report)


def test_what_is_forced_is_what_runs(monkeypatch) -> None:
    """The kernels that are called are counted."""
    seen = []
    correlate = winograd.correlate
    monkeypatch.setattr(winograd, "correlate", lambda *a: (seen.append("w"), correlate(*a)))

    def run() -> int:
        seen.clear()
        graph = MIXED.graph
        inputs, dy = random_inputs(graph, 3), random_output_gradients(graph, 3)
        run_program(graph, random_parameters(graph), inputs, dy, training=True)
        return len(seen)

    assert run() == 0  # float64
    with monkeypatch.context() as to:
        by_winograd(to)
        assert run() >= 6  # three convolutions have a kernel and a stride for it, there and back
    with monkeypatch.context() as to:
        by_numexpr(to)
        plan = planning.make_plan(MIXED.graph, training=True)
        assert "numexpr" in str(plan)
        steps = [s for s in (*plan.forward, *plan.backward) if isinstance(s, ElementwiseStep)]
        assert sum(step.emitter == "numexpr" for step in steps) > len(steps) / 3
