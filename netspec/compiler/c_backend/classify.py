"""The functions of a C file that name the likeliest class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.compiler.c_backend.c_text import literal
from netspec.compiler.c_backend.definitions import wrapped
from netspec.compiler.c_backend.kernel_call import c_call
from netspec.compiler.c_backend.loops import indented
from netspec.compiler.ir.graph import Graph


def is_distribution(graph: Graph) -> bool:
    """Return True if the only output of a net is probabilities already."""
    (value,) = graph.outputs.values()
    node = graph.by_name.get(value)
    return node is not None and node.op.is_distribution


def classify_functions(
    net: str,
    head: str,
    predicted: Sequence[str],
    scores: str,
    classes: Sequence[str],
    *,
    done: bool,
) -> Iterator[str]:
    """Yield the function that returns the likeliest class, and the one that returns its name.

    Args:
        net: what the functions' names begin with.
        head: the head of the first one.
        predicted: the lines that write the scores.
        scores: the pointer to them.
        classes: the names.
        done: whether they are probabilities already.
    """
    lines = [*predicted]
    lines += [] if done else c_call("softmax", scores, scores, 1, len(classes), 1)
    lines += likeliest(scores, len(classes))
    yield "\n".join([*wrapped(head), "{", *indented(lines), "}"])
    shown = ",\n".join(f"        {literal(name)}" for name in classes)
    yield (
        f"const char *{net}_class_name(int number)\n{{\n"
        f"    static const char *const names[{len(classes)}] = {{\n{shown}\n    }};\n"
        f'    return number >= 0 && number < {len(classes)} ? names[number] : "";\n}}'
    )


def likeliest(scores: str, count: int) -> list[str]:
    """Return the lines that return the number of the largest of so many scores."""
    return [
        "int best = 0;",
        f"for (int i = 1; i < {count}; i++)",
        f"    if ({scores}[i] > {scores}[best])",
        "        best = i;",
        "return best;",
    ]


def declared_classify(net: str, declared: Sequence[str], refuses: str = "") -> list[str]:
    """Return the declarations of both.

    Args:
        net: what the functions' names begin with.
        declared: the declaration of the first one.
        refuses: what is said of when it cannot do its work.
    """
    return [
        "/* Writes the probabilities of the classes, and returns the number of the likeliest."
        f"{refuses} */",
        *declared,
        "",
        f"const char *{net}_class_name(int number);",
        "",
    ]
