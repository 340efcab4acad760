"""Writes the C file of a net."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.c_backend.about_file import (
    LAYOUT,
    STACK_BYTES,
    arena_comment,
    array_sizes,
    declared_digest,
    defined_digest,
    head,
    header,
    stack_size,
)
from netspec.compiler.c_backend.c_text import declared
from netspec.compiler.c_backend.calls import Calls
from netspec.compiler.c_backend.classify import (
    classify_functions,
    declared_classify,
    is_distribution,
)
from netspec.compiler.c_backend.definitions import array_texts, function, wrapped
from netspec.compiler.c_backend.elementwise import ElementwiseFunctions
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.library import called, used_units
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.c_backend.memory import (
    FileMemory,
    copied_results,
    given_results,
    require_countable,
    without_unread,
)
from netspec.compiler.c_backend.names import Names
from netspec.compiler.c_backend.normalization_macros import declared_normalization
from netspec.compiler.c_backend.normalized_input import with_normalized_input
from netspec.compiler.c_backend.open_sizes import OpenSizes, require_known
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.ir.plan import Buffer, Plan
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.records import record

Array = NDArray[Any]

# Constants of more bytes than this are a file of their own.
LARGE = 1 << 20


SPECIALISED = """\
/* The compiler makes a function anew for each call, for the sizes that it is called with. */
#ifdef __GNUC__
#define SPECIALISED static inline __attribute__((always_inline))
#else
#define SPECIALISED static inline
#endif"""


@record
class COptions:
    """What a C file is to be.

    Attributes:
        header: the name of the header that the declarations go to; None for none.
        fast: functions of which the compiler makes one for each call's sizes, with the vectors of
            GCC and Clang.
        extern_arena: whether the caller passes the arena.
        dtype: the precision of the constants, and what `REAL` is unless the compiler is told.
        classes: the names of the classes, for a function that names the likeliest; None for none.
        input_scale: how the input is normalised, for a net with one input; None if the caller does
            it.
        most: the largest number of each size that the functions take as an argument.
        name: what the functions' names begin with; None for the net's.
        about: lines for the comments of the file and the header, of any text: where the weights are
            from, and how the input is normalised.
        weights_in_file: whether weights are constants, however many there are.
        digest: what the weights are known by, for the program; empty for nothing.
        normalized: how inputs were normalised in training, whoever does it, by their names.
    """

    header: str | None = None
    fast: bool = False
    extern_arena: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    classes: tuple[str, ...] | None = None
    input_scale: InputScale | None = None
    most: Mapping[str, int] = field(default_factory=dict)
    name: str | None = None
    about: tuple[str, ...] = ()
    weights_in_file: bool = False
    digest: str = ""
    normalized: Mapping[str, InputScale] = field(default_factory=dict)


@record
class CSource:
    """A net in C.

    Attributes:
        text: the C file.
        header: the header, if one was asked for.
        weights: the file of weights, little-endian, if they are too large for constants.
        name: what the functions' names begin with.
        arena_bytes, constant_bytes: the memory that is written and that is only read.
        macs: the multiply-adds for one image.
        peak: the layer at which most of the arena is in use; None if none is.
        held: the numbers of each value that is in the arena there, by its name.
    """

    text: str
    header: str | None
    weights: bytes | None
    name: str
    arena_bytes: int
    constant_bytes: int
    macs: int
    peak: Node | None = None
    held: Mapping[str, int] = field(default_factory=dict)


def c_source(
    graph: Graph, parameters: Mapping[str, Array], options: COptions | None = None
) -> CSource:
    """Return a net in C that predicts, with these parameters.

    Args:
        graph: a checked graph; sizes that it leaves open have a largest number in the options.
        parameters: the numbers of its parameters and buffers, by name.
        options: what the file is to be.

    Raises:
        NetspecError: `compile/no-c` for each layer that has no form in C, and for open sizes.
    """
    options = options or COptions()
    require_known(graph, options.most)
    names = Names(options.name or graph.name)
    sizes = OpenSizes(graph, options.most, names) if options.most else None
    graph = graph if sizes is None else sizes.graph
    plan = make_plan(graph, training=False, backward=False)
    source = _File(graph, plan, parameters, options, names, sizes).source()
    if sizes is not None:
        sizes.require()
    return source


