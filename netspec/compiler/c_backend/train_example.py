"""A `main` that trains a net on pictures in MNIST's files, with the C file of the net."""

from __future__ import annotations

from netspec.compiler.c_backend.c_text import comment
from netspec.compiler.c_backend.templates import written
from netspec.compiler.ir.graph import Graph

# How the parameters begin if they are a file of their own.
READ = """\
    FILE *file = fopen("{stem}.weights", "rb");
    if (!file || fread(parameters, sizeof(parameters[0]), {upper}_PARAMETERS, file) != {upper}_PARAMETERS)
        return fprintf(stderr, "cannot read {stem}.weights\\n"), 1;
    fclose(file);"""


def example_main(graph: Graph, name: str, stem: str, *, in_file: bool) -> str:
    """Return the text of `STEM_main.c`, for the files `STEM.c` and `STEM.h` of `TrainOptions.example`.

    Args:
        graph: a net with one input and one output of scores.
        name: what the names of its functions begin with, `CSource.name`.
        stem: the name of the C file without its ending, which C can include.
        in_file: whether the numbers to begin with are a file of their own.
    """
    where = graph.span.source.file_name if graph.span is not None else graph.name
    begin = f"    {name}_initial_parameters(parameters);"
    if in_file:
        begin = READ.format(stem=stem, upper=name.upper())
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
            BEGIN=begin,
        )
        + "\n"
    )
