"""Nets of one call, and their evaluation, as the generic tests of ops have them."""

from __future__ import annotations

from netspec.testing.op_examples import (
    Run,
    agreement,
    assert_equal_runs,
    graph_of,
    net_of,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)

__all__ = [
    "Run",
    "agreement",
    "assert_equal_runs",
    "graph_of",
    "net_of",
    "random_inputs",
    "random_output_gradients",
    "random_parameters",
    "run_program",
    "run_reference",
]
