"""TcpInfo: what STATUS tells (RFC 9293 section 3.9.1.6), with the field names of Linux's TCP_INFO."""

from __future__ import annotations

from dataclasses import dataclass

from nodes.base.clock import NEVER
from nodes.packet.tcp import CE, ECT_0, ECT_1, NOT_ECT
from nodes.tcp import chronograph, segments, sender, states
from nodes.tcp.accecn import AccEcn
from nodes.tcp.scoreboard import FLYING
from nodes.tcp.tcb import PASSIVE, Tcb


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
    ca_state: str  # "Open", "Disorder", "CWR", "Recovery" or "Loss", as in Linux
    congestion: str  # name of the congestion control
    options: tuple[str, ...]  # of "timestamps", "sack", "wscale", "ecn", "accecn", "ecn_seen", "syn_data", "tfo_child"
    snd_wscale: int
    rcv_wscale: int
    rto: int  # ns
    ato: int  # delay of an ACK, ns; 0: no data has come
    rtt: int  # smoothed, ns; 0: no sample yet
    rttvar: int  # ns
    min_rtt: int  # lowest of the last 5 minutes, ns; 0: not measured
    rcv_rtt: int  # as the receiver of data measures it, ns; 0: not measured
    retransmits: int  # timeouts in a row
    probes: int  # unanswered window and keepalive probes
    backoff: int  # how often the RTO, or the time between window probes, is doubled
    snd_mss: int  # payload bytes of a full segment
    rcv_mss: int  # estimate of the peer's, bytes
    advmss: int  # our MSS option, bytes
    pmtu: int  # bytes
    snd_cwnd: int  # bytes
    snd_ssthresh: int  # bytes
    pacing_rate: int  # bytes per second; where nothing is paced (Linux): what tcp_pacing would have; 0: no RTT yet
    delivery_rate: int  # bytes per second, of the last sample; 0: none yet
    delivery_rate_app_limited: bool  # whether that was all that the user wrote
    snd_wnd: int  # bytes
    rcv_wnd: int  # bytes
    unacked: int  # bytes sent and not acknowledged
    lost: int  # of these, believed lost, bytes
    sacked: int  # of these, known to have arrived out of order, bytes
    reordering: int  # duplicate ACKs that mean a loss
    retrans: int  # segments outstanding that were sent again
    total_retrans: int  # segments sent again in all
    bytes_sent: int  # what was sent again included
    bytes_retrans: int  # sent again
    dsack_dups: int  # segments that the peer said came twice
    total_rto: int  # retransmission timeouts in all
    total_rto_recoveries: int  # how often the peer answered again after some
    total_rto_time: int  # ns from the first timeout to that, in all
    notsent_bytes: int  # queued, never sent
    rcv_queue: int  # bytes the user has not read
    reordering_queue: int  # bytes out of order
    bytes_acked: int
    bytes_received: int
    delivered: int  # bytes known to have reached the peer
    delivered_ce: int  # of these bytes, those that met congestion (ECN)
    delivered_ce_segs: int  # segments that met congestion (tcpi_delivered_ce)
    received_ce: int  # packets that came with a congestion mark, with AccECN (RFC 9768)
    # Bytes by how they came, ECT(1), ECT(0), CE, as the peer's AccECN options have told and as we tell.
    delivered_e1_bytes: int
    delivered_e0_bytes: int
    delivered_ce_bytes: int
    received_e1_bytes: int
    received_e0_bytes: int
    received_ce_bytes: int
    accecn_opt_seen: int  # the peer's option: 0 never, 1 an empty one, 2 with counters, 3 cleared on the way
    accecn_fail_mode: int  # bits: 1, 2 feedback of ours, of the peer's does not get through, 4, 8 options
    delivered_segs: int  # segments known to have reached the peer, SYN included (tcpi_delivered)
    segs_in: int
    segs_out: int
    data_segs_in: int  # of these, with data
    data_segs_out: int
    reord_seen: int  # ACKs that told of reordering
    fastopen_client_fail: (
        str  # why Fast Open brought nothing: one of nodes.tcp.fastopen.FAILURES; "": it did, or was none
    )
    rcv_ooopack: int  # segments that came out of order
    rcv_ssthresh: int  # the most that the window may be now, bytes
    rcv_space: int  # most bytes that the user read in a round trip
    busy_time: int  # ns with something to send
    rwnd_limited: int  # of these, waiting for the peer's window
    sndbuf_limited: int  # of these, waiting for room in the send buffer
    last_data_sent: int  # instant, ns; before there was any, when the connection was established
    last_segment_received: int  # instant, ns
    last_data_received: int  # instant, ns
    last_ack_sent: int  # instant, ns
    last_ack_received: int  # instant, ns
    iss: int  # raw 32-bit numbers of the wire
    irs: int
    snd_una: int
    snd_nxt: int
    rcv_nxt: int


