"""What keeps the making of programs short: limits on layers and their like, and texts that were bombs."""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import netspec
from netspec.cli import main
from netspec.collector import rare_collections
from netspec.compiler import shape_lines
from netspec.compiler.analysis import diff
from netspec.compiler.analysis.diff import compare
from netspec.compiler.analysis.structure import Likeness
from netspec.compiler.driver import Request, compile_request
from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.net import build
from netspec.compiler.fmt import formatter
from netspec.compiler.ir.places import places_read
from netspec.compiler.parse import loader, parse
from netspec.compiler.passes import layer_limit
from netspec.compiler.shape_lines import with_shapes
from netspec.compiler.syntax.tree import Power, parts
from netspec.compiler.torch_backend import built_net, classes, emit
from netspec.compiler.torch_backend.structured import net as structured_net
from netspec.compiler.torch_backend.structured import structure
from netspec.diagnostics import Source, Span
from netspec.export import standalone_source
from netspec.runtime.models import numpy_model
from netspec.text.doc import typeset
from tests.conftest import ROOT
from tests.helpers.dense_files import TEXTS
from tests.helpers.errors import fails


def deep(layers: int) -> netspec.Net:
    return netspec.loads(
        f"net A {{\n    input x: [3]\n    for i in range({layers}) {{ x = x -> relu }}\n    output x\n}}"
    )


def refused(make: Callable[[], object]) -> netspec.Diagnostic:
    with pytest.raises(netspec.NetspecError) as error:
        make()
    (diagnostic,) = error.value.diagnostics
    assert diagnostic.code == "limit/layers"
    assert diagnostic.span is not None
    return diagnostic


