"""Every object that a user can hold: shared by threads, copied, pickled, and sent to other
processes.
"""

from __future__ import annotations

import copy
import importlib
import multiprocessing
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.onnx_backend import onnx_model
from netspec.export import standalone_source
from netspec.kernels import parallel
from netspec.runtime.engine.native import code
from netspec.runtime.optim.optimizers import OPTIMIZERS, make_optimizer
from tests.conftest import ROOT
from tests.helpers.errors import fails
from tests.helpers.heavy import some_heavy
from tests.helpers.members import weights_first

NET = netspec.loads("""net Small(width = 6) {
    input image: [1, 8, 8]
    layer shared = conv(width, 3, pad = 1)
    output image -> conv(width, 3, pad = 1) -> batch_norm -> relu -> shared -> relu -> max_pool(2)
           -> dropout(0.2) -> flatten -> linear(3)
}""")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4, 1, 8, 8)).astype("f4")
Y = RNG.integers(0, 3, (6, 4))
DATA = netspec.Dataset(
    "made", RNG.integers(0, 256, (40, 1, 8, 8)).astype("u1"), RNG.integers(0, 3, 40),
    RNG.integers(0, 256, (9, 1, 8, 8)).astype("u1"), RNG.integers(0, 3, 9), 3,
)  # fmt: skip


def fitted(target: str) -> Any:
    """Return a model that has run and was trained."""
    if target == "torch":
        pytest.importorskip("torch")
    model = NET.compile(target, seed=3)  # type: ignore[call-overload]
    model.forward(X[0])
    # Not Adam, which makes full steps for a gradient that is 0 apart from rounding, like that of
    # the bias before the batch norm, and rounding differs with the number of threads.
    netspec.fit(model, DATA, epochs=2, batch=8, optimizer="momentum")
    model.forward(X[0])
    return model


def standalone(training: bool) -> Any:
    """Return a net of a standalone file, in the requested mode, after some use."""
    module = importlib.import_module(f"netspec_state_{'training' if training else 'inference'}")
    net = module.Small(seed=3)
    for x, y in zip(X, Y, strict=True) if training else ():
        net.train_step(x, y)
    net.forward(X[0])
    return net


def untrained_torch() -> Any:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    return NET.compile("torch", seed=3)


def fit(model: Any, seed: int = 0) -> list[np.ndarray]:
    netspec.fit(model, DATA, epochs=1, batch=8, seed=seed, optimizer="sgd")
    return list(model.state_dict().values())


def step(net: Any, seed: int = 0) -> list[np.ndarray]:
    net.train_step(X[seed], Y[seed])
    return [array.copy() for array in net.parameters.values()]


def stepped() -> Any:
    """Return an optimizer with its vectors, after a step."""
    rng = np.random.default_rng(1)
    optimizer = make_optimizer(
        "adam", rng.standard_normal(50), rng.standard_normal(50), weights_first(30, 50)
    )
    optimizer.step(0.1)
    return optimizer


def move(optimizer: Any, seed: int = 0) -> list[np.ndarray]:
    optimizer.step(0.1 + seed)
    return [optimizer.parameters.copy()]


def onnx_options() -> Any:
    pytest.importorskip("onnx", reason="onnx is not installed")
    return netspec.OnnxOptions(softmax=True, metadata={"by": "a test"})


def onnx_bytes(options: Any, _: int) -> bytes:
    return onnx_model(NET.graph, NET.compile(seed=3).state_dict(), options).content()


def opened_run() -> Any:
    from netspec.cli import main

    with tempfile.TemporaryDirectory() as folder:
        options = ("--epochs", "1", "--train-limit", "32", "--quiet", "--out", f"{folder}/run")
        assert main(["train", "numpy", str(ROOT / "networks/lenet.net"), *options]) == 0
        return netspec.load_run(f"{folder}/run")


def stored_weights() -> Any:
    model = fitted("numpy")
    with tempfile.TemporaryDirectory() as folder:
        netspec.save_weights(f"{folder}/w.safetensors", model.state_dict(), model.trained_on)
        return netspec.load_weights(f"{folder}/w.safetensors")


def by_forward(net: Any, i: int) -> np.ndarray:
    found: np.ndarray = net.forward(X[i])
    return found


@dataclass(frozen=True)
class Kind:
    """An object after some use: how it is made, what it answers, and how it changes, if it can."""

    make: Callable[[], Any]
    answer: Callable[[Any, int], Any]
    train: Callable[..., list[np.ndarray]] | None = None


