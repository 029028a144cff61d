"""A passive OPEN: one listener with its SYN queue and its accept queue, bounded and counted apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from nodes.base import causes
from nodes.base.clock import NEVER
from nodes.base.errors import SocketError
from nodes.base.events import CALL_ACCEPT, CALL_CLOSE
from nodes.packet.address import address_text
from nodes.packet.tcp import ACK, FIN, RST, SYN, Segment
from nodes.tcp import arrivals, closing, handshake, segments, states, syncookies
from nodes.tcp.fastopen import FastOpenServer
from nodes.tcp.handshake import deferral
from nodes.tcp.mutants import two_way_handshake
from nodes.tcp.options import Options
from nodes.tcp.scoreboard import Sent
from nodes.tcp.seq import MASK
from nodes.tcp.tcb import PASSIVE, Tcb, change_state

if TYPE_CHECKING:
    from nodes.tcp.connection import Connection
    from nodes.tcp.endpoints import Tcp


class Listener:
    """In LISTEN from `Tcp.listen` until `close`.

    A SYN makes a connection in SYN-RECEIVED, which waits in `syn_queue`; the ACK of our SYN-ACK moves it to
    `accept_queue`. As on Linux both are full when they hold *more* than `backlog` connections. A full SYN queue is
    passed over by SYN cookies (tcp_syncookies), else drops new SYNs; without cookies tcp_max_syn_backlog bounds it too.
    A full accept queue drops new SYNs, and a final ACK that finds it full (tcp_abort_on_overflow: resets).
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
        #: How many in the SYN queue have had no timeout.
        self.young = 0
        #: When the last SYN cookie was sent.
        self.cookie_at = -NEVER
        #: Called when `accept` would return a connection; never in the middle of processing.
        self.on_ready: Callable[[], None] | None = None
        self.fast_open = FastOpenServer()
        #: Those at the same address and port, this one too (SO_REUSEPORT); None when there was never another.
        self.group: list[Listener] | None = None
        self._local_name = tcp.sink.name(address_text(local))

    def open(self, now: int) -> None:
        """CLOSED -> LISTEN; called once, by `Tcp.listen`."""
        states.check_transition(self.state, states.LISTEN, causes.USER_PASSIVE_OPEN)
        self.state = states.LISTEN
        self.fast_open.listen(self.tcp.parameters, self.backlog)
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
            if flags & SYN or not self._take_cookie(now, src, dst, segment):
                tcp.reset_for(now, src, dst, segment, causes.ACK_OF_NOTHING_SENT)
            return
        if not flags & SYN:
            tcp.sink.discard(now, tcp.node, 0, causes.NO_SYN, segment.seq, len(segment.payload), flags)
            return
        counters = tcp.counters
        parameters = tcp.parameters
        cookies = parameters.tcp_syncookies
        # RFC 9293 section 3.6.1: a connection that follows one in TIME-WAIT has a real peer, and is let in.
        cookie = isn_after < 0 and (cookies == 2 or len(self.syn_queue) > self.backlog)
        if cookie and cookies:
            counters.TcpExtTCPReqQFullDoCookies += 1
        elif cookie:
            counters.TcpExtTCPReqQFullDrop += 1
            self._drop(now, segment, causes.SYN_QUEUE_FULL)
            return
        if self.accept_full:
            counters.TcpExtListenOverflows += 1
            self._drop(now, segment, causes.ACCEPT_QUEUE_FULL)
            return
        if cookie:
            self._send_cookie(now, src, dst, segment)
            return
        longest = parameters.tcp_max_syn_backlog
        if not cookies and isn_after < 0 and longest - len(self.syn_queue) < longest >> 2:
            # Linux keeps the last quarter for peers it has met before; here nobody has met anybody.
            self._drop(now, segment, causes.SYN_QUEUE_FULL)
            return
        fast, answer = False, None
        if segment.fast_open is not None or segment.payload:
            fast, answer = self.fast_open.examine(now, self, src, dst, segment)
        c = tcp.new_connection(now, PASSIVE, dst, self.local_port, src, segment.src_port, self.options, isn_after)
        if fast:
            self._admit_early(c, now, segment)
        else:
            self._enqueue(c, now, segment, causes.SYN_RECEIVED)
        handshake.send_syn(c, now, SYN | ACK, b"", answer)
        if parameters.mutants.two_way_handshake and not fast:
            two_way_handshake.establish(c, now, segment)

    def _enqueue(self, c: Connection, now: int, syn: Segment, cause: int) -> None:
        """LISTEN -> SYN-RECEIVED, in the SYN queue."""
        self._receive_syn(c, now, syn, cause)
        c.listener = self
        self.syn_queue[c.number] = c
        self.young += 1
        self._trace(now, cause)

    def _admit_early(self, c: Connection, now: int, syn: Segment) -> None:
        """LISTEN -> SYN-RECEIVED, in the accept queue at once (RFC 7413 section 4.2.2)."""
        self.fast_open.adopt(c, self)
        self._receive_syn(c, now, syn, causes.FAST_OPEN)
        handshake.open_early(c, now, syn)
        self.accept_queue.append(c)
        self._trace(now, causes.FAST_OPEN)
        self.tcp.ready_listeners.append(self)

    def _receive_syn(self, c: Connection, now: int, syn: Segment, cause: int) -> None:
        c.state = states.LISTEN
        self.tcp.counters.TcpPassiveOpens += 1
        c.segs_in = 1
        c.last_received = now
        handshake.take_syn(c, now, syn)
        handshake.set_first_window(c, now, c.irs, syn)
        change_state(c, now, states.SYN_RECEIVED, cause)
        c.ready = False

    def _send_cookie(self, now: int, src: bytes, dst: bytes, segment: Segment) -> None:
        """Answer a SYN and forget it."""
        tcp = self.tcp
        c = tcp.embryo(now, 0, PASSIVE, dst, self.local_port, src, segment.src_port, self.options, 0)
        handshake.take_syn(c, now, segment)
        syncookies.bake(c, tcp.isn, now)
        self.cookie_at = now
        tcp.counters.TcpExtSyncookiesSent += 1
        self._trace(now, causes.SYN_COOKIE)
        segments.transmit_syn(c, now, SYN | ACK, causes.SYN_COOKIE, False)

    def _take_cookie(self, now: int, src: bytes, dst: bytes, segment: Segment) -> bool:
        """Whether an ACK brings back a cookie of ours: then it has been dealt with."""
        tcp = self.tcp
        if not tcp.parameters.tcp_syncookies or now - self.cookie_at > syncookies.LOOKED_FOR:
            return False
        counters = tcp.counters
        embryo = tcp.embryo(now, 0, PASSIVE, dst, self.local_port, src, segment.src_port, self.options, 0)
        syn = syncookies.eat(embryo, tcp.isn, now, segment)
        if syn is None:
            counters.TcpExtSyncookiesFailed += 1
            return False
        counters.TcpExtSyncookiesRecv += 1
        if self.accept_full:
            counters.TcpExtListenOverflows += 1
            self._drop(now, segment, causes.ACCEPT_QUEUE_FULL)
            return True
        iss = (segment.ack - 1) & MASK
        c = tcp.add_connection(now, PASSIVE, dst, self.local_port, src, segment.src_port, self.options, iss)
        # As on Linux this ACK establishes: there was no SYN-ACK of a queue whose timer could wait for data.
        c.options.defer_accept = 0
        self._enqueue(c, now, syn, causes.SYN_COOKIE)
        # Nobody knows when the SYN-ACK was sent: no round-trip sample, as for one that was sent twice.
        sent = Sent(iss, iss + 1, SYN | ACK, b"", now)
        sent.count = 1
        c.board.add(sent)
        c.snd_nxt = iss + 1
        c.last_sent = now
        arrivals.arrive(c, now, segment)
        return True

    def _drop(self, now: int, segment: Segment, cause: int) -> None:
        tcp = self.tcp
        tcp.counters.TcpExtListenDrops += 1
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
            counters.TcpExtEmbryonicRsts += 1
            closing.reset(c, now, causes.ACCEPT_QUEUE_FULL)
        return False

    def established(self, c: Tcb, now: int) -> None:
        """A connection has completed its handshake: from the SYN queue to the accept queue."""
        self.accept_queue.append(self.syn_queue.pop(c.number))
        self._aged(c)
        c.listener = None
        self._trace(now, causes.ACK_OF_SYN)
        self.tcp.ready_listeners.append(self)

    def _aged(self, c: Tcb) -> None:
        if not c.retransmits:
            self.young -= 1

    def synack_retries(self, c: Tcb) -> int:
        """How often the SYN-ACK of `c`, whose timer has expired, is sent again: less when the queue is more than half
        full of old ones, as Linux has it (reqsk_timer_handler)."""
        retries = self.tcp.parameters.tcp_synack_retries
        length = len(self.syn_queue)
        if length * 2 > max(8, self.backlog):
            young = self.young * 2
            while retries > 2 and length >= young:
                retries -= 1
                young *= 2
        if retries and not c.retransmits:
            self.young -= 1
        return retries

    def forget(self, c: Tcb, now: int) -> None:
        """A connection has ended in SYN-RECEIVED."""
        if self.syn_queue.pop(c.number, None) is not None:
            self._aged(c)
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