MAKERS = {
    "numpy": lambda net: net.source("numpy"),
    "torch": lambda net: net.source("torch"),
    "c": lambda net: net.source("c", training=False),
    "standalone": lambda net: standalone_source(net.graph, training=False),
    "draw": lambda net: net.draw().svg(),
    "diff": lambda net: compare(net.graph, net.graph),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_limit_is_the_last_number_that_is_allowed(make, monkeypatch):
    monkeypatch.setattr(layer_limit, "MAX_LAYERS", 12)
    assert make(deep(12))
    said = refused(lambda: make(deep(13)))
    assert "13 layers" in said.message
    assert "the limit is 12; NETSPEC_LAYERS=13 " in said.hints[0].text


def test_shapes_are_written_behind_as_many_lines(monkeypatch):
    def shaped(lines: int) -> str:
        text = "net A {\n    input x: [3]\n" + "    x = x -> relu\n" * lines + "    output x\n}\n"
        return with_shapes(Request(source=Source("a.net", text), folder=Path()))

    monkeypatch.setattr(layer_limit, "MAX_LAYERS", 12)
    assert shaped(12).count("# [3]") == 12
    assert "13 lines that end in a shape" in refused(lambda: shaped(13)).message


@pytest.mark.parametrize(
    ("given", "allowed"), [("13", 13), ("5", 12), ("", 12), ("many", 12), ("-20", 12), ("²", 12)]
)
def test_the_environment_raises_the_limit(given, allowed, monkeypatch):
    monkeypatch.setattr(layer_limit, "MAX_LAYERS", 12)
    monkeypatch.setenv("NETSPEC_LAYERS", given)
    assert deep(allowed).source("numpy")
    refused(lambda: deep(allowed + 1).source("numpy"))


def test_a_table_has_as_many_rows_as_it_may(monkeypatch):
    monkeypatch.setattr(layer_limit, "MAX_LISTED", 12)
    assert len(deep(12).summary().layers) == 12
    refused(deep(13).summary)


@pytest.mark.parametrize("name", ["many inputs", "names", "empty calls"])
def test_a_module_of_no_layers_is_limited_too(name):
    net = netspec.loads(TEXTS[name](), net="A")
    assert len(net.graph.nodes) < 2
    refused(lambda: net.source("torch"))


def test_the_classes_of_a_module_are_limited(monkeypatch):
    net = netspec.loads(
        "block B y { return y -> conv(3, 1) }\nblock C y { return y -> relu -> relu }\n"
        "net A {\n    input x: [3, 8, 8]\n    output x -> B -> C\n}"
    )
    size = 2 * layer_limit.CLASS + 3
    monkeypatch.setattr(layer_limit, "MAX_IN_CLASSES", size)
    assert net.source("torch")
    monkeypatch.setattr(layer_limit, "MAX_IN_CLASSES", size - 1)
    refused(lambda: net.source("torch"))


def test_the_constants_of_a_module_are_limited(monkeypatch):
    text = "net A {{\n    input x: [3]\n    a = 1\n    b = a\n    x = x -> relu\n    output x -> {}\n}}"
    block = "block B y {\n    c = 3\n    for i in range(9) { c = c + i }\n    return y -> linear(c)\n}\n"
    net = netspec.loads(block + text.format("B -> B"), net="A")
    count = 2 + 2 * layer_limit.IN_A_BLOCK
    monkeypatch.setattr(layer_limit, "MAX_CONSTANTS", count)
    assert net.source("torch")
    monkeypatch.setattr(layer_limit, "MAX_CONSTANTS", count - 1)
    assert f"names {count} constants" in refused(lambda: net.source("torch")).message
    assert net.source("numpy")
    refused(lambda: netspec.loads(TEXTS["lets"](), net="A").source("torch"))


def test_the_layers_of_a_c_file_that_trains_are_limited(monkeypatch):
    def layers(count: int) -> netspec.Net:
        return netspec.loads(f"net A {{ input x: [3]\n output x{' -> linear(3)' * count} }}")

    monkeypatch.setattr(layer_limit, "MAX_TRAINED_IN_C", 2)
    assert layers(2).source("c")
    assert layers(3).source("c", training=False)
    assert "3 layers" in refused(lambda: layers(3).source("c")).message


def test_the_layers_of_a_standalone_file_are_limited(monkeypatch):
    monkeypatch.setattr(layer_limit, "MAX_STANDALONE", 12)
    assert standalone_source(deep(12).graph, training=False)
    said = refused(lambda: standalone_source(deep(13).graph, training=False)).message
    assert "13 layers, and a standalone file" in said


def test_the_layers_that_a_module_has_in_its_text_are_limited(monkeypatch):
    """Those of a loop or of a block are written once."""

    def lines(count: int) -> netspec.Net:
        return netspec.loads(f"net A {{ input x: [3]\n output x{' -> relu' * count} }}")

    monkeypatch.setattr(layer_limit, "MAX_WRITTEN_FOR_TORCH", 12)
    assert lines(12).source("torch")
    assert deep(13).source("torch")
    assert "PyTorch module has 13 layers" in refused(lambda: lines(13).source("torch")).message


def test_a_net_that_is_written_layer_by_layer_has_no_more(monkeypatch):
    def failing(*given: object, is_flat: bool = False) -> object:
        if not is_flat:
            raise structure.NotStructuredError
        return structured_net.structured_net(*given, is_flat=True)

    monkeypatch.setattr(emit, "structured_net", failing)
    monkeypatch.setattr(layer_limit, "MAX_WRITTEN_FOR_TORCH", 12)
    assert deep(12).source("torch")
    refused(lambda: deep(13).source("torch"))


@pytest.mark.parametrize("target", ["c --train", "c", "onnx"])
def test_what_is_too_large_is_refused_before_values_are_drawn(tmp_path, monkeypatch, target):
    """Those of 15,000 layers took two of the four seconds that an error took."""
    drawn: list[object] = []
    monkeypatch.setattr(numpy_model, "draw_parameter", drawn.append)
    monkeypatch.setattr(layer_limit, "MAX_LAYERS", 2)
    monkeypatch.setattr(layer_limit, "MAX_TRAINED_IN_C", 2)
    (tmp_path / "a.net").write_text("net A { input x: [3]\n output x" + " -> linear(3)" * 3 + " }")
    out = ["-o", str(tmp_path / "out")]
    assert main(["compile", str(tmp_path / "a.net"), "--target", *target.split(), *out]) == 1
    assert not drawn


def test_calls_that_are_not_compared_have_classes_of_their_own(monkeypatch):
    text = (
        "block B(a) y {\n    z = y -> conv(9, 1)\n    return y -> conv(1 + a * a % 7, 1)\n}\n"
        "net A {\n    input x: [3, 8, 8]\n    output x -> B(1) -> B(1) -> B(2)\n}"
    )
    calls = netspec.loads(text, net="A").source("torch").count("(nn.Module)")
    monkeypatch.setattr(classes, "_COMPARED", 0)
    source = netspec.loads(text, net="A").source("torch")
    assert source.count("(nn.Module)") >= calls
    ast.parse(source)


@pytest.mark.parametrize("name", ["sums", "choices", "else ifs", "empty else ifs", "most terms"])
def test_what_is_too_long_for_python_is_written_in_another_way(name):
    source = netspec.loads(TEXTS[name](), net="A").source("torch")
    compile(source, "module", "exec")


def test_a_sum_in_a_block_is_written_in_another_way():
    total = "1" + " + 1" * 9_000
    text = f"block B y {{\n a = {total}\n return y -> linear(a)\n}}\n"
    source = netspec.loads(text + "net A {\n input x: [3]\n output x -> B\n}").source("torch")
    compile(source, "module", "exec")


def test_a_long_text_is_shown_by_its_beginning():
    source = Source("a.net", "word " * 1_000)
    assert Span(source, 0, 14).words == "word word word"
    assert Span(source, 0, 5_000).words == " ".join(["word"] * 100) + " ..."


def test_collections_are_rare_for_a_while():
    before = gc.get_threshold()
    with rare_collections():
        assert gc.get_threshold()[0] > before[0]
    assert gc.get_threshold() == before


def test_a_file_is_parsed_three_times_for_its_shapes(monkeypatch):
    """As it is, in canonical style, and with the comments."""
    parsed: list[str] = []

    def counted(source: Source) -> object:
        parsed.append(source.text)
        return parse(source)

    for module in (formatter, loader, shape_lines):
        monkeypatch.setattr(module, "parse", counted)
    written: list[int] = []

    def counted_writing(document: object, width: int) -> str:
        written.append(width)
        return typeset(document, width)

    monkeypatch.setattr(formatter, "typeset", counted_writing)
    source = Source("a.net", "net A {\ninput x: [3]\nx = x -> relu\noutput x\n}\n")
    assert "# [3]" in with_shapes(Request(source=source, folder=Path()))
    assert (len(parsed), len(written)) == (3, 1)


def test_very_many_calls_are_refused_before_they_are_built_again(monkeypatch):
    monkeypatch.setattr(built_net, "build", lambda *_, **__: pytest.fail("built"))
    monkeypatch.setattr(layer_limit, "MAX_PARTS", 12)
    lines = "x = x -> B\n" * 13
    net = netspec.loads(f"block B y {{ return y }}\nnet A {{\ninput x: [3]\n{lines}output x\n}}")
    assert "A has at least 13 layers" in refused(lambda: net.source("torch")).message


def test_too_many_lines_for_shapes_are_found_before_they_are_written(monkeypatch):
    monkeypatch.setattr(formatter, "typeset", lambda *_: pytest.fail("written"))
    lines = "x = x -> relu\n" * (layer_limit.MAX_LAYERS + 1)
    source = Source("a.net", f"net A {{\ninput x: [3]\n{lines}output x\n}}\n")
    message = refused(lambda: with_shapes(Request(source=source, folder=Path()))).message
    assert "lines that end in a shape" in message


def test_few_of_very_many_arguments_are_tried(monkeypatch):
    """Each run takes as long as there are arguments: 3,000 of them took minutes."""
    builds: list[object] = []

    def counted(*given: object, **more: object) -> object:
        builds.append(given)
        return build(*given, **more)

    monkeypatch.setattr(structured_net, "build", counted)
    chained = ", ".join(f"a{i} = a{i - 1} + 1 - 1" for i in range(1, 400))
    text = f"net A(a0 = 3, {chained}) {{\n input x: [3]\n output x -> linear(a399)\n}}\n"
    source = netspec.loads(text).source("torch")
    assert len(builds) < 150  # seven for each of 400 before
    ast.parse(source)


def test_few_values_are_tried_where_there_are_very_many_conditions(monkeypatch):
    """Each run asks all of them: 8,000, forty in each other, took 6 s."""
    builds: list[object] = []

    def counted(*given: object, **more: object) -> object:
        builds.append(given)
        return build(*given, **more)

    monkeypatch.setattr(structured_net, "build", counted)
    case = "if a < 2 { " * 40 + "x = x -> relu" + " }" * 40 + "\n"
    text = f"net A(a = 1) {{\n input x: [3]\n {case * 50} output x\n}}\n"
    ast.parse(netspec.loads(text).source("torch"))
    assert len(builds) < 12  # 19 before


def test_a_tower_of_powers_is_one_node():
    text = "net A {\n input x: [3]\n a = 2 ** 3 ** 2" + " ** 1" * 9_000 + "\n output x * a\n}\n"
    (power,) = (p for p in parts(parse(Source("a.net", text)).definitions) if isinstance(p, Power))
    assert len(power.items) == 9_003
    assert [item.value for item in power.items[:4]] == [2, 3, 2, 1]
    assert power.span.text.startswith("2 ** 3 ** 2 ** 1")


def test_many_names_that_are_not_there_are_reported_without_guesses(tmp_path, monkeypatch):
    """Each was compared with all that are there, and all of these were listed: 8 s for 50 KB."""
    blocks = (f"block B{i} y {{ return y -> relu }}\n" for i in range(60))
    (tmp_path / "lib.net").write_text("".join(blocks))
    wanted = "".join(f'from "lib.net" import B{i}x\n' for i in range(120))
    (tmp_path / "a.net").write_text(wanted + "net A { input x: [3]\n output x }\n")
    compared: list[str] = []
    monkeypatch.setattr(loader, "suggest", lambda name, known: compared.append(name))
    with pytest.raises(netspec.NetspecError) as error:
        netspec.load(tmp_path / "a.net")
    found = error.value.diagnostics
    assert len(found) == 120
    assert compared == [f"B{i}x" for i in range(100)]
    assert found[0].notes[0].endswith("B39 and 20 more")


@pytest.mark.heavy
@pytest.mark.parametrize("path", sorted((ROOT / "networks").rglob("*.net")), ids=lambda p: p.stem)
def test_no_net_that_comes_with_netspec_is_too_large(path: Path) -> None:
    net = netspec.load(path)
    assert net.source("torch")
    assert net.source("numpy")


def test_a_layer_of_many_inputs_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked at once for each of its inputs, with all of them: 12 s for 16 KB."""
    net = netspec.loads(f"net A {{ input x: [3]\n output concat([x{', x' * 300}]) -> linear(2) }}")
    asked = []
    shapes_into = type(net.graph).shapes_into

    def counted(graph: Any, node: Any) -> Any:
        asked.append(node.name)
        return shapes_into(graph, node)

    monkeypatch.setattr(type(net.graph), "shapes_into", counted)
    assert places_read(net.graph) == {}
    assert len(asked) <= len(net.graph.nodes)


def test_a_call_of_a_block_counts_for_the_parts_of_its_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It counted like an expression, and takes as long as a layer: 2.6 s for 28,569 empty bodies."""
    made, init = [], Body.__init__

    def counted(self: Body, *given: Any, **named: Any) -> None:
        made.append(self)
        init(self, *given, **named)

    monkeypatch.setattr(Body, "__init__", counted)
    result = compile_request(Request(source=Source("a.net", TEXTS["doubling blocks"]())))
    assert [str(found.code) for found in result.diagnostics] == ["limit/work"]
    assert 10_000 < len(made) < 18_000


@pytest.mark.parametrize(
    ("line", "turns", "codes"),
    [
        ("p = p + [i]", 4_000, []),
        ("p = p + [i]", 9_000, ["limit/work"]),
        ("p = p + [[i]]", 4_000, ["limit/work"]),
        ("q = sum(p) + i\np = p + [i]", 4_000, ["limit/work"]),
    ],
)
def test_joining_lists_of_numbers_is_little_work(line: str, turns: int, codes: list[str]) -> None:
    """It counted as much as looking at each number: a table of 2,401 was refused."""
    loop = f"p = []\nfor i in range({turns}) {{\n{line}\n}}"
    text = f"net A {{\ninput x: [3]\n{loop}\noutput x * len(p)\n}}\n"
    result = compile_request(Request(source=Source("a.net", text)))
    assert [str(found.code) for found in result.diagnostics] == codes


def test_layers_that_are_left_over_are_found_by_their_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of the one net was compared with each of the other: 2.7 s for two nets of 1,400 layers."""
    before, after = (
        netspec.loads(f"net A {{ input x: [3, 8, 8]\n {lines}\n output x }}").graph
        for lines in (
            "for i in range(300) { x = x -> conv(3, 1) -> relu }",
            "for i in range(300) { x = x -> tanh -> conv(3, 3, pad = 1) }",
        )
    )
    compared, call = [], Likeness.__call__

    def counted(self: Likeness, one: str, other: str) -> int:
        compared.append(one)
        return call(self, one, other)

    monkeypatch.setattr(Likeness, "__call__", counted)
    monkeypatch.setattr(diff, "MAX_PAIRS", 0)
    assert not compare(before, after, {"names"}).equal
    assert len(compared) < 100


def test_the_changes_are_gone_through_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were, for each of them: half of the time that two nets with 4,000 inputs took."""
    inputs = [f"input i{i}: [3]" for i in range(200)]
    before, after = (
        netspec.loads("\n".join(["net A {", *lines, "output i7 -> relu", "}"])).graph
        for lines in (inputs, inputs[::-1])
    )
    passes, alike = [], diff.alike

    class Counted(list[Any]):
        def __iter__(self) -> Any:
            passes.append(1)
            return super().__iter__()

    monkeypatch.setattr(diff, "alike", lambda changes: Counted(alike(changes)))
    text = str(compare(before, after))
    assert text.count("now number") == 200
    assert "now number 200, was 1)" in text
    assert len(passes) < 10


def stacked(layers: int, times: int = 1) -> str:
    loop = f"for i in range({times}) {{ x = x -> lstm(2, layers = {layers}) }}"
    return f"net A {{\n    input x: [1, 2]\n    {loop}\n    output x\n}}"


def test_stacked_layers_count_by_their_parameters(monkeypatch):
    net = netspec.loads(stacked(4, times=2))
    assert len(net.graph.parameters) == 32
    monkeypatch.setattr(layer_limit, "MAX_LAYERS", 6)
    assert net.source("numpy")
    monkeypatch.setattr(layer_limit, "MAX_LAYERS", 5)
    assert "6 layers" in refused(lambda: net.source("numpy")).message


def test_very_many_stacked_layers_are_refused_before_they_are_made():
    with fails("call/value", "a whole number from 1 to 1000"):
        netspec.loads(stacked(1_000_000_000))
    with fails("limit/work", "expand to over 100,000 steps"):
        netspec.loads(stacked(1_000, times=110))
