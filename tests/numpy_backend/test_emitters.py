"""NumPy or numexpr for each elementwise step: how a model chooses, and that its choice is kept."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.expression import Var, where
from netspec.compiler.ir.plan import Emitter
from netspec.compiler.numpy_backend.source import numpy_source
from netspec.runtime.models.emitters import choice, timing
from netspec.runtime.models.emitters.table import EmitterTable, Question
from netspec.runtime.models.emitters.timing import time_emitters
from netspec.runtime.models.numpy_model import Model
from netspec.runtime.runs.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import Run, Write

TEXT = """
net Smooth {
    input image: [1, 8, 8]
    x = image -> conv(4, 3, pad = 1) -> leaky_relu(0.1) -> conv(4, 3, pad = 1) -> elu
    output x -> flatten -> linear(16) -> selu -> linear(16) -> tanh -> linear(10)
}
"""
NET = netspec.loads(TEXT)
FORMULA = Var("x0") * where(Var("x1") > 0, 1, Var("x1") + 1)
QUESTION = Question(FORMULA, "float32", 1024, 2)

Times = dict[Emitter, float]
FAST: Mapping[str, Times] = {
    "numexpr": {"numpy": 2e-6, "numexpr": 1e-6},
    "numpy": {"numpy": 1e-6, "numexpr": 2e-6},
}


def machine(folder: Path, faster: str, asked: list[str] | None = None) -> EmitterTable:
    """Return the table of a machine on which one of the two is always faster."""

    def time(formula: object, dtype: str, size: int) -> Times:
        if asked is not None:
            asked.append(f"{formula}, {dtype}, {size}")
        return FAST[faster]

    return EmitterTable(lambda: folder, time)


@pytest.fixture(autouse=True)
def chosen_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let models choose, on a machine on which numexpr is always faster."""
    monkeypatch.delenv("NETSPEC_EMITTERS")
    monkeypatch.setattr(choice, "has_vectors", lambda function, dtype: False)
    monkeypatch.setattr(choice, "THIS_MACHINE", machine(tmp_path / "cache", "numexpr"))


def batch_of(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, 1, 8, 8)).astype("f4"), rng.integers(0, 10, count)


def by_numpy(monkeypatch: pytest.MonkeyPatch, compute: Callable[[Model], object]) -> object:
    """Return what a model computes without any choice."""
    with monkeypatch.context() as to:
        to.setenv("NETSPEC_EMITTERS", "numpy")
        return compute(NET.compile())


# ------------------------------------------------------------------------------------ what is used


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_net_where_numexpr_wins_is_computed_by_it(dtype, monkeypatch) -> None:
    def gradients(model: Model) -> dict[str, np.ndarray]:
        return model.loss_and_grads(*batch_of(6))[1]

    model = NET.compile(dtype=dtype)
    ours = gradients(model)
    (programs,) = model._programs
    (program,) = programs
    assert program.code(6).text.count("NumexprFunction(") >= 4
    assert "NumexprFunction(" not in numpy_source(NET.graph, training=True)
    assert {*model.emitters.values()} == {"numexpr"}
    formulas = [key.partition(", float")[0] for key in model.emitters]
    assert "(x0 * where((x1 > 0), 1, 0.10000000000000001))" in formulas  # of leaky_relu
    theirs = by_numpy(monkeypatch, gradients)
    for name, gradient in ours.items():
        np.testing.assert_allclose(gradient, theirs[name], rtol=1e-3, atol=1e-5)


def test_batch_sizes_choose_apart_in_one_memory(monkeypatch) -> None:
    model = NET.compile()
    for count in (3, 40):
        model.loss_and_grads(*batch_of(count))
    kept = {k: "numpy" if " 256 numbers" in k else "numexpr" for k in model.emitters}
    assert {*kept.values()} == {"numpy", "numexpr"}
    model.emitters = kept
    expected = NET.compile()
    monkeypatch.setenv("NETSPEC_EMITTERS", "numpy")
    for count in (3, 40, 3, 3, 40, 40, 3, 40):
        x, y = batch_of(count, count)
        monkeypatch.delenv("NETSPEC_EMITTERS")
        loss, ours = model.loss_and_grads(x, y)
        monkeypatch.setenv("NETSPEC_EMITTERS", "numpy")
        wanted, theirs = expected.loss_and_grads(x, y)
        assert math.isclose(loss, wanted, rel_tol=1e-5)
        for name, gradient in ours.items():
            np.testing.assert_allclose(gradient, theirs[name], rtol=1e-3, atol=1e-5)
    monkeypatch.delenv("NETSPEC_EMITTERS")
    (programs,) = model._programs
    (program,) = programs
    assert program.code(3) is not program.code(40)
    arena = program.bind(40).arena
    assert program.bind(3).arena is arena


