"""Compiles C files that netspec wrote, and runs them on batches."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.compiler.c_backend.emit import COptions, CSource, c_source
from netspec.compiler.ir.graph import Graph

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")


@dataclass(frozen=True)
class Compiler:
    """A compiler with its options."""

    command: str
    flags: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join([self.command, *self.flags])

    def require(self) -> None:
        """Skip the test with a word if the compiler is missing."""
        if shutil.which(self.command) is None:
            pytest.skip(f"there is no {self.command}")

    def build(self, folder: Path, files: Sequence[Path], out: str) -> Path:
        """Compile files with strict warnings, which are errors."""
        self.require()
        language = ["-x", "c++"] if self.command.endswith("++") else ["-std=c99"]
        command = [self.command, *language, *STRICT, *self.flags, *map(str, files)]
        program = folder / out
        done = subprocess.run(
            [*command, "-o", str(program), "-lm"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[:4000]
        return program


GCC = Compiler("gcc", ("-O0",))
SANITIZED = Compiler(
    "gcc", ("-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
)
CLANG = Compiler("clang", ("-O1",))
CXX = Compiler("g++", ("-O0",))

MAIN = """\
#include <stdio.h>
#include <stdlib.h>
#include "net.h"
{weights}
static REAL {arrays};
int main(void)
{{
    FILE *in = fopen("in", "rb"), *out = fopen("out", "wb");
    {load}
    {read}
    {name}_predict_batch({batch}, {pointers});
    {write}
    return fclose(in) || fclose(out);
}}
"""


def run_c(
    graph: Graph,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Any],
    compiler: Compiler,
    folder: Path,
    options: COptions | None = None,
) -> tuple[dict[str, Any], CSource]:
    """Compile a net to C and that to a program, and return the outputs for a batch."""
    compiler.require()
    options = options or COptions("net.h")
    source = c_source(graph, parameters, options)
    dtype = np.dtype(options.dtype)
    assert source.header is not None
    (folder / "net.h").write_text(source.header, "ascii")
    (folder / "net.c").write_text(source.text, "ascii")
    batch = len(next(iter(inputs.values())))
    (folder / "main.c").write_text(_main(graph, source, options, batch), "ascii")
    numbers = [np.ascontiguousarray(inputs[name], dtype).tobytes() for name in graph.inputs]
    (folder / "in").write_bytes((source.weights or b"") + b"".join(numbers))
    program = compiler.build(folder, [folder / "net.c", folder / "main.c"], "program")
    done = subprocess.run([str(program)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[:4000]}"
    read = np.frombuffer((folder / "out").read_bytes(), dtype)
    outputs, at = {}, 0
    for name, value in graph.outputs.items():
        shape = (batch, *graph.shape_of(value))
        outputs[name] = read[at : at + np.prod(shape)].reshape(shape)
        at += int(np.prod(shape))
    assert at == len(read)
    return outputs, source


def _main(graph: Graph, source: CSource, options: COptions, batch: int) -> str:
    ins = [batch * int(np.prod(shape)) for shape in graph.inputs.values()]
    outs = [batch * int(np.prod(graph.shape_of(value))) for value in graph.outputs.values()]
    arrays = [f"x{i}[{n}]" for i, n in enumerate(ins)] + [f"y{i}[{n}]" for i, n in enumerate(outs)]
    pointers = [f"x{i}" for i in range(len(ins))] + [f"y{i}" for i in range(len(outs))]
    if options.extern_arena:
        arrays.append(f"arena[{source.name.upper()}_ARENA_NUMBERS]")
        pointers.append("arena")
    count = len(source.weights or b"") // np.dtype(options.dtype).itemsize
    return MAIN.format(
        weights=f"static REAL numbers[{count}];" if count else "",
        arrays=", ".join(arrays),
        load=_read("numbers", count) + f"\n    {source.name}_use_weights(numbers);"
        if count
        else "",
        read="\n    ".join(_read(f"x{i}", n) for i, n in enumerate(ins)),
        name=source.name,
        batch=batch,
        pointers=", ".join(pointers),
        write="\n    ".join(
            f"if (fwrite(y{i}, sizeof(REAL), {n}, out) != {n}) return 3;"
            for i, n in enumerate(outs)
        ),
    )


def _read(array: str, count: int) -> str:
    return f"if (fread({array}, sizeof(REAL), {count}, in) != {count}) return 2;"
