"""Folds each batch norm into the convolution or the linear layer directly before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netspec.compiler.ir.onnx_form import OnnxNode, OnnxTensor, OnnxValue
from netspec.compiler.onnx_backend.program import Array, OnnxProgram

# The operators whose output channels a norm can be folded into.
_LAYERS = ("Conv", "ConvTranspose", "Gemm")


def fold_batch_norm(program: OnnxProgram) -> OnnxProgram:
    """Return a program in which norms behind a layer are part of its weight and bias.

    W' = W s and b' = (b - mean) s + bias for each output channel, with s = weight / sqrt(var + eps).
    A layer whose value or weight is read elsewhere stays, and so does its norm.
    """
    return _Folding(program).folded()


class _Folding:
    """Folds the norms of one program."""

    def __init__(self, program: OnnxProgram) -> None:
        self._program = program
        self._uses = program.uses()
        self._made_by = {value: node for node in program.nodes for value in node.outputs}
        self._names = {value: name for name, (value, _) in program.parameters.items()}
        self._parameters = dict(program.parameters)

    def folded(self) -> OnnxProgram:
        """Return the program."""
        layers: dict[int, OnnxNode] = {}
        gone: set[int] = set()
        for norm in self._program.nodes:
            layer = self._layer_before(norm)
            if layer is not None:
                layers[id(layer)] = self._joined(layer, norm)
                gone.add(id(norm))
        nodes = [layers.get(id(n), n) for n in self._program.nodes if id(n) not in gone]
        program = replace(self._program, nodes=tuple(nodes), parameters=self._parameters)
        return program.without_unused()

    def _layer_before(self, norm: OnnxNode) -> OnnxNode | None:
        if norm.operator != "BatchNormalization" or norm.inputs[0] is None:
            return None
        layer = self._made_by.get(norm.inputs[0])
        if layer is None or layer.operator not in _LAYERS or self._uses[norm.inputs[0]] > 1:
            return None
        own = [value for value in layer.inputs[1:] if value is not None]
        return layer if all(v in self._names and self._uses[v] == 1 for v in own) else None

    def _joined(self, layer: OnnxNode, norm: OnnxNode) -> OnnxNode:
        scale, shift, mean, var = (self._array(value) for value in norm.inputs[1:])
        eps = norm.attributes["epsilon"]
        assert isinstance(eps, float)
        factors = scale / np.sqrt(var + eps)
        x, weight, *biases = layer.inputs
        assert weight is not None
        bias = biases[0] if biases else None
        offsets = shift - (mean - (0 if bias is None else self._array(bias))) * factors
        self._put(self._names[weight], weight, _scaled(layer, self._array(weight), factors))
        if bias is None:
            bias = OnnxValue()
            name = f"{self._names[weight].removesuffix('weight')}bias"
        else:
            name = self._names[bias]
        self._put(name, bias, offsets)
        return replace(layer, inputs=(x, weight, bias), outputs=norm.outputs)

    def _put(self, name: str, value: OnnxValue, array: Array) -> None:
        self._parameters[name] = value, array.astype(np.float32)

    def _array(self, value: OnnxValue | None) -> Array:
        """Return a parameter or a constant in double precision."""
        assert value is not None
        if value in self._names:
            return self._parameters[self._names[value]][1].astype(np.float64)
        tensor = self._made_by[value].attributes["value"]
        assert isinstance(tensor, OnnxTensor)
        return np.array(tensor.numbers, np.float64).reshape(tensor.shape)


def _scaled(layer: OnnxNode, weight: Array, factors: Array) -> Array:
    """Return a weight times a factor for each output channel."""
    if layer.operator != "ConvTranspose":  # (out, in, ...)
        return weight * factors.reshape(-1, *(1,) * (weight.ndim - 1))
    groups = layer.attributes["group"]
    assert isinstance(groups, int)
    split = weight.reshape(groups, -1, *weight.shape[1:])  # (in, out of a group, ...)
    by_group = factors.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
    scaled: Array = (split * by_group).reshape(weight.shape)
    return scaled
