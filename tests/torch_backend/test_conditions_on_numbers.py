"""Conditions on numbers: what a module's arguments are taken for is what they do in the file."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import netspec

pytest.importorskip("torch")

STAGE = "x = x -> conv(4 * width, 1) -> conv(3, 1)"
BODIES = {
    "met by one less": f"if width > 2 {{ {STAGE} }}",
    "met by much less": f"if width > 1 {{ {STAGE} }}",
    "met by more": f"if width > 4 {{ {STAGE} }}",
    "never met": f"if width > 100 {{ {STAGE} }}",
    "with a case for the rest": (
        f"if width >= 3 {{ {STAGE} }} else {{ x = x -> conv(5, 1) -> conv(3, 1) }}"
    ),
    "on two numbers": f"if width * depth > 40 {{ {STAGE} }}",
    "on each of two": f"if width > 2 and depth < 9 {{ {STAGE} }}",
    "on a name": f"w = width // 2\n    if w > 2 {{ {STAGE} }}",
    "in each other": f"if width > 2 {{\n        if depth > 50 {{ {STAGE} }}\n    }}",
    "in a loop": "for i in range(depth) {\n        if i > width { x = x -> conv(3, 1) }\n    }",
    "of turns": "for i in range(width // 3) { x = x -> conv(3, 1) }",
    "of a value": "c = 8 if width > 5 else width\n    x = x -> conv(c, 1) -> conv(3, 1)",
}
WIDTHS, DEPTHS = (1, 2, 3, 4, 5, 6, 9, 12, 101), (1, 3, 9, 20, 60)
# Arguments that are taken, where both cases were seen; the others are fixed.
TAKEN = {
    "met by one less",
    "met by much less",
    "met by more",
    "with a case for the rest",
    "of turns",
}


@pytest.mark.parametrize("case", BODIES)
def test_an_argument_is_honoured_or_not_taken(case: str) -> None:
    text = (
        "net N(width = 3, depth = 2) {\n    input image: [3, 4, 4]\n    x = image\n"
        f"    {BODIES[case]}\n    output x -> conv(4 * width, 1) -> conv(3, 1)\n}}\n"
    )
    names: dict[str, Any] = {}
    exec(compile(netspec.loads(text).source("torch"), case, "exec"), names)
    taken = set(inspect.signature(names["N"]).parameters)
    assert "width" in taken or case not in TAKEN
    for setting in [*({"width": w} for w in WIDTHS), *({"depth": d} for d in DEPTHS)]:
        if set(setting) <= taken:
            found = {k: tuple(v.shape) for k, v in names["N"](**setting).state_dict().items()}
            wanted = netspec.loads(text, **setting).graph.saved()
            assert found == {name: p.shape for name, p in wanted.items()}, setting
