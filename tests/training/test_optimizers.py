"""Optimizers held against PyTorch's own samples and plain loops; rates and decays by names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.data.batches import epoch_order
from netspec.runtime.optim.members import Member
from netspec.runtime.optim.optimizers import make_optimizer
from tests.conftest import Run, Write
from tests.helpers.errors import fails
from tests.pytorch_samples import flags_left_open

torch = pytest.importorskip("torch")

NET = """
net N {
    input x: [3, 6, 6]
    h = x -> a: conv(4, 3, bias = false) -> norm: batch_norm -> relu -> flatten
    output h -> b: linear(5) -> tanh -> head: linear(3)
}
"""
STEPS = 50

# How PyTorch's options are called here; what says how a step is computed is left out.
OURS: Mapping[str, Callable[[Any], dict[str, object]]] = {
    "momentum": lambda value: {"momentum": value},
    "dampening": lambda value: {"dampening": value},
    "centered": lambda value: {"centered": value},
    "amsgrad": lambda value: {"amsgrad": value},
    "ns_steps": lambda value: {"ns_steps": value},
    "ns_coefficients": lambda value: {"ns_coefficients": value},
    "adjust_lr_fn": lambda value: {"scale": value.replace("_", "-").removesuffix("-unclamped")},
}


def samples() -> list[Any]:
    """Return PyTorch's own samples of the rules that netspec has, with the options of each."""
    with flags_left_open():
        from torch.testing._internal.common_optimizers import optim_db

    ours = ("SGD", "RMSprop", "Adam", "AdamW", "Muon")
    return [
        pytest.param(info.optim_cls, sample.kwargs, id=f"{info.optim_cls.__name__}-{sample.desc}")
        for info in optim_db
        if info.optim_cls.__name__ in ours
        for sample in info.optim_inputs_func(device="cpu")
    ]


def named(chosen: type, options: Mapping[str, Any]) -> str:
    """Return netspec's name of a rule of torch.optim with its options."""
    if chosen is torch.optim.SGD:
        has = "nesterov" if options.get("nesterov") else "momentum"
        return has if options.get("momentum") else "sgd"
    return chosen.__name__.lower()


