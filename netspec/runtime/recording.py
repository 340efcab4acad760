"""A run of kernels, recorded as the NumPy calls that it made, to be made again without the kernels.

A kernel decides much before it computes: how to cut its work, which views to take, which algorithm.
For one picture these decisions take longer than the arithmetic. They depend on shapes alone, so for
one batch size they can be made once, as CUDA graphs do for launches on a GPU.

While a run is recorded, its arrays are `_Recorded`, a subclass of `ndarray` that notes every call
which writes one. What is known before the input is, such as a weight laid out for a matrix product
or a batch norm folded into a convolution, is computed while recording and kept: of each byte the
recorder knows whether it depends on the input. Calls whose results nothing reads are then dropped.

What cannot be noted raises `NotRecordableError`: a branch on a value, or a function that writes arrays in
a way this module does not know.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from netspec.kernels import parallel

Array = NDArray[Any]
Flags = NDArray[np.bool_]


class NotRecordableError(Exception):
    """The run does something that cannot be made again from a list of calls."""


class Call(NamedTuple):
    """One call into NumPy."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Recording(NamedTuple):
    """Calls in order; where there are several lanes, each runs in a thread of its own."""

    sections: tuple[tuple[tuple[Call, ...], ...], ...]

    def run(self) -> None:
        """Make the calls."""
        for lanes in self.sections:
            if len(lanes) == 1:
                _make(lanes[0])
            else:
                parallel.run(_make, [(lane,) for lane in lanes])

    def calls(self) -> Iterator[Call]:
        """All calls, those of one lane after those of the one before."""
        for lanes in self.sections:
            for lane in lanes:
                yield from lane


def _make(calls: Sequence[Call]) -> None:
    for function, arguments in calls:
        function(*arguments)


@dataclass(eq=False)
class _Memory:
    """A block of memory that recorded arrays lie in, with a flag for each byte.

    While recording, a flag says that the byte is known before the input; after it, that it is read.
    """

    owner: Array
    constant: bool
    start: int = field(init=False)
    flags: Flags = field(init=False)

    def __post_init__(self) -> None:
        low, high = np.lib.array_utils.byte_bounds(self.owner)
        self.start = low
        self.flags = np.full(high - low, self.constant)


class _Step(NamedTuple):
    """A call as noted: the flags of what it reads and writes, and the thread that it is for."""

    call: Call
    reads: list[Flags]
    writes: Flags
    whole: bool  # whether all that it could write is written
    lane: tuple[int, int]  # which fork, and which thread of it


