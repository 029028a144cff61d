"""What programs on a node say to its agent (nodes/agent/door.py), with nothing but the standard library.

Everything in this package runs in the Python of whoever runs programs on a node, and starts as fast as it can: so no
package of others, and of the library only what is needed.
"""

from __future__ import annotations

import _socket
import atexit
import errno
import os
import struct
import time
from array import array
from typing import Any, Final

#: The agent's socket, an abstract name of the network namespace.
DOOR: Final = "\0tcplab"
_CHUNK: Final = 1 << 16
_INTS: Final = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_STRINGS: Final = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_BYTES: Final = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_ARRAYS: Final = {0xDC: ">H", 0xDD: ">I"}
_MAPS: Final = {0xDE: ">H", 0xDF: ">I"}
_CONSTANTS: Final = {0xC0: None, 0xC2: False, 0xC3: True}


class NotAtNode(OSError):
    """There is no agent in this network namespace, or no more."""


class UnknownName(OSError):
    """What was asked for does not exist."""


class Refused(OSError):
    """The agent cannot do it; the text says why. `errno` is EINVAL or ENETDOWN."""


def pack(value: Any) -> bytes:
    """MessagePack."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        if 0 <= value < 128:
            return bytes([value])
        return struct.pack(">Bq", 0xD3, value) if value < 1 << 63 else struct.pack(">BQ", 0xCF, value)
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        return struct.pack(">BI", 0xDB, len(data)) + data
    if isinstance(value, (bytes, bytearray)):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, dict):
        pairs = b"".join(pack(key) + pack(one) for key, one in value.items())
        return struct.pack(">BI", 0xDF, len(value)) + pairs
    return struct.pack(">BI", 0xDD, len(value)) + b"".join(map(pack, value))


def unpack(data: bytes, at: int = 0) -> tuple[Any, int]:
    """A value and where it ends. Raises IndexError or struct.error when there is not all of it."""
    kind = data[at]
    at += 1
    if kind < 0x80:
        return kind, at
    if kind >= 0xE0:
        return kind - 256, at
    if kind < 0x90:
        return _map(data, at, kind & 15)
    if kind < 0xA0:
        return _array(data, at, kind & 15)
    if kind < 0xC0:
        return _piece(data, at, kind & 31)[0].decode("utf-8", "replace"), at + (kind & 31)
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], at
    if kind in _INTS:
        return _number(data, at, _INTS[kind])
    if kind == 0xCB:
        return _number(data, at, ">d")
    if kind in _STRINGS:
        length, at = _number(data, at, _STRINGS[kind])
        piece, at = _piece(data, at, length)
        return piece.decode("utf-8", "replace"), at
    if kind in _BYTES:
        length, at = _number(data, at, _BYTES[kind])
        return _piece(data, at, length)
    if kind in _ARRAYS:
        length, at = _number(data, at, _ARRAYS[kind])
        return _array(data, at, length)
    length, at = _number(data, at, _MAPS[kind])
    return _map(data, at, length)


def _number(data: bytes, at: int, form: str) -> tuple[Any, int]:
    return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)


def _piece(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if len(data) < at + length:
        raise IndexError
    return data[at : at + length], at + length


def _array(data: bytes, at: int, length: int) -> tuple[list[Any], int]:
    found = []
    for _ in range(length):
        value, at = unpack(data, at)
        found.append(value)
    return found, at


def _map(data: bytes, at: int, length: int) -> tuple[dict[Any, Any], int]:
    found = {}
    for _ in range(length):
        key, at = unpack(data, at)
        found[key], at = unpack(data, at)
    return found, at


class Line:
    """A line to the agent. Raises NotAtNode when there is none."""

    def __init__(self) -> None:
        self._line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self._line.settimeout(None)
            self._line.connect(DOOR)
        except OSError as error:
            self._line.close()
            if error.errno not in (errno.ECONNREFUSED, errno.ENOENT):
                raise
            raise NotAtNode(errno.ENETDOWN, "no agent of a tcplab node answers in this network namespace") from None
        self._data = b""
        self._count = 0
        self._descriptors: list[int] = []

    def start(self, call: str, /, descriptor: int = -1, **arguments: Any) -> int:
        """Begin a call; returns its number. `descriptor` goes along."""
        self._count += 1
        data = pack({"id": self._count, "call": call, "args": arguments})
        rights = []
        if descriptor >= 0:
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", [descriptor]))]
        self._line.settimeout(None)
        try:
            sent = self._line.sendmsg([data], rights)
            self._line.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError):
            raise _gone() from None
        return self._count

    def answer(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next answer; None when none comes within so many seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                message, used = unpack(self._data)
            except (IndexError, struct.error):
                pass
            else:
                self._data = self._data[used:]
                return dict(message)
            self._line.settimeout(None if end is None else max(end - time.monotonic(), 0.0001))
            try:
                data, ancillary, _, _ = self._line.recvmsg(_CHUNK, 64, _socket.MSG_CMSG_CLOEXEC)
            except TimeoutError:
                return None
            except ConnectionResetError:
                raise _gone() from None
            for level, kind, content in ancillary:
                if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                    numbers = array("i")
                    numbers.frombytes(content[: len(content) // 4 * 4])
                    self._descriptors += numbers
            if not data:
                raise _gone()
            self._data += data

    def take_descriptor(self) -> int:
        """The one that came with an answer. Raises OSError EMFILE: this process may have no more of them."""
        if not self._descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self._descriptors.pop(0)

    def call(self, call: str, /, descriptor: int = -1, timeout: float | None = None, **arguments: Any) -> Any:
        """Make a call and wait for its value. Raises what `raise_error` does, TimeoutError."""
        self.start(call, descriptor, **arguments)
        answer = self.answer(timeout)
        if answer is None:
            raise TimeoutError("timed out")
        return value_of(answer)

    def fileno(self) -> int:
        """Readable when something comes."""
        return self._line.fileno()

    def close(self) -> None:
        """Let go of it."""
        self._line.close()


def value_of(answer: dict[str, Any]) -> Any:
    """The value of an answer. Raises OSError with the errno that a socket call would have, UnknownName, Refused."""
    if "error" not in answer:
        return answer["value"]
    error = answer["error"]
    if error["class"] == "SocketError":
        number = getattr(errno, error["errno_name"], errno.EIO)
        raise OSError(number, os.strerror(number))
    if error["class"] == "TimeoutError":
        raise TimeoutError("timed out")
    if error["class"] == "NotFound":
        raise UnknownName(errno.ENOENT, error["message"])
    raise Refused(errno.EINVAL if error["class"] == "InvalidArgument" else errno.ENETDOWN, error["message"])


def _gone() -> NotAtNode:
    return NotAtNode(errno.ENETDOWN, "the agent of this tcplab node has ended")


class Lines:
    """The lines of a process: each call has one for itself meanwhile, so any thread can call, and a fork too."""

    def __init__(self) -> None:
        self._free: list[Line] = []
        self._process = os.getpid()
        atexit.register(self._forget)

    def call(self, call: str, /, descriptor: int = -1, timeout: float | None = None, **arguments: Any) -> Any:
        """As Line.call."""
        return self.call_with_descriptor(call, False, descriptor, timeout, **arguments)[0]

    def call_with_descriptor(
        self,
        call: str,
        /,
        comes: bool = True,
        descriptor: int = -1,
        timeout: float | None = None,
        **arguments: Any,
    ) -> tuple[Any, int]:
        """As Line.call, and the descriptor that comes with the answer, if one does."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._forget()  # the parent's
        try:
            line = self._free.pop()
        except IndexError:
            line = Line()
        try:
            line.start(call, descriptor, **arguments)
            answer = line.answer(timeout)
            if answer is None:
                raise TimeoutError("timed out")
        except BaseException:
            line.close()  # its answer is not wanted any more
            raise
        try:
            return value_of(answer), line.take_descriptor() if comes else -1
        finally:
            self._free.append(line)

    def _forget(self) -> None:
        while self._free:
            self._free.pop().close()
