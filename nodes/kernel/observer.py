"""`Observer`: has a Follower see what passes the interfaces of a node, and hear what the kernel says of its sockets."""

from __future__ import annotations

import socket
from typing import Any, Final

from nodes.base.clock import MILLISECOND, SECOND, Timer
from nodes.base.events import (
    LEVEL_CONGESTION,
    SOURCE_SOCK_DIAG,
    SOURCE_STACK,
    UNKNOWN,
    EventSink,
)
from nodes.base.real import RealScheduler
from nodes.kernel import tcp_info
from nodes.kernel.capture import Capture, Captured
from nodes.kernel.connections import Connections
from nodes.kernel.follower import Follower, Seen
from nodes.kernel.sock_diag import Listed, SockDiag
from nodes.packet import ipv4
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
BUSY_NS: Final = 20 * MILLISECOND
QUIET_NS: Final = SECOND
_ZEROS: Final = bytes(65536)
_Values = tuple[int, int, int, int, int]


class Observer:
    """Frames are counted for each interface and direction. With level congestion and more, CWND and RTT come from
    asking, source SOCK_DIAG: more often while numbers move (20 ms to 1 s apart)."""

    def __init__(
        self,
        scheduler: RealScheduler,
        connections: Connections,
        follower: Follower,
        sink: EventSink,
        name: str,
        diag: SockDiag,
    ) -> None:
        self.polls = 0
        self._scheduler = scheduler
        self._connections = connections
        self._follower = follower
        self._sink = sink
        self._node = sink.name(name)
        self._diag = diag
        self._capture = Capture(scheduler.epoch_ns, HEADERS_LEN)
        #: By the kernel's index: the name in the trace, frames received, frames sent.
        self._interfaces = {
            index: [sink.name(f"{name}:{interface}"), 0, 0] for index, interface in socket.if_nameindex()
        }
        self._timer: Timer | None = None
        self._interval = BUSY_NS
        self._values: dict[int, tuple[_Values, _Values]] = {}
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
        if self._timer is not None:
            self._timer.cancel()

    def _on_frame(self, captured: Captured) -> None:
        counted = self._interfaces.get(captured.interface)
        if counted is None:
            return
        side = 2 if captured.sent else 1
        counted[side] += 1
        frame = captured.frame
        if frame[12:14] != _IPV4 or len(frame) < _ETHERNET_LEN + ipv4.HEADER_LEN:
            return
        first, _, total, _, fragment, _, protocol, _, src, dst = ipv4.HEADER.unpack_from(frame, _ETHERNET_LEN)
        start = _ETHERNET_LEN + ((first & 15) << 2)
        if protocol != ipv4.TCP or fragment & ipv4.OFFSET_MASK or not src:
            return
        end = min(_ETHERNET_LEN + total, len(frame))
        try:
            segment = decode_tcp(frame[start:end])
        except MalformedPacket:
            return
        missing = _ETHERNET_LEN + total - end
        if missing:
            segment.payload = _ZEROS[: len(segment.payload) + missing]
        self._follower.on_segment(Seen(captured.time_ns, captured.sent, counted[0], counted[side], src, dst, segment))

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
        listed = self._diag.sockets(with_info=congestion)
        self.catch_up()
        now = self._scheduler.real_now()
        self._follower.reconcile(now, listed)
        return self._record(now, listed) if congestion else False

    def _record(self, now: int, listed: list[Listed]) -> bool:
        moved = False
        sink = self._sink
        sink.source = SOURCE_SOCK_DIAG
        for one in listed:
            connection = self._connections.at((one.local, one.local_port, one.remote, one.remote_port))
            if connection is None or not one.info:
                continue
            raw = tcp_info.parse(one.info)
            mss = raw.snd_mss
            flight = max(one.unacked - raw.notsent_bytes, 0)
            threshold = UNKNOWN if raw.snd_ssthresh >= tcp_info.INFINITE else raw.snd_ssthresh * mss
            pacing = UNKNOWN if raw.pacing_rate >= 1 << 63 else raw.pacing_rate
            window = (raw.snd_cwnd * mss, threshold, flight, pacing, mss)
            times = (raw.rtt * 1000, raw.rtt * 1000, raw.rttvar * 1000, raw.rto * 1000, 0)
            before = self._values.get(connection.number, ((0,) * 5, (0,) * 5))
            if before == (window, times):
                continue
            moved = True
            self._values[connection.number] = (window, times)
            if before[0] != window:
                sink.cwnd(now, self._node, connection.number, 0, *window)
            if before[1] != times and raw.rtt:
                sink.rtt(now, self._node, connection.number, *times[:4])
        sink.source = SOURCE_STACK
        return moved
