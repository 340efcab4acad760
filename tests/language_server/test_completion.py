"""Completion at marked places of texts that are being written."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compiler.elaborate.split import Split
from netspec.compiler.ir.initializers import RULES
from netspec.compiler.ops import registry
from netspec.language_server.completion import completions
from netspec.language_server.heads import heads, names_before
from netspec.language_server.signatures import signature_at
from netspec.language_server.tokens import Token, tokens
from tests.language_server.conftest import analyzed, with_cursor

NET = "net A(n = 3) {\n    input x: [3, 8, 8]\n    a = x -> relu\n    "
BLOCK = "block B(width, step = 1) x, y {\n    "
CALLED = "block C(width, step = 1) z { return z -> conv(width, 1) }\n"
OPS = set(registry()) | {Split.name}
FUNCTIONS = {"range", "len", "zip"}
STATEMENTS = {"assert", "for", "if", "init", "input", "layer", "parameter", "buffer", "constant"}
CONV = {"channels", "kernel", "stride", "pad", "dilation", "groups", "bias"}
VALUE = {"channels", "features", "height", "rank", "receptive_field", "shape", "width"}
DEFINITIONS = {"block", "from", "inline", "language", "net", "use"}
EXPRESSION = {"a", "x", "n", "true", "false", "none", "relu", *FUNCTIONS}

# A text with `|` at the cursor, what must be offered there, and what must not.
PLACES: list[tuple[str, set[str], set[str]]] = [
    # layers behind an arrow
    (NET + "y = a -> |", OPS, {"a", "n", "range", "true", "for"}),
    (NET + "y = a ->|", OPS, {"a"}),
    (NET + "y = a -> co|", {"conv", "concat"}, {"a"}),
    (NET + "y = a -> conv|", {"conv", "conv_transpose"}, {"x"}),
    (NET + "y = a -> relu\n        -> |", OPS, STATEMENTS),
    (NET + "y = a -> stem: |", OPS, {"a"}),
    (NET + "y = a -> layer{n}.0: |", OPS, {"a", "n"}),
    (NET + 'y = a -> "a-1".b: |', OPS, {"a"}),
    (NET + "output a -> |\n}", OPS, {"a"}),
    (NET + "output a -> |\n    b = 3\n}\nnet B {", OPS, {"a"}),
    (CALLED + NET + "y = a -> |", {"C", *OPS}, {"B"}),
    (CALLED + NET + "y = a -> C|", {"C"}, {"a"}),
    (NET + "layer stem = conv(8, 3)\n    y = a -> |", {"stem", *OPS}, {"a"}),
    (NET + "y = (a -> |)", OPS, {"a"}),
    (NET + "y = a + (x -> | ", OPS, {"a"}),
    (NET + "return a ->\n        |", OPS, STATEMENTS),
    # arguments
    (NET + "y = a -> conv(|", CONV | {"weight", "n"}, {"for", "input"}),
    (NET + "y = a -> conv(|)", CONV, set()),
    (NET + "y = a -> conv(8, |", CONV - {"channels"}, {"channels"}),
    (NET + "y = a -> conv(8, 3, |)\n}", {"stride", "pad", "bias"}, {"channels", "kernel"}),
    (NET + "y = a -> conv(8, 3, st|", {"stride"}, {"channels"}),
    (NET + "y = a -> conv(8, 3, pad = 1, |", {"stride", "bias"}, {"channels", "kernel"}),
    (NET + "y = a -> conv(8,\n        3,\n        |", {"stride", "bias"}, {"kernel", *STATEMENTS}),
    (NET + "y = a -> stem: conv(8, [3, 3], |", {"stride", "pad"}, {"kernel"}),
    (NET + "y = relu(a -> conv(8, |", {"kernel", "stride"}, set()),
    (NET + "y = a -> max_pool(|", {"kernel", "stride"}, {"channels"}),
    (CALLED + NET + "y = a -> C(|", {"width", "step"}, {"kernel"}),
    (CALLED + NET + "y = a -> C(8, |", {"step", "n"}, {"width"}),
    (CALLED + NET + "y = a -> C(step = 2, |", {"width"}, {"step"}),
    # an argument, or a name of the body, is nearer than a layer of that name
    (NET + "y = a -> conv(8, 3, p|", {"pad"}, {"channels"}),
    ("block B(pad, mean) x {\n    return conv(x, p|)", {"mean", "pad"}, set()),
    # values of arguments
    (NET + "y = a -> conv(8, 3, pad = |", {"same", "n"}, CONV - {"pad"} - VALUE),
    (NET + "y = a -> conv(8, 3, pad = s|", {"same"}, {"stride"}),
    (NET + "y = a -> conv(8, 3, bias = |", {"true", "false"}, {"same"}),
    (NET + "y = a -> conv(8, 3, bias = tr|", {"true"}, {"same", "tanh"}),
    (NET + "y = a -> conv(8, 3, weight = |", {"normal", "zeros"}, {"same"}),
    (NET + "y = a -> conv(8, 3, weight = normal(|", {"std", "mean"}, {"channels"}),
    (NET + "y = a -> upsample(2, mode = |", {"nearest", "bilinear"}, {"same"}),
    (NET + "y = a -> conv(n * |", EXPRESSION - {"relu"}, {"kernel", "relu"}),
    (NET + "y = a -> conv(8, 3, s|", {"stride", "n"}, {"softmax", "a -> "}),
    (NET + "y = a -> concat(r|", {"relu", "a"}, set()),
    (NET + "for i in range(l|", {"len", "n"}, {"layer_norm"}),
    (NET + "y = a -> conv(n[i|", {"n", "len"}, {"instance_norm"}),
    (NET + "y = a -> reshape([|", EXPRESSION, {"shape"}),
    # values
    (NET + "y = |", EXPRESSION | OPS, STATEMENTS),
    (NET + "y = |\n}", EXPRESSION, set()),
    (NET + "y = a + |", EXPRESSION, STATEMENTS - {"if"}),
    (NET + "y = (a, |", EXPRESSION, STATEMENTS - {"if"}),
    (NET + "y = a.|", VALUE, OPS | {"a"}),
    (NET + "y = a.sh|", VALUE, OPS | {"a"}),
    (NET + "y = a -> conv(a.|", VALUE, {"kernel", "a"}),
    (NET + "output |", EXPRESSION, STATEMENTS - {"if"}),
    (NET + "if |", EXPRESSION, STATEMENTS - {"if"}),
    (NET + "assert p|", {"params", "macs", "receptive_field", "n"}, STATEMENTS - {"if"}),
    (NET + "assert n > |", EXPRESSION, STATEMENTS - {"if"}),
    (NET + "for i in |", {"range", "n"}, STATEMENTS - {"if"}),
    (NET + "for i in range(4) {\n        y = |", {"i", "a"}, {"in"}),
    (BLOCK + "return |", {"x", "y", "width", "step"}, {"a"}),
    (NET + "y = a\n}\n" + BLOCK + "z = |", {"x", "y", "width"}, {"a", "n"}),
    (NET + "y = a -> lin|ear(3)", {"linear"}, {"a"}),
    # statements and definitions
    (NET + "|", {"output", "a", "x", *STATEMENTS}, {"return", "conv", *(DEFINITIONS)}),
    (NET + "out|", {"output"}, {"return"}),
    (BLOCK + "|", {"return", "x", *STATEMENTS}, {"output"}),
    (NET + "if n > 1 { }\n    |", {"else", "output"}, set()),
    (NET + "init |", {"weight", "bias", "scale", "shift"}, {"a"}),
    (NET + "init weight = |", set(RULES), {"a"}),
    (NET + "init weight = zeros, |", {"weight", "bias"}, {"a"}),
    (NET + "layer stem = |", OPS, {"a"}),
    (NET + "parameter t: [3] = |", set(RULES), {"a"}),
    (NET + "input t: |", {"int", "bool"}, {"a"}),
    (NET + "for i |", {"in"}, {"a"}),
    ("|", DEFINITIONS, STATEMENTS),
    ("net A { }\n|", DEFINITIONS, STATEMENTS),
    ("inline |", {"block"}, {"net"}),
    ("net |", set(), {"a", "conv", "net"}),
    ("net A(n = |", FUNCTIONS, STATEMENTS - {"if"}),
    (NET + "# allow: |", {"graph/unread", "shape/comment"}, {"a", "shape/rank"}),
    (NET + "# allow: graph/unread, |", {"graph/unread", "shape/comment"}, {"a"}),
    (NET + "# a comment |", set(), {"a", "conv", "output"}),
    (NET + "y = 3|", set(), {"a", "conv"}),
]


@pytest.mark.parametrize(("text", "offered", "left_out"), PLACES)
def test_what_can_stand_at_a_place(text: str, offered: set[str], left_out: set[str]) -> None:
    text, at = with_cursor(text)
    found = completions(analyzed(text), at)
    labels = {item.label for item in found.items}
    assert offered <= labels
    assert not left_out & labels
    assert found.start <= at <= found.end


def test_a_block_with_one_value_takes_constants() -> None:
    known = analyzed(CALLED + NET + "output a -> C(n, n)\n}\n")
    text, at = with_cursor(CALLED + NET + "output a -> C(n, s|)\n}\n")
    labels = {item.label for item in completions(analyzed(text, before=known), at).items}
    assert {"step", "n"} <= labels
    assert not labels & {"softmax", "C"}


def test_a_block_is_not_offered_in_its_own_body() -> None:
    text = "block Own x {\n    return x -> |\n}\n\nblock Next x {\n    return x -> Own\n}\n"
    text, at = with_cursor(text)
    offered = {item.label for item in completions(analyzed(text), at).items}
    assert "Own" not in offered
    assert "Next" in offered
    later = {item.label for item in completions(analyzed(text), text.rindex("Own")).items}
    assert "Own" in later
    assert "Next" not in later


BAS = "block Bas(pad, scale, mean) x {\n    y = x -> relu\n    "


@pytest.mark.parametrize(
    ("text", "word", "written"),
    [
        (NET + "y = a -> conv(8, 3, |)", "pad", [("attribute", "pad = ")]),
        (NET + "y = a -> lstm(8, |)", "dropout", [("attribute", "dropout = ")]),
        (NET + "y = a -> upsample(|)", "scale", [("attribute", "scale = ")]),
        (BAS + "}\n" + NET + "y = a -> Bas(|)", "pad", [("attribute", "pad = ")]),
        (BAS + "return y -> conv(8, 3, |)", "pad", [("attribute", "pad = pad"), ("value", "")]),
        (BAS + "return y * |", "scale", [("value", "")]),
        (BAS + "return y -> linear(|)", "mean", [("value", "")]),
        (NET + "y = a -> co|nv(8, 3)", "conv", [("layer", "conv")]),
        (NET + "y = a -> conv(8, 3, st|ride = 2)", "stride", [("attribute", "stride")]),
        (NET + "y = a -> conv(8, 3, |= 2)", "stride", [("attribute", "stride")]),
    ],
)
def test_the_nearest_of_a_name_is_written(
    text: str, word: str, written: list[tuple[str, str]]
) -> None:
    text, at = with_cursor(text)
    found = [item for item in completions(analyzed(text), at).items if item.label == word]
    assert [(item.kind, item.insert) for item in found] == written
    assert not any(item.takes for item in found)


@pytest.mark.parametrize(
    ("text", "trigger", "offered"),
    [
        (NET + "y = a -> |", " ", OPS),
        (NET + "y = a -> conv(8, |", " ", CONV - {"channels"} | {"weight"}),
        (NET + "y = a -> conv(8, 3, pad = |", " ", {"same"}),
        (NET + "y = a / |", " ", set()),
        (NET + "if n > |", " ", set()),
        (NET + "for w in [3, |", " ", set()),
        (NET + "y = a /|", "/", set()),
        (NET + "y = a.|", ".", VALUE),
    ],
)
def test_a_list_opens_by_itself_only_where_no_line_ends(
    text: str, trigger: str, offered: set[str]
) -> None:
    text, at = with_cursor(text)
    assert {item.label for item in completions(analyzed(text), at, trigger).items} == offered


def test_arguments_are_in_their_order_and_choices_come_first() -> None:
    text, at = with_cursor(NET + "y = a -> conv(|")
    first = [item.label for item in completions(analyzed(text), at).items][:7]
    assert first == ["channels", "kernel", "stride", "pad", "dilation", "groups", "bias"]
    text, at = with_cursor(NET + "y = a -> conv(8, 3, bias = |")
    assert [i.label for i in completions(analyzed(text), at).items][:2] == ["true", "false"]


def test_there_are_sixty_places() -> None:
    assert len({text for text, _, _ in PLACES}) == len(PLACES) >= 60


def test_the_word_at_the_cursor_is_replaced() -> None:
    text, at = with_cursor(NET + "y = a -> lin|ear(3)")
    found = completions(analyzed(text), at)
    assert text[found.start : found.end] == "linear"
    text, at = with_cursor(NET + "# allow: graph/unr|")
    found = completions(analyzed(text), at)
    assert text[found.start : found.end] == "graph/unr"


def test_files_and_their_blocks_are_offered_in_imports(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "blocks.net").write_text(CALLED)
    (tmp_path / "sub/more.net").write_text(CALLED.replace("C(", "D("))
    (tmp_path / "a.net").write_text("")
    for text, expected in (
        ('from "|', {"blocks.net", "sub/more.net"}),
        ('from "bl|" import C', {"blocks.net", "sub/more.net"}),
        ('from "blocks.net" |', {"import"}),
        ('from "blocks.net" import |', {"C"}),
        ('from "sub/more.net" import D, |', {"D"}),
        ('from "nothing.net" import |', set()),
        ('from "../a.net" import |', set()),
    ):
        text, at = with_cursor(text)
        found = completions(analyzed(text, folder=tmp_path), at)
        assert {item.label for item in found.items} == expected, text


@pytest.mark.parametrize(
    ("text", "signature", "active"),
    [
        ("y = a -> conv(|", "conv(channels, kernel, stride = 1", "channels"),
        ("y = a -> conv(8, |", "conv(", "kernel"),
        ("y = a -> conv(8, [3, |", "conv(", "kernel"),
        ("y = a -> conv(8, 3, pad = |", "conv(", "pad = 0"),
        ("y = a -> conv(pad = 1, |", "conv(", "channels"),
        ("y = a -> conv(8, 3, pad = same, |", "conv(", "stride = 1"),
        ("y = conv(|", "conv(", None),
        ("y = conv(a, |", "conv(", "channels"),
        ("y = conv(a, 8, |", "conv(", "kernel"),
        ("y = C(a, |", "C(", "width"),
        ("y = concat(a, x, |", "concat(", None),
        ("y = a -> conv(8, 3, weight = normal(|", "normal(std, mean = 0)", "std"),
        ("y = a -> conv(8, 3, weight = normal(0.1, |", "normal(std", "mean = 0"),
        ("for i in range(0, |", "range(start = 0, stop, step = 1)", "stop"),
        ("y = a -> conv(max(1, |", "max(value, other)", "other"),
        ("y = a -> conv(max(n, |", "max(value, other)", "other"),
        ("y = max(a, |", "max(axes", "axes"),
        ("y = a -> max(|", "max(axes", "axes"),
        ("y = a -> conv(8, nothing = |", "conv(", None),
        ("y = a -> conv(1, 2, 3, 4, 5, 6, true, |", "conv(", None),
        ("y = relu(a -> C(|", "C(width, step = 1)", "width"),
        ("y = relu(a -> C(8), |", "relu()", None),
        ("y = |", None, None),
        ("y = (a, |", None, None),
    ],
)
def test_the_argument_at_the_cursor(text: str, signature: str | None, active: str | None) -> None:
    text, at = with_cursor(CALLED + NET + text)
    found = signature_at(analyzed(text), at)
    if signature is None:
        assert found is None
        return
    assert found is not None
    assert found.text.startswith(signature)
    shown = None
    if found.active is not None:
        parameter = found.parameters[found.active]
        shown = found.text[parameter.start : parameter.end]
    assert shown == active


def test_the_head_of_a_net_is_no_call() -> None:
    text, at = with_cursor("net relu(n = |) {")
    assert signature_at(analyzed(text), at) is None


def test_what_is_typed_is_completed_before_it_is_checked() -> None:
    checked = analyzed(CALLED + NET + "output a\n}\n")
    text, at = with_cursor(NET + "y = a -> |\n}\n")
    typed = checked.typed(text)
    assert typed is not None
    found = {item.label for item in completions(typed, at).items}
    assert {"C", *OPS} <= found
    assert analyzed("net").typed(text) is None


def test_the_names_of_a_body_are_found_in_one_pass() -> None:
    """All tokens behind each were copied: 3 s for the colours of 64 KB."""
    read = 0

    class Counted(list[Token]):
        def __getitem__(self, at):  # type: ignore[no-untyped-def]
            nonlocal read
            found = super().__getitem__(at)
            read += len(found) if isinstance(at, slice) else 1
            return found

    lines = "".join(f"y{i} = x -> B({i})\n" for i in range(300))
    found = Counted(tokens(f"net A {{\ninput x: [3]\n{lines}for i in range(3) {{ z = x }}\n}}\n"))
    (head,) = heads(found)
    read = 0
    names = names_before(found, head, len(found))
    assert names == ["x", *(f"y{i}" for i in range(300)), "i", "z"]
    assert read < 5 * len(found)
