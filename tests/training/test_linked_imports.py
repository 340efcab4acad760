"""Imports through symbolic links: a run keeps the files that were meant in its folder, and can be
resumed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import netspec
from netspec import NetspecError
from netspec.compiler.parse import loader
from tests.conftest import Run

MAIN = """\
from "{path}" import Head

net T() {{
    input image: [64]

    output image -> Head
}}
"""
HEAD = "block Head x {\n    return x -> linear(10)\n}\n"
SHORT = ("--epochs", 1, "--train-limit", 64, "--out", "run")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "around/project"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def put(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def train(run: Run, main: str) -> dict[str, str]:
    """Train and resume a run, and return the net's files that it keeps."""
    finished = run("train", "numpy", main, *SHORT)
    assert finished.code == 0, finished.err
    on = run("train", "--resume", "run", "--epochs", 2)
    assert on.code == 0, on.err
    again = run("train", "numpy", main, "--resume", "run", "--epochs", 3)
    assert again.code == 0, again.err
    kept = Path("run/net")
    return {str(p.relative_to(kept)): p.read_text() for p in kept.rglob("*") if p.is_file()}


@pytest.mark.parametrize("main", ["m.net", "./m.net", "{project}/m.net", "../project/m.net"])
def test_dots_behind_a_link_lead_to_nothing_of_the_users(run: Run, tmp_path, main: str) -> None:
    """By its text the import leads above the folder, and through the link it stays inside."""
    Path("a/b/c/d").mkdir(parents=True)
    Path("k").symlink_to("a/b/c/d")
    put("mine.net", HEAD)
    put("m.net", MAIN.format(path="k/../../../../mine.net"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.net")}
    kept = train(run, main.format(project=Path.cwd()))
    assert kept == {"m.net": MAIN.format(path="mine.net"), "mine.net": HEAD}
    shutil.rmtree("run")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.net")} == before


def test_of_two_files_of_one_name_the_one_that_was_meant_is_kept(run: Run) -> None:
    other = HEAD.replace("linear(10)", "linear(7) -> linear(10)")
    put("norms.net", HEAD.replace("Head", "Wrong"))
    put("a/norms.net", other.replace("Head", "Norm"))
    put("a/b/x.net", 'from "../norms.net" import Norm\n\nblock Head x {\n    return x -> Norm\n}\n')
    Path("k").symlink_to("a/b")
    put("m.net", MAIN.format(path="k/x.net"))
    kept = train(run, "m.net")
    assert sorted(kept) == ["a/b/x.net", "a/norms.net", "m.net"]
    assert kept["a/norms.net"] == other.replace("Head", "Norm")
    assert kept["m.net"] == MAIN.format(path="a/b/x.net")


def test_a_linked_file_imports_from_where_it_lies(run: Run) -> None:
    put("far/x.net", 'from "y.net" import Y\n\nblock Head x {\n    return x -> Y\n}\n')
    put("far/y.net", HEAD.replace("Head", "Y"))
    Path("near").mkdir()
    Path("near/x.net").symlink_to("../far/x.net")
    put("m.net", MAIN.format(path="near/x.net"))
    kept = train(run, "m.net")
    assert sorted(kept) == ["far/x.net", "far/y.net", "m.net"]


def test_an_import_that_leaves_the_folder_and_comes_back_is_kept(run: Run) -> None:
    put("x.net", HEAD)
    put("m.net", MAIN.format(path="../project/x.net"))
    assert sorted(train(run, "m.net")) == ["m.net", "x.net"]


def test_files_without_links_are_kept_to_the_byte(run: Run) -> None:
    put("lib/x.net", HEAD)
    put("m.net", MAIN.format(path="lib/../lib/x.net"))
    assert train(run, "m.net") == {"m.net": Path("m.net").read_text(), "lib/x.net": HEAD}


@pytest.mark.parametrize("target", ['a"b.net', "a\\b.net", "a.txt", "a\x1b.net"])
def test_a_link_to_a_name_that_no_import_can_have_is_refused(target: str) -> None:
    put(target, HEAD)
    Path("x.net").symlink_to(target)
    put("m.net", MAIN.format(path="x.net"))
    with pytest.raises(NetspecError, match=r"(?s)import/path.*an import could not name"):
        netspec.load("m.net")


@pytest.mark.parametrize("swapped", ["lib/x.net", "lib"])
def test_what_becomes_a_link_once_it_was_checked_is_not_read(
    project: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    """Another process replaces a file or a folder by a link, right before it is opened."""
    put("../outside/x.net", HEAD.replace("linear(10)", "linear(13)"))
    put("lib/x.net", HEAD)
    put("m.net", MAIN.format(path="lib/x.net"))
    read = loader.read_source

    def swap_and_read(path: Path, *others: object):
        if Path(path).name == "x.net" and not Path(swapped).is_symlink():
            Path(swapped).rename("gone")
            Path(swapped).symlink_to(project.parent / "outside" / swapped.partition("/")[2])
        return read(path, *others)

    monkeypatch.setattr(loader, "read_source", swap_and_read)
    with pytest.raises(NetspecError, match="file/unreadable"):
        netspec.load("m.net")


def test_messages_name_the_file_itself(run: Run) -> None:
    put("far/x.net", 'from "y.net" import Y\n\nblock Head x {\n    return x -> Y\n}\n')
    put("far/y.net", HEAD.replace("Head", "Y").replace("10", "-10"))
    Path("sub/near").mkdir(parents=True)
    Path("sub/near").rmdir()
    Path("sub/near").symlink_to("../far")
    put("m.net", MAIN.format(path="sub/near/x.net"))
    assert "--> far/y.net:2:" in run("check", "m.net").err
    assert "--> ../project/far/y.net:2:" in run("check", "../project/m.net").err
