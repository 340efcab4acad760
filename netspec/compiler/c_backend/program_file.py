"""Writes a plan as C for netspec itself: its passes, over arrays that the caller keeps.

Unlike the file of `compile --target c` it has no arena and no parameters of its own: where values lie
depends on the batch, and parameters change while they are trained. A table of pointers says where all
of them are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from netspec.compiler.c_backend.calls import Calls
from netspec.compiler.c_backend.definitions import array_texts, wrapped
from netspec.compiler.c_backend.elementwise import ElementwiseFunctions
from netspec.compiler.c_backend.emit import Array
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.forms.engine import ENGINE_FORMS
from netspec.compiler.c_backend.library import PARALLEL, apart, called, engine_header, used_units
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.c_backend.memory import FileMemory, Place
from netspec.compiler.c_backend.names import Names
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, Operand, Plan
from netspec.compiler.ir.sizes import typical
from netspec.compiler.numpy_backend.passes.plan_memory import MemoryPlan, plan_memory
from netspec.records import record

REAL = "typedef REAL real;"

# The number of OpenMP's threads is put back: others in this process may use it too.
THREADS = """\
/* Sets how many threads share a loop, and returns how many did before. */
#ifdef _OPENMP
#include <omp.h>
#define THREADS omp_get_max_threads()
static int set_threads(int threads)
{
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
}
#else
#define THREADS 1
static int set_threads(int threads)
{
    return threads;
}
#endif"""

# Loops of threads that are worth it under a condition alone.
PARALLEL_IF = """\
#ifdef _OPENMP
#define PRAGMA(text) _Pragma(#text)
#define PARALLEL_IF(condition) PRAGMA(omp parallel for schedule(static) if (condition))
#undef PARALLEL_IF_LARGE
#define PARALLEL_IF_LARGE PARALLEL_IF(count > NUMBERS)
#else
#define PARALLEL_IF(condition)
#endif"""

# The bytes of values in between that a part of a batch has at most: those of a processor's larger cache.
CACHE = 1 << 18

# Places of arrays are multiples of so many numbers: of what a vector has at most.
ALIGNMENT = 16

# What the functions of a file are called, by the plan's part.
FUNCTIONS = {"forward": "netspec_forward", "backward": "netspec_backward"}


@record
class ProgramSource:
    """A plan as C.

    Each of its `FUNCTIONS` takes `(REAL *const *at, int count, int part, int threads)`, where `count` is
    the number of images, of which `part` are computed at a time.

    Attributes:
        text: the C file, for a compiler that defines `REAL`.
        apart: C files of functions that it calls and other programs have too, likewise.
        operands: what the pointers of `at` are to; behind these come one to the scratch memory and
            one to the weights.
        scratch: the numbers that the scratch memory has, for any batch.
        work: the numbers that each thread has behind these.
        part: how many images each thread computes at a time, from the inputs to the outputs, with the
            same memory for each part; 0 for all in one, because images depend on each other or a
            backward pass reads what is between.
        weights: the numbers that were known when the file was written, or what was made of them.
    """

    text: str
    apart: tuple[str, ...]
    operands: tuple[Operand, ...]
    scratch: int
    work: int
    part: int
    weights: Array


def program_source(
    graph: Graph, plan: Plan, constants: Constants, dtype: np.dtype[np.floating]
) -> ProgramSource:
    """Return a plan as C.

    Args:
        graph: the net.
        plan: the plan; the caller draws what layers draw.
        constants: the operands whose numbers do not change.
        dtype: float32 or float64.

    Raises:
        NetspecError: `compile/no-c` for each layer that has no form in C.
    """
    double, names = dtype.itemsize == 8, Names(graph.name)
    shapes = {p.name: Place(p.name, 0, tuple(p.shape)) for p in graph.parameters.values()}
    used: dict[Operand, str] = {}
    memory = FileMemory(plan, constants, names, {}, in_blob=True, parameters=shapes, table=used)
    functions = ElementwiseFunctions(names, double, threads=True, nested=True)
    calls = Calls(graph, plan.nodes, memory, functions, double, "count", first_forms=ENGINE_FORMS)
    # Both at once, so that the error names the layers of both.
    calls.lines((*plan.forward, *plan.backward))
    bodies = {"forward": calls.lines(plan.forward)}
    if plan.backward:
        bodies["backward"] = calls.lines(plan.backward)
    table = {name: (i, "") for i, name in enumerate([*used.values(), "AT_SCRATCH", "weights"])}
    table["AT_WORK"] = (len(used), f" + {_rounded(memory.scratch_size)}")
    places = plan_memory(plan)
    in_parts = not (plan.training or plan.backward)
    steps = {name: _step(each, places) for each, name in used.items()} if in_parts else {}
    passes = [_pass(FUNCTIONS[part], body, table, names, steps) for part, body in bodies.items()]
    own = functions.texts()
    units = used_units(called("\n".join([*own, *passes])), fast=True, threads=True)
    needed = frozenset().union(*(unit.needs for unit in units))
    weights = _together([array.values for array in memory.arrays]).astype(dtype)
    return ProgramSource(
        "\n\n".join(
            [
                "#include <math.h>",
                REAL,
                PARALLEL,
                THREADS,
                PARALLEL_IF,
                engine_header("lanes"),
                engine_header("tiles"),
                *_offsets(memory),
                *array_texts([], memory.tables, double=double),
                *(unit.text for unit in units),
                *own,
                *passes,
            ]
        )
        + "\n",
        tuple(_compiled_apart(unit.text) for unit in apart() if needed & unit.functions.keys()),
        tuple(used),
        _rounded(memory.scratch_size),
        _rounded(memory.work_size),
        _images_of_part(graph, places, weights) if in_parts else 0,
        weights,
    )


