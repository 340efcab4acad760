"""Models: what the Python API promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.kernels import parallel
from netspec.runtime.engine.program import Program, make_plan
from netspec.testing.op_examples import (
    assert_equal_runs,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)

ROOT = Path(__file__).parents[2]
NETS = {
    "lenet": ("networks/lenet.net", {}),
    "threelayer": ("networks/threelayer.net", {"filters": 4, "hidden": 9}),
    "resnet": ("networks/resnet.net", {"depth": 8, "width": 4}),
}
SHARED = """
block Twice(width) x {
    layer twin = linear(width)
    return x -> twin -> relu -> twin
}
net Shared() {
    input a: [5]
    input b: [5]
    layer enc = linear(4)
    layer mix = Twice(4)
    x = a -> enc -> mix
    y = b -> enc -> dropout(0.3) -> mix
    output sum = x + y + x
    output tail = y -> batch_norm -> relu
}
"""


def load(name: str) -> netspec.Net:
    path, arguments = NETS[name]
    return netspec.load(ROOT / path, **arguments)


def batch_of(net: netspec.Net, n: int = 4, seed: int = 0):
    rng = np.random.default_rng(seed)
    (shape,) = net.graph.inputs.values()
    return rng.standard_normal((n, *shape)), rng.integers(0, 10, n)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_whole_nets_equal_the_reference(name, training):
    graph = load(name).graph
    parameters, inputs = random_parameters(graph), random_inputs(graph, 3)
    dy = random_output_gradients(graph, 3)
    ours = run_program(graph, parameters, inputs, dy, training=training)
    theirs = run_reference(graph, parameters, inputs, dy, training=training)
    assert_equal_runs(ours, theirs, 1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_shared_layers_several_inputs_and_outputs(training):
    graph = netspec.loads(SHARED).graph
    parameters, inputs = random_parameters(graph), random_inputs(graph, 6)
    dy = random_output_gradients(graph, 6)
    ours = run_program(graph, parameters, inputs, dy, training=training)
    theirs = run_reference(graph, parameters, inputs, dy, training=training, masks=ours.masks)
    assert_equal_runs(ours, theirs, 1e-11)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_number_of_threads_computes_the_same(threads, monkeypatch):
    monkeypatch.setattr(parallel, "_threads", threads)
    monkeypatch.setattr(parallel, "WORTH_A_THREAD", 1)
    for name in NETS:
        graph = load(name).graph
        parameters, inputs = random_parameters(graph), random_inputs(graph, 5)
        dy = random_output_gradients(graph, 5)
        ours = run_program(graph, parameters, inputs, dy, training=True)
        theirs = run_reference(graph, parameters, inputs, dy, training=True)
        assert_equal_runs(ours, theirs, 1e-10)


def test_gradients_are_copies_unless_asked():
    net = load("lenet")
    model, (x, y) = net.compile(), batch_of(net)
    _, kept = model.loss_and_grads(x, y)
    before = {name: g.copy() for name, g in kept.items()}
    _, views = model.loss_and_grads(x + 1, y, copy=False)
    assert all((kept[name] == before[name]).all() for name in kept)
    assert all(np.shares_memory(views[name], model.flat_gradients) for name in views)
    assert set(kept) == {p.name for p in net.graph.trainable()}


def test_outputs_are_the_callers_to_keep():
    net = load("lenet")
    model, (x, _) = net.compile(), batch_of(net)
    first = model.forward(x)
    before = first.copy()
    model.forward(x * 2)
    assert (first == before).all()


def test_l2_is_added_to_loss_and_gradient_of_weights_only():
    net = load("lenet")
    model, (x, y) = net.compile(dtype="float64"), batch_of(net)
    plain, grads = model.loss_and_grads(x, y)
    with_l2, more = model.loss_and_grads(x, y, l2=0.1)
    state = model.state_dict()
    weights = [state[name] for name in state if name.endswith("weight")]
    assert with_l2 - plain == pytest.approx(0.05 * sum((w**2).sum() for w in weights))
    for name in grads:
        extra = 0.1 * state[name] if name.endswith("weight") else 0.0
        np.testing.assert_allclose(more[name] - grads[name], extra, atol=1e-12)


def test_a_batch_may_be_of_any_size_and_they_share_memory():
    net = load("resnet")
    model = net.compile(dtype="float64")
    state = model.state_dict()
    x, y = batch_of(net, 7)
    for n in (7, 2, 5, 7, 3):
        model.load_state_dict(state)
        loss, grads = model.loss_and_grads(x[:n], y[:n])
        fresh = net.compile(dtype="float64")
        expected_loss, expected = fresh.loss_and_grads(x[:n], y[:n])
        assert loss == expected_loss
        assert all((grads[name] == expected[name]).all() for name in grads)


def test_state_dict_round_trip_and_mismatch():
    net = load("resnet")
    a, b = net.compile(seed=0), net.compile(seed=1)
    b.load_state_dict(a.state_dict())
    x, _ = batch_of(net)
    assert (a.forward(x) == b.forward(x)).all()
    state = a.state_dict()
    state["stem.weight"] = state["stem.weight"][:1]
    state["extra"] = state.pop("linear1.bias")
    with pytest.raises(netspec.NetspecError) as error:
        b.load_state_dict(state)
    message = str(error.value)
    assert all(name in message for name in ("stem.weight", "extra", "linear1.bias"))


def test_one_value_a_channel_cannot_be_normalised():
    net = netspec.loads("net N() { input x: [3]\n output x -> batch_norm }")
    with pytest.raises(netspec.NetspecError, match="batch of at least 2"):
        net.compile().loss_and_grads(np.zeros((1, 3)), [0])
    assert net.compile().forward(np.zeros((1, 3))).shape == (1, 3)


@pytest.mark.parametrize(
    ("x", "code"),
    [
        (np.zeros((2, 1, 28, 27)), "model/input-shape"),
        (np.zeros((1, 28, 28)), "model/input-shape"),
        (np.zeros((0, 1, 28, 28)), "model/input-shape"),
        (np.full((2, 1, 28, 28), "a"), "model/input-type"),
        (np.zeros((2, 1, 28, 28), complex), "model/input-type"),
        (np.zeros((2, 1, 28, 28), [("a", "f4")]), "model/input-type"),
        (None, "model/input-shape"),
        ({"picture": np.zeros((2, 1, 28, 28))}, "model/inputs"),
    ],
)
@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_inputs_that_do_not_fit(target, x, code):
    if target == "torch":
        pytest.importorskip("torch")
    with pytest.raises(netspec.NetspecError) as error:
        load("lenet").compile(target).forward(x)
    assert [d.code for d in error.value.diagnostics] == [code]


def test_several_inputs_are_given_by_name_to_a_module_too():
    pytest.importorskip("torch")
    net = netspec.loads(
        "net Two() {\n input a: [3]\n input b: [4]\n output concat(a, b) -> linear(2)\n}"
    )
    x = {"b": np.ones((5, 4)), "a": np.zeros((5, 3))}
    models = [net.compile(target, dtype="float64") for target in ("numpy", "torch")]
    np.testing.assert_allclose(*(model.forward(x) for model in models))


def test_a_module_takes_one_image_backwards():
    """Such an array is contiguous for NumPy, but not for PyTorch."""
    pytest.importorskip("torch")
    net = netspec.loads("net N() { input x: [1, 4, 4]\n output x -> flatten -> linear(3) }")
    x, y = np.ones((1, 1, 4, 4), "f4")[::-1], np.array([1])[::-1]
    model = net.compile("torch")
    assert model.forward(x).shape == (1, 3)
    netspec.fit(model, netspec.Dataset("one", x, y, x, y, 3), epochs=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_module_without_parameters_is_of_the_type_that_was_asked_for(dtype):
    pytest.importorskip("torch")
    model = netspec.loads("net N() { input x: [4]\n output x -> relu }").compile(
        "torch", dtype=dtype
    )
    assert model.dtype == dtype
    assert model.forward(np.ones((2, 4))).dtype == dtype


def test_wrong_use():
    net = load("lenet")
    for call in (
        lambda: net.compile("jax"),
        lambda: net.compile(dtype="float16"),
        lambda: net.compile(seed=-1),
        lambda: net.source("fortran"),
        lambda: netspec.load(ROOT / "networks/lenet.net", classes=object()),
        lambda: netspec.load(ROOT / "networks/lenet.net", clases=3),
    ):
        with pytest.raises(netspec.NetspecError):
            call()


def test_one_layers_initial_values_do_not_depend_on_the_others():
    deep, shallow = (
        netspec.load(ROOT / "networks/resnet.net", depth=depth).compile(seed=3).state_dict()
        for depth in (14, 8)
    )
    assert (deep["stem.weight"] == shallow["stem.weight"]).all()


def test_equal_seeds_give_equal_bits_in_another_process():
    script = (
        "import netspec, numpy as np, hashlib\n"
        f"net = netspec.load({str(ROOT / 'networks/resnet.net')!r}, depth=8, width=4)\n"
        "model = net.compile(seed=5)\n"
        "rng = np.random.default_rng(0)\n"
        "x, y = rng.standard_normal((8, 3, 32, 32)), rng.integers(0, 10, 8)\n"
        "for _ in range(3):\n"
        "    _, g = model.loss_and_grads(x, y, copy=False)\n"
        "    model.flat_parameters -= 0.1 * model.flat_gradients\n"
        "print(hashlib.sha256(model.flat_parameters.tobytes()).hexdigest())\n"
    )
    runs = {
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


class TestMemory:
    """The arena: no two buffers that are alive at the same time share memory."""

    @pytest.mark.parametrize("name", NETS)
    def test_storages_do_not_overlap(self, name):
        plan = make_plan(load(name).graph, training=True)
        memory = plan_memory(plan)
        offsets, total = memory.layout(4, 16)
        spans = [
            (offsets[s.buffers[0]], offsets[s.buffers[0]] + s.elements(4), s)
            for s in memory.storages
        ]
        assert max(end for _, end, _ in spans) <= total
        for i, (a0, a1, a) in enumerate(spans):
            for b0, b1, b in spans[:i]:
                together = a.first <= b.last and b.first <= a.last
                assert not (together and a0 < b1 and b0 < a1)

    @pytest.mark.parametrize("name", NETS)
    def test_the_arena_is_close_to_the_lower_bound(self, name):
        memory = plan_memory(make_plan(load(name).graph, training=True))
        assert memory.layout(64)[1] <= 1.3 * memory.lower_bound(64)

    def test_poisoned_memory_changes_nothing(self):
        """A step reads nothing that it has not written, so stale values do not matter."""
        graph = load("resnet").graph
        plan = make_plan(graph, training=True)
        program = Program(graph, plan, np.dtype(np.float64))
        parameters, inputs = random_parameters(graph), random_inputs(graph, 3)
        results = []
        for poison in (np.nan, 1e30):
            p = {name: np.array(a) for name, a in parameters.items()}
            g = {q.name: np.full(q.shape, poison) for q in graph.trainable()}
            buffers = program.bind(3)
            for buffer in buffers.values():
                buffer.fill(poison)
            buffers.scratch.fill(poison)
            for name, buffer in plan.inputs.items():
                buffers[buffer.name] = inputs[name].copy()
            program.forward(buffers, p)
            for buffer in plan.output_gradients.values():
                buffers[buffer.name][...] = 1.0
            program.backward(buffers, p, g)
            results.append(g)
        for name in results[0]:
            assert (results[0][name] == results[1][name]).all(), name
