"""Whatever names and texts a file contains, the generated class is right, and contains nothing
else.
"""

from __future__ import annotations

import ast
import builtins
import functools
import keyword
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.compiler.ops import registry  # noqa: E402
from netspec.compiler.syntax import labels  # noqa: E402
from tests.helpers.formatted import check_formatted  # noqa: E402
from tests.helpers.torch_support import (  # noqa: E402
    check_equal,
    check_imports,
    classes,
    source_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")


LANGUAGE = {
    *"net block input output return init assert for in if else layer from import language".split(),
    *"and or not true false none".split(),
}
NAMES = [
    # Python's keywords, and its names that may be redefined
    "class", "def", "lambda", "pass", "None", "True", "is", "yield", "match", "case", "_",
    "print", "type", "list", "int", "float", "tuple", "range", "len", "super", "getattr", "sum",
    "__init__", "__class__", "__dict__", "__len__", "__debug__", "__import__", "__a", "x__a", "_b",
    # names that generated code uses, and names that it makes
    "self", "torch", "nn", "F", "i", "module", "layers", "collections", "builtins", "ValueError",
    "x", "x2", "out", "case1", "in_channels", "x_channels", "class_", "class__", "relu1", "conv1",
    # attributes of modules and of their containers
    "training", "forward", "parameters", "T_destination", "keys", "items", "values", "pop", "update",
    "clear", "append", "extend", "insert", "weight", "bias",
]  # fmt: skip
NETS = {
    "labels": """
        net N {{
            input pic: [3, 4, 4]
            output pic -> {0}: conv(2, 1) -> relu -> b.{0}: conv(2, 1) -> relu
                -> c.{0}.0: conv(2, 1) -> batch_norm -> d.first: conv(2, 1) -> d.{0}: conv(2, 1)
        }}""",
    "labels that hold others": """
        net N {{
            input pic: [3, 4, 4]
            a = pic -> q.{0}: conv(2, 1)
            b = pic -> {0}.z: conv(2, 1)
            c = pic -> q.{0}1.{0}: dropout(0.3) -> conv(2, 1)
            output a + b + c
        }}""",
    "values": """
        net N {{
            input pic: [3, 4, 4]
            {0} = pic -> conv(2, 1) -> relu
            y = {0} -> conv(2, 1)
            z = y + {0}
            {0} = z -> batch_norm
            output {0} = {0} + z
            output other = z
        }}""",
    "inputs": """
        block B(c) {0} {{ return {0} -> conv(c * {0}.channels, 1) }}
        block C(c) pic, {0} {{ return pic + {0} -> conv(c * {0}.channels, 1) }}
        net N {{
            input {0}: [3, 4, 4]
            y = {0} -> relu -> B(2)
            output C(y, y, 1)
        }}""",
    "arguments": """
        block B({0}, p = 0.1) pic {{
            if {0} > 2 {{ pic = pic -> conv({0}, 1) }}
            return pic -> leaky_relu(p) -> reshape([-1, pic.height * pic.width])
                -> reshape([{0}, pic.height, pic.width])
        }}
        net N({0} = 2, q = 3 * {0}, s = 0.5) {{
            assert {0} > 0, "{0}"
            input pic: [3, 4, 4]
            output pic -> conv(2, 1) -> max_pool({0}, stride = 1) -> leaky_relu(s) -> conv({0}, 1)
                -> B(2) -> conv(q, 1) -> B(3)
        }}""",
}


# A fifth of the names is tried in each place, by a test that is not heavy: another one in each.
SHARES = 5


def shared_out(places):
    """Return each place with each share of the names; all but one share of a place are heavy."""
    every = [(place, share) for place in places for share in range(SHARES)]
    quick = [(place, number % SHARES) for number, place in enumerate(places)]
    return [
        pytest.param(*each, marks=[] if each in quick else [pytest.mark.heavy]) for each in every
    ]


@pytest.mark.parametrize(("where", "share"), shared_out(NETS))
def test_names(where, share):
    """The class is right, and has the state_dict keys of the file, with names as labels, values,
    inputs and arguments.
    """
    sources = {}
    for name in NAMES[share::SHARES]:
        reserved = labels.problem(name) is not None
        if name in LANGUAGE or (where.startswith("labels") and reserved):
            continue
        net = netspec.loads(NETS[where].format(name))
        sources[name] = source_of(net)
        check_imports(sources[name])
        check_equal(net, batch=2)
    assert len(sources) > 40 // SHARES
    check_formatted(sources)


@pytest.mark.parametrize(
    "name",
    ["F", "Tensor", "OrderedDict", "ValueError", "NotImplemented", "Exception", "Module", "N2",
     "Sequential", "Torch", "I"],
)  # fmt: skip
def test_nets_and_blocks_with_names_that_the_file_would_hide(name):
    check = """
        {0} {1}(k = 1) {2} {{
            assert k > 0, "k"
            {3} x -> 0: conv(2, 1) -> 1: relu -> gelu -> deep.a: conv(2, 1) -> deep.b: conv(2, 1)
        }}
    """
    net = netspec.loads(check.format("net", name, "", "input x: [3, 4, 4]\n output"))
    check_equal(net)
    block = check.format("block", name, "x", "return")
    net = netspec.loads(
        f"{block}\nnet N(c = 2) {{ assert c > 0\n input x: [3, 4, 4]\n"
        f" output x -> {name}(1) -> {name}(2) -> a.a: conv(c, 1) -> relu -> a.b: conv(1, 1) }}"
    )
    check_equal(net)
    with pytest.raises(ValueError, match=r"c > 0 does not hold"):
        classes(source_of(net))["N"](c=0)


@pytest.mark.parametrize("name", ["None", "True", "False"])
@pytest.mark.parametrize("kind", ["net", "block"])
def test_names_that_no_class_can_have(name, kind):
    text = f"net {name} {{ input x: [4]\n output x -> relu }}"
    if kind == "block":
        text = (
            f"block {name} x {{ return x -> relu }}\nnet N {{ input x: [4]\n output x -> {name} }}"
        )
    with pytest.raises(netspec.NetspecError) as error:
        netspec.loads(text).source("torch")
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.code, diagnostic.span.text) == ("compile/class-name", name)