def _images_of_part(graph: Graph, places: MemoryPlan, weights: Array) -> int:
    """Return of how many images the values in between fit into a cache.

    They are more where weights, which are read again for each part, would take a twentieth of the
    time: if 8 of their bytes are read, and 16 products made, in one cycle.
    """
    many = 64
    of_images = CACHE * many // max(1, places.layout(many)[1] * weights.itemsize)
    macs = sum(typical(node.op.macs(*graph.shapes_into(node))) for node in graph.nodes)
    return max(1, of_images, 40 * weights.nbytes // max(1, macs))


def _step(operand: Operand, places: MemoryPlan) -> int:
    """Return how far apart an operand has the numbers of two images, where all images have their own."""
    if isinstance(operand, Buffer) and operand.batched and operand in places.external:
        return operand.elements(1)
    return 0


def _compiled_apart(text: str) -> str:
    """Return the file of functions that are compiled apart."""
    headers = map(engine_header, ("lanes", "tiles", "tile"))
    return "\n\n".join([REAL, *headers, text]) + "\n"


def _offsets(memory: FileMemory) -> list[str]:
    """Return where each array begins in the weights."""
    lines, at = [f"    WORK = {_rounded(memory.work_size)}"], 0
    for array in memory.arrays:
        lines.append(f"    {array.name} = {at}")
        at += _rounded(array.values.size)
    return ["enum {\n" + ",\n".join(lines) + "\n};"]


def _rounded(numbers: int) -> int:
    """Return so many numbers, or a few more, so that what comes behind them is aligned as they are."""
    return -(-numbers // ALIGNMENT) * ALIGNMENT


def _together(arrays: Sequence[Array]) -> Array:
    """Return arrays one behind the other, each aligned."""
    parts = [np.pad(each, (0, _rounded(each.size) - each.size)) for each in arrays]
    return np.concatenate([np.zeros(0), *parts])


def _pass(
    function: str,
    body: Sequence[str],
    table: Mapping[str, tuple[int, str]],
    names: Names,
    steps: Mapping[str, int],
) -> str:
    """Return a function that finds the pointers it needs in the table, and calls the kernels.

    Args:
        function: its name.
        body: the calls.
        table: the place of each pointer in the table, and what is added to it.
        names: the names of the file.
        steps: how far each pointer moves from an image to the next; if there are any, the function
            computes a part of the images after another.
    """
    at, part, threads, before, first, images = (
        names.free(name) for name in ("at", "part", "threads", "before", "first", "images")
    )
    used = set(re.findall(r"\w+", "\n".join(body)))
    pointers = [
        f"real *const {name} = {at}[{i}]{behind}"
        + (f" + {first} * {steps[name]};" if steps.get(name) else ";")
        for name, (i, behind) in table.items()
        if name in used
    ]
    lines = [*pointers, *body]
    if steps:
        lines = [
            f"for (int {first} = 0; {first} < {images}; {first} += {part}) {{",
            f"    const int count = {images} - {first} < {part} ? {images} - {first} : {part};",
            *indented(lines),
            "}",
        ]
    lines = [f"const int {before} = set_threads({threads});", *lines, f"set_threads({before});"]
    count = images if steps else "count"
    head = f"void {function}(real *const *{at}, int {count}, int {part}, int {threads})"
    return "\n".join([*wrapped(head), "{", *indented(lines), "}"])
