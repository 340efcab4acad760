"""Layers over sequences: embeddings, attention, recurrent layers and transformers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from tests.pytorch_samples.functions import WRITERS, Sample, Writer, arguments, writes
from tests.pytorch_samples.layers import affine_norm
from tests.pytorch_samples.written import InexpressibleError, Written, number

# A key that is hidden gets this score, since 0 times infinity is not 0.
HIDDEN = -1e300


@writes("nn.functional.embedding")
def _embedding(to: Written, s: Sample) -> str:
    (index,) = arguments(s, "index")
    to.parameter("table.weight", s.input)
    vocabulary, width = s.input.shape
    return f"({to.batch(index) if index.ndim > 1 else to.whole(index)}" + (
        f" -> table: embedding({vocabulary}, {width}))"
    )


@writes("nn.Embedding")
def _embedding_module(to: Written, s: Sample) -> str:
    module = s.kwargs["module"]
    if module.padding_idx is not None or module.max_norm is not None:
        raise InexpressibleError("a vector that is not learned")
    to.parameter("table.weight", module.weight)
    vocabulary, width = module.weight.shape
    return f"({to.batch(s.input)} -> table: embedding({vocabulary}, {width}))"


# ---------------------------------------------------------------------------------- recurrent ones


def _options(module: Any) -> str:
    kind = getattr(module, "nonlinearity", "tanh")
    shown = f', nonlinearity = "{kind}"' if kind != "tanh" else ""
    return f"bias = {number(module.bias)}{shown}"


def _states(to: Written, given: Any) -> list[str]:
    states = given if isinstance(given, tuple) else [given]
    return [to.whole(state, _plain(state)) for state in states if state is not None]


def _plain(state: torch.Tensor) -> tuple[int, ...]:
    """The shape of a first state, without an axis for a single layer in one direction."""
    shape = tuple(state.shape)
    return shape[1:] if len(shape) == 2 and shape[0] == 1 else shape


def _recurrent(name: str) -> Writer:
    def write(to: Written, s: Sample) -> str:
        module = s.kwargs["module"]
        if not isinstance(s.input, torch.Tensor):
            raise InexpressibleError("sequences of several lengths in one array")
        if getattr(module, "proj_size", 0):
            raise InexpressibleError("a state that is projected")
        if s.input.ndim == 3:
            raise InexpressibleError("a batch of sequences with a state for each")
        for own, tensor in module.named_parameters():
            to.parameter(f"layer.{own}", tensor)
        values = [to.whole(s.input), *_states(to, s.args[0] if s.args else None)]
        return (
            f"(({', '.join(values)}) -> layer: {name}({module.hidden_size},"
            f" layers = {module.num_layers}, bidirectional = {number(module.bidirectional)},"
            f" {_options(module)}))"
        )

    return write


def _cell(name: str) -> Writer:
    """One step: a sequence of length 1."""

    def write(to: Written, s: Sample) -> str:
        module = s.kwargs["module"]
        for own, tensor in module.named_parameters():
            to.parameter(f"layer.{own}_l0", tensor)
        values = [to.whole(s.input, (1, *s.input.shape)), *_states(to, s.args[0])]
        size = module.hidden_size
        return f"(({', '.join(values)}) -> layer: {name}({size}, {_options(module)}))"

    return write


WRITERS |= {f"nn.{kind}": _recurrent(kind.lower()) for kind in ("RNN", "GRU", "LSTM")}
WRITERS |= {f"nn.{kind}Cell": _cell(kind.lower()) for kind in ("RNN", "GRU", "LSTM")}


# -------------------------------------------------------------------------------------- attention


@writes("nn.functional.scaled_dot_product_attention")
def _attention(to: Written, s: Sample) -> str:
    key, value, mask, p, causal, scale, grouped = arguments(
        s, "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"
    )
    if p:
        raise InexpressibleError("dropout inside attention, which draws numbers of its own")
    given = (s.input, key, value)
    apart = 3 if grouped else 2  # the axes that are not repeated
    front = torch.broadcast_shapes(*(t.shape[:-apart] for t in given))
    q, k, v = (_folded(to, t, (*front, *t.shape[-apart:-2])) for t in given)
    if scale is not None:
        q = f"{q} * {scale * s.input.shape[-1] ** 0.5!r}"
    bias = ""
    if mask is not None:
        mask = mask if mask.dtype != torch.bool else _scores(~mask)
        bias = f", {to.whole(mask)}"
        if mask.ndim > 2:
            bias = f", {_folded(to, mask, (*front, *s.input.shape[-apart:-2]))}"
    return f"attention({q}, {k}, {v}{bias}, causal = {number(bool(causal))})"


def _folded(to: Written, tensor: torch.Tensor, front: tuple[int, ...]) -> str:
    """A tensor as [heads, rows, columns] with these axes in front, all of which are heads."""
    own = (1,) * (len(front) + 2 - tensor.ndim) + tuple(tensor.shape)
    value = to.whole(tensor, own)
    if own[:-2] != front:
        value = f"expand({value}, {[*front, -1, -1]})"
    if len(front) == 1:
        return value
    return f"reshape({value}, {[math.prod(front), *own[-2:]]})"


# ----------------------------------------------------------------------------------- transformers


class Transformer:
    """Writes the parts of a transformer. Each value is [N, length, features] of one image."""

    def __init__(self, to: Written) -> None:
        self.to = to
        self.count = 0

    def value(self, formula: str) -> str:
        """Give a value a name."""
        self.count += 1
        self.to.lines.append(f"v{self.count} = {formula}")
        return f"v{self.count}"

    def linear(self, path: str, module: Any, value: str) -> str:
        """An `nn.Linear`."""
        self.to.parameter(f"{path}.weight", module.weight)
        self.to.parameter(f"{path}.bias", module.bias)
        bias = number(module.bias is not None)
        return self.value(f"{value} -> {path}: linear({len(module.weight)}, bias = {bias})")

    def norm(self, path: str, module: Any, value: str) -> str:
        """An `nn.LayerNorm`."""
        return self.value(
            affine_norm(
                self.to, module.weight, module.bias, value, "layer_norm(axes = 1, ", module.eps,
                path=path, rank=3,
            )
        )  # fmt: skip

    def attention(
        self, path: str, module: Any, values: list[str], mask: torch.Tensor | None
    ) -> str:
        """An `nn.MultiheadAttention`, written out. `mask` is added to the scores."""
        wide, heads = module.embed_dim, module.num_heads
        self.to.parameter(f"{path}_in.weight", module.in_proj_weight)
        self.to.parameter(f"{path}_in.bias", module.in_proj_bias)
        bias = number(module.in_proj_bias is not None)
        self.to.lines.append(f"layer {path}_in = linear({3 * wide}, bias = {bias})")
        parts = []
        for i, (value, more) in enumerate(
            zip(values, (None, module.bias_k, module.bias_v), strict=True)
        ):
            part = self.value(f"slice({path}_in({value}), 3, {i * wide}, {(i + 1) * wide})")
            if more is not None:
                kind = "_kv"[i]
                self.to.lines.append(f"parameter {path}_{kind}: [1, 1, {wide}] = zeros")
                self.to.parameter(f"{path}_{kind}", more)
                part = self.value(f"concat({part}, unsqueeze({path}_{kind}, 1), axis = 2)")
            if i and module.add_zero_attn:
                part = self.value(f"concat({part}, 0 * slice({part}, 2, 0, 1), axis = 2)")
            cut = f"reshape({part}, [{part}.shape[0], -1, {heads}, {wide // heads}])"
            cut = f"permute({cut}, [1, 3, 2, 4])"
            parts.append(
                self.value(f"reshape({cut}, [{heads} * {part}.shape[0], -1, {wide // heads}])")
            )
        if mask is not None:
            parts.append(self.to.whole(mask))
        found = self.value(f"attention({', '.join(parts)})")
        x = values[0]
        rows = f"reshape({found}, [{x}.shape[0], {heads}, {x}.shape[1], {wide // heads}])"
        rows = f"reshape(permute({rows}, [1, 3, 2, 4]), {x}.shape)"
        return self.linear(f"{path}_out", module.out_proj, rows)

    def feed_forward(self, path: str, module: Any, value: str) -> str:
        """The two linear layers of a transformer's layer."""
        kind = module.activation.__name__
        inner = self.linear(f"{path}_linear1", module.linear1, value)
        return self.linear(f"{path}_linear2", module.linear2, f"{kind}({inner})")

    def layer(self, path: str, module: Any, x: str, *others: tuple[Any, list[str], Any]) -> str:
        """A layer: attentions, then the feed-forward part, each added to what it is given.

        An attention is its module, its keys and values (none: those of the layer itself), its mask.
        """
        norms = [getattr(module, f"norm{i}") for i in range(1, len(others) + 2)]
        for i, norm in enumerate(norms):
            name = f"{path}_norm{i}"
            y = self.norm(name, norm, x) if module.norm_first else x
            if i < len(others):
                attention, kept, mask = others[i]
                y = self.attention(f"{path}_at{i}", attention, [y, *(kept or [y, y])], mask)
            else:
                y = self.feed_forward(path, module, y)
            x = self.value(f"{x} + {y}")
            x = x if module.norm_first else self.norm(name, norm, x)
        return x

    def encoder(self, path: str, modules: Any, norm: Any, x: str, mask: Any) -> str:
        """Encoder layers, and a norm behind them."""
        for i, module in enumerate(modules):
            x = self.layer(f"{path}{i}", module, x, (module.self_attn, [], mask))
        return x if norm is None else self.norm(f"{path}_norm", norm, x)

    def decoder(
        self, path: str, modules: Any, norm: Any, x: str, memory: str, masks: list[Any]
    ) -> str:
        """Decoder layers, which also look at `memory`, and a norm behind them."""
        for i, module in enumerate(modules):
            own = (module.self_attn, [], masks[0])
            other = (module.multihead_attn, [memory, memory], masks[1])
            x = self.layer(f"{path}{i}", module, x, own, other)
        return x if norm is None else self.norm(f"{path}_norm", norm, x)

    def sequences(self, tensor: torch.Tensor, batch_first: bool) -> str:
        """A tensor as [N, length, features]."""
        if tensor.ndim == 2:
            return self.to.whole(tensor, (1, *tensor.shape))
        value = self.to.whole(tensor)
        return value if batch_first else self.value(f"permute({value}, [2, 1, 3])")

    def back(self, value: str, like: torch.Tensor, batch_first: bool) -> str:
        """A value with its axes in the order of a tensor."""
        return value if batch_first or like.ndim == 2 else f"permute({value}, [2, 1, 3])"


