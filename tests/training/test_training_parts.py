"""Losses, optimizers, schedules and the training loop, on a model small enough to write here."""

from __future__ import annotations

import math

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset, load
from netspec.runtime.data.batches import batch_slices, evaluation_batch
from netspec.runtime.data.input_normalization import FITTED
from netspec.runtime.models.measured import Judge
from netspec.runtime.models.numpy_steps import measured, numpy_training
from netspec.runtime.optim import rule
from netspec.runtime.optim.losses import (
    LOSSES_OF_CLASSES,
    MeanSquaredError,
    MulticlassHinge,
    SoftmaxCrossEntropy,
    make_loss,
)
from netspec.runtime.optim.lr_schedules import SCHEDULES, make_schedule, rates_of_run, warm_up
from netspec.runtime.optim.optimizers import OPTIMIZERS, clip, make_optimizer
from netspec.runtime.training.fit import fit
from tests.helpers.errors import fails
from tests.helpers.members import weights_first

RNG = np.random.default_rng(0)


# ----------------------------------------------------------------------------------------- losses

SAMPLES = [
    SoftmaxCrossEntropy(),
    SoftmaxCrossEntropy(label_smoothing=0.1),
    SoftmaxCrossEntropy(label_smoothing=1.0),
    MulticlassHinge(),
    MulticlassHinge(delta=0.3),
    MeanSquaredError(),
]


@pytest.mark.parametrize("loss", SAMPLES, ids=str)
def test_gradients_are_those_of_the_values(loss):
    logits, targets = RNG.normal(size=(6, 5)), RNG.integers(0, 5, 6)
    gradient = np.empty_like(logits)
    value = loss.value_and_gradient(logits, targets, gradient)
    assert value == loss.value(logits, targets)
    h = 1e-6
    for i, k in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[i, k] = h
        numeric = (loss.value(logits + step, targets) - loss.value(logits - step, targets)) / (
            2 * h
        )
        assert abs(numeric - gradient[i, k]) < 1e-8
    in_place = logits.copy()
    loss.value_and_gradient(in_place, targets, in_place)
    assert np.array_equal(in_place, gradient)


def test_losses_by_hand():
    logits = np.array([[1.0, 2.0, 3.0], [1000.0, 0.0, -1000.0]], np.float32)
    targets = np.array([0, 0])
    expected = (math.log(1 + math.e + math.e**2) + 0.0) / 2
    assert SoftmaxCrossEntropy().value(logits, targets) == pytest.approx(expected, rel=1e-6)
    assert MulticlassHinge().value(logits, targets) == pytest.approx((2 + 3 + 0 + 0) / 2)
    uniform = np.zeros((4, 10))
    assert SoftmaxCrossEntropy().value(uniform, np.arange(4)) == pytest.approx(math.log(10))
    assert MulticlassHinge().value(uniform, np.arange(4)) == pytest.approx(9)


@pytest.mark.parametrize("loss", SAMPLES, ids=str)
def test_losses_in_pytorch_are_the_same(loss):
    torch = pytest.importorskip("torch")
    logits, targets = RNG.normal(size=(6, 5)), RNG.integers(0, 5, 6)
    x = torch.tensor(logits, requires_grad=True)
    value = loss.in_torch(x, torch.tensor(targets))
    value.backward()
    gradient = np.empty_like(logits)
    assert loss.value_and_gradient(logits, targets, gradient) == pytest.approx(value.item())
    assert np.allclose(gradient, x.grad.numpy(), atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_softmax_is_pytorchs(smoothing):
    torch = pytest.importorskip("torch")
    logits, targets = RNG.normal(size=(6, 5)), RNG.integers(0, 5, 6)
    x = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        x, torch.tensor(targets), label_smoothing=smoothing
    )
    expected.backward()
    gradient = np.empty_like(logits)
    loss = SoftmaxCrossEntropy(label_smoothing=smoothing)
    assert loss.value_and_gradient(logits, targets, gradient) == pytest.approx(expected.item())
    assert np.allclose(gradient, x.grad.numpy(), atol=1e-14)


