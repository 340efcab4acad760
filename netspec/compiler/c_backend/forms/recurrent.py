"""Recurrent layers."""

from __future__ import annotations

from netspec.compiler.c_backend.kernel_call import KernelCall, c_call


def rnn(call: KernelCall) -> list[str]:
    """One function for tanh and relu."""
    steps, size = call.shape(4)
    return c_call(
        "rnn", *map(call.pointer, range(3)), _state(call, 3, size), *map(call.pointer, (4, 5)),
        steps, size, call.whole("reverse"), call.whole("relu"),
    )  # fmt: skip


def rnn_backward(call: KernelCall) -> list[str]:
    """The gradient of the state is in scratch memory if nobody wants it."""
    steps, size = call.shape(0)
    return c_call(
        "rnn_backward", *map(call.pointer, range(4)), _wanted(call, 4, call.memory.scratch(size)),
        steps, size, call.whole("reverse"), call.whole("relu"),
    )  # fmt: skip


def lstm(call: KernelCall) -> list[str]:
    """The state c, and without training the gates of a step, are in scratch memory."""
    steps, size = call.shape(5)
    gates, before, cells, squashed = map(call.pointer, range(6, 10))
    scratch = call.memory.scratch(5 * size)
    return c_call(
        "lstm", *map(call.pointer, range(3)), _state(call, 3, size), _state(call, 4, size),
        call.pointer(5), scratch, f"{scratch} + {size}" if before == "0" else gates,
        before, cells, squashed, steps, size, call.whole("reverse"),
    )  # fmt: skip


def lstm_backward(call: KernelCall) -> list[str]:
    """As for `rnn_backward`."""
    steps, size = call.shape(0)
    scratch = call.memory.scratch(2 * size)
    return c_call(
        "lstm_backward", *map(call.pointer, range(6)), _wanted(call, 6, scratch),
        _wanted(call, 7, f"{scratch} + {size}"), steps, size, call.whole("reverse"),
    )  # fmt: skip


def gru(call: KernelCall) -> list[str]:
    """What a step adds is in scratch memory."""
    steps, size = call.shape(4)
    return c_call(
        "gru", *map(call.pointer, range(3)), _state(call, 3, size), *map(call.pointer, range(4, 8)),
        call.memory.scratch(3 * size),
        steps, size, call.whole("reverse"),
    )  # fmt: skip


def gru_backward(call: KernelCall) -> list[str]:
    """As for `rnn_backward`."""
    steps, size = call.shape(0)
    scratch = call.memory.scratch(2 * size)
    return c_call(
        "gru_backward", *map(call.pointer, range(7)), _wanted(call, 7, scratch),
        f"{scratch} + {size}", steps, size, call.whole("reverse"),
    )  # fmt: skip


def _wanted(call: KernelCall, index: int, otherwise: str) -> str:
    return call.pointer(index) if call.has(index) else otherwise


def _state(call: KernelCall, index: int, size: int) -> str:
    """Return the state of this layer among those of all layers."""
    offset = call.whole("at") * size
    return (
        f"{call.pointer(index)} + {offset}" if call.has(index) and offset else call.pointer(index)
    )
