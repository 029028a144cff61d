"""TcpInfo: what STATUS tells (RFC 9293 section 3.9.1.6), with the field names of Linux's TCP_INFO."""

from __future__ import annotations

from dataclasses import dataclass

from nodes.tcp import segments, states
from nodes.tcp.scoreboard import FLYING
from nodes.tcp.tcb import Tcb


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """A snapshot. Unlike Linux, times are ns and windows bytes (`snd_mss` is beside them)."""

    number: int
    local_address: bytes
    local_port: int
    remote_address: bytes
    remote_port: int
    state: int  # number of nodes.tcp.states
    state_name: str
    error: str  # errno name the connection failed with, or ""
    ca_state: str  # "Open", "Disorder", "Recovery" or "Loss", as in Linux
    congestion: str  # name of the congestion control
    options: tuple[str, ...]  # of "timestamps", "sack", "wscale"
    snd_wscale: int
    rcv_wscale: int
    rto: int  # ns
    rtt: int  # smoothed, ns; 0: no sample yet
    rttvar: int  # ns
    retransmits: int  # timeouts in a row
    probes: int  # unanswered window and keepalive probes
    backoff: int  # how often the RTO is doubled
    snd_mss: int  # payload bytes of a full segment
    rcv_mss: int  # estimate of the peer's, bytes
    advmss: int  # our MSS option, bytes
    pmtu: int  # bytes
    snd_cwnd: int  # bytes
    snd_ssthresh: int  # bytes
    snd_wnd: int  # bytes
    rcv_wnd: int  # bytes
    unacked: int  # bytes sent and not acknowledged
    lost: int  # of these, believed lost, bytes
    retrans: int  # segments outstanding that were sent again
    total_retrans: int  # segments sent again in all
    notsent_bytes: int  # queued, never sent
    rcv_queue: int  # bytes the user has not read
    reordering_queue: int  # bytes out of order
    bytes_acked: int
    bytes_received: int
    delivered: int  # bytes known to have reached the peer
    segs_in: int
    segs_out: int
    last_data_sent: int  # instant, ns
    last_segment_received: int  # instant, ns
    iss: int  # raw 32-bit numbers of the wire
    irs: int
    snd_una: int
    snd_nxt: int
    rcv_nxt: int


def info(c: Tcb) -> TcpInfo:
    """The snapshot of now."""
    if c.rto_recovery:
        ca_state = "Loss"
    elif c.in_recovery:
        ca_state = "Recovery"
    else:
        ca_state = "Disorder" if c.dup_acks else "Open"
    agreed = []
    if c.synchronized and c.timestamps:
        agreed.append("timestamps")
    if c.synchronized and c.sack:
        agreed.append("sack")
    if c.synchronized and c.scaling:
        agreed.append("wscale")
    wire = 0xFFFF_FFFF
    return TcpInfo(
        number=c.number,
        local_address=c.local,
        local_port=c.local_port,
        remote_address=c.remote,
        remote_port=c.remote_port,
        state=c.state,
        state_name=states.STATE_NAMES[c.state],
        error=c.error,
        ca_state=ca_state,
        congestion=c.options.congestion,
        options=tuple(agreed),
        snd_wscale=c.snd_shift,
        rcv_wscale=c.rcv_shift,
        rto=c.rto,
        rtt=c.srtt,
        rttvar=c.rttvar,
        retransmits=c.retransmits,
        probes=c.probes + c.keepalive_probes,
        backoff=c.backoff,
        snd_mss=c.mss,
        rcv_mss=c.rcv_mss,
        advmss=segments.announced_mss(c),
        pmtu=c.mtu,
        snd_cwnd=c.congestion.cwnd,
        snd_ssthresh=c.congestion.ssthresh,
        snd_wnd=c.snd_wnd,
        rcv_wnd=c.rcv_wnd,
        unacked=c.snd_nxt - c.snd_una,
        lost=c.board.lost,
        retrans=sum(1 for sent in c.board if sent.count and sent.state == FLYING),
        total_retrans=c.total_retrans,
        notsent_bytes=c.snd_queue.length,
        rcv_queue=c.buffered,
        reordering_queue=c.reassembly.length,
        bytes_acked=c.bytes_acked,
        bytes_received=c.bytes_received,
        delivered=c.delivered,
        segs_in=c.segs_in,
        segs_out=c.segs_out,
        last_data_sent=c.last_sent,
        last_segment_received=c.last_received,
        iss=c.iss & wire,
        irs=c.irs & wire,
        snd_una=c.snd_una & wire,
        snd_nxt=c.snd_nxt & wire,
        rcv_nxt=c.rcv_nxt & wire,
    )
