"""The engines that other people run take the steps that netspec takes, with one process and with two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from tests.conftest import ROOT
from tests.training.test_distributed import environment, torchrun

torch = pytest.importorskip("torch")
pytest.importorskip("lightning", reason="lightning is not installed")
if not torch.distributed.is_available():
    pytest.skip("this PyTorch is not distributed", allow_module_level=True)

from lightning.pytorch import Callback, Trainer  # noqa: E402

from netspec.lightning import DataModule, NetModule  # noqa: E402
from netspec.runtime.models.pytorch.device import Execution  # noqa: E402
from netspec.runtime.models.pytorch.model import TorchModel  # noqa: E402
from netspec.runtime.models.torch_build import build_module  # noqa: E402
from netspec.runtime.weights.safetensors_file import Weights  # noqa: E402

PLAIN = """
net Plain(classes = 10) {
    input image: [1, 8, 8]
    x = image -> conv(6, 3, pad = 1) -> relu -> max_pool(2)
    output x -> flatten -> linear(16) -> layer_norm -> relu -> linear(classes)
}
"""
NORMED = PLAIN.replace("pad = 1)", "pad = 1) -> batch_norm")
# 83 images in batches of 16: the last ones are of 16 and 3. Clipping makes the L2 term a part of the
# gradient that the optimizer does not add.
RECIPE = {
    "data": "digits", "train-limit": 83, "batch": 16, "epochs": 2, "val": 41, "l2": 1e-3,
    "clip-norm": 1.0, "optimizer": "momentum", "lr": 0.05, "augment": ["crop", "flip"],
    "warmup": 1, "dtype": "float64",
}  # fmt: skip
QUIET = {
    "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
    "accelerator": "cpu", "devices": 1,
}  # fmt: skip


class Losses(Callback):
    """Keeps the part of this process in the loss of each step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.found.append(float(outputs["shown"]))


def numbers(state: dict[str, Any]) -> dict[str, list[float]]:
    return {name: np.asarray(array).ravel().tolist() for name, array in state.items()}


def by_fit(text: str, **changes: Any) -> tuple[list[float], dict[str, np.ndarray]]:
    """Return the losses and the weights of netspec's own loop, in this process."""
    module = NetModule(netspec.loads(text), {**RECIPE, **changes})
    net = netspec.loads(text)
    model = TorchModel(
        net.graph, build_module(net, dtype="float64"), Execution(torch.device("cpu"))
    )
    model.freeze(module.model.frozen)
    data = netspec.load_data("digits", None, model.input_shape)
    options = module.settings.training_options().keywords()
    history = netspec.fit(model, data, **options)
    return history.loss_history, model.state_dict()


def by_trainer(
    folder: Path, text: str = PLAIN, trainer: dict[str, Any] | None = None, **changes: Any
) -> tuple[NetModule, Losses, Trainer]:
    recipe = {**RECIPE, **changes}
    module, losses = NetModule(netspec.loads(text), recipe), Losses()
    options = {**QUIET, "max_epochs": module.epochs, "callbacks": [losses]}
    made = Trainer(default_root_dir=folder, **{**options, **(trainer or {})})
    made.fit(module, DataModule(recipe))
    return module, losses, made


def require_equal(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "weight-decay": 0.1, "lr": 0.01, "schedule": "one-cycle"},
        {"ema": 0.9, "freeze": ["conv1*", "batch_norm*"], "rates": {"linear*": 2.0}},
        {"schedule": "plateau", "patience": 0, "gamma": 0.5, "epochs": 4, "val": 0, "warmup": 0},
    ],
    ids=["momentum", "adamw", "average", "plateau"],
)
def test_the_trainer_takes_the_steps_of_fit(tmp_path, changes):
    # Nothing but the steps: no validation before them.
    options = {"num_sanity_val_steps": 0}
    module, losses, _ = by_trainer(tmp_path, NORMED, options, **changes)
    expected, weights = by_fit(NORMED, **changes)
    np.testing.assert_allclose(losses.found, expected, rtol=0, atol=1e-9)
    module.trainer.save_checkpoint(tmp_path / "end.ckpt")
    require_equal(netspec.load_weights(tmp_path / "end.ckpt").tensors, weights, 1e-9)


# --------------------------------------------------------------------------- several processes

# Every engine in turn, in the processes that torchrun started; then netspec's own loop.
SCRIPT = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[2] + "/docs/engines"]
import torch
import netspec
import accelerate_loop, fabric_loop, lightning_trainer
from netspec.runtime.models.pytorch.device import Execution
from netspec.runtime.models.pytorch.model import TorchModel
from netspec.runtime.models.pytorch.processes import current_group
from netspec.runtime.models.torch_build import build_module
from tests.training.test_engines import Losses, QUIET, total

