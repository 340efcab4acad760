"""The shapes of an ONNX file's inputs for one image, whose open sizes get names of the language."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from netspec import codes
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.sizes import Dim, Size
from netspec.diagnostics import NetspecError
from netspec.imports.onnx.file_graph import FileGraph, Given
from netspec.imports.onnx.proto_file import shown_name
from netspec.text.free_name import take_name

# What the axes of one image are called, by their number.
_USUAL = {3: "CHW", 4: "CDHW"}

# The only input, where sizes are given without its name.
ONLY = ""

# An example of the sizes of a picture, and of other axes.
_SIDE, _LENGTH = 224, 16
_COLOURS = (1, 3, 4)

# A size left open has a name of capitals, of at most so many.
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,11}")


def input_shapes(graph: FileGraph, sizes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of each input, () for a single number for each image.

    Args:
        graph: the file.
        sizes: the shapes of inputs for one image that a person has given, by the file's names; `ONLY`
            for that of the only input.

    Raises:
        NetspecError: `onnx/input`.
    """
    sizes = _by_name(graph, sizes)
    found: dict[str, Shape] = {}
    names_of = _Names()
    for name, given in graph.inputs.items():
        if name in sizes:
            _require_fitting(name, given, sizes[name])
            found[name] = sizes[name]
            continue
        rank = len(given.sizes)
        dims: list[Dim] = []
        for axis, size in enumerate(given.sizes):
            if size is None and axis and rank in _USUAL:  # the height or width of pictures
                dims.append(names_of.size("", axis, rank))
                continue
            if size is None:
                message = f"the file does not say what shape `{shown_name(name)}` has"
                help = f"say it, with the axes in the file's order: {example(name, given)}"
                raise NetspecError.simple(codes.ONNX_INPUT, message, help)
            dims.append(size if isinstance(size, int) else names_of.size(size, axis, rank))
        found[name] = tuple(dims)  # type: ignore[arg-type]  # sizes may be open
    return found


def example(name: str, given: Given) -> str:
    """Return the option that says what an input leaves open, with usual sizes."""
    rank = len(given.sizes)
    usual = [_LENGTH] * rank
    if rank == len(_USUAL[3]):
        is_last = given.sizes[-1] in _COLOURS and not isinstance(given.sizes[0], int)
        usual = [_SIDE, _SIDE, 3] if is_last else [3, _SIDE, _SIDE]
    shape = [
        size if isinstance(size, int) else other
        for size, other in zip(given.sizes, usual, strict=True)
    ]
    return _option(name, shape)


def _option(name: str, shape: Sequence[int]) -> str:
    return f"--input {shlex.quote(f'{shown_name(name)}={_joined(shape)}')}"


def _joined(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))


def _by_name(graph: FileGraph, sizes: Mapping[str, Shape]) -> Mapping[str, Shape]:
    """Return sizes by the names of inputs.

    Raises:
        NetspecError: `onnx/input` for an input that the file does not have, or one without a name in
            a file of several.
    """
    names = ", ".join(f"`{shown_name(name)}`" for name in graph.inputs)
    if ONLY in sizes and len(sizes) == len(graph.inputs) == 1:
        return dict.fromkeys(graph.inputs, sizes[ONLY])
    for name, shape in sizes.items():
        if name == ONLY:
            message = f"the sizes {_joined(shape)} have no name, and the file's inputs are {names}"
            help = f"write {_option('NAME', shape)}"
            raise NetspecError.simple(codes.ONNX_INPUT, message, help)
        if name not in graph.inputs:
            others = f"; its inputs are {names}" if names else ", nor any other"
            message = f"the file has no input `{shown_name(name)}`{others}"
            raise NetspecError.simple(codes.ONNX_INPUT, message)
    return sizes


def _require_fitting(name: str, given: Given, shape: Shape) -> None:
    """Check that sizes are not others than the file's own.

    Raises:
        NetspecError: `onnx/input`.
    """
    own = given.sizes
    if _are_alike(own, shape):
        return
    batch = "N" if given.batch is None else given.batch
    shown = ", ".join("?" if size is None else shown_name(str(size)) for size in (batch, *own))
    message = (
        f"`{shown_name(name)}` is [{shown}] in the file, the batch first, and {_joined(shape)} are no"
        " sizes of one image of it"
    )
    help = (
        f"leave the batch out: {_option(name, shape[1:])}"
        if _are_alike(own, shape[1:])
        else f"write {example(name, given)}, with the axes in the file's order"
    )
    raise NetspecError.simple(codes.ONNX_INPUT, message, help)


def _are_alike(own: Sequence[object], shape: Shape) -> bool:
    """Whether a shape has those sizes that the file does not leave open."""
    return len(own) == len(shape) and all(
        not isinstance(a, int) or a == b for a, b in zip(own, shape, strict=True)
    )


class _Names:
    """The names of the sizes that a file leaves open."""

    def __init__(self) -> None:
        self._by_text: dict[str, str] = {}
        self._taken = {"N"}  # the batch

    def size(self, text: str, axis: int, rank: int) -> Size:
        """Return the size that a file calls by a text: of equal texts the same, unless they say
        nothing, such as `?`.
        """
        if text not in self._by_text:
            name = self._fresh(_own_name(text) or _USUAL.get(rank, "TS" * rank)[axis])
            if not re.search(r"\w", text):
                return Size.named(name)
            self._by_text[text] = name
        return Size.named(self._by_text[text])

    def _fresh(self, wanted: str) -> str:
        return take_name(wanted, self._taken, joint="", stem=wanted[:9])


def _own_name(text: str) -> str:
    """Return the name that a file gives a size; empty if it can be none, or counts unknown ones."""
    own = text.upper()
    is_counted = own != text and any(c.isdigit() for c in own)
    return own if own != "N" and _NAME.fullmatch(own) and not is_counted else ""
