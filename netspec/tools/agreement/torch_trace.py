"""The trace of a PyTorch module for a case: its calls are recorded while it runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from netspec.compiler.ir.graph import Graph
from netspec.runtime.models.pytorch.input_types import module_inputs
from netspec.runtime.models.torch_build import load_all, with_ties
from netspec.tools.agreement.alignment import Key, align, expected_calls, key
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.quantities import LOSS, Item, Trace

Array = NDArray[Any]

_DROPOUTS = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)
# The functions behind PyTorch's recurrent modules, which give the value and the last states.
_RECURRENT: Mapping[Callable[..., Any], str] = {
    torch.lstm: "LSTM", torch.gru: "GRU", torch.rnn_tanh: "RNN", torch.rnn_relu: "RNN",
}  # fmt: skip
# The modules behind functions of other names, whose first result is the value.
_FUNCTIONS: Mapping[Callable[..., Any], str] = {
    **_RECURRENT, functional.multi_head_attention_forward: "MultiheadAttention",
}  # fmt: skip

# Functions that give the parts of a value.
_CUTS: Container[Callable[..., Any]] = (torch.chunk,)


class SharedMasks(TorchFunctionMode):  # type: ignore[misc]
    """Makes dropout and noise use the masks of a case, in the order of the nodes that have one.

    Without masks, which is to say in evaluation, noise is PyTorch's own: it counts for nothing.

    Attributes:
        masks: those that are still to be used.
    """

    def __init__(self, masks: Iterable[torch.Tensor]) -> None:
        super().__init__()
        given = tuple(masks)
        self.masks = iter(given)
        self._draws = bool(given)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the function; a dropout multiplies by the next mask instead, and noise is it."""
        return self._call(func, tuple(args), dict(kwargs or {}))

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if func in _DROPOUTS:
            return self._dropped(*args, **kwargs)
        if func is torch.randn_like and self._draws:
            return next(self.masks).clone()
        if func in _RECURRENT:
            return self._layer_by_layer(func, *args)
        if func is functional.scaled_dot_product_attention and kwargs.get("dropout_p"):
            return self._attended(*args, **kwargs)
        if func is functional.multi_head_attention_forward and kwargs["training"] and args[10]:
            return self._several_heads(*args[:3], *args[4:7], *args[11:13], **kwargs)
        return func(*args, **kwargs)

    def _several_heads(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        heads: int,
        weight: torch.Tensor,
        bias: torch.Tensor,
        last_weight: torch.Tensor,
        last_bias: torch.Tensor,
        *,
        key_padding_mask: torch.Tensor | None = None,
        **_: object,
    ) -> tuple[torch.Tensor, None]:
        """Return the formula of attention by several heads, for values (T, N, E)."""
        q, k, v = (
            functional.linear(x, w, b).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
            for x, w, b in zip((query, key, value), weight.chunk(3), bias.chunk(3), strict=True)
        )
        hidden = key_padding_mask
        found = self._attended(q, k, v, None if hidden is None else hidden[:, None, None])
        joined = found.permute(2, 0, 1, 3).flatten(2)
        return functional.linear(joined, last_weight, last_bias), None

    def _dropped(
        self, input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> torch.Tensor:
        """Return `input` times the next mask: a number for each element, channel or image."""
        if not training or p == 0:  # as in NumPy, no mask is drawn where nothing is dropped
            return input.view_as(input)
        mask = next(self.masks)
        return (input.reshape(mask.numel(), -1) * mask.reshape(-1, 1)).reshape(input.shape)

    def _attended(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        """Return the formula of attention, what it sees times the next mask."""
        if enable_gqa:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        # A query that sees no key gets zeros.
        shares = torch.softmax(scores, -1).masked_fill((scores == -torch.inf).all(-1, True), 0)
        return shares * next(self.masks).reshape(shares.shape) @ v

    def _layer_by_layer(
        self,
        func: Callable[..., Any],
        x: torch.Tensor,
        states: torch.Tensor | tuple[torch.Tensor, ...],
        weights: Sequence[torch.Tensor],
        biases: bool,
        layers: int,
        dropout: float,
        training: bool,
        both: bool,
        batch_first: bool,
    ) -> Any:
        """Call a recurrent function. Behind each layer but the last it multiplies by columns of a
        mask.
        """
        if not (training and dropout and layers > 1):
            rest = (biases, layers, dropout, training, both, batch_first)
            return func(x, states, weights, *rest)
        masks = next(self.masks).chunk(layers - 1, dim=2)
        count, directions = len(weights) // layers, 2 if both else 1
        y, ends = x, []
        for i in range(layers):
            part = slice(i * directions, (i + 1) * directions)
            first = tuple(s[part] for s in states) if isinstance(states, tuple) else states[part]
            own = weights[i * count : (i + 1) * count]
            y, *last = func(y, first, own, biases, 1, 0.0, training, both, batch_first)
            y = y * masks[i] if i < layers - 1 else y
            ends.append(last)
        return (y, *(torch.cat(each) for each in zip(*ends, strict=True)))


@dataclass
class TracedCall:
    """A call that read an activation.

    Attributes:
        value: its result.
        inputs: for each activation that it read, its number (that of the call that returned it, or
            -1 and below for the inputs of the net) and the view of it that was passed, whose
            gradient is this call's contribution.
    """

    key: Key
    value: torch.Tensor
    inputs: list[tuple[int, torch.Tensor]]


class CallRecorder(SharedMasks):
    """Records every call that reads an input of the net or the result of a recorded call."""

    def __init__(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], masks: Iterable[torch.Tensor]
    ) -> None:
        super().__init__(masks)
        self.calls: list[TracedCall] = []
        self._kept: list[torch.Tensor] = []
        self._parameters = {id(p): name for name, p in module.named_parameters()}
        # Tensors are known by identity. They stay alive in these lists, so no id is used
        # twice.
        self._inputs = inputs
        self._known = {id(x): -1 - i for i, x in enumerate(inputs)}
        self._is_inside = False

    @contextmanager
    def as_one_call(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        """Context manager: a call of one of these modules is one call, whatever it calls itself."""
        changed = list(dict.fromkeys(modules))
        for module in changed:
            module.forward = functools.partial(self._whole, module, module.forward)
        try:
            yield
        finally:
            for module in changed:
                del module.forward

    def _whole(
        self, module: nn.Module, forward: Callable[..., torch.Tensor], *args: torch.Tensor
    ) -> torch.Tensor:
        self._is_inside = True
        try:
            result, read = self._watched(forward, args, {})
            if read:
                held = frozenset(self._parameters[id(p)] for p in module.parameters())
                self._record(type(module).__name__, result, held, read)
            return result
        finally:
            self._is_inside = False

    def _call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._is_inside:
            return super()._call(func, args, kwargs)
        if args and id(args[0]) in self._known:
            func, kwargs = _out_of_place(func, kwargs)
        result, read = self._watched(func, args, kwargs)
        if not read:
            return result
        if func in _CUTS:
            # Each part is a node of its own, whose contribution is told by a view of its own.
            parts = []
            for at in range(len(result)):
                if at:
                    result, read = self._watched(func, args, kwargs)
                self._record(_name_of(func), result[at], frozenset(), read)
                parts.append(result[at])
            return tuple(parts)
        parts = [part for arg in (*args, *kwargs.values()) for part in _flat(arg)]
        held = frozenset(
            self._parameters[id(part)] for part in parts if id(part) in self._parameters
        )
        several = result if isinstance(result, (tuple, list)) else (result,)
        if func is functional.multi_head_attention_forward:
            # Its module has the batch in front, as nets have.
            several = (result[0].transpose(0, 1),)
            result = (several[0].transpose(0, 1), *result[1:])
            self._known[id(result[0])] = len(self.calls)
            self._kept.append(result[0])
        for value in several[:1] if func in _FUNCTIONS else several:
            self._record(_name_of(func), value, held, read)
        return result

    def _watched(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, list[tuple[int, torch.Tensor]]]:
        """Call a function with a view of each activation; return the result, and what it read."""
        read: list[tuple[int, torch.Tensor]] = []

        def stand_in(part: Any) -> Any:
            """Return a separate view for each reader, to tell its contribution from the others'."""
            if isinstance(part, (tuple, list)):
                return type(part)(map(stand_in, part)) if type(part) in (tuple, list) else part
            if id(part) not in self._known:
                return part
            view = part.view_as(part)
            _retain_gradient(view)
            read.append((self._known[id(part)], view))
            return view

        given = tuple(map(stand_in, args))
        options = {name: stand_in(part) for name, part in kwargs.items()}
        return super()._call(func, given, options), read

    def _record(
        self,
        name: str,
        value: Any,
        held: frozenset[str],
        read: list[tuple[int, torch.Tensor]],
    ) -> None:
        """Remember a value that a call gave."""
        if isinstance(value, torch.Tensor) and not value.is_floating_point():
            self._known[id(value)] = read[0][0]  # tokens, say: what was given, as numbers
            self._kept.append(value)
        elif isinstance(value, torch.Tensor):
            # An index, for one, has no slope: it is a leaf, whose own gradient is compared.
            value.requires_grad_()
            _retain_gradient(value)
            self._known[id(value)] = len(self.calls)
            self.calls.append(TracedCall(key(name, held), value, read))


def _name_of(func: Callable[..., Any]) -> str:
    return _FUNCTIONS.get(func, func.__name__)


def _flat(part: Any) -> Iterable[Any]:
    """Return the items of a list, such as the weights of a recurrent layer, else the part itself."""
    return part if isinstance(part, (tuple, list)) else (part,)


def _out_of_place(
    func: Callable[..., Any], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Make the call without writing into its argument, which is still to be compared."""
    if kwargs.get("inplace"):
        kwargs = kwargs | {"inplace": False}
    name = func.__name__
    if name.endswith("_") and not name.startswith("_") and hasattr(torch.Tensor, name[:-1]):
        func = getattr(torch.Tensor, name[:-1])
    return func, kwargs


def _retain_gradient(tensor: torch.Tensor) -> None:
    if tensor.requires_grad:
        tensor.retain_grad()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit PyTorch to one thread.

    Its idle threads wait in a busy loop, which slows the NumPy program.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def load(graph: Graph, module: nn.Module, case: Trial, dtype: str) -> None:
    """Set a module's type, its mode, and the parameters and buffers of a case."""
    module.to(getattr(torch, dtype))
    load_all(module, with_ties(graph, tensors(case.parameters, dtype)))
    module.train(case.training)


def tensors(arrays: Mapping[str, Array], dtype: str) -> dict[str, torch.Tensor]:
    """Copy arrays to tensors; integers stay integers."""
    made = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    kind = getattr(torch, dtype)
    return {name: t.to(kind) if t.is_floating_point() else t for name, t in made.items()}


def by_name(graph: Graph, outputs: Any) -> dict[str, torch.Tensor]:
    """Return the outputs of a module, which returns one or a tuple of them, by name."""
    several = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return dict(zip(graph.outputs, several, strict=True))


def trace_module(graph: Graph, module: nn.Module, case: Trial, dtype: str) -> Trace:
    """Run a module and return its trace: of the nodes, those that can be identified among its calls."""
    with torch.enable_grad():  # the caller may have `no_grad` on, or an interrupt left it on
        return _trace_module(graph, module, case, dtype)


def _trace_module(graph: Graph, module: nn.Module, case: Trial, dtype: str) -> Trace:
    load(graph, module, case, dtype)
    module.zero_grad()
    inputs = module_inputs(graph, tensors(case.inputs, dtype))
    masks = tensors(case.masks, dtype)
    recorder = CallRecorder(module, list(inputs.values()), masks.values())
    with recorder.as_one_call(_scans(graph, module)), recorder:
        outputs = by_name(graph, module(*inputs.values()))
    # An output such as an index depends on nothing by a slope, and is a leaf of its own.
    read = {
        name: y.view_as(y) if y.requires_grad else y.detach().requires_grad_()
        for name, y in outputs.items()
    }
    for y in read.values():
        _retain_gradient(y)
    loss = case.objective.in_torch(read)
    loss.backward()
    trace: Trace = {LOSS: _array(loss)}
    for name, y in read.items():
        trace |= {Item("output", name): _array(y), Item("loss gradient", name): _gradient(y)}
    trace |= {Item("parameter", name): _gradient(p) for name, p in module.named_parameters()}
    trace |= {Item("buffer", name): _array(b) for name, b in module.named_buffers()}
    trace |= {Item("gradient", name): _gradient(inputs[name]) for name in graph.real_inputs}
    return trace | _activations(graph, recorder.calls, case.batch)


def _scans(graph: Graph, module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules whose classes are defined beside the net's, with steps of their own."""
    for node in graph.nodes:
        form = node.op.torch(*graph.shapes_into(node)).module
        if form is not None and form.defines is not None:
            yield module.get_submodule((node.origin.layer or node.name).partition("@")[0])


def _array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().numpy()
    return array


def _gradient(tensor: torch.Tensor) -> Array:
    """Return the gradient of a tensor; zeros if there is none."""
    return _array(torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)


def _laid_out(calls: Sequence[TracedCall], place: int, expected: Container[int]) -> range:
    """Return the range of a call and adjacent calls that only rearrange the axes of its value.

    These are calls that nothing expects: for example, a norm of pictures may be computed as one of
    rows.
    """
    start, stop = place, place + 1
    if start - 1 not in expected and [n for n, _ in calls[place].inputs] == [start - 1]:
        start -= 1
    if stop < len(calls) and stop not in expected:
        stop += [n for n, _ in calls[stop].inputs] == [place]
    return range(start, stop)


def _activations(graph: Graph, calls: list[TracedCall], batch: int) -> Trace:
    """Return the values of the nodes that are identified, their gradients and contributions."""
    expected = expected_calls(graph)
    places = align(expected, [call.key for call in calls])
    matched = {place for place in places if place is not None}
    numbers = {name: -1 - i for i, name in enumerate(graph.inputs)}
    made: dict[str, list[TracedCall]] = {node.name: [] for node in graph.nodes}
    for wanted, place in zip(expected, places, strict=True):
        if place is None:
            continue
        shape = (batch, *graph.shape_of(wanted.node))
        own = range(place, place + 1)
        if wanted.gives and tuple(calls[place].value.shape) != shape:
            own = _laid_out(calls, place, matched)
        made[wanted.node] += [calls[at] for at in own]
        if wanted.gives and tuple(calls[own[-1]].value.shape) == shape:
            numbers[wanted.node] = own[-1]
    trace: Trace = {}
    for node in graph.nodes:
        if node.name not in numbers:
            continue
        value = calls[numbers[node.name]].value
        trace[Item("value", node.name)] = _array(value)
        trace[Item("gradient", node.name)] = _gradient(value)
        read = [pair for call in made[node.name] for pair in call.inputs]
        for i, name in enumerate(node.inputs):
            views = [
                view
                for number, view in read
                if number == numbers.get(name) and view.is_floating_point()
            ]
            places_of = [j for j, other in enumerate(node.inputs) if other == name]
            if len(places_of) > 1:  # one view for each argument
                views = [views[places_of.index(i)]] if len(views) == len(places_of) else []
            if views:
                total = sum((_gradient(view) for view in views[1:]), _gradient(views[0]))
                trace[Item("contribution", node.name, i)] = total
    return trace
