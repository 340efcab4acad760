"""Training on a device: the same tests run on the CPU and, marked `cuda`, on a GPU if there is one.

So only the device is new on a GPU. `benchmarks/gpu.py` runs the tests that are marked `cuda`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.data import Dataset
from tests.conftest import ROOT, Run

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from netspec.runtime.models.pytorch.device import Execution  # noqa: E402
from netspec.runtime.models.pytorch.model import TorchModel  # noqa: E402
from netspec.runtime.models.torch_build import build_module  # noqa: E402
from netspec.runtime.training.plan import TrainingOptions, plan_training  # noqa: E402

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU here")
on_devices = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=[pytest.mark.cuda, NO_GPU])]
)
NET = """
net Small(classes = 4) {
    input image: [3, 8, 8]
    x = image -> stem: conv(8, 3, pad = 1, bias = false) -> bn: batch_norm -> relu
    y = x -> conv(8, 3, pad = 1) -> batch_norm
    output relu(x + y) -> max_pool(2) -> conv(8, 3, stride = 2, groups = 2) -> gelu
        -> flatten -> hidden: linear(16) -> layer_norm -> relu -> fc: linear(classes)
}
"""
OPTIONS = {
    "epochs": 2, "batch": 16, "lr": 0.02, "optimizer": "nesterov", "l2": 1e-3, "clip_norm": 5.0,
    "augment": ["crop", "flip"], "val": 16,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _exact_float32():
    """TF32 has ten bits, so losses are compared without it."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    threads = torch.get_num_threads()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def pictures(count: int = 96, tests: int = 16) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 150, (count + tests, 3, 8, 8)).astype(np.uint8)
    y = rng.integers(0, 4, count + tests)
    for image, label in zip(x, y, strict=True):
        image[..., label * 2 : label * 2 + 2] += 100
    return Dataset("pictures", x[:count], y[:count], x[count:], y[count:], 4)


def model_on(device: str, dtype: str = "float32", **execution) -> TorchModel:
    net = netspec.loads(NET)
    module = build_module(net, dtype=dtype)
    return TorchModel(net.graph, module, Execution(torch.device(device), **execution))


def losses(model, **options) -> np.ndarray:
    return np.array(netspec.fit(model, pictures(), **{**OPTIONS, **options}).loss_history)


@on_devices
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 2e-3)])
@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
def test_losses_are_those_of_numpy(device, dtype, tolerance, optimizer):
    numpy = netspec.loads(NET).compile("numpy", dtype=dtype)
    options = {"optimizer": optimizer, "lr": 0.02 if optimizer == "nesterov" else 1e-3}
    expected = losses(numpy, **options)
    found = losses(model_on(device, dtype), **options)
    assert np.abs(expected - found).max() < tolerance


@on_devices
@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_learns_as_float32_does(device, amp):
    plain = losses(model_on(device))
    try:
        found = losses(model_on(device, amp=amp, channels_last=True))
    except RuntimeError as error:
        if device == "cuda":
            raise
        pytest.skip(str(error)[:80])  # not every CPU build has float16
    assert np.abs(plain - found).max() < 0.15


@on_devices
def test_a_compiled_module_has_the_same_losses(device):
    # On a CPU Inductor needs a C++ compiler.
    compiler = "inductor" if device == "cuda" else "aot_eager"
    found = losses(model_on(device, compiler=compiler))
    assert np.abs(losses(model_on(device)) - found).max() < 2e-3


@on_devices
@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_a_module_of_another_mode_has_the_same_losses(device, mode):
    """On a CPU Inductor takes the mode, and has no CUDA graphs to record."""
    found = losses(model_on(device, compiler="inductor", compile_mode=mode))
    assert np.abs(losses(model_on(device)) - found).max() < 2e-3


@on_devices
@pytest.mark.parametrize("optimizer", ["nesterov", "adam", "muon"])
def test_a_fused_step_is_the_step(device, optimizer):
    options = {"optimizer": optimizer, "lr": 1e-3}
    apart = losses(model_on(device, "float64", fused=False), **options)
    fused = losses(model_on(device, "float64", fused=True), **options)
    assert np.abs(apart - fused).max() < 1e-9


def test_an_unknown_mode_is_an_error():
    with pytest.raises(NetspecError, match=r"there is no mode of torch\.compile `max`"):
        model_on("cpu", compile_mode="max")