@pytest.mark.parametrize("name", LOSSES_OF_CLASSES)
def test_losses_check_their_targets_and_keep_nan(name):
    loss = make_loss(name)
    logits = np.zeros((3, 4), np.float32)
    for targets in (np.zeros(3), np.zeros(2, int), np.zeros((3, 1), int)):
        with fails("data/shape", "targets"):
            loss.value(logits, targets)
    for wrong in (-1, 4):
        with fails("data/bad-file", "targets run"):
            loss.value(logits, np.array([0, 1, wrong]))
    logits[1, 2] = np.nan
    assert math.isnan(loss.value(logits, np.array([0, 1, 2])))


def test_loss_names_and_options():
    assert make_loss("softmax", label_smoothing=0.2) == SoftmaxCrossEntropy(label_smoothing=0.2)
    with fails("train/bad-option", "did you mean `softmax`"):
        make_loss("softmaks")
    with fails("train/bad-option", "did you mean `label_smoothing`"):
        make_loss("softmax", label_smothing=0.2)
    with fails("train/bad-option", "between 0 and 1"):
        make_loss("softmax", label_smoothing=2)


# ------------------------------------------------------------------------------------- optimizers


def run_five_steps(name, dtype=np.float64, size=7, **options):
    """Return the parameters after five steps with fixed gradients. Odd steps use another rate."""
    generator = np.random.default_rng(1)
    p = generator.normal(size=size).astype(dtype)
    gradients = generator.normal(size=(5, size)).astype(dtype)
    g = np.empty_like(p)
    optimizer = make_optimizer(name, p, g, weights_first(4, size), **options)
    for i in range(5):
        g[...] = gradients[i]
        optimizer.step(0.1 / (1 + i % 2))
        assert np.array_equal(g, gradients[i])
    return p


PYTORCH = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
}
# Variants by their options, and PyTorch's.
VARIANTS = [
    ("momentum", {"dampening": 0.3}, {"momentum": 0.9, "dampening": 0.3}),
    ("rmsprop", {"centered": True}, {"centered": True}),
    ("adam", {"amsgrad": True}, {"amsgrad": True}),
    ("adamw", {"amsgrad": True, "weight_decay": 0.1}, {"amsgrad": True}),
]
CASES = [(name, {}, PYTORCH[name][1]) for name in PYTORCH] + VARIANTS


@pytest.mark.parametrize(("name", "ours", "options"), CASES)
def test_five_steps_are_pytorchs(name, ours, options):
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(1)
    start, gradients = generator.normal(size=7), generator.normal(size=(5, 7))
    decayed = torch.tensor(start[:4], requires_grad=True)
    spared = torch.tensor(start[4:], requires_grad=True)
    class_name = PYTORCH[name][0]
    groups = [{"params": [decayed]}, {"params": [spared]}]
    if name == "adamw":
        decay = ours.get("weight_decay", 0.01)
        groups = [{**groups[0], "weight_decay": decay}, {**groups[1], "weight_decay": 0.0}]
    reference = getattr(torch.optim, class_name)(groups, lr=0.1, **options)
    for i in range(5):
        decayed.grad, spared.grad = torch.tensor(gradients[i, :4]), torch.tensor(gradients[i, 4:])
        for group in reference.param_groups:
            group["lr"] = 0.1 / (1 + i % 2)
        reference.step()
    expected = np.concatenate([decayed.detach().numpy(), spared.detach().numpy()])
    assert np.abs(run_five_steps(name, **ours) - expected).max() < 1e-12


def test_clipping_is_pytorchs():
    for norm in (0.5, 100.0):
        g = RNG.normal(size=9)
        before = g.copy()
        clip(g, norm)
        assert np.allclose(g, before * min(1, norm / (np.linalg.norm(before) + 1e-6)))
        torch = pytest.importorskip("torch")
        p = torch.zeros(9, dtype=torch.float64, requires_grad=True)
        p.grad = torch.tensor(before)
        torch.nn.utils.clip_grad_norm_([p], norm)
        assert np.allclose(p.grad.numpy(), g, atol=1e-15)


