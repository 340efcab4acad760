"""What a file that was written for inference lacks, which matters to who trains it further."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from netspec.compiler.ir.onnx_read import FileOperator
from netspec.imports.onnx.file_graph import FileGraph

# What PyTorch's older exporter calls the numbers of a convolution in which it has put a batch norm. A
# linear layer's are called so for a turn alone.
_FOLDED = re.compile(r"onnx::Conv\w*_\d+")
_CONVOLUTIONS = frozenset(["Conv", "ConvTranspose"])
_OF_NORM = ".running_var"


def notes_for_training(graph: FileGraph, ends: Iterable[FileOperator]) -> Iterator[str]:
    """Yield what to know before training.

    Args:
        graph: the file.
        ends: the operators that compute its outputs.
    """
    if _has_folded(graph):
        yield (
            "the file is one for inference: batch norms are folded into the layers before them, and"
            " dropout is gone; write in what training needs"
        )
    if any(op.operator == "Sigmoid" for op in ends):
        yield (
            "the net ends in `sigmoid`: leave it out before training with the loss `bce`, which has"
            " its own"
        )


def _has_folded(graph: FileGraph) -> bool:
    """Whether an exporter of PyTorch has put batch norms into convolutions. The newer one says which
    buffers there were.
    """
    kept = {value.name for value in graph.stored}
    biases = (op.given(2) for op in graph.operators if op.operator in _CONVOLUTIONS)
    is_gone = any(name.endswith(_OF_NORM) and name not in kept for name in graph.kinds)
    return is_gone or any(b is not None and _FOLDED.fullmatch(b.name) for b in biases)
