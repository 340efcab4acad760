"""Training with PyTorch: the same run as with NumPy, and what only PyTorch can do."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset, load
from netspec.runtime.data.augment_draws import Augmentation, draw
from netspec.runtime.optim.optimizers import OPTIMIZERS
from tests.conftest import ROOT

torch = pytest.importorskip("torch")

from netspec.runtime.data.input_normalization import FITTED, Normalization  # noqa: E402
from netspec.runtime.models.pytorch import batches as feeds  # noqa: E402
from netspec.runtime.models.pytorch.augment import cut_out, shift_and_flip  # noqa: E402
from netspec.runtime.models.pytorch.device import Execution, choose_device, ordinary_errors  # noqa: E402
from netspec.runtime.models.pytorch.model import TorchModel  # noqa: E402
from netspec.runtime.models.pytorch.processes import ProcessGroup  # noqa: E402
from netspec.runtime.models.torch_build import build_module  # noqa: E402
from tests.helpers.errors import fails  # noqa: E402

CPU = torch.device("cpu")
# Every parameter, buffer and kind of sharing that training treats differently.
TINY = """
net Tiny(classes = 4) {
    input image: [3, 8, 8]
    layer twice = conv(4, 3, pad = 1, bias = false)

    output image
        -> stem: conv(4, 3, pad = 1) -> bn: batch_norm -> relu
        -> pre: conv(4, 3, pad = 1) -> relu -> twice -> bn2: batch_norm -> relu
        -> twice -> max_pool(2) -> flatten -> hidden: linear(8) -> relu -> fc: linear(classes)
}
"""


@pytest.fixture(autouse=True)
def few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(count=96, shape=(3, 8, 8), classes=4, tests=16, seed=0):
    """Make pictures that can be learnt: each class is brighter in a place of its own."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 150, (count + tests, *shape)).astype(np.uint8)
    y = rng.integers(0, classes, count + tests)
    for image, label in zip(x, y, strict=True):
        image[..., label * 2 : label * 2 + 2] += 100
    return Dataset("made", x[:count], y[:count], x[count:], y[count:], classes)


def both(net, dtype="float32", seed=0, **execution):
    """Return the net in NumPy and in PyTorch, with the same initial weights."""
    module = build_module(net, dtype=dtype, seed=seed)
    theirs = TorchModel(net.graph, module, Execution(CPU, **execution))
    return net.compile("numpy", dtype=dtype, seed=seed), theirs


def runs(net, data, dtype, **options):
    histories = [netspec.fit(model, data, **options) for model in both(net, dtype)]
    assert histories[0].learning_rates == histories[1].learning_rates
    return [np.array(history.loss_history) for history in histories]


# ------------------------------------------------------------------------------ the same as NumPy

# Losses, and what is added to them; the batches are uneven, and one more would be left alone.
VARIANTS = {
    "plain": {},
    "l2": {"l2": 1e-2},
    "svm": {"loss": "svm", "l2": 1e-3},
    "mse": {"loss": "mse"},
    "smooth-l1": {"loss": "smooth-l1", "loss_options": {"beta": 0.5}},
    "smoothing": {"loss_options": {"label_smoothing": 0.1}},
    "clipped": {"clip_norm": 0.5, "l2": 1e-2},
    "warm": {"warmup": 1, "schedule": "multi-step"},
}


@pytest.fixture(scope="module")
def digits():
    return load("digits", None, (1, 28, 28))


def test_an_output_without_a_slope_has_gradients_of_0(digits):
    net = netspec.loads(
        "net A {\ninput x: [1, 28, 28]\ny = x -> flatten -> linear(20) -> reshape([2, 10])\n"
        "output argmax(y, 1)\n}"
    )
    options = {"epochs": 1, "train_limit": 64, "optimizer": "adamw", "l2": 0.1, "batch": 32}
    ours, theirs = runs(net, digits, "float64", **options)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


CASES = [(optimizer, "plain") for optimizer in OPTIMIZERS] + [
    (optimizer, variant)
    for optimizer in ("momentum", "adam", "adamw")
    for variant in VARIANTS
    if variant != "plain"
]


