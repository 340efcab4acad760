"""Classes that count more than others: in a loss, in the choice of images, and in what is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.data.batches import balanced_chances, epoch_order
from netspec.runtime.models import numpy_steps
from netspec.runtime.models.confusions import Confusions
from netspec.runtime.models.evaluation import Evaluation
from netspec.runtime.optim.class_weights import balanced
from netspec.runtime.optim.losses import FocalLoss, SoftmaxCrossEntropy
from tests.conftest import Run, Write
from tests.helpers.errors import fails

NET = "net N {\ninput x: [6]\nh = x -> a: linear(5) -> tanh\noutput h -> b: linear(3)\n}"
MAP = "net M {\ninput x: [2, 4, 4]\noutput x -> a: conv(3, 3, pad = 1)\n}"
WEIGHTS = [0.5, 2.0, 3.0]


def data(count: int = 50) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 6))
    y = (x[:, 0] > 0.3).astype(int) + (x[:, 2] > 1)
    return Dataset("made", x[:-10], y[:-10], x[-10:], y[-10:], 3)


def fitted(backend: str, made: Dataset, net: str = NET, **options: Any) -> tuple[Any, Any]:
    if backend == "torch":
        pytest.importorskip("torch")
    model = netspec.loads(net).compile(backend, dtype="float64", seed=1)
    chosen: dict[str, Any] = {
        "epochs": 10, "batch": 8, "normalize": "none", "schedule": "constant", "optimizer": "sgd",
        "lr": 0.1, "progress": False,
    }  # fmt: skip
    return model, netspec.fit(model, made, **{**chosen, **options})


def plain_loop(loss: Any, made: Dataset, chances: Any = None) -> list[float]:
    """Return the losses of 50 steps of the net as one writes it in PyTorch."""
    torch = pytest.importorskip("torch")
    state = netspec.loads(NET).compile(dtype="float64", seed=1).state_dict()
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(6, 5), "b": torch.nn.Linear(5, 3)}).double()
    module.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    rule, losses = torch.optim.SGD(module.parameters(), lr=0.1), []
    for epoch in range(1, 11):
        order = epoch_order(40, 0, epoch, chances)
        for start in range(0, 40, 8):
            part = order[start : start + 8]
            scores = module["b"](torch.tanh(module["a"](torch.tensor(made.x_train[part]))))
            value = loss(scores, torch.tensor(made.y_train[part]))
            rule.zero_grad()
            value.backward()
            rule.step()
            losses.append(value.item())
    return losses


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_weights_of_classes_are_pytorchs(backend: str, smoothing: float, accumulate: int) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.CrossEntropyLoss(
        weight=torch.tensor(WEIGHTS, dtype=torch.float64), label_smoothing=smoothing
    )
    options = {"class_weights": WEIGHTS, "label_smoothing": smoothing}
    _, history = fitted(backend, data(), loss_options=options, accumulate=accumulate)
    np.testing.assert_allclose(history.loss_history, plain_loop(theirs, data()), atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("weights", [[], WEIGHTS])
@pytest.mark.parametrize("gamma", [1.0, 2.5])
def test_the_focal_loss_is_its_papers(backend: str, weights: list[float], gamma: float) -> None:
    torch = pytest.importorskip("torch")

    def theirs(scores: Any, labels: Any) -> Any:
        p = scores.softmax(1)[torch.arange(len(labels)), labels]
        of_class = torch.tensor(weights or [1.0] * 3, dtype=torch.float64)[labels]
        return -(of_class * (1 - p) ** gamma * p.log()).sum() / of_class.sum()

    options = {"class_weights": weights, "focal_gamma": gamma}
    _, history = fitted(backend, data(), loss="focal", loss_options=options)
    np.testing.assert_allclose(history.loss_history, plain_loop(theirs, data()), atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_images_are_drawn_so_that_classes_are_as_likely(backend: str) -> None:
    torch = pytest.importorskip("torch")
    made = data()
    counts = np.bincount(made.y_train)
    assert counts.max() > 2 * counts.min()
    chances = balanced_chances(made.y_train)
    np.testing.assert_allclose([chances[made.y_train == k].sum() for k in range(3)], 1 / 3)
    drawn = made.y_train[np.concatenate([epoch_order(40, 0, e, chances) for e in range(1, 200)])]
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), 1 / 3, atol=0.02)
    _, history = fitted(backend, made, sample="balanced")
    losses = plain_loop(torch.nn.CrossEntropyLoss(), made, chances)
    np.testing.assert_allclose(history.loss_history, losses, atol=1e-6)


def test_an_image_that_is_drawn_twice_is_changed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (24, 1, 12, 12)).astype(np.uint8)
    y = np.array([0] * 20 + [1] * 2 + [2] * 2)
    made = Dataset("made", x, y, x[:4], y[:4], 3)
    seen: list[np.ndarray] = []
    changed = numpy_steps.shift_and_flip

    def spy(pictures: Any, drawn: Any, kinds: Any) -> Any:
        found = changed(pictures, drawn, kinds)
        seen.extend(found)
        return found

    monkeypatch.setattr(numpy_steps, "shift_and_flip", spy)
    net = "net A { input x: [1, 12, 12]\n output x -> flatten -> linear(3) }"
    options: dict[str, Any] = {
        "epochs": 2,
        "batch": 8,
        "augment": ("crop", "flip"),
        "progress": False,
    }
    histories = [
        netspec.fit(
            netspec.loads(net).compile(b, dtype="float64"), made, sample="balanced", **options
        )
        for b in ("numpy", "torch")
    ]
    np.testing.assert_allclose(*(h.loss_history for h in histories), rtol=1e-9)
    order = epoch_order(24, 0, 1, balanced_chances(y))
    assert len({*order.tolist()}) < 18
    # As many different pictures as draws: the same one is never cut alike (81 crops, two sides).
    assert len({picture.tobytes() for picture in seen[:24]}) > 21


@pytest.mark.parametrize("loss", ["softmax", "focal"])
def test_places_of_a_map_are_balanced_alike_in_both_backends(loss: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 2, 4, 4)), rng.integers(0, 3, (20, 4, 4))
    y[rng.random(y.shape) < 0.5] = 0
    y[rng.random(y.shape) < 0.2] = -100
    made = Dataset("maps", x, y, x, y, 3)
    options = {"loss": loss, "loss_options": {"class_weights": "balanced"}, "accumulate": 2}
    (_, ours), (_, theirs) = (fitted(b, made, MAP, **options) for b in ("numpy", "torch"))
    np.testing.assert_allclose(ours.loss_history, theirs.loss_history, atol=1e-9)
    _, plain = fitted("numpy", made, MAP, loss=loss)
    assert abs(plain.loss_history[0] - ours.loss_history[0]) > 1e-4


def test_balanced_weights() -> None:
    labels = np.array([[0, 0, 0], [2, -100, 0]])
    assert balanced(labels, 4) == (5 / (2 * 4), 1.0, 5 / (2 * 1), 1.0)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy, FocalLoss])
def test_a_batch_whose_classes_weigh_nothing_has_no_slope(loss: Any) -> None:
    chosen = loss(class_weights=[0.0, 1.0])
    scores, slope = np.array([[1.0, 2.0]]), np.ones((1, 2))
    assert chosen.value_and_gradient(scores, np.array([0]), slope) == 0
    assert (slope == 0).all()
    torch = pytest.importorskip("torch")
    assert chosen.in_torch(torch.tensor(scores), torch.tensor([0])).item() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"loss_options": {"class_weights": [1, 2]}},
            "2 class weights; the network has scores for 3",
        ),
        ({"loss_options": {"class_weights": [1, -2, 1]}}, "at least 0"),
        ({"loss_options": {"class_weights": [0, 0, 0]}}, "one of them more"),
        ({"loss_options": {"class_weights": "even"}}, "numbers or `balanced`"),
        ({"loss": "focal", "loss_options": {"focal_gamma": 0.5}}, "at least 1"),
        ({"loss": "mse", "loss_options": {"class_weights": [1, 1, 1]}}, "has no options"),
        ({"sample": "balance"}, "did you mean `balanced`"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], said: str) -> None:
    with fails("train/bad-option", said):
        fitted("numpy", data(), **options)


def test_a_recipe_with_class_weights(run: Run, write: Write) -> None:
    net = write("net N {\ninput x: [1, 8, 8]\noutput x -> flatten -> linear(10)\n}", "n.net")
    write('class-weights = "balanced"\nsample = "balanced"\nloss = "focal"\nepochs = 1\n', "n.toml")
    out = net.parent / "r"
    assert run("train", net, "--train-limit", 200, "--out", out).code == 0
    found = run("eval", out)
    assert found.code == 0
    assert "top-5" in found.out
    assert "macro F1" in found.out
    lists = run("train", net, "--class-weights", "1,2", "--train-limit", 99, "--out", "none")
    assert "2 class weights" in lists.err
    wrong = run("train", net, "--class-weights", "even")
    assert "one of balanced" in wrong.err


def test_the_metrics_are_scikit_learns() -> None:
    """The numbers are those of f1_score, with average=None and "macro", for these labels."""
    labels, taken = np.array([0, 0, 1, 1, 1, 2, 4]), np.array([0, 1, 1, 1, 0, 0, 4])
    found = Evaluation(tuple("abcde"), 0.0, Confusions.counted(5, labels, taken))
    np.testing.assert_allclose(found.f1, [0.4, 2 / 3, 0.0, np.nan, 1.0])
    assert found.macro_f1 == pytest.approx((0.4 + 2 / 3 + 0.0 + 1.0) / 4)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_the_five_best(backend: str) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    model = netspec.loads("net N {\ninput x: [8]\noutput x -> linear(8)\n}").compile(
        backend, dtype="float64"
    )
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 8)), rng.integers(0, 8, 60)
    found = model.evaluate(Dataset("d", x, y, x, y, 8), normalize="none")
    best = np.argsort(-model.forward(x), axis=1)[:, :5]
    assert found.top5 == (best == y[:, None]).any(axis=1).mean()
    assert found.accuracy < found.top5 < 1
    assert found.to_dict()["top5"] == found.top5
