"""Writes the C file of a net in whole numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import field

import numpy as np

from netspec.compiler.c_backend.about_file import (
    INT8_STACK_BYTES,
    LAYOUT,
    arena_comment,
    array_sizes,
    declared_digest,
    defined_digest,
    head,
    header,
    stack_size,
)
from netspec.compiler.c_backend.c_text import comment, declared, number, numbers
from netspec.compiler.c_backend.calls import show
from netspec.compiler.c_backend.classify import (
    classify_functions,
    declared_classify,
    is_distribution,
    likeliest,
)
from netspec.compiler.c_backend.definitions import array_text, function, wrapped
from netspec.compiler.c_backend.emit import CSource
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.int8.quantize import DEQUANTIZE, QUANTIZE, QuantizedNet
from netspec.compiler.c_backend.int8.scheme import Array, Scale
from netspec.compiler.c_backend.kernel_call import c_call
from netspec.compiler.c_backend.library import called, used_units
from netspec.compiler.c_backend.memory import FileMemory
from netspec.compiler.c_backend.names import Names
from netspec.compiler.c_backend.normalization_macros import declared_normalization, is_normalized
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, KernelStep, Operand, Step, ViewStep
from netspec.compiler.numpy_backend.origins import Origins
from netspec.records import record

BYTES = {"int8_t": 1, "int32_t": 4}
KIND = " in whole numbers of 8 bits"
PIXELS = 256
# As many tables of so many bytes stand in a file.
MOST_TABLES = 4


@record
class Int8Options:
    """What a C file in whole numbers is to be.

    Attributes:
        header: the name of the header that the declarations go to; None for none.
        extern_arena: whether the caller passes the arena.
        classes: the names of the classes, for a function that names the likeliest; None for none.
        input_scale: how the only input in floating point is normalised; None if the caller does it.
        pixels: how bytes of the data are normalised, for a function that takes them; None for none.
        name: what the functions' names begin with; None for the net's.
        about: lines for the comments of the file and the header, of any text.
        digest: what the weights are known by, for the program; empty for nothing.
        normalized: how inputs were normalised in training, whoever does it, by their names.
    """

    header: str | None = None
    extern_arena: bool = False
    classes: tuple[str, ...] | None = None
    input_scale: InputScale | None = None
    pixels: InputScale | None = None
    name: str | None = None
    about: tuple[str, ...] = ()
    digest: str = ""
    normalized: Mapping[str, InputScale] = field(default_factory=dict)


def int8_source(net: QuantizedNet, options: Int8Options | None = None) -> CSource:
    """Return the C file of a net in whole numbers.

    Args:
        net: the net.
        options: what the file is to be.
    """
    return _Int8File(net, options or Int8Options()).source()


class _Int8File:
    def __init__(self, net: QuantizedNet, options: Int8Options) -> None:
        self.net, self.options, graph = net, options, net.graph
        self.names = Names(options.name or graph.name)
        self.name, self.upper = self.names.net, self.names.net.upper()
        self.inputs = {name: self.names.free(name) for name in graph.inputs}
        self.outputs = {name: self.names.free(name) for name in graph.outputs}
        self.ends = _Ends(net)
        self.memory = FileMemory(net.plan, Constants({}), self.names, {})
        self.arrays: list[str] = []
        self.constant_bytes = 0
        self._origins = Origins(graph)
        self._own: dict[Operand, str] = {}
        for name, buffer in self.ends.inputs.items():
            self._own[buffer] = self.inputs[name]
        for name, buffer in self.ends.outputs.items():
            self._own.setdefault(net.root(buffer), self.outputs[name])

    def source(self) -> CSource:
        """Return the file."""
        whole = self._whole()
        functions = [
            function(self._head_of("predict_int8"), whole),
            function(self._head_of("predict"), self._predict()),
            self._batch(),
            *self._bytes(),
            *self._classify(),
        ]
        declarations = self._declarations()
        macs = sum(n.op.macs(*self.net.graph.shapes_into(n)) for n in self.net.graph.nodes)
        own = self.options.header
        parts = [
            self._head(macs),
            "#include <math.h>\n#include <stdint.h>",
            declarations if own is None else f'#include "{own}"',
            f"typedef {self.name}_real real;",
            *defined_digest(self.name, self.options.digest),
        ]
        places = ",\n".join(f"    {name} = {at}" for name, at in self.memory.places_in_arena())
        about = (
            "/* Where values begin in the arena. Values that are not needed at the same time share a"
            " place. */"
        )
        parts.append(f"{about}\nenum {{\n{places}\n}};")
        parts += [] if self.options.extern_arena else [f"static int8_t arena[{self._arena()}];"]
        parts += self.arrays
        parts += [unit.text for unit in used_units(called("\n".join(functions)), fast=False)]
        parts += functions
        shown = header(
            self.net.graph, f"#include <stdint.h>\n\n{declarations}", self.upper, kind=KIND,
            about=self.options.about,
        )  # fmt: skip
        return CSource(
            "\n\n".join(parts) + "\n", shown if own else None, None, self.name,
            self._arena(), self.constant_bytes, macs, self.memory.peak(),
            self.memory.held_at_peak(),
        )  # fmt: skip

    def _arena(self) -> int:
        return max(1, self.memory.total)

    def _constant(self, name: str, kind: str, values: Array) -> str:
        found = self.names.free(name.replace(".", "_"))
        whole = [str(int(v)) for v in np.asarray(values).ravel()]
        self.arrays.append(array_text(kind, found, whole))
        self.constant_bytes += BYTES[kind] * len(whole)
        return found

    def _reals(self, name: str, values: Array) -> str:
        """Return the name of a constant array of numbers."""
        found = self.names.free(name)
        self.arrays.append(array_text("real", found, numbers(values.astype(float).ravel())))
        self.constant_bytes += 4 * values.size
        return found

    # -- text

    def _head(self, macs: int) -> str:
        facts = [
            LAYOUT,
            "",
            "A number is scale * (q - zero). Weights are symmetric, with a scale for each output;",
            "sums have 32 bits, and are rounded as TensorFlow Lite rounds them.",
            "",
            f"weights   {self.constant_bytes:,} bytes, constants in this file",
            f"memory    {self._arena():,} bytes, the arena",
            f"stack     less than {INT8_STACK_BYTES:,} bytes on a machine of 32 bits",
            f"work      {macs:,} multiply-adds for an image",
        ]
        return head(self.net.graph, facts, kind=KIND, about=self.options.about)

    def _head_of(self, what: str, *, is_declared: bool = False) -> str:
        """Return the head of a function, with the names of the file or of its declaration."""
        given, made = {
            "predict_int8": ("int8_t", "int8_t"),
            "predict_uint8": ("uint8_t", "int8_t"),
            "classify_int8": ("int8_t", "int8_t"),
            "classify_uint8": ("uint8_t", "int8_t"),
        }.get(what, (f"{self.name}_real", f"{self.name}_real"))
        count = ["int count"] if what == "predict_batch" else []
        called_here = [*self.inputs.values(), *self.outputs.values()]
        if is_declared:
            called_here = self.names.declared([*self.inputs, *self.outputs], ["arena", "count"])
        arguments = [
            f"const {given} *{name}" if at < len(self.inputs) else f"{made} *{name}"
            for at, name in enumerate(called_here)
        ]
        arena = ["int8_t *arena"] if self.options.extern_arena else []
        kind = "int" if what.startswith("classify") else "void"
        return f"{kind} {self.name}_{what}({', '.join([*count, *arguments, *arena])})"

    def _declared(self, what: str) -> list[str]:
        *first, last = wrapped(self._head_of(what, is_declared=True))
        return [*first, f"{last};"]

    def _declarations(self) -> str:
        graph = self.net.graph
        sizes = {name: math.prod(shape) for name, shape in graph.inputs.items()}
        sizes |= {name: math.prod(graph.shape_of(v)) for name, v in graph.outputs.items()}
        lines = [
            arena_comment("bytes", by_caller=self.options.extern_arena),
            "/* A number of it is a byte, and needs no alignment. */",
            f"#define {self.upper}_ARENA_BYTES {self._arena()}",
            f"#define {self.upper}_ARENA_NUMBERS {self._arena()}",
            "",
            *stack_size(self.upper, INT8_STACK_BYTES),
            *array_sizes(self.names, sizes),
            *declared_digest(self.name, self.options.digest),
            *self._normalization(),
            "/* What a whole number q stands for is SCALE * (q - ZERO). */",
            *self._scales(),
            "",
            "/* Predicts for one image. */",
            *self._declared("predict"),
            "",
            "/* Predicts for `count` images that lie one behind the other. */",
            *self._declared("predict_batch"),
            "",
            "/* Predicts for one image in whole numbers, as the scales say, and gives whole numbers. */",
            *self._of_what(),
            *self._declared("predict_int8"),
            "",
        ]
        if self.options.pixels is not None:
            lines += [
                "/* Predicts for one image of bytes as the data has them, and gives whole numbers. */",
                *self._declared("predict_uint8"),
                "",
            ]
        if self.options.classes is not None:
            lines += declared_classify(self.name, self._declared("classify"))
            lines += [
                "/* The same without floating point, for what the functions of these kinds take: writes",
                "   whole numbers, which are no probabilities, and returns the number of the likeliest",
                "   class. */",
                *(
                    line
                    for kind in self._whole_kinds()
                    for line in self._declared(f"classify_{kind}")
                ),
                "",
            ]
        return declared(self.name, lines, double=False)

    def _normalization(self) -> list[str]:
        """Return the constants for how inputs were normalised, and whom they are for."""
        if self.options.input_scale is None:
            who = "The caller does it"
        else:
            who = "predict does it, and the caller for predict_int8"
        bytes_too = "" if self.options.pixels is None else "; predict_uint8 does it for bytes"
        return declared_normalization(
            self.names, self.net.graph.inputs, self.options.normalized, f"{who}{bytes_too}."
        )

    def _of_what(self) -> list[str]:
        """Return what the whole numbers of an input are of, where the data are normalised."""
        if not any(is_normalized(by) for by in self.options.normalized.values()):
            return []
        return [
            "/* Those of an input are of normalised numbers: for x as the data have it, q is",
            "   (x - MEAN) / STD / SCALE + ZERO, rounded, from -128 to 127. */",
        ]

    def _scales(self) -> Iterator[str]:
        """Yield the constants that are the scales of inputs and outputs."""
        found = {name: self.net.scales[buffer] for name, buffer in self.ends.inputs.items()}
        for name, buffer in self.ends.outputs.items():
            found[name] = self.net.scales[self.net.root(buffer)]
        for name, scale in found.items():
            of = f"{self.name}_{name}"
            yield f"#define {self.names.constant(f'{of}_scale')} {number(scale.scale)}"
            yield f"#define {self.names.constant(f'{of}_zero')} ({scale.zero})"

    # -- functions

    def _predict(self) -> list[str]:
        """Return what quantizes the inputs, predicts, and makes numbers of the outputs."""
        graph, scales = self.net.graph, self.net.scales
        lines: list[str] = []
        for name, buffer in self.ends.inputs.items():
            lines += self._quantized(name, buffer, math.prod(graph.inputs[name]))
        lines.append(self._call_of_whole())
        for name, buffer in self.ends.outputs.items():
            root = self.net.root(buffer)
            size = math.prod(buffer.shape)
            given = (self.memory.pointer(root), self.outputs[name], size, *_shown(scales[root]))
            lines += c_call("dequantize", *given)
        return lines

    def _quantized(self, name: str, buffer: Buffer, size: int) -> list[str]:
        scale, x, y = self.net.scales[buffer], self.inputs[name], self.memory.pointer(buffer)
        by = self.options.input_scale
        if by is None:
            return c_call("quantize", x, y, size, *_shown(scale))
        mean, divided = _broadcast(by, self.net.graph.inputs[name])
        means, scales = self._reals(f"{name}_mean", mean), self._reals(f"{name}_by", divided)
        after = size // mean.size
        return c_call("quantize_normalized", x, means, scales, y, size, after, *_shown(scale))

    def _call_of_whole(self) -> str:
        ends = [*self.ends.inputs.values(), *map(self.net.root, self.ends.outputs.values())]
        arena = ["arena"] if self.options.extern_arena else []
        pointers = [self.memory.pointer(buffer) for buffer in ends]
        return f"{self.name}_predict_int8({', '.join([*pointers, *arena])});"

    def _bytes(self) -> Iterator[str]:
        """Yield the function that takes bytes, if there is one."""
        by = self.options.pixels
        if by is None:
            return
        ((name, buffer),) = self.ends.inputs.items()
        mean, divided = _broadcast(by, self.net.graph.inputs[name])
        pixels = np.arange(PIXELS, dtype=np.float32)
        normal = (pixels - mean.reshape(-1, 1)) / divided.reshape(-1, 1)
        table = self._constant(
            f"{name}_of_bytes", "int8_t", self.net.scales[buffer].quantized(normal)
        )
        size = math.prod(self.net.graph.inputs[name])
        place = self.memory.pointer(buffer)
        lines = c_call(
            "quantize_bytes", self.inputs[name], table, place, size, size // mean.size
        )  # fmt: skip
        # Outputs are whole numbers, which are written where the caller wants them.
        given = [place, *self.outputs.values(), *(["arena"] if self.options.extern_arena else [])]
        lines.append(f"{self.name}_predict_int8({', '.join(given)});")
        yield function(self._head_of("predict_uint8"), lines)

    def _classify(self) -> Iterator[str]:
        names = self.options.classes
        if names is None:
            return
        (x,), (scores,) = self.inputs.values(), self.outputs.values()
        arena = ["arena"] if self.options.extern_arena else []
        lines = [f"{self.name}_predict({', '.join([x, scores, *arena])});"]
        yield from classify_functions(
            self.name, self._head_of("classify"), lines, scores, names,
            done=is_distribution(self.net.graph),
        )  # fmt: skip
        for kind in self._whole_kinds():
            lines = [f"{self.name}_predict_{kind}({', '.join([x, scores, *arena])});"]
            yield function(
                self._head_of(f"classify_{kind}"), [*lines, *likeliest(scores, len(names))]
            )

    def _whole_kinds(self) -> list[str]:
        """Return the kinds of whole numbers of an image that there are functions for."""
        return ["int8", "uint8"] if self.options.pixels is not None else ["int8"]

    def _batch(self) -> str:
        graph = self.net.graph
        sizes = {self.inputs[key]: math.prod(shape) for key, shape in graph.inputs.items()}
        sizes |= {
            self.outputs[key]: math.prod(graph.shape_of(value))
            for key, value in graph.outputs.items()
        }
        given = [f"{name} + n * {size}" for name, size in sizes.items()]
        given += ["arena"] if self.options.extern_arena else []
        body = ["for (int n = 0; n < count; n++)", f"    {self.name}_predict({', '.join(given)});"]
        return function(self._head_of("predict_batch"), body)

    # -- calls

    def _whole(self) -> list[str]:
        """Return the calls from whole numbers of the caller to whole numbers."""
        lines: list[str] = []
        for step in self.net.plan.forward:
            if isinstance(step, ViewStep) or _is_end(step):
                continue
            lines += [*([""] if lines else []), *self._note(step), *self._call(step)]
        for name, buffer in self.ends.outputs.items():
            pointer = self._pointer(buffer)
            if pointer != self.outputs[name]:
                lines += c_call("copy_int8", pointer, self.outputs[name], math.prod(buffer.shape))
        return lines

    def _note(self, step: Step) -> list[str]:
        names = step.nodes if isinstance(step, ElementwiseStep) else (step.node,)
        notes = []
        for name in names:
            node = self.net.graph.by_name.get(name) or self.net.plan.nodes.get(name)
            if node is not None:
                note = self._origins.note(node)
                shown = f"{comment(note.where)}: {comment(note.name)} = {comment(note.source)}"
                notes.append(f"/* {shown}  {show(node.shape)} */")
        return notes

    def _call(self, step: Step) -> list[str]:
        (y,) = step.writes[:1]
        assert isinstance(y, Buffer)
        values = tuple(
            self._pointer(x)
            for x in step.reads
            if isinstance(x, Buffer) and self.net.root(x) in self.net.scales
        )
        return self.net.steps[y].c(values, self._pointer(y), self._constant)

    def _pointer(self, buffer: Buffer) -> str:
        """Return the pointer to whole numbers, which are the caller's at both ends."""
        root = self.net.root(buffer)
        return self._own.get(root) or self.memory.pointer(root)


