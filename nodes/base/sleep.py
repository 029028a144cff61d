"""Sleeping until a descriptor is readable, with a time-out in nanoseconds."""

from __future__ import annotations

import ctypes
import select

from nodes.base.clock import SECOND


class _Pollfd(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Sleep:
    """`sleep(wait_ns)` until the descriptor is readable, but not longer; a signal ends it too. By ppoll(2): epoll's
    time-out is in milliseconds, and select takes descriptors up to 1023 only."""

    def __init__(self, descriptor: int) -> None:
        self._ppoll = ctypes.CDLL(None).ppoll
        self._time = _Timespec()
        # Held here: the kernel is given addresses.
        self._watched = _Pollfd(descriptor, select.POLLIN, 0)
        self._arguments = (ctypes.byref(self._watched), 1, ctypes.byref(self._time), None)

    def __call__(self, wait_ns: int) -> None:
        self._time.seconds, self._time.nanoseconds = divmod(wait_ns, SECOND)
        self._ppoll(*self._arguments)
