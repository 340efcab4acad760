"""Files of 64 KB that hold as much work as fits, and what each verb takes for them.

    python -m tests.helpers.dense_files [--text NAME] [--verb NAME]

The processor time and the memory are those of a whole process, its start included.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netspec.compiler.elaborate.net_builder import MAX_WORK
from netspec.compiler.passes.layer_limit import (
    CLASS,
    IN_A_BLOCK,
    MAX_CONSTANTS,
    MAX_IN_CLASSES,
    MAX_LAYERS,
    MAX_PARTS,
    MAX_STANDALONE,
    MAX_TRAINED_IN_C,
    MAX_WRITTEN_FOR_TORCH,
)
from tests.helpers.fuzz_core import ROOT

SIZE = 64 * 1024
# A process that takes longer is ended by the system.
_SECONDS = 120


def _net(*lines: str, shape: str = "[3, 8, 8]", arguments: str = "") -> str:
    return "\n".join([f"net A({arguments}) {{", f"input x: {shape}", *lines, "output x", "}", ""])


def _filled(text: Callable[[int], str], most: int = SIZE) -> str:
    """Return the longest text of a family that has 64 KB, or that of `most` parts."""
    least, most = 1, most + 1
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if len(text(middle)) <= SIZE else (least, middle)
    return text(least)


def _chain(count: int) -> str:
    return _net(*["x = x -> conv(3, 3, pad = 1) -> batch_norm -> relu"] * count)


def _short(count: int) -> str:
    """As many layers as a program may have."""
    return _net(*["x=x->conv(3,1)->relu"] * min(count, MAX_LAYERS // 2))


def _loop(layers: str, count: int) -> str:
    return _net(f"for i in range({MAX_LAYERS // count}) {{ x = x -> {layers} }}")


def _blocks(count: int) -> str:
    """Blocks of 40 layers."""
    stages = " -> ".join(["conv(3, 1)", "relu"] * 20)
    blocks = (f"block B{i} x {{ return x -> {stages} }}\n" for i in range(count))
    return "".join(blocks) + _net(*(f"x = x -> B{i}" for i in range(count)))


def _small_blocks(count: int) -> str:
    """Blocks of one layer."""
    blocks = (f"block B{i} x {{ return x -> conv(3, 1) }}\n" for i in range(count))
    return "".join(blocks) + _net(*(f"x = x -> B{i}" for i in range(count)))


def _medium_blocks(count: int) -> str:
    """Blocks of ten layers."""
    stages = " -> ".join(["conv(3, 1)", "relu"] * 5)
    blocks = (f"block B{i} x {{ return x -> {stages} }}\n" for i in range(count))
    return "".join(blocks) + _net(*(f"x = x -> B{i}" for i in range(count)))


def _nested_blocks(count: int) -> str:
    """Blocks of two blocks."""
    first = "block B0 x { return x -> conv(3, 1) -> relu }\n"
    blocks = "".join(f"block B{i} x {{ return x -> B{i // 2} }}\n" for i in range(1, count))
    return first + blocks + _net(*(f"x = x -> B{i}" for i in range(count // 2, count)))


def _calls(count: int) -> str:
    """Calls of one block with other arguments each."""
    body = "y = x -> conv(c, k, pad = k // 2) -> relu\n z = y -> conv(3, 1)\n return z + x"
    uses = (f"x = x -> B({i % 31 + 1}, {i % 3 * 2 + 1})" for i in range(count))
    return f"block B(c, k) x {{\n {body} }}\n" + _net(*uses)


def _skips(count: int) -> str:
    """Values that are read again, far behind."""
    lines = [f"y{i} = x -> conv(3, 1)\nx = y{i} + y{i // 2}" for i in range(count)]
    return _net(*lines[: MAX_LAYERS // 2])


def _not_built(count: int) -> str:
    """Calls in branches that are not taken, whose names are checked all the same."""
    return _net(*["if false { y = x -> relu }"] * count)


def _branches(count: int) -> str:
    """A value that a thousand layers read, joined in one."""
    return _net(*(f"y{i} = x -> conv(1, 1)" for i in range(count)),
                f"x = concat([{', '.join(f'y{i}' for i in range(count))}])")  # fmt: skip


def _open_sizes(count: int) -> str:
    pairs = min(count, MAX_LAYERS // 2)
    return _net(*["x=x->conv(3,3)->pad(1)"] * pairs, shape="[3, H, W]")


def _labels(count: int) -> str:
    return _net(*(f"x = x -> stage{i % 7}.unit{i}.a: conv(3, 1) -> stage{i % 7}.unit{i}.b: relu"
                  for i in range(count)))  # fmt: skip


def _arguments(count: int) -> str:
    given = ", ".join(f"a{i} = 3" for i in range(count))
    return _net(
        *(f"x = x -> conv(a{i}, 1)" for i in range(count)), "x = x -> conv(3, 1)", arguments=given
    )


def _parameters(count: int) -> str:
    return _net(
        *(f"parameter p{i}: [3, 1, 1] = normal(0, {i + 1})\nx = x * p{i}" for i in range(count))
    )


def _constants(count: int) -> str:
    return _net(
        "a = [1]",
        *(f"b{i} = a + [len(a) ** 2 // 3, {i} % 7]\na = [max(b{i})]" for i in range(count)),
    )


def _formulas(count: int) -> str:
    """Elementwise arithmetic, which is fused."""
    return _net(*["x=tanh(x*2+1)-x/3"] * min(count, MAX_LAYERS // 5))


def _scans(count: int) -> str:
    blocks = "".join(
        f"scan block S{i}(c) x {{\n state h: [c]\n h = tanh((x -> linear(c)) + (h -> linear(c)))\n"
        " return h\n}\n" for i in range(count)
    )  # fmt: skip
    return blocks + _net(*(f"x = x -> S{i}(4)" for i in range(count)), shape="[5, 4]")


def _many_nets(count: int) -> str:
    nets = (
        f"net N{i} {{ input x: [3, 8, 8]\n output x -> conv(3, 1) -> relu }}\n"
        for i in range(count)
    )
    return "".join(nets) + _net()


def _lines(line: str) -> Callable[[int], str]:
    return lambda count: _net(*[line] * count)


def _empty_calls(count: int) -> str:
    return "block B y { return y }\n" + _lines("x=x->B")(count)


def _deep_loop() -> str:
    """As many layers as can be checked."""
    return _net(f"for i in range({MAX_WORK // 6}) {{ x = x -> relu }}")


def _empty_blocks(count: int) -> str:
    blocks = "".join(f"block B{i} y {{ return y }}\n" for i in range(count))
    return blocks + _net(*(f"x=x->B{i}" for i in range(count)))


def _conditions(count: int) -> str:
    return _net(*["if a { x = x -> relu }"] * count, arguments="a = true")


def _else_ifs(count: int) -> str:
    cases = "".join(f" else if a=={i} {{ x=x->relu }}" for i in range(1, count))
    return _net(f"if a==0 {{ x=x->relu }}{cases}", arguments="a = 3")


def _variants(count: int) -> str:
    """Calls of a block that has other layers in each."""
    taken = [f"a{i}" for i in range(12)]
    body = "".join(f"if {a} {{ y = y -> relu }}\n" for a in taken)
    block = f"block B({', '.join(taken)}) y {{\nz = y -> conv(9, 1)\n{body}return y -> tanh\n}}\n"
    bits = ("true", "false")
    given = (", ".join(bits[(i >> at) & 1] for at in range(12)) for i in range(count))
    return block + _net(*(f"x = x -> B({each})" for each in given))


def _odd_numbers(count: int) -> str:
    """Calls of a block with numbers that no argument explains."""
    block = "block B(a) y {\nz = y -> conv(9, 1)\nreturn y -> conv(1 + a * a % 97, 1)\n}\n"
    return block + _net(*(f"x = x -> B({i})" for i in range(count)))


def _containers(count: int) -> str:
    return _net(*(f"x=x->c{i}.a.b: conv(3,1)" for i in range(count)))


def _long_list(count: int) -> str:
    shape = f"[{count + 1}]"
    return _net(f"parameter p: {shape} = [0{',1' * count}]", "x = x * p", shape=shape)


def _splits(count: int) -> str:
    names = ", ".join(f"a{i}" for i in range(count))
    return _net(f"{names} = split(x, {count})", shape=f"[{count}, 2]")


def _uncalled(count: int) -> str:
    return "".join(f"block B{i} y {{ return y }}\n" for i in range(count)) + _net()


def _given_arguments(count: int) -> str:
    taken = ", ".join(f"a{i} = 1" for i in range(count))
    return f"block B({taken}) y {{ return y -> conv(a0, 1) }}\n" + _net(*["x = x -> B(3)"] * 50)


def _likenesses(count: int) -> str:
    names = "".join(f"a{'b' * (i % 60)}{i} = 1\n" for i in range(count))
    return _net(names, *["x = x -> linear(abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbx)"] * 20)


def _doubling_blocks(count: int) -> str:
    """Blocks each of which calls the next one twice."""
    blocks = (f"block B{i} x {{ return x -> B{i + 1} -> B{i + 1} }}\n" for i in range(22))
    filler = _lines("# a filled line")(count)
    return (
        "".join(blocks)
        + "block B22 x { return x }\n"
        + filler.replace("output x", "output x -> B0")
    )


def _chained_arguments(count: int) -> str:
    """Arguments whose defaults read the one before."""
    chained = ", ".join(f"a{i} = a{i - 1} + 1 - 1" for i in range(1, count))
    return _net(f"x = x -> conv(a{count - 1}, 1)", arguments=f"a0 = 3, {chained}")


def _given_list(count: int) -> str:
    """A long list that is given to a block again and again."""
    return (
        "block B(a) y { return y -> conv(len(a) % 5 + 1, 1) }\n"
        f"{_net('a = [1] * 50000', *['x = x -> B(a)'] * min(count, 600))}"
    )


def _facts(count: int) -> str:
    """Asserts on the whole net, which has as many layers as it may."""
    loop = "for i in range(8000) { x = x -> relu }"
    return _net(loop, *["assert params <= 9 and macs <= 9"] * count)


def _shared_layer(count: int) -> str:
    return _net("layer c = conv(3, 1)", *["x=x->c"] * min(count, MAX_LAYERS))


def _holes(count: int) -> str:
    """Labels that are computed."""
    inner = "x = x -> s{i}.u{i * i + 1}.v{i % 7}{i}: conv(3, 1)"
    return _net(
        *[f"for i in range({400 + j}, {400 + j + 2}) {{ {inner} }}" for j in range(0, count, 2)]
    )


def _long_paths(count: int) -> str:
    return _net(f"x = x -> {'a.' * count}b: conv(3, 1)", f"x = x -> {'a.' * count}c: conv(3, 1)")


def _allowed_codes(count: int) -> str:
    return f"# allow: {', '.join(f'shape/rankk{i}' for i in range(count))}\n{_net()}"


def _open_inputs(count: int) -> str:
    inputs = (f"input x{i}: [A{i}, B{i}]" for i in range(count))
    return "\n".join(["net A() {", *inputs, "output x0", "}", ""])


def _halvings(count: int) -> str:
    return _net(
        *["x = x -> avg_pool(2, stride = 1, pad = 1) -> max_pool(3, 2, pad = 1)"] * count,
        shape="[3, H, W]",
    )


def _upsamplings(count: int) -> str:
    return _net(*["x=x->upsample(2)->max_pool(2)"] * min(count, MAX_LAYERS // 2), shape="[3, H, W]")


def _reshapes(count: int) -> str:
    return _net(*["x=x->reshape([8,3,8])->permute(2,1,0)"] * min(count, MAX_LAYERS // 2))


def _einsums(count: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    shape = f"[{', '.join('1' for _ in letters)}]"
    return _net(*[f'y = einsum([x, x], "{letters},{letters}->{letters}")'] * count, shape=shape)


def _matrices(count: int) -> str:
    numbers = ", ".join(["0.125"] * 8)
    lines = (f"parameter m{i}: [8] = [{numbers}]\nx = x + m{i}" for i in range(count))
    return _net(*lines, shape="[8]")


def _rules(count: int) -> str:
    return _net(
        *(f"init conv.weight = normal(0, {i + 1})" for i in range(count)), "x = x -> conv(3, 1)"
    )


def _towers(count: int) -> str:
    return _net("a = 1" + "**1" * count, "b = 1e30 - 1e29" + " ** 1" * 40, "x = x -> linear(a)")


def _ranges(count: int) -> str:
    lines = (
        "a = sum(range(1000))",
        "b = len(enumerate(range(999)))",
        "c = min(range(5)) + max(zip([1], [2])[0])",
    )
    return _net(*(lines[i % 3] for i in range(count)))


def _list_facts(count: int) -> str:
    """What reads a long list, and gives a number."""
    lists = ("a = [1.5] * 99999", "b = [1.5] * 99999")
    loop = "for i in range(999999) { c = sum(a) + len(a) + a[7] }"
    return _net(*lists, *["c = sum(a) + sum(b)", "assert a == b"] * count, loop)


def _slices(count: int) -> str:
    return _net("a = range(99)", *["a = a[1:]+[a[0]]"] * count)


def _block_of_slices(count: int) -> str:
    """A block that computes a list, with which a layer is made."""
    lines = "\n".join(["a = range(99)", *["a = a[1:]+[a[0]]"] * count])
    return f"block B y {{\n{lines}\nreturn y -> conv(a[3], 1)\n}}\n" + _net("x = x -> B")


def _strings(count: int) -> str:
    return _net('a = "b"', *['a = a + "b"'] * count)


def _wide_characters(count: int) -> str:
    return _net(*["x = x -> relu # \u6f22\u5b57\U0001f600"] * (count // 3))


def _open_brackets(count: int) -> str:
    return _net(*["x = x -> conv((((3, ]]]"] * count)


def _closing_braces(count: int) -> str:
    return _net() + "}\n{ net\n" * count


def _unknown_layers(count: int) -> str:
    return _net(*(f"x = x -> convolution_of_two_dimensions{i}(3)" for i in range(count)))


def _listed_errors(count: int) -> str:
    """Errors that name a long list."""
    return _net("a = [1] * 99999", *["y = x -> conv(a, a)", "z = a + 1"] * count)


def _long_comment(count: int) -> str:
    return f"# {'word ' * count}\n## {'a' * count}\n{_net()}"


def _long_names(count: int) -> str:
    names = [f"{'a' * 90}{i}" for i in range(count)]
    return _net(*(f"{name} = x -> conv(3, 1)" for name in names), f"x = {names[0]}")


def _list_cells(count: int) -> str:
    """A body of many values in lists."""
    return _net("a = [x]", *["a = a + [x -> relu]"] * min(count, 700), "x = concat(a)")


def _nested_ifs(count: int) -> str:
    case = "if a < 2 { " * 40 + "x = x -> relu" + " }" * 40
    return _net(*[case] * count, arguments="a = 1")


def _combined(count: int) -> str:
    """Much to read, much to expand, and as many layers as there may be."""
    layers = f"for i in range({MAX_LAYERS // 2}) {{ x = x -> conv(3, 1) -> relu }}"
    turns = f"for i in range({MAX_WORK // 14}) {{ a = a + i % 7 }}"
    return _net("a = 0", turns, layers, *["y=x"] * min(count, 4_000), f"# {'a ' * (count // 2)}")


def _slips(line: str) -> str:
    """A sound file with as many mistakes as are looked at."""
    sound = ["x = x -> conv(3, 3, pad = 1) -> batch_norm -> relu"] * 200
    return _net(*sound, *(line.format(i) for i in range(60)))


def _imported(count: int) -> dict[str, str]:
    """Files each of which imports the next, with all of its blocks."""
    files = {}
    for at in range(150):
        blocks = "".join(f"block B{at}_{i} x {{ return x -> relu }}\n" for i in range(4))
        names = ", ".join(f"B{at + 1}_{i}" for i in range(4))
        files[f"f{at}.net"] = (
            f'from "f{at + 1}.net" import {names}\n' if at < 149 else ""
        ) + blocks
    files["dense.net"] = 'from "f0.net" import B0_0\n' + _net(*["x = x -> B0_0"] * count)
    return files


def _much_imported(count: int) -> dict[str, str]:
    """One file that all others import, and a file that imports all."""
    blocks = "".join(f"block C{i} x {{ return x -> relu }}\n" for i in range(100))
    names = ", ".join(f"C{i}" for i in range(100))
    files = {"c.net": blocks}
    for at in range(70):
        files[f"f{at}.net"] = (
            f'from "c.net" import {names}\nblock B{at} x {{ return x -> C{at} }}\n'
        )
    imports = "".join(f'from "f{at}.net" import B{at}\n' for at in range(70))
    files["dense.net"] = imports + _net(*(f"x = x -> B{i % 70}" for i in range(count)))
    return files


TEXTS: dict[str, Callable[[], str]] = {
    "chain": lambda: _filled(_chain),
    "short": lambda: _filled(_short),
    "loop": lambda: _loop("conv(3, 3, pad = 1) -> batch_norm -> relu", 3),
    "blocks": lambda: _filled(_blocks),
    "small blocks": lambda: _filled(_small_blocks),
    "nested blocks": lambda: _filled(_nested_blocks),
    "calls": lambda: _filled(_calls),
    "skips": lambda: _filled(_skips),
    "branches": lambda: _filled(_branches),
    "not built": lambda: _filled(_not_built),
    "open sizes": lambda: _filled(_open_sizes),
    "labels": lambda: _filled(_labels),
    "arguments": lambda: _filled(_arguments),
    "parameters": lambda: _filled(_parameters),
    "constants": lambda: _filled(_constants),
    "formulas": lambda: _filled(_formulas),
    "scans": lambda: _filled(_scans),
    "many nets": lambda: _filled(_many_nets),
    # With as many layers as programs are made of.
    "most layers": lambda: _filled(_chain, MAX_LAYERS // 3),
    "most blocks": lambda: _blocks(MAX_IN_CLASSES // (CLASS + 40)),
    "most calls": lambda: _filled(_calls, MAX_LAYERS // 10),
    "most terms": lambda: _net("x = x" + "+x" * (MAX_LAYERS - 1)),
    "most formulas": lambda: _net(*["x=tanh(x*2+1)-x/3"] * (MAX_LAYERS // 5)),
    "most small blocks": lambda: _small_blocks(MAX_IN_CLASSES // (CLASS + 1)),
    "most classes": lambda: _medium_blocks(MAX_IN_CLASSES // (CLASS + 10)),
    "most trained in c": lambda: _filled(_chain, MAX_TRAINED_IN_C // 3),
    "most constants": lambda: _filled(_slices, MAX_CONSTANTS - 1),
    "most in a block": lambda: _filled(_block_of_slices, MAX_CONSTANTS // IN_A_BLOCK - 1),
    "most skips": lambda: _filled(_skips, MAX_WRITTEN_FOR_TORCH // 2),
    "most open sizes": lambda: _filled(_open_sizes, MAX_WRITTEN_FOR_TORCH // 2),
    "most in a file": lambda: _filled(_chain, MAX_STANDALONE // 3),
    "most written": lambda: _filled(_chain, MAX_WRITTEN_FOR_TORCH // 3),
    # With no layers to speak of.
    "deep loop": _deep_loop,
    "empty loops": lambda: _net("for i in range(300) { for j in range(300) { } }"),
    "constant loop": lambda: _net("a = 0", f"for i in range({MAX_WORK // 8}) {{ a = a + i % 7 }}"),
    "empty calls": lambda: _filled(_empty_calls),
    "empty blocks": lambda: _filled(_empty_blocks),
    "names": lambda: _filled(_lines("y=x")),
    "lets": lambda: _filled(_lines("a=1")),
    "sums": lambda: _filled(lambda n: _net("a = 1" + "+1" * n, "x = x -> linear(a)")),
    "terms": lambda: _filled(lambda n: _net("x = x" + "+x" * n)),
    "choices": lambda: _filled(lambda n: _net("a = " + "1 if false else " * n + "2")),
    "asked conditions": lambda: _filled(_conditions),
    "else ifs": lambda: _filled(_else_ifs),
    "empty else ifs": lambda: _filled(
        lambda n: _net("if a{}" + "else if a{}" * n, arguments="a = true")
    ),
    "asserts": lambda: _filled(_lines("assert x.shape==[3,8,8]")),
    "variants": lambda: _variants(MAX_IN_CLASSES // (CLASS + 13)),
    "odd numbers": lambda: _odd_numbers(MAX_IN_CLASSES // (CLASS + 1)),
    "containers": lambda: _filled(_containers),
    "many inputs": lambda: _filled(lambda n: _net("x = concat([x" + ",x" * n + "])")),
    "long list": lambda: _filled(_long_list),
    "nested lists": lambda: _filled(
        lambda n: _net("a = [" + "[[1]]," * n + "1]", "b = a", "c = [a, b]")
    ),
    "most inputs": lambda: _net(f"x = concat([x{',x' * (MAX_PARTS - 3)}])"),
    "most names": lambda: _lines("y=x")(MAX_PARTS - 9),
    "most empty calls": lambda: _empty_calls(MAX_PARTS // 2 - 9),
    "string": lambda: _filled(lambda n: _net(f'assert true, "{"a" * n}"')),
    "comments": lambda: _filled(_lines("#a")),
    "shape comments": lambda: _filled(_lines("x=x->relu # [3,8,8]")),
    "docs": lambda: _filled(lambda n: "## word\n" * n + _net()),
    "given arguments": lambda: _filled(_given_arguments),
    "outputs": lambda: _filled(lambda n: _net(*(f"output y{i}=x->relu" for i in range(n)))),
    "splits": lambda: _filled(_splits, 4_096),
    "errors": lambda: _filled(_lines("x=x->conv(q,9)")),
    "likenesses": lambda: _filled(_likenesses),
    "slips": lambda: _slips("z{} = x -> conv(3, kernal = 3)"),
    "slips to try one by one": lambda: _slips("z{} = x -> linaer(classes, kernal = 3)"),
    "net inputs": lambda: _filled(lambda n: _net(*(f"input y{i}: [3]" for i in range(n)))),
    "syntax errors": lambda: _filled(_lines("x=x->conv(3,")),
    "shape errors": lambda: _filled(_lines("y=x->conv(3,99)")),
    "uses": lambda: _filled(_uncalled),
    "doubling blocks": lambda: _filled(_doubling_blocks),
    "chained arguments": lambda: _filled(_chained_arguments),
    "given list": lambda: _filled(_given_list),
    "facts": lambda: _filled(_facts),
    "shared layer": lambda: _filled(_shared_layer),
    "holes": lambda: _filled(_holes),
    "long paths": lambda: _filled(_long_paths),
    "allowed codes": lambda: _filled(_allowed_codes),
    "open inputs": lambda: _filled(_open_inputs),
    "halvings": lambda: _filled(_halvings),
    "upsamplings": lambda: _filled(_upsamplings),
    "reshapes": lambda: _filled(_reshapes),
    "einsums": lambda: _filled(_einsums),
    "matrices": lambda: _filled(_matrices),
    "rules": lambda: _filled(_rules),
    "towers": lambda: _filled(_towers),
    "ranges": lambda: _filled(_ranges),
    "list facts": lambda: _filled(_list_facts),
    "slices": lambda: _filled(_slices),
    "strings": lambda: _filled(_strings),
    "wide characters": lambda: _filled(_wide_characters),
    "open brackets": lambda: _filled(_open_brackets),
    "closing braces": lambda: _filled(_closing_braces),
    "unknown layers": lambda: _filled(_unknown_layers),
    "listed errors": lambda: _filled(_listed_errors),
    "long comment": lambda: _filled(_long_comment),
    "long names": lambda: _filled(_long_names),
    "list cells": lambda: _filled(_list_cells),
    "nested ifs": lambda: _filled(_nested_ifs),
    "combined": lambda: _filled(_combined),
}

# A file `dense.net` with what it imports.
IMPORTED: dict[str, Callable[[], dict[str, str]]] = {
    "imported": lambda: _imported(1_000),
    "much imported": lambda: _much_imported(300),
}

VERBS = {
    "check": "check dense.net",
    "fix": "check --fix --strict dense.net",
    "fmt": "fmt --diff dense.net",
    "shapes": "fmt --shapes --diff dense.net",
    "summarize": "summarize dense.net --net A",
    "svg": "draw dense.net --net A -o out.svg",
    "html": "draw dense.net --net A -o out.html",
    "mermaid": "draw dense.net --net A -o out.mmd",
    "diff": "diff dense.net other.net --net-a A --net-b A",
    "numpy": "compile dense.net --net A --target numpy -o out.py",
    "inference": "compile dense.net --net A --target numpy --inference -o out.py",
    "plain": "compile dense.net --net A --target numpy --plain -o out.py",
    "plan": "compile dense.net --net A --target numpy --explain-plan -o out.txt",
    "standalone": "compile dense.net --net A --target numpy --standalone -o out.py",
    "torch": "compile dense.net --net A --target torch -o out.py",
    "c": "compile dense.net --net A --target c -o out.c",
    "c train": "compile dense.net --net A --target c --train -o out.c",
    "onnx": "compile dense.net --net A --target onnx -o out.onnx",
}  # fmt: skip


# The memory of children is the most of any so far, so that a process says its own.
_MEASURED = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({_SECONDS}, {_SECONDS}))
from netspec.cli import main
code = main()
sys.stderr.write("\\n%d" % resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.stderr.flush()
sys.exit(code)
"""


