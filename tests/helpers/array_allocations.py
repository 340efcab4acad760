"""Records each allocation of array data by NumPy, and the line that caused it.

NumPy gets its memory from a handler that C code can replace (NEP 49); `ctypes` does that here. The
handler counts what `tracemalloc` would, but at each allocation, so it also sees memory that is
freed immediately.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

_libc = ctypes.CDLL(None)
for _name, _arguments in (
    ("malloc", [ctypes.c_size_t]), ("calloc", [ctypes.c_size_t, ctypes.c_size_t]),
    ("realloc", [ctypes.c_void_p, ctypes.c_size_t]), ("free", [ctypes.c_void_p]),
):  # fmt: skip
    getattr(_libc, _name).argtypes = _arguments
    getattr(_libc, _name).restype = None if _name == "free" else ctypes.c_void_p

_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_Malloc = ctypes.PYFUNCTYPE(_POINTER, _POINTER, _SIZE)
_Calloc = ctypes.PYFUNCTYPE(_POINTER, _POINTER, _SIZE, _SIZE)
_Realloc = ctypes.PYFUNCTYPE(_POINTER, _POINTER, _POINTER, _SIZE)
_Free = ctypes.PYFUNCTYPE(None, _POINTER, _POINTER, _SIZE)


class _Handler(ctypes.Structure):
    """`PyDataMem_Handler`."""

    _fields_ = (
        ("name", ctypes.c_char * 127), ("version", ctypes.c_uint8), ("ctx", _POINTER),
        ("malloc", _Malloc), ("calloc", _Calloc), ("realloc", _Realloc), ("free", _Free),
    )  # fmt: skip


@dataclass(frozen=True)
class Allocation:
    size: int
    where: str


_log: list[Allocation] = []


@dataclass
class Held:
    """Bytes of array data: now, and at the peak."""

    now: int = 0
    most: int = 0

    def change(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


_held = Held()


def _note(size: int) -> None:
    frame = sys._getframe(2)
    places = []
    while frame is not None and len(places) < 3:
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    _log.append(Allocation(size, " < ".join(places)))
    _held.change(size)


def _malloc(_: int, size: int) -> int | None:
    _note(size)
    return _libc.malloc(size)


def _calloc(_: int, count: int, size: int) -> int | None:
    _note(count * size)
    return _libc.calloc(count, size)


def _realloc(_: int, old: int, size: int) -> int | None:
    _note(size)
    return _libc.realloc(old, size)


def _free(_: int, old: int, size: int) -> None:
    _held.change(-size)
    _libc.free(old)


# Arrays made while it is active are freed through it later, so it lives as long as the process.
_handler = _Handler(
    b"noted", 1, None, _Malloc(_malloc), _Calloc(_calloc), _Realloc(_realloc), _Free(_free)
)


def _api(index: int) -> ctypes._NamedFuncPointer:
    """Return a function of NumPy's C API by its index in the table."""
    core = np._core if hasattr(np, "_core") else np.core
    capsule = core._multiarray_umath._ARRAY_API
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = _POINTER, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(capsule, None), ctypes.POINTER(_POINTER))
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[index])


@contextmanager
def noted() -> Iterator[list[Allocation]]:
    """Record the allocations of this thread while the context is active."""
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [_POINTER, ctypes.c_char_p, _POINTER]
    set_handler = _api(304)  # PyDataMem_SetHandler
    old = set_handler(new(ctypes.addressof(_handler), b"mem_handler", None))
    _log.clear()
    try:
        yield _log
    finally:
        set_handler(old)


def peak_of_arrays(work: Callable[[], object]) -> int:
    """Return the most bytes of array data that `work` holds at once, beyond what was held before."""
    with noted():
        before = _held.now
        _held.most = before
        work()
        return _held.most - before
