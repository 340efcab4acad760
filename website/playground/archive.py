"""netspec's front end as one archive, with the tables of its parser, for Pyodide."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "netspec"
# What checks, draws and generates; no call of it imports NumPy or the generator of parsers. The names
# of the kernels are read off their folder.
_FOLDERS = ("compiler", "draw", "files", "highlight", "kernels", "language_server", "text")
_FOREIGN = ("compiler/c_backend", "compiler/onnx_backend")
_OLD = (1980, 1, 1, 0, 0, 0)


def front_end() -> Iterator[Path]:
    """Yield the files of the package that the archive has."""
    yield from sorted(p for p in PACKAGE.iterdir() if p.suffix in (".py", ".lark"))
    for name in _FOLDERS:
        for path in sorted((PACKAGE / name).rglob("*")):
            inside = path.relative_to(PACKAGE).as_posix()
            if path.is_file() and path.suffix != ".pyc" and not inside.startswith(_FOREIGN):
                yield path


def tables() -> tuple[str, bytes]:
    """Return the name and the bytes of the file of the parser's tables, made anew."""
    with tempfile.TemporaryDirectory() as folder:
        made = "from netspec.compiler.parse.tables import load_tables; load_tables()"
        environment = {**os.environ, "XDG_CACHE_HOME": folder}
        subprocess.run([sys.executable, "-c", made], cwd=ROOT, env=environment, check=True)
        (path,) = Path(folder, "netspec").glob("grammar-*.json")
        return path.name, path.read_bytes()


def archive() -> bytes:
    """Return the archive, a zip whose files are not compressed: it is compressed as a whole."""
    name, grammar = tables()
    held = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in front_end()}
    held[f"cache/netspec/{name}"] = grammar
    held["engine.py"] = Path(__file__).with_name("engine.py").read_bytes()
    return stored(held)


def stored(files: dict[str, bytes]) -> bytes:
    """Return a zip of files that are not compressed, the same for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as made:
        for name, data in files.items():
            made.writestr(zipfile.ZipInfo(name, _OLD), data)
    return out.getvalue()
