"""Writes a C file that trains: the loss and its gradients, steps of optimizers, and predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from netspec import codes
from netspec.compiler.c_backend.c_text import Names, comment, declared, identifier, numbers
from netspec.compiler.c_backend.calls import Calls, no_form, show
from netspec.compiler.c_backend.elementwise import ElementwiseFunctions
from netspec.compiler.c_backend.emit import LARGE, Array, CSource, array_text, require_numbers
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.library import called, function_names, used_units
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.c_backend.memory import FileMemory, Place, without_unread
from netspec.compiler.ir.graph import Graph, Parameter
from netspec.compiler.ir.plan import Buffer, KernelStep, Plan, ViewStep
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.diagnostics import NetspecError

STEPS = """\
/* Gradient descent with momentum, which the velocities hold: 0 to begin with. */
void {name}_sgd_step(REAL *parameters, const REAL *gradients, REAL *velocities,
{blank}              REAL rate, REAL momentum)
{{
    for (int i = 0; i < {upper}_TRAINED; i++) {{
        velocities[i] = momentum * velocities[i] + gradients[i];
        parameters[i] -= rate * velocities[i];
    }}
}}

/* Adam (Kingma and Ba 2015). Its means and squares are 0 to begin with; steps count from 1. */
void {name}_adam_step(REAL *parameters, const REAL *gradients, REAL *means, REAL *squares,
{blank}               int step, REAL rate)
{{
    const double from_means = 1 - pow(0.9, step), from_squares = sqrt(1 - pow(0.999, step));
    const real by = (real)((double)rate * from_squares / from_means);
    const real least = (real)(1e-8 * from_squares);
    for (int i = 0; i < {upper}_TRAINED; i++) {{
        means[i] += (real)0.1 * (gradients[i] - means[i]);
        squares[i] += (real)0.001 * (gradients[i] * gradients[i] - squares[i]);
        parameters[i] -= by * means[i] / (real_sqrt(squares[i]) + least);
    }}
}}"""


@dataclass(frozen=True)
class TrainOptions:
    """What a C file that trains is to be.

    Attributes:
        batch: the most images in a batch.
        header: the name of the header that the declarations go to; None for none.
        double: whether the numbers are in double precision.
    """

    batch: int = 32
    header: str | None = None
    double: bool = False


def train_source(graph: Graph, parameters: Mapping[str, Array], options: TrainOptions) -> CSource:
    """Return a net with one input and one output of scores in C that trains.

    Args:
        graph: a checked graph whose sizes are all known.
        parameters: the numbers to begin with, by name.
        options: what the file is to be.

    Raises:
        NetspecError: `compile/no-c` for each layer that has no form in C, for random numbers, for
            open sizes, and for a net without parameters.
    """
    require_numbers(graph)
    if not any(p.trainable for p in graph.parameters.values()):
        message = f"{graph.name} has no parameters to train"
        raise NetspecError.simple(codes.COMPILE_NO_C, message)
    return _TrainFile(graph, parameters, options).source()


def ordered(graph: Graph) -> list[Parameter]:
    """Return the parameters as they lie in the file's array: those that are trained come first, and
    counts of batches are left out.
    """
    kept = [p for p in graph.parameters.values() if p.role != "counter"]
    return sorted(kept, key=lambda p: not p.trainable)


class _TrainFile:
    def __init__(
        self, graph: Graph, parameters: Mapping[str, Array], options: TrainOptions
    ) -> None:
        self.graph, self.options = graph, options
        self.values = parameters
        self.name = identifier(graph.name).lower().strip("_") or "net"
        self.upper = self.name.upper()
        taken = {"arena", "parameters", "gradients", "labels", "count", "loss", "n", "x", "y", "i"}
        self.names = Names({*function_names(), *taken})
        self.places = self._places()
        self.functions = ElementwiseFunctions(self.names, options.double)
        ((_, self.image),) = ((key, self.names.free(key)) for key in graph.inputs)
        ((_, self.scores),) = ((key, self.names.free(key)) for key in graph.outputs)
        ((_, value),) = graph.outputs.items()
        (self.classes,) = graph.shape_of(value)
        self.trained = make_plan(graph, training=True)
        self._require_no_draws()
        evaluated = make_plan(graph, training=False, backward=False)
        steps = without_unread(evaluated.forward, list(evaluated.outputs.values()))
        self.evaluated = dataclasses.replace(evaluated, forward=tuple(steps))

    def _require_no_draws(self) -> None:
        found = {
            step.node: no_form(self.trained.nodes[step.node], f"{step.kernel}: random numbers")
            for step in self.trained.sample
            if isinstance(step, KernelStep)
        }
        if found:
            raise NetspecError(tuple(found.values()))

    def _ordered(self) -> list[Parameter]:
        return ordered(self.graph)

    def _places(self) -> dict[str, Place]:
        places, at = {}, 0
        for p in self._ordered():
            name = self.names.free(f"P_{p.name.upper()}")
            places[p.name] = Place(name, at, tuple(p.shape))
            at += p.size
        return places

    # -- the two programs

    def _memory(self, plan: Plan, prefix: str, batch: int, scores: str, dscores: str) -> FileMemory:
        roots = {s.output: s.source for s in plan.steps if isinstance(s, ViewStep)}
        ((_, image),) = plan.inputs.items()
        ((_, output),) = plan.outputs.items()
        while output in roots:
            source = roots[output]
            assert isinstance(source, Buffer)
            output = source
        given = {image: self.image, output: scores}
        given |= dict.fromkeys(plan.output_gradients.values(), dscores)
        return FileMemory(
            plan, Constants({}), self.names, given, batch=batch, prefix=prefix,
            parameters=self.places,
        )  # fmt: skip

    def _calls(self, plan: Plan, memory: FileMemory, count: str = "") -> Calls:
        return Calls(self.graph, plan.nodes, memory, self.functions, self.options.double, count)

    def source(self) -> CSource:
        batch = self.options.batch
        training = self._memory(
            self.trained, "TRAIN", batch, "arena + TRAIN_SCORES", "arena + TRAIN_DSCORES"
        )
        calls = self._calls(self.trained, training, "count")
        both = calls.lines(self.trained.forward), calls.lines(self.trained.backward)
        predicting = self._memory(self.evaluated, "AT", 1, self.scores, "")
        predict = self._calls(self.evaluated, predicting).lines(self.evaluated.forward)
        scores = [("TRAIN_SCORES", training.total),
                  ("TRAIN_DSCORES", training.total + batch * self.classes)]  # fmt: skip
        end = training.total + 2 * batch * self.classes
        arena = max(end + training.scratch_size, predicting.total + predicting.scratch_size, 1)
        places = [*predicting.places_in_arena(), *training.places_in_arena(), *scores]
        if predicting.scratch_size:
            places.append(("AT_SCRATCH", predicting.total))
        if training.scratch_size:
            places.append(("TRAIN_SCRATCH", end))
        functions = [self._predict(predict), self._loss(*both), self._steps(), *self._initial()]
        return self._assembled(places, arena, functions)

    def _predict(self, body: list[str]) -> str:
        head = (
            f"void {self.name}_predict(const REAL *parameters, const REAL *{self.image},"
            f" REAL *{self.scores})"
        )
        return "\n".join([head, "{", *indented(body), "}"])

    def _loss(self, forward: list[str], backward: list[str]) -> str:
        loss = (
            "const real loss = cross_entropy(arena + TRAIN_SCORES, labels, arena + TRAIN_DSCORES,"
            f" count, {self.classes});"
        )
        body = [*forward, "", loss, "", "/* The gradients, from the last layer to the first. */",
                *backward, "return loss;"]  # fmt: skip
        return "\n".join([f"{self._loss_head()}", "{", *indented(body), "}"])

    def _loss_head(self) -> str:
        start = f"REAL {self.name}_loss_and_grads("
        given = (f"REAL *parameters, const REAL *{self.image}, const int *labels,",
                 "int count, REAL *gradients)")  # fmt: skip
        return f"{start}{given[0]}\n{' ' * len(start)}{given[1]}"

    def _steps(self) -> str:
        return STEPS.format(name=self.name, upper=self.upper, blank=" " * len(self.name))

    def _initial(self) -> Iterator[str]:
        if self._in_file():
            return
        yield (
            f"void {self.name}_initial_parameters(REAL *parameters)\n{{\n"
            f"    copy(initial, parameters, {self.upper}_PARAMETERS);\n}}"
        )

    def _in_file(self) -> bool:
        return self._bytes() > LARGE

    def _bytes(self) -> int:
        return sum(p.size for p in self._ordered()) * (8 if self.options.double else 4)

    def _numbers(self) -> Array:
        return np.concatenate(
            [
                np.zeros(0),
                *(np.asarray(self.values[p.name], float).ravel() for p in self._ordered()),
            ]
        )

    # -- the file

    def _assembled(
        self, places: list[tuple[str, int]], arena: int, functions: list[str]
    ) -> CSource:
        own = self.functions.texts()
        declarations = self._declarations(arena)
        header = self.options.header
        enums = [
            "enum {\n" + ",\n".join(f"    {name} = {at}" for name, at in pairs) + "\n};"
            for pairs in ([(p.name, p.offset) for p in self.places.values()], places)
        ]
        parts = [
            self._head(arena), "#include <math.h>",
            declarations if header is None else f'#include "{header}"', "typedef REAL real;",
            f"/* Where each parameter begins. */\n{enums[0]}",
            "/* Where values begin in the arena, when it predicts (AT) and when it trains (TRAIN). */"
            f"\n{enums[1]}",
            f"static real arena[{self.upper}_ARENA_NUMBERS];",
        ]  # fmt: skip
        if not self._in_file():
            shown = numbers(self._numbers(), double=self.options.double)
            parts.append(array_text("real", "initial", shown))
        units = used_units(called("\n".join([*own, *functions])), fast=False)
        parts += [unit.text for unit in units]
        parts += [*own, *functions]
        blob = self._numbers().astype("<f8" if self.options.double else "<f4").tobytes()
        guard = f"{self.upper}_H"
        return CSource(
            "\n\n".join(parts) + "\n",
            f"{self._first()} */\n#ifndef {guard}\n#define {guard}\n\n{declarations}\n\n#endif\n"
            if header
            else None,
            blob if self._in_file() else None,
            self.name,
            arena * (8 if self.options.double else 4),
            0 if self._in_file() else self._bytes(),
            sum(n.op.macs(*self.graph.shapes_into(n)) for n in self.graph.nodes),
        )

    def _first(self) -> str:
        span = self.graph.span
        where = span.source.file_name if span is not None else self.graph.name
        return (
            f"/* {comment(self.graph.name)} in C99, which trains, made by netspec from"
            f" {comment(where)}."
        )

    def _head(self, arena: int) -> str:
        ((given, shape),) = self.graph.inputs.items()
        lines = [
            self._first(), " *", f" * input  {comment(given)} {show(shape)}",
            f" * output {self.classes} scores", " *",
            f" * memory    {arena * (8 if self.options.double else 4):,} bytes, the arena, for"
            f" batches of up to {self.options.batch}", " */",
        ]  # fmt: skip
        return "\n".join(lines)

    def _declarations(self, arena: int) -> str:
        name, upper = self.name, self.upper
        trained = sum(p.size for p in self._ordered() if p.trainable)
        lines = [
            "/* The most images in a batch, and the numbers of the memory that values lie in. */",
            f"enum {{ {upper}_BATCH = {self.options.batch}, {upper}_ARENA_NUMBERS = {arena} }};",
            "/* How many numbers the parameters are, and how many of them, the first, are trained. */",
            f"enum {{ {upper}_PARAMETERS = {sum(p.size for p in self._ordered())},"
            f" {upper}_TRAINED = {trained} }};",
            "",
        ]
        if not self._in_file():
            lines += [f"void {name}_initial_parameters(REAL *parameters);", ""]
        lines += [
            "/* Predicts for one image. */",
            f"void {name}_predict(const REAL *parameters, const REAL *{self.image},"
            f" REAL *{self.scores});",
            "",
            "/* Returns the loss of a batch, the mean cross-entropy, and writes its gradients. */",
            f"{self._loss_head()};",
            "",
            f"void {name}_sgd_step(REAL *parameters, const REAL *gradients, REAL *velocities,",
            "    REAL rate, REAL momentum);",
            f"void {name}_adam_step(REAL *parameters, const REAL *gradients, REAL *means,",
            "    REAL *squares, int step, REAL rate);",
            "",
        ]
        return declared(lines, double=self.options.double)
