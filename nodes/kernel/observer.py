"""`Observer`: has a Follower see what passes the interfaces of a node, and hear what the kernel says of its sockets."""

from __future__ import annotations

import socket
from typing import Any, Final

from nodes.base.clock import MICROSECOND, MILLISECOND, SECOND, Timer
from nodes.base.event_sink import EventSink
from nodes.base.events import LEVEL_CONGESTION, SOURCE_SOCK_DIAG, SOURCE_STACK, SOURCE_TRACEFS, UNKNOWN
from nodes.base.real import RealScheduler
from nodes.kernel import tcp_info
from nodes.kernel.capture import Capture, Captured
from nodes.kernel.connections import Connection, Connections
from nodes.kernel.follower import Follower, Seen
from nodes.kernel.sock_diag import Listed, SockDiag
from nodes.kernel.tracefs import Probed, StateSet, Tracefs
from nodes.packet import ipv4, ipv6
from nodes.packet.ethernet import TYPE_IPV6
from nodes.packet.malformed import MalformedPacket
from nodes.packet.tcp_codec import decode_tcp
from nodes.tcp import states

#: Longest headers: Ethernet, IPv4 and TCP with all their options.
HEADERS_LEN: Final = 14 + 60 + 60
_ETHERNET_LEN: Final = 14
_IPV4: Final = b"\x08\x00"
_BUDGET: Final = 256
#: A SYN is answered by then, or not at all.
_ANSWERED_NS: Final = 20 * MILLISECOND
#: How often the kernel is asked for its sockets while there are any: data moving, or not.
BUSY_NS: Final = 10 * MILLISECOND
QUIET_NS: Final = SECOND
#: In these the kernel has put something smaller in the socket's place, and to the tracer the socket is CLOSED.
_REPLACED: Final = (states.FIN_WAIT_2, states.TIME_WAIT)
_ZEROS: Final = bytes(65536)


