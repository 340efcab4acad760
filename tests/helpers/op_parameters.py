"""The examples of all ops as parameters of tests.

Whatever a test says of an op it says of every example in `make test-all`. Where others hold the same
example to PyTorch and to the reference already, `make test` takes two of each op.
"""

from __future__ import annotations

from typing import Any

import pytest

from netspec.compiler.ir.op import Example
from netspec.compiler.ops import registry

EXAMPLES = [example for cls in registry().values() for example in cls.examples]
_FIRST = {id(example) for cls in registry().values() for example in cls.examples[:2]}


def shown(example: Example) -> str:
    """Return the name of an example: its call and the shapes of what goes in."""
    return f"{example.call} of {list(map(list, example.inputs))}"


def two_of_each_quick() -> list[Any]:
    """Return all examples as parameters of a test, those but two of each op as heavy ones."""
    return [
        pytest.param(e, id=shown(e), marks=[] if id(e) in _FIRST else [pytest.mark.heavy])
        for e in EXAMPLES
    ]
