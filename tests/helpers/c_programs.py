"""Compiles C files that netspec wrote, and runs them on batches."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.compiler.c_backend.emit import COptions, CSource, c_source
from netspec.compiler.ir.graph import Graph
from netspec.compiler.passes.bind_sizes import specialize
from netspec.runtime.engine.reference import Reference
from netspec.tools.agreement.c_trace import TrainingStep
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.quantities import Trace

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
SANITIZED = Compiler("gcc", ("-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"))
# For files of many calls: without functions in their callers it takes a third of the time.
APART = Compiler(SANITIZED.command, (*SANITIZED.flags, "-fno-inline"))
CLANG = Compiler("clang", ("-O1",))
CXX = Compiler("g++", ("-O0",))

MAIN = """\
#include <stdio.h>
#include <stdlib.h>
#include "net.h"
{weights}
static {name}_real {arrays};
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
        weights=f"static {source.name}_real numbers[{count}];" if count else "",
        arrays=", ".join(arrays),
        load=_read("numbers", count) + f"\n    {source.name}_use_weights(numbers);"
        if count
        else "",
        read="\n    ".join(_read(f"x{i}", n) for i, n in enumerate(ins)),
        name=source.name,
        batch=batch,
        pointers=", ".join(pointers),
        write="\n    ".join(_write(f"y{i}", n) for i, n in enumerate(outs)),
    )


def _read(array: str, count: int) -> str:
    return f"if (fread({array}, sizeof(*{array}), {count}, in) != {count}) return 2;"


OPEN_MAIN = """\
#include <stdio.h>
#include <stdlib.h>
#include "net.h"
static {name}_real *array(size_t count, FILE *file)
{{
    {name}_real *numbers = ({name}_real *)malloc(count * sizeof(*numbers));
    if (numbers == NULL || (file != NULL && fread(numbers, sizeof(*numbers), count, file) != count))
        exit(2);
    return numbers;
}}
int main(void)
{{
    FILE *in = fopen("in", "rb"), *out = fopen("out", "wb");
    {runs}
    return fclose(in) || fclose(out);
}}
"""


