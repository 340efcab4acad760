"""`netspec bench FILE`: peers take turns, give the same answer, and are reported."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.kernels import parallel
from netspec.runtime.engine.code import as_planned
from netspec.runtime.engine.program import make_plan
from netspec.testing.op_examples import net_of
from netspec.tools.bench import BenchResult, Workload, compare
from netspec.tools.bench.compare import difference
from netspec.tools.bench.flops import step_flops
from netspec.tools.bench.instrumented import PARTS, ClockedProgram
from netspec.tools.bench.layer_list import UnsupportedError, calls, padding
from netspec.tools.bench.machine import machine
from netspec.tools.bench.peers import OURS, PEERS, Peer
from netspec.tools.bench.profile import measure
from netspec.tools.bench.report import as_data, as_text, size
from netspec.tools.bench.timing import Round, ratio, time_round, turns
from netspec.tools.bench.worker import PeerError, Worker
from tests.conftest import ROOT, Run, Write

# Everything for which the peers without PyTorch have a function.
MIXED = """
net Mixed {
    input image: [3, 9, 10]
    x = image -> conv(4, 3, pad = 1, bias = false) -> batch_norm -> relu
    y = x -> conv(4, 3, pad = same) -> batch_norm
    z = relu(x + y) -> conv(5, [3, 2], stride = 2) -> max_pool(2, stride = 1)
    output z -> global_avg_pool -> linear(6) -> batch_norm -> relu -> linear(3)
}
"""
FLAT = """
net Flat {
    input image: [2, 8, 8]
    output image -> conv(3, 3, pad = 1) -> relu -> max_pool(3, stride = 2, pad = 1)
        -> flatten -> linear(4)
}
"""
# Scores of each place.
MAP = "net Map {\n input image: [2, 6, 6]\n output image -> conv(4, 3)\n}"
ROWS = "net Rows {\n input x: [5, 6]\n output x -> linear(8) -> relu -> linear(4)\n}"


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer in this process sets the number of threads, which the next test must not see."""
    monkeypatch.setattr(parallel, "_threads", parallel._threads)


@pytest.fixture(scope="module")
def small() -> BenchResult:
    net = netspec.load(ROOT / "networks/lenet.net")
    return compare(Workload(net, 2, True, 1), ["onnxruntime", "numpy-im2col"], 2, profile=True)


def first_step(name: str, case: Workload) -> dict[str, Any]:
    runner = PEERS[name].load()(case)
    return runner.result(runner.step())


# -- the same answer


def others() -> Iterator[Any]:
    for name, peer in PEERS.items():
        missing = [p for p in peer.packages if importlib.util.find_spec(p) is None]
        reason = f"needs {', '.join(missing)}"
        if name not in (OURS, "torch-compile"):
            yield pytest.param(name, marks=pytest.mark.skipif(bool(missing), reason=reason))


