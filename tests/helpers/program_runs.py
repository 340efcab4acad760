"""A batch computed by a NumPy program, in the form that runs or in plain form."""

from __future__ import annotations

from typing import Any

import numpy as np

from netspec.compiler.ir.graph import Graph
from netspec.compiler.numpy_backend.emit import emit_program
from netspec.compiler.numpy_backend.pass_names import PASS_NAMES
from netspec.runtime.engine.program import Program, make_plan
from netspec.testing.op_examples import random_inputs, random_output_gradients, random_parameters

BATCH = 2


def program_run(graph: Graph, dtype: str = "f8", *, plain: bool = False) -> dict[str, np.ndarray]:
    """Return all that a training program computes for one batch, by name."""
    without = PASS_NAMES if plain else ()
    plan = make_plan(graph, training=True, input_gradients=True, without=without)
    program = Program(graph, plan, np.dtype(dtype))
    functions: dict[str, Any] = dict(program.code(BATCH).functions)
    if plain:
        exec(emit_program(plan, graph, plain=True).text, functions)
    b, rng = program.bind(BATCH), np.random.default_rng(0)
    for name, array in random_inputs(graph, BATCH).items():
        b[plan.inputs[name].name][...] = array
    for name, array in random_output_gradients(graph, BATCH).items():
        if name in plan.output_gradients:
            b[plan.output_gradients[name].name][...] = array
    roles = {name: parameter.role for name, parameter in graph.parameters.items()}
    p = {
        name: np.asarray(array).astype("i8" if roles[name] == "counter" else dtype)
        for name, array in random_parameters(graph).items()
    }
    g = {each.name: np.zeros(each.shape, dtype) for each in graph.trainable()}
    with np.errstate(all="ignore"):
        if plan.sample:
            functions["sample"](b, rng)
        functions["forward"](b, p, b.scratch)
        made = {f"output {name}": b[each.name].copy() for name, each in plan.outputs.items()}
        if plan.output_gradients:
            functions["backward"](b, p, g, b.scratch)
    made |= {f"input {name}": b[each.name] for name, each in plan.input_gradients.items()}
    made |= {f"parameter {name}": array for name, array in p.items()}
    return made | {f"gradient {name}": array for name, array in g.items()}