class _Ends:
    """The buffers of whole numbers at both ends of a net, by the names of inputs and outputs."""

    def __init__(self, net: QuantizedNet) -> None:
        self.inputs: dict[str, Buffer] = {}
        self.outputs: dict[str, Buffer] = {}
        for step in net.plan.forward:
            if not _is_end(step):
                continue
            assert isinstance(step, KernelStep)
            whole = step.writes[0] if step.kernel == QUANTIZE else step.reads[0]
            assert isinstance(whole, Buffer)
            (self.inputs if step.kernel == QUANTIZE else self.outputs)[step.node] = whole


def _is_end(step: Step) -> bool:
    return isinstance(step, KernelStep) and step.kernel in (QUANTIZE, DEQUANTIZE)


def _broadcast(by: InputScale, image: tuple[int, ...]) -> tuple[Array, Array]:
    """Return means and scales of one shape: one number, one for each channel, or for each place."""
    shape = np.broadcast_shapes(by.mean.shape, by.scale.shape)
    if any(size != 1 for size in shape[1:]):
        shape = image
    mean, scale = (np.broadcast_to(a, shape).astype(np.float32) for a in (by.mean, by.scale))
    return mean, scale


def takes_bytes(by: InputScale) -> bool:
    """Return True if few tables of 256 numbers normalise: one for all, or one for each channel."""
    shape = np.broadcast_shapes(by.mean.shape, by.scale.shape)
    return math.prod(shape) <= MOST_TABLES and math.prod(shape[1:]) == 1


def _shown(scale: Scale) -> tuple[str, str]:
    return number(scale.scale), str(scale.zero)