KINDS = {
    "Pictures": Kind(
        lambda: netspec.pictures(DATA.x_train[:5, 0]), lambda shown, i: shown.array[i:]
    ),
    "Net": Kind(lambda: NET, lambda net, i: (str(net), net.source("torch"), i)),
    "Dataset": Kind(lambda: DATA, lambda data, i: data.x_train[i]),
    "History": Kind(
        lambda: netspec.fit(NET.compile(), DATA, epochs=2, batch=8),
        lambda history, i: (history.loss_history, history.normalization.apply(X[i], "f4")),
    ),
    "Evaluation": Kind(
        lambda: fitted("numpy").evaluate(DATA, normalize="none"),
        lambda found, _: (found.confusion, found.loss, found.names),
    ),
    "CheckReport": Kind(lambda: netspec.check("lenet"), lambda found, i: (str(found), i)),
    "TrainedRun": Kind(
        opened_run, lambda run, i: (run.model.forward(np.full((1, 1, 28, 28), i)), run.class_names)
    ),
    "Weights": Kind(
        stored_weights,
        lambda held, i: (dict(held), held.trained_on.normalization.apply(X[i], "f4")),
    ),
    "VerifyReport": Kind(
        lambda: netspec.verify(NET, x=X[0], outputs_only=True),
        lambda report, i: (str(report), report.to_dict(), i),
    ),
    "OnnxOptions": Kind(onnx_options, onnx_bytes),
    "optimizer": Kind(stepped, lambda optimizer, _: optimizer.parameters, move),
    "Model": Kind(lambda: NET.compile(seed=3), by_forward, fit),
    "fitted Model": Kind(lambda: fitted("numpy"), by_forward, fit),
    "loss_and_grads": Kind(
        lambda: fitted("numpy"),
        lambda model, i: list(model.loss_and_grads(X[i], Y[i], training=False)[1].values()),
    ),
    "Predictor": Kind(lambda: fitted("numpy").predictor(), lambda net, i: net(X[i])),
    "native Model": Kind(lambda: fitted("c"), by_forward, fit),
    "native Predictor": Kind(lambda: fitted("c").predictor(), lambda net, i: net(X[i])),
    "TorchModel": Kind(lambda: fitted("torch"), by_forward, fit),
    "TorchModel in training mode": Kind(untrained_torch, by_forward, fit),
    "standalone net": Kind(lambda: standalone(True), by_forward, step),
    "standalone inference": Kind(lambda: standalone(False), by_forward),
}
TRAINED = [name for name, kind in KINDS.items() if kind.train]
every_kind = pytest.mark.parametrize("name", KINDS)
every_trained = pytest.mark.parametrize("name", TRAINED)
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda each: pickle.loads(pickle.dumps(each)),
}
every_way = pytest.mark.parametrize("way", COPIES)
METHODS = [
    m for m in ("fork", "forkserver", "spawn") if m in multiprocessing.get_all_start_methods()
]