# ------------------------------------------------------------------------------ every way to give a name


def names_in_use() -> list[str]:
    """Return the names that generated code uses, and those that Python reserves."""
    found = {"module", "isinstance", "Mapping", "Path", "Any", "np", "b", "p", "g", "scratch", "H"}
    for golden in sorted((Path(__file__).parent / "golden").glob("*.py")):
        for node in ast.walk(ast.parse(golden.read_text("utf-8"))):
            found |= {node.id} if isinstance(node, ast.Name) else set()
    found |= {
        *keyword.kwlist,
        *keyword.softkwlist,
        "print",
        "list",
        "dict",
        "max",
        "object",
        "type",
    }
    return sorted(found)


# Nets with a name in one place, together with everything that its resolution depends on.
WAYS = {
    "a label": "net N {{ {i} output x -> {0}: conv(2, 1) -> relu }}",
    "within a label": "net N {{ {i} output x -> q.{0}: conv(2, 1) -> relu -> {0}.q: conv(2, 1) }}",
    "a block's label": "block B x {{ return x -> conv(2, 1) }}\nnet N {{ {i} output x -> {0}: B }}",
    "a label out of a word": 'net N(t = "{0}") {{ {i} output x -> {{t}}: conv(3, 1) }}',
    "a label in a loop": 'net N {{ {i} for t in ["{0}"] {{ x = x -> {{t}}: conv(3, 1) }}\n output x }}',
    "a shared layer": "net N {{ {i} layer {0} = conv(3, 1)\n output x -> {0} -> relu -> {0} }}",
    "a shared layer of a block": "block B y {{ layer {0} = conv(3, 1)\n return y -> {0} -> {0} }}\n"
    "net N {{ {i} output x -> B }}",
    "a loop's variable": "net N(n = 2) {{ {i} for {0} in range(n) {{ x = x -> conv(3 + {0}, 1) }}\n"
    " output x }}",
    "an input": "net N {{ input {0}: [3, 4, 4]\n output {0} -> conv(2, 1) -> reshape([-1, 8]) }}",
    "a block's input": "block B {0} {{ return {0} -> conv({0}.channels, 1) -> reshape([-1, 4]) }}\n"
    "net N {{ {i} output x -> B }}",
    "an output": "net N {{ {i} output {0} = x -> conv(2, 1)\n output other = x -> conv(2, 1) }}",
    "a value": "net N {{ {i} {0} = x -> conv(2, 1)\n output {0} + {0} -> relu }}",
    "an argument": 'net N({0} = 2) {{ assert {0} > 0, "x"\n init weight = kaiming_normal\n {i}'
    " output x -> conv({0}, 1) -> flatten -> linear({0}) }}",
    "a fraction": "net N({0} = 0.5) {{ {i} output x -> leaky_relu({0}) -> dropout({0}) }}",
    "a block's argument": "block B({0}, t = 1) y {{ if {0} > 3 {{ y = y -> relu }}\n"
    " return y -> conv({0}, t) }}\nnet N {{ {i} a = x -> B(2)\n output a + (x -> B(2)) }}",
}


