"""Runs the tests marked `cuda`, and times training in images per second and to 94 % of CIFAR-10.

    python benchmarks/gpu.py --prepare [--data-dir DIR]     # where CIFAR-10 is: packs it
    python benchmarks/gpu.py --out DIR                      # on the machine with the GPU

Nothing is downloaded: the packed files (see `packed_cifar.py`), 103 MB in 6 parts, are all that must be
copied there. `--sections` chooses what is run, within `--budget` seconds:

- `tests`: the tests that are marked `cuda`.
- `rows`: images per second, each way in a process of its own: `benchmarks/plain_pytorch.py` with
  torchvision's transforms in a DataLoader, with the images on the device, and with all its switches; the
  steps of `netspec train torch` with its defaults, and with one switch after the other (bf16, channels
  last, torch.compile, CUDA graphs, max-autotune). All use the same nets, batch size and SGD. Nets beside
  the first have the plain rows and the netspec ones without and with all switches.
- `airbench`: networks/airbench.toml and a peer in alternation, `--seeds` runs each in each of `--rounds`
  rounds: airbench94_muon.py of https://github.com/KellerJordan/cifar10-airbench, unchanged, whose path is
  `--peer`, or without it `benchmarks/plain_airbench.py`. Times are of training
  and the test with copies of the pictures, without what is compiled in a run before them.

DIR gets gpu.json, gpu.md and the log of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
PACKED = ROOT / "build" / "cifar10"
TRAIN, TEST = 9_000, 1_000
# Only this many images are upscaled, because more would need too much memory.
UPSCALED = 2_560
NETS = {
    "resnet20": ("networks/resnet.net", {"depth": 20}, 32),
    "resnet18": ("networks/zoo/resnet18.net", {"classes": 10, "size": 224}, 224),
    "resnet50": ("networks/zoo/resnet50.net", {"classes": 10, "size": 224}, 224),
}
SECTIONS = ("tests", "rows", "airbench")
# Switches of netspec's rows, each with those before it.
SWITCHES = ("bf16", "channels last", "compiled", "CUDA graphs", "max-autotune")
MODES = {"compiled": "default", "CUDA graphs": "reduce-overhead", "max-autotune": "max-autotune"}
PLAIN = ("plain, DataLoader", "plain, data on device", "plain, all switches")
OURS = ("netspec", *(f"netspec, {name}" for name in SWITCHES))
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
    elif options.measure == "airbench":
        for found in airbench_runs(options):
            print(json.dumps(found), flush=True)
    elif options.measure:
        print(json.dumps({"images_per_second": measured(options)}))
    else:
        benchmark(options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="pack CIFAR-10")
    parser.add_argument("--data-dir", type=Path, help="where CIFAR-10 is, for --prepare")
    parser.add_argument(
        "--packed", type=Path, default=PACKED, help="the folder of the packed files"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--batch", type=int, default=128, help="of the rows")
    parser.add_argument("--seconds", type=float, default=5.0, help="that a row is timed for")
    parser.add_argument("--workers", type=int, default=8, help="of the DataLoader")
    parser.add_argument("--budget", type=float, default=540.0, help="seconds for all of it")
    parser.add_argument("--peer", type=Path, help="airbench94_muon.py, which is run unchanged")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each in a round of airbench")
    parser.add_argument("--rounds", type=int, default=2, help="of airbench and its peer")
    parser.add_argument("--epochs", type=int, default=8, help="of airbench")
    parser.add_argument("--airbench-batch", type=int, default=2000)
    parser.add_argument("--widths", type=int, nargs=3, default=[64, 256, 256], help="of airbench")
    parser.add_argument("--mode", default="max-autotune", help="of torch.compile, for airbench")
    parser.add_argument(
        "--no-compile", action="store_true", help="for a machine without a compiler"
    )
    parser.add_argument(
        "--size", type=int, help="pixels of all pictures, in place of the nets' own"
    )
    parser.add_argument("--measure", choices=(*NETS, "airbench"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--switches", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(options: argparse.Namespace) -> None:
    """Pack CIFAR-10."""
    from packed_cifar import pack

    from netspec.runtime.data.catalog import load

    data = load("cifar10", options.data_dir)
    arrays = {
        "x_train": data.x_train, "y_train": data.y_train.astype(np.uint8),
        "x_test": data.x_test, "y_test": data.y_test.astype(np.uint8),
    }  # fmt: skip
    for path in pack(arrays, options.packed):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def unpacked(options: argparse.Namespace, folder: Path) -> Path:
    """Write CIFAR-10 as arrays: all of it for airbench, and the first pictures of it for the rows."""
    from packed_cifar import unpack

    arrays = unpack(options.packed)
    np.savez(folder / "cifar10.npz", **arrays)
    first = {name: each[: TRAIN if "train" in name else TEST] for name, each in arrays.items()}
    np.savez(folder / "first.npz", **first)
    return folder


# ------------------------------------------------------------------------------------- the whole


def benchmark(options: argparse.Namespace) -> None:
    """Run the sections, as long as there is time."""
    start = time.monotonic()
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "machine": machine(options.device), "batch": options.batch, "tests": {}, "rows": [],
        "airbench": [], "peer": "plain_airbench.py" if options.peer is None else options.peer.name,
    }  # fmt: skip

    def left() -> float:
        return float(options.budget - (time.monotonic() - start))

    def keep(found: object) -> None:
        # The results are written after each row, so that they are not lost when the time is up.
        print(found, file=sys.stderr, flush=True)
        result["seconds"] = time.monotonic() - start
        (options.out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        (options.out / "gpu.md").write_text(table(result), "utf-8")

    with tempfile.TemporaryDirectory() as folder:
        data = unpacked(options, Path(folder))
        # What is compared first: the tests have half of what is left.
        if "airbench" in options.sections:
            for found in airbench(options, data, left):
                result["airbench"].append(asdict(found))
                keep(found)
        if "rows" in options.sections:
            for net, way in ways(options):
                result["rows"].append(asdict(row(options, data / "first.npz", net, way, left())))
                keep(result["rows"][-1])
        if "tests" in options.sections:
            result["tests"] = tests(options, left())
        keep("all that there was time for")
    print(table(result))


def ways(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the nets with the ways to train them."""
    last = OURS[2] if options.no_compile else OURS[-1]
    for net in options.nets:
        ours = OURS[: OURS.index(last) + 1] if net == options.nets[0] else (OURS[0], last)
        for way in (*PLAIN, *ours):
            yield net, way


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


