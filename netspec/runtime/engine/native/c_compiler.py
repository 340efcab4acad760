"""The C compiler of this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from netspec import codes
from netspec.diagnostics import NetspecError

COMPILERS = ("cc", "gcc", "clang")

# How compilers are told to use all that this processor has; Apple's has the second.
_FOR_THIS_PROCESSOR = (("-march=native",), ("-mcpu=native",), ())
# Products may be added in one rounding. No flag changes what NaN and infinity do.
_FLAGS = (
    "-std=gnu99", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-w",
    "-pthread",
)  # fmt: skip


def require_compiler() -> tuple[str, ...]:
    """Return the command of a C compiler: what the environment variable `CC` names, one that is
    found, or the one in the `ziglang` package.

    Raises:
        NetspecError: `compile/no-compiler`.
    """
    named = _words("CC")
    if named:
        if (found := shutil.which(named[0])) is not None:
            return (found, *named[1:])
        raise _no_compiler(f"there is no `{named[0]}`, which CC names")
    for name in COMPILERS:
        if (found := shutil.which(name)) is not None:
            return (found,)
    if importlib.util.find_spec("ziglang") is not None:
        return (sys.executable, "-m", "ziglang", "cc")
    raise _no_compiler(f"there is no C compiler ({', '.join(COMPILERS)})")


def _no_compiler(message: str) -> NetspecError:
    hint = "install gcc or clang, or name one: CC=...; or pip install 'netspec-dsl[native]'"
    return NetspecError.simple(codes.COMPILE_NO_COMPILER, message, hint)


def _words(variable: str) -> tuple[str, ...]:
    """Return the words of an environment variable, as a shell divides them.

    Raises:
        NetspecError: `compile/no-compiler` if a quote is not closed.
    """
    try:
        return tuple(shlex.split(os.environ.get(variable, "")))
    except ValueError as error:
        raise NetspecError.simple(
            codes.COMPILE_NO_COMPILER, f"the environment variable {variable}: {error}"
        ) from None


@dataclass(frozen=True)
class CCompiler:
    """A compiler for this processor.

    Attributes:
        command: what starts it.
        flags: for this processor, and what `CFLAGS` has, which comes last and wins.
        identity: text that differs between compilers, their versions, and kinds of processors.
    """

    command: tuple[str, ...]
    flags: tuple[str, ...]
    identity: str

    @property
    def version(self) -> str:
        """The compiler and its version, as it says them itself."""
        found = re.search(r'^#define __VERSION__ "(.*)"$', self.identity, re.MULTILINE)
        name = Path(self.command[0]).name if len(self.command) == 1 else " ".join(self.command[1:])
        return f"{name} {found.group(1)}" if found else name

    def build(self, source: Path, library: Path, objects: Sequence[Path] = ()) -> None:
        """Compile a file to a library that can be loaded, with others that are compiled already.

        Raises:
            NetspecError: `compile/c-failed`.
        """
        self._make("-shared", source, library, *map(str, objects), "-lm")

    def build_object(self, source: Path, target: Path) -> None:
        """Compile a file to one that libraries are made of.

        Raises:
            NetspecError: `compile/c-failed`.
        """
        self._make("-c", source, target)

    def _make(self, kind: str, source: Path, target: Path, *more: str) -> None:
        given = [*_FLAGS, kind, *self.flags, str(source), "-o", str(target), *more]
        done = _run((*self.command, *given))
        if done.returncode:
            raise failed(done.returncode, done.stderr)


def failed(code: int, said: str) -> NetspecError:
    """Return the error for a compiler that refuses a file, with its words, or that was killed."""
    if (by := _killed(code, said)) is not None:
        return NetspecError.simple(
            codes.COMPILE_C_FAILED, f"the C compiler was killed: {by}",
            "whoever ended it, or too little memory, is the cause, not the file",
        )  # fmt: skip
    lines = said.strip().splitlines()
    first = next((line for line in lines if "error" in line), lines[0] if lines else "")
    message = "the C compiler refuses the file" + (f": {first}" if first else "")
    return NetspecError.simple(codes.COMPILE_C_FAILED, message, "please report it")


def _killed(code: int, said: str) -> str | None:
    """Return the signal that ended a compiler, or a program that it started; None if none did."""
    if code < 0:
        return signal.strsignal(-code) or f"signal {-code}"
    found = re.search(r"error: (\w.*?) signal terminated|unable to execute command: (.+)", said)
    return (found[1] or found[2]).strip() if found else None


def this_compiler() -> CCompiler:
    """Return the compiler to use.

    Raises:
        NetspecError: `compile/no-compiler`, also if what `CC` names is none; `compile/c-failed` if it
            was killed.
    """
    return _asked(require_compiler(), _words("CFLAGS"))


@lru_cache
def _asked(command: tuple[str, ...], more: tuple[str, ...]) -> CCompiler:
    said = ""
    for flags in _FOR_THIS_PROCESSOR:
        both = (*flags, *more)
        # The macros that it defines tell its version and what the processor has.
        done = _run((*command, *both, "-dM", "-E", "-x", "c", os.devnull))
        if done.returncode == 0:
            return CCompiler(command, both, done.stdout)
        said = done.stderr or done.stdout
        if done.returncode < 0:
            raise failed(done.returncode, said)
    lines = said.strip().splitlines()
    shown = " ".join(command) + (f": {lines[0]}" if lines else "")
    raise _no_compiler(f"this is no C compiler: {shown}")


def _run(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise _no_compiler(f"{command[0]} cannot be run: {error.strerror}") from None