@dataclass(frozen=True)
class Cost:
    """What a command took: processor seconds, megabytes, its exit code and its last words."""

    seconds: float
    megabytes: float
    code: int
    said: str


def cost(folder: Path, verb: str) -> Cost:
    """Run a verb in a folder that holds `dense.net` and `other.net`, in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run(
        [sys.executable, "-c", _MEASURED, *VERBS[verb].split()],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    *said, peak = finished.stderr.split("\n")
    return Cost(seconds, int(peak or 0) / 1024, finished.returncode, "\n".join(said).strip()[:300])


def make(folder: Path, name: str) -> None:
    """Write the files of a text into a folder: itself, and the same with one layer more."""
    files = IMPORTED[name]() if name in IMPORTED else {"dense.net": TEXTS[name]()}
    assert sum(map(len, files.values())) <= SIZE
    for file, each in files.items():
        (folder / file).write_text(each)
    text = files["dense.net"]
    head, _, tail = text.rpartition("output x")
    (folder / "other.net").write_text(f"{head}x = x -> relu\noutput x{tail}")


def costs(names: list[str], verbs: list[str]) -> Iterator[tuple[str, str, Cost]]:
    """Yield what each verb takes for each text."""
    for name, verb in itertools.product(names, verbs):
        with tempfile.TemporaryDirectory() as place:
            make(Path(place), name)
            yield name, verb, cost(Path(place), verb)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", choices=[*TEXTS, *IMPORTED], action="append")
    parser.add_argument("--verb", choices=VERBS, action="append")
    options = parser.parse_args()
    for name, verb, found in costs(
        options.text or [*TEXTS, *IMPORTED], options.verb or list(VERBS)
    ):
        said = "" if not found.code else f"  exit {found.code}: {found.said[:90]!r}"
        print(
            f"{name:14} {verb:10} {found.seconds:6.2f} s {found.megabytes:5.0f} MB{said}",
            flush=True,
        )


if __name__ == "__main__":
    main()
