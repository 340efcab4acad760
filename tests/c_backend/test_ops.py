"""Every op with its own examples in C. Nothing here names an op.

The examples of many ops are one net with as many inputs and outputs, so that few files are compiled.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.emit import COptions
from netspec.compiler.ops import registry
from netspec.runtime.engine.reference import Reference
from netspec.testing.op_examples import agreement, random_parameters
from netspec.tools.agreement.case import draw_inputs
from tests.helpers.c_programs import CLANG, CXX, GCC, SANITIZED, run_c

FIRST = [cls.examples[0] for cls in registry().values() if cls.examples]
OTHERS = [example for cls in registry().values() for example in cls.examples[1:]]
TOGETHER = 48
PARTS = [OTHERS[at : at + TOGETHER] for at in range(0, len(OTHERS), TOGETHER)]

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def net_of(examples) -> str:
    """Return a net with an output for each example."""
    lines = []
    for i, example in enumerate(examples):
        names = [f"x{i}_{k}" for k in range(len(example.inputs))]
        lines += [f"input {n}: {list(s)}" for n, s in zip(names, example.inputs, strict=True)]
        source = names[0] if len(names) == 1 else f"({', '.join(names)})"
        lines.append(f"output y{i} = {source} -> {example.call}")
    return "\n".join(["net Examples {", *(f"    {line}" for line in lines), "}"])


class Case:
    """A net of examples with parameters, a batch and what the reference makes of it."""

    def __init__(self, examples) -> None:
        self.examples = examples
        self.graph = netspec.loads(net_of(examples)).graph
        self.parameters = random_parameters(self.graph)
        self.inputs = draw_inputs(self.graph, 2, np.random.default_rng(7))
        reference = Reference(self.graph, self.parameters, training=False)
        self.expected = reference.forward(self.inputs)

    def check(self, compiler, dtype, folder, **options) -> None:
        chosen = COptions("net.h", dtype=dtype, **options)
        found, _ = run_c(self.graph, self.parameters, self.inputs, compiler, folder, chosen)
        wrong = {}
        for i, (name, example) in enumerate(zip(found, self.examples, strict=True)):
            assert name == f"y{i}"
            error = agreement(self.expected[name], found[name])
            if not error <= TOLERANCE[dtype]:
                wrong[f"{example.call} of {example.inputs}"] = error
        assert not wrong


@functools.cache
def case(part: int) -> Case:
    """Return a case, computed once; part -1 is the first example of each op."""
    return Case(FIRST if part < 0 else PARTS[part])


def test_the_first_example_of_each_op_equals_the_reference(tmp_path):
    case(-1).check(GCC, "float64", tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(-1, len(PARTS)))
@pytest.mark.parametrize(
    ("compiler", "dtype"),
    [(GCC, "float64"), (SANITIZED, "float64"), (SANITIZED, "float32"), (CLANG, "float32"),
     (CXX, "float64")],
    ids=str,
)  # fmt: skip
def test_every_example_equals_the_reference(part, compiler, dtype, tmp_path):
    case(part).check(compiler, dtype, tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(-1, len(PARTS)))
def test_every_example_with_specialised_functions(part, tmp_path):
    case(part).check(SANITIZED, "float32", tmp_path, fast=True, extern_arena=True)
