"""Transfer learning with both backends: initial weights from a file, and frozen parameters."""

from __future__ import annotations

import re

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.training.transfer import choose_frozen, start_from
from netspec.runtime.weights.weights_file import load_weights
from tests.conftest import ROOT, Run
from tests.helpers.errors import fails

NET = """
net Small(classes = 3, dropping = 0.0) {
    input image: [2, 6, 6]

    output image
        -> stem: conv(4, 3, bias = false) -> bn1: batch_norm -> relu
        -> mid: conv(4, 3, pad = 1, bias = false) -> bn2: batch_norm -> relu
        -> dropout(dropping) -> flatten -> fc: linear(classes)
}
"""
TARGETS = ["numpy", "torch"]


def make(target, dtype="float32", seed=0, text=NET, **arguments):
    net = netspec.loads(text, **arguments)
    if target == "numpy":
        return net.compile("numpy", dtype=dtype, seed=seed)
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from netspec.runtime.models.pytorch.model import TorchModel
    from netspec.runtime.models.torch_build import build_module

    return TorchModel(net.graph, build_module(net, dtype=dtype, seed=seed))


def made(count=40, shape=(2, 6, 6), classes=3):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(count, *shape)), np.arange(count) % classes
    return Dataset("made", x, y, x[:9], y[:9], classes)


# --------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("target", TARGETS)
def test_what_matches_is_loaded_and_the_rest_stays(target):
    source = make("numpy", seed=1)
    model = make(target, classes=5)
    before = model.state_dict()
    weights = source.state_dict()
    weights["head.weight"] = np.zeros((2, 2))
    del weights["bn2.num_batches_tracked"], weights["mid.weight"]
    report = start_from(model, weights)
    after = model.state_dict()
    assert np.array_equal(after["stem.weight"], weights["stem.weight"])
    for name in ("fc.weight", "fc.bias", "mid.weight"):
        assert np.array_equal(after[name], before[name])
    assert report.different["fc.weight"] == ((3, 64), (5, 64))
    assert report.missing == ["mid.weight"]
    assert report.unexpected == ["head.weight"]
    text = "\n".join(report.lines())
    assert text.startswith("10 of 14 tensors loaded")
    assert "`fc.weight` is [3, 64], the network has [5, 64]" in text
    assert "initial values kept, not in the file: 1\n    `mid.weight`" in text
    assert "counters of batch norm at 0, not in the file: 1\n    `bn2.num_batches_tracked`" in text
    # What is told adds up to the tensors of the network.
    kept = (report.loaded, report.different, report.missing, report.counters)
    assert sum(map(len, kept)) == report.total
    assert "not used, not in the network: 1\n    `head.weight`" in text


def test_everything_matching_is_one_line():
    model = make("numpy")
    assert [*start_from(model, model.state_dict()).lines()] == ["14 of 14 tensors loaded"]


@pytest.mark.parametrize("target", TARGETS)
def test_older_names_count(target):
    model = make(target)
    old = {re.sub(r"bn(\d)", r"bn.\1", k): v for k, v in model.state_dict().items()}
    report = start_from(model, old)
    assert len(report.loaded) == 14
    assert report.renamed["bn.1.weight"] == "bn1.weight"
    assert (
        "10 names of older versions, such as `bn.1.weight` for `bn1.weight`" in [*report.lines()][1]
    )


def test_nothing_that_matches_is_an_error():
    with fails("weights/mismatch", "nothing in the weights matches"):
        start_from(make("numpy"), {"a\x1b[31m": np.zeros(3), "fc.bias": np.zeros(7)})


def test_a_name_cannot_write_to_the_terminal():
    model = make("numpy")
    report = start_from(model, {**model.state_dict(), "a\x1b[31m": np.zeros(3)})
    assert "\x1b" not in "".join(report.lines())


def test_long_lists_are_cut():
    model = make("numpy")
    extra = {f"extra{i}": np.zeros(1) for i in range(30)}
    lines = [*start_from(model, {**model.state_dict(), **extra}).lines()]
    assert len(lines) == 11
    assert lines[-1].strip() == "... and 22 more"


def test_pytorchs_checkpoints_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(a) for name, a in make("numpy", seed=3).state_dict().items()}
    state["fc.weight"] = state["fc.weight"].bfloat16()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    for content in (state, {"state_dict": wrapped, "epoch": 3}, {"model": state}):
        torch.save(content, tmp_path / "w.pth")
        found = load_weights(tmp_path / "w.pth").tensors
        bare = {name.removeprefix("module."): array for name, array in found.items()}
        assert set(bare) == set(state)
        assert bare["fc.weight"].dtype == np.float32
        assert np.array_equal(bare["stem.weight"], state["stem.weight"].numpy())
        assert len(start_from(make("numpy"), found).loaded) == 14


