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
    """See `_backward`."""
    return _backward(call, "rnn_backward", 4, 1, 1, call.whole("relu"))


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
    """See `_backward`."""
    return _backward(call, "lstm_backward", 6, 2, 2)


def gru(call: KernelCall) -> list[str]:
    """What a step adds is in scratch memory."""
    steps, size = call.shape(4)
    return c_call(
        "gru", *map(call.pointer, range(3)), _state(call, 3, size), *map(call.pointer, range(4, 8)),
        call.memory.scratch(3 * size),
        steps, size, call.whole("reverse"),
    )  # fmt: skip


def gru_backward(call: KernelCall) -> list[str]:
    """See `_backward`."""
    return _backward(call, "gru_backward", 7, 1, 2)


def _backward(
    call: KernelCall, function: str, given: int, states: int, room: int, *more: int
) -> list[str]:
    """The gradient of a state is in scratch memory if nobody wants it.

    Args:
        call: the step.
        function: the function of the library.
        given: how many arguments are in front of those gradients.
        states: how many of them there are.
        room: for how many arrays of a state's size there is scratch memory; those behind the
            gradients are for numbers in between.
        more: arguments behind the others.
    """
    steps, size = call.shape(0)
    scratch = call.memory.scratch(room * size)
    places = [f"{scratch} + {i * size}" if i else scratch for i in range(room)]
    for i in range(states):
        places[i] = call.pointer(given + i) if call.has(given + i) else places[i]
    return c_call(
        function,
        *map(call.pointer, range(given)),
        *places,
        steps,
        size,
        call.whole("reverse"),
        *more,
    )


def _state(call: KernelCall, index: int, size: int) -> str:
    """Return the state of this layer among those of all layers."""
    offset = call.whole("at") * size
    return (
        f"{call.pointer(index)} + {offset}" if call.has(index) and offset else call.pointer(index)
    )
