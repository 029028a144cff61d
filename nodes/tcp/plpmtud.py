"""Packetization layer path MTU discovery (RFC 4821), as Linux has it (tcp_mtu_probing).

Larger segments of data are tried, between what is known to pass and what certainly does not, so that no router has to
say anything."""

from __future__ import annotations

from typing import Final

from nodes.base import causes
from nodes.base.clock import SECOND
from nodes.packet.tcp import ACK, PSH
from nodes.tcp import pathmtu, retransmit, segments, sender
from nodes.tcp.icmp import LOWEST_MTU_V6
from nodes.tcp.tcb import Tcb

#: Values of tcp_mtu_probing: not before the path looks like a black hole; from the start.
AFTER_BLACK_HOLE: Final = 1
ALWAYS: Final = 2
#: Segments that the congestion window must have room for: a probe that is lost is to be noticed by duplicate ACKs.
_LEAST_WINDOW: Final = 11


class Search:
    """Packets of `low` bytes pass (eff_pmtu of RFC 4821), none of more than `high` does. `size` is that of the probe
    that is out, 0: none is; it takes [`start`, `end`) of the sequence space. `since`: when the range was set, ns."""

    __slots__ = ("end", "high", "low", "since", "size", "start")

    def __init__(self, low: int, high: int, since: int) -> None:
        self.low = low
        self.high = high
        self.since = since
        self.size = 0
        self.start = 0
        self.end = 0


def begin(c: Tcb, now: int) -> None:
    """Segments are of tcp_base_mss, as far as peer and path let them, until larger ones have passed."""
    c.search = Search(_passing(c, c.tcp.parameters.tcp_base_mss), min(_largest(c), c.mtu), now)


def suspect_black_hole(c: Tcb, now: int) -> None:
    """Timeout after timeout: perhaps our segments are too large for a path that does not say so (RFC 4821 section 7.7).
    They become tcp_base_mss, and half of that each time it does not help."""
    parameters = c.tcp.parameters
    if not parameters.tcp_mtu_probing:
        return
    search = c.search
    if search is None:
        begin(c, now)
    else:
        mss = min(sender.mss_for(c, search.low) >> 1, parameters.tcp_base_mss)
        search.low = _passing(c, max(mss, parameters.tcp_mtu_probe_floor, parameters.tcp_min_snd_mss))
    pathmtu.resize(c, now, causes.MTU_BLACK_HOLE)


def probe(c: Tcb, now: int) -> bool:
    """Send a probe of new data, where one is wanted and possible (RFC 4821 sections 7.3 to 7.5). True: nothing else may
    go meanwhile, for the windows have to drain before one can."""
    search = c.search
    if search is None or search.size or not _calm(c):
        return False
    mss = c.mss
    size = sender.mss_for(c, (search.low + search.high) >> 1)
    if search.high - search.low < c.tcp.parameters.tcp_probe_threshold or size <= mss:
        _search_again(c, now, search)
        return False
    # What follows the probe tells of its loss.
    needed = size + (max(c.rack.degree, c.tcp.parameters.tcp_reordering) + 1) * mss
    queue = c.snd_queue
    if queue.length < needed or (queue.ends and queue.to_end() < size) or c.snd_wnd < needed:
        return False
    if c.snd_una + c.snd_wnd - c.snd_nxt < needed:
        return True
    congestion = c.congestion
    flying = c.board.flying
    if flying + size > congestion.cwnd:
        return flying > 0
    if congestion.pacing_rate and not sender.paced(c, now, size):
        return True
    search.size = _packet_of(c, size)
    search.start = c.snd_nxt
    search.end = c.snd_nxt + size
    payload = queue.take(size)
    sender.send_new(c, now, search.end, ACK | PSH if queue.at_write_end else ACK, payload, causes.MTU_PROBE)
    return False


def _calm(c: Tcb) -> bool:
    """Whether nothing else is going on that a loss, or an option that takes room, could be mistaken for."""
    return not (
        c.in_recovery
        or c.rto_recovery
        or c.dup_acks
        or c.board.sacked
        or c.snd_una < c.cwr_until
        or c.received.due
        or c.congestion.cwnd < _LEAST_WINDOW * c.mss
    )


def _search_again(c: Tcb, now: int, search: Search) -> None:
    """The search is at its end: after tcp_probe_interval the path may have become wider (RFC 4821 section 7.2)."""
    if now - search.since >= c.tcp.parameters.tcp_probe_interval * SECOND:
        search.low = _packet_of(c, c.mss)
        search.high = min(_largest(c), c.mtu)
        search.since = now


def passed(c: Tcb, now: int, search: Search) -> None:
    """The probe has arrived (RFC 4821 section 7.6.1)."""
    search.low = search.size
    search.size = 0
    c.tcp.counters.TcpExtTCPMTUPSuccess += 1
    pathmtu.resize(c, now, causes.MTU_PROBED)


def lost(c: Tcb, now: int) -> bool:
    """Something is lost. If it is the probe and nothing else, that is no sign of congestion (RFC 4821 section 7.6.2):
    its data goes again at once in segments that pass, and True is returned."""
    search = c.search
    board = c.board
    if search is None or not search.size or c.snd_una != search.start or board.lost > search.end - search.start:
        return False
    search.high = search.size - 1
    search.size = 0
    c.tcp.counters.TcpExtTCPMTUPFail += 1
    board.lose(board.first)
    if board.losses:
        board.losses.clear()
    while (record := board.next_lost()) is not None:
        if len(record.payload) > c.mss:
            board.split(record, c.mss)
        retransmit.resend(c, now, record, causes.RETRANSMIT_MTU_PROBE)
    return True


def _passing(c: Tcb, mss: int) -> int:
    """Bytes of a packet with `mss` of payload, which we expect to pass: of IPv6 every link takes this much."""
    size = _packet_of(c, mss)
    return max(size, LOWEST_MTU_V6) if len(c.remote) == 16 else size


def _packet_of(c: Tcb, mss: int) -> int:
    """Bytes of a packet with `mss` of payload."""
    return mss + segments.header_length(c) + sender.options_length(c)


def _largest(c: Tcb) -> int:
    """The largest packet that the peer takes, by its MSS option and our TCP_MAXSEG."""
    return min(c.options.maxseg or c.peer_mss, c.peer_mss) + segments.header_length(c)