class Hostile:
    def __reduce__(self):
        import os

        return (os.system, ("touch hostile-code-ran",))


def test_a_checkpoint_runs_no_code(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Hostile()}, "w.pth")
    with fails("weights/bad-file", "no tensors by name"):
        load_weights(tmp_path / "w.pth")
    assert [p.name for p in tmp_path.iterdir()] == ["w.pth"]
    for content, part in (([1], "holds a list"), ({"a": 1}, "no tensors")):
        torch.save(content, "w.pth")
        with fails("weights/bad-file", part):
            load_weights(tmp_path / "w.pth")
    for junk in (b"", b"PK\x03\x04", b"\x80\x02junk", b"hello"):
        (tmp_path / "w.pth").write_bytes(junk)
        with fails("weights/bad-file", "w.pth: "):
            load_weights(tmp_path / "w.pth")
    with fails("weights/bad-file", "no such file"):
        load_weights(tmp_path / "nowhere.pth")


def test_torchvisions_weights_load_into_the_zoo(tmp_path):
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    torch.save(models.squeezenet1_0(num_classes=11).state_dict(), tmp_path / "w.pth")
    net = netspec.load(ROOT / "networks/zoo/squeezenet1_0.net", classes=7)
    model = net.compile("numpy")
    report = start_from(model, load_weights(tmp_path / "w.pth").tensors)
    assert [*report.different] == ["classifier.1.weight", "classifier.1.bias"]
    assert len(report.loaded) == len(model.state_dict()) - 2
    assert not report.missing
    assert not report.unexpected


# ---------------------------------------------------------------------------------------- freezing


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_frozen_stays_to_the_bit(target, optimizer):
    model = make(target)
    frozen = choose_frozen(model.graph, ["stem.*", "bn1.*", "fc.bias"])
    model.freeze(frozen)
    before = model.state_dict()
    netspec.fit(model, made(), epochs=2, batch=8, optimizer=optimizer, l2=0.1)
    after = model.state_dict()
    for name, array in before.items():
        assert np.array_equal(array, after[name]) == (name in frozen), name
    assert {"bn1.running_mean", "bn1.num_batches_tracked", "fc.bias"} <= frozen


@pytest.mark.parametrize("patterns", [["stem.*", "bn1.*"], ["mid.*", "bn2.*", "bn1.weight"]])
def test_both_backends_freeze_alike(patterns):
    models = [make(target, "float64") for target in TARGETS]
    histories = []
    for model in models:
        model.freeze(choose_frozen(model.graph, patterns))
        histories.append(
            netspec.fit(model, made(), epochs=3, batch=8, l2=0.1, clip_norm=1.0).loss_history
        )
    assert np.abs(np.subtract(*histories)).max() < 1e-9
    for name, array in models[0].state_dict().items():
        assert np.allclose(array, models[1].state_dict()[name], atol=1e-9), name


def test_a_frozen_batch_norm_normalises_with_its_running_statistics():
    model = make("numpy", "float64")
    x, y = made().x_train[:8], made().y_train[:8]
    everything = choose_frozen(model.graph, ["stem.*", "bn1.*", "mid.*", "bn2.*"])
    model.freeze(everything)
    loss, gradients = model.loss_and_grads(x, y)
    assert loss == pytest.approx(model.loss(x, y, training=False), abs=1e-12)
    assert set(gradients) == {"fc.weight", "fc.bias"}
    model.freeze([])
    assert len(model.loss_and_grads(x, y)[1]) == 8


def test_gradients_beside_frozen_ones_are_right():
    model = make("numpy", "float64")
    x, y = made().x_train[:8], made().y_train[:8]
    _, whole = model.loss_and_grads(x, y)
    for patterns in (["mid.*"], ["bn1.weight", "stem.*"], ["*.bias"]):
        model.freeze(choose_frozen(model.graph, patterns))
        _, part = model.loss_and_grads(x, y)
        assert set(part) == set(whole) - model.frozen
        for name, gradient in part.items():
            assert np.allclose(gradient, whole[name], atol=1e-12), name


def test_batch_norm_without_parameters_freezes_by_its_buffers():
    text = NET.replace("bn1: batch_norm", "bn1: batch_norm(affine = false)")
    for target in TARGETS:
        model = make(target, text=text)
        model.freeze(choose_frozen(model.graph, ["bn1.*"]))
        before = model.state_dict()
        netspec.fit(model, made(), epochs=1, batch=8)
        after = model.state_dict()
        assert np.array_equal(before["bn1.running_mean"], after["bn1.running_mean"])
        assert not np.array_equal(before["bn2.running_mean"], after["bn2.running_mean"])