def by_the_formula(name, p, gradients, lrs):
    """Apply the update rules as textbooks print them, for machines without torch."""
    p, v, m = p.copy(), np.zeros_like(p), np.zeros_like(p)
    for t, (g, lr) in enumerate(zip(gradients, lrs, strict=True), 1):
        if name == "sgd":
            p = p - lr * g
        elif name in ("momentum", "nesterov"):
            v = 0.9 * v + g
            p = p - lr * (v if name == "momentum" else g + 0.9 * v)
        elif name == "rmsprop":
            v = 0.99 * v + 0.01 * g**2
            p = p - lr * g / (np.sqrt(v) + 1e-8)
        elif name == "lamb":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            u = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6)
            u[:4] += 0.01 * p[:4]
            u[:4] *= np.linalg.norm(p[:4]) / np.linalg.norm(u[:4])
            p = p - lr * u
        elif name == "lion":
            p = p - lr * np.sign(0.9 * m + 0.1 * g)
            m = 0.99 * m + 0.01 * g
        else:
            if name in ("adamw", "muon"):  # of vectors muon's rule is adamw's
                p[:4] *= 1 - lr * 0.01
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            p = p - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return p


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_five_steps_are_the_formulas(name):
    generator = np.random.default_rng(1)
    start, gradients = generator.normal(size=7), generator.normal(size=(5, 7))
    expected = by_the_formula(name, start, gradients, [0.1, 0.05, 0.1, 0.05, 0.1])
    assert np.abs(run_five_steps(name) - expected).max() < 1e-12


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_blocks_change_nothing_and_float32_stays(name, monkeypatch):
    whole = run_five_steps(name, np.float32, size=23)
    monkeypatch.setattr(rule, "BLOCK", 5)
    blocks = run_five_steps(name, np.float32, size=23)
    if name == "lamb":  # its norms are sums over blocks
        np.testing.assert_allclose(whole, blocks, rtol=1e-5)
    else:
        assert np.array_equal(whole, blocks)
    assert whole.dtype == np.float32


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_taken_up_again_goes_on_alike(name):
    p, g = RNG.normal(size=9), RNG.normal(size=9)
    straight, broken = p.copy(), p.copy()
    first = make_optimizer(name, straight, g, weights_first(3, 9))
    for _ in range(4):
        first.step(0.1)
    before = make_optimizer(name, broken, g, weights_first(3, 9))
    for _ in range(2):
        before.step(0.1)
    after = make_optimizer(name, broken, g, weights_first(3, 9))
    after.load_state(before.state())
    for _ in range(2):
        after.step(0.1)
    assert np.array_equal(straight, broken)
    with fails("train/bad-option", "does not fit"):
        after.load_state({"steps": np.array(1), "other": np.zeros(9)})


def test_optimizer_names_and_options():
    p = np.zeros(3)
    with fails("train/bad-option", "did you mean `adam`"):
        make_optimizer("adm", p, p)
    with fails("train/bad-option", "momentum option of nesterov|optimizer option of nesterov"):
        make_optimizer("nesterov", p, p, momentun=0.5)
    with fails("train/bad-option", "has no options"):
        make_optimizer("sgd", p, p, momentum=0.5)
    for name, options in (
        ("momentum", {"momentum": 1.0}),
        ("adam", {"beta2": -0.1}),
        ("adam", {"eps": math.nan}),
        ("adamw", {"weight_decay": -1}),
    ):
        with fails("train/bad-option", "must be at least 0"):
            make_optimizer(name, p, p, **options)


# -------------------------------------------------------------------------------------- schedules


def rates(name, steps=12, per_epoch=2, **options):
    schedule = make_schedule(name, 1.0, steps, per_epoch, **options)
    return [schedule(step) for step in range(steps + 1)]