@pytest.mark.parametrize("fresh", [True, False])
def test_threads_may_share_a_model_that_numexpr_computes(fresh, monkeypatch) -> None:
    model = NET.compile()
    batches = [batch_of(9, seed)[0] for seed in range(4)]
    expected = by_numpy(monkeypatch, lambda m: [m.forward(x) for x in batches])
    if not fresh:
        model.forward(batches[0])
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            for ours, theirs in zip(pool.map(model.forward, batches), expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    predict = model.predictor()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            for ours, theirs in zip(pool.map(predict, batches), expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    assert "numexpr" in model.emitters.values()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_may_use_a_model_that_numexpr_computes() -> None:
    model = NET.compile()
    x, _ = batch_of(9)
    expected = model.forward(x)
    with get_context("fork").Pool(2) as pool:
        for answer in pool.map(model.forward, [x] * 4):
            np.testing.assert_array_equal(answer, expected)


def test_numexpr_has_as_many_threads_as_the_kernels() -> None:
    code = "import numexpr, netspec.kernels.with_numexpr; print(numexpr.get_num_threads())"
    environment = {**os.environ, "NETSPEC_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


# ------------------------------------------------------------------------------------- what is asked


def questions(text: str, batch: int, dtype: str = "float32") -> set[str]:
    """Return what a model asks of the table, forward and backward."""
    model = netspec.loads(f"net One {{\n    input x: [8]\n    output {text}\n}}").compile(
        dtype=dtype
    )
    model.step_bytes(batch, batch)
    return {*model.emitters}


def test_only_what_may_be_numexprs_is_asked(monkeypatch) -> None:
    backward = "(x0 * where((x1 > 0), 1, 0.10000000000000001))"
    leaky = "x -> linear(8) -> leaky_relu(0.1) -> linear(2)"
    threads = netspec.kernels.parallel.threads()
    for batch, size in ((1, 256), (32, 256), (33, 512), (16384, 1 << 17)):
        assert questions(leaky, batch) == {
            f"{backward}, float32, {size} numbers, {threads} threads"
        }
    assert questions(leaky, 16385) == set()  # bound by memory
    of_gelu = questions("x -> linear(8) -> gelu -> linear(2)", 4)
    assert of_gelu  # the slope, of what an error function gave
    assert not any("erf" in key for key in of_gelu)  # numexpr has none
    large = questions("x -> linear(8) -> tanh -> linear(2)", 1 << 20)
    assert {re.search(r"\d+ numbers", key)[0] for key in large} == {f"{1 << 17} numbers"}
    monkeypatch.setattr(choice, "has_vectors", lambda function, dtype: True)
    assert not any("tanh" in key for key in questions("x -> linear(8) -> tanh -> linear(2)", 4))
    (double,) = questions(leaky, 4, "float64")
    assert ", float64, 256 numbers" in double


def test_it_is_known_what_numpy_computes_one_by_one(monkeypatch) -> None:
    monkeypatch.undo()
    introspect = pytest.importorskip("numpy.lib.introspect", reason="new in NumPy 2.2")
    for current, expected in (("X86_V4", True), ("baseline(X86_V2)", False)):
        monkeypatch.setattr(
            introspect,
            "opt_func_info",
            lambda func_name, signature, now=current: {"tanh": {signature: {"current": now}}},
        )
        choice.has_vectors.cache_clear()
        assert choice.has_vectors("tanh", "float32") is expected
    choice.has_vectors.cache_clear()


def test_times_are_taken_in_turn_and_the_shortest_counts(monkeypatch) -> None:
    order: list[str] = []
    given = {"numpy": [5.0, 3.0, 4.0, 9.0], "numexpr": [4.0, 4.0, 2.5, 9.0]}

    class Fake:
        def __init__(self, formula: object, dtype: np.dtype, size: int, emitter: str) -> None:
            self.emitter = emitter
            assert (formula, dtype, size) == (FORMULA, np.dtype("f4"), 1024)

        def seconds(self, pool: np.ndarray, rng: np.random.Generator) -> float:
            assert pool.dtype == np.float32
            assert len(pool) >= 2048
            order.append(self.emitter)
            return given[self.emitter][(len(order) - 1) // 2]

    monkeypatch.setattr(timing, "_Run", Fake)
    monkeypatch.setattr(timing, "MOST_PAIRS", 4)
    monkeypatch.setattr(timing, "SECONDS", math.inf)
    assert time_emitters(FORMULA, "float32", 1024) == {"numpy": 3.0, "numexpr": 2.5}
    assert order == ["numpy", "numexpr"] * 4
    order.clear()
    given["numexpr"] = [50.0] * 4
    time_emitters(FORMULA, "float32", 1024)
    assert order == ["numpy", "numexpr"] * timing.LEAST_PAIRS  # the result is clear by then


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_timed_is_what_a_net_runs(dtype, monkeypatch) -> None:
    runs: list[timing._Run] = []
    make = timing._Run
    monkeypatch.setattr(timing, "_Run", lambda *given: runs.append(make(*given)) or runs[-1])
    times = time_emitters(FORMULA, dtype, 1000)
    assert all(0 < seconds < 1 for seconds in times.values())
    for run in runs:
        run.seconds(np.linspace(-2, 2, 4000, dtype=dtype), np.random.default_rng(0))
        x0, x1 = (run._buffers[name] for name in ("x0", "x1"))
        assert len(np.unique(x0)) == 1000
        expected = x0 * np.where(x1 > 0, 1, x1 + 1)
        np.testing.assert_allclose(run._buffers["out"], expected, rtol=1e-6)
        assert run._recording is not None
    assert ["numexpr" in run._program.code(1).text for run in runs] == [False, True]


# -------------------------------------------------------------------------------------- what is kept


def test_the_first_row_stands(tmp_path) -> None:
    asked: list[str] = []
    assert machine(tmp_path, "numexpr", asked).emitter(QUESTION) == "numexpr"
    later = machine(tmp_path, "numpy", asked)
    assert [later.emitter(QUESTION) for _ in range(2)] == ["numexpr"] * 2
    assert asked == [f"{FORMULA}, float32, 1024"]
    others = ((FORMULA, "float64", 1024, 2), (FORMULA, "float32", 2048, 2))
    for question in (*others, (FORMULA, "float32", 1024, 1), (-FORMULA, "float32", 1024, 2)):
        assert later.emitter(Question(*question)) == "numpy"


def test_a_row_of_another_machine_says_nothing(tmp_path, monkeypatch) -> None:
    assert machine(tmp_path, "numexpr").emitter(QUESTION) == "numexpr"
    monkeypatch.setattr(
        "netspec.runtime.models.emitters.table.machine_text", lambda: "another processor"
    )
    assert machine(tmp_path, "numpy").emitter(QUESTION) == "numpy"


def test_numexpr_must_win_by_a_margin(tmp_path) -> None:
    close: Times = {"numpy": 1e-6, "numexpr": 0.95e-6}
    assert EmitterTable(lambda: tmp_path, lambda *_: close).emitter(QUESTION) == "numpy"


def test_processes_that_measure_at_once_agree(tmp_path) -> None:
    for turn in range(10):
        begin = threading.Barrier(4)

        def time(seconds: Times, begin: threading.Barrier = begin) -> Times:
            begin.wait()
            return seconds

        tables = [
            EmitterTable(lambda t=turn: tmp_path / str(t), lambda *_, i=i: time(FAST[i]))
            for i in ("numpy", "numexpr") * 2
        ]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda table: table.emitter(QUESTION), tables))
        assert len({*answers}) == 1
        files = [*(tmp_path / str(turn)).rglob("*")]
        assert len(files) == 2, files  # the folder of the machine, and the row: nothing beside


DAMAGE = {
    "nothing": "",
    "half": '{"format": 1, "mach',
    "deep": "[" * 100_000,
    "a list": "[1, 2]",
    "another question": "question",
    "another format": "format",
    "no emitter": "emitter",
    "bytes": b"\xff\xfe\x00",
    "a number": "Infinity",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_row_is_measured_again(tmp_path, kind) -> None:
    machine(tmp_path, "numpy").emitter(QUESTION)
    (path,) = tmp_path.rglob("*.json")
    whole = json.loads(path.read_text("utf-8"))
    content = DAMAGE[kind]
    if content in whole:
        content = json.dumps({**whole, content: "__import__('os')"})
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert machine(tmp_path, "numexpr").emitter(QUESTION) == "numexpr"
    assert machine(tmp_path, "numpy").emitter(QUESTION) == "numexpr"


def test_what_cannot_be_kept_is_numpys(tmp_path) -> None:
    """Otherwise each process would choose by itself, and equal seeds would not give equal bits."""
    asked: list[str] = []
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert machine(in_the_way / "cache", "numexpr", asked).emitter(QUESTION) == "numpy"
    machine(tmp_path, "numexpr").emitter(QUESTION)
    (path,) = tmp_path.rglob("*.json")
    path.unlink()
    path.mkdir()
    assert machine(tmp_path, "numexpr", asked).emitter(QUESTION) == "numpy"
    path.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)  # which would keep a reader waiting
        assert machine(tmp_path, "numexpr", asked).emitter(QUESTION) == "numpy"
    assert asked == []


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_model_keeps_its_choices(way, tmp_path, monkeypatch) -> None:
    model = NET.compile()
    model.loss_and_grads(*batch_of(6))
    kept = model.emitters
    monkeypatch.setattr(choice, "THIS_MACHINE", machine(tmp_path / "other", "numpy"))
    for other in (way(model), way(model.predictor())):
        if isinstance(other, Model):
            _, ours = other.loss_and_grads(*batch_of(6))
            assert other.emitters == kept
            for name, gradient in model.loss_and_grads(*batch_of(6))[1].items():
                np.testing.assert_array_equal(ours[name], gradient)
        else:
            np.testing.assert_array_equal(other(batch_of(6)[0]), model.predictor()(batch_of(6)[0]))


# ------------------------------------------------------------------------------------------- in runs


def weights_of(run: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(run / "weights.safetensors")


def test_a_run_goes_on_with_its_choices_on_another_machine(
    run: Run, write: Write, tmp_path, monkeypatch
) -> None:
    options = ("--train-limit", 70, "--batch", 32, "--quiet", "--epochs")
    net = write(TEXT)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run("train", "numpy", net, "--out", whole, *options, 2).code == 0
    assert run("train", "numpy", net, "--out", cut, *options, 1, "--schedule", "cosine").code == 0
    last = load_checkpoint(cut / "checkpoints/last.safetensors")
    kept = last.state["backend"]["emitters"]
    assert {*kept.values()} == {"numexpr"}
    asked: list[str] = []
    monkeypatch.setattr(choice, "THIS_MACHINE", machine(tmp_path / "other", "numpy", asked))
    assert run("train", "--resume", cut, "--epochs", 2, "--quiet").code == 0
    ended = load_checkpoint(cut / "checkpoints/last.safetensors").state["backend"]["emitters"]
    assert ended == kept
    another = tmp_path / "another"
    assert run("train", "numpy", net, "--out", another, *options, 2).code == 0
    theirs = load_checkpoint(another / "checkpoints/last.safetensors")
    assert {*theirs.state["backend"]["emitters"].values()} == {"numpy"}


def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(
    run: Run, write: Write, tmp_path, monkeypatch
) -> None:
    net = write(TEXT)
    options = ("--train-limit", 70, "--batch", 32, "--quiet", "--epochs", 2)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run("train", "numpy", net, "--out", whole, *options).code == 0
    assert run("train", "numpy", net, "--out", cut, *options, "--checkpoint-every", 1).code == 0
    last, previous = (cut / f"checkpoints/{name}.safetensors" for name in ("last", "previous"))
    previous.replace(last)
    assert load_checkpoint(last).step < 6
    monkeypatch.setattr(choice, "THIS_MACHINE", machine(tmp_path / "other", "numpy"))
    assert run("train", "--resume", cut, "--quiet").code == 0
    ours, theirs = weights_of(cut), weights_of(whole)
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)


def test_a_checkpoint_with_odd_choices_is_refused(run: Run, write: Write, tmp_path) -> None:
    net, folder = write(TEXT), tmp_path / "run"
    options = ("--train-limit", 40, "--quiet", "--epochs", 1)
    assert run("train", "numpy", net, "--out", folder, *options).code == 0
    last = load_checkpoint(folder / "checkpoints/last.safetensors")
    for odd in ({"x": "exec"}, {"x": 3}, ["numpy"], 7, {"x": ["numexpr"]}, "numexpr"):
        last.state["backend"]["emitters"] = odd
        save_checkpoint(folder / "checkpoints", last)
        refused = run("train", "--resume", folder, "--epochs", 2, "--quiet")
        assert (refused.code, "run/checkpoint" in refused.err) == (1, True), odd
    del last.state["backend"]["emitters"]  # as older versions wrote it
    save_checkpoint(folder / "checkpoints", last)
    assert run("train", "--resume", folder, "--epochs", 2, "--quiet").code == 0
