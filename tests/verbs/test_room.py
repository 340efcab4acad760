"""Work that does not fit into memory is refused before it begins, with the sizes of the net."""

from __future__ import annotations

import importlib.util
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import netspec
from netspec.runtime.weights.host import machine_memory
from netspec.tools.bench import Workload, compare
from netspec.tools.doctor import examine
from tests.conftest import Run
from tests.helpers.errors import fails

# Most memory goes into parameters in the first, and into values in the others.
WIDE = """net Wide {
    input image: [1, 8, 8]
    x = image -> flatten -> linear(300)
    x = x -> linear(400)
    output x -> linear(10)
}
"""
TALL = """net Tall {
    input image: [1, 8, 8]
    x = image -> upsample(2)
    x = x -> conv(20, 3, pad = 1)
    x = x -> batch_norm -> relu
    output x -> global_avg_pool -> linear(10)
}
"""
SCALED = """net Scaled {
    input image: [1, 8, 8]
    x = image -> upsample(8)
    for i in range(4) { x = x * 2.0 + 1.0 }
    output x -> global_avg_pool -> linear(10)
}
"""
NETS = {"wide": WIDE, "tall": TALL, "scaled": SCALED}
LARGEST = {"wide": ("x -> linear(400)", "120,400 parameters"), "tall": ("conv(20", "5,120 numbers")}
VERBS = {
    "verify": ["verify"],
    "gradcheck": ["gradcheck"],
    "doctor": ["doctor"],
    "bench": ["bench", "--against", ""],
    "train numpy": ["train", "numpy", "--out", "run"],
    "train torch": ["train", "torch", "--device", "cpu", "--out", "run"],
}
TOOLS: dict[str, Callable[[netspec.Net], object]] = {
    "verify": lambda net: netspec.verify(net, batch=3, torch=False),
    "gradcheck": lambda net: netspec.gradcheck(net, batch=3, backend="numpy", directions=1),
    "doctor": lambda net: examine(net, netspec.load_data("digits", input_shape=(1, 8, 8))),
}


def allow(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setenv("NETSPEC_MEMORY", repr(size / (1 << 30)))
    assert machine_memory() == pytest.approx(size, abs=1)


@pytest.mark.parametrize("net", ["wide", "tall"])
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_computes_refuses_what_does_not_fit(
    verb: str, net: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb == "train torch":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    Path("a.net").write_text(NETS[net])
    allow(monkeypatch, 1_000_000)
    command, *options = VERBS[verb]
    target = [options.pop(0)] if command == "train" else []
    finished = run(command, *target, "a.net", *options)
    assert finished.code == 1
    assert not Path("run").exists()
    # A step of training is refused by its own check, which knows the batch.
    step = verb.startswith("train") and net == "tall"
    assert f"error[{'train/out-of-memory' if step else 'limit/memory'}]" in finished.err
    assert "needs about" in finished.err
    if not step:
        where, size = LARGEST[net]
        assert where in finished.err
        assert size in finished.err
        assert f"{net.title()} has " in finished.err
        assert "NETSPEC_MEMORY=1 " in finished.err


@pytest.mark.parametrize(
    ("tool", "net"),
    [("verify", "wide"), ("verify", "scaled"), ("gradcheck", "wide"), ("gradcheck", "scaled"),
     pytest.param("verify", "tall", marks=pytest.mark.heavy),
     pytest.param("doctor", "wide", marks=pytest.mark.heavy)],
)  # fmt: skip
def test_what_fits_is_never_refused_and_an_eighth_of_it_is(
    tool: str, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = netspec.loads(NETS[net])
    tracemalloc.start()
    try:
        TOOLS[tool](subject)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    allow(monkeypatch, peak)
    TOOLS[tool](subject)
    allow(monkeypatch, peak / 8)
    with fails("limit/memory", "needs about"):
        TOOLS[tool](subject)


def test_a_batch_that_fits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    net = netspec.loads(TALL)
    allow(monkeypatch, 10_000_000)
    with fails("limit/memory", "with a batch of 32 ", "a batch of 4 fits"):
        netspec.verify(net, batch=32, torch=False)
    netspec.gradcheck(net, batch=4, backend="numpy", directions=1, whole=True)


def test_models_refuse_parameters_before_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    net = netspec.loads("net A { input x: [4, H, W]\n output x -> conv(55, 3) }")
    allow(monkeypatch, 8_000)
    targets = ["numpy", *(["torch"] if importlib.util.find_spec("torch") else [])]
    for target in targets:
        with fails("limit/memory", "a model of A needs about", "2,035 parameters"):
            net.compile(target)
    allow(monkeypatch, 20_000)
    for target in targets:
        net.compile(target)


def test_peers_of_a_bench_have_parameters_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    net = netspec.loads(WIDE)
    size = sum(p.size for p in net.graph.parameters.values()) * 4
    allow(monkeypatch, 3 * size)
    with fails("limit/memory", "a model of Wide needs about"):
        compare(Workload(net, 1, False, 1), ["numpy-im2col", "onnxruntime", "pytorch"])


@pytest.mark.parametrize("text", ["", "much", "-1", "0", "nan", "inf"])
def test_a_memory_that_is_no_number_is_ignored(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETSPEC_MEMORY", raising=False)
    here = machine_memory()
    monkeypatch.setenv("NETSPEC_MEMORY", text)
    assert machine_memory() == here
