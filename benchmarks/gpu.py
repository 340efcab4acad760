"""Runs the tests marked `cuda`, and a benchmark in images per second, in under eight minutes.

    python benchmarks/gpu.py --prepare [--data-dir DIR]     # where CIFAR-10 is: makes the file of images
    python benchmarks/gpu.py --out DIR                      # on the machine with the GPU

Nothing is downloaded. The file of images (31 MB: 9,000 and 1,000 unchanged images of CIFAR-10) is
all that must be copied there. Each row of the table runs in a process of its own:
`benchmarks/plain_pytorch.py` with torchvision's transforms in a DataLoader, the same with the
images on the device, the steps of `netspec train torch` with its defaults, and with all its
switches (bf16, torch.compile, channels last). All rows use the same nets, batch size and SGD. DIR
gets gpu.json, gpu.md and the log of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
DATA = ROOT / "build" / "cifar10-10000.npz"
TRAIN, TEST = 9_000, 1_000
# Only this many images are upscaled, because more would need too much memory.
UPSCALED = 2_560
NETS = {
    "resnet20": ("networks/resnet.net", {"depth": 20}, 32),
    "resnet18": ("networks/zoo/resnet18.net", {"classes": 10, "size": 224}, 224),
    "resnet50": ("networks/zoo/resnet50.net", {"classes": 10, "size": 224}, 224),
}
WAYS = ("plain, DataLoader", "plain, data on device", "netspec", "netspec, all switches")
SKIPPED = "skipped: the time was up"


@dataclass
class Row:
    """A way to train a net: its speed, or the reason why there is none."""

    net: str
    way: str
    images_per_second: float | None = None
    note: str = ""


def main() -> None:
    options = arguments()
    if options.prepare:
        prepare(options)
    elif options.measure:
        print(json.dumps({"images_per_second": measured(options)}))
    else:
        benchmark(options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="make the file of images")
    parser.add_argument("--data-dir", type=Path, help="where CIFAR-10 is, for --prepare")
    parser.add_argument("--data", type=Path, default=DATA, help="the file of images")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0, help="that a row is timed for")
    parser.add_argument("--workers", type=int, default=8, help="of the DataLoader")
    parser.add_argument("--budget", type=float, default=450.0, help="seconds for all of it")
    parser.add_argument("--no-tests", action="store_true")
    parser.add_argument(
        "--no-compile", action="store_true", help="for a machine without a compiler"
    )
    parser.add_argument(
        "--size", type=int, help="pixels of all pictures, in place of the nets' own"
    )
    parser.add_argument("--measure", choices=NETS, help=argparse.SUPPRESS)
    parser.add_argument("--switches", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> None:
    """Write the file of images: the first of CIFAR-10's training and test images."""
    from netspec.runtime.data.catalog import load

    data = load("cifar10", options.data_dir)
    options.data.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        options.data,
        x_train=data.x_train[:TRAIN], y_train=data.y_train[:TRAIN].astype(np.uint8),
        x_test=data.x_test[:TEST], y_test=data.y_test[:TEST].astype(np.uint8),
    )  # fmt: skip
    print(f"{options.data}: {options.data.stat().st_size / 1e6:.1f} MB")


# ------------------------------------------------------------------------------------- the whole


