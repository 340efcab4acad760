"""Writes a plan as C for netspec itself: its passes, over arrays that the caller keeps.

Unlike the file of `compile --target c` it has no arena and no parameters of its own: where values lie
depends on the batch, and parameters change while they are trained. A table of pointers says where all
of them are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from netspec.compiler.c_backend.calls import Calls
from netspec.compiler.c_backend.definitions import array_texts, wrapped
from netspec.compiler.c_backend.elementwise import ElementwiseFunctions
from netspec.compiler.c_backend.emit import Array
from netspec.compiler.c_backend.first_layers import CACHE, FirstLayers, first_layers
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.forms.engine import ENGINE_FORMS
from netspec.compiler.c_backend.library import apart, called, engine_header, used_units
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.c_backend.memory import FileMemory, Place
from netspec.compiler.c_backend.names import Names
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, Operand, Plan
from netspec.compiler.ir.sizes import typical
from netspec.compiler.numpy_backend.passes.plan_memory import MemoryPlan, plan_memory
from netspec.records import record

REAL = "typedef REAL real;"

# Places of arrays are multiples of so many numbers: of what a vector has at most.
ALIGNMENT = 16

# What the functions of a file are called, by the plan's part.
FUNCTIONS = {"forward": "netspec_forward", "backward": "netspec_backward"}
PART, FIRST = "netspec_part", "netspec_first_layers"

# A forward pass of which each member computes parts of the batch, from the inputs to the outputs. A batch
# that is one part is shared by all, layer by layer, but for `FIRST` layers: of these, image by image.
_PARTS = f"""\
void {FUNCTIONS["forward"]}(void *at, int count, int part, long long apart, Team *team, int number)
{{
    join_team(team, number);
    if (count <= part)
        {PART}(at, 0, count, 0, 0);
    else
        SHARE(first, count, part, 1)
            {PART}(at, first, count - first < part ? count - first : part, apart * number, number);
}}"""


@record
class ProgramSource:
    """A plan as C.

    Each of its `FUNCTIONS` is a `Pass` of `library/engine/team.h`, whose first argument is a table of
    pointers.

    Attributes:
        text: the C file, for a compiler that defines `REAL`.
        apart: C files of functions that it calls and other programs have too, likewise.
        operands: what the pointers of `at` are to; behind these come one to the scratch memory and
            one to the weights.
        scratch: the numbers that the scratch memory has, for any batch, and for each thread if there
            are parts.
        work: the numbers that each thread has behind these.
        part: how many images each thread computes at a time at most, from the inputs to the outputs,
            with the same memory for each part; 0 for all in one, because images depend on each other, a
            backward pass reads what is between, or threads share the images of the first layers.
        cost: how much there is to compute for an image, about in multiplications.
        weights: the numbers that were known when the file was written, or what was made of them.
    """

    text: str
    apart: tuple[str, ...]
    operands: tuple[Operand, ...]
    scratch: int
    work: int
    part: int
    cost: int
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
    functions = ElementwiseFunctions(names, double, threads="turns", nested=True)
    calls = Calls(graph, plan.nodes, memory, functions, double, "count", first_forms=ENGINE_FORMS)
    # All at once, so that the error names every layer.
    calls.lines((*plan.forward, *plan.backward))
    weights = _together([array.values for array in memory.arrays]).astype(dtype)
    scratch, work = _rounded(memory.scratch_size), _rounded(memory.work_size)
    part, first, places = 0, None, plan_memory(plan)
    in_parts = not (plan.training or plan.backward)
    if not in_parts:
        passes = [
            _pass(FUNCTIONS[name], calls.lines(steps), used, names)
            for name, steps in (("forward", plan.forward), ("backward", plan.backward))
            if steps or name == "forward"
        ]
    else:
        part = _images_of_part(graph, places, weights)
        first = first_layers(plan, constants, dtype.itemsize, part, ALIGNMENT)
        begin = first.steps if first else 0
        before, behind = (
            calls.lines(each) for each in (plan.forward[:begin], plan.forward[begin:])
        )
        passes = _passes_in_parts(before, behind, first, used, names, places)
    own = functions.texts()
    units = used_units(called("\n".join([*own, *passes])), fast=True, threads="turns")
    needed = frozenset().union(*(unit.needs for unit in units))
    between = work  # what is between the first layers comes behind what kernels work with
    if in_parts:  # all memory of a member is together
        work += scratch + (first.size if first else 0)
    return ProgramSource(
        "\n\n".join(
            [
                "#include <math.h>",
                REAL,
                engine_header("lanes"),
                engine_header("team"),
                engine_header("turns"),
                engine_header("tiles"),
                _offsets(memory, SCRATCH=scratch, WORK=work, BETWEEN=scratch + between),
                *array_texts([], memory.tables, double=double),
                *(unit.text for unit in units),
                *own,
                *passes,
            ]
        )
        + "\n",
        tuple(_compiled_apart(unit.text) for unit in apart() if needed & unit.functions.keys()),
        tuple(used),
        0 if in_parts else scratch,
        work,
        0 if first else part,
        _cost(graph),
        weights,
    )


def _images_of_part(graph: Graph, places: MemoryPlan, weights: Array) -> int:
    """Return of how many images the values in between fit into a cache.

    They are more where weights, which are read again for each part, would take a twentieth of the
    time: if 8 of their bytes are read, and 16 products made, in one cycle.
    """
    many = 64
    of_images = CACHE * many // max(1, places.layout(many)[1] * weights.itemsize)
    return max(1, of_images, 40 * weights.nbytes // max(1, _macs(graph)))


def _macs(graph: Graph) -> int:
    return sum(typical(node.op.macs(*graph.shapes_into(node))) for node in graph.nodes)


def _cost(graph: Graph) -> int:
    """Return what an image costs: to write or read a number takes as long as a few multiplications."""
    return _macs(graph) + 8 * sum(math.prod(map(typical, node.shape)) for node in graph.nodes)


def _compiled_apart(text: str) -> str:
    """Return the file of functions that are compiled apart."""
    headers = map(engine_header, ("lanes", "tiles", "tile"))
    return "\n\n".join([REAL, *headers, text]) + "\n"


def _offsets(memory: FileMemory, **places: int) -> str:
    """Return where each array begins in the weights, and where threads have their memory."""
    lines, at = [f"    {name} = {place}" for name, place in places.items()], 0
    for array in memory.arrays:
        lines.append(f"    {array.name} = {at}")
        at += _rounded(array.values.size)
    return "enum {\n" + ",\n".join(lines) + "\n};"


def _rounded(numbers: int) -> int:
    """Return so many numbers, or a few more, so that what comes behind them is aligned as they are."""
    return -(-numbers // ALIGNMENT) * ALIGNMENT


def _together(arrays: Sequence[Array]) -> Array:
    """Return arrays one behind the other, each aligned."""
    parts = [np.pad(each, (0, _rounded(each.size) - each.size)) for each in arrays]
    return np.concatenate([np.zeros(0), *parts])


def _pass(function: str, body: Sequence[str], used: Mapping[Operand, str], names: Names) -> str:
    """Return a pass, whose layers all members of a team share, one after another.

    Args:
        function: its name.
        body: the calls of the kernels.
        used: what the pointer to each operand is called, in the order of the table.
        names: the names of the file.
    """
    given, part, apart, team, number = (
        names.free(name) for name in ("given", "part", "apart", "team", "number")
    )
    pointers = _pointers(body, used, f"((real *const *){given})", {})
    head = f"void {function}(void *{given}, int count, int {part}, long long {apart}"
    return _defined(
        f"{head}, Team *{team}, int {number})", [f"join_team({team}, {number});", *pointers, *body]
    )


def _passes_in_parts(
    before: Sequence[str],
    behind: Sequence[str],
    first: FirstLayers | None,
    used: Mapping[Operand, str],
    names: Names,
    places: MemoryPlan,
) -> list[str]:
    """Return the functions that compute a batch part by part; see `_PARTS`.

    Args:
        before: the calls of the kernels of the first layers, if there are any.
        behind: those of the others.
        first: how many images these compute at a time; a batch is one part then.
        used: what the pointer to each operand is called, in the order of the table.
        names: the names of the file.
        places: which values are in the memory of a part.
    """
    at, begin, apart, who, within = (
        names.free(name) for name in ("at", "first", "apart", "who", "within")
    )
    given = f"real *const *{at}, int {begin}, int count, long long {apart}, int {who}"
    scratch = {"AT_SCRATCH": f" + {who} * WORK"}

    def pointers(body: Sequence[str], image: str) -> list[str]:
        added = dict(scratch)
        for operand, name in used.items():
            if operand in places.home:
                assert isinstance(operand, Buffer)
                skip = f" + {image} * {operand.elements(1)}" if image and operand.batched else ""
                added[name] = f" + {apart}{skip}"
            elif isinstance(operand, Buffer) and operand.batched and operand in places.external:
                added[name] = f" + {begin} * {operand.elements(1)}"
        return _pointers(body, used, at, added)

    passes = []
    body = [*pointers(behind, ""), *behind]
    if first:
        own = {used[each]: place for each, place in first.between.items() if each in used}
        table = f"{at}[{len(used)}] + {who} * WORK + BETWEEN"
        read = set(re.findall(r"\w+", "\n".join(before)))
        shared = [line for line in pointers(before, within) if line.split()[2] not in own]
        private = [f"real *const {n} = {table} + {i};" for n, i in own.items() if n in read]
        passes.append(
            _defined(f"static void {FIRST}({given}, int {within})", [*shared, *private, *before])
        )
        some = names.free("some")
        left = f"count - {some}"
        many = f"{left} < {first.images} ? {left} : {first.images}" if first.images > 1 else "1"
        body = [
            f"if (THREADS > 1 && count >= {first.images} * THREADS) {{",
            f"    SHARE({some}, count, {first.images}, LONG_TURNS)",
            f"        {FIRST}({at}, {begin} + {some}, {many}, {apart}, THIS_THREAD, {some});",
            "} else {",
            f"    for (int {some} = 0; {some} < count; {some} += {first.images})",
            f"        {FIRST}({at}, {begin} + {some}, {many}, {apart}, {who}, {some});",
            "}",
            *body,
        ]
    passes.append(_defined(f"static void {PART}({given})", body))
    return [*passes, _PARTS]


def _pointers(
    body: Sequence[str], used: Mapping[Operand, str], table: str, behind: Mapping[str, str]
) -> list[str]:
    """Return the pointers that calls need, and what is added to those in the table."""
    places = {name: i for i, name in enumerate([*used.values(), "AT_SCRATCH", "weights"])}
    behind = {**behind, "AT_WORK": " + SCRATCH"}
    places["AT_WORK"] = places["AT_SCRATCH"]
    read = set(re.findall(r"\w+", "\n".join(body)))
    return [
        f"real *const {name} = {table}[{i}]{behind.get(name, '')};"
        for name, i in places.items()
        if name in read
    ]


def _defined(head: str, lines: Sequence[str]) -> str:
    return "\n".join([*wrapped(head), "{", *indented(lines), "}"])