def test_schedules_by_hand():
    assert rates("constant") == [1.0] * 13
    cosine = rates("cosine")
    assert cosine[0] == 1.0
    assert cosine[6] == pytest.approx(0.5)
    assert cosine[12] == 0.0
    assert rates("cosine", minimum=0.2)[12] == pytest.approx(0.2)
    assert rates("step") == pytest.approx([1] * 4 + [0.1] * 4 + [0.01] * 4 + [0.001])
    assert rates("step", every=3, gamma=0.5) == pytest.approx([1] * 6 + [0.5] * 6 + [0.25])
    assert rates("multi-step") == pytest.approx([1] * 6 + [0.1] * 3 + [0.01] * 4)
    assert rates("multi-step", milestones=[1, 2]) == pytest.approx([1] * 2 + [0.1] * 2 + [0.01] * 9)
    assert rates("exponential", gamma=0.5)[:5] == [1, 1, 0.5, 0.5, 0.25]
    warm = warm_up(make_schedule("constant", 1.0, 12, 2), 4)
    assert [warm(step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_warm_up_reaches_the_rate_before_anything_falls(name):
    _, warm = rates_of_run(name, 1.0, 12, 2, 2)
    bare = make_schedule(name, 1.0, 12 if name == "multi-step" else 8, 2)
    rise = [warm(step) for step in range(5)]
    assert rise == pytest.approx([bare(0) * share for share in (0.25, 0.5, 0.75, 1.0, 1.0)])
    if name != "multi-step":
        assert [warm(4 + step) for step in range(9)] == [bare(step) for step in range(9)]


def test_milestones_and_functions_of_ones_own_count_the_runs_steps():
    _, warm = rates_of_run("multi-step", 1.0, 12, 2, 1, milestones=[2, 4])
    assert [warm(step) for step in range(9)] == pytest.approx([0.5, 1, 1, 1] + [0.1] * 4 + [0.01])
    _, own = rates_of_run(lambda step: 10.0 + step, 1.0, 12, 2, 1)
    assert [own(step) for step in range(4)] == [5.0, 11.0, 12.0, 13.0]


def test_a_warm_up_longer_than_the_run():
    _, warm = rates_of_run("cosine", 1.0, 4, 2, 3)
    assert [warm(step) for step in range(4)] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6])


def test_cosine_is_pytorchs():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12)
    expected = []
    for _ in range(13):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates("cosine") == pytest.approx(expected, abs=1e-12)


