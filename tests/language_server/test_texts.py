"""Texts that are open: what makes an analysis stale, and which texts wait for which files."""

from __future__ import annotations

from pathlib import Path

from netspec.language_server.texts import OpenTexts
from tests.language_server.conftest import LENET

BLOCK = "block B(n) x { return x -> conv(n, 3) }\n"
USER = 'from "b.net" import B\nnet A { input x: [3, 8, 8]\n output x -> B(4) }\n'


def test_a_state_that_has_passed_is_not_analyzed() -> None:
    texts = OpenTexts()
    text = texts.put("file:///a.net", None, LENET, 1)
    old = text.state
    assert texts.analyze(text, old) is texts.analyze(text, old)
    texts.put("file:///a.net", None, LENET + "\n", 2)
    assert texts.analyze(text, old) is None
    found = texts.analyze(text, text.state)
    assert found is not None
    assert found.text == LENET + "\n"


def test_a_text_waits_for_the_files_that_it_imports(tmp_path: Path) -> None:
    texts = OpenTexts()
    block, path = tmp_path / "b.net", tmp_path / "a.net"
    user = texts.put(path.as_uri(), path, USER, 1)
    first = texts.analyze(user, user.state)
    assert first is not None
    assert [d.code for d in first.result.diagnostics] == ["import/missing"]
    assert texts.importers(block) == [user]
    texts.put(block.as_uri(), block, BLOCK, 1)  # it is on no disk
    user.state += 1
    second = texts.analyze(user, user.state)
    assert second is not None
    assert not second.result.diagnostics
    assert texts.importers(block) == [user]
    texts.close(path.as_uri())
    assert texts.importers(block) == []
    assert texts.get(path.as_uri()) is None


def test_an_analysis_keeps_one_before_it_and_not_all() -> None:
    texts = OpenTexts()
    for i in range(5):
        text = texts.put("untitled:1", None, LENET + "x" * i, i)
        found = texts.analyze(text, text.state)
        assert found is not None
    assert found.good is not None
    assert found.good.text == LENET
    assert found.good.good is found.good.parsed is None
