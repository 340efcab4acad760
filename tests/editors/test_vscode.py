"""The extension for Visual Studio Code: its parts fit each other, and it can be packaged."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from netspec.language_server.lenses import DRAW, TRAIN
from netspec.language_server.protocol import PARAMETER_HINTS
from tests.conftest import ROOT

EXTENSION = ROOT / "editors/vscode"
PACKAGE = json.loads((EXTENSION / "package.json").read_text("utf-8"))
CLIENT = (EXTENSION / "src/extension.js").read_text("utf-8")
SERVER = (ROOT / "netspec/language_server/server.py").read_text("utf-8")


def test_every_command_is_there() -> None:
    registered = set(re.findall(r'registerCommand\("([\w.]+)"', CLIENT))
    assert {each["command"] for each in PACKAGE["contributes"]["commands"]} <= registered
    assert {DRAW, TRAIN} <= registered
    known = ", ".join(f'"{command}"' for command in (DRAW, TRAIN, PARAMETER_HINTS))
    assert f"initializationOptions: {{ commands: [{known}] }}" in CLIENT
    asked = set(re.findall(r'request\("([\w.]+)"', CLIENT))
    served = set(re.findall(r'server\.command\("([\w.]+)"', SERVER))
    assert asked == served
    assert not asked & registered  # the client would catch what is for the server


def test_the_settings_that_are_read_are_declared() -> None:
    read = set(re.findall(r'getConfiguration\("netspec"\)\.get\("(\w+)"\)', CLIENT))
    declared = PACKAGE["contributes"]["configuration"]["properties"]
    assert {f"netspec.{name}" for name in read} == set(declared)
    assert declared["netspec.command"]["default"] == ["netspec", "lsp"]
    # A folder that is opened must not choose what is executed.
    assert declared["netspec.command"]["scope"] == "machine"


def test_the_client_is_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    for path in (EXTENSION / "src/extension.js", ROOT / "netspec/draw/page.js"):
        subprocess.run([node, "--check", path], check=True)


@pytest.mark.heavy
def test_the_package_is_built_from_a_clean_copy(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm")
    copy = tmp_path / "vscode"
    made = shutil.ignore_patterns("node_modules", "dist", "*.vsix")
    shutil.copytree(EXTENSION, copy, ignore=made)
    install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(install, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install: {done.stderr.strip().splitlines()[-1:]}")
    for script in ("test", "package"):  # the colours of the sample, and the extension
        done = subprocess.run(
            [npm, "run", "-s", script], cwd=copy, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(copy / "netspec.vsix") as package:
        names = {name.removeprefix("extension/") for name in package.namelist()}
    assert {"dist/extension.js", "syntaxes/netspec.tmLanguage.json", "package.json"} <= names
    assert not [name for name in names if "node_modules" in name or name.startswith("src")]
