"""Whatever the parts of a net are called, its C file compiles, as C and as C++, behind any header."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.c_backend.emit import COptions, CSource, c_source
from netspec.compiler.c_backend.names import Names
from netspec.compiler.c_backend.train_file import TrainOptions, train_source
from netspec.compiler.ir.graph import Graph
from tests.c_backend.test_ops import FIRST, net_of
from tests.helpers import hostile_names
from tests.helpers.c_programs import CXX, GCC

# What a program may include before the header of a net.
HEADERS = """
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdarg stdbool
stddef stdint stdio stdlib string time wchar wctype
""".split()
HEADER = "header.h"


def graph_of(text: str) -> tuple[Graph, dict[str, np.ndarray]]:
    graph = netspec.loads(text).graph
    return graph, {name: np.ones(p.shape) for name, p in graph.parameters.items()}


class Files:
    """C files, and one that includes their headers behind all those of the library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.headers = [f"#include <{name}.h>\n" for name in HEADERS]

    def add(self, source: CSource) -> None:
        """Write a file; the functions of its header get names that no other has."""
        number = len(self.names)
        assert source.header is not None
        (self.folder / f"{number}.c").write_text(
            source.text.replace(HEADER, f"{number}.h"), "ascii"
        )
        (self.folder / f"{number}.h").write_text(source.header, "ascii")
        begin = rf"\b(?={source.name}_)|\b(?={source.name.upper()}_)"
        self.headers.append(re.sub(begin, f"N{number}", source.header))
        self.names.append(f"{number}.c")

    def check(self) -> None:
        """Have the files read by a compiler of C, and the headers and some files by one of C++."""
        assert self.names
        (self.folder / "user.c").write_text("".join(self.headers), "ascii")
        for compiler, language, files in (
            (GCC, ["-std=c99"], self.names),
            (CXX, ["-x", "c++"], self.names[::10]),
        ):
            compiler.require()
            flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
            done = subprocess.run(
                [compiler.command, *language, *flags, "user.c", *files],
                cwd=self.folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[:4000]


def test_names_of_inputs_outputs_labels_and_arguments(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for number, text in enumerate(hostile_names.nets()):
        graph, values = graph_of(text)
        if number % 2:
            files.add(c_source(graph, values, COptions(HEADER)))
        else:
            files.add(train_source(graph, values, TrainOptions(2, HEADER)))
    files.check()


# Names of variables that only these options have, and of the arrays of a file.
ALONE = ["best", "scores", "names", "labels", "loss", "a_classify", "a_forward", "NULL", "EOF", "I"]


def test_names_of_parameters_and_of_the_one_output(tmp_path: Path) -> None:
    files = Files(tmp_path)
    graph, values = graph_of(hostile_names.parameters(hostile_names.C))
    files.add(c_source(graph, values, COptions(HEADER)))
    files.add(train_source(graph, values, TrainOptions(2, HEADER)))
    for name in ALONE:
        graph, values = graph_of(hostile_names.alone(name))
        options = COptions(HEADER, fast=True, extern_arena=True, classes=("a", "b", "c"))
        files.add(c_source(graph, values, options))
        files.add(train_source(graph, values, TrainOptions(2, HEADER, input_gradients=True)))
    files.check()


def test_names_of_nets(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for name in hostile_names.NETS:
        graph, values = graph_of(hostile_names.named(name))
        files.add(train_source(graph, values, TrainOptions(2, HEADER)))
    files.check()


@pytest.mark.parametrize("name", ["A", "Gru", "EOF"])
def test_what_a_file_defines_is_no_name_of_the_net(name: str) -> None:
    """Every name that begins with the net's is one that `Names` keeps free."""
    graph, values = graph_of(hostile_names.named(name))
    kept = Names(name)
    large = c_source(graph, values, COptions(HEADER, classes=("a", "b", "c")))
    train = train_source(graph, values, TrainOptions(2, HEADER))
    texts = [large.text, large.header or "", train.text, train.header or ""]
    own = set(re.findall(rf"\b{kept.net}_\w+", "\n".join(texts), re.IGNORECASE))
    assert len(own) > 20
    # Those of the caller's arrays have the names of inputs and outputs in them.
    for found in own - set(re.findall(r"#define (\w+(?<!_ARENA)_NUMBERS)", large.header or "")):
        assert (kept.constant(found) if found.isupper() else kept.free(found)) != found


def test_variables_of_functions_that_have_the_callers_arrays_are_no_names() -> None:
    """An input `places` would be hidden behind the variable of that name."""
    graph, values = graph_of(net_of(FIRST))
    names = Names("A")
    for source in (c_source(graph, values), train_source(graph, values, TrainOptions(2))):
        found = set()
        for body in re.findall(
            r"^void \w+_(?:predict|forward|backward)\(.*?^}", source.text, re.M | re.S
        ):
            found |= set(re.findall(r"\b(?:real|int) \*?(\w+) =", body))
        assert len(found) > 8
        assert {name for name in found if names.free(name) == name} == set()
