"""Threads that share machine code: idle ones, callers at the same time, forks, and races of the pool."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.library import engine_header, pool
from netspec.kernels import parallel
from netspec.runtime.engine.native.c_compiler import this_compiler
from netspec.runtime.engine.native.pool import members
from tests.c_backend.test_c_training import NET
from tests.helpers.native_threads import SHARED, share_everything

IMAGES = np.random.default_rng(0).standard_normal((24, 2, 8, 9)).astype("f4")
LABELS = np.arange(24) % 3


@pytest.fixture(autouse=True)
def _four(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CFLAGS", f"-O1 {SHARED}")
    share_everything(monkeypatch)
    before = parallel.threads()
    parallel.set_threads(4)
    yield
    parallel.set_threads(before)


def compiled(seed: int = 1):
    net = netspec.loads(NET)
    shape = next(iter(net.graph.inputs.values()))
    return net.compile("c", seed=seed), IMAGES[:, : shape[0], : shape[1], : shape[2]]


def gradients(model, x) -> bytes:
    model.loss_and_grads(x, LABELS, training=False)
    return model.flat_gradients.tobytes()


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def test_a_process_that_computes_nothing_takes_no_processor_time() -> None:
    model, x = compiled()
    for _ in range(20):
        gradients(model, x)
    before = processor_seconds()
    time.sleep(1)
    assert processor_seconds() - before < 0.2


def test_there_are_no_more_threads_than_processors(monkeypatch) -> None:
    """Four and eight threads on two processors are two, so that none is slower."""
    monkeypatch.setattr(parallel, "available", lambda: 2)
    found = []
    for count in (1, 2, 4, 8):
        parallel.set_threads(count)
        found.append(members())
    assert found == [1, 2, 2, 2]


def test_the_number_of_threads_may_change_between_passes(monkeypatch) -> None:
    model, x = compiled()
    predictor, expected = model.predictor(), gradients(model, x)
    answer = predictor(x)
    for count, processors in ((1, 8), (8, 8), (8, 2), (3, 8), (2, 1)):
        parallel.set_threads(count)
        monkeypatch.setattr(parallel, "available", lambda n=processors: n)
        assert gradients(model, x) == expected
        np.testing.assert_array_equal(predictor(x), answer)


@pytest.mark.parametrize("threads", [1, 2])
def test_equal_seeds_train_to_equal_bits(threads: int) -> None:
    parallel.set_threads(threads)
    found = []
    for _ in range(2):
        model, x = compiled()
        data = netspec.Dataset("made", x, LABELS, x[:0], LABELS[:0], 3)
        netspec.fit(model, data, epochs=2, batch=8, optimizer="adam", seed=3)
        found.append(b"".join(each.tobytes() for each in model.state_dict().values()))
    assert found[0] == found[1]


@pytest.mark.parametrize("models", [1, 3])
def test_callers_at_the_same_time_get_what_one_gets(models: int) -> None:
    made = [compiled(seed) for seed in range(models)]
    predictors = [model.predictor() for model, _ in made]
    expected = [predictor(x) for predictor, (_, x) in zip(predictors, made, strict=True)]
    wrong: list[int] = []

    def call(first: int) -> None:
        for turn in range(40):
            i = (first + turn) % models
            if not np.array_equal(predictors[i](made[i][1]), expected[i]):
                wrong.append(i)

    callers = [threading.Thread(target=call, args=(first,)) for first in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_is_forked_while_others_compute_computes_the_same() -> None:
    model, x = compiled()
    predictor, expected = model.predictor(), gradients(model, x)
    answer, over = predictor(x), threading.Event()

    def compute() -> None:
        while not over.is_set():
            predictor(x)

    others = [threading.Thread(target=compute) for _ in range(2)]
    for other in others:
        other.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                same = gradients(model, x) == expected and np.array_equal(predictor(x), answer)
                os._exit(0 if same else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        over.set()
        for other in others:
            other.join()


# Loops that read what earlier ones wrote, loops in loops, one without turns; callers and forks at once.
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 1000 };

static void pass(void *at, int count, int part, long long apart, Team *team, int number)
{
    double *a = at, *b = a + MANY, *sum = b + MANY;
    join_team(team, number);
    for (int k = 0; k < count; k++) {
        SHARE(i, MANY, 3, 1)
            for (int j = i; j < i + 3 && j < MANY; j++)
                a[j] = b[MANY - 1 - j] + k + j;
        ONCE {
            sum[0] = 0;
            for (int i = 0; i < MANY; i++)
                sum[0] += a[i];
            SHARE(i, 5, 1, 1)
                sum[1] += i;
        }
        SHARE(i, MANY, 1, k % 3)
            b[i] = a[MANY - 1 - i] + sum[0] * 1e-9;
        SHARE(i, 0, 1, 1)
            abort();
    }
}

static double result(int threads)
{
    double *memory = calloc(2 * MANY + 2, sizeof(double)), found;
    netspec_run(pass, memory, 20, 0, 0, threads);
    found = memory[2 * MANY] + memory[2 * MANY + 1] + memory[17];
    free(memory);
    return found;
}

static double expected;
static int wrong;

static void *call(void *threads)
{
    for (int i = 0; i < 50; i++)
        if (result((int)(long)threads) != expected)
            __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
    return 0;
}

int main(void)
{
    pthread_t callers[3];
    int status;
    expected = result(1);
    for (long i = 0; i < 3; i++)
        pthread_create(&callers[i], 0, call, (void *)(i + 2));
    for (int i = 0; i < FORKS; i++) {
        const pid_t child = fork();
        if (!child) {
            alarm(60);
            _exit(result(3) != expected || result(2) != expected);
        }
        waitpid(child, &status, 0);
        if (status)
            __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(callers[i], 0);
    return wrong;
}
"""


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(("-O2", "-DFORKS=10"), id="forks"),
        pytest.param(("-O1", "-g", "-DFORKS=0", "-fsanitize=thread"), id="races"),
    ],
)
def test_loops_read_what_the_loops_before_them_wrote(tmp_path: Path, flags) -> None:
    (tmp_path / "main.c").write_text("\n".join([pool(), engine_header("turns"), PROGRAM]), "ascii")
    command = [*this_compiler().command, "-std=gnu99", "-pthread", *flags, "main.c", "-o", "main"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if made.returncode and "-fsanitize=thread" in flags:
        pytest.skip(f"no sanitizer: {made.stderr[:200]}")
    assert made.returncode == 0, made.stderr
    done = subprocess.run(
        ["./main"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