class Observer:
    """Frames are counted for each interface and direction. The kernel is asked for its sockets, more often while
    numbers move (10 ms to 1 s apart): with level congestion and more, CWND and RTT come from there, source SOCK_DIAG,
    and with a tracer every change of CWND that a segment caused, source TRACEFS."""

    def __init__(
        self,
        scheduler: RealScheduler,
        connections: Connections,
        follower: Follower,
        sink: EventSink,
        name: str,
        diag: SockDiag,
        tracefs: Tracefs | None = None,
    ) -> None:
        self.polls = 0
        #: What the tracer said of states: that were as we had them, and of sockets that could not be told to be ours.
        self.confirmed = 0
        self.unattributed = 0
        self._scheduler = scheduler
        self._connections = connections
        self._follower = follower
        self._sink = sink
        self._node = sink.name(name)
        self._diag = diag
        self._tracefs = tracefs
        self._cookies: dict[int, Connection] = {}
        #: By the address of the kernel's socket.
        self._sockets: dict[int, Connection] = {}
        self._capture = Capture(scheduler.epoch_ns, HEADERS_LEN)
        #: By the kernel's index: the name in the trace, frames received, frames sent.
        self._interfaces = {
            index: [sink.name(f"{name}:{interface}"), 0, 0] for index, interface in socket.if_nameindex()
        }
        self._timer: Timer | None = None
        self._interval = BUSY_NS
        #: By number of the connection: congestion window, threshold, MSS; and the estimator's times.
        self._windows: dict[int, tuple[int, int, int]] = {}
        self._times: dict[int, tuple[int, int, int, int]] = {}
        self._taking = False
        follower.sees = True
        follower.catch_up = self.catch_up
        follower.on_new = self._on_new
        scheduler.add_reader(self._capture.fileno(), self.catch_up)

    def catch_up(self) -> None:
        """Take in all frames there are."""
        if self._taking:
            return
        self._taking = True
        try:
            while batch := self._capture.take(_BUDGET):
                for captured in batch:
                    self._on_frame(captured)
                if len(batch) < _BUDGET:
                    break
        finally:
            self._taking = False

    def dropped(self) -> int:
        """Frames that passed by unseen, because there was no time to look at them."""
        return self._capture.dropped()

    @property
    def next_time(self) -> int:
        """When the kernel will be asked again, 0: never."""
        return self._timer.time_ns if self._timer is not None else 0

    def close(self) -> None:
        """See nothing any more."""
        self._scheduler.remove_reader(self._capture.fileno())
        self._capture.close()
        if self._tracefs is not None:
            self._tracefs.close()
        if self._timer is not None:
            self._timer.cancel()

    def _on_frame(self, captured: Captured) -> None:
        counted = self._interfaces.get(captured.interface)
        if counted is None:
            return
        side = 2 if captured.sent else 1
        counted[side] += 1
        frame = captured.frame
        if frame[12:14] == TYPE_IPV6:
            found = _tcp_in_ipv6(frame)
            if found is not None:
                self._on_tcp(captured, counted, side, *found)
            return
        if frame[12:14] != _IPV4 or len(frame) < _ETHERNET_LEN + ipv4.HEADER_LEN:
            return
        first, _, total, _, fragment, _, protocol, _, src, dst = ipv4.HEADER.unpack_from(frame, _ETHERNET_LEN)
        start = _ETHERNET_LEN + ((first & 15) << 2)
        if protocol != ipv4.TCP or fragment & ipv4.OFFSET_MASK or not src:
            return
        self._on_tcp(captured, counted, side, start, _ETHERNET_LEN + total, src, dst)

    def _on_tcp(
        self, captured: Captured, counted: list[int], side: int, start: int, whole: int, src: bytes, dst: bytes
    ) -> None:
        """A TCP segment, of which the frame has from `start` to `whole`, as far as it was kept."""
        frame = captured.frame
        end = min(whole, len(frame))
        try:
            segment = decode_tcp(frame[start:end])
        except MalformedPacket:
            return
        missing = whole - end
        if missing:
            segment.payload = _ZEROS[: len(segment.payload) + missing]
        self._follower.on_segment(Seen(captured.time_ns, captured.sent, counted[0], counted[side], src, dst, segment))
        if self._interval > BUSY_NS and self._timer is not None:
            self._on_new()

    # Asking the kernel.

    def _on_new(self) -> None:
        self._interval = BUSY_NS
        if self._timer is None or self._timer.time_ns > self._scheduler.now() + BUSY_NS:
            self._arm(BUSY_NS)

    def _arm(self, after_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._scheduler.call_at(self._scheduler.real_now() + after_ns, self._on_timer, None)

    def _on_timer(self, _: Any) -> None:
        self._timer = None
        self.polls += 1
        moved = self.ask()
        if self._follower.pending:
            self._follower.give_up_pending()
            moved = True
        self._interval = BUSY_NS if moved else min(2 * self._interval, QUIET_NS)
        if any(connection.state != states.CLOSED for connection in self._connections):
            self._arm(self._interval)

    def ask(self) -> bool:
        """Ask the kernel for its TCP sockets now; returns whether numbers moved since it was asked before."""
        congestion = self._sink.level >= LEVEL_CONGESTION
        asked_ns = self._scheduler.real_now()
        listed = self._diag.sockets(with_info=congestion)
        listed_ns = self._scheduler.real_now()
        ours = [
            (connection, one)
            for one in listed
            if (connection := self._connections.at((one.local, one.local_port, one.remote, one.remote_port)))
        ]
        for connection, one in ours:
            self._cookies[one.cookie] = connection
        traced = self._tracefs.read(self._cookies) if self._tracefs is not None else []
        self.catch_up()
        moved = self._take_traced(traced, congestion)
        self._follower.reconcile(asked_ns, listed)
        if congestion:
            for connection, one in ours:
                if one.info:
                    moved |= self._take_listed(listed_ns, connection, one)
        return moved

    def _take_listed(self, now: int, connection: Connection, one: Listed) -> bool:
        raw = tcp_info.parse(one.info)
        flight = max(one.unacked - raw.notsent_bytes, 0)
        pacing = UNKNOWN if raw.pacing_rate >= 1 << 63 else raw.pacing_rate
        window = (raw.snd_cwnd, raw.snd_ssthresh, raw.snd_mss)
        times = (raw.rtt * MICROSECOND, raw.rtt * MICROSECOND, raw.rttvar * MICROSECOND, raw.rto * MICROSECOND)
        moved = self._window(now, connection, SOURCE_SOCK_DIAG, window, flight, pacing)
        if raw.rtt and self._times.get(connection.number) != times:
            self._times[connection.number] = times
            moved = True
            self._sink.source = SOURCE_SOCK_DIAG
            self._sink.rtt(now, self._node, connection.number, *times)
            self._sink.source = SOURCE_STACK
        return moved

    def _take_traced(self, events: list[StateSet | Probed], congestion: bool) -> bool:
        moved = False
        epoch_ns = self._scheduler.epoch_ns
        last: dict[Connection, StateSet] = {}
        for event in events:
            if isinstance(event, Probed):
                connection = self._sockets[event.socket] = self._cookies[event.cookie]
                known = self._windows.get(connection.number)
                if congestion and known is not None:
                    window = (event.cwnd, event.ssthresh, known[2])
                    moved |= self._window(
                        event.time_ns - epoch_ns, connection, SOURCE_TRACEFS, window, event.flight, UNKNOWN
                    )
                continue
            found = self._sockets.get(event.socket)
            if found is None:
                self.unattributed += 1
                continue
            last[found] = event
            if event.state == states.CLOSED:  # the address may be another socket's next
                del self._sockets[event.socket]
        for connection, event in last.items():
            if event.state == connection.state:
                self.confirmed += 1
            elif event.state != states.CLOSED or connection.state not in _REPLACED:
                time_ns = event.time_ns - epoch_ns
                if time_ns > connection.seen_ns:
                    self._follower.told(time_ns, connection, event.state, SOURCE_TRACEFS)
        return moved

    def _window(
        self,
        now: int,
        connection: Connection,
        source: int,
        window: tuple[int, int, int],
        flight: int,
        pacing: int,
    ) -> bool:
        """Record congestion window and threshold, in segments, with the MSS, when they changed."""
        if self._windows.get(connection.number) == window:
            return False
        self._windows[connection.number] = window
        cwnd, threshold, mss = window
        known = UNKNOWN if threshold >= tcp_info.INFINITE else threshold * mss
        self._sink.source = source
        self._sink.cwnd(now, self._node, connection.number, 0, cwnd * mss, known, flight, pacing, mss)
        self._sink.source = SOURCE_STACK
        return True


def _tcp_in_ipv6(frame: bytes) -> tuple[int, int, bytes, bytes] | None:
    """Where the segment in an IPv6 packet begins and ends, and its addresses; None when there is none."""
    start = _ETHERNET_LEN + ipv6.HEADER_LEN
    if len(frame) < start:
        return None
    word, length, protocol, _, src, dst = ipv6.HEADER.unpack_from(frame, _ETHERNET_LEN)
    if word >> 28 != 6 or protocol != ipv6.TCP:  # no kernel puts extension headers in front of its segments
        return None
    return start, start + length, src, dst
