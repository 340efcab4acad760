"""What the contract of an op rejects, and how its file begins."""

from __future__ import annotations

import subprocess
import sys

import numpy
import pytest

from netspec.compiler.ir import contract
from netspec.compiler.ir.attributes import Real, attribute
from netspec.compiler.ir.op import REGISTERED, Op, register
from netspec.compiler.ops.families.pool import PoolOp


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("foward", "forward"),
        ("lower_backwards", "lower_backward"),
        ("exmaples", "examples"),
        ("parameter_name", "parameter_names"),
        ("torch_orders", "torch_order"),
    ],
)
def test_a_misspelt_hook_is_an_error_that_says_what_was_meant(written: str, meant: str):
    cls = type("Strange", (Op,), {"name": "strange", written: lambda self: None})
    with pytest.raises(TypeError, match=rf"Strange\.{written} .*did you mean `{meant}`\?"):
        register(cls)
    assert "strange" not in REGISTERED


def test_a_misspelt_hook_of_a_family_is_an_error_too():
    cls = type("Strange", (PoolOp,), {"name": "strange", "windwo": lambda self: None})
    with pytest.raises(TypeError, match="did you mean `window`"):
        register(cls)


def test_what_an_op_has_of_its_own_starts_with_an_underscore():
    cls = type("Strange", (Op,), {"name": "strange", "colour": lambda self: None})
    with pytest.raises(TypeError, match=r"not a member of an op\. .* `_colour`"):
        register(cls)
    allowed = {
        "__annotations__": {"slope": "float"},
        "name": "strange",
        "slope": attribute(Real(), "a slope", 0.5),
        "_colour": lambda self: None,
        "weight_of": lambda self: None,
        "offers": ("weight_of",),
    }
    op = register(type("Strange", (Op,), allowed))
    assert str(op()) == "strange"
    with pytest.raises(AttributeError):
        op().slope = 1.0  # an op with its attributes never changes
    assert "strange" not in REGISTERED  # the registry has netspec's own


def test_a_field_that_is_no_attribute_is_an_error():
    members = {"__annotations__": {"slope": "float"}, "name": "strange", "slope": 0.5}
    with pytest.raises(TypeError, match=r"Strange\.slope .* `attribute"):
        register(type("Strange", (Op,), members))


def test_numpy_is_imported_when_an_op_uses_it():
    assert contract.np.sqrt is numpy.sqrt
    assert contract.np.float32 is numpy.float32
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        contract.np.nothing  # noqa: B018
    code = (
        "import sys\n"
        "from netspec.compiler.ops import registry\n"
        "list(registry().values())\n"
        "assert 'numpy' not in sys.modules\n"
        "from netspec.compiler.ir.contract import np\n"
        "print(np.zeros(2), 'numpy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[0. 0.] True\n"


def test_the_contract_brings_what_it_says():
    for name in contract.__all__:
        assert hasattr(contract, name), name
