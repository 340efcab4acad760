"""CIFAR-10's fast net and its recipes: every technique on, and what each is held against is its own test.

`tests/torch_backend/test_initial_values.py` has dirac, `test_whitening.py` the whitening layer,
`test_optimizers.py` Muon with its options and rates by name, `test_augmentation.py` alternating flips and
mirrored edges, `test_views.py` copies at test time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.data.batches import epoch_order
from netspec.runtime.runs.recipe import read_recipe
from netspec.runtime.runs.resolve import resolve
from netspec.runtime.training.transfer import choose_frozen, factors
from tests.conftest import ROOT

NET = ROOT / "networks/airbench.net"
SMALL = {"widths": [8, 12, 12]}
RECIPES = ("airbench", "airbench96")


def settings(name: str):
    recipe = read_recipe(ROOT / f"networks/{name}.toml")
    return resolve({}, recipe), dict(recipe.arguments)


def pictures(count: int = 300) -> Dataset:
    """Return pictures of 32 pixels with a bright bar, whose place is their class."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, count)
    x = rng.integers(0, 160, (count, 3, 32, 32)).astype(np.uint8)
    for image, label in zip(x, y, strict=True):
        image[:, 3 * label : 3 * label + 3] += 90
    return Dataset("bars", x[:240], y[:240], x[240:], y[240:], 10)


def trained(target: str, name: str = "airbench", **changes):
    found, _ = settings(name)
    net = netspec.load(NET, **SMALL, deep=name == "airbench96")
    model = net.compile(target, dtype="float64")
    model.freeze(choose_frozen(net.graph, found["freeze"]))
    options = found.training_options().keywords()
    return model, netspec.fit(model, pictures(), **{**options, "batch": 60, "epochs": 2, **changes})


@pytest.mark.heavy
@pytest.mark.parametrize("name", RECIPES)
def test_both_backends_take_the_steps_of_the_recipe(name):
    pytest.importorskip("torch")
    (_, ours), (_, theirs) = trained("numpy", name), trained("torch", name)
    np.testing.assert_allclose(ours.loss_history, theirs.loss_history, rtol=0, atol=1e-8)
    assert ours.test_acc_history == theirs.test_acc_history


def test_the_recipe_has_every_technique():
    found, _ = settings("airbench")
    text = NET.read_text()
    assert all(word in text for word in ("dirac(", "gelu", "* scale"))
    assert found["whiten"] == "whiten"
    assert found["label-smoothing"] == 0.2
    assert found["optimizer"] == "muon"
    assert found["rates"]
    assert found["ema"]
    assert "alternate-flip" in found["augment"]
    assert found["tta"] == ["flip", "shift"]


def test_names_in_the_recipes_are_those_of_the_net():
    for name in RECIPES:
        found, arguments = settings(name)
        graph = netspec.load(NET, **arguments).graph
        frozen = choose_frozen(graph, found["freeze"])
        norms = 9 if arguments else 6
        assert len(frozen) == 1 + norms
        biases = {n: r for n, r in factors(graph, found["rates"]).items() if "norm" in n}
        assert len([n for n in biases if n.endswith(".bias")]) == norms


def test_steps_are_those_of_the_script_written_out():
    """The optimizers as airbench94_muon has them, with a loss that is the sum over the batch."""
    torch = pytest.importorskip("torch")
    nn, data, batch, steps = torch.nn, pictures(), 60, 8
    # The rates are those of the script times its batch, and the decay its own divided by that.
    script = {"bias": 0.053 * 2000, "head": 0.67 * 2000}
    model, history = trained("numpy", ema=None, augment=(), tta=(), normalize="none")
    net = netspec.load(NET, **SMALL)
    start = net.compile("torch", dtype="float64")
    start.load_state_dict(
        {**start.state_dict(), "whiten.weight": model.state_dict()["whiten.weight"]}
    )
    module = start.module.train()
    named = dict(module.named_parameters())
    velocity = {name: torch.zeros_like(p) for name, p in named.items()}
    losses = []
    for step in range(steps):
        part = epoch_order(240, 0, step // 4 + 1)[step % 4 * batch :][:batch]
        x = torch.from_numpy(data.x_train[part].astype(np.float64))
        scores = module(x)
        y = torch.from_numpy(data.y_train[part])
        loss = nn.functional.cross_entropy(scores, y, label_smoothing=0.2)
        module.zero_grad()
        loss.backward()
        falling = 1 - step / steps
        shown = loss.item()
        with torch.no_grad():
            for name, p in named.items():
                if name == "whiten.weight" or ("norm" in name and name.endswith("weight")):
                    continue
                decay = 0.0
                if name.endswith(".bias"):
                    decay, rate = 4e-3 / 0.053 / 2000, script["bias"]
                elif name == "head.weight":
                    decay, rate = 4e-3 / 0.67 / 2000, script["head"]
                shown += 0.5 * decay * p.square().sum().item()
                v, g = velocity[name], p.grad + decay * p
                momentum = 0.6 if p.ndim == 4 else 0.85
                v.mul_(momentum).add_(g)
                g = g + momentum * v
                if p.ndim != 4:
                    p.sub_(rate * falling * g)
                    continue
                p.mul_(len(p) ** 0.5 / p.norm())
                turn = g.reshape(len(p), -1)
                turn = turn / turn.norm()
                flips = turn.shape[0] > turn.shape[1]
                turn = turn.T if flips else turn
                for _ in range(3):
                    a = turn @ turn.T
                    turn = 3.4445 * turn + (-4.7750 * a + 2.0315 * a @ a) @ turn
                p.sub_(0.24 * falling * (turn.T if flips else turn).reshape(p.shape))
        losses.append(shown)
    np.testing.assert_allclose(history.loss_history, losses, rtol=2e-3)


@pytest.mark.heavy
def test_an_epoch_of_a_small_one_learns(tmp_path: Path, run):
    data = pictures(1240)
    np.savez(tmp_path / "bars.npz", x_train=data.x_train, y_train=data.y_train,
             x_test=data.x_test, y_test=data.y_test)  # fmt: skip
    done = run("train", "torch", NET, "--set", "widths=[8,12,12]", "--data", tmp_path / "bars.npz",
               "--batch", 24, "--epochs", 1, "--out", tmp_path / "run")  # fmt: skip
    assert done.code == 0, done.err
    run_of = netspec.load_run(tmp_path / "run")
    assert run_of.model.evaluate(run_of.data(), tta=["flip", "shift"]).accuracy > 0.2