def added(
    heads: int, queries: int, keys: int, mask: Any, hidden: Any, more: int = 0
) -> torch.Tensor | None:
    """Return what masks add to the scores of all heads of all sequences, or None for no mask.

    `hidden` says which keys are hidden in each sequence; `more` keys behind them are seen by all.
    """
    if mask is None and hidden is None:
        return None
    sequences = len(hidden) if hidden is not None and hidden.ndim == 2 else 1
    total = torch.zeros(sequences, heads, queries, keys, dtype=torch.float64)
    if mask is not None:
        total = total + (_scores(mask) if mask.ndim == 2 else _scores(mask)[None])
    if hidden is not None:
        total = total + _scores(hidden).reshape(sequences, 1, 1, keys)
    total = total.clamp(min=HIDDEN).reshape(-1, queries, keys)
    return nn.functional.pad(total, (0, more))


def _scores(mask: torch.Tensor) -> torch.Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=torch.float64).masked_fill(mask, HIDDEN)


@writes("nn.MultiheadAttention")
def _multihead_attention(to: Written, s: Sample) -> str:
    module, heads = s.kwargs["module"], s.kwargs["module"].num_heads
    if s.input.ndim != 2:
        raise InexpressibleError("a batch of sequences with a mask")
    given = (s.input, *s.args[:2])
    hidden, mask = s.kwargs.get("key_padding_mask"), s.kwargs.get("attn_mask")
    is_plain = module.in_proj_bias is not None and module.bias_k is None
    if is_plain and not module.add_zero_attn and mask is None and hidden is None:
        for own, tensor in module.named_parameters():
            to.parameter(f"layer.{own}", tensor)
        values = ", ".join(map(to.whole, given))
        return f"(({values}) -> layer: multihead_attention({heads}))"
    more = (module.bias_k is not None) + module.add_zero_attn
    total = added(heads, len(s.input), len(given[1]), mask, hidden, more)
    write = Transformer(to)
    values = [write.sequences(tensor, batch_first=True) for tensor in given]
    return write.attention("a", module, values, total)


