"""The nets that come with netspec can be named for every verb and in Python, and copied as files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import netspec
from netspec.cli import FAILED, OK, WRONG_USE
from netspec.compiler.fmt.formatter import format_source
from netspec.compiler.parse.shipped_nets import find_net, shipped_nets
from netspec.diagnostics import Source
from tests.conftest import ROOT, Run

SHIPPED = {
    path.relative_to(ROOT / "networks").with_suffix("").as_posix(): path
    for path in (ROOT / "networks").rglob("*.net")
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_they_are_the_nets_of_the_repository() -> None:
    assert shipped_nets() == SHIPPED
    assert {"lenet", "threelayer", "resnet", "zoo/resnet18"} <= set(SHIPPED)


@pytest.mark.parametrize(
    "command",
    [
        ["check", "lenet", "zoo/resnet18"],
        ["summarize", "zoo/resnet18"],
        ["diff", "lenet", "threelayer"],
        ["compile", "lenet", "--target", "numpy"],
        ["verify", "lenet", "--steps", "0", "--batch", "2"],
        ["gradcheck", "lenet", "--backend", "numpy", "--directions", "1", "--params", "linear3.*"],
        ["train", "numpy", "lenet", "--epochs", "1", "--train-limit", "32", "--out", "none"],
        ["train", "numpy", "lenet", "--epochs", "1", "--train-limit", "32", "--out", "w.safetensors"],
        ["doctor", "lenet"],
        ["bench", "lenet", "--against", "numpy-im2col", "--rounds", "1", "--batch", "1"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_verb_takes_a_name(run: Run, command: list[str]) -> None:
    finished = run(*command)
    assert finished.code in (OK, FAILED), finished.err
    assert "file/" not in finished.err, finished.err
    if command[-1] == "w.safetensors":
        evaluated = run("eval", "lenet", "--weights", "w.safetensors", "--data", "digits")
        assert evaluated.code == OK, evaluated.err


def test_python_takes_a_name() -> None:
    assert netspec.load("zoo/resnet18", classes=3).summary().parameters > 11_000_000


def test_a_file_that_is_there_wins(empty_folder: Path) -> None:
    assert find_net("lenet") == SHIPPED["lenet"]
    own = empty_folder / "lenet.net"
    own.write_text("net Mine { input x: [4]\n output x -> linear(3) }")
    assert find_net("lenet").resolve() == own  # as after `netspec new lenet`
    assert netspec.load("lenet").name == "Mine"
    (empty_folder / "lenet").write_text(own.read_text().replace("Mine", "Bare"))
    assert netspec.load("lenet").name == "Bare"
    assert find_net(own) == own


@pytest.mark.parametrize("name", ["../networks/lenet", "/lenet", "zoo/../lenet", "", ".", "a\0b"])
def test_a_name_is_no_path(name: str) -> None:
    assert find_net(name) == Path(name)


@pytest.mark.parametrize(
    ("typed", "help"),
    [
        ("lenett", "did you mean `lenet`, which comes with netspec?"),
        ("resnet18", "did you mean `zoo/resnet18`, which comes with netspec?"),
        ("zoo/vgg-16", "did you mean `zoo/vgg16`, which comes with netspec?"),
        ("networks/lenet.net", "did you mean `lenet`, which comes with netspec?"),
        ("mymodle.net", "did you mean `mymodel.net`?"),
        ("mymodle", "did you mean `mymodel.net`?"),
        (
            "xyzzy",
            "`netspec new` lists the nets that come with netspec, and `netspec runs` your runs",
        ),
    ],
)
def test_a_name_of_nothing_is_told_what_was_meant(
    run: Run, empty_folder: Path, typed: str, help: str
) -> None:
    (empty_folder / "mymodel.net").write_text("")
    finished = run("summarize", typed)
    assert finished.code == FAILED
    assert f"cannot read {typed}" in finished.err
    assert f"= help: {help}\n" in finished.err


@pytest.mark.parametrize("typed", ["net.net", "handin/nets.net", "lenett.net"])
def test_a_file_of_ones_own_that_is_not_there_is_no_misspelt_name(
    run: Run, empty_folder: Path, typed: str
) -> None:
    finished = run("check", typed)
    assert finished.code == FAILED
    assert "cannot read" in finished.err
    assert "comes with netspec" not in finished.err


# --------------------------------------------------------------------------------------------- new


def test_new_copies_a_net_and_its_recipe(run: Run, empty_folder: Path) -> None:
    assert run("new", "lenet").code == OK
    assert run("new", "zoo/resnet18").code == OK
    assert sorted(os.listdir()) == ["lenet.net", "lenet.toml", "resnet18.net"]
    for path in empty_folder.iterdir():
        assert path.read_bytes() in [p.read_bytes() for p in (ROOT / "networks").rglob(path.name)]
    assert run("check", "lenet.net", "resnet18.net").code == OK


@pytest.mark.parametrize("there", ["lenet.net", "lenet.toml"])
def test_new_replaces_nothing_and_leaves_no_half(run: Run, empty_folder: Path, there: str) -> None:
    (empty_folder / there).write_text("mine")
    finished = run("new", "lenet")
    assert finished.code == FAILED
    assert "output/exists" in finished.err
    assert os.listdir() == [there]
    assert (empty_folder / there).read_text() == "mine"


def test_new_lists_what_there_is(run: Run) -> None:
    lines = run("new").out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped_nets())
    (lenet,) = (line for line in lines if line.startswith("lenet "))
    assert "LeNet for 28x28 grey pictures" in lenet


@pytest.mark.parametrize("name", ["lenett", "../lenet", "xyzzy"])
def test_new_knows_names_alone(run: Run, name: str) -> None:
    finished = run("new", name)
    assert finished.code == WRONG_USE
    assert "usage/net" in finished.err
    assert not os.listdir()


@pytest.mark.parametrize(("name", "most"), [("vit_b_16", 45), ("swin_t", 90)])
def test_a_transformer_is_short(name: str, most: int) -> None:
    text = (ROOT / f"networks/zoo/{name}.net").read_text("utf-8")
    assert format_source(Source(f"{name}.net", text)) == text
    assert len(text.splitlines()) <= most
