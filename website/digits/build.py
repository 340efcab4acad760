"""Builds the page on which one draws a digit, which LeNet's C file reads as WebAssembly.

It is made by the commands that the page shows: netspec trains and writes C, and clang compiles it. The
page's files need no others, not even a server.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path

from website.cannot_build import CannotBuildError

_HERE = Path(__file__).resolve().parent
ROOT = _HERE.parents[1]
LENET = ROOT / "networks/lenet.net"
# Where the libraries of wasi-libc are, which has the exponential function.
_WASI = ("/usr/lib/wasm32-wasi", "/usr/share/wasi-sysroot/lib/wasm32-wasi")
_CLANG = (
    "clang", "--target=wasm32-wasi", "-O2", "-nostdlib", "-mexec-model=reactor", "-Wl,--no-entry",
    "-Wl,--strip-all", "-Wl,--export=lenet_classify", "-Wl,--export=__heap_base",
)  # fmt: skip


def build(target: Path, work: Path, epochs: int = 3) -> None:
    """Build the page.

    Args:
        target: the folder that the page and its files are written to.
        work: a folder for the trained net, which may be there from an earlier time.
        epochs: how long it is trained.

    Raises:
        CannotBuildError: without clang and wasi-libc, and if MNIST is not here and cannot be downloaded.
    """
    for tool in ("clang", "wasm-ld"):
        if shutil.which(tool) is None:
            raise CannotBuildError(f"needs {tool}")
    if not any(Path(folder, "libm.a").exists() for folder in _WASI):
        raise CannotBuildError("needs wasi-libc")
    run = work / "run"
    if not (run / "weights.safetensors").exists():
        shutil.rmtree(run, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        _netspec("train", "numpy", LENET, "--no-recipe", "--data", "mnist", "--epochs", epochs,
                 "--out", run, "--quiet")  # fmt: skip
    target.mkdir(parents=True, exist_ok=True)
    source, program = target / "lenet.c", work / "lenet.wasm"
    _netspec("compile", LENET, "--weights", run, "--target", "c", "--classify", "--normalize",
             "-o", source, "--force")  # fmt: skip
    _done(*_CLANG, source, "-lm", "-lc", "-o", program)
    packed = base64.b64encode(program.read_bytes()).decode("ascii")
    (target / "program.js").write_text(f'"use strict";\nconst PROGRAM = "{packed}";\n', "ascii")
    for path in sorted((_HERE / "src").iterdir()):
        shutil.copyfile(path, target / path.name)


def _netspec(*arguments: object) -> None:
    _done(sys.executable, "-m", "netspec", *arguments)


def _done(*command: object) -> None:
    words = [str(word) for word in command]
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    if done.returncode:
        told = (done.stderr or done.stdout).strip()[-1000:]
        raise CannotBuildError(f"{' '.join(words[:4])} failed: {told}")
