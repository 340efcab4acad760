"""Times of C files that predict, next to onnxruntime on one thread and to emx-onnx-cgen.

    .venv/bin/python benchmarks/c_files.py [--rounds 15]

The contestants of a net run in turn, a round each, called from Python for one image on one thread; shown
are the medians, and how long each file took to generate and to compile. onnxruntime and emx-onnx-cgen
(`pip install emx-onnx-cgen`) are left out, with a word, where they are missing. Processor time is
measured, so that other programs disturb it less.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import netspec
from netspec.compiler.c_backend.emit import COptions, c_source
from netspec.compiler.onnx_backend import OnnxOptions, onnx_model
from netspec.runtime.models.onnx_session import OnnxSession

NETWORKS = Path(netspec.__file__).parents[1] / "networks"
NETS = {"LeNet": ("lenet.net", {}), "ResNet-20": ("resnet.net", {"depth": 20})}
PLAIN, NATIVE = ("-O2",), ("-O3", "-march=native")
# A round of a contestant takes about this long.
SECONDS = 0.05

Call = Callable[[], object]


def built(folder: Path, text: str, flags: tuple[str, ...]) -> tuple[ctypes.CDLL, float]:
    """Compile a file to a library; return it with the seconds that took."""
    path, library = folder / "net.c", folder / f"net{''.join(flags)}{len(text)}.so"
    path.write_text(text, "ascii")
    start = time.perf_counter()
    command = ["gcc", "-std=c99", *flags, "-shared", "-fPIC", str(path), "-o", str(library), "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library)), time.perf_counter() - start


def pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    """Return the places of arrays, as C takes them."""
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


def ours(net, model, x, y, folder: Path) -> dict[str, Call]:
    """Return the calls of the C file, plain and fast."""
    calls: dict[str, Call] = {}
    for fast, flags in ((False, PLAIN), (True, NATIVE)):
        start = time.perf_counter()
        source = c_source(net.graph, model.parameters, COptions(fast=fast))
        generated = time.perf_counter() - start
        library, compiled = built(folder, source.text, flags)
        if source.weights is not None:
            held = np.frombuffer(source.weights, "<f4").astype("f")
            getattr(library, f"{source.name}_use_weights")(*pointers(held))
            library.held = held  # type: ignore[attr-defined]
        function, given = getattr(library, f"{source.name}_predict"), pointers(x, y)
        what = f"netspec{' --fast' if fast else ''}, gcc {' '.join(flags)}"
        print(f"  {what}: generated in {generated:.2f} s, compiled in {compiled:.2f} s")
        calls[what] = lambda function=function, given=given: function(*given)
    return calls


def others(net, model, x, y, folder: Path, emx: str) -> dict[str, Call]:
    """Return the calls of the other programs that are installed."""
    calls: dict[str, Call] = {}
    (name,), inputs = net.graph.inputs, {next(iter(net.graph.inputs)): x}
    try:
        session = OnnxSession(net.graph, model.parameters, 1)
    except netspec.NetspecError as error:
        print(f"  without onnxruntime: {error.diagnostics[0].message}")
        return calls
    fed = session.fed(inputs)
    calls["onnxruntime, one thread"] = lambda: session(fed)
    if shutil.which(emx) is None:
        print("  without emx-onnx-cgen: it is not installed")
        return calls
    path = folder / "theirs.onnx"
    # The batch is open in our models, and has to be a number there.
    path.write_bytes(onnx_model(net.graph, model.parameters, OnnxOptions(opset=17)).content())
    command = [
        emx,
        "compile",
        str(path),
        str(folder / "theirs.c"),
        "--input-dim",
        f"{name}:0=1",
        "--large-weight-threshold",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"  without emx-onnx-cgen: {done.stderr.strip().splitlines()[-1:]}")
        return calls
    library, seconds = built(folder, (folder / "theirs.c").read_text(), NATIVE)
    print(f"  emx-onnx-cgen, gcc {' '.join(NATIVE)}: compiled in {seconds:.2f} s")
    given = pointers(x, y)
    calls["emx-onnx-cgen"] = lambda: library.model(*given)
    return calls


def measured(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """Return the median seconds of a call, from rounds in which each contestant has its turn."""
    counts = {}
    for name, call in calls.items():
        start = time.process_time()
        call(), call()
        counts[name] = max(1, int(2 * SECONDS / max(time.process_time() - start, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(counts[name]):
                call()
            times[name].append((time.process_time() - start) / counts[name])
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    """Print the times of each net."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--emx", default="emx-onnx-cgen", help="where emx-onnx-cgen is")
    chosen = parser.parse_args()
    for title, (file, arguments) in NETS.items():
        print(title)
        net = netspec.load(NETWORKS / file, **arguments)
        model = net.compile()
        (shape,) = net.graph.inputs.values()
        x = np.random.default_rng(0).standard_normal((1, *shape)).astype("f")
        expected = model.forward(x)
        y = np.zeros_like(expected)
        with tempfile.TemporaryDirectory() as name:
            calls = ours(net, model, x, y, Path(name))
            for call in calls.values():
                call()
                assert np.abs(expected - y).max() < 1e-3
            calls |= others(net, model, x, y, Path(name), chosen.emx)
            for what, seconds in measured(calls, chosen.rounds).items():
                print(f"  {what}: {1e6 * seconds:,.1f} us")


if __name__ == "__main__":
    main()