@pytest.mark.parametrize("train", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("name", [*others()])
@pytest.mark.parametrize("text", [MIXED, FLAT, MAP, ROWS], ids=["mixed", "flat", "map", "rows"])
def test_a_peer_computes_the_same(text: str, name: str, train: bool) -> None:
    case = Workload(netspec.loads(text), 5, train, parallel.available())
    if train and not PEERS[name].trains:
        assert PEERS[name].reason_not(case) == "is for inference only"
        return
    assert difference(first_step(OURS, case), first_step(name, case), case) is None


def test_another_answer_is_told() -> None:
    case = Workload(netspec.loads(FLAT), 5, True, parallel.available())
    ours = first_step(OURS, case)
    start = case.parameters()
    assert (
        difference(ours, {**ours, "loss": ours["loss"] * 1.01}, case) == "computes a different loss"
    )
    name = "conv1.weight"
    wrong = start[name] + 1.1 * (ours[name] - start[name])
    found = difference(ours, {**ours, name: wrong}, case)
    assert found == "computes a different gradient of `conv1.weight`"
    missing = {key: value for key, value in ours.items() if key != name}
    assert difference(ours, missing, case) == "does not train `conv1.weight`"
    nan = np.full_like(ours["loss"], np.nan)
    assert difference(ours, {**ours, "loss": nan}, case) == "computes a loss that is not finite"
    told = "cannot be compared: netspec's own loss is not finite at initial values: give --weights"
    assert str(difference({**ours, "loss": nan}, ours, case)).startswith(told)


DIVIDES = """
net Divides {
    input x: [2, 6]
    parameter std: [2, 1] = zeros
    output x / std -> flatten -> linear(4) -> batch_norm -> linear(3)
}
"""


@pytest.mark.parametrize("name", ["onnxruntime", "torch", "netspec-c"])
@pytest.mark.parametrize("counted", [True, False])
def test_all_start_with_the_weights_that_are_given(name: str, counted: bool) -> None:
    if PEERS[name].reason_not(Workload(netspec.loads(DIVIDES), 4, False, 1)) is not None:
        pytest.skip("not installed")
    net = netspec.loads(DIVIDES)
    drawn = Workload(net, 4, False, 1)
    told = difference(first_step(OURS, drawn), first_step(name, drawn), drawn)
    assert told is not None
    assert "not finite at initial values" in told
    state = net.compile(seed=5).state_dict()
    own = {key: array for key, array in state.items() if counted or "tracked" not in key}
    case = Workload(net, 4, False, 1, weights={**own, "std": np.full((2, 1), 3, "f")})
    ours = first_step(OURS, case)
    assert difference(ours, first_step(name, case), case) is None
    assert np.isfinite(ours["output"]).all()
    if name == "torch":
        training = Workload(net, 4, True, 1, weights=case.weights)
        assert difference(first_step(OURS, training), first_step(name, training), training) is None


def test_the_verb_takes_weights(run: Run, write: Write, tmp_path: Path) -> None:
    path, weights = write(DIVIDES), tmp_path / "w.safetensors"
    state = {**netspec.loads(DIVIDES).compile().state_dict(), "std": np.full((2, 1), 3, "f")}
    netspec.save_weights(weights, state)
    options = ("--infer", "--against", "onnxruntime", "--rounds", 1, "--batch", 2, "--threads", 1)
    assert "not finite at initial values: give --weights" in run("bench", path, *options).out
    finished = run("bench", path, *options, "--weights", weights)
    assert finished.code == 0, finished.err
    assert "not finite" not in finished.out
    other = tmp_path / "other.safetensors"
    netspec.save_weights(other, {"std": np.ones((3, 1), "f")})
    assert "weights/mismatch" in run("bench", path, *options, "--weights", other).err


def test_dropout_has_masks_of_its_own() -> None:
    net = netspec.loads("net D { input x: [4]\n output x -> dropout(0.5) -> linear(2) }")
    case = Workload(net, 4, True, 1)
    ours = first_step(OURS, case)
    assert difference(ours, {**ours, "loss": ours["loss"] + 1}, case) is None


def test_what_a_peer_has_no_word_for() -> None:
    graph = netspec.loads("net A { input x: [4]\n output x -> silu -> linear(2) }").graph
    with pytest.raises(UnsupportedError, match=r"has no F\.silu here"):
        calls(graph, {"nn.Linear": None})


def test_padding_of_even_kernels() -> None:
    assert padding({"padding": "same", "kernel_size": (4, 3)}) == ((1, 2), (1, 1))
    assert padding({"padding": (2, 1)}) == ((2, 2), (1, 1))


# -- counting and timing


def test_flops_of_a_step() -> None:
    graph = netspec.loads(FLAT).graph
    conv, linear = 3 * 2 * 9 * 64, 4 * 48
    assert step_flops(graph, 5, train=False) == 2 * 5 * (conv + linear)
    # The gradient of the image is not computed.
    assert step_flops(graph, 5, train=True) == 2 * 5 * (2 * conv + 3 * linear)


def test_the_profile_counts_the_same_flops() -> None:
    case = Workload(netspec.loads(FLAT), 5, True, 1)
    profile = measure(case)
    assert sum(row.flops for row in profile.rows) == step_flops(case.graph, 5, train=True)
    assert {row.part for row in profile.rows} == {"forward", "backward"}
    assert all(row.seconds > 0 for row in profile.rows)
    assert profile.seconds == pytest.approx(profile.rest + sum(r.seconds for r in profile.rows))
    assert {row.place for row in profile.rows if row.ops == "conv"} == {"<text>:4"}
    lines = profile.by_line()
    assert sum(row.count for row in lines) == len(profile.rows)


def test_the_batch_is_drawn_where_the_net_takes_it() -> None:
    """Behind (x - mean) / std all standard normal numbers are nearly one."""
    text = "net A {\n input x: [6]\n buffer mean: [6] = zeros\n buffer std: [6] = ones\n"
    net = netspec.loads(f"{text} output (x - mean) / std -> linear(3)\n}}")
    given = {"mean": np.full(6, 5000.0), "std": np.full(6, 50.0)}
    drawn = Workload(net, 500, True, 1, weights=given).inputs()["x"]
    assert drawn.dtype == np.float32
    assert drawn.mean() == pytest.approx(5000, abs=5)
    assert drawn.std() == pytest.approx(50, rel=0.05)
    root = netspec.loads("net B {\n input x: [6]\n output sqrt(x) -> linear(3)\n}")
    assert Workload(root, 50, True, 1).inputs()["x"].min() > 0


# Layers, calls of a block and steps of a scan that share functions in the program.
SHARED = """
block Twice(n) x {
    y = x -> linear(n) -> relu -> dropout(0.1)
    return y -> linear(n) -> relu
}

net Shared {
    input x: [6, 4]
    y = x -> gru(5, layers = 2) -> lstm(5, layers = 2) -> rnn(5, layers = 2)
    z = y -> Twice(5) -> Twice(5) -> Twice(5)
    output z -> mean(1) -> linear(3)
}
"""


@pytest.mark.parametrize("train", [True, False])
def test_the_profile_knows_the_steps_that_share_a_function(
    train: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the program does several times was one statement, and the profile ended in an error."""
    monkeypatch.setattr("netspec.tools.bench.profile.SECONDS", 0.0)
    net = netspec.loads(SHARED)
    assert "def twice_forward(at" in net.source("numpy")
    profile = measure(Workload(net, 2, train, 1))
    places = [(row.part, row.ops) for row in profile.rows]
    assert places.count(("forward", "gru")) >= 2
    assert {row.place for row in profile.rows if row.ops == "lstm"} == {"<text>:9"}
    assert sum(row.kernel == "linear.forward" for row in profile.rows if row.ops == "linear") == 7


@pytest.mark.parametrize("cls", registry().values(), ids=lambda cls: cls.name)
def test_each_step_of_an_op_is_a_statement_that_is_timed(cls: type[Op]) -> None:
    for example in cls.examples:
        graph = netspec.loads(net_of(example.call, example.inputs)).graph
        plan = make_plan(graph, training=True, backward=True)
        program = ClockedProgram(graph, plan, np.dtype(np.float32), as_planned)
        text = ast.parse(program.code(2).text)
        found = {f.name: len(f.body) - 1 for f in text.body if isinstance(f, ast.FunctionDef)}
        for part in PARTS:
            assert found.get(part, 0) == len(getattr(plan, part)), (example.call, part)


def test_a_round_has_enough_steps() -> None:
    taken = []
    found = time_round(lambda: taken.append(1), seconds=0.0)
    assert found.steps == 3
    assert len(taken) == 4  # and one before


def test_ratios_are_of_one_round_each() -> None:
    first = [Round(1.0, 0, 3), Round(10.0, 0, 3), Round(1.0, 0, 3)]
    mine = [Round(0.5, 0, 3), Round(5.0, 0, 3), Round(2.0, 0, 3)]
    assert ratio(mine, first) == 0.5


def test_each_has_its_turn_as_the_first() -> None:
    assert [turns(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"],
    ]  # fmt: skip


def test_sizes_are_readable() -> None:
    assert [size(n) for n in (7, 2048, 3 << 19)] == ["7 B", "2.0 KiB", "1.5 MiB"]


# -- all together


def test_a_comparison(small: BenchResult) -> None:
    assert [timing.name for timing in small.timings] == ["numpy-im2col", "netspec"]
    assert small.timings[0].ratio == 1.0
    assert small.failed["onnxruntime"].startswith(("is for inference", "not installed"))
    assert all(len(timing.rounds) == 2 and timing.cpu > 0 for timing in small.timings)
    assert small.ceiling.best >= small.ceiling.sustained > 0
    memory = small.memory
    assert memory.lower_bound <= memory.arena <= memory.planned <= memory.peak


def test_a_comparison_as_text(small: BenchResult) -> None:
    lines = as_text(small).splitlines()
    assert lines[0] == "LeNet, batch 2, training step: 1 thread, median of 2 rounds"
    assert lines[2].split() == "ms CPU ms ratio GFLOP/s of sgemm version".split()
    assert any(line.startswith("onnxruntime: ") for line in lines)
    assert any(line.startswith("forward   lenet.net:6") for line in lines)
    assert any(line.startswith("rest ") for line in lines)


def test_a_comparison_as_data(small: BenchResult) -> None:
    data = json.loads(json.dumps(as_data(small)))
    assert data["mode"] == "training"
    assert {"sustained", "best"} == set(data["sgemm"])
    assert {
        "name",
        "version",
        "seconds",
        "cpu",
        "ratio",
        "gflops",
        "steps",
        "rounds",
        "peak",
    } == set(data["timings"][0])
    assert {"part", "ops", "place", "kernel", "seconds", "flops", "count"} == set(
        data["profile"]["rows"][0]
    )


def test_the_page_of_results(small: BenchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("page", ROOT / "benchmarks/compare.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "page", page)
    spec.loader.exec_module(page)
    row = page.Row("LeNet", "lenet", 2, True)
    broken = page.Row("LeNet", "lenet", 3, True)
    options = page._options(["--output", "-"])
    found = {row: small, broken: "netspec fell over"}
    text = page.report(found, ["onnxruntime", "numpy-im2col"], machine(), options)
    assert "Time as a multiple of `numpy-im2col`'s" in text
    assert "| LeNet, batch 2 | **" in text
    assert "- `netspec` netspec fell over (LeNet, batch 3, training)" in text
    assert str(Path.home()) not in text


def test_a_process_that_fails_says_why() -> None:
    net = netspec.loads("net A { input x: [4]\n output x -> silu -> linear(2) }")
    with pytest.raises(PeerError, match=r"has no F\.silu here"):
        Worker("numpy-im2col", Workload(net, 2, False, 1))


def test_a_process_that_dies_is_told() -> None:
    worker = Worker(OURS, Workload(netspec.loads(FLAT), 2, False, 1))
    worker._process.kill()
    with pytest.raises(PeerError, match="its process"):
        worker.ask("round")
    worker.close()


# -- the verb


def test_the_verb_for_programs(run: Run, networks: Path) -> None:
    finished = run(
        "bench", networks / "lenet.net", "--infer", "--batch", 1, "--rounds", 1, "--threads", 1,
        "--against", "numpy-im2col", "--format", "json",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    data = json.loads(finished.out)
    assert {"processor", "cores", "blas", "numpy"} < set(data["machine"])
    (case,) = data["cases"]
    assert (case["net"], case["batch"], case["mode"]) == ("LeNet", 1, "inference")
    assert [timing["name"] for timing in case["timings"]] == ["numpy-im2col", "netspec"]


def test_a_missing_peer_is_told(run: Run, networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "jax", Peer("nobody", "in_jax", packages=("no_such_jax",)))
    finished = run("bench", networks / "lenet.net", "--batch", 2, "--rounds", 1, "--against", "jax")
    assert finished.code == 0, finished.err
    assert "jax: not installed: pip install no_such_jax\n" in finished.out
    assert "netspec" in finished.out


def test_a_peer_that_is_none(run: Run, networks: Path) -> None:
    finished = run("bench", networks / "lenet.net", "--against", "torch,tinygard")
    assert finished.code == 2
    assert "there is no peer `tinygard`" in finished.err
    assert "did you mean `tinygrad`?" in finished.err


def test_one_thing_at_a_time(run: Run, networks: Path) -> None:
    assert run("bench", networks / "lenet.net", "--layers").code == 2


def test_a_net_of_several_outputs_is_measured_in_evaluation(run: Run, write: Write) -> None:
    path = write(
        "net P {\n input x: [3, 4, 4]\n y = x -> relu\n output a = y\n output b = y -> flatten\n}\n"
    )
    finished = run(
        "bench", path, "--infer", "--against", "numpy-im2col", "--rounds", 1, "--batch", 2, 3,
        "--threads", 1,
    )  # fmt: skip
    assert finished.code == 0, finished.err
    assert finished.out.count("P, batch ") == 2
    assert "failed" not in finished.out


def test_open_sizes_are_refused(run: Run, write: Write) -> None:
    path = write("net P {\n input x: [3, H, W]\n output x -> relu\n}\n")
    finished = run("bench", path, "--infer", "--against", "numpy-im2col")
    assert finished.code == 1
    assert "error[model/open-size]" in finished.err


def test_a_net_of_several_outputs_is_refused(run: Run, write: Write) -> None:
    path = write("net P {\n input x: [4]\n output a = x -> linear(2)\n output b = x -> relu\n}\n")
    finished = run("bench", path, "--against", "numpy-im2col")
    assert finished.code == 1
    assert "error[model/outputs]" in finished.err
