"""The parser, compared with Lark itself on the same grammar: it builds and rejects the same."""

from __future__ import annotations

import random
from pathlib import Path

import lark
import pytest
from lark.exceptions import UnexpectedCharacters, UnexpectedToken, VisitError

import netspec
from netspec.compiler.parse import _parse, layout, tree_builder
from netspec.compiler.parse.lalr import (
    Parser,
    Token,
    UnexpectedCharacterError,
    UnexpectedTokenError,
)
from netspec.compiler.parse.layout import Layout, TooDeepError
from netspec.compiler.parse.tree_builder import LocatedError, TreeBuilder
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Source, Span
from tests.helpers.fuzz import corpus, mutated, random_tokens

REFUSED = (UnexpectedTokenError, UnexpectedCharacterError, TooDeepError, LocatedError)
GRAMMAR = (Path(netspec.__file__).parent / "grammar.lark").read_text("utf-8")


class LarkLayout:
    """Our layout between Lark's lexer and Lark's parser."""

    always_accept = tuple(Layout.always_accept)

    def process(self, stream):
        ours = (Token(t.type, str(t), t.start_pos, t.end_pos, t.column) for t in stream)
        for token in Layout().process(ours):
            yield lark.Token(
                token.type, str(token), start_pos=token.start_pos, end_pos=token.end_pos,
                column=token.column,
            )  # fmt: skip


class LarkBuilder(lark.Transformer):
    """Passes Lark's reductions to our tree builder."""

    def __init__(self, builder: TreeBuilder) -> None:
        super().__init__(visit_tokens=False)
        self.builder = builder

    def __getattr__(self, name):
        if name.startswith("__") or not hasattr(self.builder, name):
            raise AttributeError(name)
        build = getattr(self.builder, name)

        def callback(children):
            return build(
                [
                    Token(c.type, str(c), c.start_pos, c.end_pos, c.column)
                    if isinstance(c, lark.Token)
                    else c
                    for c in children
                ]
            )

        return callback


@pytest.fixture(scope="module")
def by_lark():
    builder = TreeBuilder()
    parser = lark.Lark(
        GRAMMAR, parser="lalr", lexer="contextual", keep_all_tokens=True,
        maybe_placeholders=False, postlex=LarkLayout(), transformer=LarkBuilder(builder),
    )  # fmt: skip

    def parse(source):
        builder.source = source
        return parser.parse(source.text)

    return parse


def outline(node):
    """Return a tree with its spans as plain data."""
    if isinstance(node, Span):
        return node.start, node.end
    if isinstance(node, (tuple, list)):
        return [outline(item) for item in node]
    if type(node).__module__ == syntax.__name__:
        fields = [name for name in node.__slots__ if name not in ("source", "doc")]
        return type(node).__name__, *(outline(getattr(node, name)) for name in fields)
    return node


def agree(text: str, by_lark) -> bool:
    """Check that both accept with equal trees, or both reject. Return whether they accepted."""
    source = Source("case.net", text)
    try:
        expected = outline(by_lark(source))
    except (UnexpectedToken, UnexpectedCharacters, TooDeepError, LocatedError, VisitError):
        with pytest.raises(REFUSED):
            _parse(source)
        return False
    assert outline(_parse(source)) == expected
    return True


def test_every_file_of_the_repository(by_lark):
    accepted = sum(agree(text, by_lark) for text in corpus())
    assert accepted > 50


@pytest.mark.parametrize("generate", [mutated, random_tokens])
def test_files_that_are_mostly_wrong(generate, by_lark):
    rng, files = random.Random(0), corpus()
    for _ in range(300):
        text = generate(rng, files).decode("utf-8", "replace")
        if len(text) < 4000:
            agree(text, by_lark)


def test_a_name_is_matched_once_and_a_statement_makes_few_spans(monkeypatch):
    """A file of 64 KB has 33,000 names, and a verb can parse it three times: names were looked at twice,
    and a span was made of each end of a statement.
    """
    matched, spans, match = [], [], Parser._match

    def again(self, text, at, allowed):
        matched.append(at)
        return match(self, text, at, allowed)

    def span(source, start, end):
        spans.append((start, end))
        return Span(source, start, end)

    monkeypatch.setattr(Parser, "_match", again)
    for module in (layout, tree_builder):
        monkeypatch.setattr(module, "Span", span)
    _parse(Source("a.net", "net A {\ninput x: [3]\n" + "y=x\n" * 1_000 + "output x\n}\n"))
    assert len(matched) < 10
    assert 3_000 <= len(spans) < 3_100
