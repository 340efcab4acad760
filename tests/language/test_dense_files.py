"""What 64 KB can ask for at most: time in proportion to the layers, and little memory.

`python -m tests.helpers.dense_files` prints what each verb takes for each text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netspec.compiler.driver import Request, compile_request
from netspec.compiler.syntax import tree
from netspec.diagnostics import Source
from tests.helpers.dense_files import IMPORTED, SIZE, TEXTS, VERBS, cost, make

# Measured were 2.7 s at most (PyTorch modules), and 3.8 s where ten processes shared two processors.
LONGEST = 10.0
MEGABYTES = 500


def test_texts_are_as_large_as_they_are_meant() -> None:
    sizes = {name: len(text()) for name, text in TEXTS.items()}
    assert all(size <= SIZE for size in sizes.values())
    assert sum(size > 0.95 * SIZE for size in sizes.values()) > 12


def test_each_statement_of_a_deep_nest_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names in what is not built were looked for again at each level: 22 % of the time."""
    looked_at = 0
    parts = tree.parts

    def counted(*given: Any) -> Iterator[Any]:
        nonlocal looked_at
        for part in parts(*given):
            looked_at += 1
            yield part

    def of(depth: int) -> int:
        nonlocal looked_at
        looked_at = 0
        cases = "if a > 2 { " * depth + "x = x -> relu" + " }" * depth
        text = f"net A(a = 3, b = 2) {{\n input x: [4]\n {cases}\n output x -> linear(a)\n}}\n"
        result = compile_request(Request(source=Source("a.net", text)))
        assert [str(found.code) for found in result.diagnostics] == ["graph/unused"]
        return looked_at

    monkeypatch.setattr(tree, "parts", counted)
    assert of(40) < 5 * of(10)


@pytest.mark.heavy
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", [*TEXTS, *IMPORTED])
def test_a_dense_file_takes_bounded_time_and_memory(tmp_path: Path, name: str, verb: str) -> None:
    make(tmp_path, name)
    found = cost(tmp_path, verb)
    assert found.code in (0, 1, 2), found.said  # 2: `diff` of what has an error
    assert "Traceback" not in found.said
    assert found.megabytes < MEGABYTES
    assert found.seconds < LONGEST
