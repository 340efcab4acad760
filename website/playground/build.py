"""Builds the playground: a folder of files that a page needs, and that need no other."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from netspec.highlight.words import words
from website.cannot_build import CannotBuildError
from website.playground.archive import ROOT, archive, stored

_HERE = Path(__file__).resolve().parent
_ESBUILD = (
    "node_modules/.bin/esbuild", "--minify", "--format=esm", "--target=es2022",
    "--log-level=warning",
)  # fmt: skip

_PYTHON = "Python and its library, PSF-2.0, https://docs.python.org/3/license.html\n"


def build(target: Path, work: Path) -> None:
    """Build the playground.

    Args:
        target: the folder that the page and its files are written to.
        work: a folder for what npm installs, which may have it from an earlier time.

    Raises:
        CannotBuildError: without node and npm, or if npm cannot install what it needs.
    """
    _install(work)
    source = work / "src"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(_HERE / "src", source)
    for name, text in made_sources().items():
        (source / name).write_text(text, "utf-8")
    target.mkdir(parents=True, exist_ok=True)
    there = target.resolve()
    _run(work, *_ESBUILD, "src/page.js", "src/worker.js", "--bundle", "--external:node:*",
         f"--outdir={there}", "--metafile=bundled.json")  # fmt: skip
    (target / "licenses.txt").write_text(_licenses(work), "utf-8")
    for name in ("index.html", "style.css"):
        shutil.copyfile(source / name, target / name)
    pyodide = work.resolve() / "node_modules/pyodide"
    _run(
        work, *_ESBUILD, str(pyodide / "pyodide.asm.mjs"), f"--outfile={there / 'pyodide.asm.mjs'}"
    )
    packed = {
        "interpreter.bin": (pyodide / "pyodide.asm.wasm").read_bytes(),
        "library.bin": _library(pyodide / "python_stdlib.zip"),
        "netspec.bin": archive(),
    }
    for name, data in packed.items():
        (target / name).write_bytes(gzip.compress(data, 9, mtime=0))


def made_sources() -> Mapping[str, str]:
    """Return what the scripts of the page read of netspec: the words of the language, and nets."""
    folder = ROOT / "networks"
    files = [*sorted(folder.glob("*.net")), *sorted(folder.glob("zoo/*.net"))]
    nets = {"a mistake": (ROOT / "docs/mistake.net").read_text("utf-8")}
    for path in files:
        name = path.relative_to(folder).with_suffix("").as_posix()
        nets[name] = path.read_text("utf-8")
    return {"words.json": json.dumps(asdict(words())), "examples.json": json.dumps(nets)}


def _licenses(work: Path) -> str:
    """Return the licenses of what the page's scripts were bundled of, and of what they run."""
    inputs = json.loads((work / "bundled.json").read_text("utf-8"))["inputs"]
    found = {_package(path) for path in inputs if path.startswith("node_modules/")}
    return _PYTHON + "".join(_license(work / "node_modules" / name) for name in sorted(found))


def _package(path: str) -> str:
    _, first, second, *_ = path.split("/")
    return f"{first}/{second}" if first.startswith("@") else first


def _license(folder: Path) -> str:
    about = json.loads((folder / "package.json").read_text("utf-8"))
    source = about.get("repository", about.get("homepage", ""))
    address = source["url"] if isinstance(source, dict) else source
    text = "".join(path.read_text("utf-8") for path in sorted(folder.glob("LICENSE*")))
    return f"\n{about['name']} {about['version']}, {about['license']}, {address}\n\n{text}"


def _library(path: Path) -> bytes:
    with zipfile.ZipFile(path) as held:
        return stored({each.filename: held.read(each) for each in held.infolist()})


def _install(work: Path) -> None:
    """Install what `package-lock.json` names, unless it is there."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise CannotBuildError(f"needs {tool}")
    lock = (_HERE / "package-lock.json").read_bytes()
    installed = work / "node_modules/installed-lock.json"
    if installed.is_file() and installed.read_bytes() == lock:
        return
    work.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(_HERE / name, work / name)
    _run(work, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    installed.write_bytes(lock)


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr or done.stdout).strip()[-1000:]
        raise CannotBuildError(f"{Path(command[0]).name} failed: {told}")
