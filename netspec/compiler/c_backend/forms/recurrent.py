"""Recurrent layers."""

from __future__ import annotations

from netspec.compiler.c_backend.kernel_call import KernelCall, c_call


def rnn(call: KernelCall) -> list[str]:
    """One function for tanh and relu."""
    steps, size = call.shape(4)
    return c_call(
        "rnn", *map(call.pointer, range(3)), _state(call, 3, size), call.pointer(4),
        steps, size, call.whole("reverse"), call.whole("relu"),
    )  # fmt: skip


def lstm(call: KernelCall) -> list[str]:
    """The state c, and the gates of a step, are in scratch memory."""
    steps, size = call.shape(5)
    scratch = call.memory.scratch(5 * size)
    return c_call(
        "lstm", *map(call.pointer, range(3)), _state(call, 3, size), _state(call, 4, size),
        call.pointer(5), scratch, f"{scratch} + {size}", steps, size, call.whole("reverse"),
    )  # fmt: skip


def gru(call: KernelCall) -> list[str]:
    """What a step adds is in scratch memory."""
    steps, size = call.shape(4)
    return c_call(
        "gru", *map(call.pointer, range(3)), _state(call, 3, size), call.pointer(4),
        call.memory.scratch(3 * size), steps, size, call.whole("reverse"),
    )  # fmt: skip


def _state(call: KernelCall, index: int, size: int) -> str:
    """Return the state of this layer among those of all layers."""
    offset = call.whole("at") * size
    return (
        f"{call.pointer(index)} + {offset}" if call.has(index) and offset else call.pointer(index)
    )
