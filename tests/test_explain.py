"""Every code is explained, and every explanation's example gives the code."""

from __future__ import annotations

import pytest

from netspec.compiler.explain import explanations
from netspec.compiler.pipeline import Request, compile_request
from netspec.diagnostics import Source
from tests.test_bad_files import front_end_codes

ALL = list(explanations().values())
WITHOUT_EXAMPLE = {
    "file/no-such-net", "file/not-text", "file/several-nets", "file/unreadable", "import/cycle",
    "import/missing", "import/name", "import/outside", "limit/file-size", "limit/files",
}  # fmt: skip


@pytest.mark.parametrize("explanation", ALL, ids=[e.code for e in ALL])
def test_the_example_gives_the_code(explanation) -> None:
    assert len(explanation.text) > 20
    if explanation.example is None:
        assert explanation.code in WITHOUT_EXAMPLE
        return
    result = compile_request(
        Request(source=Source("example.net", explanation.example.rstrip("\n")))
    )
    assert explanation.code in {d.code for d in result.diagnostics}


def test_every_code_is_explained() -> None:
    assert front_end_codes() - set(explanations()) == set()