def row(options: argparse.Namespace, data: Path, net: str, way: str, left: float) -> Row:
    """Measure one way to train a net, in a process of its own."""
    if left < options.seconds + 15:
        return Row(net, way, note=SKIPPED)
    size = options.size or NETS[net][2]
    shared = ["--data", data, "--device", options.device, "--batch", options.batch,
              "--seconds", options.seconds, "--size", size]  # fmt: skip
    if way in PLAIN:
        command = ["benchmarks/plain_pytorch.py", "--net", net, *shared]
        command += ["--workers", options.workers]
        command += ["--data-on-device"] if way != PLAIN[0] else []
        command += ["--switches"] if way == PLAIN[2] else []
        command += (
            ["--compile", "max-autotune"] if way == PLAIN[2] and not options.no_compile else []
        )
        command += ["--warmup", 2, "--least", 2] if options.seconds < 1 else []
    else:
        command = ["benchmarks/gpu.py", "--measure", net, *shared, "--switches", OURS.index(way)]
    try:
        lines = printed(command, left)
    except subprocess.TimeoutExpired:
        return Row(net, way, note=SKIPPED)
    except subprocess.CalledProcessError as error:
        return Row(net, way, note=last_line(error))
    return Row(net, way, json.loads(lines[-1])["images_per_second"])


