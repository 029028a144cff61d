"""`Follower`: the states of the kernel's connections, as they follow by RFC 9293 from what passes the node's interfaces
and from the user calls we make; as events, with their source.

    CONNECTION, STATE, RESET, RETRANSMIT    INFERRED; STATE also as the kernel itself says it (see `told`)
    SEGMENT, SACK                           CAPTURE

What cannot be seen from outside (a timer that ends a connection, an accept queue that is full) only the kernel can say:
`reconcile` and `told` take what it says, and then that is the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from nodes.base import causes
from nodes.base.clock import MILLISECOND
from nodes.base.event_sink import EventSink
from nodes.base.events import (
    LEVEL_CONGESTION,
    RECEIVED,
    SENT,
    SOURCE_CAPTURE,
    SOURCE_INFERRED,
    SOURCE_SOCK_DIAG,
    SOURCE_STACK,
)
from nodes.base.real import RealScheduler
from nodes.kernel.connections import ACTIVE, PASSIVE, Connection, Connections, Key
from nodes.kernel.flow import NONE, Flow
from nodes.kernel.sock_diag import Listed
from nodes.packet.address import address_text
from nodes.packet.tcp import ACK, FIN, RST, SYN, Segment
from nodes.packet.trace import record_segment
from nodes.tcp import states
from nodes.tcp.seq import MASK, unwrap

#: States that differ from the kernel's for so long without a segment are the kernel's.
SETTLED_NS: Final = 50 * MILLISECOND
_ABORTS: Final = (causes.USER_ABORT, causes.LINGER_ABORT, causes.UNREAD_DATA_AT_CLOSE)
_ENDED: Final = (states.CLOSED, states.TIME_WAIT)
#: Why the kernel alone ends a connection.
_EXPIRED: Final = {
    states.TIME_WAIT: causes.TIME_WAIT_EXPIRED,
    states.FIN_WAIT_2: causes.FIN_WAIT_2_EXPIRED,
}


class Seen(NamedTuple):
    """A segment at an interface: `frame` is the ordinal of its frame there in its direction."""

    time_ns: int
    sent: bool
    interface: int
    frame: int
    src: bytes
    dst: bytes
    segment: Segment


class Follower:
    """`catch_up` is what takes in the segments that have passed by (see capture.py)."""

    def __init__(self, scheduler: RealScheduler, connections: Connections, sink: EventSink, node: int) -> None:
        self.catch_up: Callable[[], None] = _nothing
        #: Whether the wire is seen; if not, states are what the kernel says when somebody asks.
        self.sees = False
        #: Called when there is a new connection, and somebody should look after it.
        self.on_new: Callable[[], None] = _nothing
        #: Told states that could not be put to any connection.
        self.unattributed = 0
        self._scheduler = scheduler
        self._connections = connections
        self._sink = sink
        self._node = node
        self._flows: dict[int, Flow] = {}
        #: SYNs that nobody has answered yet.
        self._pending: dict[Key, Seen] = {}

    def flow(self, connection: Connection) -> Flow:
        """The numbers of a connection."""
        flow = self._flows.get(connection.number)
        if flow is None:
            flow = self._flows[connection.number] = Flow()
        return flow

    # User calls (CallWatch).

    def opened(self, now: int, key: Key) -> Connection:
        connection = self._made(now, key, ACTIVE)
        self._move(now, connection, states.SYN_SENT, causes.USER_ACTIVE_OPEN)
        return connection

    def met(self, key: Key, origin: int) -> Connection:
        now = self._scheduler.real_now()
        connection = self._made(now, key, origin)
        if origin == PASSIVE:
            connection.state = states.LISTEN
            self._move(now, connection, states.SYN_RECEIVED, causes.SYN_RECEIVED)
            self._move(now, connection, states.ESTABLISHED, causes.ACK_OF_SYN)
        return connection

    def before_close(self, connection: Connection, cause: int) -> None:
        self.catch_up()
        flow = self.flow(connection)
        flow.close_cause = cause
        flow.call_ns = self._scheduler.real_now()

    def closed(self, connection: Connection, cause: int) -> None:
        now = self.flow(connection).call_ns
        state = connection.state
        if cause in _ABORTS or state == states.SYN_SENT:
            if state != states.CLOSED:
                self._move(now, connection, states.CLOSED, cause)
        elif state in (states.ESTABLISHED, states.SYN_RECEIVED):
            self._move(now, connection, states.FIN_WAIT_1, cause)
        elif state == states.CLOSE_WAIT:
            self._move(now, connection, states.LAST_ACK, cause)
        self.catch_up()

    # The wire.

    def on_segment(self, seen: Seen) -> None:
        """A segment has passed an interface. In the order of their instants."""
        segment = seen.segment
        if seen.sent:
            key = (seen.src, segment.src_port, seen.dst, segment.dst_port)
        else:
            key = (seen.dst, segment.dst_port, seen.src, segment.src_port)
        flags = segment.flags
        connection = self._connections.at(key)
        if flags & SYN and not flags & RST and (connection is None or connection.state in _ENDED):
            connection = self._on_first(seen, key, connection)
            if connection is None:
                return
        elif self._pending and key in self._pending:
            self.give_up_pending(key)
        if connection is None:
            self._record(seen, 0, 0, False)
            if flags & RST:
                self._reset(seen, 0, causes.NO_SUCH_CONNECTION, seen.sent)
            return
        if flags & RST:
            self._on_reset(seen, connection)
        elif seen.sent:
            self._on_sent(seen, connection)
        else:
            self._on_received(seen, connection)

    def give_up_pending(self, key: Key | None = None) -> None:
        """SYNs to which no SYN-ACK came belong to no connection."""
        for one in [key] if key is not None else list(self._pending):
            self._record(self._pending.pop(one), 0, 0, False)

    @property
    def pending(self) -> bool:
        """Whether there are SYNs that nobody has answered yet."""
        return bool(self._pending)

    def _on_first(self, seen: Seen, key: Key, before: Connection | None) -> Connection | None:
        """A SYN where no connection is. One that comes is kept until it is answered: none, or a RST, means that there
        is no connection."""
        if not seen.sent:
            if seen.segment.flags & ACK:
                self._record(seen, before.number if before is not None else 0, 0, False)
                return None
            if key in self._pending:
                self.give_up_pending(key)
            self._pending[key] = seen
            self.on_new()
            return None
        first = self._pending.pop(key, None)
        at = first or seen
        if before is not None and before.state == states.TIME_WAIT:
            self._move(at.time_ns, before, states.CLOSED, causes.TIME_WAIT_REUSED)
        if not seen.segment.flags & ACK:
            if first is not None:
                self._record(first, 0, 0, False)
            connection = self._made(seen.time_ns, key, ACTIVE)
            self._move(seen.time_ns, connection, states.SYN_SENT, causes.USER_ACTIVE_OPEN)
            return connection
        connection = self._made(at.time_ns, key, PASSIVE)
        connection.state = states.LISTEN
        if first is not None:
            self.flow(connection).offered = seen.segment.window_scale
            self.flow(connection).received(first.segment)
            self._record(first, connection.number, 0, False)
        self._move(at.time_ns, connection, states.SYN_RECEIVED, causes.SYN_RECEIVED)
        return connection

    def _on_sent(self, seen: Seen, connection: Connection) -> None:
        now = seen.time_ns
        segment = seen.segment
        flow = self.flow(connection)
        resent, start = flow.sent(segment)
        cause = _why_sent(flow, segment, resent, start)
        self._record(seen, connection.number, cause, resent)
        connection.seen_ns = now
        if resent and self._sink.level >= LEVEL_CONGESTION:
            self._sink.source = SOURCE_INFERRED
            self._sink.retransmit(
                now, self._node, connection.number, cause, segment.seq, segment.length, flow.resends.get(start, 1)
            )
            self._sink.source = SOURCE_STACK
        if segment.flags & FIN:
            why = flow.close_cause or causes.USER_CLOSE
            if connection.state in (states.ESTABLISHED, states.SYN_RECEIVED):
                self._move(now, connection, states.FIN_WAIT_1, why)
            elif connection.state == states.CLOSE_WAIT:
                self._move(now, connection, states.LAST_ACK, why)
        self._after(now, connection, flow)

    def _on_received(self, seen: Seen, connection: Connection) -> None:
        now = seen.time_ns
        flags = seen.segment.flags
        flow = self.flow(connection)
        self._record(seen, connection.number, 0, False)
        connection.seen_ns = now
        if connection.state == states.CLOSED:
            return
        flow.received(seen.segment)
        if connection.state == states.SYN_SENT and flags & SYN:
            if flags & ACK:
                if not flow.syn_acknowledged:
                    return  # of an older connection
                self._move(now, connection, states.ESTABLISHED, causes.SYN_ACK_RECEIVED)
            else:
                self._move(now, connection, states.SYN_RECEIVED, causes.SIMULTANEOUS_SYN)
        self._after(now, connection, flow)

    def _after(self, now: int, connection: Connection, flow: Flow) -> None:
        """What the numbers mean for the state; first acknowledgments, then FIN (RFC 9293 3.10.7.4)."""
        if connection.state == states.SYN_RECEIVED and flow.syn_acknowledged:
            self._move(now, connection, states.ESTABLISHED, causes.ACK_OF_SYN)
        if flow.fin_acknowledged:
            if connection.state == states.FIN_WAIT_1:
                self._move(now, connection, states.FIN_WAIT_2, causes.ACK_OF_FIN)
            elif connection.state == states.CLOSING:
                self._move(now, connection, states.TIME_WAIT, causes.ACK_OF_FIN)
            elif connection.state == states.LAST_ACK:
                self._move(now, connection, states.CLOSED, causes.ACK_OF_FIN)
        if flow.fin_taken:
            if connection.state == states.ESTABLISHED:
                self._move(now, connection, states.CLOSE_WAIT, causes.FIN_RECEIVED)
            elif connection.state == states.FIN_WAIT_1:
                self._move(now, connection, states.CLOSING, causes.FIN_RECEIVED)
            elif connection.state == states.FIN_WAIT_2:
                self._move(now, connection, states.TIME_WAIT, causes.FIN_RECEIVED)

    def _on_reset(self, seen: Seen, connection: Connection) -> None:
        now = seen.time_ns
        segment = seen.segment
        flow = self.flow(connection)
        state = connection.state
        number = connection.number
        self._record(seen, number, 0, False)
        if seen.sent:
            if state == states.CLOSED:
                known = flow.close_cause in _ABORTS
                self._reset(seen, number if known else 0, flow.close_cause if known else causes.NO_SUCH_CONNECTION)
                return
            if state == states.SYN_SENT:  # an answer to what is not of this connection
                self._reset(seen, number, causes.ACK_OF_NOTHING_SENT)
                return
            if flow.close_cause in _ABORTS:
                cause = flow.close_cause
            elif flow.probes and state != states.SYN_RECEIVED:
                cause = causes.KEEPALIVE_PROBES_EXHAUSTED
            elif flow.data_after_close:
                cause = causes.DATA_AFTER_CLOSE
            else:
                cause = causes.ACCEPT_QUEUE_FULL if state == states.SYN_RECEIVED else causes.USER_ABORT
            self._reset(seen, number, cause)
            self._move(now, connection, states.CLOSED, cause)
            return
        if state == states.CLOSED:
            self._reset(seen, number, causes.NO_SUCH_CONNECTION, accepted=False)
        elif state == states.SYN_SENT:
            fits = segment.flags & ACK and flow.snd_max != NONE and unwrap(segment.ack, flow.snd_max) == flow.snd_max
            if fits:
                self._reset(seen, number, causes.RST_RECEIVED)
                connection.error = connection.error or "ECONNREFUSED"
                self._move(now, connection, states.CLOSED, causes.RST_RECEIVED)
            else:
                self._reset(seen, number, causes.RST_WITHOUT_ACK_OF_SYN, accepted=False)
        else:
            seq = segment.seq if flow.rcv_nxt == NONE else unwrap(segment.seq, flow.rcv_nxt)
            if flow.rcv_nxt in (NONE, seq):
                self._reset(seen, number, causes.RST_RECEIVED)
                if state not in _ENDED:
                    connection.error = connection.error or ("EPIPE" if state == states.CLOSE_WAIT else "ECONNRESET")
                self._move(now, connection, states.CLOSED, causes.RST_RECEIVED)
            else:
                inside = flow.rcv_nxt < seq < flow.rcv_edge
                cause = causes.RST_NOT_EXACT if inside else causes.RST_OUT_OF_WINDOW
                self._reset(seen, number, cause, accepted=False)

    # The kernel's word.

    def reconcile(self, asked_ns: int, listed: Iterable[Listed]) -> None:
        """What the kernel, asked at that instant, lists of all TCP sockets, is so; what it does not list is CLOSED.
        Segments that have passed by since know better."""
        known = {(one.local, one.local_port, one.remote, one.remote_port): one for one in listed}
        for connection in self._connections:
            if connection.state == states.CLOSED:
                continue
            one = known.get(connection.key)
            if one is not None:
                connection.cookie = one.cookie
            state = one.state if one is not None else states.CLOSED
            if state != connection.state and asked_ns - connection.seen_ns > SETTLED_NS:
                self.told(asked_ns, connection, state, SOURCE_SOCK_DIAG)

    def asked(self, asked_ns: int, connection: Connection, state: int) -> None:
        """The kernel was asked for the state of this one at that instant. Where the wire is seen, segments that are on
        their way to us may say more than the kernel did when it was asked."""
        if not self.sees or asked_ns - connection.seen_ns > SETTLED_NS:
            self.told(asked_ns, connection, state, SOURCE_SOCK_DIAG)

    def told(self, now: int, connection: Connection, state: int, source: int) -> None:
        """The kernel says that the connection is in this state."""
        if connection.state != state:
            flow = self.flow(connection)
            cause = 0
            if state == states.CLOSED:
                cause = _EXPIRED.get(connection.state, flow.close_cause or causes.RETRIES_EXHAUSTED)
                if flow.probes and connection.state == states.ESTABLISHED:
                    cause = causes.KEEPALIVE_PROBES_EXHAUSTED
            self._move(now, connection, state, cause, source)

    # Events.

    def _made(self, now: int, key: Key, origin: int) -> Connection:
        connection = self._connections.add(key, origin)
        connection.seen_ns = now
        self._flows.pop(connection.number - 2 * 4096, None)
        sink = self._sink
        local, local_port, remote, remote_port = key
        sink.source = SOURCE_INFERRED
        sink.connection(
            now,
            self._node,
            connection.number,
            origin,
            sink.name(address_text(local)),
            local_port,
            sink.name(address_text(remote)),
            remote_port,
        )
        sink.source = SOURCE_STACK
        self.on_new()
        return connection

    def _move(self, now: int, connection: Connection, new: int, cause: int, source: int = SOURCE_INFERRED) -> None:
        old = connection.state
        connection.state = new
        connection.seen_ns = now
        sink = self._sink
        sink.source = source
        sink.state(now, self._node, connection.number, _legal(old, new, cause), old, new)
        sink.source = SOURCE_STACK
        connection.gate.notify()

    def _record(self, seen: Seen, number: int, cause: int, resent: bool) -> None:
        sink = self._sink
        sink.source = SOURCE_CAPTURE
        record_segment(
            sink,
            seen.time_ns,
            self._node,
            number,
            cause,
            SENT if seen.sent else RECEIVED,
            seen.interface,
            seen.frame,
            seen.src,
            seen.dst,
            seen.segment,
            resent,
        )
        sink.source = SOURCE_STACK

    def _reset(self, seen: Seen, number: int, cause: int, accepted: bool = True) -> None:
        sink = self._sink
        sink.source = SOURCE_INFERRED
        direction = SENT if seen.sent else RECEIVED
        sink.reset(seen.time_ns, self._node, number, cause, direction, accepted, seen.segment.seq & MASK)
        sink.source = SOURCE_STACK


def _why_sent(flow: Flow, segment: Segment, resent: bool, start: int) -> int:
    """Why a segment was sent, as far as it shows."""
    flags = segment.flags
    if flags & SYN:
        if resent:
            return causes.RETRANSMIT_SYN_ACK if flags & ACK else causes.RETRANSMIT_SYN
        return causes.HANDSHAKE
    if resent:
        return causes.RETRANSMIT_FAST if flow.dup_acks >= 3 or flow.sacked else causes.RETRANSMIT_RTO
    if flags & FIN:
        return causes.FIN_SENT
    if segment.payload:
        return causes.NEW_DATA
    if start == flow.snd_una - 1:
        return causes.KEEPALIVE_PROBE if flow.window else causes.WINDOW_PROBE
    return causes.ACK_OUT_OF_ORDER if flow.early else causes.ACK_NOW


def _legal(old: int, new: int, cause: int) -> int:
    """The cause, where the table of states knows such a transition for it; else none."""
    return cause if (old, new, cause) in states.LEGAL else 0


def _nothing() -> None:
    """Nobody is there."""
