"""Writes a C file that trains: passes, the loss, steps of optimizers, and weights in files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from netspec import codes
from netspec.compiler.c_backend.about_file import head, header
from netspec.compiler.c_backend.c_text import declared, numbers
from netspec.compiler.c_backend.calls import Calls
from netspec.compiler.c_backend.definitions import array_text, array_texts, function, wrapped
from netspec.compiler.c_backend.elementwise import ElementwiseFunctions
from netspec.compiler.c_backend.emit import (
    LARGE,
    Array,
    CSource,
)
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.library import PARALLEL, called, used_units
from netspec.compiler.c_backend.memory import (
    ConstantArray,
    FileMemory,
    Place,
    copied_results,
    given_results,
    require_countable,
    without_unread,
)
from netspec.compiler.c_backend.names import Names
from netspec.compiler.c_backend.open_sizes import require_known
from netspec.compiler.c_backend.templates import declarations, written
from netspec.compiler.c_backend.tensors_file import tensors_parts
from netspec.compiler.c_backend.train_losses import LossName, TrainLoss
from netspec.compiler.ir.graph import Graph, Parameter
from netspec.compiler.ir.plan import Buffer, KernelStep, Plan
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.compiler.passes.layer_limit import require_few_trained_in_c
from netspec.diagnostics import NetspecError
from netspec.records import record


@record
class TrainOptions:
    """What a C file that trains is to be.

    Attributes:
        batch: the most images in a batch.
        header: the name of the header that the declarations go to; None for none.
        double: whether the numbers are in double precision.
        loss: the loss of a net with one output; None for no loss but the caller's.
        seed: the seed of the random numbers that layers draw.
        input_gradients: whether the backward pass writes the gradients of the inputs too.
        masks_given: whether the caller passes what layers would draw.
        example: whether there are functions that read pictures, for `example_main`. The net has one
            input, and one output of scores.
        name: what the functions' names begin with; None for the net's.
        about: lines for the comments of the file and the header, of any text.
    """

    batch: int = 32
    header: str | None = None
    double: bool = False
    loss: LossName | None = "softmax"
    seed: int = 0
    input_gradients: bool = False
    masks_given: bool = False
    example: bool = False
    name: str | None = None
    about: tuple[str, ...] = ()


def train_source(graph: Graph, parameters: Mapping[str, Array], options: TrainOptions) -> CSource:
    """Return a net in C that trains.

    Args:
        graph: a checked graph whose sizes are all known.
        parameters: the numbers to begin with, by name.
        options: what the file is to be. A loss needs one output.

    Raises:
        NetspecError: `compile/no-c` for each layer that has no form in C, for open sizes, and for a
            net without parameters; `limit/layers`.
    """
    require_known(graph, {}, trains=True)
    if not options.input_gradients and not any(p.trainable for p in graph.parameters.values()):
        message = f"{graph.name} has no parameters to train"
        raise NetspecError.simple(codes.COMPILE_NO_C, message)
    require_few_trained_in_c(graph)
    return _TrainFile(graph, parameters, options).source()


def ordered(graph: Graph) -> list[Parameter]:
    """Return the parameters as they lie in the file's array: the weights, what else is trained, the
    statistics and the constants. Counts of batches are left out.
    """
    kept = [p for p in graph.parameters.values() if p.role != "counter"]
    return sorted(kept, key=lambda p: (p.role != "weight", not p.trainable, not p.is_saved))


def sampled(plan: Plan) -> dict[str, Buffer]:
    """Return the buffers that layers fill with random numbers, by the layers' names."""
    return {
        step.node: buffer
        for step in plan.sample
        if isinstance(step, KernelStep)
        for buffer in step.writes
        if isinstance(buffer, Buffer)
    }


KIND = ", which trains"