@pytest.mark.parametrize(("optimizer", "variant"), CASES)
def test_lenet_has_the_losses_of_numpy(digits, optimizer, variant):
    options = {**VARIANTS[variant], "optimizer": optimizer, "epochs": 2}
    net = netspec.load(ROOT / "networks/lenet.net")
    ours, theirs = runs(net, digits, "float64", batch=16, train_limit=161, **options)
    assert len(ours) == 22
    assert np.abs(ours - theirs)[:20].max() < 1e-9


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_net_with_all_kinds_of_parameters_has_the_losses_of_numpy(optimizer):
    net = netspec.loads(TINY)
    options = {"optimizer": optimizer, "l2": 1e-2, "batch": 16, "epochs": 4, "lr": 1e-3}
    ours, theirs = runs(net, made(81), "float64", **options)
    assert np.abs(ours - theirs)[:20].max() < 1e-9


@pytest.mark.parametrize("name", ["lenet", "threelayer"])
def test_float32_has_the_losses_of_numpy(name):
    net = netspec.load(ROOT / f"networks/{name}.net")
    shape = next(iter(net.graph.inputs.values()))
    ours, theirs = runs(
        net, load("digits", None, shape), "float32", optimizer="sgd", batch=16, train_limit=160,
        epochs=2, l2=1e-3,
    )  # fmt: skip
    assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("name", ["threelayer"])
def test_threelayer_has_the_losses_of_numpy(name):
    net = netspec.load(ROOT / f"networks/{name}.net", hidden=20, filters=8)
    data = load("digits", None, (3, 32, 32))
    ours, theirs = runs(
        net, data, "float64", batch=8, train_limit=80, epochs=2, l2=2e-3, normalize="mean-image"
    )
    assert np.abs(ours - theirs).max() < 1e-9


def test_accuracies_and_buffers_are_those_of_numpy():
    net = netspec.loads(TINY)
    models = both(net, "float64")
    options = {"epochs": 3, "batch": 16, "val": 20, "lr": 1e-3}
    ours, theirs = (netspec.fit(model, made(), **options) for model in models)
    assert ours.train_acc_history == theirs.train_acc_history
    assert ours.val_acc_history == theirs.val_acc_history
    assert ours.test_acc_history == theirs.test_acc_history
    for name, array in models[0].state_dict().items():
        assert np.allclose(array, models[1].state_dict()[name], atol=1e-9), name
    x = ours.normalization.apply(made().x_test, "float64")
    assert np.allclose(models[0].forward(x), models[1].forward(x), atol=1e-9)


@pytest.mark.parametrize("normalize", FITTED)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "uint16", ">f8"])
def test_normalised_images_are_numpys_to_the_bit(normalize, dtype):
    x = made().x_train.astype(dtype)
    fitted = Normalization.fit(normalize, x)
    feed = feeds.make_feeds({"x": ({"image": x}, np.zeros(len(x), np.int64))}, CPU)["x"]
    order = np.random.default_rng(0).permutation(len(x))
    for kind in ("float32", "float64"):
        on_device = feeds.Normalizer(fitted, getattr(torch, kind), CPU)
        for part, (images, _) in zip(
            [slice(0, 7), slice(90, 96)],
            feed.batches(order, [slice(0, 7), slice(90, 96)]),
            strict=True,
        ):
            expected = fitted.apply(x[order[part]], kind)
            assert np.array_equal(on_device(images["image"]).numpy(), expected)


def test_streamed_batches_are_those_of_a_resident_data_set():
    data = made()
    order = np.random.default_rng(0).permutation(96)
    parts = [slice(0, 30), slice(30, 60), slice(60, 96)]
    found = [
        list(kind({"image": data.x_train}, data.y_train, CPU).batches(order, parts))
        for kind in (feeds.Resident, feeds.Streamed)
    ]
    for (x, y), (x2, y2), part in zip(*found, parts, strict=True):
        assert torch.equal(x["image"], x2["image"])
        assert torch.equal(y, y2)
        assert np.array_equal(x["image"].numpy(), data.x_train[order[part]])
    assert list(feeds.Streamed({"x": data.x_train}, data.y_train, CPU).batches(order, [])) == []


def test_unused_parameters_decay_as_in_numpy():
    text = """
    net Two() {
        input image: [6]
        x = image -> a: linear(5) -> relu
        output x -> b: linear(3)
        output features = x -> c: linear(2)
    }
    """
    net = netspec.loads(text)
    models = both(net, "float64")
    data = made(40, (6,), 3, 0)
    for model in models:
        netspec.fit(model, data, epochs=2, batch=8, l2=0.1, optimizer="momentum")
    for name, array in models[0].state_dict().items():
        assert np.allclose(array, models[1].state_dict()[name], atol=1e-12), name


