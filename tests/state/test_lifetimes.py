"""What is dropped is freed, what is interrupted is not used again, and mapped data stay mapped."""

from __future__ import annotations

import gc
import linecache
import signal
import subprocess
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.export import standalone_source
from netspec.kernels import parallel
from netspec.runtime.engine.recent import Recent
from tests.helpers import interrupting
from tests.helpers.heavy import some_heavy

ROOT = Path(__file__).parents[2]
TEXT = """net Small() {
    input image: [1, 8, 8]
    output image -> conv(6, 3, pad = 1) -> batch_norm -> relu -> conv(6, 3, groups = 2)
           -> layer_norm -> max_pool(2) -> flatten -> linear(3)
}"""
OPEN = """net Open() {
    input image: [1, H, W]
    output image -> conv(6, 3, pad = 1) -> relu -> global_avg_pool -> linear(3)
}"""
RNG = np.random.default_rng(0)
DATA = netspec.Dataset(
    "made", RNG.integers(0, 256, (40, 1, 8, 8)).astype("u1"), RNG.integers(0, 3, 40),
    RNG.integers(0, 256, (9, 1, 8, 8)).astype("u1"), RNG.integers(0, 3, 9), 3,
)  # fmt: skip
X, Y = RNG.standard_normal((8, 1, 8, 8)).astype("f4"), RNG.integers(0, 3, 8)


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_threads", 2)
    for name in ("WORTH_A_THREAD", "WORTH_A_PART"):
        monkeypatch.setattr(parallel, name, 1)


def anonymous_megabytes() -> float:
    """Return the memory of this process that no file holds."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


# ------------------------------------------------------------------------------------- lifetimes


def used() -> Any:
    model = netspec.loads(TEXT).compile()
    netspec.fit(model, DATA, epochs=2, batch=8)
    for batch in (1, 3, 8):
        for _ in range(4):
            model.loss_and_grads(X[:batch], Y[:batch], training=batch > 1)
    return model


def used_predictor() -> Any:
    predictor = used().predictor()
    for batch in (1, 1, 3):
        predictor(X[:batch])
    return predictor


@pytest.mark.parametrize("make", [used, used_predictor])
def test_what_is_dropped_is_freed_at_once(make: Any) -> None:
    """This holds without the garbage collector, which sees no cycle through the base of an array."""
    gc.collect()
    gc.disable()
    try:
        each = make()
        arrays = [a for a in gc.get_objects() if isinstance(a, np.ndarray)]
        assert not [a for a in arrays if type(a).__name__ == "RecordedArray"]
        refs = [weakref.ref(each), *map(weakref.ref, memory_of(each))]
        del each, arrays
        assert [ref() is None for ref in refs] == [True] * len(refs)
    finally:
        gc.enable()


def memory_of(each: Any) -> list[np.ndarray]:
    if hasattr(each, "predictor"):
        programs = [program for made in each._programs for program in made]
        return [program._own.arena for program in programs] + [each.flat_parameters]
    return [run._buffers.arena for prepared in each._prepared for run in prepared._free]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux counts it")
def test_many_fits_take_the_memory_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # work is shared out where that pays
    net = netspec.load(ROOT / "networks/lenet.net")
    images = np.zeros((128, 1, 28, 28), "u1")
    data = netspec.Dataset("zeros", images, np.arange(128) % 10, images[:64], np.zeros(64, int), 10)
    marks = []
    for turn in range(15):
        netspec.fit(net.compile(), data, epochs=4, batch=32)
        if turn in (4, 14):
            marks.append(anonymous_megabytes())
    # The leak was 10 MB per fit, while malloc may keep the memory of one.
    assert marks[1] - marks[0] < 20, marks


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux counts it")
def test_batch_sizes_and_picture_sizes_are_let_go() -> None:
    net, model = netspec.loads(OPEN), netspec.loads(TEXT).compile()
    pictures = net.compile()
    marks = []
    for _ in range(3):
        for batch in range(40, 4, -4):
            model.loss_and_grads(np.zeros((batch, 1, 8, 8)), np.zeros(batch, int))
        for size in range(40, 60, 2):
            for _ in range(3):
                pictures.forward(np.zeros((8, 1, size, size), "f4"))
        marks.append(anonymous_megabytes())
    assert len(pictures._programs) == 8
    assert marks[-1] - marks[1] < 4, marks


def test_what_was_asked_for_lately_is_kept() -> None:
    recent: Recent[int, object] = Recent(3)
    first = recent.get(0, object)
    for key in range(1, 20):
        recent.get(key, object)
        assert recent.get(0, object) is first
    assert len(recent) == 3
    assert recent.known(1) is None


# ------------------------------------------------------------------------------------ interrupts


class StopError(Exception):
    """Raised by a part of the work."""


def test_no_part_runs_on_when_one_raises() -> None:
    running = []

    def part(number: int) -> None:
        running.append(number)
        if number == 0:
            raise StopError
        time.sleep(0.02)
        running.remove(number)

    for _ in range(20):
        with pytest.raises(StopError):
            parallel.run(part, [(number,) for number in range(3)])
        assert running == [0]
        running.clear()


def test_an_error_of_a_worker_is_raised_when_all_is_done() -> None:
    done = []

    def part(number: int) -> int:
        if number == 1:
            raise StopError
        time.sleep(0.01)
        done.append(number)
        return number

    with pytest.raises(StopError):
        parallel.run(part, [(number,) for number in range(3)])
    assert sorted(done) in ([0, 2], [0])  # a task that no worker had begun may be left out


def test_parts_are_made_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    monkeypatch.setattr(parallel, "_workers", parallel._PerProcess(parallel._Workers))
    assert parallel.run(lambda number: number + 1, [(n,) for n in range(4)]) == [1, 2, 3, 4]


def test_a_standalone_file_that_is_dropped_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its idle threads nor a hook for forks keep its module."""
    source = standalone_source(netspec.loads(TEXT).graph, training=False)

    def used_class() -> weakref.ref[type]:
        module = types.ModuleType("standalone_file")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(source, module.__name__, "exec"), vars(module))
        for name, value in {"_threads": 2, "WORTH_A_THREAD": 1, "IDLE_SECONDS": 0.05}.items():
            setattr(module, name, value)
        module.Small().forward(X)
        assert any(thread.name == "netspec" for thread in threading.enumerate())
        monkeypatch.undo()
        return weakref.ref(module.Small)

    used = used_class()
    deadline = time.monotonic() + interrupting.SECONDS
    while used() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    assert used() is None


