"""What helps where a file has an operator that no layer stands for."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from netspec.compiler.ir.onnx_read import FileOperator
from netspec.imports.onnx.proto_file import shown_name

_SPECTRA = frozenset(["STFT", "DFT", "MelWeightMatrix"])
_CHOICES = frozenset(
    ["NonMaxSuppression", "TopK", "ArrayFeatureExtractor", "ZipMap", "LabelEncoder"]
)
_OF_BYTES = frozenset(
    "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul"
    " QuantizeLinear".split()
)
_CUT = "onnx.utils.extract_model(FILE, OUT, INPUTS, OUTPUTS)"


def way_out(operator: FileOperator, sound: Iterable[str]) -> str:
    """Return what helps with an operator; empty if nothing is known to.

    Args:
        operator: what no layer stands for.
        sound: the outputs of the file that need no such operator.
    """
    others = others_alone(sound)
    if others:
        return others
    kind = operator.operator.rpartition(".")[2]
    if kind in _OF_BYTES or kind.startswith(("QLinear", "QGemm", "QAttention")):
        return (
            "this is a model of 8-bit numbers: import the one in floating point that it was made of"
        )
    if kind in _SPECTRA and operator.outputs:
        made = shown_name(operator.outputs[0].name)
        return f"compute it outside, and cut the file behind it, with `{made}` as an input: {_CUT}"
    read = next((v.name for v in operator.inputs if v is not None and v.maker is not None), "")
    if kind in _CHOICES and read:
        return f"cut the file before it, with `{shown_name(read)}` as an output: {_CUT}"
    return ""


def way_around(sound: Iterable[str]) -> str:
    """Return what helps with an input that no net takes.

    Args:
        sound: the outputs of the file that do not depend on it.
    """
    return others_alone(sound) or f"cut the file behind what reads it: {_CUT}"


def others_alone(sound: Iterable[str]) -> str:
    """Return how the outputs that can be expressed are imported; empty if there are none."""
    others = ",".join(sound)
    if not others:
        return ""
    names = shlex.quote(shown_name(others))
    return f"other outputs do not need it: --outputs {names} imports these alone"