def test_a_pattern_that_matches_nothing_says_what_was_meant():
    graph = netspec.loads(NET).graph
    for pattern, meant in (("stem", r"stem.\*"), ("stm.*", r"stem.\*"), ("fc.weigth", "fc.weight")):
        with fails("train/bad-option", f"matches `{re.escape(pattern)}`.*did you mean `{meant}`"):
            choose_frozen(graph, [pattern])
    with fails("train/bad-option", "matches `xyzzy`"):
        choose_frozen(graph, ["xyzzy"])
    with fails("train/bad-option", "no parameter is left to train"):
        choose_frozen(graph, ["*"])
    assert choose_frozen(graph, []) == frozenset()


# ------------------------------------------------------------------------------------ keep the best


class Scripted:
    """A backend's model with prescribed validation accuracies and losses."""

    def __init__(self, model, *measured):
        self.model, self.measured = model, iter(measured)
        self.graph, self.input_shape, self.classes = model.graph, model.input_shape, model.classes

    def training(self, job):
        from contextlib import contextmanager

        from netspec.runtime.models.measured import Measured

        @contextmanager
        def scripted():
            with self.model.training(job) as backend:
                measure = backend.measure
                backend.measure = lambda name, stop: (
                    Measured(*next(self.measured)) if name == "val" else measure(name, stop)
                )
                yield backend

        return scripted()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("third", "kept"), [(0.5, 2), (0.4, 3)])
def test_the_best_epoch_is_kept(tmp_path, target, third, kept):
    """Of equal ones that with the smallest loss, and else the first."""
    states = []
    out = tmp_path / "best.safetensors"
    model = make(target)
    history = netspec.fit(
        Scripted(model, (0.2, 0.9), (0.7, 0.5), (0.7, third), (0.1, 0.1)),
        made(), epochs=4, batch=8, val=8, keep="best", out=out,
        on_epoch=lambda epoch, history: states.append(model.state_dict()),
    )  # fmt: skip
    assert history.kept_epoch == kept
    saved = netspec.load_weights(out).tensors
    for name, array in states[kept - 1].items():
        assert np.array_equal(saved[name], array)
        assert np.array_equal(model.state_dict()[name], array)
    assert not np.array_equal(saved["fc.weight"], states[3]["fc.weight"])


def test_the_best_is_chosen_by_validation():
    with fails("train/bad-option", "val is 0"):
        netspec.fit(make("numpy"), made(), keep="best")
    with fails("train/bad-option", "did you mean `best`"):
        netspec.fit(make("numpy"), made(), keep="bset")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_run_that_is_stopped_saves(tmp_path, target, keep):
    out = tmp_path / "w"
    asked = iter([False] * 3 + [True] * 99)
    history = netspec.fit(
        make(target), made(), batch=8, val=8, keep=keep, out=out, stop=lambda: next(asked)
    )
    assert history.stopped
    assert history.kept_epoch == 0
    assert 3 <= len(history.loss_history) <= 4
    assert "fc.weight" in netspec.load_weights(out).tensors


# ------------------------------------------------------------------------------------ command line


@pytest.mark.parametrize("target", TARGETS)
def test_from_the_command_line(run: Run, tmp_path, target):
    if target == "torch":
        pytest.importorskip("torch").set_num_threads(1)
    lenet, out = ROOT / "networks/lenet.net", tmp_path / "w.safetensors"
    short = ["--epochs", 1, "--train-limit", 64, "--batch", 32]
    first = run("train", target, lenet, *short, "--out", out, "--normalize", "unit")
    assert first.code == 0, first.err
    finished = run(
        "train", target, lenet, *short, "--set", "classes=12", "--weights", out,
        "--freeze", "conv*", "--freeze", "linear1.*", "--normalize", "weights",
        "--val", 20, "--keep", "best", "--out", tmp_path / "two.safetensors",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    assert f"{out}: 8 of 10 tensors loaded" in finished.err
    assert "`linear3.weight` is [10, 84], the network has [12, 84]" in finished.err
    assert "training 11,184 parameters, 6 tensors frozen" in finished.err
    one, two = (netspec.load_weights(p) for p in (out, tmp_path / "two.safetensors"))
    assert np.array_equal(one.tensors["conv1.weight"], two.tensors["conv1.weight"])
    assert not np.array_equal(one.tensors["linear2.weight"], two.tensors["linear2.weight"])
    assert two.normalization.kind == "unit"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--freeze", "con1.*"], "did you mean `conv1.*`?"),
        (["--keep", "best"], "--val"),
        (["--normalize", "weights"], "there are no --weights"),
        (["--augment", "flipp"], "did you mean `flip`?"),
        (["--device", "cuda", "--compile"], "--device, --compile"),
        (["--loss", "svm", "--label-smoothing", "0.1"], "loss option of svm"),
        (["--clip-norm", "0"], "clip_norm"),
    ],
)
def test_wrong_use(run: Run, options, said):
    finished = run("train", "numpy", ROOT / "networks/lenet.net", *options)
    assert finished.code == 2
    assert said in finished.err
