"""Arrays that report operations on them to a recorder; see `netspec.runtime.engine.record.recorder`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from netspec.runtime.engine.record.recorder import Recorder

# Functions that make an array like another, filled with one number or uninitialized.
_FILLED = {np.zeros_like: 0, np.ones_like: 1, np.empty_like: None}
# Functions that write into an `out` argument if it is given.
_WITH_OUT = frozenset((np.concatenate, np.take, np.einsum, np.dot))
# A placeholder for an array.
_PLACE = np.empty(0)


class Life:
    """Shared by an array made in a run and all views of it: it is destroyed with the last of them."""


class RecordedArray(np.ndarray[Any, Any]):
    """An array that reports operations on it to its recorder. Views of it are recorded arrays, too."""

    recorder: Recorder
    life: Life | None = None

    def __array_finalize__(self, obj: Any) -> None:
        if isinstance(obj, RecordedArray):
            self.recorder, self.life = obj.recorder, obj.life

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any
    ) -> Any:
        recorder = self.recorder
        if options.get("where") is True:
            del options["where"]
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        if method == "at" or "where" in options or ufunc.nout != 1:
            return self._as_it_is(
                function, inputs, options if out is None else {**options, "out": out}
            )
        if out is None:
            result = function(*map(recorder.plain, inputs), **options)
            if not isinstance(result, np.ndarray):
                return recorder.number(result, inputs)
            given = recorder.fresh(result.shape, result.dtype)
        else:
            given = out[0]
        target = recorder.plain(given)
        if method == "__call__" and ufunc not in (np.maximum, np.minimum):
            # Passing `out` by position is faster, but these two functions do not allow it.
            recorder.note(
                function,
                inputs,
                target,
                arguments=lambda given: (*given, target),
                options=options,
            )
        else:
            recorder.note(function, inputs, target, options={**options, "out": target})
        return given

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        recorder = self.recorder
        if func is np.copyto:
            return self._copyto(*args, **kwargs)
        if func in _FILLED:
            made = func(*_replaced(args, map(recorder.plain, _arrays(args))), **kwargs)
            array = recorder.fresh(made.shape, made.dtype)
            if _FILLED[func] is not None:
                array.fill(_FILLED[func])
            return array
        if func is np.tile and self.ndim == 1 and isinstance(args[1], int):
            return self._tiled(*args)
        out = kwargs.pop("out", None)
        found = list(_arrays(args))
        if any(True for _ in _arrays(kwargs)):
            return self._as_it_is(func, args, kwargs if out is None else {**kwargs, "out": out})
        made = func(*_replaced(args, map(recorder.plain, found)), **kwargs)
        if not isinstance(made, np.ndarray):
            return recorder.number(made, found)
        if out is None and recorder.knows(made):
            return recorder.wrapped(made)
        given = recorder.fresh(made.shape, made.dtype) if out is None else out
        target = recorder.plain(given)
        places = _replaced(args, repeat(_PLACE))  # keeps no recorded array alive

        def again(*arrays: Any) -> None:
            arguments = _replaced(places, iter(arrays))
            if func in _WITH_OUT:
                func(*arguments, **kwargs, out=target)
            else:
                target[...] = func(*arguments, **kwargs)

        again.__qualname__ = func.__name__
        recorder.note(again, found, target)
        return given

    def _as_it_is(self, func: Any, args: Any, options: dict[str, Any]) -> Any:
        """Call a function that cannot be recorded, and tell the recorder."""
        self.recorder.refuse(func.__name__)
        named = {
            name: _replaced(v, map(self.recorder.plain, _arrays(v))) for name, v in options.items()
        }
        return func(*_replaced(args, map(self.recorder.plain, _arrays(args))), **named)

    def _copyto(self, dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
        target = self.recorder.plain(dst)
        options: dict[str, Any] = {} if casting == "same_kind" else {"casting": casting}
        if where is True:
            self.recorder.note(
                np.copyto, [src], target, arguments=lambda given: (target, *given), options=options
            )
            return

        def masked(source: Any, mask: Any) -> None:
            np.copyto(target, source, where=mask, **options)

        self.recorder.note(masked, [src, where], target, whole=False)

    def _tiled(self, array: Any, times: int) -> Any:
        fresh = self.recorder.fresh((times, len(array)), array.dtype)
        fresh[...] = array
        return fresh.reshape(-1)

    # -- methods that are neither ufuncs nor views

    def _copied(self, dtype: Any = None) -> Any:
        fresh = self.recorder.fresh(self.shape, dtype or self.dtype)
        fresh[...] = self
        return fresh

    def copy(self, order: Any = "C") -> Any:
        """Like `ndarray.copy`."""
        return self._copied()

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Like `ndarray.astype`."""
        return self._copied(np.dtype(dtype))

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        """Like `ndarray.reshape`; a copy is recorded."""
        result = super().reshape(*shape, **kwargs)
        return result if self.recorder.knows(result) else self._copied().reshape(*shape)

    def ravel(self, order: Any = "C") -> Any:
        """Like `ndarray.ravel`."""
        return self.reshape(-1)

    flatten = ravel

    def fill(self, value: Any) -> None:
        """Like `ndarray.fill`."""
        self._copyto(self, value, "unsafe")

    def sort(self, *args: Any, **kwargs: Any) -> None:
        """Like `ndarray.sort`; cannot be recorded."""
        self._as_it_is(np.ndarray.sort, (self, *args), kwargs)

    def partition(self, *args: Any, **kwargs: Any) -> None:
        """Like `ndarray.partition`; cannot be recorded."""
        self._as_it_is(np.ndarray.partition, (self, *args), kwargs)

    def put(self, *args: Any, **kwargs: Any) -> None:
        """Like `ndarray.put`; cannot be recorded."""
        self._as_it_is(np.ndarray.put, (self, *args), kwargs)

    @property
    def flat(self) -> Any:
        """Like `ndarray.flat`; cannot be recorded."""
        self.recorder.refuse("flat")
        return self.recorder.plain(self).flat

    def __getitem__(self, key: Any) -> Any:
        result = super().__getitem__(key)
        return result if isinstance(result, np.ndarray) else self.recorder.number(result, [self])

    def __setitem__(self, key: Any, value: Any) -> None:
        target = self.recorder.plain(self)[_replaced(key, map(self.recorder.plain, _arrays(key)))]
        if not isinstance(target, np.ndarray) or not self.recorder.knows(target):
            self.recorder.refuse("an assignment to chosen elements")
            self.recorder.plain(self)[_replaced(key, map(self.recorder.plain, _arrays(key)))] = (
                self.recorder.plain(value)
            )
            return
        self._copyto(target, value, "unsafe")

    def __bool__(self) -> bool:
        return bool(self.recorder.number(bool(self.recorder.plain(self)), [self]))

    def __float__(self) -> float:
        return float(self.recorder.number(float(self.recorder.plain(self)), [self]))

    def __int__(self) -> int:
        return int(self.recorder.number(int(self.recorder.plain(self)), [self]))

    def item(self, *args: Any) -> Any:
        """Like `ndarray.item`."""
        return self.recorder.number(self.recorder.plain(self).item(*args), [self])

    def tolist(self) -> Any:
        """Like `ndarray.tolist`."""
        return self.recorder.number(self.recorder.plain(self).tolist(), [self])


def _arrays(value: Any) -> Iterator[Any]:
    """Yield all arrays in nested sequences and dicts."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _arrays(item)
    elif isinstance(value, dict):
        yield from _arrays(list(value.values()))


def _replaced(value: Any, arrays: Iterator[Any]) -> Any:
    """Copy nested sequences, with the next of `arrays` in place of each array."""
    if isinstance(value, np.ndarray):
        return next(arrays)
    if isinstance(value, list | tuple):
        return type(value)([_replaced(item, arrays) for item in value])
    return value