class Reads(TorchDispatchMode):
    """Counts what waits for a GPU: numbers that are read, and results whose size depends on them."""

    waiting = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in self.waiting:
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "nesterov", "l2": 1e-3, "clip_norm": 5.0},
        {"optimizer": "muon", "optimizer_options": {"others": "nesterov", "fixed_norm": True}},
        {"optimizer": "momentum", "ema": 0.9, "loss_options": {"label_smoothing": 0.1}},
    ],
    ids=lambda options: str(options["optimizer"]),
)
def test_steps_wait_for_no_number_of_the_device(options):
    """As on a GPU, where losses are read once in 50 steps; on one CPU each loss is looked at."""
    augment = ["crop", "alternate-flip", "cutout"]
    chosen = TrainingOptions(batch=16, augment=augment, crop_edges="mirror", **options)
    model = model_on("cpu")
    planned = plan_training(model, pictures(), chosen)
    with model.training(planned.job) as backend:
        backend._alone = False
        backend.begin_epoch(1, np.arange(96), planned.parts)
        with Reads() as reads:
            for _ in planned.parts:
                backend.step(0.01)
        assert reads.found == []
        with Reads() as reads:
            losses, _ = backend.read(False)
        assert len(losses) == 6
        assert np.isfinite(losses).all()


@on_devices
def test_a_resumed_run_is_the_run(run: Run, write, tmp_path, device):
    net = write(NET)
    data = pictures()
    np.savez(tmp_path / "pictures.npz", x_train=data.x_train, y_train=data.y_train,
             x_test=data.x_test, y_test=data.y_test)  # fmt: skip
    options = ("--data", tmp_path / "pictures.npz", "--device", device, "--optimizer", "adam",
               "--lr", 1e-3, "--schedule", "constant", "--batch", 16, "--augment", "flip",
               "--quiet")  # fmt: skip
    folders = tmp_path / "whole", tmp_path / "halves"
    for folder, epochs in zip(folders, (4, 2), strict=True):
        started = run("train", "torch", net, *options, "--epochs", epochs, "--out", folder)
        assert started.code == 0, started.err
    resumed = run("train", "--resume", folders[1], "--epochs", 4, "--device", device)
    assert resumed.code == 0, resumed.err
    from netspec.runtime.weights.weights_file import load_weights

    whole, halves = (load_weights(folder / "weights.safetensors").tensors for folder in folders)
    assert whole.keys() == halves.keys()
    for name, tensor in whole.items():
        # On a GPU sums may be added in another order.
        np.testing.assert_allclose(
            halves[name], tensor, rtol=0, atol=0 if device == "cpu" else 1e-4
        )


DDP = """
import sys
import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel
import netspec
from netspec.runtime.models.torch_build import build_module

device = torch.device(sys.argv[1])
net = netspec.load(sys.argv[2])
dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
module = build_module(net, dtype="float64").to(device)
alone = build_module(net, dtype="float64").to(device)
ids = [device] if device.type == "cuda" else None
shared = DistributedDataParallel(module, device_ids=ids)
x = torch.randn(8, 3, 8, 8, dtype=torch.float64, device=device)
for each in (alone, shared):
    each(x).square().sum().backward()
worst = max(
    (a.grad - b.grad).abs().max().item()
    for a, b in zip(alone.parameters(), module.parameters(), strict=True)
)
total = torch.ones(3, device=device)
dist.all_reduce(total)
dist.destroy_process_group()
print(worst < 1e-9, total.tolist())
"""


@pytest.mark.heavy
@on_devices
def test_distributed_data_parallel_has_the_gradients_of_one_process(write, tmp_path, device):
    """It runs on one device, because NCCL uses each device only once."""
    if not torch.distributed.is_available():
        pytest.skip("this PyTorch is not distributed")
    (tmp_path / "script.py").write_text(DDP)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1",
         str(tmp_path / "script.py"), device, str(write(NET))],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, cwd=ROOT,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "True [1.0, 1.0, 1.0]"


@on_devices
def test_weights_cross_over(tmp_path: Path, device):
    theirs, ours = model_on(device), netspec.loads(NET).compile("numpy", seed=5)
    data = pictures()
    netspec.fit(theirs, data, **OPTIONS, out=tmp_path / "theirs.safetensors")
    ours.load_state_dict(theirs.state_dict())
    x = (data.x_test / 255).astype(np.float32)
    assert np.abs(ours.forward(x) - theirs.forward(x)).max() < 1e-3
    netspec.fit(ours, data, **OPTIONS)
    theirs.load_state_dict(ours.state_dict())
    assert np.abs(ours.forward(x) - theirs.forward(x)).max() < 1e-3