@pytest.mark.parametrize(("chosen", "options"), samples())
def test_pytorchs_own_samples(
    chosen: type, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`maximize` is the same rule with the other sign of the gradients."""
    # Muon's iteration in the precision of the numbers: in bfloat16 it could be compared to 1e-2.
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())
    generator = np.random.default_rng(0)
    start = generator.normal(size=(7, 4))
    sign = -1 if options.get("maximize") else 1
    theirs = torch.tensor(start, requires_grad=True)
    # A rate in float32 would be rounded in each step.
    exact = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    reference: Any = chosen([theirs], **exact)
    lr, decay = (float(reference.defaults[name]) for name in ("lr", "weight_decay"))
    own = {
        k: v for key, value in options.items() if key in OURS for k, v in OURS[key](value).items()
    }
    name = named(chosen, options)
    if name == "muon":
        own.setdefault("scale", "original")
    if name in ("adamw", "muon"):
        own["weight_decay"] = decay
    ours, g = start.reshape(-1).copy(), np.zeros(start.size)
    rule = make_optimizer(name, ours, g, (Member("w", slice(0, g.size), start.shape),), **own)
    for _ in range(STEPS):
        gradient = generator.normal(size=start.shape)
        theirs.grad = torch.tensor(sign * gradient)
        reference.step()
        coupled = 0.0 if rule.decouples_decay else decay
        g[...] = gradient.reshape(-1) + coupled * ours
        rule.step(lr)
    np.testing.assert_allclose(ours.reshape(start.shape), theirs.detach().numpy(), atol=1e-6)


def made(count: int = 50) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 3, 6, 6))
    y = (x[:, 0, 0, 0] > 0).astype(int) + (x[:, 1, 1, 1] > 1)
    return Dataset("made", x[:-10], y[:-10], x[-10:], y[-10:], 3)


def fitted(backend: str, **options: Any) -> tuple[Any, Any]:
    model = netspec.loads(NET).compile(backend, dtype="float64", seed=1)
    chosen: dict[str, Any] = {"epochs": 10, "batch": 8, "normalize": "none", "schedule": "constant"}
    return model, netspec.fit(model, made(), **{**chosen, "progress": False, **options})


class Plain:
    """The net of the tests as one writes it in PyTorch, trained by a plain loop."""

    def __init__(self) -> None:
        nn = torch.nn
        self.module = nn.ModuleDict({
            "a": nn.Conv2d(3, 4, 3, bias=False), "norm": nn.BatchNorm2d(4), "b": nn.Linear(64, 5),
            "head": nn.Linear(5, 3),
        }).double()  # fmt: skip
        state = netspec.loads(NET).compile(dtype="float64", seed=1).state_dict()
        self.module.load_state_dict({n: torch.tensor(a) for n, a in state.items()}, strict=False)

    def trained(self, optimizer: Any, l2: Mapping[str, float] = {}) -> list[float]:
        """Return the loss of each of 50 steps, with an L2 term of the parameters named."""
        data, losses, module = made(), [], self.module
        for epoch in range(1, 11):
            order = epoch_order(40, 0, epoch)
            for start in range(0, 40, 8):
                part = order[start : start + 8]
                h = module["norm"](module["a"](torch.tensor(data.x_train[part]))).relu().flatten(1)
                scores = module["head"](torch.tanh(module["b"](h)))
                loss = torch.nn.functional.cross_entropy(scores, torch.tensor(data.y_train[part]))
                for name, p in module.named_parameters():
                    loss = loss + 0.5 * l2.get(name, 0.0) * p.square().sum()
                optimizer.zero_grad()
                loss.backward()
                losses.append(loss.item())
                optimizer.step()
        return losses


FACTORS: dict[str, Any] = {
    "rates": {"*": 0.5, "head.*": 10, "head.bias": 2},
    "decays": {"b.weight": 3, "head.weight": 0, "norm.weight": 1},
}
RATES = {"head.weight": 10.0, "head.bias": 2.0}
DECAYS = {"a.weight": 1.0, "b.weight": 3.0, "norm.weight": 1.0}


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_rates_and_decays_by_name_are_parameter_groups(backend: str, optimizer: str) -> None:
    plain = Plain()
    decoupled = 0.1 if optimizer == "adamw" else 0.0
    groups = [
        {
            "params": [p],
            "lr": 1e-3 * RATES.get(name, 0.5),
            "weight_decay": decoupled * DECAYS.get(name, 0.0),
        }
        for name, p in plain.module.named_parameters()
    ]
    rule: Any = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    l2 = {name: 0.01 * factor for name, factor in DECAYS.items()}
    losses = plain.trained(rule[optimizer](groups, lr=1e-3), l2)
    own = {"optimizer_options": {"weight_decay": 0.1}} if decoupled else {}
    model, history = fitted(backend, optimizer=optimizer, lr=1e-3, l2=0.01, **FACTORS, **own)
    np.testing.assert_allclose(history.loss_history, losses, atol=1e-6)
    for name, p in plain.module.named_parameters():
        np.testing.assert_allclose(model.state_dict()[name], p.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("optimizer", ["lion", "lamb", "muon", "rmsprop"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_both_backends_take_the_same_rates_and_decays(
    optimizer: str, clip_norm: float | None
) -> None:
    options = {"optimizer": optimizer, "l2": 0.01, "lr": 1e-3, "clip_norm": clip_norm, **FACTORS}
    if optimizer == "rmsprop":
        options["optimizer_options"] = {"momentum": 0.9, "centered": True}
    (ours, mine), (theirs, other) = (fitted(backend, **options) for backend in ("numpy", "torch"))
    np.testing.assert_allclose(mine.loss_history, other.loss_history, atol=1e-6)
    for name, array in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], array, atol=1e-6)


class PlainLamb(torch.optim.Optimizer):  # type: ignore[misc]
    """LAMB as its paper prints it, for parameters with decay."""

    def step(self, closure: Any = None) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    s = self.state[p]
                    s["t"] = t = s.get("t", 0) + 1
                    s["m"] = m = 0.9 * s.get("m", 0.0) + 0.1 * p.grad
                    s["v"] = v = 0.999 * s.get("v", 0.0) + 0.001 * p.grad**2
                    r = m / (1 - 0.9**t) / (torch.sqrt(v / (1 - 0.999**t)) + 1e-6)
                    ratio: Any = 1.0
                    if group["decay"]:
                        r = r + group["decay"] * p
                        ratio = p.norm() / r.norm()
                    p -= group["lr"] * ratio * r


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_lamb_is_its_papers(backend: str) -> None:
    plain = Plain()
    groups = [
        {"params": [p], "decay": 0.02 if name.endswith("weight") and "norm" not in name else 0.0}
        for name, p in plain.module.named_parameters()
    ]
    losses = plain.trained(PlainLamb(groups, {"lr": 0.01}))
    options = {"weight_decay": 0.02}
    _, history = fitted(backend, optimizer="lamb", lr=0.01, optimizer_options=options)
    np.testing.assert_allclose(history.loss_history, losses, atol=1e-6)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch has no Muon before 2.9")
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_muon_is_pytorchs_beside_its_adamw(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.optim.Muon takes matrices alone: the convolution's kernel is one by a view of it."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())
    plain = Plain()
    kernel = plain.module["a"].weight
    matrix = kernel.detach().view(4, -1).requires_grad_()
    others = [p for p in plain.module.parameters() if p.ndim == 1]

    class Both:
        muon = torch.optim.Muon(
            [matrix, plain.module["b"].weight, plain.module["head"].weight], lr=0.01,
            weight_decay=0.05, adjust_lr_fn="match_rms_adamw",
        )  # fmt: skip
        adamw = torch.optim.AdamW(others, lr=0.01, weight_decay=0.0)

        def zero_grad(self) -> None:
            plain.module.zero_grad()

        def step(self) -> None:
            matrix.grad = kernel.grad.view(4, -1)
            self.muon.step()
            self.adamw.step()

    losses = plain.trained(Both())
    options = {"weight_decay": 0.05}
    _, history = fitted(backend, optimizer="muon", lr=0.01, optimizer_options=options)
    np.testing.assert_allclose(history.loss_history, losses, atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_muon_leaves_other_matrices_to_nesterov(backend: str) -> None:
    """Written out: filters of a fixed norm with orthogonal steps, all else as SGD with momentum."""
    plain = Plain()
    named = dict(plain.module.named_parameters())
    turned = {"a.weight", "b.weight"}

    velocity = {name: torch.zeros_like(p) for name, p in named.items()}

    class Written:
        def zero_grad(self) -> None:
            plain.module.zero_grad()

        @torch.no_grad()
        def step(self) -> None:
            for name, p in named.items():
                v, momentum = velocity[name], 0.6 if name in turned else 0.85
                v.mul_(momentum).add_(p.grad)
                g = p.grad + momentum * v
                if name not in turned:
                    p.sub_(0.01 * g)
                    continue
                p.mul_(len(p) ** 0.5 / p.norm())
                x = g.reshape(len(p), -1)
                x = x / x.norm()
                flips = x.shape[0] > x.shape[1]
                x = x.T if flips else x
                for _ in range(3):
                    y = x @ x.T
                    x = 3.4445 * x + (-4.7750 * y + 2.0315 * y @ y) @ x
                p.sub_(0.01 * (x.T if flips else x).reshape(p.shape))

    losses = plain.trained(Written())
    options = {
        "momentum": 0.6, "ns_steps": 3, "scale": "original", "fixed_norm": True, "plain": ["head.*"],
        "others": "nesterov", "others_momentum": 0.85, "weight_decay": 0.0,
    }  # fmt: skip
    model, history = fitted(backend, optimizer="muon", lr=0.01, optimizer_options=options)
    np.testing.assert_allclose(history.loss_history, losses, atol=1e-6)
    norm = np.linalg.norm(model.state_dict()["a.weight"])
    assert 0.5 < norm / 2 < 1.5


def test_muon_turns_a_matrix() -> None:
    """With the coefficients of Newton and Schulz's cubic the iteration ends at the polar factor."""
    g = np.random.default_rng(0).normal(size=(5, 3))
    p, flat = np.zeros(15), g.reshape(-1).copy()
    member = Member("w", slice(0, 15), (5, 3), decay=0.0)
    rule = make_optimizer(
        "muon", p, flat, (member,), momentum=0.0, scale="spectral", ns_steps=60,
        ns_coefficients=[1.5, -0.5, 0.0],
    )  # fmt: skip
    rule.step(1.0)
    u, _, vt = np.linalg.svd(g, full_matrices=False)
    np.testing.assert_allclose(p.reshape(5, 3), -math.sqrt(5 / 3) * u @ vt, atol=1e-12)


@pytest.mark.parametrize("target", ["numpy", "torch"])
@pytest.mark.parametrize("optimizer", ["muon", "lamb", "muon of nesterov"])
def test_a_recipe_with_rates_is_resumed_bit_for_bit(
    tmp_path: Any, run: Run, write: Write, target: str, optimizer: str
) -> None:
    net = write(
        "net N {\ninput x: [1, 8, 8]\noutput x -> flatten -> linear(9) -> relu -> head: linear(10)\n}",
        "n.net",
    )
    optimizer, _, others = optimizer.partition(" of ")
    special = f'others = "{others}"\nplain = ["head.*"]\nfixed-norm = true\n' if others else ""
    recipe = (
        f'optimizer = "{optimizer}"\n{special}schedule = "constant"\ntrain-limit = 200\nbatch = 50\n'
        '[rates]\n"head.*" = 10\n[decays]\n"*.bias" = 0.5\n'
    )
    write(recipe, "n.toml")
    for name, epochs in (("whole", 3), ("half", 1)):
        done = run(
            "train", target, net, "--epochs", epochs, "--threads", 1, "--out", tmp_path / name
        )
        assert done.code == 0, done.err
    assert '[rates]\n"head.*" = 10' in (tmp_path / "half" / "recipe.toml").read_text()
    done = run("train", "--resume", tmp_path / "half", "--epochs", "3")
    assert done.code == 0, done.err
    one, two = (tmp_path / name / "weights.safetensors" for name in ("whole", "half"))
    assert one.read_bytes() == two.read_bytes()
    other = run("train", "--resume", tmp_path / "half", "--epochs", "4", "--rates", "head.*=2")
    assert "--rates cannot change" in other.err


def test_rates_of_the_command_line(run: Run, write: Write) -> None:
    net = write("net N {\ninput x: [1, 8, 8]\noutput x -> flatten -> head: linear(10)\n}")
    command = ("train", "numpy", net, "--train-limit", 50, "--epochs", 1, "--out", "none")
    plain, same, other = (
        run(*command, *more).err
        for more in ([], ["--rates", "head.*=1,head.bias=1"], ["--rates", "*=0"])
    )
    assert plain.splitlines()[-1].split(" s ")[0] == same.splitlines()[-1].split(" s ")[0]
    assert "10.0" in other or other != plain
    assert "did you mean `head.*`" in run(*command, "--rates", "hed.*=1").err
    assert "must be a table" in run(*command, "--rates", "3").err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rates": {"tail.*": 2}}, "no parameter of N matches `tail"),
        ({"rates": {"head.*": -1}}, "at least 0"),
        ({"decays": {"head.*": float("nan")}}, "at least 0"),
        ({"decays": {"norm.running_mean": 1}}, "no parameter of N matches"),
        ({"optimizer": "muon", "optimizer_options": {"scale": "rms"}}, "scale of muon"),
        ({"optimizer": "muon", "optimizer_options": {"others": "adam"}}, "rule of the others"),
        ({"optimizer": "muon", "optimizer_options": {"plain": ["heat.*"]}}, "did you mean"),
        ({"optimizer": "muon", "optimizer_options": {"ns_steps": 0}}, "from 1 to 99"),
        ({"optimizer": "muon", "optimizer_options": {"ns_coefficients": [1, 2]}}, "three numbers"),
    ],
)
def test_factors_and_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with fails("train/bad-option", said):
        fitted("numpy", **options)