def printed(command: list[Any], left: float) -> list[str]:
    """Return the lines that a script prints."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True,
        timeout=left, env=environment(), check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def last_line(error: subprocess.CalledProcessError) -> str:
    return f"failed: {(error.stderr.strip().splitlines() or ['?'])[-1][:200]}"


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
    lines += airbench_table(result) if result["airbench"] else []
    if not rows:
        return "\n".join(lines) + "\n"
    lines += ["| net | way | images/s | to the plain script |", "|---|---|---:|---:|"]
    base = {r["net"]: r["images_per_second"] for r in rows if r["way"] == PLAIN[0]}
    for r in rows:
        speed, plain = r["images_per_second"], base.get(r["net"])
        ratio = f"{speed / plain:.2f}" if speed and plain else ""
        lines.append(
            f"| {r['net']} | {r['way']} | {f'{speed:,.0f}' if speed else r['note']} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------- airbench


@dataclass
class Trained:
    """A run of airbench: how long it took, and the test accuracy; or why there is none."""

    who: str
    round: int
    seconds: float | None = None
    accuracy: float | None = None
    note: str = ""


def airbench(
    options: argparse.Namespace, data: Path, left: Callable[[], float]
) -> Iterator[Trained]:
    """Yield the runs of netspec's recipe and those of the peer, round by round."""
    for number in range(1, options.rounds + 1):
        for who in ("netspec", "peer"):
            if left() < 30:
                yield Trained(who, number, note=SKIPPED)
                continue
            try:
                runs = (
                    ours(options, data, left()) if who == "netspec" else peer(options, data, left())
                )
            except subprocess.TimeoutExpired:
                yield Trained(who, number, note=SKIPPED)
                continue
            except subprocess.CalledProcessError as error:
                yield Trained(who, number, note=last_line(error))
                continue
            for seconds, accuracy in runs:
                yield Trained(who, number, seconds, accuracy)


def airbench_options(options: argparse.Namespace, data: Path) -> list[Any]:
    return ["--data", data / "cifar10.npz", "--device", options.device, "--seeds", options.seeds,
            "--epochs", options.epochs, "--widths", *options.widths]  # fmt: skip


def ours(options: argparse.Namespace, data: Path, left: float) -> list[tuple[float, float]]:
    command = ["benchmarks/gpu.py", "--measure", "airbench", *airbench_options(options, data)]
    command += ["--airbench-batch", options.airbench_batch, "--mode", options.mode]
    command += ["--no-compile"] if options.no_compile else []
    return [(run["seconds"], run["accuracy"]) for run in map(json.loads, printed(command, left))]


def peer(options: argparse.Namespace, data: Path, left: float) -> list[tuple[float, float]]:
    """Return the runs of the peer: of the original if its path is given, else of a plain version."""
    if options.peer is not None:
        return original(options, data, left)
    command = ["benchmarks/plain_airbench.py", *airbench_options(options, data)]
    command += ["--batch", options.airbench_batch]
    command += [] if options.no_compile else ["--compile", options.mode]
    return [(run["seconds"], run["accuracy"]) for run in map(json.loads, printed(command, left))]


