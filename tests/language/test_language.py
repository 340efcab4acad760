"""The meaning of the language: small nets, and the graphs that they build (tests/graphs)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import netspec
from netspec.compiler.driver import Compilation, Request, compile_request
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError, Source, render
from tests.conftest import Write
from tests.helpers.golden import check_golden

GRAPHS = Path(__file__).parent / "graphs"
FILES = sorted(GRAPHS.glob("*.net"))
NETWORKS = sorted((Path(__file__).parents[2] / "networks").glob("**/*.net"))


def check(text: str, **arguments: Any) -> Compilation:
    return compile_request(Request(source=Source("test.net", text), arguments=arguments))


def graph(text: str, **arguments: Any) -> Graph:
    """Return the graph of a text that holds one net and gives no diagnostics."""
    result = check(text, **arguments)
    assert not result.diagnostics, "\n".join(map(render, result.diagnostics))
    (only,) = result.graphs.values()
    return only


def body(*lines: str, shape: str = "[3, 8, 8]") -> str:
    return "\n".join(["net A {", f"input x: {shape}", *lines, "}"])


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_graphs(path: Path) -> None:
    result = compile_request(Request(path=path))
    assert not result.diagnostics, "\n".join(map(render, result.diagnostics))
    shown = []
    for net in result.graphs.values():
        shown += [str(net), *(f"  {p.name} {list(p.shape)} {p.initializer}"
                              for p in net.parameters.values())]  # fmt: skip
    check_golden(path.with_suffix(".txt"), "\n".join(shown) + "\n")


@pytest.mark.parametrize("path", NETWORKS, ids=[path.stem for path in NETWORKS])
def test_networks_are_clean_and_the_same_every_time(path: Path) -> None:
    first, second = (compile_request(Request(path=path)) for _ in range(2))
    assert not first.diagnostics
    assert list(map(str, first.graphs.values())) == list(map(str, second.graphs.values()))


@pytest.mark.parametrize(
    ("hidden", "widths"), [((512, 256), [512, 256, 10]), ((), [10]), ((7,) * 5, [7] * 5 + [10])]
)
def test_any_depth_in_one_net(hidden: tuple[int, ...], widths: list[int]) -> None:
    text = """
        net Dense(hidden = [100]) {
            input image: [1, 28, 28]
            x = image -> flatten
            for i, width in enumerate(hidden) { x = x -> fc{i + 1}: linear(width) -> relu }
            output x -> linear(10)
        }
    """
    built = graph(text, hidden=hidden)
    assert [node.shape[0] for node in built.nodes if node.parameters] == widths


def test_labels_are_parameter_names() -> None:
    built = graph("""
        block Basic(channels) x {
            y = x -> conv1: conv(channels, 3, pad = 1, bias = false) -> bn1: batch_norm -> relu
            return y -> conv2: conv(channels, 3, pad = 1)
        }
        net A {
            input image: [3, 8, 8]
            x = image
            for stage in range(2) {
                for i in range(2) { x = x -> layer{stage + 1}.{i}: Basic(4) }
            }
            output x -> flatten -> classifier.6: linear(2) -> for: linear(2)
        }
    """)
    assert "layer1.0.conv1.weight" in built.parameters
    assert "layer2.1.bn1.num_batches_tracked" in built.parameters
    assert "classifier.6.weight" in built.parameters
    assert "for.bias" in built.parameters


def test_a_shared_layer_has_one_set_of_parameters() -> None:
    built = graph(body("layer twice = conv(3, 3, pad = 1)", "output x -> twice -> relu -> twice"))
    assert list(built.parameters) == ["twice.weight", "twice.bias"]
    first, second = (node for node in built.nodes if node.parameters)
    assert first.name == "twice"
    assert second.name == "twice@2"
    assert first.parameters == second.parameters


def test_a_shared_block_has_one_set_of_parameters() -> None:
    result = check(
        "block Unit(n) x { return x -> conv(n, 3, pad = 1, bias = false) -> batch_norm }\n"
        + body("layer unit = Unit(3)", "output unit(unit(x))")
    )
    assert not result.diagnostics
    built = result.graphs["A"]
    assert len([name for name in built.parameters if name.endswith("conv1.weight")]) == 1
    assert len(built.nodes) == 4


FACTS = [
    ("x.channels", "3"),
    ("x.shape[1:]", "[8, 10]"),
    ("x.rank", "3"),
    ("x.height + x.width", "18"),
    ("(x -> flatten).features", "240"),
    ("x.receptive_field", "1"),
    ("(x -> conv(4, 3)).receptive_field", "3"),
    ("(x -> conv(4, 3) -> max_pool(2)).receptive_field", "4"),
    ("(x -> conv(4, 3) -> max_pool(2) -> conv(4, 3)).receptive_field", "8"),
    ("(x -> conv(4, 3, dilation = 2) -> relu).receptive_field", "5"),
    ("(x -> conv(4, [3, 1])).receptive_field", "[3, 1]"),
    ("(x -> global_avg_pool -> linear(4)).receptive_field", "[8, 10]"),
    ("((x -> conv(3, 3, pad = 1)) + x).receptive_field", "3"),
]


@pytest.mark.parametrize(("expression", "value"), FACTS)
def test_facts_about_values(expression: str, value: str) -> None:
    before = ["y = x"]
    if expression.startswith("("):
        layers, _, fact = expression.rpartition(".")
        before, expression = [f"y = {layers}"], f"y.{fact}"
    shape = "[3, 8, 10]"
    assert not check(
        body(*before, f"assert {expression} == {value}", "output y", shape=shape)
    ).errors
    wrong = check(body(*before, f"assert {expression} == 999", "output y", shape=shape))
    assert f"= {value}" in render(wrong.errors[0])


def test_facts_about_the_net() -> None:
    layers = "output x -> conv(4, 3) -> max_pool(2) -> flatten -> linear(2)"
    facts = ("params == 186", "macs == 3960", "receptive_field == 8", "params < macs")
    assert graph(body(*(f"assert {fact}" for fact in facts), layers))
    for fact in facts:
        result = check(body(f"assert not ({fact})", layers))
        assert [d.code for d in result.errors] == ["assert/failed"]


def test_an_argument_may_be_called_like_a_fact() -> None:
    assert graph("net A(params = 3) { input x: [3]\n assert params == 3\n output x }", params=3)


INIT = [
    ("", "", "kaiming_uniform(0.57735)"),
    ("init weight = normal(0.5)", "", "normal(0.5, 0)"),
    ("init weight = ones", ", weight = zeros", "zeros"),
    ("init weight = zeros\n init weight = ones", "", "ones"),
    ("", ", weight = constant(2)", "constant(2)"),
    ("", ", weight = xavier_normal", "xavier_normal(1)"),
    ("", ", weight = uniform(low = -1, high = 2)", "uniform(-1, 2)"),
    ("", ", weight = [[1, 2, 3], [4, 5, 6]]", "values of shape [2, 3]"),
]


@pytest.mark.parametrize(("rule", "argument", "initializer"), INIT)
def test_init_rules(rule: str, argument: str, initializer: str) -> None:
    built = graph(body(rule, f"output x -> linear(2{argument})", shape="[3]"))
    assert str(built.parameters["linear1.weight"].initializer) == initializer


def test_an_init_rule_reaches_into_blocks_and_ends_with_them() -> None:
    built = graph("""
        block Own x { init weight = ones
            return x -> linear(3) }
        block Given x { return x -> linear(3) }
        net A {
            input x: [3]
            init weight = zeros, bias = constant(1)
            output x -> Own -> Given -> linear(3)
        }
    """)
    rules = [str(p.initializer) for name, p in built.parameters.items() if "weight" in name]
    assert rules == ["ones", "zeros", "zeros"]


# ---------------------------------------------------------------------------------------- constants

numbers = st.integers(-50, 50) | st.floats(-50, 50).map(lambda x: round(x, 3))
arithmetic = st.sampled_from(["+", "-", "*", "/", "//", "%"])


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0 or draw(st.booleans()):
        return str(abs(draw(numbers)))
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    form = draw(st.sampled_from(["({0} {op} {1})", "{0} {op} {1}", "-{0} + {1}", "min({0}, {1})",
                                 "[{0}, {1}][1]", "({0} if {1} > 3 else {1})", "abs({0}) - {1}",
                                 "len([{0}, {1}])", "-{0} ** 2"]))  # fmt: skip
    op = draw(arithmetic)
    return form.format(left, right, op=op)


@given(expressions())
def test_constants_are_python(expression: str) -> None:
    try:
        expected = eval(expression)
    except (ZeroDivisionError, OverflowError):
        expected = None
    value = default_of(expression)
    if expected is None or abs(expected) > 1e30:
        assert value is None
    else:
        assert value == expected
        assert type(value) is type(expected)


def default_of(expression: str) -> Any:
    """Return the value of a constant expression; None if it is an error."""
    from netspec.compiler.overrides import parse_setting

    try:
        return parse_setting(f"a={expression}")[1]
    except NetspecError:
        return None


CONSTANTS = [
    ("2 ** 3 ** 2", 512),
    ("-2 ** 2", -4),
    ("7 // 2 * 2 + 7 % 2", 7),
    ("1 < 2 < 3 and not 3 < 2", True),
    ("1 if false else 2 if false else 3", 3),
    ("[1, 2] + [3] * 2", (1, 2, 3, 3)),
    ("[1, 2, 3, 4][1:3]", (2, 3)),
    ("[1, 2, 3][-1]", 3),
    ("[[1, 2], [3]][0][1]", 2),
    ("sum(range(10))", 45),
    ("len(range(3, 10, 2))", 4),
    ("max([3, 1, 2]) - min(3, 1)", 2),
    ("zip([1, 2], [3, 4])", ((1, 3), (2, 4))),
    ("enumerate([5])", ((0, 5),)),
    ("reversed([1, 2])", (2, 1)),
    ("round(2.5) + int(3.9) + abs(-1)", 6),
    ("sqrt(16)", 4.0),
    ('"a" + "b" == "ab"', True),
    ("none", None),
    ("[1, 2,]", (1, 2)),
    ("(1\n + 2)", 3),
    ("len([0] * 100000)", 100_000),
    ("len([0] * 100001)", None),
    ("10 ** 30", 10**30),
    ("10 ** 31", None),
    ("2 if 1 else 3", None),
    ("true + 1", None),
    ('"a" < 1', None),
]


@pytest.mark.parametrize(("expression", "value"), CONSTANTS)
def test_constants(expression: str, value: Any) -> None:
    assert default_of(expression) == value


# ------------------------------------------------------------------------------------- several files


def test_imports(write: Write) -> None:
    write("block Unit(n) x { return x -> conv(n, 3) -> relu }", "lib/units.net")
    write("""
        from "units.net" import Unit
        block Two(n) x { return x -> Unit(n) -> Unit(n) }
        """, "lib/more.net")  # fmt: skip
    path = write("""
        language 1
        from "lib/more.net" import Two
        from "./lib/../lib/units.net" import Unit
        net A {
            input x: [3, 8, 8]
            output x -> Two(4) -> Unit(2)
        }
        """)
    result = compile_request(Request(path=path))
    assert not result.diagnostics
    assert result.graphs["A"].shape_of(result.graphs["A"].outputs["output"]) == (2, 2, 2)


def test_an_import_through_a_link_out_of_the_tree_is_refused(write: Write) -> None:
    write("block Secret x { return x -> relu }", "outside/secret.net")
    path = write(
        'from "link.net" import Secret\nnet A {\n input x: [3]\n output x -> Secret\n}',
        "inside/a.net",
    )
    (path.parent / "link.net").symlink_to(path.parent.parent / "outside" / "secret.net")
    codes = [d.code for d in compile_request(Request(path=path)).errors]
    assert codes[0] == "import/outside"


def test_files_that_cannot_be_read(write: Write) -> None:
    path = write("net A { input x: [3]\n output x }")
    assert code_of(path.parent / "missing.net") == "file/unreadable"
    assert code_of(path.parent) == "file/unreadable"
    path.write_bytes(b"net A \xff")
    assert code_of(path) == "file/not-text"
    path.write_bytes("net A".encode("utf-16"))  # as Notepad saves "Unicode"
    (found,) = compile_request(Request(path=path)).errors
    assert "is UTF-16 text" in found.message
    assert "save it as UTF-8" in found.hints[0].text
    path.write_bytes(b"#" * (1 << 20) + b"#")
    assert code_of(path) == "limit/file-size"
    path.write_bytes(b"\xef\xbb\xbfnet A {\r\n input x: [3]\r\n output x\r\n}")
    assert not compile_request(Request(path=path)).diagnostics


def code_of(path: Path) -> str:
    (error,) = compile_request(Request(path=path)).errors
    return error.code


def test_many_imports_are_refused(write: Write) -> None:
    for i in range(230):
        write(f'from "f{i + 1}.net" import B\nblock A{i} x {{ return x }}', f"f{i}.net")
    codes = {d.code for d in compile_request(Request(path=write("net A {}", "f0.net"))).errors}
    assert codes == {"net/no-input"}
    path = write('from "f1.net" import A1\nnet A {\n input x: [3]\n output x -> A1\n}', "f0.net")
    assert "limit/files" in {d.code for d in compile_request(Request(path=path)).errors}


def test_the_net_that_is_asked_for() -> None:
    source = Source("a.net", "net A(n = 1) {\n input x: [3]\n output x -> linear(n)\n}\n"
                             "net B(m = 1) {\n input x: [3]\n output x -> linear(m)\n}")  # fmt: skip
    only = compile_request(Request(source=source, net="B", arguments={"m": 5}))
    assert list(only.graphs) == ["B"]
    assert only.graphs["B"].parameters["linear1.weight"].shape == (5, 3)
    for request, code in (
        (Request(source=source, net="C"), "file/no-such-net"),
        (Request(source=source, arguments={"k": 1}), "call/unknown-attribute"),
    ):
        assert [d.code for d in compile_request(request).errors] == [code]


def test_the_comment_above_is_documentation() -> None:
    built = graph("""
        block Unit x { return x }  # not this
        # A net for small pictures.

        # It has one layer.
        net A {  # nor this
            input x: [3]
            output x -> Unit -> linear(2)
        }
    """)
    assert built.doc == "A net for small pictures.\nIt has one layer."
    assert graph("net A {\n input x: [3]\n output x\n}").doc == ""


def test_mistakes_of_imports_and_names_hide_no_others(write: Write) -> None:
    path = write("""
        from "missing.net" import Foo, Bar
        net small {
            input x: [8, 4, 4]
            y = x -> Foo(3) -> relu
            output y -> Bar -> conv(8, 3)
            output z = x -> conv(8, 5)
        }
    """)
    codes = [d.code for d in compile_request(Request(path=path)).diagnostics]
    assert codes == ["import/missing", "name/case", "shape/kernel-too-large"]


def test_a_line_that_ends_with_an_operator_goes_on():
    broken = "net A {\n input x: [3, 4, 4]\n y = x ->\n relu ->\n  relu\n output y +\n x\n}\n"
    joined = "net A {\n input x: [3, 4, 4]\n y = x -> relu -> relu\n output y + x\n}\n"
    assert str(netspec.loads(broken).graph) == str(netspec.loads(joined).graph)


@pytest.mark.parametrize(
    "text",
    [
        "block A x { return x -> linear({}) }",
        "block A x { y = x -> relu\n return y -> linear({} + 1) }\nnet N { input x: [4]\n output x }",
        "net N(deep = false) { input x: [4]\n if deep { x = x -> linear({}) }\n output x }",
        "net N { input x: [4]\n k = 4 if x.rank == 1 else {}\n output x -> linear(k) }",
    ],
)
def test_an_attribute_that_no_value_has_is_seen_where_nothing_is_known(text: str) -> None:
    for name in ("shape[0]", "rank", "channels", "features", "height", "width", "receptive_field"):
        assert not check(text.replace("{}", f"x.{name}")).errors
    (found,) = check(text.replace("{}", "x.chanels")).errors
    assert (found.code, found.message) == ("value/attribute", "no value has `.chanels`")
    assert [hint.text for hint in found.hints] == ["did you mean `.channels`?"]
    (unlike,) = check(text.replace("{}", "x.sizes[0]")).errors
    assert unlike.notes == (
        "values have shape, rank, channels, features, height, width, receptive_field",
    )


@pytest.mark.parametrize("tie", ["z.weight", "y.deep.weight", "later.weight"])
def test_a_parameter_of_another_layer_is_no_attribute(tie: str) -> None:
    """Not where nothing is built either, though a value has the name of its label."""
    layers = "z = x -> z: linear(4)\n y = z -> y.deep: linear(4)\n layer later = linear(4)"
    tied = f"y = y -> linear(4, weight = {tie})"
    text = f"net N(deep = false) {{ input x: [4]\n {layers}\n if deep {{ {tied} }}\n output y -> later }}"
    assert not check(text).errors
