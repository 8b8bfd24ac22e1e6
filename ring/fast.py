"""The fast path: `ring.reference` in C (fast.c), loaded without any Python headers.

The wheel carries the library; in a source tree `python hatch_build.py` builds it. Where it is missing `load`
returns None and the reference serves: the same bytes, some 40 times slower. ctypes releases the interpreter's
lock during each call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ring.errors import RingError
from ring.logarithm import table
from ring.mixing import bucket_base, slot_base

LIBRARY = Path(__file__).with_name("libfast.so")
INTERFACE = 3

_u8 = np.ctypeslib.ndpointer(np.uint8, flags="C")
_u16 = np.ctypeslib.ndpointer(np.uint16, flags="C")
_u32 = np.ctypeslib.ndpointer(np.uint32, flags="C")
_u64 = np.ctypeslib.ndpointer(np.uint64, flags="C")
_word = ctypes.c_uint32
_base = ctypes.c_uint64
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "ring_interface": (_word, []),
    "ring_populate": (ctypes.c_int, [_word, _u32, _u32, _u16, _word, _u16]),
    "ring_failover": (ctypes.c_int, [_word, _u16, _word, _u16, _u16, _u8, _base, _base, _u64, _u16]),
    "ring_remember": (ctypes.c_int, [_word, _u16, _word, ctypes.c_void_p, _u8, _u8, _u16, _u16]),
    "ring_left_out": (None, [_word, _u16, _u16, _u16, _word, ctypes.c_void_p, _u16, _u8]),
}


class Library:
    """The functions of `ring.reference`, with the same arguments and results."""

    def __init__(self, path: Path) -> None:
        """Load the library at `path`. Raises OSError if it is missing, RingError if of another release."""
        self._c = ctypes.CDLL(str(path))
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._c, name)
            function.restype, function.argtypes = result, arguments
        found = self._c.ring_interface()
        if found != INTERFACE:
            raise RingError(
                f"{path}: interface {found}, not {INTERFACE}: rebuild with `python hatch_build.py`"
            )

    def populate(
        self,
        offsets: NDArray[np.uint32],
        skips: NDArray[np.uint32],
        weights: NDArray[np.uint16],
        size: int,
    ) -> NDArray[np.uint16]:
        home = np.empty(size, dtype=np.uint16)
        _memory(self._c.ring_populate(len(offsets), offsets.copy(), skips, weights, size, home))
        return home

    def failover(
        self,
        home: NDArray[np.uint16],
        numbers: NDArray[np.uint16],
        weights: NDArray[np.uint16],
        serving: NDArray[np.uint8],
        seed: int,
    ) -> NDArray[np.uint16]:
        servers = np.empty(len(home), dtype=np.uint16)
        chance = (bucket_base(seed), slot_base(seed), _logarithms())
        slots = (len(numbers), numbers, weights, serving)
        _memory(self._c.ring_failover(len(home), home, *slots, *chance, servers))
        return servers

    def remember(
        self,
        owners: NDArray[np.uint16],
        earlier: Sequence[NDArray[np.uint16]],
        mixed: Sequence[bool],
        allowed: NDArray[np.uint8],
        first: NDArray[np.uint16],
        second: NDArray[np.uint16],
    ) -> bool:
        past = (len(earlier), _pointers(earlier), np.array(mixed, dtype=np.uint8))
        return bool(self._c.ring_remember(len(owners), owners, *past, allowed, first, second))

    def left_out(
        self,
        owners: NDArray[np.uint16],
        first: NDArray[np.uint16],
        second: NDArray[np.uint16],
        earlier: Sequence[NDArray[np.uint16]],
        backends: Sequence[int],
    ) -> NDArray[np.bool_]:
        rows = np.zeros(1 << 16, dtype=np.uint16)
        rows[list(backends)] = np.arange(1, len(backends) + 1)
        flags = np.zeros((len(backends), len(owners)), dtype=np.uint8)
        past = (len(earlier), _pointers(earlier))
        self._c.ring_left_out(len(owners), owners, first, second, *past, rows, flags)
        return flags.view(np.bool_)


def _pointers(columns: Sequence[NDArray[np.uint16]]) -> ctypes.Array[ctypes.c_void_p]:
    """Where the columns lie; whoever hands them in keeps them alive during the call."""
    for column in columns:
        assert column.dtype == np.uint16
        assert column.flags.c_contiguous
    return (ctypes.c_void_p * len(columns))(*(column.ctypes.data for column in columns))


@cache
def load(path: Path = LIBRARY) -> Library | None:
    """Return the library at `path`, or None where it was not built."""
    return Library(path) if path.exists() else None


@cache
def _logarithms() -> NDArray[np.uint64]:
    return np.array(table(), dtype=np.uint64)


def _memory(result: int) -> None:
    if result:
        raise MemoryError("ring: no memory to build a table")