@writes("nn.TransformerEncoderLayer", "nn.TransformerEncoder")
def _encoder(to: Written, s: Sample) -> str:
    module, write = s.kwargs["module"], Transformer(to)
    modules = getattr(module, "layers", [module])
    own = modules[0].self_attn
    length = s.input.shape[-2 if s.input.ndim == 2 or own.batch_first else 0]
    mask = s.kwargs.get("src_mask", s.kwargs.get("mask"))
    hidden = s.kwargs.get("src_key_padding_mask")
    total = _for_all(added(own.num_heads, length, length, mask, hidden), s.input, own)
    x = write.sequences(s.input, own.batch_first)
    x = write.encoder("e", modules, getattr(module, "norm", None), x, total)
    return write.back(x, s.input, own.batch_first)


def _for_all(mask: torch.Tensor | None, x: torch.Tensor, own: Any) -> torch.Tensor | None:
    """Repeat a mask of all heads for each sequence of a batch, if it has not its own already."""
    if mask is None or x.ndim == 2 or len(mask) > own.num_heads:
        return mask
    return mask.repeat(x.shape[0 if own.batch_first else 1], 1, 1)


@writes("nn.TransformerDecoderLayer", "nn.Transformer")
def _decoder(to: Written, s: Sample) -> str:
    module, write, k = s.kwargs["module"], Transformer(to), s.kwargs
    whole = isinstance(module, nn.Transformer)
    modules = module.decoder.layers if whole else [module]
    own = modules[0].self_attn
    first, second = s.input, s.args[0]
    source, target = (first, second) if whole else (second, first)
    lengths = [t.shape[-2 if t.ndim == 2 or own.batch_first else 0] for t in (source, target)]

    def mask(to_: int, from_: int, name: str, hidden: str) -> torch.Tensor | None:
        scores = added(own.num_heads, to_, from_, k.get(name), k.get(hidden))
        return _for_all(scores, target, own)

    t, m = lengths[1], lengths[0]
    masks = [
        mask(t, t, "tgt_mask", "tgt_key_padding_mask"),
        mask(t, m, "memory_mask", "memory_key_padding_mask"),
    ]
    memory = write.sequences(source, own.batch_first)
    if whole:
        of_source = mask(m, m, "src_mask", "src_key_padding_mask")
        encoder = module.encoder
        memory = write.encoder("e", encoder.layers, encoder.norm, memory, of_source)
    x = write.sequences(target, own.batch_first)
    norm = module.decoder.norm if whole else None
    x = write.decoder("d", modules, norm, x, memory, masks)
    return write.back(x, target, own.batch_first)
