"""Checking ends soon for any file, with a graph or with ordinary diagnostics."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec import diagnostics
from netspec.compiler import driver
from netspec.compiler.analysis.diff import compare
from netspec.compiler.driver import Compilation, Request, compile_request
from netspec.compiler.numpy_backend.explain import explain_plan
from netspec.compiler.ops import registry
from netspec.compiler.parse import loader, parse
from netspec.compiler.passes.layer_limit import MAX_LAYERS
from netspec.diagnostics import Source, render, suggest, to_json
from netspec.export import standalone_source
from netspec.runtime.models.torch_build import module_class
from tests.conftest import Run

NETWORKS = sorted((Path(__file__).parents[2] / "networks").glob("**/*.net"))
TEXTS = [path.read_text("utf-8") for path in NETWORKS]
FUZZ = settings(max_examples=60)


def check(text: str) -> Compilation:
    """Check a text and draw the diagnostics. There is a graph only if there is no error."""
    result = compile_request(Request(source=Source("test.net", text)))
    for diagnostic in result.diagnostics:
        assert render(diagnostic)
        assert to_json(diagnostic)
        span = diagnostic.span
        assert span is None or 0 <= span.start <= span.end <= len(span.source.text)
    assert result.graphs or result.errors or "net" not in text
    return result


def net(*lines: str) -> str:
    return "\n".join(["net A {", "input x: [3, 8, 8]", *lines, "output x", "}"])


def open_net(*lines: str, shape: str = "[3, H, W]") -> str:
    return net(*lines).replace("[3, 8, 8]", shape)


HOSTILE = {
    "loop": net("for i in range(10**12) { x = x -> relu }"),
    "loops": net("for i in range(90000) { for j in range(90000) { y = 1 } }"),
    "layers": net("for i in range(90000) { x = x -> relu }"),
    "unknown": net(f"for i in range(90000) {{ y = z -> {' -> '.join(['relu'] * 3000)} }}"),
    "errors": net("for i in range(90000) { y = x -> convv(3, 3, padd = 1) }"),
    "mismatches": net("for i in range(9000) { z = x + (x -> conv(3, 3)) }"),
    "wrong lines": net(*(f"x{i} = con(y{i}, 3)" for i in range(3000))),
    "lists": net("a = [1]", "for i in range(16) { a = a + a }",
                 "for i in range(90000) { b = a + a }"),
    "nested lists": net("a = [1]", "for i in range(90000) { a = [a, a, a] }"),
    "ranges": net("for i in range(90000) { b = len(range(90000)) }"),
    "strings": net('a = "aaaa"', "for i in range(90000) { a = a + a }"),
    "parentheses": net("y = " + "(" * 100_000 + "x" + ")" * 100_000),
    "brackets": net("y = " + "[" * 100_000),
    "conditions": net("if true {" * 100_000 + "}" * 100_000),
    "signs": net("y = " + "-" * 30_000 + "1"),
    "powers": net("y = 9" + "**9" * 15_000),
    "sums": net("y = 1" + "+1" * 15_000),
    "arrows": net("y = x " + "-> " * 20_000),
    "a long name": net("y = " + "a" * 60_000),
    "a long label": net("y = x -> " + "a." * 10_000 + "a: relu"),
    "a long dotted name in front of an error": net(
        "for i in range(3" + ".a" * 4000 + ") x = x", "if x = 3 { x = x }", "layer stem: conv(8)"),
    "a long number": net("y = " + "1" * 60_000),
    "a giant": net("y = x -> flatten -> linear(2147483648)"),
    "recursion": "block B x { return (x -> B) + (x -> B) }\n" + net("y = x -> B"),
    "doubling": "".join(f"block B{i} x {{ y = x -> B{i + 1}\n return y -> B{i + 1} }}\n"
                        for i in range(20)) + "block B20 x { return x }\n" + net("x = x -> B0"),
    "many nets": "".join(f"net A{i} {{ input x: [3]\n for i in range(1000) {{ x = x -> relu }}\n"
                         " output x }\n" for i in range(500)),
    "asserts": net("for i in range(2000) { assert params >= 0 and receptive_field > 0",
                   "x = x -> relu", "assert x.receptive_field == 1 }"),
    "syntax errors": net("x = = \n" * 8000),
    "open brackets": net("x = (\n" * 40),
    "halvings of an open size": net("x = x -> max_pool(2)\n" * 1030).replace("[3, 8, 8]", "[3, H, W]"),
    "doublings of an open size": net("x = x -> upsample(2)\n" * 130).replace("[3, 8, 8]", "[3, H, W]"),
    "powers of values": net("x = x" + " ** 1" * 2000),
    "powers of negatives": net("y = 2" + " ** -1" * 300, "x = x -> conv(3, 1)"),
    "a layer that is itself": net("layer a = a", "x = x -> a"),
    "layers that are each other": net("layer a = b", "layer b = a", "x = x -> a"),
    "layers declared": net(*(f"layer c{i} = conv(3, 1)\nx = x -> c{i}" for i in range(2000))),
    "layers to declare": net(*(f"c{i} = conv(6, 5)" for i in range(95)), "y = x -> relu\n" * 2500),
    "names never read": net(*(f"n{i} = x -> relu" for i in range(3600))),
    "halves never read": net("a, b = x -> split(2)\n" * 2000).replace("[3,", "[64,"),
    "an undefined name": net(*(f"x{i} = x" for i in range(4500)), "for i in range(990) { a = zz }"),
    "floors of floors": net("x = x -> avg_pool(3, stride = 2) -> upsample(3)\n" * 1300).replace(
        "[3, 8, 8]", "[3, H, W]"),
    "open sizes that double": open_net("y = x -> max_pool(2)\nx = concat([x, y], axis = 2)\n" * 60),
    "open sizes that are joined": open_net(
        "y = x -> max_pool(3, stride = 2, pad = 1)\nz = x -> max_pool(2) -> pad(2)\n"
        "x = concat([y, z, x], axis = 2)\n" * 300),
    "open sizes that are squared": open_net(
        "x = matmul(x -> reshape([-1, 1]), x -> reshape([1, -1]))\n" * 60, shape="[H, W]"),
    "open sizes of high powers": open_net(
        "x = x -> reshape([-1, 1, 1])\nx = x * (x -> reshape([1, 1, -1]))\n" * 60),
    "products of long formulas": open_net(
        "a = x.height", f"b = {' + '.join(f'a // {i}' for i in range(2, 10))}", "c = b * b\n" * 5000),
    "layers of long formulas": open_net(
        "y = x -> max_pool(2)\nx = concat([x, y], axis = 2)\n" * 4, "x = x -> conv(3, 3)\n" * 3000),
    "bytes": "\x00\x01\x02\x1b\u202e" * 2000,
    "empty": "",
    "blank": " \n\t\n" * 10_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end_soon(name: str) -> None:
    start = time.process_time()
    check(HOSTILE[name])
    assert time.process_time() - start < 5  # about 1 s on an idle machine


VERBS = [
    ("fmt", "--diff"), ("summarize",), ("compile", "--target", "numpy"),
    ("compile", "--target", "torch"), ("compile", "--target", "numpy", "--standalone"),
]  # fmt: skip
IN_EVERY_VERB = [
    "halvings of an open size", "powers of values", "powers of negatives", "a layer that is itself",
    "layers that are each other", "parentheses", "open sizes that double", "open sizes of high powers",
]  # fmt: skip


@pytest.mark.parametrize("name", IN_EVERY_VERB)
def test_hostile_texts_are_ordinary_errors_in_every_verb(
    name: str, run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.net"
    path.write_text(HOSTILE[name], "utf-8")
    for verb, *options in VERBS:
        finished = run(verb, path, *options)
        assert finished.code in (0, 1), finished.err
        assert "Traceback" not in finished.err


@pytest.mark.parametrize(
    "make",
    [
        lambda net: net.source("numpy"),
        lambda net: net.source("torch"),
        module_class,
        lambda net: explain_plan(net.graph, training=True),
        lambda net: standalone_source(net.graph, training=False),
    ],
    ids=["numpy", "torch", "module", "plan", "standalone"],
)
def test_no_program_is_made_of_thousands_of_layers(make) -> None:
    deep = netspec.loads(net(f"for i in range({MAX_LAYERS + 1}) {{ x = x -> relu }}"))
    with pytest.raises(netspec.NetspecError) as refused:
        make(deep)
    assert [d.code for d in refused.value.diagnostics] == ["limit/layers"]


@pytest.mark.heavy
def test_the_time_grows_with_the_net() -> None:
    """The test uses a generated net of 10,000 layers, in a loop and written out."""

    def seconds(text: str) -> float:
        start = time.process_time()
        (graph,) = check(text).graphs.values()
        assert len(graph.nodes) in (1001, 10_001)
        return time.process_time() - start

    layer = "x = x -> conv(3, 3, pad = 1, bias = false) -> batch_norm -> relu"
    loop, lines = (
        [text(n) for n in (333, 3333)]
        for text in (
            lambda n: net(f"for i in range({n}) {{ {layer} }}", "x = x -> relu -> relu"),
            lambda n: net(*[layer] * n, "x = x -> relu -> relu"),
        )
    )
    for small, large in (loop, lines):
        seconds(small)
        # Ten times the layers; a busy machine slows the longer one down more.
        assert seconds(large) < 45 * max(seconds(small), 0.02)


# -------------------------------------------------------------------------------------------- fuzzing

WORDS = st.sampled_from([
    "net", "block", "input", "output", "return", "init", "assert", "for", "in", "if", "else", "layer",
    "from", "import", "language", "and", "or", "not", "true", "false", "none", "(", ")", "[", "]", "{",
    "}", "->", "=", "==", "+", "-", "*", "**", "/", "//", "%", ",", ":", ".", "\n", "\n", "0", "1", "3",
    "2.5", "1e400", '"', '"a"', "x", "y", "A", "B", "range", "len", "zip", "same", "normal", "weight",
    "params", "#", ";", "'", "\\", "é", "\t", *registry(),
])  # fmt: skip


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.net"
    path.write_bytes(data)
    for diagnostic in compile_request(Request(path=path)).diagnostics:
        assert render(diagnostic)


@FUZZ
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    check(text)


@FUZZ
@given(st.lists(WORDS, max_size=60))
def test_any_tokens(words: list[str]) -> None:
    check(" ".join(words))


@FUZZ
@given(st.lists(WORDS, max_size=25))
def test_any_tokens_in_a_net(words: list[str]) -> None:
    check(f"net A {{\n input x: [3, 8, 8]\n {' '.join(words)}\n output x\n}}")


@FUZZ
@given(st.data())
def test_mutations_of_good_files(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        other = data.draw(st.integers(0, len(text)))
        piece = data.draw(st.one_of(WORDS, st.just(""), st.just(text[other : other + 15])))
        text = text[:start] + piece + text[end:]
    check(text)


BLOCK = "block B{}() x {{\n    return x -> conv(8, 3, pad = 1) -> relu\n}}\n"


def test_trying_hints_costs_what_imported_files_cost(tmp_path, monkeypatch):
    compiled = []
    real = driver._compile

    def counted(request, overrides):
        result = real(request, overrides)
        compiled.append(result.text_size)
        return result

    monkeypatch.setattr(driver, "_compile", counted)
    slips = "".join(f" x = x -> conv({i + 1}, kernal = 3)\n" for i in range(12))
    (tmp_path / "net.net").write_text(
        f'from "lib.net" import B0\nnet N() {{\n input x: [3, 8, 8]\n{slips} output x -> B0\n}}\n'
    )
    for blocks, at_most in ((1, driver.MAX_TRIALS), (400, 4)):
        compiled.clear()
        (tmp_path / "lib.net").write_text("".join(BLOCK.format(i) for i in range(blocks)))
        assert compile_request(Request(path=tmp_path / "net.net")).errors
        assert 1 < len(compiled) <= at_most
        assert sum(compiled[1:]) <= 2 * driver.MAX_TRIAL_COST


def test_a_file_and_its_imports_have_one_limit_of_size(tmp_path):
    filler = "# " + "x" * 90 + "\n"
    for name in "ab":
        text = BLOCK.format(name.upper()) + filler * 6000
        (tmp_path / f"{name}.net").write_text(text)
    imports = 'from "a.net" import BA\nfrom "b.net" import BB\n'
    (tmp_path / "net.net").write_text(
        f"{imports}net N() {{\n input x: [3, 8, 8]\n output x -> BA -> BB\n}}\n"
    )
    found = [d.code for d in compile_request(Request(path=tmp_path / "net.net")).errors]
    assert found == ["limit/file-size"]


def test_imports_are_weighed_before_one_is_parsed(tmp_path, monkeypatch):
    parsed = []

    def counted(source):
        parsed.append(Path(source.name).name)
        return parse(source)

    monkeypatch.setattr(loader, "parse", counted)
    imports = ""
    for i in range(6):
        (tmp_path / f"lib{i}.net").write_text(BLOCK.format(i) + "# filler\n" * 100_000)
        imports += f'from "lib{i}.net" import B{i}\n'
    (tmp_path / "net.net").write_text(f"{imports}net N() {{\n input x: [3]\n output x\n}}\n")
    found = [d.code for d in compile_request(Request(path=tmp_path / "net.net")).errors]
    assert found == ["limit/file-size"]
    assert parsed == ["net.net"]


def test_imports_of_many_missing_files_are_refused(tmp_path):
    imports = "".join(f'from "lib{i}.net" import B\n' for i in range(300))
    (tmp_path / "net.net").write_text(imports + net())
    found = Counter(d.code for d in compile_request(Request(path=tmp_path / "net.net")).errors)
    assert 0 < found["import/missing"] < loader.MAX_FILES
    assert found["limit/files"]


def test_a_damaged_import_is_parsed_once_and_is_no_cycle(tmp_path):
    (tmp_path / "lib.net").write_text("block A x {\n return x x\n}\nblock B x {\n return x\n}\n")
    imports = 'from "lib.net" import A\nfrom "lib.net" import B\n'
    (tmp_path / "net.net").write_text(
        f"{imports}net N() {{\n input x: [3]\n output x -> A -> B\n}}\n"
    )
    found = [d.code for d in compile_request(Request(path=tmp_path / "net.net")).errors]
    assert found == ["syntax/unexpected-token"]


def test_long_names_are_compared_with_few():
    names = [f"{i:064b}".replace("0", "a").replace("1", "b") for i in range(500)]
    compared = diagnostics._worth_comparing(names[7], names)
    assert sum(len(name) * 64 for name in compared) <= diagnostics.MAX_COMPARISON
    assert suggest("batch_nrom", ["batch_norm", *names]) == "batch_norm"


@pytest.mark.heavy
def test_two_nets_are_compared_in_time_in_proportion_to_them():
    lines = "for i in range(4000) { x = x -> conv(3, 1) -> relu }"
    deep, other = (
        netspec.loads(net(line)).graph for line in (lines, lines.replace("1)", "3, pad = 1)"))
    )
    start = time.process_time()
    assert not compare(deep, other).equal
    assert time.process_time() - start < 5
