"""Legal but odd file names: too long, not UTF-8, `.`, links to themselves."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from netspec.diagnostics import NetspecError
from netspec.runtime.data import load
from netspec.runtime.runs.folder import RunFolder
from netspec.runtime.runs.option_types import Text, problem
from tests.conftest import Run
from tests.helpers.labelled_pictures import NET as PICTURES
from tests.helpers.labelled_pictures import make_folder

NET = """\
net Small(classes = 10) {
    input image: [64]

    output image -> linear(classes)
}
"""
SHORT = ("--epochs", "1", "--train-limit", "32", "--quiet")
# Bytes that are not text, as Python gives them from a command line.
BYTES = os.fsdecode(b"b\xff\xfe")
NAMES = [
    "", ".", " ", "loop", "loop/x", "loop.net", "folder.net", "folder.npz", BYTES, f"{BYTES}.net",
    "n" * 240, "n" * 240 + ".net", "n" * 300, "n" * 300 + ".net", "n" * 300 + ".npz", "n" * 5000,
    "a\nb.net", "net.net/", "net.net/x", "-", "~nobody/x",
]  # fmt: skip
VERBS = [
    ("check", "@"), ("summarize", "@"), ("diff", "@", "net.net"), ("fmt", "--check", "@"),
    ("compile", "@"), ("compile", "net.net", "-o", "@"), ("doctor", "@"), ("runs", "@"),
    ("train", "@", *SHORT, "--out", "none"), ("train", "net.net", *SHORT, "--out", "@"),
    ("train", "net.net", *SHORT, "--out", "none", "--data", "@"),
    ("train", "net.net", *SHORT, "--out", "none", "--weights", "@"),
    ("train", "net.net", *SHORT, "--out", "none", "--recipe", "@"), ("train", "--resume", "@"),
    ("eval", "net.net", "--weights", "@"), ("eval", "@"), ("predict", "@", "x.png"),
    ("plot", "@", "-o", "p.svg"), ("explain", "@"), ("new", "@"), ("new", "lenet", "@"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """Make a net, folders with names of files, and links that lead to themselves."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.net").write_text(NET)
    for name in ("folder.net", "folder.npz"):
        (tmp_path / name).mkdir()
    for name in ("loop", "loop.net"):
        (tmp_path / name).symlink_to(name)
    return tmp_path


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_no_name_is_an_internal_error(run: Run, verb) -> None:
    for name in NAMES:
        finished = run(*(name if part == "@" else part for part in verb))
        assert finished.code in (0, 1, 2), (name[:40], finished.err[:500])
        assert not finished.code or finished.err, name[:40]


def test_a_run_and_its_data_may_have_names_that_are_no_text(run: Run, place) -> None:
    pytest.importorskip("PIL")
    try:
        make_folder(place / BYTES, names=("a", "b", BYTES))
    except OSError:
        pytest.skip("this system has texts as names alone")
    (place / f"{BYTES}.net").write_text(PICTURES)
    out = f"run{BYTES}"
    assert (
        run("train", f"{BYTES}.net", "--data", f"{BYTES}/", "--epochs", "1", "--out", out).code == 0
    )
    assert RunFolder(place / out).facts().options["data"] == f"{BYTES}/"
    assert run("train", "--resume", out, "--epochs", "2", "--quiet").code == 0
    assert run("eval", out).code == 0
    assert run("runs", out).code == 0
    assert run("runs", out, "--format", "csv").code == 0
    assert run("plot", out, "-o", f"{BYTES}.csv").code == 0
    assert "udcff" in (place / f"{BYTES}.csv").read_text("utf-8")
    recipe = place / out / "recipe.toml"
    again = run("train", f"{BYTES}.net", "--recipe", recipe, "--data", f"{BYTES}/", "--out", "none")
    assert again.code == 0, again.err
    if pytest.importorskip("matplotlib"):
        (place / out).rename(place / f"{BYTES} $a $\\frac$")
        assert run("plot", f"{BYTES} $a $\\frac$", "-o", "p.svg").code == 0


def test_files_that_are_written_say_of_names_that_are_no_text_what_they_can(
    run: Run, place
) -> None:
    try:
        (place / f"{BYTES}.net").write_text(NET.replace("linear(", "linear( "))
    except OSError:
        pytest.skip("this system has texts as names alone")
    changes = run("fmt", "--diff", f"{BYTES}.net")
    assert changes.code == 0, changes.err
    assert "dcff" in changes.out
    if pytest.importorskip("onnx"):
        made = run("compile", f"{BYTES}.net", "--target", "onnx", "-o", "x.onnx")
        assert made.code == 0, made.err
        assert b"udcff" in (place / "x.onnx").read_bytes()
    pytest.importorskip("tensorboard")
    named = run("train", f"{BYTES}.net", *SHORT, "--out", BYTES, "--tensorboard")
    assert named.code == 0, named.err


@pytest.mark.parametrize("text", ["a\0b", "\ud800", ""])
def test_a_text_is_what_a_file_could_be_called(text) -> None:
    assert problem(Text(), text) is not None


def test_where_the_system_gives_no_thread_the_work_is_done_here(
    place, run: Run, monkeypatch
) -> None:
    pytest.importorskip("PIL")
    make_folder(place / "pictures")
    expected = load("pictures/").x_train

    def refuse(self) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert (load("pictures/").x_train == expected).all()
    (place / "pictures/train/cat/bad.png").write_bytes(b"none")
    with pytest.raises(NetspecError, match=r"bad\.png"):
        load("pictures/")
    for target in ("numpy", "torch"):
        if target == "torch":
            pytest.importorskip("torch")
        assert run("train", target, "net.net", *SHORT, "--out", "none").code == 0