def test_sources_of_dropped_pytorch_modules_are_freed() -> None:
    pytest.importorskip("torch")
    before = set(linecache.cache)

    def built(number: int) -> Any:
        text = TEXT.replace("linear(3)", f"linear({number})")
        return netspec.loads(text).compile("torch").module

    module = built(1)
    own = set(linecache.cache) - before
    for number in range(2, 44):
        built(number)
    gc.collect()
    assert len(own) == 1
    assert own <= set(linecache.cache)  # a traceback through it still shows its lines
    assert len(set(linecache.cache) - before) < 38
    del module


def test_workers_that_ended_are_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_workers", parallel._PerProcess(parallel._Workers))
    monkeypatch.setattr(parallel, "IDLE_SECONDS", 0.01)
    workers = parallel._workers.get()
    for _ in range(3):
        assert parallel.run(lambda number: number + 1, [(n,) for n in range(4)]) == [1, 2, 3, 4]
        deadline = time.monotonic() + interrupting.SECONDS
        while workers._threads and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not workers._threads


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="interrupts by a timer")
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize(
    "what",
    some_heavy(
        interrupting.KINDS,
        [kind for kind in interrupting.KINDS if "torch" in kind or kind == "native gradients"],
    ),
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a finalizer
def test_an_interrupted_call_does_not_spoil_the_next(what: str, workers: int) -> None:
    """Interrupts come at random moments: while it records, while threads work, and in between."""
    if "torch" in what:
        pytest.importorskip("torch")
    interrupting.interrupt_many(what, workers, 8, seed=7)


def interrupted_at(call: Callable[[], object], number: int, files: tuple[str, ...]) -> bool:
    """Interrupt a call where it enters the n-th function of some files.

    Return whether it got there.
    """
    entered = [0]

    def at_call(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.endswith(files):
            entered[0] += 1
            if entered[0] == number:
                raise KeyboardInterrupt

    sys.settrace(at_call)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("what", ["forward", "torch forward"])
def test_an_interrupt_at_any_call_leaves_locks_open_and_modes_alone(what: str) -> None:
    """The interrupts come at each call on the way through locks and modes, one after the other."""
    if "torch" in what:
        pytest.importorskip("torch")
    kind = interrupting.KINDS[what]
    model = kind.make()
    if "torch" in what:
        model.start_training()
    expected, number = kind.call(model), 1
    files = (
        "fork_lock.py",
        "recent.py",
        "models/pytorch/model.py",
        "_weakrefset.py",
        "modules/module.py",
    )
    while interrupted_at(lambda: kind.call(model), number, files):
        answer = interrupting.elsewhere(lambda: kind.call(model))
        np.testing.assert_array_equal(answer, expected)
        if "torch" in what:
            assert all(module.training for module in model.module.modules())
        number += 1
    assert number > 4


# ----------------------------------------------------------------------------------- mapped data

MAPPED = """
import sys
from pathlib import Path
import numpy as np
import netspec

folder, target = Path(sys.argv[1]), sys.argv[2]
most = 0.0


def measure(*_):
    global most
    lines = Path("/proc/self/status").read_text().splitlines()
    now = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024
    most = max(most, now)


data = netspec.load_data(str(folder))
net = netspec.loads(
    "net Mean() { input image: [3, 64, 64]\\n output image -> avg_pool(8) -> flatten -> linear(2) }"
)
model = net.compile(target)
netspec.fit(model, data.limit(256), epochs=1, batch=64, optimizer="sgd")
measure()
start = most
import threading, time
over = threading.Event()
def watch():
    while not over.wait(0.005):
        measure()
thread = threading.Thread(target=watch); thread.start()
netspec.fit(model, data, epochs=1, batch=64, val=500, optimizer="sgd")
over.set(); thread.join()
print(most - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux counts it")
@pytest.mark.parametrize(
    ("target", "dtype", "most"),
    [("numpy", "u1", 40), pytest.param("torch", ">u2", 90, marks=pytest.mark.heavy)],
)
def test_a_mapped_set_takes_no_memory_of_its_size(target, dtype, most, tmp_path: Path) -> None:
    """The images for training, validation and test are 62 MB of bytes, or 124 MB of words in
    another order.
    """
    if target == "torch":
        pytest.importorskip("torch")
    count = 5000
    for part, images in (("train", count), ("test", 64)):
        shape = (images, 3, 64, 64)
        made = np.lib.format.open_memmap(
            tmp_path / f"x_{part}.npy", mode="w+", dtype=dtype, shape=shape
        )
        made[:, 0, 0] = np.arange(images, dtype="u2").reshape(-1, 1) % 200
        made.flush()
        np.save(tmp_path / f"y_{part}.npy", np.arange(images) % 2)
    done = subprocess.run(
        [sys.executable, "-c", MAPPED, tmp_path, target],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < most, done.stdout
