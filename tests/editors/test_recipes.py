"""The page for editors: its settings can be read, and its recipes for git do what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from netspec.cli import VERBS
from tests.conftest import ROOT

PAGE = (ROOT / "editors/README.md").read_text("utf-8")
NET = "net A {\n    input x: [3, 8, 8]\n\n    output x -> conv(4, 3)\n}\n"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_editor_starts_the_server() -> None:
    (helix,) = map(tomllib.loads, blocks("toml"))
    server = helix["language-server"]["netspec"]
    assert [server["command"], *server["args"]] == ["netspec", "lsp"]
    assert helix["language"][0]["file-types"] == ["net"]
    (lua,), (elisp,) = blocks("lua"), blocks("elisp")
    assert 'cmd = { "netspec", "lsp" }' in lua
    assert '("netspec" "lsp")' in elisp
    for text in (lua, elisp):
        assert all(text.count(a) == text.count(b) for a, b in ("()", "{}"))
    assert set(re.findall(r"`netspec (\w+)", PAGE)) <= set(VERBS)


def test_vim_formats_and_lists_errors(tmp_path: Path) -> None:
    vim = shutil.which("vim")
    if vim is None:
        pytest.skip("needs vim")
    (settings,) = blocks("vim")
    (tmp_path / "netspec").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m netspec "$@"\n')
    (tmp_path / "netspec").chmod(0o755)
    (tmp_path / "vimrc").write_text(f"set nocompatible shell=/bin/sh\n{settings}")
    bad = NET.replace("    output x ->", "    output x -> covn ->\n   output x")
    texts = {"ugly.net": NET.replace(" x ->", "   x->"), "bad.net": bad}
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    listed = 'map(getqflist(), {_, v -> join([v.lnum, v.col, v.type, v.text], "|")})'
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        commands = ("normal gggqG", "w", "silent make!", f"call writefile({listed}, 'list')", "qa!")
        given = [part for command in commands for part in ("-c", command)]
        subprocess.run(
            [vim, "-u", "vimrc", "-es", *given, name], cwd=tmp_path, env=environment, check=False,
            stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        listing = (tmp_path / "list").read_text()
        if name == "ugly.net":
            assert ((tmp_path / name).read_text(), listing) == (NET, "")
        else:
            assert (tmp_path / name).read_text() == bad
            assert re.match(r"\d+\|\d+\|e\|\w", listing)
            assert "help" not in listing


def test_git_shows_what_a_change_does_to_a_net(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "netspec").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m netspec "$@"\n')
    (tools / "netspec").chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "HOME": str(tmp_path),
    }

    def run(command: str) -> str:
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (folder / ".gitattributes").write_text("*.net diff=netspec\n")
    (folder / "a.net").write_text(NET)
    run("git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm one")
    for recipe in blocks("sh"):
        run(recipe)
    (folder / "a.net").write_text(NET.replace("conv(4", "conv(5"))
    shown = run("git diff --no-color")
    assert re.search(r"^-conv1 +conv\(4, 3\) +\[N, 4, 6, 6\] +112", shown, re.MULTILINE)
    assert re.search(r"^\+conv1 +conv\(5, 3\) +\[N, 5, 6, 6\] +140", shown, re.MULTILINE)
    told = run("git difftool -t netspec --no-prompt || true")
    assert "112" in told
    assert "140" in told
    (folder / "a.net").write_text(f'from "b.net" import B\n{NET}')
    assert '+from "b.net" import B' in run("git diff --no-color")