def benchmark(options: argparse.Namespace) -> None:
    """Run the tests, then the rows, as long as there is time."""
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"machine": machine(options.device), "batch": options.batch}
    result["tests"] = {} if options.no_tests else tests(options, options.budget / 2)
    rows: list[Row] = []
    for net in options.nets:
        for way in WAYS:
            left = options.budget - (time.monotonic() - start)
            rows.append(row(options, net, way, left))
            print(rows[-1], file=sys.stderr, flush=True)
            result |= {"rows": [asdict(r) for r in rows], "seconds": time.monotonic() - start}
            # The results are written after each row, so that they are not lost when the time is up.
            (options.out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
            (options.out / "gpu.md").write_text(table(result), "utf-8")
    print(table(result))


def machine(device: str) -> dict[str, str]:
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    cuda = torch.version.cuda or "none"
    return {"device": name, "torch": torch.__version__, "cuda": cuda, "cpus": str(os.cpu_count())}


def tests(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run the tests marked `cuda`.

    Return how many passed, failed and were skipped, and which failed.
    """
    report = options.out / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/training/test_device.py"]
    with (options.out / "tests.log").open("w") as log:
        try:
            subprocess.run(
                [*command, "-p", "no:cacheprovider", f"--junitxml={report}"], cwd=ROOT, stdout=log,
                stderr=subprocess.STDOUT, timeout=max(1.0, seconds), env=environment(), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"note": f"not through in {seconds:.0f} s, see tests.log"}
    if not report.exists():
        return {"note": "did not run, see tests.log"}
    cases = list(ET.parse(report).iter("testcase"))
    failed = [
        case.get("name") for case in cases if list(case.iter("failure")) + list(case.iter("error"))
    ]
    skipped = sum(bool(list(case.iter("skipped"))) for case in cases)
    return {"passed": len(cases) - len(failed) - skipped, "skipped": skipped, "failed": failed}


def row(options: argparse.Namespace, net: str, way: str, left: float) -> Row:
    """Measure one way to train a net, in a process of its own."""
    if left < options.seconds + 15:
        return Row(net, way, note=SKIPPED)
    size = options.size or NETS[net][2]
    shared = ["--data", options.data, "--device", options.device, "--batch", options.batch,
              "--seconds", options.seconds, "--size", size]  # fmt: skip
    if way.startswith("plain"):
        command = [
            "benchmarks/plain_pytorch.py",
            "--net",
            net,
            *shared,
            "--workers",
            options.workers,
        ]
        command += ["--data-on-device"] if way == WAYS[1] else []
        command += ["--warmup", 2, "--least", 2] if options.seconds < 1 else []
    else:
        command = ["benchmarks/gpu.py", "--measure", net, *shared]
        command += ["--switches"] if way == WAYS[3] else []
        command += ["--no-compile"] if options.no_compile else []
    try:
        done = subprocess.run(
            [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True,
            timeout=left, env=environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Row(net, way, note=SKIPPED)
    if done.returncode:
        return Row(
            net, way, note=f"failed: {(done.stderr.strip().splitlines() or ['?'])[-1][:200]}"
        )
    return Row(net, way, json.loads(done.stdout.splitlines()[-1])["images_per_second"])


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def table(result: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    at = result["machine"]
    found, rows = result["tests"], result["rows"]
    lines = [
        f"{at['device']}, PyTorch {at['torch']}, CUDA {at['cuda']}, {at['cpus']} CPUs;"
        f" batches of {result['batch']}; {result['seconds']:.0f} s in all.",
        "",
    ]
    if found:
        told = found.get("note") or (
            f"{found['passed']} passed, {found['skipped']} skipped, {len(found['failed'])} failed"
            + "".join(f"\n- failed: {name}" for name in found["failed"])
        )
        lines += [f"Tests marked `cuda`: {told}", ""]
    lines += ["| net | way | images/s | to the plain script |", "|---|---|---:|---:|"]
    base = {r["net"]: r["images_per_second"] for r in rows if r["way"] == WAYS[0]}
    for r in rows:
        speed, plain = r["images_per_second"], base.get(r["net"])
        ratio = f"{speed / plain:.2f}" if speed and plain else ""
        lines.append(
            f"| {r['net']} | {r['way']} | {f'{speed:,.0f}' if speed else r['note']} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------- netspec's rows


def measured(options: argparse.Namespace) -> float:
    """Return the images per second of `netspec train torch`'s training steps, without the first
    epoch.
    """
    import torch

    import netspec
    from netspec.runtime.data import Dataset
    from netspec.runtime.models.pytorch.device import Execution
    from netspec.runtime.models.pytorch.model import TorchModel
    from netspec.runtime.models.torch_build import build_module

    torch.backends.cuda.matmul.allow_tf32 = True
    file, given, own = NETS[options.measure]
    size = options.size or own
    net = netspec.load(ROOT / file, **{**given, **({"size": size} if "size" in given else {})})
    ways = {"amp": "bf16", "channels_last": True} if options.switches else {}
    if options.switches and not options.no_compile:
        ways["compiler"] = "inductor"
    model = TorchModel(
        net.graph, build_module(net), Execution(torch.device(options.device), **ways)
    )
    with np.load(options.data) as arrays:
        x, y = arrays["x_train"], arrays["y_train"].astype(np.int64)
    if size != x.shape[-1]:
        x = x[:UPSCALED].repeat(size // 32, axis=2).repeat(size // 32, axis=3)
    whole = len(x) // options.batch * options.batch  # so that all batches have one size
    data = Dataset("cifar10", x[:whole], y[:whole], x[:0], y[:0], 10)
    start, speeds = 0.0, []

    def stop() -> bool:
        return bool(speeds) and time.monotonic() - start > options.seconds

    def after(_: int, history: Any) -> None:
        nonlocal start
        if len(history.images_per_second) == 1:  # the first epoch searches for algorithms
            start = time.monotonic()
        else:
            speeds.append(history.images_per_second[-1])

    netspec.fit(
        model, data, epochs=1_000, batch=options.batch, optimizer="nesterov", lr=0.1, l2=5e-4,
        augment=("crop", "flip"), progress=False, stop=stop, on_epoch=after,
    )  # fmt: skip
    return len(speeds) / sum(1 / speed for speed in speeds)  # epochs have the same length


if __name__ == "__main__":
    main()
