# Made by tools/sync_client.py from tcplab/client/aio/connection.py: change it there.
"""TCP connections and listeners. Calls that wait let lab time pass until they are done; those named `start_` do not."""

from __future__ import annotations

from tcplab.client.event import word
from tcplab.client.sync.operation import Clock, Operation, text
from tcplab.client.values import Time, duration, size
from tcplab.v1 import connection_pb2, lab_pb2, operation_pb2, tcp_pb2, trace_pb2


class Connection:
    """One end of a connection. Timeouts are lab time; errors of TCP are SocketError with their errno_name."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock = clock
        self._rpc = clock.rpc
        #: labs/{lab}/nodes/{node}/connections/{number}.
        self.name = name

    @property
    def node(self) -> str:
        """Name of its node."""
        return self.name.split("/")[3]

    @property
    def number(self) -> int:
        """Its number on the node, never used again."""
        return int(self.name.rpartition("/")[2])

    def status(self) -> connection_pb2.Connection:
        """STATUS: state, addresses, windows, round-trip times, counters; in Linux's TCP_INFO names."""
        return self._rpc.call(self._rpc.tcp.GetConnection, tcp_pb2.GetConnectionRequest(name=self.name))

    def state(self) -> str:
        """RFC 9293's name of its state, such as `FIN-WAIT-1`."""
        return _state(self.status())

    def start_send(
        self,
        data: bytes = b"",
        *,
        pattern: bytes = b"",
        length: str | int = 0,
        more: bool = False,
        end_of_record: bool = False,
        urgent: bool = False,
        timeout: Time | None = None,
    ) -> Operation:
        """SEND, without waiting until the send buffer has taken all."""
        request = tcp_pb2.SendRequest(
            connection=self.name,
            more=more,
            end_of_record=end_of_record,
            urgent=urgent,
            timeout=duration(timeout, "timeout"),
        )
        if pattern:
            request.pattern.pattern, request.pattern.length = pattern, size(length, "length")
        else:
            request.data = data
        return Operation(self._clock, self._rpc.call(self._rpc.tcp.Send, request))

    def send(
        self,
        data: bytes = b"",
        *,
        pattern: bytes = b"",
        length: str | int = 0,
        more: bool = False,
        end_of_record: bool = False,
        urgent: bool = False,
        timeout: Time | None = None,
    ) -> int:
        """SEND `data`, or `pattern` repeated to `length` bytes (`10mb`), which are then made on the node. Of the last
        byte say: `more`, that what follows soon may share its segment (MSG_MORE); `end_of_record`, that nothing may
        (MSG_EOR); `urgent`, that it is urgent data (MSG_OOB).

        Returns how many bytes, when the send buffer has taken them all; they need not have arrived.
        """
        operation = self.start_send(
            data,
            pattern=pattern,
            length=length,
            more=more,
            end_of_record=end_of_record,
            urgent=urgent,
            timeout=timeout,
        )
        return (operation.wait()).sent.length

    def start_receive(
        self,
        limit: str | int = 65536,
        *,
        at_least: str | int = 1,
        digest_only: bool = False,
        timeout: Time | None = None,
    ) -> Operation:
        """RECEIVE, without waiting."""
        request = tcp_pb2.ReceiveRequest(
            connection=self.name,
            max_length=size(limit, "limit"),
            min_length=size(at_least, "at_least"),
            digest_only=digest_only,
            timeout=duration(timeout, "timeout"),
        )
        return Operation(self._clock, self._rpc.call(self._rpc.tcp.Receive, request))

    def receive(self, limit: str | int = 65536, *, at_least: str | int = 1, timeout: Time | None = None) -> bytes:
        """RECEIVE `at_least` to `limit` bytes; fewer only at the peer's FIN (b"": nothing is left before it)."""
        return ((self.start_receive(limit, at_least=at_least, timeout=timeout)).wait()).received.data

    def receive_urgent(self, *, timeout: Time | None = None) -> bytes:
        """The urgent byte, apart from the stream (MSG_OOB), when it has come; b"" when the peer's FIN comes first."""
        request = tcp_pb2.ReceiveRequest(connection=self.name, urgent=True, timeout=duration(timeout, "timeout"))
        operation = Operation(self._clock, self._rpc.call(self._rpc.tcp.Receive, request))
        return (operation.wait()).received.data

    def receive_exactly(self, length: str | int, *, timeout: Time | None = None) -> bytes:
        """RECEIVE exactly `length` bytes; fewer only at the FIN."""
        return self.receive(length, at_least=length, timeout=timeout)

    def receive_digest(self, length: str | int, *, timeout: Time | None = None) -> operation_pb2.ReceiveResult:
        """RECEIVE `length` bytes (`10mb`), fewer only at the FIN, and get only their number and SHA-256."""
        operation = self.start_receive(length, at_least=length, digest_only=True, timeout=timeout)
        return (operation.wait()).received

    def start_wait_ready(self, *, read: bool = False, write: bool = False, timeout: Time | None = None) -> Operation:
        """Poll, without waiting."""
        request = tcp_pb2.WaitReadyRequest(
            connection=self.name, read=read, write=write, timeout=duration(timeout, "timeout")
        )
        return Operation(self._clock, self._rpc.call(self._rpc.tcp.WaitReady, request))

    def wait_ready(
        self, *, read: bool = False, write: bool = False, timeout: Time | None = None
    ) -> operation_pb2.ReadyResult:
        """Wait until it is readable (data, FIN or error) or writable, whichever is asked."""
        return ((self.start_wait_ready(read=read, write=write, timeout=timeout)).wait()).ready

    def wait_state(self, state: str) -> None:
        """Let time pass until it is in a state, such as `CLOSED`."""
        if self.state() != state:
            event = trace_pb2.EventFilter(
                kinds=["state"], node=self.node, connection=self.number, fields={"new": state}
            )
            self._clock.advance(lab_pb2.AdvanceRequest(event=event))

    def shutdown(self) -> None:
        """Half-close: no more sending; the FIN follows what is queued."""
        self._rpc.call(self._rpc.tcp.Shutdown, tcp_pb2.ShutdownRequest(connection=self.name))

    def close(self) -> None:
        """CLOSE, without waiting."""
        self._rpc.call(self._rpc.tcp.Close, tcp_pb2.CloseRequest(connection=self.name))

    def start_linger(self) -> Operation:
        """CLOSE as close(2) with SO_LINGER, without waiting for it."""
        request = tcp_pb2.LingerRequest(connection=self.name)
        return Operation(self._clock, self._rpc.call(self._rpc.tcp.Linger, request))

    def linger(self) -> None:
        """CLOSE as close(2) with SO_LINGER: wait until all that was sent is acknowledged, the FIN too, but no longer
        than that option's seconds."""
        (self.start_linger()).wait()

    def abort(self) -> None:
        """ABORT: an RST."""
        self._rpc.call(self._rpc.tcp.Abort, tcp_pb2.AbortRequest(connection=self.name))

    def option(self, name: str) -> str:
        """A socket option such as TCP_NODELAY."""
        request = tcp_pb2.GetOptionRequest(connection=self.name, option=name)
        return (self._rpc.call(self._rpc.tcp.GetOption, request)).value

    def set_option(self, name: str, value: str | int) -> None:
        """Set a socket option."""
        request = tcp_pb2.SetOptionRequest(connection=self.name, option=name, value=text(value))
        self._rpc.call(self._rpc.tcp.SetOption, request)

    def __repr__(self) -> str:
        return f"<connection {self.node}#{self.number}>"


class Listener:
    """A passive OPEN."""

    def __init__(self, clock: Clock, message: tcp_pb2.Listener) -> None:
        self._clock = clock
        self._rpc = clock.rpc
        #: labs/{lab}/nodes/{node}/listeners/{number}.
        self.name = message.name
        self.port = message.local_port

    def start_accept(self, *, timeout: Time | None = None) -> Operation:
        """Take the next established connection, without waiting for it."""
        request = tcp_pb2.AcceptRequest(listener=self.name, timeout=duration(timeout, "timeout"))
        return Operation(self._clock, self._rpc.call(self._rpc.tcp.Accept, request))

    def accept(self, *, timeout: Time | None = None) -> Connection:
        """The next established connection."""
        operation = (self.start_accept(timeout=timeout)).wait()
        return Connection(self._clock, operation.established.name)

    def close(self) -> None:
        """Stop listening; connections not yet accepted are reset."""
        self._rpc.call(self._rpc.tcp.CloseListener, tcp_pb2.CloseListenerRequest(listener=self.name))

    def __repr__(self) -> str:
        return f"<{self.name} port {self.port}>"


def _state(message: connection_pb2.Connection) -> str:
    return word(message.DESCRIPTOR.fields_by_name["state"], message.state)
