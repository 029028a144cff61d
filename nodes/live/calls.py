"""What a BSD-like socket asks of the stack it belongs to, wherever that runs. `LiveStack` answers in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from nodes.tcp.info import TcpInfo

#: Takes (readable, writable) of one socket, at every change, in a thread of the stack's.
Watch = Callable[[bool, bool], None]


class Calls(ABC):
    """Connections and listeners are meant by number. Addresses are bytes, b"" for any of ours and zeros for any of
    one family; port 0 is chosen here.

    Every call blocks its thread until it is done, but no longer than `timeout_ns` (NEVER: no limit), after which it
    raises TimeoutError and has changed nothing; with 0, SocketError EAGAIN at once. All raise SocketError for what TCP
    refuses, InvalidArgument for values that nothing could accept and FailedPrecondition when the stack is no more.
    """

    @abstractmethod
    def resolve(self, name: str, six: bool) -> bytes:
        """The address of a host, of IPv6 rather than IPv4 for `six` and the other way round: "" is any of ours. Raises
        NotFound."""

    @abstractmethod
    def family_of(self, name: str) -> int:
        """AF_INET6 for a host with an IPv6 address only, else AF_INET."""

    @abstractmethod
    def bind(self, local: bytes, port: int, reuse: bool, reuseport: bool) -> tuple[int, int]:
        """Hold a local port until `unbind`; returns the number of the binding, and the port. `reuse` and `reuseport`
        are SO_REUSEADDR and SO_REUSEPORT (nodes/tcp/ports.py). Raises SocketError EADDRINUSE, EADDRNOTAVAIL."""

    @abstractmethod
    def unbind(self, binding: int) -> None:
        """Let go of a port. Returns at once."""

    @abstractmethod
    def open(self, remote: bytes, remote_port: int, binding: int, options: Mapping[str, object]) -> int:
        """Active OPEN, from what was bound (0: the stack chooses): returns the connection when its SYN is sent."""

    @abstractmethod
    def established(self, connection: int, timeout_ns: int) -> None:
        """Wait for the end of the handshake. Raises the SocketError it failed with."""

    @abstractmethod
    def listen(self, binding: int, backlog: int, options: Mapping[str, object]) -> int:
        """Passive OPEN where it was bound: returns the listener."""

    @abstractmethod
    def accept(self, listener: int, timeout_ns: int) -> int:
        """The next established connection."""

    @abstractmethod
    def send(self, connection: int, data: bytes, timeout_ns: int, more: bool, end: bool, urgent: bool) -> int:
        """SEND at least one byte; returns how many the send buffer has taken. `more`, `end` and `urgent` are
        MSG_MORE, MSG_EOR and MSG_OOB, of the last of them all."""

    @abstractmethod
    def send_all(self, connection: int, data: bytes, timeout_ns: int, more: bool, end: bool, urgent: bool) -> None:
        """SEND everything, as `send`. A timeout leaves queued what was taken until then."""

    @abstractmethod
    def receive(self, connection: int, limit: int, timeout_ns: int) -> bytes:
        """RECEIVE 1 to `limit` bytes, limit > 0; b"" at end of file."""

    @abstractmethod
    def peek(self, connection: int, limit: int, timeout_ns: int) -> bytes:
        """As `receive`, but the bytes stay."""

    @abstractmethod
    def receive_urgent(self, connection: int, peek: bool) -> bytes:
        """The urgent byte, apart from the stream (MSG_OOB). Raises SocketError EINVAL: there is none; EAGAIN: it has
        not come yet."""

    @abstractmethod
    def at_mark(self, connection: int) -> bool:
        """Whether the next byte to read is where the urgent data was."""

    @abstractmethod
    def shutdown(self, connection: int) -> None:
        """Half-close: FIN after what is queued."""

    @abstractmethod
    def shut_read(self, connection: int) -> None:
        """Nobody waits for data any more: what there is can be received, then it is as at the end of file."""

    @abstractmethod
    def close(self, connection: int) -> None:
        """CLOSE. Returns at once; nothing happens when it was closed."""

    @abstractmethod
    def delivered(self, connection: int, timeout_ns: int) -> None:
        """Wait until the peer has acknowledged all, our FIN included, or the connection is gone."""

    @abstractmethod
    def close_listener(self, listener: int) -> None:
        """Stop listening. Returns at once; nothing happens when it was closed."""

    @abstractmethod
    def set_option(self, connection: int, name: str, value: object) -> None:
        """Set an option of `nodes.tcp.options` on a connection."""

    @abstractmethod
    def set_listener_option(self, listener: int, name: str, value: object) -> None:
        """Set an option of the connections that a listener will have."""

    @abstractmethod
    def check_option(self, name: str, value: object) -> None:
        """Raise what `set_option` would raise."""

    @abstractmethod
    def chosen(self, options: Mapping[str, object], name: str) -> int | str:
        """What an option is on a socket without connection or listener, on which some were chosen."""

    @abstractmethod
    def get_option(self, connection: int, name: str) -> int | str:
        """An option of a connection; 0: what it is at first."""

    @abstractmethod
    def take_error(self, connection: int) -> str:
        """The errno name the connection failed with, if nobody was told yet; then ""."""

    @abstractmethod
    def status(self, connection: int) -> TcpInfo:
        """STATUS."""

    @abstractmethod
    def watch(self, connection: int, watch: Watch | None) -> None:
        """Tell `watch` whether the connection is readable and writable, now and at every change. None: no longer;
        returns at once then."""

    @abstractmethod
    def watch_listener(self, listener: int, watch: Watch | None) -> None:
        """The same for a listener, which is readable when `accept` would not wait."""
