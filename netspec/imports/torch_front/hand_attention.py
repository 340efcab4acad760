"""Attention that a module writes out: one operator is put in place of its products and softmax.

`softmax(q k^T / sqrt(D)) v` is how papers and most modules have it, with a mask of later keys and
dropout of what a query sees. Only PyTorch's own scale, and no mask but the causal one, is put
together: what else stands in such lines stays as it is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from netspec.imports.torch_front.number_kinds import computed, operator_name
from netspec.runtime.models.torch_build import require_torch

if TYPE_CHECKING:
    import torch
    from torch import fx
    from torch.export import ExportedProgram

_PRODUCTS = frozenset(["matmul", "bmm"])
_SCORES_EINSUM = frozenset(["bhqd,bhkd->bhqk", "bqd,bkd->bqk"])
_VALUES_EINSUM = frozenset(["bhqk,bhkd->bhqd", "bqk,bkd->bqd"])
# What is put in the place of a hidden score, or added to it, is at most this: it then has no share.
_HIDDEN = -1e4
_RANKS = (3, 4)


@dataclass(frozen=True, slots=True)
class _Written:
    """What an attention that is written out reads, and the nodes that are gone with it."""

    query: fx.Node
    key: fx.Node
    value: fx.Node
    is_key_turned: bool
    is_causal: bool
    dropout: float


def with_attention(program: ExportedProgram) -> None:
    """Put `scaled_dot_product_attention` in place of what stands for it in a trace."""
    torch = require_torch()
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if operator_name(node) == "_assert_tensor_metadata":  # it reads a value, and gives none
            graph.erase_node(node)
    reader = _HandAttention(program)
    for node in list(graph.nodes):
        found = reader.written(node)
        if found is None:
            continue
        with graph.inserting_before(node):
            key = found.key
            if found.is_key_turned:
                key = graph.call_function(torch.ops.aten.transpose.int, (key, -2, -1))
                key.meta = {**node.meta, "val": found.key.meta["val"].transpose(-2, -1)}
            given = (found.query, key, found.value, None, found.dropout, found.is_causal)
            made = graph.call_function(torch.ops.aten.scaled_dot_product_attention.default, given)
        made.meta = dict(node.meta)
        node.replace_all_uses_with(made)
        _erase(graph, node)
    for node in list(graph.nodes):
        if operator_name(node) == "scaled_dot_product_attention":
            _share_heads(graph, node)


def _share_heads(graph: fx.Graph, node: fx.Node) -> None:
    """Give an attention key and value as they were before each head was repeated for those of the
    query that share it: the layer does that itself.
    """
    query, key, value, *_ = node.args
    sources = _before_repeats(key), _before_repeats(value)
    if None in sources or sources[0].meta["val"].shape[1] != sources[1].meta["val"].shape[1]:
        return
    node.args = (query, *sources, *node.args[3:])
    for repeated in dict.fromkeys((key, value)):
        if not repeated.users:
            _erase(graph, repeated)


def _before_repeats(node: Any) -> Any:
    """Return the value of which a node repeats each head one by one: by `repeat_interleave`, or with
    an axis of its own, as Llama's `repeat_kv` does. None if it does not.
    """
    if not _is_call(node, "repeat_interleave", "view", "reshape") or node.meta["val"].dim() != 4:
        return None
    heads = node.meta["val"].shape[1]
    if operator_name(node) == "repeat_interleave":
        source, repeats, *axes = node.args
        axis = axes[0] if axes else node.kwargs.get("dim")
        is_by_head = isinstance(repeats, int) and axis in (1, -3)
        return source if is_by_head else None
    wide = _before_slices(node.args[0])
    if not _is_call(wide, "expand"):
        return None
    apart = _before_slices(wide.args[0])
    if not _is_call(apart, "unsqueeze") or apart.args[1] % apart.meta["val"].dim() != 2:
        return None
    source = _before_slices(apart.args[0])
    shape = wide.meta["val"].shape
    is_by_head = source.meta["val"].dim() == 4 and shape[1] * shape[2] == heads
    return source if is_by_head else None


def _before_slices(node: Any) -> Any:
    """Return the value of which nodes take all that there is."""
    while _is_call(node, "slice") and str(node.args[0].meta["val"].shape) == str(
        node.meta["val"].shape
    ):
        node = node.args[0]
    return node


def _is_call(node: Any, *names: str) -> bool:
    return hasattr(node, "meta") and operator_name(node) in names


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    """Erase a node that nothing reads, and those that only it read."""
    before = node.all_input_nodes
    graph.erase_node(node)
    for other in before:
        if not other.users and other.op == "call_function":
            _erase(graph, other)


@dataclass
class _HandAttention:
    program: ExportedProgram
    _known: dict[fx.Node, torch.Tensor | None] = field(default_factory=dict)

    def written(self, node: fx.Node) -> _Written | None:
        """Return the attention that a node ends; None if it ends none."""
        pair = _product(node, _VALUES_EINSUM)
        if pair is None:
            return None
        shares, value = pair
        dropout = 0.0
        if _is_inner(shares) and operator_name(shares) in ("dropout", "dropout_"):
            rate, is_on = shares.args[1], shares.args[2]
            dropout = float(rate) if is_on else 0.0
            shares = shares.args[0]
        if not _is_inner(shares) or operator_name(shares) != "softmax" or not _along_last(shares):
            return None
        scores = shares.args[0]
        unmasked = self._unmasked(scores)
        scores, is_causal = (scores, False) if unmasked is None else (unmasked, True)
        parts = self._scaled_product(scores)
        if parts is None:
            return None
        query, key, is_key_turned = parts
        if not _fit(query, key, value, is_key_turned):
            return None
        return _Written(query, key, value, is_key_turned, is_causal, dropout)

    def _unmasked(self, node: Any) -> fx.Node | None:
        """Return the scores in which a node hides later keys; None if it is no such node."""
        if not _is_inner(node):
            return None
        name, args = operator_name(node), node.args
        hidden: Any = None
        scores: Any = None
        if name in ("masked_fill", "masked_fill_") and self._is_low(args[2]):
            scores, hidden = args[0], self._numbers(args[1])
        elif name == "where" and len(args) == 3 and self._is_low(args[1]):
            scores, hidden = args[2], self._numbers(args[0])
        elif name == "where" and len(args) == 3 and self._is_low(args[2]):
            shown = self._numbers(args[0])
            scores, hidden = args[1], None if shown is None else ~shown.bool()
        elif name in ("add", "add_") and len(args) == 2 and not node.kwargs:
            for one, other in (args, args[::-1]):
                added = self._numbers(other)
                if added is not None and _hides_or_leaves(added):
                    scores, hidden = one, added <= _HIDDEN
        if hidden is None or not hasattr(scores, "meta"):
            return None
        return scores if _is_later(hidden, node.meta["val"].shape) else None

    def _is_low(self, given: Any) -> bool:
        """Whether an argument is a number that leaves a score no share."""
        number = self._numbers(given)
        return number is not None and number.numel() == 1 and float(number) <= _HIDDEN

    def _scaled_product(self, scores: Any) -> tuple[fx.Node, fx.Node, bool] | None:
        """Return query, key, and whether the key's last axes have changed places, of scores that
        have the usual scale.
        """
        if not _is_inner(scores):
            return None
        found, factor = self._factor(scores)
        pair = _product(found, _SCORES_EINSUM) if _is_inner(found) else None
        if pair is None:
            return None
        is_turned = operator_name(found) in _PRODUCTS
        query, of_query = self._factor(pair[0])
        key, of_key = self._factor(pair[1])
        if is_turned and (straight := _turned_back(key)) is not None:
            key, inner = self._factor(straight)
            of_key, is_turned = of_key * inner, False
        if not (hasattr(query, "meta") and hasattr(key, "meta")):
            return None
        features = query.meta["val"].shape[-1]
        scale = factor * of_query * of_key
        if not isinstance(features, int) or not math.isclose(
            scale * math.sqrt(features), 1, rel_tol=1e-6
        ):
            return None
        return query, key, is_turned

    def _factor(self, node: Any) -> tuple[Any, float]:
        """Return what a node multiplies by one number, and the number; the node itself and 1 else."""
        if not _is_inner(node):
            return node, 1.0
        name, args = operator_name(node), node.args
        if name not in ("mul", "mul_", "div", "div_") or len(args) != 2 or node.kwargs:
            return node, 1.0
        pairs = (args, args[::-1]) if name.startswith("mul") else (args,)
        for value, number in pairs:
            held = self._numbers(number)
            if held is not None and held.numel() == 1 and float(held) and hasattr(value, "meta"):
                factor = float(held)
                return value, factor if name.startswith("mul") else 1 / factor
        return node, 1.0

    def _numbers(self, given: Any) -> torch.Tensor | None:
        """Return the numbers of an argument that depends on no input and no parameter."""
        torch = require_torch()
        if isinstance(given, (bool, int, float)):
            return torch.tensor(given)
        if not hasattr(given, "meta"):
            return None
        if given not in self._known:
            self._known[given] = self._computed(given)
        return self._known[given]

    def _computed(self, node: fx.Node) -> torch.Tensor | None:
        torch = require_torch()
        if node.op == "placeholder":
            return self._held.get(node.name)
        if node.op == "get_attr":
            held = getattr(self.program.graph_module, str(node.target), None)
            return held if isinstance(held, torch.Tensor) else None
        if operator_name(node) == "detach_":
            return self._numbers(node.args[0])
        schema = getattr(node.target, "_schema", None)
        value = node.meta.get("val")
        if schema is None or schema.is_mutable or not isinstance(value, torch.Tensor):
            return None
        if not all(isinstance(size, int) for size in value.shape) or "rand" in schema.name:
            return None
        inputs = {n: self._numbers(n) for n in node.all_input_nodes}
        if any(found is None for found in inputs.values()):
            return None
        found = computed(node, inputs.__getitem__)
        return found if isinstance(found, torch.Tensor) else None

    @cached_property
    def _held(self) -> Mapping[str, torch.Tensor]:
        """The buffers and constants of the trace, by their placeholders."""
        torch = require_torch()
        kinds = torch.export.graph_signature.InputKind
        found = {}
        for spec in self.program.graph_signature.input_specs:
            if spec.kind in (kinds.BUFFER, kinds.CONSTANT_TENSOR):
                held = self.program.state_dict.get(spec.target)
                if held is None:
                    held = self.program.constants.get(spec.target)
                if held is not None:
                    found[spec.arg.name] = held.detach()
        return found


def _is_inner(node: Any) -> bool:
    """Whether an argument is a value that one operator reads, so that it may go."""
    return hasattr(node, "meta") and node.op == "call_function" and len(node.users) == 1


def _product(node: fx.Node, equations: frozenset[str]) -> tuple[Any, Any] | None:
    """Return the two values of a matrix product, or of a sum over one of these equations."""
    if node.op != "call_function":
        return None
    name = operator_name(node)
    if name in _PRODUCTS:
        return node.args[0], node.args[1]
    if name == "einsum" and len(node.args[1]) == 2 and _usual(node.args[0]) in equations:
        return node.args[1][0], node.args[1][1]
    return None


def _turned_back(key: Any) -> fx.Node | None:
    """Return what a node of its own turns, so that the last two axes change places; else None."""
    if not _is_inner(key) or operator_name(key) not in ("transpose", "permute"):
        return None
    rank = key.meta["val"].dim()
    places = list(range(rank))
    if operator_name(key) == "permute":
        places = [axis % rank for axis in key.args[1]]
    else:
        one, other = (axis % rank for axis in key.args[1:])
        places[one], places[other] = places[other], places[one]
    found: fx.Node = key.args[0]
    return found if places == [*range(rank - 2), rank - 1, rank - 2] else None


def _usual(equation: str) -> str:
    """Return an equation with the letters that the module's own have: the same sums, other names."""
    plain = equation.replace(" ", "")
    for known in (*_SCORES_EINSUM, *_VALUES_EINSUM):
        names = dict(zip(plain, known, strict=False))
        same = len(plain) == len(known) and len(set(names.values())) == len(names)
        if same and "".join(names[c] for c in plain) == known:
            return known
    return plain


