"""Scratch is large enough for every way in which a batch can be divided among threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec.compiler.ir.plan import Plan
from netspec.kernels import conv, parallel
from netspec.kernels.convolution.conv_plan import phases, reaches_all
from netspec.kernels.windows import Window
from netspec.runtime.engine.program import make_plan
from netspec.testing.op_examples import (
    graph_of,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
)
from tests.helpers.op_parameters import EXAMPLES, shown

ROOT = Path(__file__).parents[2]


def require_enough(plan: Plan, batch: int) -> None:
    """Check that each convolution's scratch is enough for its parts of the batch."""
    for step in (*plan.forward, *plan.backward):
        scratch = getattr(step, "scratch", None)
        if scratch is None or scratch.function != "conv.scratch_size":
            continue
        given, made = scratch.arguments
        options = dict(scratch.options)
        size = conv.scratch_size(batch, given, made, **options)
        groups = options.pop("groups")
        window = Window(**options)
        for work in (1, 1 << 18, 1 << 21, 1 << 40):
            split = parallel.parts(batch, work)
            for part in split:
                share = conv.scratch_share(part.stop - part.start, given, made, groups, window)
                assert share <= size // len(split), (step, batch, len(split))


@pytest.fixture
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_threads", request.param)


@pytest.mark.parametrize(
    ("name", "threads", "batches"),
    [
        ("lenet", 2, range(1, 140)),
        ("resnet", 2, [11, 41, 81, 121, 128, 161]),
        ("resnet", 3, range(1, 50, 7)),
        ("resnet", 4, [1, 81, 82, 83]),
        ("zoo/mobilenet_v2", 4, [1, 7, 33]),
    ],
    indirect=["threads"],
)
@pytest.mark.usefixtures("threads")
def test_convolutions_of_known_nets_have_scratch_enough(name, batches) -> None:
    plan = make_plan(netspec.load(ROOT / f"networks/{name}.net").graph, training=True)
    for batch in batches:
        require_enough(plan, batch)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[str, tuple[int, int, int]]:
    """Draw a call, and the shape of its input."""
    channels = draw(st.sampled_from([1, 3, 4, 6, 12, 16, 64]))
    kernel = [draw(st.integers(1, 5)) for _ in "hw"]
    size = [k + draw(st.integers(0, 30)) for k in kernel]
    kind = draw(st.sampled_from(["conv", "depthwise", "conv_transpose"]))
    groups, outputs = (channels, channels) if kind == "depthwise" else (1, draw(st.integers(1, 40)))
    stride = draw(st.sampled_from([1, 1, 1, 2, 3]))
    pad = draw(st.integers(0, min(kernel) - 1))
    name = "conv" if kind == "depthwise" else kind
    options = f"{outputs}, {kernel}, stride = {stride}, pad = {pad}, groups = {groups}"
    return f"{name}({options})", (channels, *size)


@given(convolutions(), st.lists(st.integers(1, 200), min_size=8, max_size=8, unique=True))
@settings(max_examples=50, derandomize=True, database=None)
def test_every_convolution_has_scratch_enough(layer, batches) -> None:
    call, shape = layer
    plan = make_plan(graph_of(call, (shape,)), training=True, input_gradients=True)
    for threads in (2, 3, 7):
        with pytest.MonkeyPatch.context() as to:
            to.setattr(parallel, "_threads", threads)
            for batch in batches:
                require_enough(plan, batch)


@pytest.mark.parametrize("threads", [2, 3], indirect=True)
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("example", EXAMPLES, ids=shown)
def test_every_op_runs_at_any_batch_in_any_number_of_threads(example, monkeypatch) -> None:
    """The batches are one image, one part per thread, and parts of different sizes.

    Tiles are small.
    """
    for name in ("conv_plan", "depthwise", "pool", "elementwise", "attention", "broadcast_sums"):
        module = f"convolution.{name}" if name in ("conv_plan", "depthwise") else name
        monkeypatch.setattr(f"netspec.kernels.{module}.TILE", 64)
    for name in ("WORTH_A_THREAD", "WORTH_A_PART"):
        monkeypatch.setattr(parallel, name, 1)
    graph = graph_of(example.call, example.inputs)
    least = graph.nodes[0].op.least_training_batch(*example.inputs)
    for batch in (1, 4, 7):
        if batch < least:
            continue
        inputs, dy = random_inputs(graph, batch), random_output_gradients(graph, batch)
        run = run_program(
            graph, random_parameters(graph), inputs, dy, training=True, dtype=np.float32
        )
        assert all(np.isfinite(a).all() for a in run.outputs.values())


WINDOWS = st.builds(
    Window,
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    pad=st.tuples(*[st.integers(0, 3)] * 4),
    dilation=st.tuples(st.integers(1, 4), st.integers(1, 4)),
)


@given(WINDOWS, st.integers(1, 9), st.integers(1, 9))
def test_every_pixel_that_a_tap_reaches_is_in_one_phase(
    window: Window, high: int, wide: int
) -> None:
    shape = (1, high, wide, 2)
    phase_of = np.zeros((high, wide), int)
    for phase in phases(window, shape):
        assert min(phase.window.kernel) >= 1
        phase_of[phase.pixels[1:]] += 1
    (kh, kw), (sh, sw), (top, _, left, _), (dh, dw) = window
    reached = [
        [any((p + pad - i * d) % s == 0 for i in range(k)) for p in range(size)]
        for k, s, pad, d, size in ((kh, sh, top, dh, high), (kw, sw, left, dw, wide))
    ]
    assert np.array_equal(phase_of, np.outer(*reached))
    assert reaches_all(window, shape) == bool(phase_of.all())


def test_a_stride_far_beyond_the_window_has_few_phases() -> None:
    window = Window(kernel=(2, 2), stride=(1_000_000, 2), pad=(0, 0, 0, 0), dilation=(1, 1))
    assert len([*phases(window, (1, 3_000_000, 8, 2))]) == 4
