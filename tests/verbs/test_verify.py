"""`netspec verify`: nets that agree pass, and a planted fault is found on its line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec import cli
from netspec.compiler.ir.expression import Const
from netspec.compiler.ir.op import Torch, X
from netspec.compiler.numpy_backend.passes import fuse
from netspec.compiler.ops import registry
from netspec.kernels import batch_norm as norm
from netspec.kernels import conv, linear, pool
from netspec.runtime.engine import code as executor
from netspec.runtime.optim import optimizers
from netspec.testing.op_examples import net_of
from netspec.tools.agreement.alignment import align, expected_calls, key
from netspec.tools.agreement.compare import Agreement, ComparedItem, Parting, Side
from netspec.tools.agreement.difference import Distance, difference
from netspec.tools.agreement.quantities import Item
from netspec.tools.verify import verify
from netspec.tools.verify.run import _suppose_rounding
from tests.conftest import ROOT, Run, Write
from tests.helpers.heavy import some_heavy
from tests.helpers.op_parameters import two_of_each_quick
from tests.helpers.zoo import FILES as WIDE_FILES

pytest.importorskip("torch", reason="PyTorch is not installed")

# Every shipped net, reduced to what the reference computes in a few seconds.
SHIPPED = {
    "lenet": {},
    "threelayer": {"filters": 8},
    "resnet": {"depth": 14, "width": 8},
    "airbench": {"widths": [4, 6, 8], "deep": True},
    "zoo/alexnet": {"size": 64, "width": 0.125},
    "zoo/densenet121": {"size": 32, "width": 0.25, "layers": [2, 4, 6, 3]},
    "zoo/fully_connected": {"hidden": [32, 16], "norm": True, "drop": 0.5, "size": 8},
    "zoo/mobilenet_v2": {"size": 64, "width": 0.25},
    "zoo/resnet18": {"size": 64, "width": 0.25},
    "zoo/resnet50": {"size": 64, "width": 0.125, "blocks": [2, 1, 3, 1]},
    "zoo/squeezenet1_0": {"size": 32, "width": 0.25},
    "zoo/vgg16": {"size": 32, "width": 0.125},
}
# In float32 rounding has so large effects in these that everything is judged node by node, which is
# slow.
DEEP = ("zoo/densenet121", "zoo/mobilenet_v2", "zoo/resnet50")
# Its values and gradients are also compared with torchvision's, in `tests/project/test_zoo.py`.
SLOWEST = (
    "zoo/mobilenet_v2", "zoo/vgg16", "zoo/resnet18", "zoo/resnet50", "zoo/densenet121", "zoo/alexnet",
    "zoo/squeezenet1_0", "airbench",
)  # fmt: skip


def shipped(name: str, **arguments) -> netspec.Net:
    return netspec.load(ROOT / "networks" / f"{name}.net", **{**SHIPPED[name], **arguments})


def largest(report, dtype: str, training: bool, right: str) -> dict[str, float]:
    (run,) = (r for r in report.runs if (r.dtype, r.training) == (dtype, training))
    (found,) = (c.largest for c in run.comparisons if c.right == right)
    return found


# ------------------------------------------------------------------------------- large scores


@pytest.mark.parametrize("size", ["1e4", "1e8"])
def test_large_scores_are_no_fault(size):
    """The log of a probability that is 0 is not the loss."""
    text = f"net A {{ input x: [5]\n output x -> linear(3, weight = normal({size})) }}"
    report = verify(netspec.loads(text), steps=0)
    assert report.ok, str(report)
    assert np.isfinite(largest(report, "float64", True, "NumPy")["loss"])


# -------------------------------------------------------------------------------- what is sound


def test_every_shipped_net_is_here():
    found = {str(p.relative_to(ROOT / "networks"))[:-4] for p in ROOT.glob("networks/**/*.net")}
    assert found == set(SHIPPED) | WIDE_FILES


@pytest.mark.parametrize(
    "name",
    some_heavy(SHIPPED, SLOWEST),
)
def test_a_shipped_net_verifies(name):
    dtypes = ("float64",) if name in DEEP else ("float64", "float32")
    report = verify(shipped(name), steps=1, dtypes=dtypes)
    assert report.ok, "\n".join(map(str, report.diagnostics))
    assert report.unseen == ()
    assert [(run.dtype, run.training) for run in report.runs] == [
        (dtype, training) for dtype in dtypes for training in (True, False)
    ]
    rows = largest(report, "float64", True, "PyTorch")
    kinds = {"outputs", "loss", "activations", "activation gradients", "parameter gradients"}
    assert kinds | {"input gradients"} <= set(rows)
    assert all(size <= 1e-10 for size in rows.values())
    assert len(report.steps) == len(dtypes) * len(optimizers.OPTIMIZERS)


@pytest.mark.parametrize("example", two_of_each_quick())
def test_every_op_verifies(example):
    report = verify(netspec.loads(net_of(example.call, example.inputs)), steps=0)
    assert report.ok, "\n".join(map(str, report.diagnostics))
    assert report.unseen == ()


VARIED = """
block Gate(p) x, y {
    left = x + x + y
    return left * (y -> sigmoid)
}
net Varied() {
    input a: [4, 6, 6]
    input b: [4, 6, 6]
    layer twice = conv(4, 3, pad = 1)
    layer normed = batch_norm()
    x = a -> twice -> normed -> relu
    y = b -> twice -> normed -> drop_path(0.4)
    z = Gate(x, y, p = 1) -> dropout(0.3)
    u, v = z -> split(2)
    w = concat(v, u)
    output picture = w + x
    output w -> flatten -> scale -> linear(3)
    output alone = z -> global_avg_pool -> linear(1)
}
"""


def test_inputs_outputs_shared_layers_and_masks():
    report = verify(netspec.loads(VARIED), steps=3)
    assert report.ok, "\n".join(map(str, report.diagnostics))
    assert report.unseen == ()
    assert max(largest(report, "float64", True, "PyTorch").values()) < 1e-12


@pytest.mark.parametrize(
    ("kind", "shown", "size", "excused"),
    [
        ("parameter", False, 4.8e-3, True),
        ("parameter", False, 0.5, False),
        ("parameter", True, 4.8e-3, False),
        ("output", False, 4.8e-3, False),
    ],
)
def test_a_small_gradient_of_unseen_values_may_be_rounding(kind, shown, size, excused):
    """As of a C file in float32, where float64 agrees."""
    values = {Item("value", "relu1"): np.zeros(3)}
    sides = [Side("reference", values), Side("C", values if shown else {})]
    item = ComparedItem(Item(kind, "conv1.weight"), ())
    parting = Parting("reference", "C", item, Distance(size, 1.0, (0,)), (1.0, 1.0 + size))
    found = Agreement("reference", "C", 1e-5, {"parameter gradients": size}, {}, parting)
    _suppose_rounding([found], {side.name: side for side in sides})
    assert (found.parting is None) == found.is_supposed == excused


def test_rounding_at_a_kink_is_no_fault():
    """There are hundreds of ReLUs behind batch norms of three images.

    In float32 some cross the kink.
    """
    net = shipped("zoo/fully_connected", hidden=[512] * 8, drop=0)
    report = verify(net, steps=0)
    assert report.ok
    assert [c for run in report.runs for c in run.comparisons if c.excused]
    assert "~ rounding" in str(report)


def test_a_fault_is_no_rounding(monkeypatch):
    """The same net has a fault in its middle, which rounding does not excuse, also in float32
    alone.
    """
    real = linear.backward_input

    def wrong(dy, weight, dx, *rest):
        real(dy, weight, dx, *rest)
        if weight.shape == (512, 500):
            dx *= 1.01

    monkeypatch.setattr(linear, "backward_input", wrong)
    hidden = [512] * 4 + [500] + [512] * 4
    net = shipped("zoo/fully_connected", hidden=hidden, drop=0)
    report = verify(net, steps=0, dtypes=["float32"])
    assert "`fc6`" in report.diagnostics[0].message


# ------------------------------------------------------------------------------- planted faults


def only_line(report) -> int:
    """Return the single line that is named."""
    assert not report.ok
    lines = {d.span.line for d in report.diagnostics}
    assert len(lines) == 1, "\n".join(map(str, report.diagnostics))
    return lines.pop()


def line_of(net: netspec.Net, node: str) -> int:
    return net.graph.by_name[node].origin.span.line


@pytest.mark.parametrize(("node", "channels"), [("max_pool1", 6), ("max_pool2", 16)])
def test_a_fault_in_a_numpy_backward_is_on_its_line(monkeypatch, node, channels):
    real = pool.max_backward

    def wrong(x, y, dy, dx, scratch, **options):
        real(x, y, dy, dx, scratch, **options)
        if x.shape[-1] == channels:
            dx *= 1.001

    monkeypatch.setattr(pool, "max_backward", wrong)
    net = shipped("lenet")
    report = verify(net, steps=1)
    assert only_line(report) == line_of(net, node)
    (found,) = report.diagnostics
    assert found.code == "verify/gradient"
    assert "the reference and the NumPy program" in found.message
    assert f"`{node}`" in found.message
    assert any("the PyTorch module has" in note for note in found.notes)


LAYER_SCALE = """
block Branch(start) x {
    parameter gamma: [x.features] = constant(start)
    return x + gamma * (x -> layer_norm -> fc1: linear(13) -> gelu -> fc2: linear(x.features))
}
net A(start = 1e-6) {
    input x: [6]
    y = x -> stem: linear(8, bias = true) -> batch_norm
    for i in range(2) { y = y -> blocks.{i}: Branch(start) }
    output y -> head: linear(4)
}
"""


def initial(net: netspec.Net) -> dict[str, np.ndarray]:
    """Return the initial values, as a file of weights would give them."""
    return net.compile("numpy").state_dict()


@pytest.mark.parametrize("start", [0.1, 1e-6, 1e-8])
@pytest.mark.parametrize("given", [False, True])
def test_a_wrong_gradient_behind_tiny_scales_is_found(start, given, monkeypatch):
    """It is 1e-9 and less of the others, so that relative to 1 all agree."""
    net = netspec.loads(LAYER_SCALE, start=start)
    weights = initial(net) if given else None
    assert verify(net, weights=weights, steps=1).ok
    real = linear.backward_input

    def wrong(dy, weight, dx, *rest):
        real(dy, weight, dx, *rest)
        if weight.shape == (13, 8):
            dx *= 3

    monkeypatch.setattr(linear, "backward_input", wrong)
    report = verify(net, weights=weights, steps=0)
    (found,) = {d.message for d in report.diagnostics}
    assert "the reference and the NumPy program differ at the gradient that `blocks." in found
    assert ".fc1` gives to" in found
    assert "!" in str(report)


@pytest.mark.parametrize("options", [{"torch": True}, {"torch": False, "c": True, "onnx": True}])
def test_tiny_numbers_of_a_sound_net_agree(options):
    if "c" in options:
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    net = netspec.loads(
        "net A { input x: [2, 6, 6]\n y = x -> conv(3, 3) -> batch_norm -> relu -> max_pool(2)\n"
        " y = y -> flatten -> softmax -> linear(4, weight = normal(1e-9), bias = zeros)\n"
        " output y -> layer_norm }"
    )
    report = verify(net, weights=initial(net), steps=0, **options)
    assert report.ok, "\n".join(map(str, report.diagnostics))


def test_a_fault_where_branches_meet_is_on_the_faulty_branch(monkeypatch):
    """The gradient of the block's input is a sum, and only the skip's 1x1 conv is wrong."""
    real = conv.backward_input

    def wrong(dy, weight, dx, *rest, **options):
        real(dy, weight, dx, *rest, **options)
        if weight.shape[2:] == (1, 1):
            dx *= -1

    monkeypatch.setattr(conv, "backward_input", wrong)
    net = shipped("resnet", depth=8)
    report = verify(net, steps=0, dtypes=["float64"])
    lines = Path(ROOT / "networks/resnet.net").read_text("utf-8").splitlines()
    assert "channels, 1, stride" in lines[only_line(report) - 1]
    assert report.diagnostics[0].trace  # the block's call


def test_a_forgotten_term_of_a_batch_norm(monkeypatch):
    real = norm.batch_backward

    def wrong(dy, *rest, **options):
        real(dy + 1e-3, *rest, **options)

    monkeypatch.setattr(norm, "batch_backward", wrong)
    net = shipped("resnet", depth=8)
    report = verify(net, steps=0, dtypes=["float64"])
    found = report.diagnostics[0]
    assert found.span.text == "batch_norm"
    assert "training" in found.notes[0]


def test_a_fault_in_a_pytorch_expression_is_on_its_line(monkeypatch):
    op = registry()["batch_norm"]
    real = op.torch

    def wrong(self, *inputs):
        expression = real(self, *inputs)
        if inputs[0][0] != 32:
            return expression
        return dataclasses.replace(expression, options={**expression.options, "eps": 1e-3})

    monkeypatch.setattr(op, "torch", wrong)
    net = shipped("resnet", depth=8, width=16)
    report = verify(net, steps=0)
    node = next(n for n in net.graph.nodes if n.op.name == "batch_norm" and n.shape[0] == 32)
    assert only_line(report) == line_of(net, node.name)
    assert "the PyTorch module" in report.diagnostics[0].message


def test_another_function_in_pytorch_is_found(monkeypatch):
    """The calls are compared in order, although one has another name."""
    leaky = Torch("F.leaky_relu", (X(0), 1e-6))
    monkeypatch.setattr(registry()["relu"], "torch", lambda self, *inputs: leaky)
    net = shipped("lenet")
    report = verify(net, steps=0, dtypes=["float64"])
    assert only_line(report) == line_of(net, "relu1")
    assert report.diagnostics[0].code == "verify/value"


def test_a_gradient_that_pytorch_drops_is_found(monkeypatch):
    cut = Torch("torch.add", (X(0), Torch("torch.detach", (X(1),))))
    monkeypatch.setattr(registry()["add"], "torch", lambda self, *inputs: cut)
    net = shipped("resnet", depth=8)
    report = verify(net, steps=0, dtypes=["float64"])
    (found,) = report.diagnostics
    assert found.code == "verify/gradient"
    assert found.span.text == "main + skip"


@pytest.mark.heavy
def test_a_fault_in_a_fused_kernel_names_the_lines_it_covers(monkeypatch):
    real = fuse._inlined

    def wrong(earlier, later):
        step = real(earlier, later)
        if step.nodes == ("basic2.batch_norm1", "basic2.relu1"):
            return dataclasses.replace(step, formula=step.formula * Const(1.0001))
        return step

    monkeypatch.setattr(fuse, "_inlined", wrong)
    net = shipped("resnet", depth=8)
    report = verify(net, steps=1)
    # In evaluation the program has no such kernel, because its batch norms are folded.
    found, *folded = report.diagnostics
    assert all("as it runs" in d.message for d in folded)
    assert "the NumPy program and the fused NumPy program differ at `basic2.relu1`" in found.message
    covered = {found.span, *(label.span for label in found.secondary)}
    nodes = [net.graph.by_name[name] for name in ("basic2.batch_norm1", "basic2.relu1")]
    assert covered == {node.origin.span for node in nodes}


def test_memory_that_is_used_too_early_is_found(monkeypatch):
    real = executor.plan_memory

    def wrong(plan):
        memory = real(plan)
        if not plan.kept and plan.training:
            for storage in memory.storages:
                storage.last = min(storage.last, storage.first + 3)
        return memory

    monkeypatch.setattr(executor, "plan_memory", wrong)
    report = verify(shipped("resnet", depth=8), steps=0, dtypes=["float64"])
    assert any("the NumPy program as it runs" in d.message for d in report.diagnostics)


def test_steps_that_rounding_drives_apart_are_judged_one_by_one(monkeypatch):
    """There are batch norms over three pixels, gradients of 1e5, and weights that explode."""
    net = shipped("zoo/fully_connected", hidden=[64] * 12, drop=0)
    sound = verify(net, steps=3, dtypes=["float64"])
    assert sound.ok
    assert any(row.excused for row in sound.steps)
    assert "~ after steps" in str(sound)
    real = optimizers.SGD._update

    def wrong(self, lr, *arrays):
        real(self, lr * (1 + 1e-6), *arrays)

    monkeypatch.setattr(optimizers.SGD, "_update", wrong)
    report = verify(net, steps=3, dtypes=["float64"])
    assert any("3 steps of sgd" in d.message for d in report.diagnostics)


@pytest.mark.parametrize(
    ("layers", "batch", "seed"),
    [
        # Biases and scales before a norm have gradients that are zero apart from rounding.
        (
            "batch_norm -> batch_norm(affine = false) -> batch_norm -> tanh -> relu -> batch_norm"
            " -> tanh -> conv(4, 3, pad = 1) -> relu -> batch_norm -> group_norm(1)"
            " -> instance_norm -> scale -> batch_norm -> scale",
            3, 34,
        ),
        # These weights diverge to infinity.
        (
            "relu -> scale -> batch_norm(affine = false) -> tanh -> tanh -> group_norm(1) -> scale"
            " -> conv(4, 1) -> scale",
            2, 111,
        ),
    ],
)  # fmt: skip
def test_steps_along_gradients_that_are_rounding_are_no_fault(layers, batch, seed):
    net = netspec.loads(f"net N {{\n input x: [4, 3, 3]\n output x -> {layers}\n}}")
    report = verify(net, steps=20, dtypes=["float64"], batch=batch, seed=seed)
    assert report.ok, report.diagnostics
    assert any(row.excused for row in report.steps)


def test_norms_made_of_rows_are_found_among_the_calls():
    net = netspec.loads("""net N {
        input x: [5, 1, 4]
        output x -> permute([3, 2, 1]) -> batch_norm -> relu -> batch_norm -> permute([2, 1, 3])
    }""")
    report = verify(net, steps=0, dtypes=["float64"])
    assert report.ok
    assert report.unseen == ()


def test_a_fault_in_an_optimizer_is_found(monkeypatch):
    real = optimizers.RMSProp._update

    def wrong(self, lr, *arrays):
        real(self, lr * 1.001, *arrays)

    monkeypatch.setattr(optimizers.RMSProp, "_update", wrong)
    report = verify(shipped("lenet"), steps=2)
    (found,) = report.diagnostics
    assert found.code == "verify/value"
    assert "2 steps of rmsprop" in found.message


# -------------------------------------------------------------------------------------- its parts


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.25),
        ([0.1], [0.2], 0.1),
        ([np.nan, np.inf], [np.nan, np.inf], 0.0),
        ([np.nan], [1.0], np.inf),
        ([np.inf], [-np.inf], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        ([], [], 0.0),
        (3.0, 3.0, 0.0),
    ],
)
def test_differences(a, b, expected):
    assert difference(np.array(a), np.array(b))[0] == pytest.approx(expected)


def test_calls_are_laid_beside_each_other():
    net = netspec.loads(
        "net A { input x: [2, 8, 8]\n output x -> conv(3, 3) -> batch_norm -> relu -> scale -> flatten }"
    )
    expected = expected_calls(net.graph)
    keys = [call.key for call in expected]
    none = frozenset()
    assert align(expected, keys) == [0, 1, 2, 3, 4]
    assert align(expected, [key("nn.Pad", none), *keys]) == [1, 2, 3, 4, 5]
    other = [*keys[:2], key("leaky_relu", none), *keys[3:]]
    assert align(expected, other) == [0, 1, 2, 3, 4]
    assert align(expected, [*keys[:2], *keys[3:]]) == [0, 1, None, 2, 3]


def test_parameters_tell_equal_calls_apart():
    assert key("F.linear", frozenset({"a"})) != key("F.linear", frozenset({"b"}))


# -------------------------------------------------------------------------------- the command line


def test_the_verb_prints_a_table(run: Run, networks: Path):
    finished = run("verify", networks / "lenet.net", "--steps", 1, "--batch", 2)
    assert finished.code == cli.OK
    assert finished.err == ""
    assert "all agree" in finished.out
    assert "reference | NumPy" in finished.out
    assert "rmsprop" in finished.out


def test_the_verb_as_json(run: Run, networks: Path):
    finished = run(
        "verify", networks / "lenet.net", "--dtype", "float64", "--steps", 0, "--format", "json",
        "--seed", 3,
    )  # fmt: skip
    data = json.loads(finished.out)
    assert (data["ok"], data["net"], data["seed"], data["diagnostics"]) == (True, "LeNet", 3, [])
    assert [run["mode"] for run in data["runs"]] == ["training", "evaluation"]
    assert data["runs"][0]["comparisons"][0]["largest"]["outputs"] <= 1e-10


def test_the_verb_fails_with_a_located_message(run: Run, networks: Path, monkeypatch):
    leaky = Torch("F.leaky_relu", (X(0), 0.1))
    monkeypatch.setattr(registry()["relu"], "torch", lambda self, *inputs: leaky)
    path = networks / "lenet.net"
    arguments = ("verify", path, "--steps", 0, "--dtype", "float64")
    finished = run(*arguments)
    assert finished.code == cli.FAILED
    assert "1 difference found" in finished.out
    where = netspec.load(path).graph.by_name["relu1"].origin.span.where
    assert f"--> {where}\n" in finished.err
    assert "error[verify/value]" in finished.err
    data = json.loads(run(*arguments, "--format", "json").out)
    assert data["diagnostics"][0]["code"] == "verify/value"
    assert run(*arguments, "--no-torch").code == cli.OK


def test_a_net_without_sizes_is_refused(run: Run, write: Write):
    path = write("net A { input x: [3, H, W]\n output x -> conv(2, 3) }\n")
    finished = run("verify", path)
    assert finished.code == cli.FAILED
    assert "model/open-size" in finished.err
    assert run("verify", path, "--set", "H=5", "--set", "W=5", "--steps", 0).code == cli.OK


def test_a_batch_of_one_that_cannot_be_trained_on_is_compared_in_evaluation(
    run: Run, networks: Path
):
    arguments = ("verify", networks / "zoo/fully_connected.net", "--batch", 1, "--set", "norm=true")
    finished = run(*arguments)
    assert finished.code == cli.OK
    assert "training was left out: `norm1` (batch_norm) needs a batch of at least 2" in finished.out


def test_tensors_that_are_known_by_identity_are_kept() -> None:
    """Another tensor would have the identity of one that is gone."""
    import torch

    from netspec.tools.agreement.torch_trace import CallRecorder

    shapes = ((4, 6), (4, 6), (4, 6))
    module = netspec.loads(net_of("multihead_attention(2)", shapes)).compile("torch").module
    inputs = [torch.ones(2, *shape, requires_grad=True) for shape in shapes]
    recorder = CallRecorder(module, inputs, ())
    with recorder:
        module(*inputs)
    kept = [*inputs, *(call.value for call in recorder.calls), *recorder._kept]
    assert set(recorder._known) <= set(map(id, kept))
