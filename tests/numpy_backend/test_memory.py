"""Memory that is known in advance, the passes that save it, and steps that allocate nothing."""

from __future__ import annotations

import itertools
import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netspec
from netspec.compiler.numpy_backend.memory_use import footprint
from netspec.compiler.numpy_backend.pass_names import PASS_NAMES
from netspec.compiler.numpy_backend.passes.early_slopes import slopes
from netspec.compiler.numpy_backend.passes.placement import place
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.compiler.numpy_backend.pipeline import GRAPH_PASSES, PASSES, PassChange, make_plan
from netspec.kernels import parallel
from netspec.runtime.engine.program import Program
from netspec.runtime.optim.losses import make_loss
from netspec.runtime.optim.optimizers import make_optimizer
from netspec.testing.op_examples import (
    agreement,
    assert_equal_runs,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)
from tests.conftest import ROOT, Run
from tests.helpers.array_allocations import noted

ZOO = ["lenet", "threelayer", "resnet", "zoo/resnet18", "zoo/mobilenet_v2", "zoo/densenet121"]


def load(name: str, **arguments: object) -> netspec.Net:
    return netspec.load(ROOT / f"networks/{name}.net", **arguments)


# ----------------------------------------------------------------------------------- the arena


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("batch", [1, 17, 128])
def test_the_arena_is_close_to_the_least(name: str, training: bool, batch: int) -> None:
    graph = load(name).graph
    found = footprint(graph, make_plan(graph, training=training, backward=training), batch)
    assert 1.0 <= found.ratio <= 1.3
    assert found.arena <= found.apart


SPANS = st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(0, 20))


@given(st.lists(SPANS, max_size=30))
def test_things_alive_together_are_apart(spans: list[tuple[int, int, int]]) -> None:
    sizes = [size for size, _, _ in spans]
    alive = [(min(a, b), max(a, b)) for _, a, b in spans]
    offsets, total = place(sizes, alive)
    for i, (size, (first, last)) in enumerate(zip(sizes, alive, strict=True)):
        assert 0 <= offsets[i] <= total - size
        for j in range(i):
            if alive[j][0] <= last and first <= alive[j][1]:
                assert offsets[i] + size <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]
    assert offsets == lowest_offsets(sizes, alive)


def lowest_offsets(sizes: list[int], alive: list[tuple[int, int]]) -> list[int]:
    """The largest object first, each at the lowest offset that is free: tried one by one."""
    offsets, placed = [0] * len(sizes), list[int]()
    for i in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        together = [j for j in placed if alive[j][0] <= alive[i][1] and alive[i][0] <= alive[j][1]]
        offsets[i] = min(
            offset
            for offset in (0, *(offsets[j] + sizes[j] for j in together))
            if all(
                offset + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offset for j in together
            )
        )
        placed.append(i)
    return offsets


def test_memory_is_planned_with_calls_in_proportion_to_the_net() -> None:
    """A chain of blocks that is eight times as long may take twelve times the calls, not sixty-four."""

    def calls(blocks: int) -> int:
        stages = " -> ".join(["conv(4, 1) -> batch_norm -> relu"] * blocks)
        graph = netspec.loads(f"net N {{\n input x: [4, 2, 2]\n output x -> {stages}\n}}").graph
        plan = make_plan(graph, training=True, backward=True)
        count, before = itertools.count(), sys.getprofile()
        sys.setprofile(lambda *_: next(count) and None)
        try:
            plan_memory(plan).layout(8)
        finally:
            sys.setprofile(before)
        return next(count)

    assert calls(160) < 12 * calls(20)


@pytest.mark.parametrize("training", [True, False])
def test_the_footprint_is_what_a_program_takes(training: bool) -> None:
    graph = load("resnet", depth=8).graph
    plan = make_plan(graph, training=training, backward=training)
    found = footprint(graph, plan, 7)
    program = Program(graph, plan, np.dtype("f4"))
    buffers = program.bind(7)
    assert buffers.arena.nbytes == found.arena
    assert buffers.scratch.nbytes == found.scratch
    own = {b.name for b in program.code(7).places.external} & buffers.keys()
    assert sum(buffers[name].nbytes for name in own) == found.outside
    model = load("resnet", depth=8).compile("numpy")
    assert sum(a.nbytes for a in model.parameters.values()) == found.parameters
    assert found.gradients == (model.flat_gradients.nbytes if training else 0)


