"""`netspec gradcheck` and `netspec.gradcheck`: slopes, kinks, parts of nets, reports."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import netspec
from netspec import cli
from netspec.compiler.ir.expression import Const
from netspec.compiler.ops import registry
from netspec.kernels import batch_norm as norm
from netspec.kernels import linear, pool
from netspec.testing.op_examples import graph_of
from netspec.tools.gradcheck.differences import Slope, find_slope
from netspec.tools.gradcheck.subgraph import cut
from netspec.tools.gradcheck.verdict import Probe, score, verdict

SMALL = """
net Small {
    input image: [2, 6, 6]
    output image
        -> conv(3, 3) -> batch_norm -> relu -> max_pool(2)
        -> flatten -> drop: dropout(0.3) -> fc: linear(5)
}
"""
RESIDUAL = """
block Twice(channels) x {
    main = x -> conv1: conv(channels, 3, pad = 1) -> relu1: relu -> conv2: conv(channels, 3, pad = 1)
    return main + x
}
net Residual {
    input image: [2, 4, 4]
    input other: [2, 4, 4]
    output image -> stem: relu -> a: Twice(2) -> b: Twice(2) -> mul(other) -> last: tanh
}
"""


def codes(error) -> list[str]:
    return [d.code for d in error.value.diagnostics]


def check(text: str, *arguments, **options):
    net = netspec.loads(text)
    return netspec.gradcheck(net, *arguments, **({"backend": "numpy", "directions": 3} | options))


# ----------------------------------------------------------------------------------------- slopes


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (math.exp, 1.0),
        (lambda t: math.sin(3 * t + 1), 3 * math.cos(1)),
        (lambda t: 1 / (2 + t), -0.25),
        (lambda t: 7.0, 0.0),
        (lambda t: 1e6 + math.tanh(t), 1.0),
    ],
)
def test_a_slope_is_found_and_its_error_is_honest(f, slope):
    found = find_slope(f, 0.1)
    assert abs(found.value - slope) <= max(found.error, 1e-15)
    assert found.error <= 1e-6


def test_extrapolation_beats_the_plain_difference():
    plain = (math.exp(0.1) - math.exp(-0.1)) / 0.2
    assert abs(find_slope(math.exp, 0.1).value - 1) < 1e-9 < 1e-4 < abs(plain - 1)


def test_steps_shrink_until_they_cross_no_kink():
    def f(t):
        return math.exp(t) if abs(t) < 1e-4 else None

    found = find_slope(f, 0.1)
    assert found.step < 1e-4
    assert abs(found.value - 1) < 1e-8


def test_a_point_on_a_kink_has_no_slope():
    assert find_slope(lambda t: None if t > 0 else 0.0, 0.1) is None


def test_a_step_that_is_too_large_for_the_series_is_made_smaller():
    found = find_slope(lambda t: math.sin(200 * t), 0.1)
    assert abs(found.value - 200) < 1e-5


# --------------------------------------------------------------------------------------- verdicts


def probes(*pairs):
    return [
        Probe(None if slope is None else Slope(slope, 1e-12, 1e-3), {"numpy": analytic})
        for analytic, slope in pairs
    ]


def judged(*pairs):
    found = probes(*pairs)
    return verdict(found, [score(found, "numpy", 1e-7)])


def test_one_wrong_probe_is_a_failure():
    assert judged(*[(1.0, 1.0)] * 99, (1.0, 1.001)) == "failed"


def test_nan_agrees_with_nothing():
    assert judged((math.nan, 1.0)) == "failed"


def test_a_tiny_gradient_of_the_wrong_sign_is_found():
    """Relative to 1, the two would agree to 1e-7."""
    assert judged((1e-8, -1e-8)) == "failed"
    assert judged((1e-8, 1e-8)) == "ok"


def test_nine_of_ten_probes_must_prove_something():
    assert judged(*[(1.0, 1.0)] * 9, (1.0, None)) == "ok"
    assert judged(*[(1.0, 1.0)] * 8, *[(1.0, None)] * 2) == "inconclusive"


# --------------------------------------------------------------------------------------- patterns


@pytest.mark.parametrize("cls", registry().values(), ids=lambda cls: cls.name)
def test_a_pattern_is_discrete_and_stays_where_it_is(cls):
    rng = np.random.default_rng(0)
    for example in cls.examples:
        op = graph_of(example.call, example.inputs).nodes[0].op
        x = [rng.standard_normal((2, *shape)) for shape in example.inputs]
        found = op.pattern(*x)
        if found is None:
            continue
        assert found.dtype.kind in "bi"
        assert np.array_equal(found, op.pattern(*[a + 1e-13 * np.abs(a) for a in x]))


def test_a_relu_and_a_pool_tell_when_a_number_crosses():
    relu = netspec.loads("net A { input x: [3]\n output x -> relu }").graph.nodes[0].op
    x = np.array([[-1.0, 1e-9, 2.0]])
    assert not np.array_equal(relu.pattern(x), relu.pattern(x - 1e-8))
    text = "net A { input x: [1, 2, 2]\n output x -> max_pool(2) }"
    op = netspec.loads(text).graph.nodes[0].op
    pixels = np.array([[[[1.0, 3.0], [2.0, 0.0]]]])
    assert op.pattern(pixels).tolist() == [[[[1]]]]
    assert op.pattern(-pixels).tolist() == [[[[3]]]]
    sigmoid = netspec.loads("net A { input x: [3]\n output x -> sigmoid }").graph.nodes[0].op
    assert sigmoid.pattern(x) is None


def test_probes_on_a_kink_are_counted_apart():
    net = netspec.loads("net A { input x: [6]\n output x -> relu }")
    x = np.ones((2, 6))
    x[0, 0] = 0.0
    report = netspec.gradcheck(net, x, full=True, backend="numpy")
    (row,) = report.rows
    assert (row.probes, row.kinks, row.verdict) == (12, 1, "ok")
    x[0, :3] = 0.0
    report = netspec.gradcheck(net, x, full=True, backend="numpy")
    (row,) = report.rows
    assert (row.kinks, row.beside, report.verdict) == (3, True, "ok")
    (note,) = report.notes
    assert note.startswith("x: numbers lie exactly on the kink of relu1, where there is no slope")


def test_a_point_that_cannot_be_moved_off_its_kinks_is_inconclusive():
    net = netspec.loads("net A { input x: [6]\n output x -> linear(3) -> relu }")
    model = net.compile()
    for array in model.parameters.values():
        array[...] = 0
    report = netspec.gradcheck(model, directions=2)
    assert report.verdict == "inconclusive"
    assert "linear1.weight: numbers lie exactly on the kink of relu1" in str(report)
    assert "moved by" not in str(report)
    with pytest.raises(netspec.NetspecError) as error:
        report.require()
    assert codes(error) == ["gradcheck/inconclusive"]


# ------------------------------------------------------- right gradients that were called wrong


POOLED = """
net A {
    input x: [1, 8, 8]
    output x -> conv(2, 3, pad = 1) -> max_pool(2) -> flatten -> linear(3)
}
"""


def flat_pictures() -> np.ndarray:
    x = np.zeros((3, 1, 8, 8))
    x[:, :, 2:4, 3:6] = np.random.default_rng(0).standard_normal((3, 1, 2, 3))
    return x


def test_ties_of_a_flat_background_are_named_and_checked_beside():
    report = netspec.gradcheck(
        netspec.loads(POOLED), flat_pictures(), directions=2, backend="numpy"
    )
    row = report.rows[-1]
    assert (row.name, row.kinks, row.beside, row.verdict) == ("x", 2, True, "ok")
    assert report.ok
    assert "x: equal numbers tie for the largest in max_pool1, where there is no slope" in str(
        report
    )


def test_a_row_that_was_checked_beside_its_kinks_is_marked():
    net = netspec.loads(POOLED)
    text = str(netspec.gradcheck(net, flat_pictures(), directions=2, backend="numpy"))
    (row,) = (line for line in text.splitlines() if line.startswith("x "))
    assert "2*" in row
    assert "*: on kinks as the inputs are" in text


def test_gradients_that_are_zero_are_named():
    """What a bias adds, the batch norm behind it subtracts, in training."""
    source = (
        "net A { input x: [1, 5, 5]\n"
        " output x -> conv(2, 3) -> batch_norm -> flatten -> linear(3) }"
    )
    report = netspec.gradcheck(netspec.loads(source), backend="numpy", directions=3)
    assert report.ok
    assert [row.name for row in report.rows if row.small == "zero"] == ["conv1.bias"]
    assert "\nconv1.bias: the slopes are 0 but for rounding" in str(report)
    evaluated = netspec.gradcheck(netspec.loads(source), backend="numpy", mode="eval")
    assert "but for rounding (" not in str(evaluated)


LAYER_SCALE = """
net A {
    input x: [6]
    parameter gamma: [6] = constant(1e-11)
    y = gamma * (x -> layer_norm -> fc1: linear(13) -> tanh -> fc2: linear(6))
    output x + y -> head: linear(4)
}
"""


@pytest.mark.parametrize("own", [False, True])
def test_gradients_that_are_too_small_for_differences(own, monkeypatch):
    """A net is checked with larger scales; a model with its own, layer by layer."""
    net = netspec.loads(LAYER_SCALE)
    subject = net.compile(dtype="float64") if own else net
    report = netspec.gradcheck(subject, directions=3, backend="numpy")
    assert report.ok, str(report)
    tiny = [row.name for row in report.rows if row.small == "tiny"]
    assert ("fc1.weight" in tiny) == own == ("too coarse for slopes this small" in str(report))

    real = linear.backward_weight

    def wrong(x, dy, dw, *rest):
        real(x, dy, dw, *rest)
        if dw.shape == (13, 6):
            dw *= 3

    monkeypatch.setattr(linear, "backward_weight", wrong)
    report = netspec.gradcheck(subject, directions=3, backend="numpy")
    assert [row.name for row in report.rows if row.verdict == "failed"] == ["fc1.weight"]
    assert "`fc1.weight`" in report.diagnostics[0].message


@pytest.mark.parametrize("own", [False, True])
def test_a_wrong_formula_behind_tiny_scales_is_found(own, monkeypatch):
    """The reference computes by it too: only slopes tell."""
    tanh = registry()["tanh"]
    real = tanh.derivatives
    monkeypatch.setattr(
        tanh, "derivatives", lambda self, y, *x: tuple(Const(3.0) * e for e in real(self, y, *x))
    )
    net = netspec.loads(LAYER_SCALE)
    subject = net.compile(dtype="float64") if own else net
    report = netspec.gradcheck(subject, directions=3, backend="numpy")
    failed = {row.name for row in report.rows if row.verdict == "failed"}
    assert {"fc1.weight", "fc1.bias"} <= failed
    assert not failed & {"fc2.weight", "fc2.bias", "head.weight", "head.bias", "gamma"}
    assert "is not the slope of `tanh1` (tanh)" in report.diagnostics[0].message


def test_a_wrong_running_mean_of_tiny_numbers_is_found(monkeypatch):
    net = netspec.loads(
        "net A { input x: [5, 4, 4]\n"
        " y = x -> conv(3, 3, weight = normal(1e-12), bias = false) -> batch_norm\n"
        " output y -> flatten -> linear(2) }"
    )
    model = net.compile(dtype="float64")
    assert netspec.gradcheck(model, directions=2, backend="numpy", mode="train").verdict != "failed"
    real = norm.batch_statistics

    def wrong(x, scratch, weight, bias, running_mean, *rest, **options):
        real(x, scratch, weight, bias, running_mean, *rest, **options)
        running_mean *= 3

    monkeypatch.setattr(norm, "batch_statistics", wrong)
    report = netspec.gradcheck(model, directions=2, backend="numpy", mode="train")
    assert report.verdict == "failed"


def test_a_wrong_gradient_under_ties_is_found(monkeypatch):
    sound = pool.max_backward

    def wrong(x, y, dy, dx, *scratch, **options):
        sound(x, y, dy, dx, *scratch, **options)
        dx *= 1.001

    monkeypatch.setattr(pool, "max_backward", wrong)
    report = netspec.gradcheck(
        netspec.loads(POOLED), flat_pictures(), directions=2, backend="numpy"
    )
    assert report.rows[-1].verdict == "failed"
    assert report.diagnostics


def test_a_saturated_softmax_is_no_wrong_gradient():
    net = netspec.loads("net A { input x: [4]\n output x -> linear(5) -> relu -> linear(3) }")
    model = net.compile(seed=1)
    x = np.random.default_rng(1).standard_normal((4, 4))
    y = model.scores(x).argmax(1)
    for size in (1e2, 3e2, 1e3, 1e5):
        report = netspec.gradcheck(model, size * x, y, directions=3)
        assert report.ok, str(report)
        quiet = model.loss(size * x, y) < 1e-7
        assert ("are the images normalised?" in str(report)) == quiet
    assert "the loss is 0, and" in str(report)


def test_a_loss_off_by_rounding_is_no_wrong_gradient(monkeypatch):
    """A deep net's loss can be off by more than the limit.

    Here the limit is below any rounding error.
    """
    from netspec.tools.gradcheck import run as checking

    monkeypatch.setattr(checking, "CLOSE", 1e-300)
    text = SMALL.replace("relu", "tanh")
    report = check(text, seed=2)
    found = [c for s in report.sections for c in s.checks if c.beyond]
    assert found
    assert all(c.rounding for c in found)
    assert report.ok, str(report)
    assert report.diagnostics == []
    assert "off by rounding only" in str(report)


def test_a_wrong_loss_is_no_rounding(monkeypatch):
    from netspec.runtime.optim import losses

    sound = losses.softmax_cross_entropy
    monkeypatch.setattr(losses, "softmax_cross_entropy", lambda *a: sound(*a) * (1 + 1e-8))
    report = check(SMALL, mode="eval")
    assert report.verdict == "failed"
    assert report.diagnostics


# ------------------------------------------------------------------------------- what is checked


def test_both_modes_and_the_buffers():
    report = check(SMALL)
    assert report.ok, str(report)
    assert [section.mode for section in report.sections] == ["training", "evaluation"]
    training, evaluation = ([c.name for c in s.checks] for s in report.sections)
    assert [name.rpartition(".")[2] for name in training] == [
        "loss", "running_mean", "running_var", "num_batches_tracked",
    ]  # fmt: skip
    assert evaluation == ["loss"]


def test_modes_that_are_the_same_program_are_checked_once():
    report = check(RESIDUAL)
    assert [section.mode for section in report.sections] == ["training and evaluation"]
    assert {row.name for row in report.rows} >= {"image", "other", "a.conv1.weight"}
    assert report.ok


@pytest.mark.parametrize("loss", ["softmax", "svm"])
def test_losses(loss):
    assert check(SMALL, loss=loss, mode="train").ok


def test_a_model_is_checked_with_its_own_parameters_and_batch():
    model = netspec.loads(SMALL).compile(seed=3)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 2, 6, 6)), np.array([0, 4, 2])
    report = netspec.gradcheck(model, x, y, directions=2, mode="eval")
    assert report.ok
    assert report.batch == 3
    assert report.notes == []
    assert report.backends == ("numpy",)
    loss = model.loss(x, y)
    assert math.isfinite(loss)


def test_a_size_left_open_is_that_of_the_batch():
    text = "net A { input x: [1, H, W]\n output x -> conv(2, 3) -> relu -> global_avg_pool }"
    assert check(text, np.random.default_rng(0).standard_normal((2, 1, 5, 6))).ok
    with pytest.raises(netspec.NetspecError) as error:
        check(text)
    assert codes(error) == ["model/open-size"]


def test_some_parameters():
    report = check(SMALL, params="fc.*, image", mode="eval", elements=4, directions=None)
    assert [row.name for row in report.rows] == ["fc.weight", "fc.bias", "image"]
    assert [row.probes for row in report.rows] == [4, 4, 4]


def test_all_parameters_at_once():
    report = check(SMALL, whole=True, mode="train")
    assert [(row.kind, row.name) for row in report.rows] == [
        ("all", "6 parameters"), ("input", "image"),
    ]  # fmt: skip
    assert report.ok


def test_equal_seeds_give_equal_reports():
    assert str(check(SMALL)) == str(check(SMALL))
    assert str(check(SMALL)) != str(check(SMALL, seed=1))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"params": "nothing.*"}, "gradcheck/params"),
        ({"elements": 3}, "gradcheck/option"),
        ({"directions": 0}, "gradcheck/option"),
        ({"mode": "test"}, "gradcheck/option"),
        ({"full": True, "directions": None, "whole": True}, "gradcheck/option"),
        ({"start": "fc2"}, "gradcheck/label"),
        ({"start": "fc", "end": "conv1"}, "gradcheck/label"),
        ({"start": "fc", "backend": "torch"}, "gradcheck/option"),
        ({"start": "fc", "loss": "svm"}, "model/scores"),
        ({"batch": 1, "start": "fc", "mode": "train"}, None),
    ],
)
def test_wrong_options(options, code):
    if code is None:
        assert check(SMALL, **options).ok
        return
    with pytest.raises(netspec.NetspecError) as error:
        check(SMALL, **options)
    assert codes(error) == [code]


@pytest.mark.parametrize(
    ("x", "y", "code"),
    [
        (np.zeros((2, 2, 6, 5)), None, "model/input-shape"),
        ({"picture": np.zeros((2, 2, 6, 6))}, None, "model/inputs"),
        (np.zeros((2, 2, 6, 6)), [1, 2, 3], "data/shape"),
        (np.zeros((2, 2, 6, 6)), [0.5, 1], "data/shape"),
        (np.zeros((2, 2, 6, 6)), [0, 5], "data/bad-file"),
    ],
)
def test_a_batch_that_does_not_fit(x, y, code):
    with pytest.raises(netspec.NetspecError) as error:
        check(SMALL, x, y)
    assert codes(error) == [code]


# ---------------------------------------------------------------------------------- parts of nets


@pytest.mark.parametrize(
    ("start", "end", "nodes", "inputs", "outputs"),
    [
        ("a.conv2", "b.conv1", ["a.conv2", "a.add1", "b.conv1"], ["a.relu1", "stem"], ["b.conv1"]),
        ("a", "a", ["a.conv1", "a.relu1", "a.conv2", "a.add1"], ["stem"], ["a.add1"]),
        ("image", "stem", ["stem"], ["image"], ["stem"]),
        ("mul1", None, ["mul1", "last"], ["b.add1", "other"], ["last"]),
        (None, "a.relu1", ["stem", "a.conv1", "a.relu1"], ["image"], ["a.relu1"]),
    ],
)
def test_a_part_of_a_net(start, end, nodes, inputs, outputs):
    part = cut(netspec.loads(RESIDUAL).graph, start, end)
    assert [node.name for node in part.nodes] == nodes
    assert sorted(part.inputs) == sorted(inputs)
    assert list(part.outputs) == outputs
    report = check(RESIDUAL, start=start, end=end)
    assert report.ok, str(report)
    assert {row.name for row in report.rows} == {*part.parameters, *inputs}


# ---------------------------------------------------------------------------------------- PyTorch


def test_a_wrong_gradient_of_the_module_alone(monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    sound = torch.tanh
    net = netspec.loads(RESIDUAL)
    assert netspec.gradcheck(net, directions=2).backends == ("numpy", "torch")

    def wrong(x):
        return sound(x) + 0.1 * (x - x.detach())

    monkeypatch.setattr(torch, "tanh", wrong)
    monkeypatch.setattr(torch.nn.functional, "tanh", wrong)
    report = netspec.gradcheck(net, directions=2)
    assert report.verdict == "failed"
    wrong_in = {name for row in report.rows for name, s in row.scores.items() if s.wrong}
    assert wrong_in == {"torch"}
    (found,) = report.diagnostics
    assert found.code == "gradcheck/gradient"
    assert "the PyTorch module differ" in found.message


# ----------------------------------------------------------------------------------- command line


def test_the_table(run, networks):
    finished = run("gradcheck", networks / "lenet.net", "--directions", 2, "--backend", "numpy")
    assert finished.code == cli.OK
    lines = finished.out.splitlines()
    assert lines[0].startswith("LeNet: image [4, 1, 28, 28], seed 0; 2 random directions of each")
    head = "training and evaluation  line  probes  kinks  NumPy error  relative   median  verdict"
    assert lines[2] == head
    assert lines[4].split()[:4] == ["conv1.weight", "6", "2", "0"]
    assert lines[4].endswith("ok")
    assert lines[-1] == "every gradient agrees"
    assert finished.err == ""


def test_json(run, networks):
    finished = run(
        "gradcheck", networks / "lenet.net", "--elements", 2, "--backend", "numpy",
        "--params", "conv1.*", "--loss", "svm", "--format", "json",
    )  # fmt: skip
    found = json.loads(finished.out)
    assert found["ok"]
    assert found["verdict"] == "ok"
    (mode,) = found["modes"]
    assert [row["name"] for row in mode["rows"]] == ["conv1.weight", "conv1.bias"]
    row = mode["rows"][0]
    assert row["where"].endswith("lenet.net:6:12")
    assert (row["probes"], row["kinks"], row["verdict"]) == (2, 0, "ok")
    assert row["backends"]["numpy"]["error"] <= 1e-7


def test_images_of_a_data_set(run, networks):
    finished = run(
        "gradcheck", networks / "lenet.net", "--data", "digits", "--params", "linear*.weight",
        "--directions", 2, "--backend", "numpy",
    )  # fmt: skip
    assert finished.code == cli.OK, finished


def test_a_text_and_a_run_on_it(run, write, tmp_path):
    (tmp_path / "tale.txt").write_text("abcdefghijkl" * 40, "utf-8")
    net = write(
        "net Next(vocabulary = 12) {\n input tokens: int[6]\n"
        " output tokens -> embedding(vocabulary, 16) -> linear(vocabulary)\n}"
    )
    data = ("--data", tmp_path / "tale.txt")
    trained = ("--out", tmp_path / "a", "--epochs", 1, "--batch", 8)
    assert run("train", "numpy", net, *data, *trained).code == cli.OK
    for file, options in ((net, data), (tmp_path / "a", ())):
        finished = run("gradcheck", file, *options, "--backend", "numpy", "--directions", 1)
        assert (finished.code, "every gradient agrees" in finished.out) == (cli.OK, True), finished
    finished = run("doctor", net, *data, "--batch", 8, "--lr", "0.01")
    assert "all is well in what was checked" in finished.out, finished
    assert "2.485 for 12 equal scores" in finished.out


def test_data_of_several_inputs_and_a_run_on_them(run, write, tmp_path):
    rng = np.random.default_rng(0)
    words, y = rng.integers(0, 5, (96, 3)), rng.integers(0, 2, 96)
    where = rng.standard_normal((96, 2)) + 40 * y[:, None]
    parts = {"train": slice(0, 80), "test": slice(80, 96)}
    arrays = {
        f"{what}_{part}{name}": array[cut]
        for part, cut in parts.items()
        for what, name, array in (("x", ".words", words), ("x", ".where", where), ("y", "", y))
    }
    np.savez(tmp_path / "both.npz", **arrays)
    net = write(
        "net Both {\n input where: [2]\n input words: int[3]\n"
        " bag = words -> embedding(5, 8) -> mean(1)\n"
        " output concat(where, bag, axis = 1) -> linear(8) -> relu -> linear(2)\n}"
    )
    data = ("--data", tmp_path / "both.npz")
    # So slow that nothing is learnt: training names the doctor, who must take the net then.
    slow = ("--epochs", 1, "--batch", 1, "--lr", "1e-12", "--optimizer", "sgd", "--seed", 3)
    trained = run("train", "numpy", net, *data, *slow, "--out", tmp_path / "a")
    assert trained.code == cli.OK, trained
    for file, options in ((net, data), (tmp_path / "a", ())):
        finished = run("gradcheck", file, *options, "--backend", "numpy", "--directions", 1)
        assert (finished.code, "every gradient agrees" in finished.out) == (cli.OK, True), finished
        assert "Both: where [4, 2], words [4, 3]" in finished.out
        well = ("--optimizer", "adam", "--lr", "0.01", "--batch", 64)
        finished = run("doctor", file, *options, *well, "--format", "json")
        assert finished.code == cli.OK, finished
        found = json.loads(finished.out)
        assert {each["verdict"] for each in found["findings"]} == {"ok"}
        # Places of an embedding are whole numbers: only the other input is normalised.
        assert "of both (none, channel)" in found["title"]
    refused = run("doctor", net, "--data", "digits")
    assert refused.code == cli.FAILED
    assert "the network has the inputs where, words" in refused.err


def test_given_weights_are_where_it_is_checked(run, write, tmp_path):
    text = "net A {\n input x: [3]\n output x -> linear(4) -> relu -> linear(2)\n}\n"
    model = netspec.loads(text).compile(seed=3)
    path = tmp_path / "w.safetensors"
    checked = ("gradcheck", write(text), "--backend", "numpy", "--directions", "2")
    reports = []
    for scale in (1.0, 0.0):  # with weights of zero the first layer's gradients vanish
        netspec.save_weights(path, {n: (a * scale) for n, a in model.state_dict().items()})
        finished = run(*checked, "--weights", path, "--format", "json")
        reports.append(json.loads(finished.out))
    assert reports[0]["ok"]
    assert reports[0] != reports[1]
    netspec.save_weights(path, {"linear1.weight": model.state_dict()["linear1.weight"]})
    assert "error[weights/mismatch]" in run(*checked, "--weights", path).err


def test_a_failure_shows_the_line(run, networks, monkeypatch):
    sound = pool.max_backward

    def wrong(x, y, dy, dx, *scratch, **options):
        sound(x, y, dy, dx, *scratch, **options)
        if dx.shape[-1] == 16:
            dx *= 1.001

    monkeypatch.setattr(pool, "max_backward", wrong)
    finished = run("gradcheck", networks / "lenet.net", "--directions", 1, "--backend", "numpy")
    assert finished.code == cli.FAILED
    assert "error[gradcheck/gradient]" in finished.err
    assert "lenet.net:9:12" in finished.err
    failed = {line.split()[0] for line in finished.out.splitlines() if line.endswith("failed")}
    assert {"conv1.weight", "conv2.weight", "image"} <= failed
    assert "linear1.weight" not in failed


def test_wrong_use(run, networks):
    file = networks / "lenet.net"
    assert run("gradcheck", file, "--from", "conv9").code == cli.WRONG_USE
    assert run("gradcheck", file, "--params", "x").code == cli.WRONG_USE
    assert run("gradcheck", file, "--full", "--directions", 2).code == cli.WRONG_USE
    assert run("gradcheck", file, "--directions", 0).code == cli.WRONG_USE
