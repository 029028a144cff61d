"""A passive OPEN: one listener with its SYN queue and its accept queue, bounded and counted apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from nodes.base import causes
from nodes.base.errors import SocketError
from nodes.base.events import CALL_ACCEPT, CALL_CLOSE
from nodes.packet.address import address_text
from nodes.packet.tcp import ACK, FIN, RST, SYN, Segment
from nodes.tcp import closing, handshake, states
from nodes.tcp.handshake import deferral
from nodes.tcp.options import Options
from nodes.tcp.tcb import PASSIVE, Tcb, change_state

if TYPE_CHECKING:
    from nodes.tcp.connection import Connection
    from nodes.tcp.endpoints import Tcp


class Listener:
    """In LISTEN from `Tcp.listen` until `close`.

    A SYN makes a connection in SYN-RECEIVED, which waits in `syn_queue` (at most tcp_max_syn_backlog); the ACK of our
    SYN-ACK moves it to `accept_queue`. As on Linux that is full when it holds *more* than `backlog` connections, a
    full accept queue drops new SYNs, and a final ACK that finds it full is dropped too (tcp_abort_on_overflow: reset).
    """

    def __init__(self, tcp: Tcp, local: bytes, local_port: int, backlog: int, options: Options) -> None:
        self.tcp = tcp
        self.local = local
        self.local_port = local_port
        self.backlog = backlog
        self.options = options
        self.state = states.CLOSED
        self.syn_queue: dict[int, Connection] = {}
        self.accept_queue: deque[Connection] = deque()
        #: Called when `accept` would return a connection; never in the middle of processing.
        self.on_ready: Callable[[], None] | None = None
        self._local_name = tcp.sink.name(address_text(local))

    def open(self, now: int) -> None:
        """CLOSED -> LISTEN; called once, by `Tcp.listen`."""
        states.check_transition(self.state, states.LISTEN, causes.USER_PASSIVE_OPEN)
        self.state = states.LISTEN
        self._trace(now, causes.USER_PASSIVE_OPEN)

    @property
    def accept_full(self) -> bool:
        """Whether the accept queue takes no more."""
        return len(self.accept_queue) > self.backlog

    # SEGMENT ARRIVES in LISTEN, RFC 9293 section 3.10.7.2

    def arrive(self, now: int, src: bytes, dst: bytes, segment: Segment, isn_after: int) -> None:
        """First RST, second ACK, third SYN, fourth anything else. `isn_after`: the connection's first number must be
        beyond this one (-1: any), for a SYN that reopens from TIME-WAIT."""
        flags = segment.flags
        tcp = self.tcp
        if flags & RST:
            return
        if flags & ACK:
            tcp.reset_for(now, src, dst, segment, causes.ACK_OF_NOTHING_SENT)
            return
        if not flags & SYN:
            tcp.sink.discard(now, tcp.node, 0, causes.NO_SYN, segment.seq, len(segment.payload), flags)
            return
        counters = tcp.counters
        if self.accept_full:
            counters.TcpExtListenOverflows += 1
            counters.TcpExtListenDrops += 1
            self._drop(now, segment, causes.ACCEPT_QUEUE_FULL)
            return
        if len(self.syn_queue) >= tcp.parameters.tcp_max_syn_backlog:
            counters.TcpExtTCPReqQFullDrop += 1
            counters.TcpExtListenDrops += 1
            self._drop(now, segment, causes.SYN_QUEUE_FULL)
            return
        c = tcp.new_connection(now, PASSIVE, dst, self.local_port, src, segment.src_port, self.options, isn_after)
        c.listener = self
        c.state = states.LISTEN
        counters.TcpPassiveOpens += 1
        c.segs_in = 1
        c.last_received = now
        handshake.take_syn(c, now, segment)
        handshake.set_first_window(c, now, c.irs, segment)
        change_state(c, now, states.SYN_RECEIVED, causes.SYN_RECEIVED)
        c.ready = False
        self.syn_queue[c.number] = c
        self._trace(now, causes.SYN_RECEIVED)
        handshake.send_syn(c, now, SYN | ACK)

    def _drop(self, now: int, segment: Segment, cause: int) -> None:
        tcp = self.tcp
        tcp.sink.discard(now, tcp.node, 0, cause, segment.seq, len(segment.payload), segment.flags)
        self._trace(now, cause)

    def defers(self, c: Tcb, segment: Segment) -> bool:
        """TCP_DEFER_ACCEPT (tcp(7)): an ACK that brings nothing is as good as lost until the time is over; then the
        SYN-ACK goes once more, for a last chance."""
        if c.retransmits >= deferral(c) or segment.payload or segment.flags & FIN:
            return False
        c.deferred = True
        self.tcp.counters.TcpExtTCPDeferAcceptDrop += 1
        return True

    def admit(self, c: Tcb, now: int) -> bool:
        """Whether a connection whose SYN-ACK is acknowledged may be established now."""
        if not self.accept_full:
            return True
        counters = self.tcp.counters
        counters.TcpExtListenOverflows += 1
        counters.TcpExtListenDrops += 1
        self._trace(now, causes.ACCEPT_QUEUE_FULL)
        if self.tcp.parameters.tcp_abort_on_overflow:
            closing.reset(c, now, causes.ACCEPT_QUEUE_FULL)
        return False

    def established(self, c: Tcb, now: int) -> None:
        """A connection has completed its handshake: from the SYN queue to the accept queue."""
        self.accept_queue.append(self.syn_queue.pop(c.number))
        c.listener = None
        self._trace(now, causes.ACK_OF_SYN)
        self.tcp.ready_listeners.append(self)

    def forget(self, c: Tcb, now: int) -> None:
        """A connection has ended in SYN-RECEIVED."""
        if self.syn_queue.pop(c.number, None) is not None:
            self._trace(now, causes.NONE)

    # user calls

    def accept(self, now: int) -> Connection | None:
        """The oldest established connection, or None. It may have data, its peer's FIN or an error already.

        Raises SocketError EBADF after `close`.
        """
        tcp = self.tcp
        if self.state == states.CLOSED:
            tcp.sink.illegal(now, tcp.node, 0, causes.ERROR_DOES_NOT_EXIST, states.CLOSED, CALL_ACCEPT)
            raise SocketError("EBADF", "connection does not exist")
        if not self.accept_queue:
            return None
        c = self.accept_queue.popleft()
        tcp.sink.call(now, tcp.node, c.number, CALL_ACCEPT, 0)
        self._trace(now, causes.NONE)
        return c

    def close(self, now: int) -> None:
        """LISTEN -> CLOSED. Connections nobody has accepted are reset. Raises SocketError EBADF the second time."""
        tcp = self.tcp
        if self.state == states.CLOSED:
            tcp.sink.illegal(now, tcp.node, 0, causes.ERROR_DOES_NOT_EXIST, states.CLOSED, CALL_CLOSE)
            raise SocketError("EBADF", "connection does not exist")
        states.check_transition(self.state, states.CLOSED, causes.USER_CLOSE)
        self.state = states.CLOSED
        tcp.forget_listener(self)
        for c in list(self.syn_queue.values()):
            if c.state == states.SYN_RECEIVED:
                change_state(c, now, states.CLOSED, causes.USER_CLOSE)
            else:
                # Closed by its number, before anybody could accept it.
                closing.reset(c, now, causes.USER_ABORT)
        for c in self.accept_queue:
            if c.state != states.CLOSED:
                c.user_closed = True
                closing.reset(c, now, causes.USER_ABORT)
        self.accept_queue.clear()
        self._trace(now, causes.USER_CLOSE)
        if self.on_ready is not None:
            self.on_ready()

    def set_option(self, now: int, name: str, value: object) -> None:
        """Set an option for the connections to come. Raises InvalidArgument."""
        self.options.set(self.tcp.parameters, name, value)

    def get_option(self, name: str) -> int | str:
        """An option's value. Raises InvalidArgument."""
        return self.options.get(name)

    def _trace(self, now: int, cause: int) -> None:
        tcp = self.tcp
        tcp.sink.listener(
            now,
            tcp.node,
            0,
            cause,
            self._local_name,
            self.local_port,
            len(self.syn_queue),
            len(self.accept_queue),
            self.backlog,
        )
