"""Every code is explained, and the example of every explanation triggers the code."""

from __future__ import annotations

import contextlib
import importlib
import shlex
from pathlib import Path

import pytest

import netspec
from netspec import cli
from netspec.compiler.driver import Request, compile_request
from netspec.compiler.explain_codes import explanations
from netspec.diagnostics import Source
from tests.conftest import ROOT, Run

ALL = list(explanations().values())


def examples(kind: str):
    chosen = [e for e in ALL if e.kind == kind]
    return pytest.mark.parametrize("explanation", chosen, ids=[e.code for e in chosen])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "networks").symlink_to(ROOT / "networks")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("explanation", ALL, ids=[e.code for e in ALL])
def test_every_code_has_a_text_and_an_example(explanation) -> None:
    assert len(explanation.text) > 20
    assert explanation.example


@examples("net")
def test_the_example_gives_the_code(explanation) -> None:
    result = compile_request(
        Request(source=Source("example.net", explanation.example.rstrip("\n")))
    )
    assert explanation.code in {d.code for d in result.diagnostics}


@pytest.fixture(scope="module")
def imported() -> None:
    """What is imported while an example hides a package is forgotten behind it, and a compiled module
    cannot be imported twice.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("onnx.checker")


@pytest.mark.usefixtures("imported")
@examples("python")
def test_the_python_example_gives_the_code(explanation, folder: Path) -> None:
    if explanation.example.startswith("import torch\n"):
        pytest.importorskip("torch", reason="PyTorch is not installed")
    with pytest.raises(netspec.NetspecError) as error:
        exec(compile(explanation.example, explanation.code, "exec"), {})
    assert explanation.code in {d.code for d in error.value.diagnostics}


@examples("console")
def test_the_command_gives_the_code(explanation, folder: Path, run: Run) -> None:
    program, *arguments = shlex.split(explanation.example.removeprefix("$ "))
    assert program == "netspec"
    finished = run(*arguments)
    assert finished.code in (cli.FAILED, cli.WRONG_USE)
    assert f"error[{explanation.code}]" in finished.err


def test_the_verb_explains_a_code_and_shows_the_message(run: Run) -> None:
    finished = run("explain", "shape/rank")
    assert finished.code == cli.OK
    assert finished.out.startswith("shape/rank\n")
    assert "error[shape/rank]" in finished.out
    assert run("explain", "error[shape/rank]").out == finished.out


def test_the_verb_lists_all_codes(run: Run) -> None:
    lines = run("explain").out.splitlines()
    assert [line.split()[0] for line in lines] == [e.code for e in ALL]
    assert lines[0].split(maxsplit=1)[1] == ALL[0].code.summary


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("shape/rnak", "shape/rank"), ("rank", "shape/rank"), ("concat-mismatc", "concat-mismatch")],
)
def test_a_misspelt_code_is_suggested(run: Run, typed: str, meant: str) -> None:
    finished = run("explain", typed)
    assert finished.code == cli.WRONG_USE
    assert meant in finished.err.partition("did you mean")[2]


def test_an_unknown_code_is_wrong_use(run: Run) -> None:
    finished = run("explain", "xyzzy")
    assert finished.code == cli.WRONG_USE
    assert "usage/code" in finished.err