# ----------------------------------------------------------------------------- weights cross over


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_weights_of_either_load_in_the_other(tmp_path, target):
    net = netspec.loads(TINY)
    numpy_model, torch_model = both(net, seed=1)
    trained, other = (numpy_model, torch_model) if target == "numpy" else (torch_model, numpy_model)
    out = tmp_path / "w.safetensors"
    history = netspec.fit(trained, made(), epochs=1, batch=32, out=out)
    weights = netspec.load_weights(out)
    assert list(weights.tensors) == sorted(net.graph.parameters)
    assert weights.normalization.to_json() == history.normalization.to_json()
    other.load_state_dict(weights.tensors)
    x = weights.normalization.apply(made().x_test, "float32")
    assert np.allclose(trained.forward(x), other.forward(x), atol=1e-5)


def test_equal_seeds_are_equal_bits(tmp_path):
    net = netspec.loads(TINY.replace("-> hidden", "-> dropout(0.5) -> hidden"))
    contents = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        _, model = both(net)
        options = {"augment": ["crop", "flip", "cutout"], "batch": 32, "epochs": 1}
        netspec.fit(model, made(), seed=seed, out=tmp_path / name, **options)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1] != contents[2]


# ------------------------------------------------------------------------------------ augmentation


def test_crop_and_flip_are_done_to_each_image_its_own_way():
    x = torch.from_numpy(made(40).x_train)
    drawn = draw(Augmentation(("crop", "flip")), 40, (8, 8), 0, 1)
    assert len({*map(tuple, drawn[:, :3])}) > 20
    assert set(drawn[:, 2]) == {0, 1}
    assert drawn[:, :2].min() == 0
    assert drawn[:, :2].max() == 8
    got = shift_and_flip(x, torch.from_numpy(drawn), Augmentation(("crop", "flip")))
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (4,) * 2, (4,) * 2))
    for image, source, (top, left, flipped, *_) in zip(got.numpy(), padded, drawn, strict=True):
        cropped = source[:, top : top + 8, left : left + 8]
        assert np.array_equal(image, cropped[:, :, ::-1] if flipped else cropped)


def test_flip_alone_pads_nothing():
    x = torch.from_numpy(made(20, (3, 6, 9)).x_train)
    drawn = draw(Augmentation(("flip",)), 20, (6, 9), 0, 1)
    got = shift_and_flip(x, torch.from_numpy(drawn), Augmentation(("flip",))).numpy()
    for image, source, flipped in zip(got, x.numpy(), drawn[:, 2], strict=True):
        assert np.array_equal(image, source[:, :, ::-1] if flipped else source)
    assert shift_and_flip(x, torch.from_numpy(drawn), Augmentation(("cutout",))) is x


def test_cutout_is_a_square_cut_at_the_edges():
    x = torch.ones(200, 2, 8, 8)
    drawn = draw(Augmentation(("cutout",)), 200, (8, 8), 0, 1)
    got = cut_out(x, torch.from_numpy(drawn), Augmentation(("cutout",))).numpy()
    for image, (*_, row, column) in zip(got, drawn, strict=True):
        expected = np.ones((8, 8))
        expected[max(row - 2, 0) : row + 2, max(column - 2, 0) : column + 2] = 0
        assert np.array_equal(image[0], expected)
        assert np.array_equal(image[1], expected)


def test_augmentation_is_the_epochs_own_and_needs_pictures():
    first, second = (draw(Augmentation(("crop",)), 9, (8, 8), 0, epoch) for epoch in (1, 2))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, draw(Augmentation(("crop",)), 9, (8, 8), 0, 1))
    numpy_model, torch_model = both(netspec.loads(TINY))
    with fails("train/bad-option", "did you mean `flip`"):
        netspec.fit(torch_model, made(), augment=["flipp"])
    with fails("train/bad-option", "did you mean `flip`"):
        netspec.fit(numpy_model, made(), augment=["flipp"])
    _, flat = both(netspec.loads("net A { input x: [192]\n output x -> linear(4) }"))
    with fails("train/bad-option", "needs pictures"):
        netspec.fit(flat, made(), augment=["flip"])


# ------------------------------------------------------------------------------- ways of running