def _along_last(softmax: fx.Node) -> bool:
    axis, rank = softmax.args[1], softmax.meta["val"].dim()
    return bool(axis % rank == rank - 1)


def _hides_or_leaves(added: torch.Tensor) -> bool:
    """Whether numbers that are added to scores are 0, or leave none of it."""
    return bool(((added == 0) | (added <= _HIDDEN)).all())


def _is_later(hidden: torch.Tensor, scores: Any) -> bool:
    """Whether the places that are hidden are those of later keys, for all images and heads alike."""
    torch = require_torch()
    length = scores[-1]
    if scores[-2] != length or not isinstance(length, int):
        return False
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    shape = tuple(hidden.shape)
    return shape[-2:] == (length, length) and bool((hidden.bool() == later).all())


def _fit(query: fx.Node, key: fx.Node, value: fx.Node, is_key_turned: bool) -> bool:
    """Whether three values are those of an attention, for equally many heads."""
    if not all(
        hasattr(x, "meta") and hasattr(x.meta.get("val"), "shape") for x in (query, key, value)
    ):
        return False
    q, k, v = (tuple(x.meta["val"].shape) for x in (query, key, value))
    if is_key_turned and len(k) > 1:
        k = (*k[:-2], k[-1], k[-2])
    if len(q) not in _RANKS or not len(q) == len(k) == len(v):
        return False
    return q[:-2] == k[:-2] == v[:-2] and q[-1] == k[-1] and k[-2] == v[-2]