def info(c: Tcb, now: int) -> TcpInfo:
    """The snapshot of now."""
    chronograph.read(c, now)
    if c.rto_recovery:
        ca_state = "Loss"
    elif c.in_recovery:
        ca_state = "Recovery"
    else:
        ca_state = "CWR" if c.snd_una < c.cwr_until else "Disorder" if c.dup_acks or c.board.sacked else "Open"
    agreed = []
    if c.synchronized and c.timestamps:
        agreed.append("timestamps")
    if c.synchronized and c.sack:
        agreed.append("sack")
    if c.synchronized and c.scaling:
        agreed.append("wscale")
    if c.ecn:
        agreed.append("ecn")
    if c.accurate is not None:
        agreed.append("accecn")
    if c.ecn_seen:
        agreed.append("ecn_seen")
    if c.fast is not None and c.fast.taken:
        agreed.append("syn_data")
    if c.fast is not None and c.origin == PASSIVE:
        agreed.append("tfo_child")
    wire = 0xFFFF_FFFF
    accurate = c.accurate or AccEcn(NOT_ECT)
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
        ato=c.ack_delay,
        rtt=c.srtt,
        rttvar=c.rttvar,
        min_rtt=c.rack.min_rtt,
        rcv_rtt=c.rcv_rtt,
        retransmits=c.retransmits,
        probes=c.probes + c.keepalive_probes,
        backoff=c.backoff if c.persist_at == NEVER else c.persist_backoff,
        snd_mss=c.mss,
        rcv_mss=c.rcv_mss,
        advmss=segments.announced_mss(c),
        pmtu=c.mtu,
        snd_cwnd=c.congestion.cwnd,
        snd_ssthresh=c.congestion.ssthresh,
        pacing_rate=c.congestion.pacing_rate or (sender.even_rate(c) if c.srtt else 0),
        delivery_rate=c.delivery_rate,
        delivery_rate_app_limited=c.rate.sample_app_limited,
        snd_wnd=c.snd_wnd,
        rcv_wnd=c.rcv_wnd,
        unacked=c.snd_nxt - c.snd_una,
        lost=c.board.lost,
        sacked=c.board.sacked,
        reordering=max(c.rack.degree, c.tcp.parameters.tcp_reordering),
        retrans=sum(1 for sent in c.board if sent.count and sent.state == FLYING),
        total_retrans=c.total_retrans,
        bytes_sent=c.bytes_sent,
        bytes_retrans=c.bytes_retrans,
        dsack_dups=c.dsack_dups,
        total_rto=c.total_rto,
        total_rto_recoveries=c.total_rto_recoveries,
        total_rto_time=c.total_rto_time,
        notsent_bytes=c.snd_queue.length,
        rcv_queue=c.buffered,
        reordering_queue=c.reassembly.length,
        bytes_acked=c.bytes_acked,
        bytes_received=c.bytes_received,
        delivered=c.delivered,
        delivered_ce=c.delivered_ce,
        delivered_ce_segs=c.delivered_ce_segs,
        received_ce=accurate.received_ce,
        delivered_e1_bytes=accurate.delivered_bytes[ECT_1],
        delivered_e0_bytes=accurate.delivered_bytes[ECT_0],
        delivered_ce_bytes=accurate.delivered_bytes[CE],
        received_e1_bytes=accurate.received_bytes[ECT_1],
        received_e0_bytes=accurate.received_bytes[ECT_0],
        received_ce_bytes=accurate.received_bytes[CE],
        accecn_opt_seen=accurate.seen,
        accecn_fail_mode=accurate.failed,
        delivered_segs=c.board.arrived,
        segs_in=c.segs_in,
        segs_out=c.segs_out,
        data_segs_in=c.data_segs_in,
        data_segs_out=c.data_segs_out,
        reord_seen=c.rack.seen,
        fastopen_client_fail=c.fast.failure if c.fast is not None else "",
        rcv_ooopack=c.rcv_ooopack,
        rcv_ssthresh=min(c.options.rcvbuf, c.window_clamp),
        rcv_space=c.rcv_space,
        busy_time=c.busy_time,
        rwnd_limited=c.rwnd_limited,
        sndbuf_limited=c.sndbuf_limited,
        last_data_sent=c.last_sent if c.last_sent >= 0 else c.acked_at,
        last_segment_received=c.last_received,
        last_data_received=c.data_at,
        last_ack_sent=c.last_ack_sent_at,
        last_ack_received=c.last_ack_received,
        iss=c.iss & wire,
        irs=c.irs & wire,
        snd_una=c.snd_una & wire,
        snd_nxt=c.snd_nxt & wire,
        rcv_nxt=c.rcv_nxt & wire,
    )