class Recorder:
    """Notes what is done to arrays that `array` made."""

    def __init__(self) -> None:
        self._memories: list[_Memory] = []
        self._kept: dict[tuple[Any, ...], Array] = {}
        self._steps: list[_Step] = []
        self._forks = 0
        self._lane = (0, 0)

    def array(self, array: Array, *, constant: bool) -> Array:
        """The same memory as an array whose use is recorded.

        Args:
            array: arrays given here may not overlap, unless they are the same memory from end to end.
            constant: whether it never changes; the recording then works on a copy.
        """
        if array.size and self._memory_of(array) is None:
            memory = _Memory(array, constant)
            self._memories.insert(self._place(memory.start), memory)
        return self._wrap(array)

    def fork(self, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """In place of `parallel.run`: each call of the task is recorded for a thread of its own."""
        if len(arguments) == 1 or self._lane != (self._forks, 0):
            return [task(*a) for a in arguments]
        self._forks += 1
        results = []
        for lane, a in enumerate(arguments, start=1):
            self._lane = (self._forks, lane)
            results.append(task(*a))
        self._forks += 1
        self._lane = (self._forks, 0)
        return results

    def recording(self, outputs: Sequence[Array]) -> Recording:
        """The calls that the outputs need; recording ends here."""
        marked = [flags for flags in map(self._flags, outputs) if flags is not None]
        for memory in self._memories:
            memory.flags.fill(False)
        for flags in marked:
            flags[...] = True
        needed = []
        for step in reversed(self._steps):
            if not step.writes.any():
                continue
            if step.whole:
                step.writes[...] = False
            for flags in step.reads:
                flags[...] = True
            needed.append(step)
        sections = []
        for _, steps in groupby(reversed(needed), key=lambda s: s.lane[0]):
            lanes: dict[int, list[Call]] = {}
            for step in steps:
                lanes.setdefault(step.lane[1], []).append(step.call)
            sections.append(tuple(map(tuple, lanes.values())))
        return Recording(tuple(sections))

    # -- what `_Recorded` reports

    def note(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Any],
        out: Array,
        options: Mapping[str, Any],
        *,
        arguments: Callable[[Sequence[Any]], tuple[Any, ...]],
        whole: bool = True,
    ) -> None:
        """Make a call and note it.

        Args:
            function: what is called.
            inputs: what it reads; arrays among them, plain or recorded.
            out: the plain array it writes.
            options: by keyword, with no array among them.
            arguments: from the inputs to the arguments by position.
            whole: whether every element of `out` is written.
        """
        writes = self._flags(out)
        if writes is None:
            raise NotRecordableError("it writes an array that is not recorded")
        reads: list[Flags] = []
        fixed = [self._input(value, reads) for value in inputs]
        if not whole:
            reads.append(writes)
        call = partial(function, **options) if options else function
        known = not reads or (not whole and reads == [writes] and bool(writes.all()))
        call(*arguments([_plain(value) for value in inputs]))
        self._steps.append(
            _Step(Call(call, arguments(fixed)), reads, writes, whole, self._lane)
        )
        writes[...] = known

    def fresh(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A plain array whose memory is recorded."""
        array = np.empty(shape, dtype)
        self.array(array, constant=False)
        return array

    def wrapped(self, array: Array) -> Array:
        """A view of recorded memory, to go on with."""
        return self._wrap(array)

    def knows(self, array: Array) -> bool:
        """Whether the array lies in recorded memory."""
        return array.size == 0 or self._memory_of(array) is not None

    def is_constant(self, value: Any) -> bool:
        """Whether a value does not depend on the input."""
        if not isinstance(value, np.ndarray) or value.size == 0:
            return True
        flags = self._flags(value)
        if flags is None:
            return not isinstance(value, _Recorded)
        return bool(flags.all())

    # -- memory

    def _input(self, value: Any, reads: list[Flags]) -> Any:
        """What a recorded call gets for an input: where it is known already, a copy of it."""
        if not isinstance(value, np.ndarray) or value.size == 0:
            return value
        memory = self._memory_of(value)
        if memory is None:
            if isinstance(value, _Recorded):
                raise NotRecordableError("an array was copied in a way that is not recorded")
            return value
        flags = self._flags(value)
        assert flags is not None
        plain = _plain(value)
        if not flags.all():
            reads.append(flags)
            return plain
        if not memory.constant:
            return plain.copy(order="K")
        key = (plain.ctypes.data, plain.shape, plain.strides, plain.dtype.str)
        if key not in self._kept:
            self._kept[key] = plain.copy(order="K")
        return self._kept[key]

    def _wrap(self, array: Array) -> Array:
        recorded = array.view(_Recorded)
        recorded.recorder = self
        return recorded

    def _place(self, address: int) -> int:
        return bisect_right(self._memories, address, key=lambda memory: memory.start)

    def _memory_of(self, array: Array) -> _Memory | None:
        address = array.__array_interface__["data"][0]
        place = self._place(address) - 1
        if place < 0:
            return None
        memory = self._memories[place]
        return memory if address < memory.start + memory.flags.size else None

    def _flags(self, array: Array) -> Flags | None:
        """The flags of every byte of an array; None if it lies outside the recorded memory."""
        memory = self._memory_of(array)
        if memory is None or array.size == 0:
            return None
        offset = array.__array_interface__["data"][0] - memory.start
        size = array.itemsize
        return as_strided(memory.flags[offset:], (*array.shape, size), (*array.strides, 1))


class _Recorded(np.ndarray[Any, Any]):
    """An array that tells its recorder what is done to it. Views of it are such arrays too."""

    recorder: Recorder

    def __array_finalize__(self, obj: Any) -> None:
        if isinstance(obj, _Recorded):
            self.recorder = obj.recorder

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        recorder = self.recorder
        if method == "at" or (out is not None and len(out) != 1):
            raise NotRecordableError(f"{ufunc.__name__}.{method}")
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if "where" in options and not isinstance(options["where"], bool):
            options["where"] = _plain(options["where"])
            if not recorder.is_constant(options["where"]) or out is None:
                raise NotRecordableError(f"{ufunc.__name__} with `where`")
        target = None if out is None else _plain(out[0])
        if target is None:
            result = function(*map(_plain, inputs), **options)
            if not isinstance(result, np.ndarray):
                return self._scalar(result, inputs)
            target = recorder.fresh(result.shape, result.dtype)
        if method == "__call__" and ufunc not in (np.maximum, np.minimum):
            # By position it takes less time to hand over, but those two will not have it.
            after: tuple[Any, ...] = (target,)
        else:
            options["out"], after = target, ()
        recorder.note(
            function,
            inputs,
            target,
            options,
            arguments=lambda given: (*given, *after),
            whole="where" not in options,
        )
        return recorder.wrapped(target) if out is None else out[0]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func is np.copyto:
            return self._copyto(*args, **kwargs)
        out = kwargs.pop("out", None)
        found = list(_arrays((args, kwargs)))
        plain = func(*_replaced(args, iter(map(_plain, found))), **kwargs)
        if not isinstance(plain, np.ndarray):
            return self._scalar(plain, found)
        if out is None and self.recorder.knows(plain):
            return self.recorder.wrapped(plain)
        target = self.recorder.fresh(plain.shape, plain.dtype) if out is None else _plain(out)

        def again(*given: Any) -> None:
            target[...] = func(*_replaced(args, iter(given)), **kwargs)

        self.recorder.note(again, found, target, {}, arguments=tuple)
        return self.recorder.wrapped(target) if out is None else out

    def _copyto(
        self, dst: Any, src: Any, casting: str = "same_kind", where: Any = True
    ) -> None:
        target = _plain(dst)
        options: dict[str, Any] = {} if casting == "same_kind" else {"casting": casting}
        if where is True:
            self.recorder.note(
                np.copyto, [src], target, options, arguments=lambda given: (target, *given)
            )
            return

        def masked(source: Any, mask: Any) -> None:
            np.copyto(target, source, where=mask, **options)

        self.recorder.note(masked, [src, where], target, {}, arguments=tuple, whole=False)

    def _scalar(self, value: Any, inputs: Sequence[Any]) -> Any:
        if value is not None and all(map(self.recorder.is_constant, inputs)):
            return value
        raise NotRecordableError("a single number is taken out of an array")

    # -- methods that are neither ufuncs nor views

    def _copied(self, dtype: Any = None) -> Any:
        fresh = self.recorder.fresh(self.shape, dtype or self.dtype)
        self._copyto(fresh, self, "unsafe")
        return self.recorder.wrapped(fresh)

    def copy(self, order: Any = "C") -> Any:
        """As of `ndarray`."""
        return self._copied()

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """As of `ndarray`."""
        return self._copied(np.dtype(dtype))

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """As of `ndarray`; a copy is recorded."""
        result = super().reshape(*shape, **kwargs)
        return result if self.recorder.knows(result) else self._copied().reshape(*shape)

    def ravel(self, order: Any = "C") -> Any:
        """As of `ndarray`."""
        return self.reshape(-1)

    flatten = ravel

    def fill(self, value: Any) -> None:
        """As of `ndarray`."""
        self._copyto(self, value, "unsafe")

    def __getitem__(self, key: Any) -> Any:
        result = super().__getitem__(key)
        return result if isinstance(result, np.ndarray) else self._scalar(result, [self])

    def __setitem__(self, key: Any, value: Any) -> None:
        target = _plain(self)[key]
        if not isinstance(target, np.ndarray) or not self.recorder.knows(target):
            raise NotRecordableError("an assignment to chosen elements")
        self._copyto(target, value, "unsafe")

    def __bool__(self) -> bool:
        return bool(self._scalar(bool(_plain(self)), [self]))

    def __float__(self) -> float:
        return float(self._scalar(float(_plain(self)), [self]))

    def __int__(self) -> int:
        return int(self._scalar(int(_plain(self)), [self]))

    def item(self, *args: Any) -> Any:
        """As of `ndarray`."""
        return self._scalar(_plain(self).item(*args), [self])

    def tolist(self) -> Any:
        """As of `ndarray`."""
        return self._scalar(_plain(self).tolist(), [self])


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, _Recorded) else value


def _arrays(value: Any) -> Iterator[Array]:
    """All arrays in nested sequences and dicts."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _arrays(item)
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))


def _replaced(value: Any, arrays: Iterator[Any]) -> Any:
    """Nested sequences with the next of `arrays` in place of each array."""
    if isinstance(value, np.ndarray):
        return next(arrays)
    if isinstance(value, list | tuple):
        return type(value)([_replaced(item, arrays) for item in value])
    return value
