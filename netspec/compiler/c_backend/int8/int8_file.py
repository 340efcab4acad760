"""Writes the C file of a net in whole numbers."""

from __future__ import annotations

import math

import numpy as np

from netspec.compiler.c_backend.c_text import comment, declared, number
from netspec.compiler.c_backend.calls import show
from netspec.compiler.c_backend.definitions import array_text, function, wrapped
from netspec.compiler.c_backend.emit import CSource
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.int8.quantize import DEQUANTIZE, QUANTIZE, QuantizedNet
from netspec.compiler.c_backend.int8.scheme import Array, Scale
from netspec.compiler.c_backend.kernel_call import c_call
from netspec.compiler.c_backend.library import called, used_units
from netspec.compiler.c_backend.memory import FileMemory
from netspec.compiler.c_backend.names import Names
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, KernelStep, Step, ViewStep
from netspec.compiler.numpy_backend.origins import Origins

BYTES = {"int8_t": 1, "int32_t": 4}


def int8_source(net: QuantizedNet, header: str | None = None) -> CSource:
    """Return the C file of a net in whole numbers.

    Args:
        net: the net.
        header: the name of the header that the declarations go to; None for none.
    """
    return _Int8File(net, header).source()


class _Int8File:
    def __init__(self, net: QuantizedNet, header: str | None) -> None:
        self.net, self.header, graph = net, header, net.graph
        self.names = Names(graph.name)
        self.name, self.upper = self.names.net, self.names.net.upper()
        self.inputs = {name: self.names.free(name) for name in graph.inputs}
        self.outputs = {name: self.names.free(name) for name in graph.outputs}
        plan = net.plan
        given = {buffer: self.inputs[name] for name, buffer in plan.inputs.items()}
        given |= {buffer: self.outputs[name] for name, buffer in plan.outputs.items()}
        self.memory = FileMemory(plan, Constants({}), self.names, given)
        self.arrays: list[str] = []
        self.constant_bytes = 0
        self._origins = Origins(graph)

    def source(self) -> CSource:
        """Return the file."""
        body = self._body()
        declarations = self._declarations()
        macs = sum(n.op.macs(*self.net.graph.shapes_into(n)) for n in self.net.graph.nodes)
        parts = [
            self._head(macs),
            "#include <math.h>\n#include <stdint.h>",
            declarations if self.header is None else f'#include "{self.header}"',
            f"typedef {self.name}_real real;",
        ]
        places = ",\n".join(f"    {name} = {at}" for name, at in self.memory.places_in_arena())
        about = (
            "/* Where values begin in the arena. Values that are not needed at the same time share a"
            " place. */"
        )
        parts += [f"{about}\nenum {{\n{places}\n}};", f"static int8_t arena[{self._arena()}];"]
        parts += self.arrays
        parts += [unit.text for unit in used_units(called("\n".join(body)), fast=False)]
        parts += [function(self._head_of("predict"), body), self._batch()]
        guard = f"{self.upper}_H"
        whole = (
            f"{self._first()} */\n#ifndef {guard}\n#define {guard}\n\n{declarations}\n\n#endif\n"
        )
        return CSource(
            "\n\n".join(parts) + "\n", whole if self.header else None, None, self.name,
            self._arena(), self.constant_bytes, macs,
        )  # fmt: skip

    def _arena(self) -> int:
        return max(1, self.memory.total)

    def _constant(self, name: str, kind: str, values: Array) -> str:
        found = self.names.free(name.replace(".", "_"))
        numbers = [str(int(v)) for v in np.asarray(values).ravel()]
        self.arrays.append(array_text(kind, found, numbers))
        self.constant_bytes += BYTES[kind] * len(numbers)
        return found

    # -- text

    def _first(self) -> str:
        graph = self.net.graph
        where = graph.span.source.file_name if graph.span is not None else graph.name
        return (
            f"/* {comment(graph.name)} in C99 in whole numbers of 8 bits, made by netspec from"
            f" {comment(where)}."
        )

    def _head(self, macs: int) -> str:
        graph = self.net.graph
        values = {key: graph.shape_of(value) for key, value in graph.outputs.items()}
        lines = [
            self._first(), " *",
            *(f" * input  {comment(key)} {show(shape)}" for key, shape in graph.inputs.items()),
            *(f" * output {comment(key)} {show(shape)}" for key, shape in values.items()),
            " *",
            " * A number is scale * (q - zero). Weights are symmetric, with a scale for each output;",
            " * sums have 32 bits, and are rounded as TensorFlow Lite rounds them.", " *",
            f" * weights   {self.constant_bytes:,} bytes, constants in this file",
            f" * memory    {self._arena():,} bytes, the arena",
            " * stack     less than 1 KB for each function, and no more than four calls deep",
            f" * work      {macs:,} multiply-adds for an image", " */",
        ]  # fmt: skip
        return "\n".join(lines)

    def _head_of(self, what: str) -> str:
        given = [f"const {self.name}_real *{name}" for name in self.inputs.values()]
        given += [f"{self.name}_real *{name}" for name in self.outputs.values()]
        count = ["int count"] if what == "predict_batch" else []
        return f"void {self.name}_{what}({', '.join([*count, *given])})"

    def _declarations(self) -> str:
        heads = []
        for about, what in (
            ("/* Predicts for one image. */", "predict"),
            ("/* Predicts for `count` images that lie one behind the other. */", "predict_batch"),
        ):
            *first, last = wrapped(self._head_of(what))
            heads += [about, *first, f"{last};", ""]
        lines = [
            "/* The bytes of the memory that values lie in. */",
            f"enum {{ {self.upper}_ARENA_BYTES = {self._arena()} }};",
            "",
            *heads,
        ]
        return declared(self.name, lines, double=False)

    def _batch(self) -> str:
        graph = self.net.graph
        sizes = {self.inputs[key]: math.prod(shape) for key, shape in graph.inputs.items()}
        sizes |= {
            self.outputs[key]: math.prod(graph.shape_of(value))
            for key, value in graph.outputs.items()
        }
        given = ", ".join(f"{name} + n * {size}" for name, size in sizes.items())
        body = ["for (int n = 0; n < count; n++)", f"    {self.name}_predict({given});"]
        return function(self._head_of("predict_batch"), body)

    # -- calls

    def _body(self) -> list[str]:
        lines: list[str] = []
        for step in self.net.plan.forward:
            if isinstance(step, ViewStep):
                continue
            lines += [*([""] if lines else []), *self._note(step), *self._call(step)]
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
        size = math.prod(y.shape)
        kernel = step.kernel if isinstance(step, KernelStep) else ""
        pointer = self.memory.pointer(y)
        values = tuple(
            self.memory.pointer(x)
            for x in step.reads
            if isinstance(x, Buffer) and (x in self.net.plan.inputs.values() or self._is_whole(x))
        )
        if kernel == QUANTIZE:
            return c_call("quantize", *values, pointer, size, *_shown(self.net.scales[y]))
        if kernel == DEQUANTIZE:
            scale = self.net.scales[self.net.root(step.reads[0])]
            return c_call("dequantize", *values, pointer, size, *_shown(scale))
        return self.net.steps[y].c(values, pointer, self._constant)

    def _is_whole(self, buffer: Buffer) -> bool:
        return self.net.root(buffer) in self.net.scales


def _shown(scale: Scale) -> tuple[str, str]:
    return number(scale.scale), str(scale.zero)
