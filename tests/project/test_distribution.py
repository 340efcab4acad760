"""The wheel and the editable install: what they contain, that they work, and that types are found."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("hatchling")

USER = """\
import netspec

net = netspec.load("lenet", classes=10)
parameters: int = net.summary().parameters
reveal_type(net.summary())
wrong: str = net.name.upper
"""


def run(*command: object, cwd: Path, **more: str) -> str:
    """Return the output of a command that must succeed, without this process's Python path."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment | more, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(kind: str, out: Path) -> Path:
    """Build a wheel of the working tree: `wheel`, or `editable`."""
    code = f"import hatchling.build as b; print(b.build_{kind}({str(out)!r}))"
    return out / run(sys.executable, "-c", code, cwd=ROOT).split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_all_that_the_package_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    for folder, home in (("netspec", "netspec"), ("networks", "netspec/networks")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = f"{home}/{path.relative_to(ROOT / folder).as_posix()}"
                assert held.pop(name) == path.read_bytes()
    assert {name.partition("/")[0].rpartition(".")[2] for name in held} == {"dist-info"}
    (metadata,) = [text.decode() for name, text in held.items() if name.endswith("/METADATA")]
    base = [line for line in metadata.splitlines()
            if line.startswith("Requires-Dist:") and "extra ==" not in line]  # fmt: skip
    assert not any(name in line for line in base for name in ("scipy", "scikit", "torch", "pillow"))


def test_an_installed_wheel_does_what_readme_shows_first(wheel: Path, tmp_path: Path) -> None:
    """It runs in a folder of its own. netspec's dependencies come from this environment."""
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)

    def netspec(*arguments: str) -> str:
        return run(sys.executable, "-m", "netspec", *arguments, cwd=empty, PYTHONPATH=str(site))

    assert str(site) in netspec("check", "lenet", "zoo/resnet18")
    netspec("new", "lenet")
    assert "lenet.net: ok (LeNet: 44,426 parameters)" in netspec("check", "lenet.net")
    netspec("train", "numpy", "lenet.net", "--epochs", "1", "--train-limit", "64",
                               "--out", "none", "--quiet")  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_type_checkers_find_the_types_of_an_install(kind: str, tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path)
    with zipfile.ZipFile(build(kind, tmp_path)) as archive:
        archive.extractall(site.strip())
    (tmp_path / "user.py").write_text(USER)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "user.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")},
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert 'Revealed type is "netspec.compiler.analysis.costs.Summary"' in lines[0]
    assert lines[1].startswith("user.py:6: error: Incompatible types in assignment")
    assert lines[2].startswith("Found 1 error in 1 file")