@pytest.fixture(autouse=True, scope="module")
def _standalone_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Write standalone files that this process and others can import."""
    folder = tmp_path_factory.mktemp("files")
    for training in (True, False):
        name = f"netspec_state_{'training' if training else 'inference'}"
        text = standalone_source(NET.graph, training=training)
        (folder / f"{name}.py").write_text(text, "utf-8")
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


def share_out(set_: Callable[[Any, str, int], None] = setattr) -> None:
    """Let kernels divide even small work among threads, here and in the standalone files, and machine
    code its passes.
    """
    files = map(importlib.import_module, ("netspec_state_training", "netspec_state_inference"))
    for module in (parallel, *files):
        for name, value in (("_threads", 2), ("WORTH_A_THREAD", 1), ("WORTH_A_PART", 1)):
            set_(module, name, value)
    set_(code, "WORTH_A_TEAM", -1)


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    share_out(monkeypatch.setattr)


def same(a: Any, b: Any) -> bool:
    """Whether two answers are the same.

    PyTorch may add in another order with another number of threads.
    """
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-6)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def answers(name: str, each: Any) -> list[Any]:
    return [KINDS[name].answer(each, i) for i in range(len(X))]


def test_the_table_has_every_object_of_the_package() -> None:
    """A new class must be added to the table. Functions, errors and modules need not be."""
    classes = {n for n in netspec.__all__ if isinstance(getattr(netspec, n), type)}
    assert classes - {"Diagnostic", "NetspecError"} <= KINDS.keys()


# --------------------------------------------------------------------------------------- threads


@every_kind
def test_threads_that_share_it_get_what_one_gets(name: str) -> None:
    each = KINDS[name].make()
    expected = answers(name, each)
    state = {n: a.copy() for n, a in getattr(each, "state_dict", dict)().items()}
    wrong: list[Any] = []
    begin = threading.Barrier(4)

    def call(first: int) -> None:
        begin.wait()
        for turn in range(30):
            i = (first + turn) % len(X)
            try:
                if not same(KINDS[name].answer(each, i), expected[i]):
                    wrong.append(i)
            except Exception as error:  # an error in a thread would otherwise be lost
                wrong.append(error)

    threads = [threading.Thread(target=call, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for key, array in state.items():  # running statistics too
        np.testing.assert_array_equal(array, each.state_dict()[key])


def test_models_are_trained_side_by_side() -> None:
    seeds = range(4)
    expected = [fit(NET.compile(seed=seed), seed) for seed in seeds]
    with ThreadPoolExecutor(len(seeds)) as pool:
        found = list(pool.map(lambda seed: fit(NET.compile(seed=seed), seed), seeds))
    for ours, theirs in zip(found, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_module_is_left_in_the_mode_it_was_in() -> None:
    model = fitted("torch")
    model.start_training()
    next(m for m in model.module.modules() if "BatchNorm" in type(m).__name__).eval()
    modes = [m.training for m in model.module.modules()]
    model.forward(X[0])
    assert [m.training for m in model.module.modules()] == modes
    assert any(modes)


# ---------------------------------------------------------------------------------------- copies


@every_kind
@every_way
def test_a_copy_answers_alike(name: str, way: str) -> None:
    each = KINDS[name].make()
    copied = COPIES[way](each)
    assert type(copied) is type(each)
    assert same(answers(name, copied), answers(name, each))
    again = COPIES[way](copied)  # a copy that has run
    assert same(answers(name, again), answers(name, each))


@every_trained
@every_way
def test_a_copy_trains_as_the_original_would_and_alone(name: str, way: str) -> None:
    train = KINDS[name].train
    assert train is not None
    each = KINDS[name].make()
    before = answers(name, each)
    copied = COPIES[way](each)
    if way == "copy" and name == "optimizer":
        pytest.skip("a shallow copy moves the same vectors, as it should")
    changed = train(copied)
    assert same(answers(name, each), before)
    assert not same(answers(name, copied), before)
    assert same(train(each), changed)


@every_way
@pytest.mark.parametrize("frozen", [False, True])
def test_parameters_of_a_copy_are_views_of_its_own_vector(way: str, frozen: bool) -> None:
    model = fitted("numpy")
    if frozen:
        model.freeze([name for name in model.parameters if name.startswith("conv1")])
    copied = COPIES[way](model)
    assert copied.frozen == model.frozen
    assert list(copied.parameters) == list(model.parameters)
    for views, vector in ("parameters", "flat_parameters"), ("gradients", "flat_gradients"):
        flat = getattr(copied, vector)
        assert not np.shares_memory(flat, getattr(model, vector))
        np.testing.assert_array_equal(flat, getattr(model, vector))
        for name in model.gradients:
            assert np.shares_memory(getattr(copied, views)[name], flat), name
    for name, array in model.parameters.items():
        assert not np.shares_memory(array, copied.parameters[name])
    one, other = (m.loss_and_grads(X[0], Y[0], l2=0.1) for m in (model, copied))
    assert same(list(one[1].values()), list(other[1].values()))
    assert one[0] == other[0]  # the same masks are drawn


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_an_optimizer_copied_with_its_model_moves_the_copy(rule: str, way: str) -> None:
    model = NET.compile()
    optimizer = make_optimizer(rule, model.flat_parameters, model.flat_gradients, model.members)
    model.loss_and_grads(X[0], Y[0])
    optimizer.step(0.1)
    copied, its_optimizer = COPIES[way]((model, optimizer))
    its_optimizer.step(0.1)
    optimizer.step(0.1)
    np.testing.assert_array_equal(copied.flat_parameters, model.flat_parameters)
    assert np.shares_memory(copied.parameters["linear1.weight"], its_optimizer.parameters)


def test_a_module_of_its_own_is_pickled_too() -> None:
    torch = pytest.importorskip("torch")
    net = netspec.loads("""block Pair(c) x {
        return x -> conv(c, 3, pad = 1) -> relu -> conv(c, 1)
    }
    net Nest() {
        input image: [1, 8, 8]
        output image -> Pair(4) -> Pair(8) -> flatten -> linear(3)
    }""")
    module = net.compile("torch").module
    for way in COPIES.values():
        copied = way(module)
        assert torch.equal(copied(torch.from_numpy(X[0])), module(torch.from_numpy(X[0])))
    derived = type("Derived", (type(module),), {})()
    assert type(copy.deepcopy(derived)) is type(derived)


# ----------------------------------------------------------------------------- what is assigned


def test_what_is_assigned_to_a_parameter_is_written_into_the_vector() -> None:
    model = fitted("numpy")
    bias = np.array([3.0, 2.0, 1.0])
    model.parameters["linear1.bias"] = bias
    np.testing.assert_array_equal(model.parameters["linear1.bias"], bias.astype("f4"))
    assert np.shares_memory(model.parameters["linear1.bias"], model.flat_parameters)
    model.parameters["linear1.bias"] += 1
    parameters = model.parameters
    parameters |= {"linear1.weight": np.zeros((3, 96), "f4")}
    parameters.update({"conv1.bias": np.ones(6, int)})
    assert parameters is model.parameters
    np.testing.assert_array_equal(model.forward(X[0]), np.tile(bias.astype("f4") + 1, (4, 1)))
    before = model.flat_parameters.copy()
    netspec.fit(model, DATA, epochs=1)
    assert not np.array_equal(model.parameters["linear1.bias"], bias + 1)  # it is trained
    model.flat_parameters = before
    assert np.shares_memory(model.parameters["linear1.bias"], model.flat_parameters)
    np.testing.assert_array_equal(model.flat_parameters, before)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("linear1.bias", np.zeros(4), r"has shape \[3\], not \[4\]"),
        ("linear1.bias", 0.0, r"has shape \[3\], not \[\]"),
        ("linear1.bias", np.zeros(3, complex), "holds float32 numbers, not complex128"),
        ("linear1.bias", ["a", "b", "c"], "holds float32 numbers"),
        ("batch_norm1.num_batches_tracked", np.array(1.5), "holds int64 numbers, not float64"),
        ("linear9.bias", np.zeros(3), "there is no parameter `linear9.bias`"),
    ],
)
def test_what_does_not_fit_a_parameter_is_refused(name, value, message) -> None:
    model = NET.compile()
    before = model.state_dict()
    with pytest.raises(netspec.NetspecError, match=message):
        model.parameters[name] = value
    assert same(list(before.values()), list(model.state_dict().values()))


def test_names_of_parameters_are_fixed() -> None:
    model = NET.compile()
    for change in (
        lambda p: p.pop("linear1.bias"),
        lambda p: p.popitem(),
        lambda p: p.clear(),
        lambda p: p.setdefault("more", np.zeros(1)),
        lambda p: p.__delitem__("linear1.bias"),
    ):
        with pytest.raises(TypeError, match="are fixed"):
            change(model.parameters)
    with pytest.raises(AttributeError):
        model.parameters = {}
    own = copy.deepcopy(model.parameters)  # a dict like any other
    own["more"] = np.zeros(1)
    assert not np.shares_memory(own["linear1.bias"], model.flat_parameters)


# ------------------------------------------------------------------------------- other processes


def answers_there(name: str, each: Any) -> list[Any]:
    return answers(name, each)


def trained_there(name: str, seed: int) -> list[np.ndarray]:
    """Make an object, and train it, in another process."""
    train = KINDS[name].train
    assert train is not None
    return train(KINDS[name].make(), seed)


@pytest.mark.filterwarnings("ignore:This process")  # that a process with threads forks is the point
@pytest.mark.parametrize("method", some_heavy(METHODS, ["spawn"]))  # half a minute
def test_other_processes_take_it_and_train_it(method: str) -> None:
    """Each object was used here before, with its threads."""
    names = [name for name in KINDS if method != "forkserver" or "Torch" not in name]  # slow there
    made = {name: KINDS[name].make() for name in names}
    expected = {name: answers(name, each) for name, each in made.items()}
    seeds = [(name, seed) for name in TRAINED if name in made for seed in (0, 1)]
    trained = [trained_there(*each) for each in seeds]
    with multiprocessing.get_context(method).Pool(2, share_out) as pool:
        taken = pool.starmap_async(answers_there, made.items()).get(300)
        found = pool.starmap_async(trained_there, seeds).get(300)
    for name, ours in zip(made, taken, strict=True):
        assert same(ours, expected[name]), name
    for (name, _), ours, theirs in zip(seeds, found, trained, strict=True):
        assert all(np.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in zip(ours, theirs)), name  # noqa: B905


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_methods_of_other_tools_are_told_where_they_are(target: str) -> None:
    if target == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    model = netspec.loads("net A { input x: [4]\n output x -> linear(3) }").compile(target)
    with pytest.raises(AttributeError, match=r"has no attribute 'save': netspec\.save_weights\("):
        model.save("a.safetensors")
    with pytest.raises(AttributeError, match=r"no attribute 'other'$"):
        _ = model.other
    assert not hasattr(model, "fit")
    assert copy.deepcopy(model).graph is not None


def test_a_history_asks_for_the_file_to_draw_to() -> None:
    model = netspec.loads(
        "net A { input x: [1, 8, 8]\n output x -> flatten -> linear(10) }"
    ).compile()
    history = netspec.fit(model, netspec.load_data("digits"), epochs=1, progress=False)
    with fails("usage/picture", "plot needs the file to draw to"):
        history.plot()
