"""The shapes of an ONNX file's inputs for one image, whose open sizes get names of the language."""

from __future__ import annotations

import re
from collections.abc import Mapping

from netspec import codes
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.sizes import Dim, Size
from netspec.diagnostics import NetspecError
from netspec.imports.onnx.file_graph import FileGraph
from netspec.imports.onnx.proto_file import shown_name
from netspec.text.free_name import take_name

# What the axes of one image are called, by their number.
_USUAL = {3: "CHW", 4: "CDHW"}

# A size left open has a name of capitals, of at most so many.
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,11}")


def input_shapes(graph: FileGraph, sizes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shape of each input, () for a single number for each image.

    Args:
        graph: the file.
        sizes: the shapes of inputs for one image that a person has given.

    Raises:
        NetspecError: `onnx/input`.
    """
    unknown = [name for name in sizes if name not in graph.inputs]
    if unknown:
        names = ", ".join(f"`{shown_name(name)}`" for name in graph.inputs)
        message = f"the file has no input `{unknown[0]}`; its inputs are {names}"
        raise NetspecError.simple(codes.ONNX_INPUT, message)
    found: dict[str, Shape] = {}
    names_of = _Names()
    for name, given in graph.inputs.items():
        if name in sizes:
            found[name] = sizes[name]
            continue
        rank = len(given.sizes)
        dims: list[Dim] = []
        for axis, size in enumerate(given.sizes):
            if size is None and axis and rank in _USUAL:  # the height or width of pictures
                dims.append(names_of.size("", axis, rank))
                continue
            if size is None:
                example = f"--input {shown_name(name)}=3,224,224"
                message = f"the file does not say what shape `{shown_name(name)}` has"
                raise NetspecError.simple(codes.ONNX_INPUT, message, f"say it: {example}")
            dims.append(size if isinstance(size, int) else names_of.size(size, axis, rank))
        found[name] = tuple(dims)  # type: ignore[arg-type]  # sizes may be open
    return found


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