def test_the_command_shows_it(run: Run) -> None:
    net = ROOT / "networks/resnet.net"
    shown = run("summarize", net, "--memory", "--batch", 4, "--threads", 1).out
    assert re.search(r"^arena +[\d.]+ \w+ +[\d.]+ \w+ ", shown, re.MULTILINE)
    found = json.loads(run("summarize", net, "--memory", "--batch", 4, "--format", "json").out)
    assert found["training"]["arena"] > found["inference"]["arena"]
    assert run("summarize", net, "--memory", "--depth", 1).code == 2


# --------------------------------------------------------------------------------- the passes

BRANCHED = netspec.loads("""net Branched {
    input image: [3, 8, 8]
    a = image -> conv(4, 3, bias = false) -> batch_norm -> relu -> max_pool(2)
    b = a -> conv(4, 3, pad = 1) -> batch_norm -> silu
    c = b -> conv(4, 1) -> batch_norm
    output (a + c) -> relu -> conv(4, 2, bias = false) -> batch_norm -> flatten
           -> linear(5, bias = false) -> batch_norm
}""")


def test_every_pass_has_its_words() -> None:
    assert list(PASS_NAMES) == [each.name for each in (*GRAPH_PASSES, *PASSES)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "without", [(), *((name,) for name in PASS_NAMES), tuple(PASS_NAMES)], ids=str
)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_program_is_right_without_any_pass(
    training: bool, without: tuple[str, ...], batch: int
) -> None:
    if training and batch == 1:
        pytest.skip("a batch norm of vectors needs two images")
    graph = BRANCHED.graph
    parameters, inputs = random_parameters(graph), random_inputs(graph, batch)
    dy = random_output_gradients(graph, batch)
    plan = make_plan(graph, training=training, input_gradients=True, without=without)
    ours = run_program(graph, parameters, inputs, dy, training=training, plan=plan)
    theirs = run_reference(graph, parameters, inputs, dy, training=training)
    assert_equal_runs(ours, theirs, 1e-9)


def test_folding_leaves_what_others_read() -> None:
    shared = netspec.loads("""net Shared {
        input image: [2, 5, 5]
        x = image -> conv(3, 3)
        output (x -> batch_norm) + x
        output second = image -> conv(3, 3) -> batch_norm
    }""")
    plan = make_plan(shared.graph, training=False, backward=False)
    folded = {
        step.node for step in plan.forward if getattr(step, "kernel", "") == "batch_norm.fold_into"
    }
    assert folded == {"batch_norm2"}
    with_backward = str(make_plan(shared.graph, training=False))
    assert "batch_norm.fold_into" not in with_backward  # it reads what was normalised


def test_a_model_folds_the_parameters_that_it_has_now() -> None:
    model = load("resnet", depth=8, width=4).compile("numpy")
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype("f4")
    first = model.forward(x)
    for _ in range(3):
        model.loss_and_grads(x, np.arange(4))
        model.flat_parameters -= 0.1 * model.flat_gradients
    graph = model.graph
    plain = Program(
        graph, make_plan(graph, training=False, without=["fold-batch-norm"]), model.dtype
    )
    buffers = plain.bind(4)
    buffers[plain.plan.inputs["image"].name] = x
    plain.forward(buffers, model.parameters)
    expected = buffers[plain.plan.outputs["output"].name]
    assert agreement(first, expected) > 1e-3
    assert agreement(model.forward(x), expected) < 1e-5


def test_what_is_made_again_has_the_same_bits_in_less_memory() -> None:
    graph = load("resnet", depth=8, width=4).graph
    plans = [make_plan(graph, training=True, without=without) for without in ((), ("recompute",))]
    small, large = (footprint(graph, plan, 16).arena for plan in plans)
    assert small <= 0.96 * large
    runs = [
        run_program(
            graph, random_parameters(graph), random_inputs(graph, 3),
            random_output_gradients(graph, 3), training=True, plan=plan,
        )
        for plan in plans
    ]  # fmt: skip
    assert_equal_runs(*runs, 0.0)


GELU = """net One {{
    input x: [64]
    for i in range(3) {{
        y = x -> linear(256)
        z = y -> gelu{dropout}
        x = {result} -> linear(64)
    }}
    output x -> linear(8)
}}"""


@pytest.mark.parametrize("dropout", ["", " -> dropout(0.5)"])
def test_a_slope_takes_the_place_of_what_it_is_computed_from(dropout: str) -> None:
    graph = netspec.loads(GELU.format(dropout=dropout, result="z")).graph
    early, late = (
        make_plan(graph, training=True, without=w) for w in ((), ("early-slopes",))
    )  # fmt: skip
    last = "dropout" if dropout else "gelu"
    assert [s.output.name for s in slopes(early)] == [f"{last}{i}.slope" for i in (1, 2, 3)]
    assert not list(slopes(late))
    assert "erf" not in " ".join(map(str, early.backward))
    assert "erf" in " ".join(map(str, late.backward))
    one = 16 * 256 * 4  # what value and slope share is there for a moment, once for all layers
    assert footprint(graph, early, 16).arena <= footprint(graph, late, 16).arena + one
    runs = [
        run_program(
            graph, random_parameters(graph), random_inputs(graph, 3),
            random_output_gradients(graph, 3), training=True, plan=plan,
        )
        for plan in (early, late)
    ]  # fmt: skip
    assert_equal_runs(*runs, 1e-12)


