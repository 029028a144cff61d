"""What the kernel's tracer says of TCP sockets (Documentation/trace/ftrace.rst), read raw from an instance of our own.

Its events are those of the whole machine and name no namespace, only the address of the kernel's socket; `tcp_probe`,
at every segment that an established connection receives, tells the socket's cookie too, which the namespace's own list
of sockets has (sock_diag.py). So a socket is known from the first such event on.

The instance is named after its process, so that whoever finds it later can tell that its owner has ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Container, Mapping
from typing import Final, NamedTuple

from nodes.base.errors import Unsupported
from nodes.base.processes import owned_name

#: Of each CPU: some 1,700 events.
_BUFFER_KB: Final = 256
_EVENTS: Final = {
    "sock/inet_sock_set_state": ("skaddr", "newstate"),
    "tcp/tcp_probe": ("skaddr", "sock_cookie", "snd_cwnd", "ssthresh", "snd_nxt", "snd_una"),
}
_FIELD: Final = re.compile(r"field:(.*?)\s(\w+)(\[\d+\])?;\s*offset:(\d+);\s*size:(\d+);")
_CODES: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_PAGE_HEADER: Final = 16
_COMMIT_MASK: Final = 0xFFFFF
_MISSED: Final = 1 << 31
_PADDING: Final = 29
_TIME_EXTEND: Final = 30
_TIME_STAMP: Final = 31
_WORD: Final = struct.Struct("=I")
_LONG: Final = struct.Struct("=QQ")


class StateSet(NamedTuple):
    """The kernel set a socket's state. `time_ns` is CLOCK_MONOTONIC."""

    time_ns: int
    socket: int
    state: int


class Probed(NamedTuple):
    """An established connection received a segment; windows are in segments."""

    time_ns: int
    socket: int
    cookie: int
    cwnd: int
    ssthresh: int
    flight: int


class Tracefs:
    """An instance of the tracer. `root` is a descriptor of the root of its file system, which is closed with this.

    Raises Unsupported where there is none for us: without root of the machine, or on a kernel without these events.
    """

    def __init__(self, root: int) -> None:
        #: Events that were lost because nobody read them in time, where the kernel says so: times, not events.
        self.missed = 0
        self._pipes: list[int] = []
        self._name = f"instances/{owned_name()}-{os.getpid()}"
        with contextlib.ExitStack() as undo:
            try:
                self._root = root
                undo.callback(os.close, root)
                os.mkdir(self._name, dir_fd=self._root)
                undo.callback(self._remove)
                self._write("trace_clock", "mono")
                self._write("buffer_size_kb", str(_BUFFER_KB))
                self._layouts = dict(self._layout(event) for event in _EVENTS)
                cpus = os.open(f"{self._name}/per_cpu", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._root)
                undo.callback(os.close, cpus)
                for cpu in sorted(os.listdir(cpus)):  # noqa: PTH208 - of a descriptor
                    self._pipes.append(
                        os.open(f"{cpu}/trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=cpus)
                    )
                for event in _EVENTS:
                    self._write(f"events/{event}/enable", "1")
            except OSError as error:
                for pipe in self._pipes:
                    os.close(pipe)
                self._pipes.clear()
                raise Unsupported(f"the kernel's tracer is not for us: {error.strerror}") from None
            os.close(cpus)
            undo.pop_all()

    def read(self, cookies: Container[int]) -> list[StateSet | Probed]:
        """What happened since the last time, in the order of instants: segments of sockets with these cookies, and the
        states of all sockets of the machine."""
        events: list[StateSet | Probed] = []
        for pipe in self._pipes:
            with contextlib.suppress(BlockingIOError):
                while page := os.read(pipe, 4096):
                    self._take(page, events, cookies)
        events.sort(key=_time)
        return events

    def close(self) -> None:
        """Remove the instance. Idempotent."""
        if self._pipes:
            for pipe in self._pipes:
                os.close(pipe)
            self._pipes.clear()
            self._remove()
            os.close(self._root)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(self._name, dir_fd=self._root)

    def _write(self, file: str, text: str) -> None:
        descriptor = os.open(f"{self._name}/{file}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def _layout(self, event: str) -> tuple[int, tuple[bool, tuple[struct.Struct, ...], tuple[int, ...]]]:
        """An event's number, and how and where its fields are."""
        descriptor = os.open(f"events/{event}/format", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            text = os.read(descriptor, 1 << 16).decode()
        finally:
            os.close(descriptor)
        places = {name: (int(at), int(size)) for _, name, _, at, size in _FIELD.findall(text)}
        try:
            found = [places[name] for name in _EVENTS[event]]
        except KeyError as error:
            raise Unsupported(f"this kernel's event {event} has no field {error}") from None
        number = int(text.partition("ID:")[2].split()[0])
        structs = tuple(struct.Struct("=" + _CODES[size]) for _, size in found)
        return number, (event.endswith("probe"), structs, tuple(at for at, _ in found))

    def _take(self, page: bytes, events: list[StateSet | Probed], cookies: Container[int]) -> None:
        now, commit = _LONG.unpack_from(page)
        if commit & _MISSED:
            self.missed += 1
        at = _PAGE_HEADER
        end = min(_PAGE_HEADER + (commit & _COMMIT_MASK), len(page))
        layouts: Mapping[int, tuple[bool, tuple[struct.Struct, ...], tuple[int, ...]]] = self._layouts
        while at + 4 <= end:
            word = _WORD.unpack_from(page, at)[0]
            kind, delta = word & 31, word >> 5
            at += 4
            if kind == _PADDING:
                if not delta:
                    break
                at += _WORD.unpack_from(page, at)[0]
                now += delta
                continue
            if kind in (_TIME_EXTEND, _TIME_STAMP):
                long = delta + (_WORD.unpack_from(page, at)[0] << 27)
                now = now + long if kind == _TIME_EXTEND else long | (now & ~((1 << 59) - 1))
                at += 4
                continue
            now += delta
            if kind:
                length = kind * 4
            else:
                length = _WORD.unpack_from(page, at)[0] - 4
                at += 4
            layout = layouts.get(int.from_bytes(page[at : at + 2], "little"))
            if layout is not None:
                probe, structs, places = layout
                if not probe:
                    address, state = (
                        one.unpack_from(page, at + to)[0] for one, to in zip(structs, places, strict=True)
                    )
                    events.append(StateSet(now, address, state))
                elif structs[1].unpack_from(page, at + places[1])[0] in cookies:
                    address, cookie, cwnd, ssthresh, nxt, una = (
                        one.unpack_from(page, at + to)[0] for one, to in zip(structs, places, strict=True)
                    )
                    events.append(Probed(now, address, cookie, cwnd, ssthresh, (nxt - una) & 0xFFFF_FFFF))
            at += length


def _time(event: StateSet | Probed) -> int:
    return event.time_ns
