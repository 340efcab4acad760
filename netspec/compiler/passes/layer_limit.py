"""The limits on the size of nets of which programs are made, so that this takes about two seconds."""

from __future__ import annotations

import os

from netspec import codes
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.onnx_form import MOST_OPERATORS
from netspec.compiler.ir.op import beyond_usual
from netspec.diagnostics import Diagnostic, Hint, NetspecError, Span

# A line of a file can ask for tens of thousands of layers, and a program takes up to a millisecond for
# each. The largest nets with a file of their own layers, imported without structure, have 1,000.
MAX_LAYERS = 1_500
# A table of layers is made in a tenth of the time.
MAX_LISTED = 10_000
# Layers with their inputs and, for a PyTorch module, calls of blocks and names of values.
MAX_PARTS = 7_500
# The layers and calls in the classes of a PyTorch module, which are recorded again with other values of
# their arguments. A class by itself takes as long as some layers do.
MAX_IN_CLASSES = 750
CLASS = 5
# The names of constants that the text of a net and its blocks gives: each is a statement of a class,
# and no net that a person or an import wrote has a tenth of them.
MAX_CONSTANTS, IN_A_BLOCK = 2_500, 3
# The layers of a C file that trains: a step of each is written forward, back and for the optimizer. It is
# made for small machines.
MAX_TRAINED_IN_C = 900
# The layers of a standalone file: two programs are made, and then copied as text.
MAX_STANDALONE = 1_300
# The layers that the text of a PyTorch module has, those of a loop counted once: the net is built thrice,
# and each is a line of two methods.
MAX_WRITTEN_FOR_TORCH = 1_100
# Who trusts a file may let it have more layers, and wait for them.
LAYERS_VARIABLE = "NETSPEC_LAYERS"


def require_few_layers(graph: Graph) -> None:
    """Check that a program or a picture can be made of a graph in short time.

    Raises:
        NetspecError: `limit/layers`.
    """
    count = sum(_layers_of(node) for node in graph.nodes)
    _require(count, MAX_LAYERS, f"{graph.name} has {{}} layers", graph.span)
    inputs = sum(len(node.inputs) for node in graph.nodes)
    require_few_parts(graph.name, count + inputs, graph.span)


def _layers_of(node: Node) -> int:
    """For how many layers a node counts: stacked recurrent layers have the parameters of each."""
    return 1 + node.op.inner_layers() + beyond_usual(len(node.parameters))


def require_few_rows(graph: Graph) -> None:
    """Check that a table of a graph's layers can be made in short time.

    Raises:
        NetspecError: `limit/layers`.
    """
    _require(len(graph.nodes), MAX_LISTED, f"{graph.name} has {{}} layers", graph.span)


def require_few_shapes(name: str, count: int, span: Span | None) -> None:
    """Check that the shapes of a file can be written down in short time: it is then read anew.

    Raises:
        NetspecError: `limit/layers`.
    """
    _require(count, MAX_LAYERS, f"{name} has {{}} lines that end in a shape", span)


def require_few_parts(name: str, count: int, span: Span | None, *, is_least: bool = False) -> None:
    """Check how many layers, inputs, calls and names a net has together.

    Args:
        name: the net's name.
        count: how many there are.
        span: where the net stands.
        is_least: whether there may be more, which are not counted yet.

    Raises:
        NetspecError: `limit/layers`.
    """
    number = "at least {}" if is_least else "{}"
    _require(
        count, MAX_PARTS, f"{name} has {number} layers, inputs of layers, calls and names", span
    )


def require_few_constants(name: str, count: int, span: Span | None) -> None:
    """Check how many constants the text of a PyTorch module has, `IN_A_BLOCK` counted for one in a block.

    Raises:
        NetspecError: `limit/layers`.
    """
    _require(
        count,
        MAX_CONSTANTS,
        f"the text of {name} names {{}} constants, {IN_A_BLOCK} counted for one in a block",
        span,
    )


def require_few_trained_in_c(graph: Graph) -> None:
    """Check that a C file that trains can be made of a graph in short time.

    Raises:
        NetspecError: `limit/layers`.
    """
    what = f"{graph.name} has {{}} layers, and a C file is to train it"
    _require(len(graph.nodes), MAX_TRAINED_IN_C, what, graph.span)


def require_few_in_a_file(graph: Graph) -> None:
    """Check that a standalone file can be made of a graph in short time.

    Raises:
        NetspecError: `limit/layers`.
    """
    require_few_layers(graph)
    what = f"{graph.name} has {{}} layers, and a standalone file is to have them"
    _require(len(graph.nodes), MAX_STANDALONE, what, graph.span)


def require_few_written(name: str, count: int, span: Span | None) -> None:
    """Check how many layers the text of a PyTorch module has, those of a loop counted once.

    Raises:
        NetspecError: `limit/layers`.
    """
    what = f"the text of {name}'s PyTorch module has {{}} layers"
    _require(count, MAX_WRITTEN_FOR_TORCH, what, span)


def require_small_classes(name: str, count: int, span: Span | None) -> None:
    """Check how many layers and calls the classes of a module have, `CLASS` more counted for each.

    Raises:
        NetspecError: `limit/layers`.
    """
    what = (
        f"the classes of {name}'s blocks have {{}} layers and calls, {CLASS} counted for each class"
    )
    _require(count, MAX_IN_CLASSES, what, span)


def most_operators() -> int:
    """Return how many operators an ONNX model may have."""
    return _most(MOST_OPERATORS)


def require_few_operators(count: int, node: Node) -> None:
    """Check that a layer does not bring the operators of an ONNX model above `most_operators`.

    Raises:
        NetspecError: `limit/layers`.
    """
    what = f"`{node.name}` ({node.op.name}) brings the model to at least {{}} ONNX operators"
    _require(count, MOST_OPERATORS, what, node.origin.span)


def _require(count: int, most: int, message: str, span: Span | None) -> None:
    limit = _most(most)
    if count > limit:
        needed = -(-count * MAX_LAYERS // most)
        hint = f"the limit is {limit:,}; {LAYERS_VARIABLE}={needed} in the environment raises it"
        text = message.format(f"{count:,}")
        raise NetspecError([Diagnostic(codes.LIMIT_LAYERS, text, span, hints=(Hint(hint),))])


def _most(usual: int) -> int:
    """How much of something is allowed, of which `usual` goes with `MAX_LAYERS`."""
    return usual * _allowed() // MAX_LAYERS


def _allowed() -> int:
    """How many layers a program may have: `MAX_LAYERS`, or more if NETSPEC_LAYERS says so."""
    given = os.environ.get(LAYERS_VARIABLE, "")
    digits = given.isascii() and given.isdigit() and len(given) <= 9
    return max(MAX_LAYERS, int(given)) if digits else MAX_LAYERS
