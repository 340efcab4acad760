"""Colours in editors: the words are those of the grammar and the registry, and no text is lost."""

from __future__ import annotations

import importlib
import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from netspec.compiler.ops import registry
from netspec.compiler.parse.tree_builder import KEYWORDS
from netspec.highlight.words import words
from tests.conftest import ROOT
from tests.helpers.golden import check_golden

pygments = pytest.importorskip("pygments")

from pygments.token import (  # noqa: E402
    Comment,
    Error,
    Keyword,
    Name,
    Operator,
)

from netspec.highlight.lexer import NetspecLexer  # noqa: E402

NETS = sorted((ROOT / "networks").rglob("*.net"))
BAD = sorted((ROOT / "tests/language/bad").glob("*.net"))
EXTENSION = ROOT / "editors/vscode"


def tokens(text: str) -> list[tuple[object, str]]:
    return [
        (kind, part) for kind, part in NetspecLexer(stripnl=False, ensurenl=False).get_tokens(text)
    ]


def kinds(text: str) -> dict[str, object]:
    return {part: kind for kind, part in tokens(text)}


def test_the_words_are_those_of_the_language() -> None:
    known = words()
    grammar = re.sub(r"//.*", "", (ROOT / "netspec/grammar.lark").read_text("utf-8"))
    every = {*known.keywords, *known.operators, *known.constants, *known.declared}
    assert every == set(re.findall(r'"([a-z]+)"', grammar)) >= KEYWORDS
    assert known.operators == ("and", "not", "or")
    assert known.constants == ("false", "none", "true")
    assert known.declared == ("buffer", "constant", "parameter", "state")
    assert set(known.ops) == set(registry())
    parts = (known.keywords, known.operators, known.constants, known.declared)
    assert len(every) == sum(map(len, parts))


def test_every_word_has_its_colour() -> None:
    known = words()
    for word in known.keywords:
        assert kinds(f" {word} ")[word] is Keyword
    for word in known.constants:
        assert kinds(f"x = {word}")[word] is Keyword.Constant
    for word in known.operators:
        assert kinds(f"a {word} b")[word] is Operator.Word
    for word in known.ops:
        assert kinds(f"x -> {word}\n")[word] is Name.Builtin
    for word in known.declared:
        assert kinds(f"{word} table: [3] = zeros")[word] is Keyword
        assert kinds(f"x -> {word} + 1")[word] is Name


def test_a_line_has_the_colours_that_it_should_have() -> None:
    text = 'y = x -> "a-1".conv{i}: conv(6, pad = 1) -> relu  # [6, 24]\n# note\nblock Basic(n) x {'
    found = kinds(text)
    assert found["y"] is Name.Variable
    assert found['"a-1".conv{i}'] is Name.Label
    assert found["conv"] is found["relu"] is Name.Builtin
    assert found["pad"] is Name.Variable  # an attribute here, a layer elsewhere
    assert found["# [6, 24]"] is Comment.Special
    assert found["# note"] is Comment.Single
    assert found["Basic"] is Name.Class


@pytest.mark.parametrize("path", NETS, ids=lambda path: path.stem)
def test_no_text_of_a_net_is_lost_or_unknown(path: Path) -> None:
    text = path.read_text("utf-8")
    found = tokens(text)
    assert "".join(part for _, part in found) == text
    assert not [part for kind, part in found if kind in Error]


def test_no_text_of_a_broken_file_is_lost() -> None:
    for path in BAD:
        raw = path.read_bytes()
        if len(raw) < 20_000:
            text = raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
            assert "".join(part for _, part in tokens(text)) == text.removeprefix("\ufeff")


def test_pygments_finds_the_lexer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    ((name, place),) = project["project"]["entry-points"]["pygments.lexers"].items()
    module, _, attribute = place.partition(":")
    assert getattr(importlib.import_module(module), attribute) is NetspecLexer
    assert name == NetspecLexer.name


def test_the_grammar_of_vscode_has_the_words_of_the_language() -> None:
    made = runpy.run_path(str(EXTENSION / "grammar.py"))
    check_golden(EXTENSION / "syntaxes/netspec.tmLanguage.json", made["text"]())


def test_the_patterns_of_vscode_are_patterns() -> None:
    grammar = json.loads((EXTENSION / "syntaxes/netspec.tmLanguage.json").read_text("utf-8"))
    matches = [rule["match"] for rule in grammar["patterns"] if "match" in rule]
    for pattern in matches:
        assert not re.compile(pattern).match(""), pattern
    assert any(re.fullmatch(pattern, "conv_transpose") for pattern in matches)


def test_the_files_of_the_extension_are_where_it_says() -> None:
    package = json.loads((EXTENSION / "package.json").read_text("utf-8"))
    (language,) = package["contributes"]["languages"]
    (grammar,) = package["contributes"]["grammars"]
    assert language["id"] == grammar["language"]
    for name in (language["configuration"], grammar["path"]):
        assert json.loads((EXTENSION / name).read_text("utf-8"))
