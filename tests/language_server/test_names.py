"""Definitions, references and new names."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compiler.parse.loader import Module
from netspec.language_server.analysis import Analysis, analyze
from netspec.language_server.navigation import definition, home, references
from netspec.language_server.renaming import CannotRenameError, nameable, renaming
from netspec.language_server.texts import OpenTexts
from netspec.runtime.weights.rename_rules import rename_rule
from tests.language_server.conftest import analyzed

TEXT = """block Step(width, stride = 1) x {
    y = x -> body: conv(width, 3, stride = stride) -> relu
    return y
}

net A(width = 4) {
    input x: [3, 33, 33]
    init weight = normal(0.1)

    layer stem = conv(width, 1)
    y = x -> stem -> first.0: Step(width, stride = 2)
    for i in range(2) {
        y = y -> Step(width = width * (i + 1))
    }
    output scores = y -> flatten -> head: linear(2)
}
"""


def at(text: str, word: str, into: int = 0) -> int:
    return text.index(word) + into


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    found = analyzed(TEXT)
    assert not found.result.diagnostics
    return found


@pytest.mark.parametrize(
    ("word", "into", "defined", "count"),
    [
        ("stride)", 0, "stride = 1)", 3),  # the argument of the block, also in a call
        ("stride = 2", 0, "stride = 1)", 3),
        ("Step(width, stride = 2", 0, "Step(width, stride = 1", 3),
        ("range(2)", 7, None, 0),
        ("i + 1", 0, "i in range", 2),
        ("stem ->", 0, "stem = conv", 2),
        ("y -> Step", 0, "y = x -> stem", 4),
        ("return y", 7, "y = x -> body", 2),
        ("first.0", 3, "first.0", 1),
        ("scores", 2, "scores", 1),
        ("A(width", 0, "A(width", 1),
        ("conv(width, 3", 0, None, 0),
    ],
)
def test_where_a_name_is_defined_and_used(
    analysis: Analysis, word: str, into: int, defined: str | None, count: int
) -> None:
    offset = at(TEXT, word, into)
    found = definition(analysis, offset)
    assert (found and found.span.start) == (None if defined is None else at(TEXT, defined))
    places = references(analysis, offset)
    assert len(places) == count
    assert len({place.span.text for place in places}) <= 1


def test_names_are_found_in_text_that_does_not_parse(analysis: Analysis) -> None:
    typed = TEXT.replace("input x: [3, 33, 33]", "input x: [3, 33, 33]\n    z = x -> conv(")
    broken = analyzed(typed, analysis)
    assert broken.module is None
    found = definition(broken, at(typed, "stem ->"))
    assert found is not None
    assert found.span.start == at(typed, "stem = conv")
    assert found.span.source is broken.source
    assert len(references(broken, at(typed, "Step(width, stride = 2"))) == 3


def renamed(analysis: Analysis, offset: int, name: str) -> tuple[str, tuple[str, ...]]:
    found = renaming(analysis, offset, name)
    text = analysis.text
    for place, new in sorted(found.changes, key=lambda change: -change[0].span.start):
        text = text[: place.span.start] + new + text[place.span.end :]
    return text, found.options


@pytest.mark.parametrize(
    ("word", "into", "name", "options"),
    [
        ("stride)", 0, "step", ()),
        ("i + 1", 0, "turn", ()),
        ("y -> Step", 0, "value", ()),
        ("scores", 0, "classes", ()),
        ("A(width", 0, "Other", ()),
        ("stem ->", 0, "root", (r"stem\.(.*)=root.\1",)),
        ("first.0", 0, "second.1", (r"first\.0\.(.*)=second.1.\1",)),
        ("head: linear", 0, "fc", (r"head\.(.*)=fc.\1",)),
        ("body: conv", 0, "inner", (
            r"first\.0\.body\.(.*)=first.0.inner.\1", r"step(\d+)\.body\.(.*)=step\1.inner.\2")),
        ("Step(width, stride = 2", 0, "Move", (r"step(\d+)\.(.*)=move\1.\2",)),
    ],
)  # fmt: skip
def test_a_new_name_keeps_the_net_and_says_what_weights_need(
    analysis: Analysis, word: str, into: int, name: str, options: tuple[str, ...]
) -> None:
    text, told = renamed(analysis, at(TEXT, word, into), name)
    after = analyzed(text)
    assert not after.result.diagnostics
    assert told == options
    (before,), (graph,) = analysis.result.graphs.values(), after.result.graphs.values()
    rules = [rename_rule(option) for option in told]
    import re

    def new(old: str) -> str:
        for rule in rules:
            if re.fullmatch(rule.pattern, old):
                return re.sub(rule.pattern, rule.replacement, old)
        return old

    assert [new(each) for each in before.saved()] == list(graph.saved())


@pytest.mark.parametrize(
    ("word", "name", "why"),
    [
        ("i + 1", "for", "a word of the language"),
        ("i + 1", "9", "no name"),
        ("i + 1", "y", "another meaning"),
        ("Step(width, stride = 2", "step", "capital"),
        ("Step(width, stride = 2", "A", "another meaning"),
        ("head: linear", "stem", "already the name of a layer"),
        ("head: linear", "forward", "PyTorch"),
        ("first.0", "a..b", "label"),
        ("range", "other", "nothing here"),
    ],
)
def test_a_name_that_does_not_fit_is_refused(
    analysis: Analysis, word: str, name: str, why: str
) -> None:
    with pytest.raises(CannotRenameError, match=why):
        renaming(analysis, at(TEXT, word), name)


def test_nothing_is_renamed_in_text_that_does_not_parse(analysis: Analysis) -> None:
    broken = analyzed(TEXT + "net {", analysis)
    with pytest.raises(CannotRenameError, match="syntax error"):
        nameable(broken, at(TEXT, "stem"))


def test_a_tied_parameter_follows_its_label() -> None:
    text = (
        "net A {\n    input t: int[T]\n    x = t -> wte: embedding(9, 4)\n"
        "    output x -> head: linear(9, bias = false, weight = wte.weight)\n}\n"
    )
    new, options = renamed(analyzed(text), text.index("wte"), "tokens")
    assert new.count("tokens") == 2
    assert not analyzed(new).result.diagnostics
    assert options == (r"wte\.(.*)=tokens.\1",)


def test_names_of_imported_blocks_lead_to_other_files(tmp_path: Path) -> None:
    block, user, other = (tmp_path / name for name in ("b.net", "a.net", "c.net"))
    block.write_text("block B(n) x { return x -> conv(n, 1) }\n")
    uses = 'from "b.net" import B\nnet A { input x: [3, 8, 8]\n output x -> B(n = 4) }\n'
    for path in (user, other):
        path.write_text(uses)
    a, b, c = (analyze(p.read_text(), p.name, tmp_path) for p in (user, block, other))
    found = definition(a, uses.index("B(n"))
    assert found is not None
    assert (found.path, found.span.text) == (block.resolve(), "B")
    opened = definition(a, uses.index("b.net"))
    assert opened is not None
    assert opened.path == block.resolve()
    texts = OpenTexts()
    for here, word in ((b, "B("), (a, "B(n"), (c, "B(n")):
        asked = here.text.index(word)
        source = home(here, asked)
        assert source == block.resolve()
        others = texts.importing(source)
        places = references(here, asked, others)
        assert {place.path for place in places} == {p.resolve() for p in (block, user, other)}
        assert len(places) == 5
        change = renaming(here, here.text.index("B"), "Bas", others)
        assert len(change.changes) == 5
        assert change.options == (r"b1\.(.*)=bas1.\1",)
        change = renaming(here, here.text.index("n)" if here is b else "n ="), "width", others)
        assert {(p.path, p.span.text) for p, _ in change.changes} == {
            (path.resolve(), "n") for path in (block, user, other)
        }
        with pytest.raises(CannotRenameError, match=r"does not fit here|another meaning"):
            renaming(here, here.text.index("B"), "A", others)


def test_a_number_that_stays_has_no_part_in_a_rule() -> None:
    text = (
        "block S x { return x -> conv(3, 1) }\nnet A {\n    input x: [3, 8, 8]\n"
        "    output x -> S -> S -> s9: conv(3, 1)\n}\n"
    )
    _, options = renamed(analyzed(text), text.index("S x"), "T")
    assert options == (r"s1\.(.*)=t1.\1", r"s2\.(.*)=t2.\1")


def test_the_real_path_of_a_file_is_looked_for_once(tmp_path: Path, monkeypatch) -> None:
    """It was, at each place that has a name: 1.9 s for the uses of one in 64 KB of blocks."""
    asked, modules = [], Module.modules

    def counted(self: Module) -> list[Module]:
        asked.append(self)
        return modules(self)

    blocks = "".join(f"block B{i} x {{ return x -> relu }}\n" for i in range(60))
    uses = "x = x -> B7\n" * 60
    text = f"{blocks}net A {{\ninput x: [3]\n{uses}output x\n}}\n"
    analysis = analyze(text, "a.net", tmp_path)
    monkeypatch.setattr(Module, "modules", counted)
    found = references(analysis, text.index("B7"))
    assert len(found) == 61
    assert {each.path for each in found} == {tmp_path.resolve() / "a.net"}
    assert len(asked) < 10