@pytest.mark.parametrize(("way", "share"), shared_out(WAYS))
def test_a_name_is_refused_or_compiles_and_runs_in_both_backends(way, share):
    compiled = 0
    for name in names_in_use()[share::SHARES]:
        text = WAYS[way].format(name, i="input x: [3, 4, 4]\n")
        net, refused = None, ()
        try:
            net = netspec.loads(text)
        except netspec.NetspecError as error:
            refused = error.diagnostics
        assert all(d.span is not None for d in refused), name
        if net is None:
            continue
        module = classes(net.source("torch"))[net.name]()
        assert set(module.state_dict()) == set(net.graph.saved()), name
        x = torch.ones(2, 3, 4, 4)
        module.double().half().float().train().eval()(x)
        net.compile().forward(x.numpy())
        compiled += 1
    assert compiled > 40 // SHARES


# Layers without parameters are numbered in a class; labels, arguments and values are the file's.
NUMBERED = {
    "labels": "OUT x -> dropout1: conv(3, 1) -> dropout(0.1) -> instance_norm1: conv(2, 1)"
    " -> instance_norm }",
    "layers with and without parameters": "OUT x -> instance_norm -> instance_norm(affine = true)"
    " -> instance_norm }",
    "a word": "y = x -> dropout(0.5)\n x = x -> {t}: conv(3, 1) -> dropout(0.1)\n OUT x + y }",
    "what counts them": "for i in range(n) { x = x + (x -> dropout(0.1) -> conv(3 * dropout_count, 1)) }"
    "\n OUT x }",
    "a value": "conv_count = x -> relu\n for i in range(n) { y = x -> dropout(0.1) -> conv(3, 1)\n"
    " x = y + conv_count }\n OUT x }",
    "a container in a loop": "for i in range(n) { x = x + (x -> {i}.dropout1: conv(3, 1)"
    " -> dropout(0.1)) }\n OUT x }",
}


@pytest.mark.parametrize("place", ["net", "block"])
@pytest.mark.parametrize("way", NUMBERED)
def test_the_number_of_a_layer_is_no_name_of_the_file(way, place):
    if place == "net":
        head = 'net N(n = 2, t = "dropout2", dropout_count = 1) { input x: [3, 4, 4]\n '
        text = head + NUMBERED[way].replace("OUT", "output")
    else:
        text = "block B(n, t, dropout_count) x { " + NUMBERED[way].replace("OUT", "return")
        uses = 'x -> B(2, "dropout2", 1) -> conv(3, 1) -> B(1, "a", 1)'
        text += f"\nnet N {{ input x: [3, 4, 4]\n output {uses} }}"
    check_equal(netspec.loads(text), batch=2)


@pytest.mark.parametrize("place", ["net N", "block B"])
def test_a_shared_layer_has_no_name_of_a_module(place):
    """A label cannot have such a name either: it would hide a method in the generated class."""
    head = "input y: [3, 4, 4]\n output" if place == "net N" else "return"
    name = f"{place} {'' if place == 'net N' else 'y'}"
    text = name + " {{ layer {0} = conv(3, 1)\n " + head + " y -> {0} -> {0} }}"
    if place != "net N":
        text = text.replace("return", "z = y -> relu\n return")
        text += "\nnet N {{ input x: [3, 4, 4]\n output x -> B }}"
    for word in sorted(labels.MODULE_ATTRIBUTES | {"_private", "__init__"}):
        with pytest.raises(netspec.NetspecError) as error:
            netspec.loads(text.format(word))
        found = error.value.diagnostics[0]
        assert found.code in ("label/reserved", "label/invalid"), word
        assert found.span is not None
        assert found.span.text == word


# -------------------------------------------------------------------------------------- any identifier

IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True) | st.sampled_from(
    [*keyword.kwlist, *dir(builtins), *NAMES, *registry()]
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(st.lists(IDENTIFIERS, min_size=6, max_size=6))
@example(["label", "y", "x", "_0", "other", "Block"])  # no attribute is a number
def test_any_identifiers(names):
    """Different names do not hide each other when they occur together."""
    label, value, source, argument, other, block = names
    words = {*names} - {block}
    if words & LANGUAGE or len({argument, other, value, source}) < 4 or words & {*registry()}:
        return
    if labels.problem(label) is not None:
        return
    block_name = (block.strip("_0123456789").capitalize() or "B") + "B"
    text = f"""
        block {block_name}({other}, n = 1) {source} {{
            {value} = {source} -> {label}.{label}: conv({other}, 1) -> {label}.b: conv({other}, n)
            return {value} + {value} -> dropout(0.1)
        }}
        net {block_name}Net({argument} = 3, {other} = {argument}) {{
            assert {argument} > 0 and {other} != 0
            input {source}: [2, 3, 3]
            {value} = {source} -> conv({argument}, 1) -> {block_name}({other})
            output {value} + {value} -> {label}: conv({argument} + {other}, 1) -> max_pool({argument})
        }}"""
    try:
        net = netspec.loads(text)
    except netspec.NetspecError:
        return  # two of the names are the same where they may not be
    check_equal(net, batch=2)


# ---------------------------------------------------------------------------------------- hostile texts

PIECES = [
    '"""', "'''", '"', "'", "\\", "\\\\", "\\n", "{", "}", "{0}", "%s", "#", "\t", "\x0c", "\x1b[2J",
    "\u2028", "\x85", "\u202e", "\xa0", "\u00e9", "\U0001f600", "\ufeff", "import os", "\\N{DIGIT ONE}",
    "__import__('os').abort()", ")", "\\x22\\x22\\x22", "\\u0022", "# noqa", "f'{1}'", "eval", " ", "$(",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=8).map("".join)


def in_a_string(text: str) -> str:
    """Return a text as the file writes it between quotes."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", " ")
    return text.replace("\t", "\\t")


def in_a_comment(text: str) -> str:
    return re.sub(r"[\r\n]", " ", text)


def hostile(name: str, comment: str, message: str, word: str) -> str:
    """Return the generated source of a file with these texts wherever texts can be."""
    text = f"""
        # {in_a_comment(comment)}
        # {in_a_comment(message)}
        block B(mode, k = 1) x {{
            assert k > 0, "{in_a_string(message)}"
            if mode == "{in_a_string(word)}" {{ x = x -> relu }}  # {in_a_comment(word)}
            return x -> conv(k, 1)  # {in_a_comment(comment)}
        }}
        # {in_a_comment(comment)}
        net N(mode = "{in_a_string(word)}", c = 2) {{
            assert c > 1, "{in_a_string(message)}"
            assert mode != "nothing" or c == 2, "{in_a_string(comment)}"
            input x: [3, 4, 4]
            output x -> B(mode) -> B("other") -> conv(c, 1)
        }}"""
    return netspec.loads(text, name=name).source("torch")


def shape_of_code(source: str) -> str:
    """Return the syntax without the contents of strings: nothing else may depend on texts."""
    tree = ast.parse(source)
    if ast.get_docstring(tree) is not None:  # a comment without text gives none
        del tree.body[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


@functools.cache
def shape_of_harmless_code() -> str:
    return shape_of_code(hostile("a.net", "b", "c", "d"))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(TEXTS, TEXTS, TEXTS, TEXTS)
@example('"""', '"""', '"""', '"""')
@example("", "", "", "long enough for a condition to be broken " * 2)
@example("\\", "\\", "\\", "\\")
@example('\\"""+1/0#', '\\"""+1/0#', '\\"""+1/0#', '\\"""+1/0#')
@example("a\n1/0\n", "a\x0c1/0", "a\u20281/0", "a\x851/0")
def test_no_text_becomes_code(name, comment, message, word):
    source = hostile(name, comment, message, word)
    assert source.isascii() or all(c.isprintable() or c == "\n" for c in source)
    assert shape_of_code(source) == shape_of_harmless_code()
    made = classes(source)["N"]
    with pytest.raises(ValueError) as error:  # noqa: PT011
        made(c=1)
    shown = message.replace("\r", " ")
    assert str(error.value) == (shown or "c > 1 does not hold")


def test_hostile_sources_are_formatted():
    texts = ['say "hi"', "it's", "\\", "'\"", '"""', "\\\\'", "é\u202e", "a" * 200, "word " * 40]
    check_formatted(
        {f"text{i}": hostile(f"{text}.net", text, text, text) for i, text in enumerate(texts)}
    )
