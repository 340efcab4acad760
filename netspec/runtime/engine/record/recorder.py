"""Records a run of kernels as the NumPy calls that it makes, to repeat them without the kernels.

A kernel decides much before it computes: how to divide its work, which views to take, which
algorithm to use. For small batches these decisions take longer than the arithmetic. They depend
only on shapes, so they can be made once for each batch size, like CUDA graphs for launches on a
GPU.

During a recording the arrays are of class `RecordedArray`, a subclass of `ndarray` that notes every
call which writes one. If the parameters are fixed, whatever does not depend on the input is
computed during recording and kept, such as a weight laid out for a matrix product or a batch norm
folded into a convolution: the recorder knows of each byte whether it depends on the input. Calls
whose results nothing reads are then dropped.

Some operations cannot be recorded: a branch on a value, or a function that writes arrays in a way
this module does not know. Then the run continues normally, and there is no recording of it. A
kernel that has to branch does so within `arrays.as_one`. Arrays of its own that hold the same
numbers in every run must be made read-only.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from time import perf_counter
from typing import Any, NamedTuple
from weakref import finalize

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from netspec.runtime.engine.record.array import Life, RecordedArray
from netspec.runtime.engine.record.lanes import LaneSection, NumpyCall, Span, Task, schedule

Array = NDArray[Any]
Flags = NDArray[np.bool_]

# A run with more calls than this is not recorded: they would fill memory, and a run with so many
# spends its time in the calls themselves.
MOST_CALLS = 100_000


class Recording(NamedTuple):
    """The recorded calls in order.

    Attributes:
        sections: run one after the other.
        digest: a hash of all that was recorded; it is the same for runs on other numbers.
        own: arrays that the run made and the calls write, in order.
    """

    sections: tuple[LaneSection, ...]
    digest: bytes
    own: tuple[Array, ...]

    def run(self) -> None:
        """Make the calls."""
        for section in self.sections:
            section.run()

    def calls(self) -> Iterator[NumpyCall]:
        """Yield all calls, in the order in which they were recorded."""
        for section in self.sections:
            yield from section.calls


@dataclass(eq=False)
class _Memory:
    """A block of memory that recorded arrays lie in.

    `flags` has one flag for each byte. During recording it says that the byte does not depend on
    the input, and afterwards that the byte is read. It is None if nothing is to be computed in
    advance.
    """

    owner: Array
    number: int
    constant: bool
    start: int = field(init=False)
    stop: int = field(init=False)
    flags: Flags | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.start, self.stop = byte_bounds(self.owner)


class _Step(NamedTuple):
    """A recorded call, with the flags of what it reads and writes."""

    task: Task
    reads: list[Flags]
    writes: list[Flags]
    whole: bool  # True if it overwrites everything that it could write


class Recorder:
    """Records operations on arrays that `array` returned, until `recording` or the end of a `with`.

    Args:
        fold: compute what does not depend on the input during recording, and drop what nothing
            reads. Otherwise all calls are repeated in order.
        own: arrays for the run's results, from an earlier recording of it.
    """

    def __init__(self, *, fold: bool, own: Sequence[Array] = ()) -> None:
        self._fold = fold
        self._own = list(own)
        self._made: list[Array] = []
        self._free: dict[tuple[int, int, Any], list[Array]] = {}
        self._memories: list[_Memory] = []
        self._kept: dict[tuple[Any, ...], Array] = {}
        self._views: dict[tuple[Any, ...], Array] = {}
        self._steps: list[_Step] = []
        self._digest = hashlib.blake2b(digest_size=16)
        self._forks = 0
        self._lane = (0, 0)
        self._refused: str | None = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop all references.

        A recorded array refers to its recorder, and the garbage collector does not see the
        reference from an array to its base. So an array kept here would keep itself and the whole
        run alive for ever.
        """
        for kept in (self._own, self._made, self._memories, self._steps):
            kept.clear()
        for found in (self._free, self._kept, self._views):
            found.clear()

    def array(self, array: Array, *, constant: bool = False) -> Array:
        """Return an array with the same memory whose use is recorded.

        Args:
            array: unless it is a part of an array registered before, it must not overlap one.
            constant: True if it never changes; the recording then works on a copy.
        """
        if array.size and self._memory_of(array) is None:
            memory = _Memory(array, len(self._memories), constant)
            if self._fold:
                memory.flags = np.full(memory.stop - memory.start, constant)
            self._memories.insert(self._place(memory.start), memory)
        return self.wrapped(array)

    def fork(self, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Replace `parallel.run`: each call of the task is recorded for a thread of its own."""
        if self._lane[1]:
            return [task(*a) for a in arguments]
        self._forks += 1
        results = []
        for lane, a in enumerate(arguments, start=1):
            self._lane = (self._forks, lane)
            results.append(task(*a))
        self._forks += 1
        self._lane = (self._forks, 0)
        return results

    def recording(self, outputs: Sequence[Array]) -> Recording | None:
        """Return the calls that the outputs need, or None if something could not be recorded.

        This ends the recording.
        """
        with self:
            if self._refused is not None:
                return None
            steps = self._steps
            if self._fold:
                marked = [flags for output in outputs for flags in self._flags(output)]
                steps = self._needed(marked)
            sections = schedule([step.task for step in steps])
            return Recording(sections, self._digest.digest(), tuple(self._made))

    def _needed(self, outputs: Sequence[Flags]) -> list[_Step]:
        for memory in self._memories:
            if memory.flags is not None:
                memory.flags.fill(False)
        for flags in outputs:
            flags[...] = True
        needed = []
        for step in reversed(self._steps):
            if not any(flags.any() for flags in step.writes):
                continue
            if step.whole:
                for flags in step.writes:
                    flags[...] = False
            for flags in step.reads:
                flags[...] = True
            needed.append(step)
        return needed[::-1]

    # -- what recorded arrays report

    def note(
        self,
        function: Callable[..., Any],
        inputs: Sequence[Any],
        out: Array,
        *,
        arguments: Callable[[Sequence[Any]], tuple[Any, ...]] = tuple,
        options: Mapping[str, Any] | None = None,
        whole: bool = True,
    ) -> None:
        """Make a call and record it.

        Args:
            function: the function to call.
            inputs: what it reads, including arrays, plain or recorded.
            out: the plain array that it writes.
            arguments: converts the inputs to the positional arguments.
            options: keyword arguments.
            whole: whether every element of `out` is written.
        """
        if not self.knows(out):
            self.refuse("it writes an array that is not recorded")
        self._sign(function, inputs, out, options)
        writes, reads = self._flags(out), list[Flags]()
        fixed = [self._input(value, reads) for value in inputs]
        known = self._fold and not reads and (whole or all(f.all() for f in writes))
        if not whole:
            reads.extend(writes)
        call = partial(function, **options) if options else function
        given = arguments([self.plain(value) for value in inputs])
        start = perf_counter()
        call(*given)
        self._append(
            _Step(
                self._task(NumpyCall(call, arguments(fixed)), (*fixed, out), [out], start),
                reads,
                writes,
                whole,
            )
        )
        for flags in writes:
            flags[...] = known

    def note_one(
        self, task: Callable[..., None], arrays: Sequence[Array], only_read: Sequence[Array]
    ) -> None:
        """Make a call that may read and write all of `arrays`, and record it as a single call.

        Arrays that it only reads are passed after the others.
        """
        self._sign(task, (*arrays, *only_read), arrays[0], None)
        written = tuple(self.plain(array) for array in arrays)
        flags = [each for array in written for each in self._flags(array)]
        reads = list(flags)
        given = (*written, *(self._input(array, reads) for array in only_read))
        start = perf_counter()
        task(*given)
        done = self._task(NumpyCall(task, given), given, written, start)
        self._append(_Step(done, reads, flags, False))
        for each in flags:
            each[...] = False

    def fresh(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return a new recorded array for a result of the run.

        Its memory is reused, in the same thread, when the run no longer refers to it.
        """
        free = self._free.setdefault((self._lane[1], prod(shape), np.dtype(dtype)), [])
        memory = free.pop() if free else self._make(prod(shape), dtype)
        array = self.wrapped(memory.reshape(shape))
        array.life = Life()
        finalize(array.life, free.append, memory)
        return array

    def _make(self, size: int, dtype: Any) -> Array:
        array = self._own.pop(0) if self._own else np.empty(0)
        if (array.size, array.dtype) != (size, dtype):
            array = np.empty(size, dtype)
        self._made.append(array)
        self.array(array)
        return array

    def wrapped(self, array: Array) -> RecordedArray:
        """Return a view of recorded memory as a recorded array."""
        recorded = array.view(RecordedArray)
        recorded.recorder = self
        return recorded

    def plain(self, value: Any) -> Any:
        """Return a recorded array as a plain one, one object for equal views; else the value itself."""
        if not isinstance(value, RecordedArray):
            return value
        if value.size == 0:  # not a view of `value`, which has another base
            return np.empty(value.shape, value.dtype)
        memory = self._memory_of(value)
        if memory is None or not memory.owner.flags.c_contiguous:
            return value.view(np.ndarray)
        offset = address(value) - memory.start
        key = (memory.number, offset, value.shape, value.strides, value.dtype)
        if key not in self._views:
            # Not a view of `value`, which would then live as long as the recording.
            self._views[key] = np.ndarray(
                value.shape, value.dtype, memory.owner, offset, value.strides
            )
        return self._views[key]

    def knows(self, array: Array) -> bool:
        """Return True if the array lies in recorded memory."""
        return array.size == 0 or self._memory_of(array) is not None

    def number(self, value: Any, inputs: Sequence[Any]) -> Any:
        """Return a value that was read from arrays.

        If it depends on the input there will be no recording.
        """
        if value is None or not all(map(self._is_constant, inputs)):
            self.refuse("a value is taken out of an array")
        return value

    def refuse(self, what: str) -> None:
        """Note that an operation cannot be recorded."""
        self._refused = self._refused or what
        self._steps.clear()

    def _task(
        self, call: NumpyCall, reads: Sequence[Any], writes: Sequence[Array], start: float
    ) -> Task:
        seconds = perf_counter() - start
        touched = (self._spans(reads), self._spans(writes))
        return Task(call, *touched, seconds, *self._lane)

    def _spans(self, values: Sequence[Any]) -> tuple[Span, ...]:
        """Return the spans of recorded memory that arrays among the values lie in."""
        arrays = (v for v in values if isinstance(v, np.ndarray) and v.size)
        return tuple(byte_bounds(array) for array in arrays if self._memory_of(array) is not None)

    def _append(self, step: _Step) -> None:
        if len(self._steps) >= MOST_CALLS:
            self.refuse("too many calls")
        if self._refused is None:
            self._steps.append(step)

    def _sign(
        self, function: Any, inputs: Sequence[Any], out: Array, options: Mapping[str, Any] | None
    ) -> None:
        """Add a call to the digest.

        Arrays outside of recorded memory are identified by their content.
        """
        name = getattr(function, "__qualname__", None) or getattr(function, "__name__", "")
        owner = getattr(getattr(function, "__self__", None), "__name__", "")
        others = sorted((key, self._signed(value)) for key, value in (options or {}).items())
        noted = (owner, name, *map(self._signed, (*inputs, out)), others, self._lane)
        self._digest.update(repr(noted).encode())

    def _signed(self, value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        layout = (value.shape, value.strides, value.dtype.str)
        memory = self._memory_of(value)
        if memory is None:
            return layout, hashlib.blake2b(value.tobytes()).digest()
        return layout, memory.number, address(value) - memory.start

    # -- memory

    def _is_constant(self, value: Any) -> bool:
        if not isinstance(value, np.ndarray) or value.size == 0:
            return True
        if not self.knows(value):
            return not isinstance(value, RecordedArray)
        return self._fold and all(flags.all() for flags in self._flags(value))

    def _input(self, value: Any, reads: list[Flags]) -> Any:
        """Return what a recorded call gets as an input: a copy if its value is known already."""
        if not isinstance(value, np.ndarray) or value.size == 0:
            return self.plain(value)
        memory = self._memory_of(value)
        if memory is None:
            if isinstance(value, RecordedArray):
                self.refuse("an array was copied in a way that is not recorded")
            elif value.flags.writeable:
                self.refuse("an array from elsewhere that may change")
            return self.plain(value)
        given = self.plain(value)
        if not self._fold:
            return given
        flags = self._flags(value)
        if not all(each.all() for each in flags):
            reads.extend(flags)
            return given
        if not memory.constant:
            return given.copy(order="K")
        key = (address(given), given.shape, given.strides, given.dtype.str)
        if key not in self._kept:
            self._kept[key] = given.copy(order="K")
        return self._kept[key]

    def _place(self, start: int) -> int:
        return bisect_right(self._memories, start, key=lambda memory: memory.start)

    def _memory_of(self, array: Array) -> _Memory | None:
        start = address(array)
        place = self._place(start) - 1
        if place < 0 or start >= self._memories[place].stop:
            return None
        return self._memories[place]

    def _flags(self, array: Array) -> list[Flags]:
        """Return the flags of an array's bytes, as one array; an empty list if there are no flags."""
        memory = self._memory_of(array)
        if memory is None or memory.flags is None or array.size == 0:
            return []
        size = array.itemsize
        offset = memory.flags[address(array) - memory.start :]
        return [as_strided(offset, (*array.shape, size), (*array.strides, 1))]


def byte_bounds(array: Array) -> Span:
    """Return the first byte of a nonempty array, and the one after its last."""
    reach = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    start = address(array)
    low = start + sum(min(0, far) for far in reach)
    return low, start + sum(max(0, far) for far in reach) + array.itemsize


def address(array: Array) -> int:
    """Return the address of an array's first element."""
    start: int = array.__array_interface__["data"][0]
    return start