class _TrainFile:
    def __init__(
        self, graph: Graph, parameters: Mapping[str, Array], options: TrainOptions
    ) -> None:
        self.graph, self.options = graph, options
        self.values = parameters
        self.names = Names(options.name or graph.name)
        self.name, self.upper = self.names.net, self.names.net.upper()
        self.order = ordered(graph)
        self.places = self._places()
        self.functions = ElementwiseFunctions(self.names, options.double, threads="openmp")
        self.arrays: list[ConstantArray] = []
        self.tables: list[ConstantArray] = []
        self.made: dict[tuple[str, bytes], str] = {}
        self.inputs = {key: self.names.free(key) for key in graph.inputs}
        self.outputs = {key: self.names.free(key) for key in graph.outputs}
        self.trained = make_plan(graph, training=True, input_gradients=options.input_gradients)
        evaluated = make_plan(graph, training=False, backward=False)
        steps = without_unread(evaluated.forward, list(evaluated.outputs.values()))
        self.evaluated = dataclasses.replace(evaluated, forward=tuple(steps))
        self.slopes = {key: self.names.free(f"d{key}") for key in self.trained.output_gradients}
        self.wanted = {key: self.names.free(f"d{key}") for key in self.trained.input_gradients}
        masks = sampled(self.trained) if options.masks_given else {}
        self.masks = {key: self.names.free(f"mask_{key}") for key in masks}
        self.loss = self._loss_of_output()

    def _loss_of_output(self) -> TrainLoss | None:
        if self.options.loss is None or len(self.graph.outputs) != 1:
            return None
        (value,) = self.graph.outputs.values()
        shape = self.graph.shape_of(value)
        return TrainLoss(self.options.loss, shape) if shape else None

    def _places(self) -> dict[str, Place]:
        places, at = {}, 0
        for p in self.order:
            name = self.names.constant(f"P_{p.name}")
            places[p.name] = Place(name, at, tuple(p.shape))
            at += p.size
        return places

    # -- the two programs

    def _memory(
        self, plan: Plan, prefix: str, batch: int, given: Mapping[Buffer, str]
    ) -> FileMemory:
        return FileMemory(
            plan, Constants({}), self.names, dict(given), arrays=self.arrays, tables=self.tables,
            made=self.made, batch=batch, parameters=self.places, prefix=prefix,
        )  # fmt: skip

    def _single(self) -> FileMemory:
        """Return the memory of the net in evaluation, which writes its outputs for the caller."""
        plan = self.evaluated
        given = self._given_inputs(plan)
        given |= given_results(plan, plan.outputs, self.outputs, given)
        return self._memory(plan, "AT", 1, given)

    def _given_inputs(self, plan: Plan) -> dict[Buffer, str]:
        return {buffer: self.inputs[key] for key, buffer in plan.inputs.items()}

    def _of_batch(self, kept: Mapping[str, str]) -> FileMemory:
        """Return the memory of the net in training, where backward reads the outputs once more."""
        plan = self.trained
        given = self._given_inputs(plan)
        given |= {buffer: self.slopes[key] for key, buffer in plan.output_gradients.items()}
        if self.masks:
            given |= {buffer: self.masks[key] for key, buffer in sampled(plan).items()}
        pointers = {key: f"arena + {name}" for key, name in kept.items()}
        given |= given_results(plan, plan.outputs, pointers, given)
        given |= given_results(plan, plan.input_gradients, self.wanted, given)
        return self._memory(plan, "TRAIN", self.options.batch, given)

    def _calls(self, plan: Plan, memory: FileMemory, count: str = "") -> Calls:
        return Calls(self.graph, plan.nodes, memory, self.functions, self.options.double, count)

    def source(self) -> CSource:
        plan = self.trained
        kept = {key: self.names.constant(f"TRAIN_{key}_KEPT") for key in plan.outputs}
        training, single = self._of_batch(kept), self._single()
        calls = self._calls(plan, training, "count")
        forward = calls.lines((*(() if self.masks else plan.sample), *plan.forward))
        backward = calls.lines(plan.backward)
        forward += copied_results(training, plan.outputs, self.outputs, "count")
        backward += copied_results(training, plan.input_gradients, self.wanted, "count")
        predict = self._calls(self.evaluated, single).lines(self.evaluated.forward)
        predict += copied_results(single, self.evaluated.outputs, self.outputs)
        scores, end = self._score_places(training.total, plan, kept)
        arena = max(end + training.scratch_size, single.total + single.scratch_size, 1)
        require_countable(self.graph.name, arena, 8 if self.options.double else 4)
        places = [*single.places_in_arena(), *training.places_in_arena(), *scores]
        if single.scratch_size:
            places.append(("AT_SCRATCH", single.total))
        if training.scratch_size:
            places.append(("TRAIN_SCRATCH", end))
        functions = [
            function(self._predict_head(), predict),
            function(self._forward_head(), forward),
            function(self._backward_head(), backward),
            *self._loss_function(),
            written("optimizers", self.name),
            *self._initial(),
        ]
        return self._assembled(places, arena, functions)

    def _score_places(
        self, start: int, plan: Plan, kept: Mapping[str, str]
    ) -> tuple[list[tuple[str, int]], int]:
        """Return where outputs are, and scores with their gradients; and what lies behind them."""
        sizes = {name: math.prod(plan.outputs[key].shape) for key, name in kept.items()}
        if self.loss is not None:
            sizes |= dict.fromkeys(("TRAIN_SCORES", "TRAIN_DSCORES"), math.prod(self.loss.shape))
        places = []
        for name, size in sizes.items():
            places.append((name, start))
            start += self.options.batch * size
        return places, start

    # -- functions

    def _read(self, *names: str) -> list[str]:
        return [f"const {self.name}_real *{name}" for name in names]

    def _written(self, *names: str) -> list[str]:
        return [f"{self.name}_real *{name}" for name in names]

    def _predict_head(self) -> str:
        given = self._read("parameters", *self.inputs.values())
        given += self._written(*self.outputs.values())
        return f"void {self.name}_predict({', '.join(given)})"

    def _forward_head(self) -> str:
        given = [*self._written("parameters"), *self._read(*self._given())]
        given += [*self._written(*self.outputs.values()), "int count"]
        return f"void {self.name}_forward({', '.join(given)})"

    def _backward_head(self) -> str:
        given = self._read("parameters", *self._given(), *self.slopes.values())
        given += [*self._written("gradients", *self.wanted.values()), "int count"]
        return f"void {self.name}_backward({', '.join(given)})"

    def _loss_head(self, loss: TrainLoss) -> str:
        labels = ["const int *labels"] if loss.labels else []
        given = [*self._written("parameters"), *self._read(*self._given()), *labels, "int count"]
        given += self._written("gradients", *self.wanted.values())
        return f"{self.name}_real {self.name}_loss_and_grads({', '.join(given)})"

    def _given(self) -> list[str]:
        """Return what the caller passes for a batch: inputs, and what layers would draw."""
        return [*self.inputs.values(), *self.masks.values()]

    def _loss_function(self) -> Iterator[str]:
        if self.loss is None:
            return
        inputs = ", ".join(["parameters", *self._given()])
        wanted = "".join(f"{name}, " for name in self.wanted.values())
        yield function(self._loss_head(self.loss), [
            "real *scores = arena + TRAIN_SCORES, *dscores = arena + TRAIN_DSCORES;",
            f"{self.name}_forward({inputs}, scores, count);",
            f"const real loss = {self.loss.call('scores', 'dscores')};",
            f"{self.name}_backward({inputs}, dscores, gradients, {wanted}count);",
            "return loss;",
        ])  # fmt: skip

    def _initial(self) -> Iterator[str]:
        if self._in_file() or not self.order:
            return
        yield (
            f"void {self.name}_initial_parameters({self.name}_real *parameters)\n{{\n"
            f"    copy(initial, parameters, {self.upper}_PARAMETERS);\n}}"
        )

    def _saves(self) -> bool:
        return any(p.is_saved for p in self.order)

    def _in_file(self) -> bool:
        return self._bytes() > LARGE

    def _bytes(self) -> int:
        return sum(p.size for p in self.order) * (8 if self.options.double else 4)

    def _numbers(self) -> Array:
        arrays = [np.asarray(self.values[p.name], float).ravel() for p in self.order]
        return np.concatenate([np.zeros(0), *arrays])

    # -- the file

    def _assembled(
        self, places: list[tuple[str, int]], arena: int, functions: list[str]
    ) -> CSource:
        own = self.functions.texts()
        declarations = self._declarations(arena)
        included = self.options.header
        units = used_units(called("\n".join([*own, *functions])), fast=False, threads="openmp")
        draws = any("random_bits" in unit.functions for unit in units)
        parts = [
            self._head(arena),
            "#include <math.h>\n#include <stdint.h>" if draws else "#include <math.h>",
            declarations if included is None else f'#include "{included}"',
            f"typedef {self.name}_real real;",
            PARALLEL,
        ]
        offsets = [(p.name, p.offset) for p in self.places.values()]
        parts += _enum("Where each parameter begins.", offsets)
        about = "Where values begin in the arena, when it predicts (AT) and when it trains (TRAIN)."
        parts += _enum(about, places)
        parts.append(f"static real arena[{self.upper}_ARENA_NUMBERS];")
        parts += [self._random_state()] if draws else []
        if not self._in_file() and self.order:
            shown = numbers(self._numbers(), double=self.options.double)
            parts.append(array_text("real", "initial", shown))
        parts += array_texts(self.arrays, self.tables, double=self.options.double)
        parts += [unit.text for unit in units]
        parts += [*own, *functions]
        if self._saves():
            tensors = tensors_parts(self.graph, self.order, self.places, double=self.options.double)
            parts.append(written("safetensors", self.name, **tensors))
        if self.options.example:
            parts.append(written("pictures", self.name))
        blob = self._numbers().astype("<f8" if self.options.double else "<f4").tobytes()
        whole = header(self.graph, declarations, self.upper, kind=KIND, about=self.options.about)
        return CSource(
            "\n\n".join(parts) + "\n",
            whole if included else None,
            blob if self._in_file() else None,
            self.name,
            arena * (8 if self.options.double else 4),
            0 if self._in_file() else self._bytes(),
            sum(n.op.macs(*self.graph.shapes_into(n)) for n in self.graph.nodes),
        )

    def _random_state(self) -> str:
        """Return the state of the generator that a model of the same seed begins with."""
        state = np.random.PCG64(np.random.SeedSequence([self.options.seed, 1])).state["state"]
        shown = {
            name: ", ".join(f"{half}u" for half in (number >> 64, number & (2**64 - 1)))
            for name, number in (("state", state["state"]), ("step", state["inc"]))
        }
        return (
            "/* The generator of random numbers, as halves of 64 bits, in its first state. */\n"
            f"static uint64_t random_state[2] = {{{shown['state']}}};\n"
            f"static const uint64_t random_step[2] = {{{shown['step']}}};"
        )

    def _head(self, arena: int) -> str:
        memory = (
            f"memory    {arena * (8 if self.options.double else 4):,} bytes, the arena, for"
            f" batches of up to {self.options.batch}"
        )
        return head(self.graph, [memory], kind=KIND, about=self.options.about)

    def _declarations(self, arena: int) -> str:
        name, upper = self.name, self.upper
        whole = sum(p.size for p in self.order)
        trained = sum(p.size for p in self.order if p.trainable)
        decayed = sum(p.size for p in self.order if p.role == "weight")
        saved = sum(p.size for p in self.order if p.is_saved)
        lines = [
            "/* The most images in a batch, and the numbers of the memory that values lie in. */",
            f"enum {{ {upper}_BATCH = {self.options.batch}, {upper}_ARENA_NUMBERS = {arena} }};",
            "/* How many numbers the parameters are, and how many of them, the first, files of weights",
            "   have, are trained, and are weights. */",
            f"enum {{ {upper}_PARAMETERS = {whole}, {upper}_SAVED = {saved}, {upper}_TRAINED = {trained},"
            f" {upper}_DECAYED = {decayed} }};",
            "",
        ]
        if not self._in_file() and self.order:
            lines += [f"void {name}_initial_parameters({name}_real *parameters);", ""]
        lines += ["/* Predicts for one image. */", *_declared(self._predict_head()), ""]
        if self.loss is not None:
            lines += [
                f"/* Returns the loss of a batch, {self.loss.about}, and writes its gradients. Labels",
                "   of -100 do not count. */" if self.loss.labels else "   */",
                *_declared(self._loss_head(self.loss)),
                "",
            ]
        lines += [
            "/* For a loss of your own: the outputs of a batch in training, and then the gradients from",
            "   those of the outputs. */",
            *_declared(self._forward_head()),
            *_declared(self._backward_head()),
            "",
            *declarations("optimizers", name),
        ]
        if self._saves():
            lines += declarations("safetensors", name)
        if self.options.example:
            ((_, shape),), ((_, value),) = self.graph.inputs.items(), self.graph.outputs.items()
            classes = self.graph.shape_of(value)[0]
            lines += [
                "/* The numbers of a picture, and the classes of labels. */",
                f"enum {{ {upper}_PIXELS = {math.prod(shape)}, {upper}_CLASSES = {classes} }};",
                "",
                *declarations("pictures", name),
            ]
        return declared(name, lines, double=self.options.double)


def _declared(head: str) -> list[str]:
    *first, last = wrapped(head)
    return [*first, f"{last};"]


def _enum(about: str, pairs: Sequence[tuple[str, int]]) -> list[str]:
    if not pairs:
        return []
    lines = ",\n".join(f"    {name} = {at}" for name, at in pairs)
    return [f"/* {about} */\nenum {{\n{lines}\n}};"]