@pytest.mark.parametrize(
    "execution",
    [
        {"channels_last": True},
        {"amp": "bf16"},
        {"amp": "bf16", "channels_last": True, "compiler": "eager"},
        {"compiler": "eager"},
    ],
    ids=str,
)
def test_ways_of_running_learn_the_same(execution):
    net = netspec.loads(TINY)
    plain, other = both(net)[1], both(net, **execution)[1]
    options = {"epochs": 4, "batch": 16, "val": 16, "lr": 5e-3, "l2": 1e-3, "clip_norm": 5.0}
    options["augment"] = ["crop", "flip", "cutout"]
    options["optimizer"] = "momentum"  # Adam makes large steps of rounding, which differs here
    expected, found = (netspec.fit(m, made(), **options).loss_history for m in (plain, other))
    tolerance = 0.1 if "amp" in execution else 1e-4
    assert np.abs(np.array(expected) - found).max() < tolerance
    if execution.get("channels_last"):
        assert other.module.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_fp16_scales_its_gradients():
    _, model = both(netspec.loads(TINY), amp="fp16")
    try:
        history = netspec.fit(model, made(), epochs=3, batch=16, lr=5e-3, clip_norm=1.0)
    except RuntimeError as error:  # not every CPU build has float16
        pytest.skip(str(error)[:80])
    assert history.loss_history[-1] < history.loss_history[0]


def test_mixed_precision_keeps_float32():
    with fails("train/bad-option", "float32"):
        both(netspec.loads(TINY), "float64", amp="bf16")
    with fails("train/bad-option", "did you mean `bf16`"):
        both(netspec.loads(TINY), amp="bf61")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with fails("train/bad-option", "no GPU.*--device cpu"):
        choose_device("cuda", ProcessGroup())
    assert choose_device("auto", ProcessGroup()) == CPU


def test_full_memory_and_a_failing_compiler_are_ordinary_errors():
    for error in (torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()):
        expected = fails("train/out-of-memory", "a step of 64 images.*--batch 32")
        with expected, ordinary_errors(64, None):
            raise error
    with fails("train/out-of-memory"), ordinary_errors(64, None):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
    with pytest.raises(RuntimeError, match="else"), ordinary_errors(64, "inductor"):
        raise RuntimeError("else")

    def no_compiler(module, inputs):
        raise RuntimeError("no compiler found")

    _, model = both(netspec.loads(TINY), compiler=no_compiler)
    with fails("train/bad-option", "torch.compile failed.*without --compile"):
        netspec.fit(model, made(), epochs=1)


def test_divergence_names_its_step():
    _, model = both(netspec.loads(TINY))
    with fails("train/diverged", r"at step \d+ \(epoch 1, learning rate 1e\+30\)"):
        netspec.fit(model, made(), optimizer="sgd", lr=1e30, schedule="constant", batch=16)


def test_a_batch_that_is_too_small():
    text = "net A { input x: [6]\n output x -> linear(4) -> batch_norm -> linear(3) }"
    _, model = both(netspec.loads(text))
    with fails("model/batch", "at least 2"):
        netspec.fit(model, made(9, (6,), 3, 0), batch=1)
    netspec.fit(model, made(9, (6,), 3, 0), batch=4, epochs=1)


def test_the_rest_of_a_division_is_named():
    text = "net A { input x: [6]\n output x -> linear(4) -> batch_norm -> linear(3) }"
    for model in both(netspec.loads(text)):
        with fails("model/batch", "3 images in batches of 2 leave a last batch of 1"):
            netspec.fit(model, made(3, (6,), 3, 0), batch=2)
        netspec.fit(model, made(3, (6,), 3, 0), batch=3, epochs=1)


def test_weights_that_are_no_numbers_are_told_before_the_input_is_blamed():
    text = "net A { input x: [6]\n output x -> linear(4) -> relu -> linear(3) }"
    for model in both(netspec.loads(text)):
        state = {name: np.array(array) for name, array in model.state_dict().items()}
        state["linear1.weight"][0, 0] = np.nan
        model.load_state_dict(state)
        with fails("train/diverged", "`linear1.weight` holds 1 NaN of 24 numbers") as error:
            netspec.fit(model, made(8, (6,), 3, 0), batch=4)
        assert "these may come from a run that diverged" in str(error.value)
        assert "normalise the input" not in str(error.value)


def test_a_loss_that_numpy_alone_has():
    class Own:
        def value_and_gradient(self, logits, targets, dlogits):
            dlogits[...] = 0
            return 0.0

    ours, theirs = both(netspec.loads(TINY))
    netspec.fit(ours, made(), loss=Own(), epochs=1)
    with fails("train/bad-option", "in_torch"):
        netspec.fit(theirs, made(), loss=Own(), epochs=1)