folder, cases = sys.argv[3], json.loads(sys.argv[4])
torch.set_num_threads(1)
found = {}
for number, (text, recipe) in enumerate(cases):
    net, out = netspec.loads(text), f"{folder}/{number}"
    losses = Losses()
    trainer = lightning_trainer.train(
        net, recipe, f"{out}.ckpt", **{**QUIET, "devices": 2}, strategy="ddp", callbacks=[losses]
    )
    found[f"trainer {number}"] = total(losses.found)
    logged = [trainer.callback_metrics[f"val_{name}"] for name in ("acc", "loss", "macro_f1")]
    found[f"measures {number}"] = [float(each) for each in logged]
    found[f"fabric {number}"] = fabric_loop.train(
        net, recipe, f"{out}.fabric", accelerator="cpu", devices=2, strategy="ddp"
    )
    found[f"accelerate {number}"] = accelerate_loop.train(net, recipe, f"{out}.accelerate", cpu=True)
    group = current_group()
    shared = recipe.get("sync-batch-norm", False)
    execution = Execution(torch.device("cpu"), group=group, shares_batch_norm=shared)
    model = TorchModel(net.graph, build_module(net, dtype="float64"), execution)
    data = netspec.load_data("digits", None, model.input_shape)
    options = trainer.lightning_module.settings.training_options().keywords()
    history = netspec.fit(model, data, **options, out=f"{out}.own")
    found[f"torchrun {number}"] = history.loss_history
    last = [history.measure(name, recipe["epochs"]) for name in ("val", "val_loss", "val_macro_f1")]
    found[f"own measures {number}"] = last
    if group.rank == 0:
        print(json.dumps(found), flush=True)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""
CASES = {
    "plain": (PLAIN, RECIPE),
    "each its own": (NORMED, RECIPE),
    "batch norm of all": (NORMED, {**RECIPE, "sync-batch-norm": True}),
}
WAYS = {"trainer": "ckpt", "fabric": "fabric", "accelerate": "accelerate", "torchrun": "own"}


def total(losses: list[float]) -> list[float]:
    """Return the losses of all processes together."""
    found = torch.tensor(losses, dtype=torch.float64)
    torch.distributed.all_reduce(found)
    return found.tolist()


class Engines(NamedTuple):
    """What the script found, and the folder of what each engine saved."""

    found: dict[str, Any]
    folder: Path

    def weights(self, way: str, case: str) -> Weights:
        return netspec.load_weights(self.folder / f"{[*CASES].index(case)}.{WAYS[way]}")

    def losses(self, way: str, case: str) -> list[float]:
        return self.found[f"{way} {[*CASES].index(case)}"]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    """Return what two processes give: they start once, since the libraries take seconds to import."""
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    folder = tmp_path_factory.mktemp("engines")
    (folder / "script.py").write_text(SCRIPT)
    cases = json.dumps([*CASES.values()])
    command = torchrun(2, folder / "script.py", ROOT, ROOT, folder, cases)
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return Engines(json.loads(done.stdout.splitlines()[-1]), folder)


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", ["trainer", "fabric", "accelerate"])
def test_engines_of_two_processes_take_the_steps_of_netspec(engines, way, case):
    expected = engines.losses("torchrun", case)
    assert len(expected) == 12
    np.testing.assert_allclose(engines.losses(way, case), expected, rtol=0, atol=1e-6)
    ours, theirs = engines.weights("torchrun", case), engines.weights(way, case)
    require_equal(theirs.tensors, ours.tensors)
    assert theirs.normalization.to_json() == ours.normalization.to_json()
    assert theirs.metadata == ours.metadata


@pytest.mark.heavy
@pytest.mark.parametrize("case", ["plain", "batch norm of all"])
def test_two_processes_are_one(engines, case):
    losses, weights = by_fit(*CASES[case][:1])
    np.testing.assert_allclose(engines.losses("torchrun", case), losses, rtol=0, atol=1e-6)
    require_equal(engines.weights("torchrun", case).tensors, weights)


@pytest.mark.heavy
def test_batch_norm_of_its_own_share_is_another_net(engines):
    losses, _ = by_fit(NORMED)
    assert np.abs(np.subtract(engines.losses("torchrun", "each its own"), losses)).max() > 1e-3


@pytest.mark.heavy
@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_trainer_measures_what_fit_measures(engines, number):
    expected = engines.found[f"own measures {number}"]
    assert engines.found[f"measures {number}"] == pytest.approx(expected, abs=1e-6)  # in float32


# ----------------------------------------------------------------------------------------- Ray

RAY_SCRIPT = """
import json, sys
import ray, ray_train

ray.init(num_cpus=3, include_dashboard=False, object_store_memory=100_000_000)
folder, cases, found = sys.argv[1], json.loads(sys.argv[2]), []
for number, (text, recipe) in enumerate(cases):
    result = ray_train.train(text, recipe, f"{folder}/{number}", num_workers=2)
    with result.checkpoint.as_directory() as saved:
        found.append({"losses": result.metrics["losses"], "saved": f"{folder}/{number}.pt"})
        open(found[-1]["saved"], "wb").write(open(f"{saved}/weights.pt", "rb").read())
print(json.dumps(found), flush=True)
"""