def original(options: argparse.Namespace, data: Path, left: float) -> list[tuple[float, float]]:
    """Run the original in a folder with its data, and end it after as many runs as are wanted."""
    import torch

    folder = data / "peer"
    (folder / "cifar10").mkdir(parents=True, exist_ok=True)
    classes = "airplane automobile bird cat deer dog frog horse ship truck".split()
    with np.load(data / "cifar10.npz") as arrays:
        for part in ("train", "test"):
            images = torch.from_numpy(arrays[f"x_{part}"].transpose(0, 2, 3, 1).copy())
            labels = torch.from_numpy(arrays[f"y_{part}"].astype(np.int64))
            held = {"images": images, "labels": labels, "classes": classes}
            torch.save(held, folder / "cifar10" / f"{part}.pt")
    process = subprocess.Popen(
        [sys.executable, options.peer.absolute()], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env={**environment(), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    timer = threading.Timer(left, process.kill)
    timer.start()
    found: list[tuple[float, float]] = []
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 6 and cells[1] == "eval":
            found.append((float(cells[5]), float(cells[4])))
        if len(found) > options.seeds:  # the first warms up
            break
    was_late = not timer.is_alive()
    timer.cancel()
    process.kill()
    process.wait()
    if len(found) <= 1:
        if was_late:
            raise subprocess.TimeoutExpired("peer", left)
        raise subprocess.CalledProcessError(1, "peer", stderr="".join(said))
    return found[1:]


def airbench_runs(options: argparse.Namespace) -> Iterator[dict[str, float]]:
    """Yield the runs of networks/airbench.toml with a seed each, without a first, which compiles."""
    import torch

    import netspec
    from netspec.runtime.data import Dataset
    from netspec.runtime.models.pytorch.device import Execution
    from netspec.runtime.models.pytorch.model import TorchModel
    from netspec.runtime.models.torch_build import build_module
    from netspec.runtime.runs.recipe import read_recipe
    from netspec.runtime.runs.resolve import resolve
    from netspec.runtime.training.transfer import choose_frozen

    settings = resolve({}, read_recipe(ROOT / "networks/airbench.toml"))
    chosen = settings.training_options().keywords()
    chosen |= {"epochs": options.epochs, "batch": options.airbench_batch, "progress": False}
    with np.load(options.data) as arrays:
        data = Dataset("cifar10", arrays["x_train"], arrays["y_train"].astype(np.int64),
                       arrays["x_test"], arrays["y_test"].astype(np.int64), 10)  # fmt: skip
    net = netspec.load(ROOT / "networks/airbench.net", widths=options.widths)
    ways = Execution(
        torch.device(options.device), channels_last=True,
        amp="bf16" if options.device == "cuda" else "off",
        compiler=None if options.no_compile else "inductor", compile_mode=options.mode,
    )  # fmt: skip
    for seed in range(-1, options.seeds):
        model = TorchModel(net.graph, build_module(net, seed=seed + 1), ways)
        model.freeze(choose_frozen(net.graph, settings["freeze"]))
        start = time.perf_counter()
        history = netspec.fit(model, data, **{**chosen, "seed": seed + 1})
        if seed >= 0:
            # The accuracy on training images, which the peer does not measure in the same way, counts.
            seconds = time.perf_counter() - start
            yield {"seconds": seconds, "accuracy": history.test_acc_history[-1]}


def airbench_table(result: dict[str, Any]) -> list[str]:
    """Return the lines on airbench: the mean of the runs of each, and how they compare."""
    lines = [f"CIFAR-10 by networks/airbench.toml, and by {result['peer']}:", ""]
    lines += [
        "| who | runs | seconds, mean | least | accuracy, mean |",
        "|---|---:|---:|---:|---:|",
    ]
    means: dict[str, float] = {}
    for who in ("netspec", "peer"):
        runs = [r for r in result["airbench"] if r["who"] == who]
        times = [r["seconds"] for r in runs if r["seconds"] is not None]
        if not times:
            lines.append(f"| {who} | 0 | {runs[0]['note'] if runs else SKIPPED} | | |")
            continue
        means[who] = statistics.mean(times)
        accuracy = statistics.mean(r["accuracy"] for r in runs if r["accuracy"] is not None)
        lines.append(
            f"| {who} | {len(times)} | {means[who]:.3f} | {min(times):.3f} | {accuracy:.2%} |"
        )
    if len(means) == 2:
        ratio = means["netspec"] / means["peer"]
        lines += ["", f"netspec's time is {ratio:.2f} of the peer's."]
    return [*lines, ""]


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
    on = SWITCHES[: options.switches]
    mode = [MODES[name] for name in on if name in MODES][-1:]
    ways = Execution(
        torch.device(options.device), amp="bf16" if "bf16" in on else "off",
        channels_last="channels last" in on, compiler="inductor" if mode else None,
        compile_mode=mode[0] if mode else "default",
    )  # fmt: skip
    model = TorchModel(net.graph, build_module(net), ways)
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