# Schedules of PyTorch: its class, our options, and those of its class for 12 steps, 2 an epoch.
THEIRS = [
    ("cosine", {"minimum": 0.2}, "CosineAnnealingLR", {"T_max": 12, "eta_min": 0.2}),
    ("cosine-restarts", {}, "CosineAnnealingWarmRestarts", {"T_0": 4}),
    (
        "cosine-restarts",
        {"cycle": 1, "multiply": 2, "minimum": 0.1},
        "CosineAnnealingWarmRestarts",
        {"T_0": 2, "T_mult": 2, "eta_min": 0.1},
    ),
    ("linear", {"minimum": 0.25}, "LinearLR",
     {"start_factor": 1.0, "end_factor": 0.25, "total_iters": 12}),
    ("polynomial", {}, "PolynomialLR", {"total_iters": 12, "power": 2.0}),
    ("polynomial", {"power": 0.5}, "PolynomialLR", {"total_iters": 12, "power": 0.5}),
    ("one-cycle", {}, "OneCycleLR", {"max_lr": 1.0, "total_steps": 12}),
    (
        "one-cycle",
        {"rise": 0.5, "start_divisor": 10.0, "final_divisor": 100.0},
        "OneCycleLR",
        {"max_lr": 1.0, "total_steps": 12, "pct_start": 0.5, "div_factor": 10.0,
         "final_div_factor": 100.0},
    ),
    ("cyclic", {}, "CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 2}),
    ("cyclic", {"cycle": 3, "minimum": 0.5}, "CyclicLR",
     {"base_lr": 0.5, "max_lr": 1.0, "step_size_up": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "theirs", "their_options"), THEIRS)
def test_schedules_are_pytorchs(name, options, theirs, their_options):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    reference = getattr(torch.optim.lr_scheduler, theirs)(optimizer, **their_options)
    expected = []
    for _ in range(12):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(name, **options)[:12] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_the_plateau_is_pytorchs(patience):
    torch = pytest.importorskip("torch")
    scores = np.random.default_rng(patience).integers(0, 12, 40).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, "max", factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    ours = make_schedule("plateau", 1.0, 80, 2, gamma=0.5, patience=patience)
    for count, score in enumerate(scores, 1):
        reference.step(score)
        ours.follow(scores[:count])
        assert ours(2 * count) == optimizer.param_groups[0]["lr"]
    assert ours(0) < 1


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_of_the_shortest_run(name):
    assert make_schedule(name, 0.1, 1, 1)(0) == (0.01 if name == "cyclic" else 0.1)


def test_schedule_errors():
    with fails("train/bad-option", "did you mean `cosine`"):
        rates("cosin")
    for name, options in (
        ("step", {"every": 0}),
        ("step", {"gamma": 0}),
        ("multi-step", {"milestones": [-1]}),
        ("exponential", {"gamma": 2}),
        ("cosine", {"minimum": 2}),
        ("constant", {"gamma": 1}),
    ):
        with fails("train/bad-option"):
            rates(name, **options)
    with fails("train/bad-option", "warm-up"):
        warm_up(lambda step: 1.0, -1)


# ---------------------------------------------------------------------------------------- trainer


class LinearSoftmax:
    """scores = x W + b, without randomness such as dropout's."""

    def __init__(self, input_shape, classes, dtype=np.float32):
        self.input_shape, self.classes, self.dtype = input_shape, classes, np.dtype(dtype)
        flat = "flatten -> " if len(input_shape) > 1 else ""
        text = f"net L() {{ input x: {[*input_shape]}\n output x -> {flat}linear({classes}) }}"
        self.graph = netspec.loads(text).graph
        self.features = math.prod(input_shape)
        self.count = self.features * classes
        self.flat_parameters = np.zeros(self.count + classes, dtype)
        self.members = weights_first(self.count, self.count + classes)
        self.flat_gradients = np.zeros_like(self.flat_parameters)
        self.seeds, self.batches = [], []

    def parts(self, flat):
        return flat[: self.count].reshape(self.features, -1), flat[self.count :]

    def forward(self, x):
        weight, bias = self.parts(self.flat_parameters)
        return x.reshape(len(x), -1) @ weight + bias

    scores = forward

    def gradients_(self, x, y, *, loss, l2):
        assert x.dtype == self.dtype
        assert x.shape[1:] == self.input_shape
        self.batches.append(len(x))
        scores = self.forward(x)
        value = loss.value_and_gradient(scores, y, scores)
        weight, _ = self.parts(self.flat_parameters)
        dweight, dbias = self.parts(self.flat_gradients)
        np.matmul(x.reshape(len(x), -1).T, scores, out=dweight)
        dweight += l2 * weight
        scores.sum(axis=0, out=dbias)
        return value + 0.5 * l2 * float((weight**2).sum())

    def reseed(self, seed):
        self.seeds.append(seed)

    def training(self, job):
        return numpy_training(self, job)

    def state_dict(self):
        return {"all": self.flat_parameters.copy()}

    def load_state_dict(self, state):
        self.flat_parameters[...] = state["all"]


@pytest.fixture(scope="module")
def digits():
    return load("digits", None, (1, 8, 8))


@pytest.mark.parametrize("loss", LOSSES_OF_CLASSES)
def test_training_learns_the_digits(digits, loss):
    model = LinearSoftmax((1, 8, 8), 10)
    history = fit(model, digits, epochs=5, lr=1e-2, val=100, loss=loss, l2=1e-4)
    assert history.test_acc_history[-1] > 0.93
    assert history.loss_history[-1] < history.loss_history[0] / (
        3 if loss in ("mse", "smooth-l1") else 5
    )
    steps = 5 * math.ceil(1337 / 64)
    assert len(history.loss_history) == len(history.learning_rates) == steps
    for values in (
        history.train_acc_history,
        history.val_acc_history,
        history.epoch_seconds,
        history.images_per_second,
    ):
        assert len(values) == 5
    assert history.learning_rates[0] == 1e-2
    assert 0 < history.learning_rates[-1] < 1e-5
    assert model.seeds == [0]
    found = measured(
        model,
        digits.x_test,
        digits.y_test,
        history.normalization,
        128,
        Judge(SoftmaxCrossEntropy()),
    )
    assert [found.accuracy] == history.test_acc_history


@pytest.mark.parametrize("normalize", FITTED)
def test_equal_seeds_are_equal_bits(digits, normalize):
    def weights(seed):
        model = LinearSoftmax((64,), 10)
        fit(model, digits, epochs=2, seed=seed, lr=1e-4, normalize=normalize, train_limit=300)
        return model.flat_parameters

    assert np.array_equal(weights(3), weights(3))
    assert not np.array_equal(weights(3), weights(4))


def made(count, shape=(2,), dtype=np.float64, tests=0):
    x = np.random.default_rng(5).normal(size=(count + tests, *shape)).astype(dtype)
    y = np.arange(count + tests) % 3
    return Dataset("made", x[:count], y[:count], x[count:], y[count:], 3)


def test_validation_images_are_the_last_and_never_trained_on():
    data = made(20)
    data.x_train[15:] = 1e6  # would show in the normalisation and in the weights
    model = LinearSoftmax((2,), 3, np.float64)
    history = fit(model, data, epochs=1, batch=4, val=5, train_limit=8)
    assert np.allclose(history.normalization.mean, data.x_train[:8].mean(axis=0), atol=1e-6)
    assert model.batches == [4, 4]
    assert len(history.val_acc_history) == 1
    assert history.test_acc_history == []


def test_every_image_is_used_once_an_epoch_in_a_new_order():
    seen: list[np.ndarray] = []

    class Watching(LinearSoftmax):
        def gradients_(self, x, y, *, loss, l2):
            seen.append(x[:, 0].copy())
            return super().gradients_(x, y, loss=loss, l2=l2)

    data = made(10, dtype=np.float32)
    fit(Watching((2,), 3), data, epochs=2, batch=3, normalize="none")
    first, second = np.concatenate(seen[:4]), np.concatenate(seen[4:])
    assert np.array_equal(np.sort(first), np.sort(data.x_train[:, 0]))
    assert np.array_equal(np.sort(second), np.sort(first))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("count", "batch", "sizes"),
    [
        (10, 4, [4, 4, 2]),
        (9, 4, [4, 3, 2]),
        (8, 4, [4, 4]),
        (4, 3, [2, 2]),
        (3, 2, [2, 1]),
        (2, 1, [1, 1]),
        (1, 4, [1]),
        (3, 9, [3]),
    ],
)
def test_batches(count, batch, sizes):
    slices = batch_slices(count, batch)
    assert [part.stop - part.start for part in slices] == sizes
    assert np.concatenate([np.arange(count)[part] for part in slices]).tolist() == [*range(count)]


@pytest.mark.parametrize(
    ("batch", "shape", "images"),
    [
        (8, (784,), 128),
        (500, (784,), 500),
        (64, (3, 96, 96), 128),
        (8, (3, 224, 224), 27),
        (64, (3, 224, 224), 64),
        (1, (3, 4000, 4000), 1),
    ],
)
def test_accuracies_take_fewer_large_images_at_a_time(batch, shape, images):
    assert evaluation_batch(batch, math.prod(shape)) == images


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_accuracies_are_computed_in_such_batches(target):
    if target == "torch":
        pytest.importorskip("torch")
    shape = (1, 600, 600)  # of which 11 are enough
    data = made(30, shape, np.float32, tests=13)
    layers = "avg_pool(8) -> avg_pool(5) -> flatten -> linear(3)"
    text = f"net L() {{ input x: [1, 600, 600]\n output x -> {layers} }}"
    model = netspec.loads(text).compile(target)
    seen = []
    if target == "torch":
        hook = lambda module, given, out: seen.append((len(given[0]), module.training))  # noqa: E731
        model.module.register_forward_hook(hook)
    else:
        scores = model.scores
        model.scores = lambda x: seen.append((len(x), False)) or scores(x)
    fit(model, data, epochs=1, batch=5, normalize="none")
    sizes = [count for count, training in seen if not training]
    assert sizes == [11, 11, 8, 11, 2]


def test_l2_reaches_weights_and_adamw_decays_them(digits):
    def size(**options):
        model = LinearSoftmax((1, 8, 8), 10)
        fit(model, digits, epochs=3, lr=1e-2, **options)
        return np.abs(model.flat_parameters[: model.count]).sum()

    plain = size()
    assert size(l2=0.1) < plain * 0.8
    decays = {"optimizer": "adamw", "optimizer_options": {"weight_decay": 5.0}}
    assert size(**decays) < plain / 1.5


def test_divergence_is_an_ordinary_error(digits):
    text = "net L() { input x: [1, 8, 8]\n output x -> flatten -> linear(10) }"
    model = netspec.loads(text).compile()
    with fails("train/diverged", "step .*lower the learning rate"):
        fit(model, digits, optimizer="sgd", lr=1e38, schedule="constant", normalize="none")


@pytest.mark.parametrize(("kind", "advised"), [("none", "normalise the input"), ("channel", "")])
def test_divergence_advises_what_is_not_done_yet(digits, kind, advised):
    text = "net L() { input x: [1, 8, 8]\n output x -> flatten -> linear(10) }"
    model = netspec.loads(text).compile()
    with fails("train/diverged", advised) as raised:
        fit(model, digits, optimizer="sgd", lr=1e38, schedule="constant", normalize=kind)
    assert bool(advised) == ("normalise the input" in str(raised.value))


def test_progress_is_a_line_an_epoch_off_a_terminal(capsys):
    calls = []
    history = fit(
        LinearSoftmax((2,), 3),
        made(9, tests=3),
        epochs=2,
        progress=True,
        on_epoch=lambda epoch, history: calls.append((epoch, len(history.train_acc_history))),
    )
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("epoch 2/2  loss ")
    assert f"train {history.train_acc_history[1]:.2%}" in lines[1]
    assert "images/s" in lines[1]
    assert lines[2] == f"test {history.test_acc_history[0]:.2%} with the weights of epoch 2"
    assert calls == [(1, 1), (2, 2)]


def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    fit(LinearSoftmax((2,), 3), made(9), epochs=1, progress=True)
    err = capsys.readouterr().err
    assert "epoch 1/1" in err
    assert "0% |" in err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1 on"),
        ({"epochs": 1.5}, "epochs"),
        ({"epochs": True}, "epochs"),
        ({"batch": 0}, "batch"),
        ({"batch": "64"}, "batch"),
        ({"seed": -1}, "seed"),
        ({"val": -1}, "val"),
        ({"val": 9}, "val = 9"),
        ({"train_limit": 0}, "train_limit"),
        ({"warmup": -1}, "warmup"),
        ({"lr": 0.0}, "learning rate"),
        ({"lr": math.nan}, "learning rate"),
        ({"lr": "1e-3"}, "learning rate"),
        ({"l2": -1.0}, "l2"),
        ({"l2": math.inf}, "l2"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"loss_options": {"smoothing": 0.1}}, "loss option of softmax"),
        ({"optimizer": "adan"}, "did you mean `adam"),
        ({"schedule": "cosinus"}, "did you mean `cosine`"),
        ({"loss": "sofmax"}, "did you mean `softmax`"),
        ({"normalize": "mean_image"}, "did you mean `mean-image`"),
        ({"optimizer_options": {"momentum": 0.9}}, "optimizer option of adam"),
        ({"optimizer_options": {"beta1": "0.9"}}, "beta1"),
        ({"schedule_options": {"gamma": 0.9}}, "schedule option of cosine"),
        ({"schedule_options": {"lr": 0.9}}, "schedule option of cosine"),
    ],
)
def test_options_out_of_range(options, part):
    with fails("train/bad-option", part):
        fit(LinearSoftmax((2,), 3), made(9), **options)


def test_data_that_do_not_fit():
    with fails("data/shape", r"\[2\].*\[5\]"):
        fit(LinearSoftmax((5,), 3), made(9))
    with fails("data/shape", "3 classes.*2 outputs"):
        fit(LinearSoftmax((2,), 2), made(9))