@pytest.fixture(scope="module")
def by_ray(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what two workers of Ray give for each case: their losses, and the file of the weights."""
    pytest.importorskip("ray.train.torch", reason="Ray is not installed")
    folder = tmp_path_factory.mktemp("ray")
    (folder / "script.py").write_text(RAY_SCRIPT)
    command = [sys.executable, folder / "script.py", folder, json.dumps([*CASES.values()])]
    # Ray ends workers where the machine's memory is nearly full, which others may fill.
    quiet = {"RAY_memory_monitor_refresh_ms": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    # Workers import the function that they run, from where this says.
    found_in = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "docs/engines")))}
    done = subprocess.run(
        command, check=False, cwd=folder, env={**environment(), **quiet, **found_in}, capture_output=True,
        text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.heavy
@pytest.mark.parametrize("case", CASES)
def test_two_workers_of_ray_take_the_steps_of_netspec(by_ray, engines, case):
    found = by_ray[[*CASES].index(case)]
    expected = engines.losses("torchrun", case)
    np.testing.assert_allclose(found["losses"], expected, rtol=0, atol=1e-6)
    ours, theirs = engines.weights("torchrun", case), netspec.load_weights(found["saved"])
    require_equal(theirs.tensors, ours.tensors)
    assert theirs.normalization.to_json() == ours.normalization.to_json()


# ---------------------------------------------------------------------------------- one process


def test_a_run_of_the_trainer_goes_on(tmp_path):
    """The optimizer, the rate, the average and the order of images are those of the whole run."""
    changes = {"ema": 0.9, "optimizer": "adam", "lr": 0.01}
    by_trainer(tmp_path, **changes)[2].save_checkpoint(tmp_path / "whole.ckpt")
    by_trainer(tmp_path, trainer={"max_epochs": 1}, **changes)[2].save_checkpoint(
        tmp_path / "half.ckpt"
    )
    recipe = {**RECIPE, **changes}
    trainer = Trainer(default_root_dir=tmp_path, **QUIET, max_epochs=2)
    module = NetModule(netspec.loads(PLAIN), recipe)
    trainer.fit(module, DataModule(recipe), ckpt_path=tmp_path / "half.ckpt")
    trainer.save_checkpoint(tmp_path / "resumed.ckpt")
    whole, resumed = (netspec.load_weights(tmp_path / f"{n}.ckpt") for n in ("whole", "resumed"))
    require_equal(resumed.tensors, whole.tensors, 0)


def test_a_checkpoint_is_evaluated_as_weights(tmp_path, write, run):
    """Its normalization and its data are those of the run, so `eval` measures what the Trainer does."""
    module, _, trainer = by_trainer(tmp_path)
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    (tested,) = trainer.test(module, DataModule(RECIPE), verbose=False)
    evaluated = run("eval", write(PLAIN), "--weights", tmp_path / "end.ckpt", "--data", "digits")
    assert evaluated.code == 0, evaluated.err
    assert f"{100 * tested['test_acc']:.2f}" in evaluated.out


@pytest.mark.parametrize(
    ("recipe", "code", "words"),
    [
        ({"accumulate": 2}, "train/bad-option", "accumulate_grad_batches"),
        ({"epoch": 2}, "train/bad-option", "did you mean 'epochs'?"),
        ({"epochs": "two"}, "train/bad-option", "epochs must be"),
        ({"momentum": 0.5, "optimizer": "sgd"}, "train/bad-option", "momentum"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told(recipe, code, words):
    with pytest.raises(NetspecError) as caught:
        NetModule(netspec.loads(PLAIN), recipe)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert words in found.message + " ".join(hint.text for hint in found.hints)


def test_a_module_without_data_says_so():
    module = NetModule(netspec.loads(PLAIN), RECIPE)
    with pytest.raises(NetspecError, match=r"data\.attach"):
        module.configure_optimizers()


def test_damaged_facts_are_no_weights(tmp_path):
    module = NetModule(netspec.loads(PLAIN))
    for facts in (b"[1]", b"{}", b'{"normalization": "none", "about": 1}'):
        state = {**module.state_dict(), "netspec_facts": torch.tensor([*facts], dtype=torch.uint8)}
        torch.save(state, tmp_path / "bad.pt")
        with pytest.raises(NetspecError) as caught:
            netspec.load_weights(tmp_path / "bad.pt")
        assert caught.value.diagnostics[0].code == "weights/bad-file"


def test_lightning_is_imported_only_when_it_is_used():
    code = "import sys, netspec; netspec.fit; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), cwd=ROOT)