def test_a_slope_is_computed_late_where_more_needs_what_it_is_computed_from() -> None:
    graph = netspec.loads(GELU.format(dropout="", result="z * y")).graph
    assert not list(slopes(make_plan(graph, training=True)))


def test_changes_say_what_was_done() -> None:
    changes: list[PassChange] = []
    graph = load("resnet", depth=8).graph
    make_plan(graph, training=True, changes=changes)
    lines = {change.by.name: change.lines for change in changes}
    assert lines["fold-batch-norm"] == ()
    assert any("batch_norm1 + relu1: one step" in line for line in lines["fuse"])
    assert any("made again" in line for line in lines["recompute"])
    make_plan(
        netspec.loads(GELU.format(dropout="", result="z")).graph, training=True, changes=changes
    )
    assert "gelu1: the slope is kept as gelu1.slope" in {line for c in changes for line in c.lines}
    make_plan(graph, training=False, backward=False, changes=changes)
    assert any("the weight of basic1.conv1" in line for c in changes for line in c.lines)
    with pytest.raises(netspec.NetspecError, match="did you mean 'fuse'"):
        make_plan(graph, training=True, without=["fues"])


@pytest.mark.parametrize("name", PASS_NAMES)
def test_every_pass_can_be_left_out_on_the_command_line(name: str, run: Run) -> None:
    resnet = ROOT / "networks/resnet.net"
    arguments = ("compile", resnet, "--set", "depth=8", "--target", "numpy", "--explain-plan")
    found = run(*arguments, f"--no-{name}")
    assert found.code == 0
    assert f"\n{name}: left out\n" in f"\n{found.out}"
    assert "plan-memory: " in found.out
    assert "plan in training" in found.out
    assert "plan in evaluation" in run(*arguments, "--inference").out


def test_options_of_numpy_are_for_numpy(run: Run) -> None:
    lenet = ROOT / "networks/lenet.net"
    for option in ("--standalone", "--inference", "--explain-plan", "--no-fuse"):
        assert run("compile", lenet, "--target", "torch", option).code == 2
    plain = run("compile", lenet, "--target", "numpy", "--no-pool-first").out
    assert plain != run("compile", lenet, "--target", "numpy").out
    assert "def backward" in plain
    assert "def backward" not in run("compile", lenet, "--target", "numpy", "--inference").out


# ----------------------------------------------------------------------------- steps that allocate

# While a step is recorded, a vector for the sums of a block may be allocated, as long as a row that
# stays in the cache. Later only the loss allocates vectors, of one number per image.
WHILE_RECORDED = 4096
LARGEST = 1024


@pytest.mark.parametrize(
    ("name", "arguments", "batch"),
    [("lenet", {}, 64), ("threelayer", {}, 50), ("resnet", {"depth": 8}, 32)],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_step_allocates_no_array(
    name: str,
    arguments: dict[str, int],
    batch: int,
    optimizer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_threads", 1)  # only those of this thread are counted
    model, loss = load(name, **arguments).compile("numpy"), make_loss("softmax")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *model.input_shape)).astype("f4")
    y = rng.integers(0, 10, batch)
    flat = model.flat_parameters, model.flat_gradients
    stepper = make_optimizer(optimizer, *flat, model.members)

    def step() -> None:
        model.gradients_(x, y, loss=loss, l2=1e-4)
        stepper.step(1e-3)

    step()
    with noted() as log:
        step()
        large = {each for each in log if each.size > WHILE_RECORDED}
        log.clear()
        for _ in range(3, 6 if name == "resnet" else 21):
            step()
        large |= {each for each in log if each.size > LARGEST}
    assert not large, "\n".join(f"{each.size} bytes at {each.where}" for each in large)


def test_allocations_are_seen() -> None:
    with noted() as log:
        np.empty(5000, np.uint8)
        (np.ones(3000) + 1).sum()
        found = sorted(each.size for each in log if each.size > LARGEST)
    assert found == [5000, 24000, 24000]
    assert all("test_memory.py" in each.where for each in log if each.size == 5000)
