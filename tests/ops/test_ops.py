"""Tests of every op in the registry with its own examples. Nothing here names an op."""

from __future__ import annotations

import pytest

from netspec.compiler.ops import registry
from netspec.testing import op_checks
from netspec.testing.op_checks import ExampleCase

CASES = [ExampleCase(cls, example) for cls in registry().values() for example in cls.examples]
BAD = [bad for cls in registry().values() for bad in cls.bad_examples]
every_example = pytest.mark.parametrize(
    "case", CASES, ids=[f"{c.example.call} of {list(map(list, c.example.inputs))}" for c in CASES]
)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def applied(check, *arguments):
    """Run a check; one that does not apply is a skipped test."""
    try:
        check(*arguments)
    except op_checks.Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("cls", registry().values(), ids=lambda cls: cls.name)
def test_an_op_documents_and_exemplifies_itself(cls):
    op_checks.check_documentation(cls)


@every_example
@both_modes
def test_the_shape_is_what_the_reference_computes(case, training):
    op_checks.check_shape(case, training)


@every_example
@both_modes
def test_the_reference_gradient_is_the_slope(case, training):
    op_checks.check_slope(case, training)


@every_example
@both_modes
@pytest.mark.parametrize("batch", op_checks.BATCHES)
def test_the_program_equals_the_reference(case, training, batch):
    applied(op_checks.check_program, case, training, batch)


@every_example
@both_modes
def test_the_program_in_single_precision(case, training):
    op_checks.check_single_precision(case, training)


@every_example
def test_passes_change_nothing(case):
    op_checks.check_passes(case)


@every_example
def test_positions_are_computed_by_themselves_where_the_op_says_so(case):
    applied(op_checks.check_positions, case)


@every_example
@both_modes
def test_the_program_equals_pytorch(case, training):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    applied(op_checks.check_pytorch, case, training)


@pytest.mark.parametrize("bad", BAD, ids=[bad.call for bad in BAD])
def test_bad_examples_are_refused(bad):
    op_checks.check_refused(bad)
