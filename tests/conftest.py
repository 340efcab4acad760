"""Fixtures and hooks for all test files."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# No test may depend on which emitter is faster on this machine, here or in a process that it
# starts. Tests of that choice make it themselves.
os.environ["NETSPEC_EMITTERS"] = "numpy"

# Machine code is made to be right here, not fast; a third of the time is enough to compile for that.
os.environ.setdefault("CFLAGS", "-O1")

# How long an example takes is the machine's affair, and what else it does.
settings.register_profile("netspec", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("netspec")

# Libraries start as many threads as there are processors, which wait for each other in busy loops.
# Processes of pytest beside each other each take their share of the processors, so that the suite
# takes half the time. netspec's own threads are as many as ever.
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _PROCESSES > 1:
    for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_variable, str(max(1, (os.cpu_count() or 1) // _PROCESSES)))


@dataclass(frozen=True)
class Finished:
    """The results of a command line."""

    code: int
    out: str
    err: str


Run = Callable[..., Finished]
Write = Callable[..., Path]


# Tests that take some seconds each, and whose siblings are quick: `make test-all` runs them.
SLOW = frozenset((ROOT / "tests/slow.txt").read_text("utf-8").splitlines())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark slow tests as heavy, before they are chosen by this mark.

    Skip those that are parametrized with the backend `torch` if PyTorch is not installed.
    """
    for item in items:
        if item.nodeid in SLOW and "::" not in " ".join(config.args):
            item.add_marker(pytest.mark.heavy)
    if importlib.util.find_spec("torch") is not None:
        return
    for item in items:
        callspec = getattr(item, "callspec", None)
        given = () if callspec is None else callspec.params.values()
        if any(isinstance(value, str) and value == "torch" for value in given):
            item.add_marker(pytest.mark.skip(reason="needs torch"))


def pytest_collection_finish() -> None:
    """Leave what was collected, a million objects, out of the garbage collector's rounds.

    They live until the end anyway, and each full round looks at all of them: a fifth of the suite's time.
    Rounds are rarer too, since tests make many objects and few cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(autouse=True)
def _no_ops_stay_loaded() -> Iterator[None]:
    """Forget the files of ops that a test has allowed to run: the next one has allowed none."""
    yield
    op_files = sys.modules.get("netspec.compiler.parse.op_files")
    if op_files is not None:
        op_files._loaded.clear()
        op_files._packages.clear()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `netspec` with these arguments in this process, with no known terminal width."""
    from netspec.cli import main

    monkeypatch.delenv("COLUMNS", raising=False)

    def run_main(*arguments: object) -> Finished:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return run_main


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a text, without its common indentation, to a file in this test's folder."""

    def write_text(text: str, name: str = "test.net") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
        return path

    return write_text


@pytest.fixture
def networks() -> Path:
    """The folder of the nets that come with netspec."""
    return ROOT / "networks"