class _File:
    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        parameters: Mapping[str, Array],
        options: COptions,
        names: Names,
        sizes: OpenSizes | None,
    ) -> None:
        self.graph = graph
        self.options = options
        self.double = options.dtype == "float64"
        self.names = names
        self.sizes = sizes
        self.name, self.upper = self.names.net, self.names.net.upper()
        self.functions = ElementwiseFunctions(self.names, self.double)
        self.constants = Constants(parameters)
        if self.options.input_scale is not None:
            plan = with_normalized_input(plan, self.constants, self.options.input_scale)
        steps = without_unread(self.constants.fold(plan.forward), list(plan.outputs.values()))
        self.plan = dataclasses.replace(plan, forward=tuple(steps))
        self.inputs = {name: self.names.free(name) for name in graph.inputs}
        self.outputs = {name: self.names.free(name) for name in graph.outputs}
        self.memory = FileMemory(self.plan, self.constants, self.names, self._given(), sizes=sizes)
        self.calls = Calls(
            graph, plan.nodes, self.memory, self.functions, self.double, are_open=sizes is not None
        )

    def _given(self) -> dict[Buffer, str]:
        """Return the caller's pointers, by the buffers that they are."""
        given = {buffer: self.inputs[name] for name, buffer in self.plan.inputs.items()}
        taken = {*given, *self.constants}
        return given | given_results(self.plan, self.plan.outputs, self.outputs, taken)

    def source(self) -> CSource:
        body = self._body()
        if self._constant_bytes() > LARGE and not self.options.weights_in_file:
            self.memory.in_blob = True
            body = self._body()
        require_countable(self.graph.name, self._arena_size(), self._real_bytes())
        blob = self._blob() if self.memory.in_blob else None
        declarations = self._declarations()
        parts = [self._head(), self._includes(body)]
        if self.options.header is None:
            parts.append(declarations)
        else:
            parts.append(f'#include "{self.options.header}"')
        parts += [
            f"typedef {self.name}_real real;",
            *defined_digest(self.name, self.options.digest),
        ]
        parts += [*self._memory(), *self._constants()]
        parts += [SPECIALISED] if self.options.fast else []
        own = [] if self.sizes is None else [self.sizes.definition()]
        own += [self._predict(body), self._predict_batch(), *self._classify()]
        parts += [*self._functions(own), *own]
        if blob is not None:
            parts.append(self._use_weights())
        return CSource(
            "\n\n".join(parts) + "\n",
            None
            if self.options.header is None
            else header(self.graph, declarations, self.upper, about=self.options.about),
            blob,
            self.name,
            self._arena_size() * self._real_bytes(),
            self._constant_bytes(),
            self._macs(),
            self.memory.peak(),
            self.memory.held_at_peak(),
        )

    # -- sizes

    def _real_bytes(self) -> int:
        return 8 if self.double else 4

    def _arena_size(self) -> int:
        return self.memory.total + self.memory.scratch_size

    def _constant_bytes(self) -> int:
        numbers = sum(array.values.size for array in self.memory.arrays)
        return numbers * self._real_bytes() + 4 * sum(t.values.size for t in self.memory.tables)

    def _macs(self) -> int:
        graph = self.graph if self.sizes is None else self.sizes.largest
        return sum(node.op.macs(*graph.shapes_into(node)) for node in graph.nodes)

    # -- the parts of the file

    def _head(self) -> str:
        kind = "a file of its own" if self.memory.in_blob else "constants in this file"
        facts = [
            LAYOUT,
            "Inside, the channels of a picture lie behind its places.",
            "",
            f"weights   {self._constant_bytes():,} bytes, {kind}",
            f"memory    {self._arena_size() * self._real_bytes():,} bytes, the arena{self._of_largest()}",
            f"stack     less than {STACK_BYTES:,} bytes on a machine of 32 bits, with -O1 or more",
            f"work      {self._macs():,} multiply-adds for an image{self._of_largest()}",
        ]
        return head(self.graph, facts, about=self.options.about)

    @property
    def _conditions(self) -> dict[str, str]:
        """What the functions need, as C, by what they return a value of their own for if it is not so."""
        needed = {}
        if self.memory.in_blob:
            needed["before it was told where the weights are"] = "weights"
        if self.sizes is not None:
            needed["for sizes that the net does not take"] = self.sizes.test
        return needed

    @property
    def _returned(self) -> str:
        return "int" if self._conditions else "void"

    def _refused(self, value: int) -> list[str]:
        """Return the lines that return a value where the functions cannot do their work."""
        return [
            line
            for test in self._conditions.values()
            for line in (f"if (!{test})", f"    return {value};")
        ]

    def _refuses(self, value: int) -> str:
        """Return what is said of a function that gives a value where it cannot do its work."""
        if not self._conditions:
            return ""
        done = "0, or " if value > 0 else ""
        return f"\n   Returns {done}{value}, and writes nothing, {' or '.join(self._conditions)}."

    def _of_largest(self) -> str:
        return "" if self.sizes is None else " of the largest size"

    def _includes(self, body: Sequence[str]) -> str:
        return "#include <math.h>"

    def _arguments(self, *, declared: bool = False) -> str:
        """Return the parameters of the functions, in their declarations or where they are defined."""
        sizes = [] if self.sizes is None else self.sizes.arguments
        arena = ["arena"] if self.options.extern_arena else []
        called = [*self.inputs.values(), *self.outputs.values()]
        if declared:
            called = self.names.declared([*self.inputs, *self.outputs], [*sizes, *arena, "count"])
        given = [f"int {size}" for size in sizes]
        for number, name in enumerate(called):
            const = "const " if number < len(self.inputs) else ""
            given.append(f"{const}{self.name}_real *{name}")
        given += [f"{self.name}_real *{name}" for name in arena]
        return ", ".join(given)

    def _declared(self, function: str, before: str = "") -> list[str]:
        """Return the declaration of a function."""
        head = f"{function}({before}{self._arguments(declared=True)});"
        return wrapped(head)

    def _declarations(self) -> str:
        lines = [
            arena_comment("numbers", by_caller=self.options.extern_arena),
            f"#define {self.upper}_ARENA_NUMBERS {self._arena_numbers()}",
            "",
            *stack_size(self.upper, STACK_BYTES),
            *self._array_sizes(),
            *declared_digest(self.name, self.options.digest),
            *declared_normalization(
                self.names, self.graph.inputs, self.options.normalized, self._who_normalizes()
            ),
        ]
        if self.sizes is not None:
            lines += ["/* The largest sizes. */", self.sizes.declared, ""]
        if self.memory.in_blob:
            count = self._constant_bytes() // self._real_bytes()
            lines += [
                f"/* Tells where the {count:,} numbers of the weights are, before anything else. */",
                f"void {self.name}_use_weights(const {self.name}_real *numbers);",
                "",
            ]
        lines += [
            f"/* Predicts for one image.{self._refuses(1)} */",
            *self._declared(f"{self._returned} {self.name}_predict"),
            "",
            "/* Predicts for `count` images that lie one behind the other. */",
            *self._declared(f"{self._returned} {self.name}_predict_batch", "int count, "),
            "",
            *self._declared_classify(),
        ]
        return declared(self.name, lines, double=self.double, arena=self._arena_numbers())

    def _who_normalizes(self) -> str:
        by_caller = self.options.input_scale is None
        return "The caller does it." if by_caller else "This file does it: the caller does not."

    def _arena_numbers(self) -> int:
        return max(1, self._arena_size())

    def _array_sizes(self) -> list[str]:
        """Return the constants that are the numbers of the caller's arrays, if they are known."""
        if self.sizes is not None:
            return []
        arrays = {name: math.prod(shape) for name, shape in self.graph.inputs.items()}
        arrays |= {
            name: math.prod(self.graph.shape_of(value))
            for name, value in self.graph.outputs.items()
        }
        return array_sizes(self.names, arrays)

    def _declared_classify(self) -> list[str]:
        if self.options.classes is None:
            return []
        return declared_classify(
            self.name, self._declared(f"int {self.name}_classify"), self._refuses(-1)
        )

    def _memory(self) -> Iterator[str]:
        places = list(self.memory.places_in_arena())
        if self.memory.scratch_size:
            places.append(("AT_SCRATCH", self.memory.total))
        if places:
            lines = [f"    {name} = {offset}," for name, offset in places]
            lines[-1] = lines[-1].rstrip(",")
            about = (
                "/* Where values begin in the arena. Values that are not needed at the same time"
                " share a place. */"
            )
            yield "\n".join([about, "enum {", *lines, "};"])
        if not self.options.extern_arena and places:
            yield f"static real arena[{self.upper}_ARENA_NUMBERS];"

    def _constants(self) -> Iterator[str]:
        if self.memory.in_blob:
            offset, lines = 0, []
            for array in self.memory.arrays:
                lines.append(f"    {array.name} = {offset}")
                offset += array.values.size
            yield "\n".join(
                ["/* Where each array begins in the weights. */", "enum {", ",\n".join(lines), "};"]
            )
            yield "static const real *weights;"
        given = [] if self.memory.in_blob else self.memory.arrays
        yield from array_texts(given, self.memory.tables, double=self.double)

    def _blob(self) -> bytes:
        order = np.dtype(np.float64 if self.double else np.float32).newbyteorder("<")
        return b"".join(array.values.astype(order).tobytes() for array in self.memory.arrays)

    def _functions(self, callers: Sequence[str]) -> Iterator[str]:
        """Yield the functions that these call, callees first."""
        formulas = self.functions.texts()
        code = "\n".join([*callers, *formulas])
        for unit in used_units(called(code), fast=self.options.fast):
            yield self._specialised(unit.text)
        for text in formulas:
            yield self._specialised(text)

    def _specialised(self, text: str) -> str:
        """Return a function as one that the compiler makes anew for each call, with its sizes."""
        if not self.options.fast:
            return text
        return re.sub(r"^static (?=void|real|int)", "SPECIALISED ", text, flags=re.MULTILINE)

    def _predict(self, body: Sequence[str]) -> str:
        head = f"{self._returned} {self.name}_predict({self._arguments()})"
        if self._conditions:
            body = [*self._refused(1), "", *body, "return 0;"]
        return function(head, body)

    def _predict_batch(self) -> str:
        steps = [(name, math.prod(self.graph.inputs[key])) for key, name in self.inputs.items()] + [
            (name, math.prod(self.graph.shape_of(self.graph.outputs[key])))
            for key, name in self.outputs.items()
        ]
        given = [] if self.sizes is None else self.sizes.arguments
        given += [f"{name} + n * {size}" for name, size in steps]
        given += ["arena"] if self.options.extern_arena else []
        lines = [
            "    for (int n = 0; n < count; n++)",
            f"        {self.name}_predict({', '.join(given)});",
        ]
        if self._conditions:
            lines = [*indented(self._refused(1)), *lines, "    return 0;"]
        head = f"{self._returned} {self.name}_predict_batch(int count, {self._arguments()})"
        return "\n".join([*wrapped(head), "{", *lines, "}"])

    def _classify(self) -> Iterator[str]:
        """Yield the functions that name a class, if they are asked for."""
        names = self.options.classes
        if names is None:
            return
        (input_name,), (scores,) = self.inputs.values(), self.outputs.values()
        sizes = [] if self.sizes is None else self.sizes.arguments
        arena = ["arena"] if self.options.extern_arena else []
        predict = f"{self.name}_predict({', '.join([*sizes, input_name, scores, *arena])})"
        lines = [f"if ({predict})", "    return -1;"] if self._conditions else [f"{predict};"]
        yield from classify_functions(
            self.name, f"int {self.name}_classify({self._arguments()})", lines, scores, names,
            done=is_distribution(self.graph),
        )  # fmt: skip

    def _use_weights(self) -> str:
        head = f"void {self.name}_use_weights(const {self.name}_real *numbers)"
        return f"{head}\n{{\n    weights = numbers;\n}}"

    # -- the calls

    def _body(self) -> list[str]:
        lines = self.calls.lines(self.plan.forward)
        return [*lines, *copied_results(self.memory, self.plan.outputs, self.outputs)]
