"""Scan blocks in C: loops around the calls of one step, held against the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.emit import COptions
from netspec.runtime.engine.reference import Reference
from netspec.testing.op_examples import agreement, random_parameters
from netspec.tools.agreement.case import draw_inputs
from tests.helpers.c_programs import GCC, SANITIZED, run_c
from tests.ops.test_scan_blocks import ELMAN, MEMORY, ODD

TEXTS = {
    "odd": (ODD, {"H": 4}),
    "states that are given": (
        f"{MEMORY}net N {{ input t: [T, 3]\n input h: [4]\n input c: [4]\n"
        " output t2 = Memory(t, h, c, 4) }",
        {"T": 5},
    ),
    "one behind the other": (
        f"{ELMAN}net N {{ input tokens: int[T]\n"
        " output tokens -> embedding(7, 3) -> Elman(4) -> Elman(2) -> linear(2) }",
        {"T": 6},
    ),
    # What it goes over, and where it begins, are known when the file is written.
    "all constant": (
        f"{MEMORY}net N {{ input x: [5, 4]\n parameter s: [5, 3] = normal(1)\n"
        " parameter h: [4] = normal(1)\n output x + Memory(s, h, h, 4) }",
        {},
    ),
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    "compiler", [GCC, pytest.param(SANITIZED, marks=pytest.mark.heavy)], ids=str
)
def test_a_scan_block_equals_the_reference(name: str, compiler: object, tmp_path: Path) -> None:
    text, sizes = TEXTS[name]
    graph = netspec.loads(text, **sizes).graph
    parameters = random_parameters(graph)
    inputs = draw_inputs(graph, 2, np.random.default_rng(7))
    expected = Reference(graph, parameters, training=False).forward(inputs)
    found, _ = run_c(
        graph, parameters, inputs, compiler, tmp_path, COptions("net.h", dtype="float64")
    )
    for key, value in expected.items():
        assert agreement(value, found[key]) <= 1e-10, key
