"""Every op with its own examples in C. Nothing here names an op.

The examples of many ops are one net with as many inputs and outputs, so that few files are compiled.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.emit import COptions
from netspec.compiler.ops import registry
from netspec.runtime.engine.reference import Reference
from netspec.testing.op_examples import agreement, random_parameters
from netspec.tools.agreement.case import draw_inputs, make_case
from netspec.tools.agreement.numpy_trace import draw_masks, plan_unfused, trace_reference
from tests.helpers.c_programs import APART, CLANG, CXX, GCC, SANITIZED, run_c, run_training_c

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


class TrainingCase:
    """The same in training, with gradients of all inputs and parameters."""

    def __init__(self, examples) -> None:
        self.examples = examples
        self.graph = netspec.loads(net_of(examples)).graph
        drawn = make_case(self.graph, batch=2, seed=7, training=True)
        masks = draw_masks(self.graph, plan_unfused(self.graph, True), 2, 7)
        self.trial = dataclasses.replace(drawn, masks=masks)
        self.expected = trace_reference(self.graph, self.trial)

    def check(self, compiler, dtype, folder) -> None:
        found = run_training_c(self.graph, self.trial, compiler, folder, dtype)
        wrong = {}
        for item, array in found.items():
            error = agreement(self.expected[item], array)
            if not error <= TOLERANCE[dtype]:
                wrong[item] = error
        assert not wrong
        assert {item.kind for item in found} >= {"output", "gradient"}


@functools.cache
def training_case(part: int) -> TrainingCase:
    """Return a case in training, computed once; see `case`."""
    return TrainingCase(FIRST if part < 0 else PARTS[part])


@functools.cache
def case(part: int) -> Case:
    """Return a case, computed once; part -1 is the first example of each op."""
    return Case(FIRST if part < 0 else PARTS[part])


def test_the_first_example_of_each_op_equals_the_reference(tmp_path):
    case(-1).check(GCC, "float64", tmp_path)


def test_the_gradients_of_the_first_example_of_each_op_equal_the_reference(tmp_path):
    training_case(-1).check(GCC, "float64", tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("op", registry().values(), ids=lambda op: op.name)
def test_all_examples_of_one_op_equal_the_reference(op, tmp_path):
    Case(op.examples).check(GCC, "float64", tmp_path)
    TrainingCase(op.examples).check(GCC, "float64", tmp_path)


COMPILERS = [
    (GCC, "float64"), (APART, "float64"), (APART, "float32"), (CLANG, "float32"),
    (CXX, "float64"),
]  # fmt: skip


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(-1, len(PARTS)))
@pytest.mark.parametrize(("compiler", "dtype"), COMPILERS, ids=str)
def test_the_gradients_of_every_example_equal_the_reference(part, compiler, dtype, tmp_path):
    training_case(part).check(compiler, dtype, tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(-1, len(PARTS)))
@pytest.mark.parametrize(("compiler", "dtype"), COMPILERS, ids=str)
def test_every_example_equals_the_reference(part, compiler, dtype, tmp_path):
    case(part).check(compiler, dtype, tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("part", range(-1, len(PARTS)))
def test_every_example_with_specialised_functions(part, tmp_path):
    case(part).check(SANITIZED, "float32", tmp_path, fast=True, extern_arena=True)
