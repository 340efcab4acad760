"""A `main` that trains a net on pictures in MNIST's files, with the C file of the net."""

from __future__ import annotations

import math

from netspec.compiler.c_backend.c_text import comment, identifier
from netspec.compiler.c_backend.templates import written
from netspec.compiler.ir.graph import Graph

# How the parameters begin if they are a file of their own.
READ = """\
    long size;
    unsigned char *numbers = read_file("{stem}.weights", 0, &size);
    for (long i = 0; i < size && i < (long)sizeof parameters; i++)
        ((unsigned char *)parameters)[i] = numbers[i];
    free(numbers);"""


def example_main(graph: Graph, stem: str, *, in_file: bool) -> str:
    """Return the text of `STEM_main.c`, for the files `STEM.c` and `STEM.h`.

    Args:
        graph: a net with one input and one output of scores.
        stem: the name of the C file without its ending, which C can include.
        in_file: whether the numbers to begin with are a file of their own.
    """
    ((_, shape),) = graph.inputs.items()
    ((_, value),) = graph.outputs.items()
    name = identifier(graph.name).lower().strip("_") or "net"
    where = graph.span.source.file_name if graph.span is not None else graph.name
    begin = READ.format(stem=stem) if in_file else f"    {name}_initial_parameters(parameters);"
    return (
        written(
            "main",
            name,
            TITLE=comment(graph.name),
            WHERE=comment(where),
            FILE=comment(f"{stem}.c"),
            MAIN=comment(f"{stem}_main.c"),
            HEADER=f"{stem}.h",
            WEIGHTS=f"{name}.safetensors",
            SIZE=str(math.prod(shape)),
            CLASSES=str(graph.shape_of(value)[0]),
            BEGIN=begin,
        )
        + "\n"
    )