def run_open_c(
    graph: Graph,
    parameters: Mapping[str, Any],
    runs: Sequence[tuple[Mapping[str, int], Mapping[str, Any]]],
    compiler: Compiler,
    folder: Path,
    options: COptions,
) -> list[dict[str, Any]]:
    """Compile a net that leaves sizes open, and return the outputs for batches of several sizes.

    The caller's arrays are no larger than they need to be, so that sanitizers see what is behind them.
    """
    compiler.require()
    source = c_source(graph, parameters, options)
    dtype = np.dtype(options.dtype)
    assert source.header is not None
    (folder / "net.h").write_text(source.header, "ascii")
    (folder / "net.c").write_text(source.text, "ascii")
    shapes = []
    with (folder / "in").open("wb") as file:
        if source.weights is not None:
            file.write(source.weights)
        for sizes, inputs in runs:
            for name in graph.inputs:
                file.write(np.ascontiguousarray(inputs[name], dtype).tobytes())
            batch = len(next(iter(inputs.values())))
            known = specialize(graph, sizes)
            shapes.append(
                {n: (batch, *known.shape_of(value)) for n, value in graph.outputs.items()}
            )
    lines = []
    if source.weights is not None:
        count = len(source.weights) // dtype.itemsize
        lines = [
            f"{source.name}_real *weights = array({count}, in);",
            f"{source.name}_use_weights(weights);",
        ]
    for (sizes, inputs), made in zip(runs, shapes, strict=True):
        lines += _open_run(source, options, sizes, [inputs[n].size for n in graph.inputs], made)
    lines += ["free(weights);"] if source.weights is not None else []
    (folder / "main.c").write_text(
        OPEN_MAIN.format(name=source.name, runs="\n    ".join(lines)), "ascii"
    )
    program = compiler.build(folder, [folder / "net.c", folder / "main.c"], "program")
    done = subprocess.run([str(program)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[:4000]}"
    read, at, found = np.frombuffer((folder / "out").read_bytes(), dtype), 0, []
    for made in shapes:
        found.append({})
        for name, shape in made.items():
            found[-1][name] = read[at : at + math.prod(shape)].reshape(shape)
            at += math.prod(shape)
    assert at == len(read)
    return found


def _open_run(
    source: CSource,
    options: COptions,
    sizes: Mapping[str, int],
    inputs: Sequence[int],
    outputs: Mapping[str, tuple[int, ...]],
) -> list[str]:
    arrays = {f"x{i}": f"array({n}, in)" for i, n in enumerate(inputs)}
    written = {f"y{i}": math.prod(shape) for i, shape in enumerate(outputs.values())}
    arrays |= {name: f"array({n}, NULL)" for name, n in written.items()}
    if options.extern_arena:
        arrays["arena"] = f"array({source.name.upper()}_ARENA_NUMBERS, NULL)"
    batch = next(iter(outputs.values()))[0]
    given = ", ".join([str(batch), *(str(sizes[name]) for name in options.most), *arrays])
    return [
        "{",
        *(f"    {source.name}_real *{name} = {made};" for name, made in arrays.items()),
        f"    if ({source.name}_predict_batch({given})) return 4;",
        *(f"    {_write(name, n)}" for name, n in written.items()),
        *(f"    free({name});" for name in arrays),
        "}",
    ]


TRAINING = """\
#include <stdio.h>
#include "net.h"
static {name}_real {arrays};
int main(void)
{{
    FILE *in = fopen("in", "rb"), *out = fopen("out", "wb");
    {read}
    {name}_forward({given}, {outputs}, {batch});
    {name}_backward({given}, {slopes}{written}, {batch});
    {write}
    return fclose(in) || fclose(out);
}}
"""


def run_training_c(
    graph: Graph, case: Trial, compiler: Compiler, folder: Path, dtype: str
) -> Trace:
    """Compile a net to C that trains, and return what a forward and a backward pass compute.

    The gradients of outputs are those of the reference's outputs.
    """
    step = TrainingStep(graph, case, dtype)
    source = step.source("net.h")
    assert source.header is not None
    (folder / "net.h").write_text(source.header, "ascii")
    (folder / "net.c").write_text(source.text, "ascii")
    run = Reference(graph, case.parameters, training=True, masks=case.masks)
    loss, loss_gradients = case.objective.reference(run.forward(case.inputs))
    slopes = step.slopes(loss_gradients)
    given = {"p": step.parameters} | _numbered("x", [*step.inputs.values(), *step.masks.values()])
    outputs = _numbered("y", step.outputs.values())
    ins = given | _numbered("d", slopes.values())
    outs = outputs | {"g": step.gradients} | _numbered("w", step.input_gradients.values())
    main = TRAINING.format(
        arrays=", ".join(f"{name}[{max(1, a.size)}]" for name, a in (ins | outs).items()),
        read="\n    ".join(_read(name, a.size) for name, a in ins.items()),
        name=source.name, batch=case.batch, given=", ".join(given), outputs=", ".join(outputs),
        slopes="".join(f"{name}, " for name in ins if name not in given),
        written=", ".join(name for name in outs if name not in outputs),
        write="\n    ".join(_write(name, a.size) for name, a in (outs | {"p": step.parameters}).items()),
    )  # fmt: skip
    (folder / "main.c").write_text(main, "ascii")
    (folder / "in").write_bytes(b"".join(a.tobytes() for a in ins.values()))
    program = compiler.build(folder, [folder / "net.c", folder / "main.c"], "program")
    done = subprocess.run([str(program)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[:4000]}"
    read, at = np.frombuffer((folder / "out").read_bytes(), dtype), 0
    for array in (*outs.values(), step.parameters):
        array.flat[:] = read[at : at + array.size]
        at += array.size
    assert at == len(read)
    return step.trace(loss, loss_gradients)


def _numbered(letter: str, arrays: Iterable[Any]) -> dict[str, Any]:
    return {f"{letter}{i}": array for i, array in enumerate(arrays)}


def _write(array: str, count: int) -> str:
    return f"if (fwrite({array}, sizeof(*{array}), {count}, out) != {count}) return 3;"
