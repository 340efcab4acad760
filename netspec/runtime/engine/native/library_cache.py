"""Libraries that C was compiled to, kept in the user's cache under the hash of all they depend on.

The name of a file has the hash of its bytes too: a library that was cut off would end the process that
loads it, so it is looked at before.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.cache_folder import cache_folder
from netspec.files.regular_file import read_regular
from netspec.fork_lock import ForkLock
from netspec.runtime.engine.native.c_compiler import CCompiler, this_compiler

_FORMAT = 3  # of the key
# So many are kept, those that were used last.
MOST = 200
# What a killed compiler left is deleted after so long.
_LEFT_SECONDS = 24 * 3600.0

_loaded: dict[tuple[str, str], ctypes.CDLL] = {}
_lock = ForkLock()


def library(text: str, parts: Sequence[str] = ()) -> ctypes.CDLL:
    """Return the library that a C file is compiled to, compiled now or by an earlier process.

    Args:
        text: the file.
        parts: C files with functions that it calls. Each is compiled once for all that have it.

    Raises:
        NetspecError: `compile/no-compiler`, `compile/c-failed`; `compile/cache` if the folder cannot
            be used, or others may write to it: what is in it is executed.
    """
    compiler = this_compiler()
    folder = _folder()
    key = _key(compiler, text, *parts)
    with _lock.current:  # a second thread waits instead of compiling the same
        found = _loaded.get((str(folder), key))
        if found is None:
            found = _loaded[str(folder), key] = _load(folder, key, text, parts, compiler)
    return found


def _key(compiler: CCompiler, *texts: str) -> str:
    every = [_FORMAT, compiler.command, compiler.flags, compiler.identity, *texts]
    return hashlib.sha256(json.dumps(every).encode()).hexdigest()


def _load(
    folder: Path, key: str, text: str, parts: Sequence[str], compiler: CCompiler
) -> ctypes.CDLL:
    try:
        for path in _kept(folder, key, ".so"):
            with suppress(OSError):  # another system's: it is compiled again
                loaded = ctypes.CDLL(str(path))
                os.utime(path)
                return loaded
            path.unlink(missing_ok=True)
        objects = [_object(folder, part, compiler) for part in parts]
        build = partial(compiler.build, objects=objects)
        return ctypes.CDLL(str(_compile(folder, f"{key}-*.so", text, build)))
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from None


def _object(folder: Path, text: str, compiler: CCompiler) -> Path:
    """Return the compiled file of a part, whose text no library's is."""
    key = _key(compiler, "a part", text)
    for path in _kept(folder, key, ".o"):
        os.utime(path)
        return path
    return _compile(folder, f"{key}-*.o", text, compiler.build_object)


def _kept(folder: Path, key: str, ending: str) -> Iterator[Path]:
    """Yield the files of a key that are whole; others are deleted."""
    for path in sorted(folder.glob(f"{key}-*{ending}")):
        if _is_sound(path):
            yield path
        else:
            path.unlink(missing_ok=True)


def _is_sound(path: Path) -> bool:
    """Whether a file has the bytes that its name says."""
    try:
        return path.stem.partition("-")[2] == _digest(read_regular(path))
    except OSError:
        return False


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _compile(folder: Path, name: str, text: str, build: Callable[[Path, Path], None]) -> Path:
    """Compile to a file that appears whole; of two processes, the second replaces it by an equal one.

    Args:
        folder: where.
        name: what the file is called, with `*` for the hash of its bytes.
        text: the C file.
        build: what compiles one file to another.
    """
    _tidy(folder)
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as own:
        source, made = Path(own) / "net.c", Path(own) / "net.made"
        source.write_text(text, "ascii")
        build(source, made)
        with made.open("rb+") as file:
            digest = _digest(file.read())
            os.fsync(file.fileno())
        return made.replace(folder / name.replace("*", digest))


def _folder() -> Path:
    """Return the folder, which is made for this user alone.

    Raises:
        NetspecError: `compile/cache`.
    """
    try:
        above = cache_folder()
        folder = above / "native"
        above.mkdir(mode=0o755, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        for each in (above, folder):
            _require_own(each)
    except OSError as error:
        where = Path(error.filename) if error.filename else Path("its cache")
        raise _unusable(where, error.strerror or str(error)) from None
    return folder


def _require_own(folder: Path) -> None:
    """Refuse a folder in which others could put a file that is then executed."""
    if not hasattr(os, "getuid"):
        return
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _unusable(folder, "it is no folder")
    if found.st_uid != os.geteuid():
        raise _unusable(folder, "it belongs to somebody else")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unusable(folder, "others may write to it", f"chmod go-w {folder}")


def _unusable(
    place: Path, why: str, hint: str = "name another folder: XDG_CACHE_HOME=..."
) -> NetspecError:
    message = f"machine code cannot be kept in {place}: {why}"
    return NetspecError.simple(codes.COMPILE_CACHE, message, hint)


def _tidy(folder: Path) -> None:
    """Delete libraries that have not been used for the longest time, and what was left behind."""
    now, libraries = time.time(), []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):  # another process deletes too
                used = entry.stat(follow_symlinks=False).st_mtime
                if entry.name.endswith((".so", ".o")):
                    libraries.append((used, entry.path))
                elif entry.name.startswith("build-") and now - used > _LEFT_SECONDS:
                    _delete_build(Path(entry.path))
    for _, path in sorted(libraries)[: max(0, len(libraries) - MOST + 1)]:
        with suppress(OSError):
            os.unlink(path)


def _delete_build(folder: Path) -> None:
    for inside in folder.iterdir():
        inside.unlink()
    folder.rmdir()
