"""The kernel's struct tcp_info as a TcpInfo (include/uapi/linux/tcp.h)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from nodes.base.clock import MICROSECOND, MILLISECOND
from nodes.tcp import states
from nodes.tcp.fastopen import FAILURES
from nodes.tcp.info import TcpInfo

#: To `tcpi_accecn_fail_mode` (Linux 7.3); older kernels give less, and what is missing reads as 0. (6.18 has other
#: fields in the last word, and they are 0 there: it agrees on AccECN with nobody.)
_LAYOUT: Final = struct.Struct("=8B24I4Q6I4Q2I2Q6I2H9I")
SIZE: Final = _LAYOUT.size
_CA_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")
_TIMESTAMPS: Final = 1
_WSCALE: Final = 4
_ECN: Final = 8
_ECN_SEEN: Final = 16
_SYN_DATA: Final = 32
_TFO_CHILD: Final = 128
_SACK: Final = 2
#: TCPI_ECN_MODE_ACCECN.
_ACCECN: Final = 2
#: What the kernel says for "no threshold yet".
INFINITE: Final = 0x7FFF_FFFF
#: ... for a connection that is not paced ...
_UNPACED: Final = 2**64 - 1
#: ... and for "no round trip measured yet" (min_rtt).
_NO_RTT: Final = 0xFFFF_FFFF


class RawInfo(NamedTuple):
    """The fields that are used, in the kernel's units: times in us (`last_...`: ms ago), windows in segments where the
    kernel counts so."""

    state: int
    ca_state: int
    retransmits: int
    probes: int
    backoff: int
    options: int
    snd_wscale: int
    rcv_wscale: int
    app_limited: int
    rto: int
    ato: int
    snd_mss: int
    rcv_mss: int
    unacked: int
    sacked: int
    lost: int
    retrans: int
    last_data_sent: int
    last_ack_sent: int
    last_data_recv: int
    last_ack_recv: int
    pmtu: int
    rcv_ssthresh: int
    rtt: int
    rttvar: int
    snd_ssthresh: int
    snd_cwnd: int
    advmss: int
    reordering: int
    rcv_rtt: int
    rcv_space: int
    total_retrans: int
    pacing_rate: int
    bytes_acked: int
    bytes_received: int
    segs_out: int
    segs_in: int
    notsent_bytes: int
    min_rtt: int
    data_segs_in: int
    data_segs_out: int
    delivery_rate: int
    busy_time: int
    rwnd_limited: int
    sndbuf_limited: int
    delivered: int
    delivered_ce: int
    bytes_sent: int
    bytes_retrans: int
    dsack_dups: int
    reord_seen: int
    fastopen_client_fail: int
    rcv_ooopack: int
    snd_wnd: int
    rcv_wnd: int
    total_rto: int
    total_rto_recoveries: int
    total_rto_time: int
    received_ce: int
    delivered_e1_bytes: int
    delivered_e0_bytes: int
    delivered_ce_bytes: int
    received_e1_bytes: int
    received_e0_bytes: int
    received_ce_bytes: int
    ecn_mode: int
    accecn_opt_seen: int
    accecn_fail_mode: int


class Identity(NamedTuple):
    """Which connection it is, by number and addresses."""

    number: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int


def parse(data: bytes) -> RawInfo:
    """What getsockopt(TCP_INFO) or INET_DIAG_INFO gave."""
    v = _LAYOUT.unpack(data[:SIZE].ljust(SIZE, b"\0"))
    return RawInfo(
        state=v[0],
        ca_state=v[1],
        retransmits=v[2],
        probes=v[3],
        backoff=v[4],
        options=v[5],
        snd_wscale=v[6] & 15,
        rcv_wscale=v[6] >> 4,
        app_limited=v[7] & 1,
        rto=v[8],
        ato=v[9],
        snd_mss=v[10],
        rcv_mss=v[11],
        unacked=v[12],
        sacked=v[13],
        lost=v[14],
        retrans=v[15],
        last_data_sent=v[17],
        last_ack_sent=v[18],
        last_data_recv=v[19],
        last_ack_recv=v[20],
        pmtu=v[21],
        rcv_ssthresh=v[22],
        rtt=v[23],
        rttvar=v[24],
        snd_ssthresh=v[25],
        snd_cwnd=v[26],
        advmss=v[27],
        reordering=v[28],
        rcv_rtt=v[29],
        rcv_space=v[30],
        total_retrans=v[31],
        pacing_rate=v[32],
        bytes_acked=v[34],
        bytes_received=v[35],
        segs_out=v[36],
        segs_in=v[37],
        notsent_bytes=v[38],
        min_rtt=v[39],
        data_segs_in=v[40],
        data_segs_out=v[41],
        delivery_rate=v[42],
        busy_time=v[43],
        rwnd_limited=v[44],
        sndbuf_limited=v[45],
        delivered=v[46],
        delivered_ce=v[47],
        bytes_sent=v[48],
        bytes_retrans=v[49],
        dsack_dups=v[50],
        reord_seen=v[51],
        fastopen_client_fail=v[7] >> 1 & 3,
        rcv_ooopack=v[52],
        snd_wnd=v[53],
        rcv_wnd=v[54],
        total_rto=v[56],
        total_rto_recoveries=v[57],
        total_rto_time=v[58],
        received_ce=v[59],
        delivered_e1_bytes=v[60],
        delivered_e0_bytes=v[61],
        delivered_ce_bytes=v[62],
        received_e1_bytes=v[63],
        received_e0_bytes=v[64],
        received_ce_bytes=v[65],
        ecn_mode=v[66] & 3,
        accecn_opt_seen=v[66] >> 2 & 3,
        accecn_fail_mode=v[66] >> 4 & 15,
    )


def tcp_info(
    raw: RawInfo,
    who: Identity,
    now: int,
    congestion: str,
    unread: int,
    unacked: int,
    numbers: tuple[int, int, int, int, int],
    not_data: tuple[int, int],
) -> TcpInfo:
    """All but its state. `unread` and `unacked` are bytes; `numbers` are ISS, IRS, SND.UNA, SND.NXT, RCV.NXT as the
    wire showed them; `not_data` is how many of the sequence numbers acknowledged, and received, were SYN and FIN: the
    kernel counts them as bytes."""
    agreed = []
    if raw.options & _TIMESTAMPS:
        agreed.append("timestamps")
    if raw.options & _SACK:
        agreed.append("sack")
    if raw.options & _WSCALE:
        agreed.append("wscale")
    if raw.options & _ECN:
        agreed.append("ecn")
    if raw.ecn_mode == _ACCECN:
        agreed.append("accecn")
    if raw.options & _ECN_SEEN:
        agreed.append("ecn_seen")
    if raw.options & _SYN_DATA:
        agreed.append("syn_data")
    if raw.options & _TFO_CHILD:
        agreed.append("tfo_child")
    mss = raw.snd_mss
    last = min(raw.last_data_recv, raw.last_ack_recv)
    return TcpInfo(
        number=who.number,
        local_address=who.local,
        local_port=who.local_port,
        remote_address=who.remote,
        remote_port=who.remote_port,
        state=states.CLOSED,
        state_name="",
        error="",
        ca_state=_CA_STATES[raw.ca_state] if raw.ca_state < len(_CA_STATES) else str(raw.ca_state),
        congestion=congestion,
        options=tuple(agreed),
        snd_wscale=raw.snd_wscale,
        rcv_wscale=raw.rcv_wscale,
        rto=raw.rto * MICROSECOND,
        ato=raw.ato * MICROSECOND,
        rtt=raw.rtt * MICROSECOND,
        rttvar=raw.rttvar * MICROSECOND,
        min_rtt=0 if raw.min_rtt == _NO_RTT else raw.min_rtt * MICROSECOND,
        rcv_rtt=raw.rcv_rtt * MICROSECOND,
        retransmits=raw.retransmits,
        probes=raw.probes,
        backoff=raw.backoff,
        snd_mss=mss,
        rcv_mss=raw.rcv_mss,
        advmss=raw.advmss,
        pmtu=raw.pmtu,
        snd_cwnd=raw.snd_cwnd * mss,
        snd_ssthresh=INFINITE if raw.snd_ssthresh >= INFINITE else raw.snd_ssthresh * mss,
        pacing_rate=0 if raw.pacing_rate == _UNPACED else raw.pacing_rate,
        delivery_rate=raw.delivery_rate,
        delivery_rate_app_limited=bool(raw.app_limited),
        snd_wnd=raw.snd_wnd,
        rcv_wnd=raw.rcv_wnd,
        unacked=unacked,
        lost=raw.lost * mss,
        sacked=raw.sacked * mss,
        reordering=raw.reordering,
        retrans=raw.retrans,
        total_retrans=raw.total_retrans,
        bytes_sent=raw.bytes_sent,
        bytes_retrans=raw.bytes_retrans,
        dsack_dups=raw.dsack_dups,
        total_rto=raw.total_rto,
        total_rto_recoveries=raw.total_rto_recoveries,
        total_rto_time=raw.total_rto_time * MILLISECOND,
        notsent_bytes=raw.notsent_bytes,
        rcv_queue=unread,
        reordering_queue=0,  # the kernel does not say
        bytes_acked=max(raw.bytes_acked - not_data[0], 0),
        bytes_received=max(raw.bytes_received - not_data[1], 0),
        delivered=max(raw.bytes_acked - not_data[0], 0),
        delivered_ce=raw.delivered_ce * mss,
        delivered_ce_segs=raw.delivered_ce,
        received_ce=raw.received_ce,
        delivered_e1_bytes=raw.delivered_e1_bytes,
        delivered_e0_bytes=raw.delivered_e0_bytes,
        delivered_ce_bytes=raw.delivered_ce_bytes,
        received_e1_bytes=raw.received_e1_bytes,
        received_e0_bytes=raw.received_e0_bytes,
        received_ce_bytes=raw.received_ce_bytes,
        accecn_opt_seen=raw.accecn_opt_seen,
        accecn_fail_mode=raw.accecn_fail_mode,
        delivered_segs=raw.delivered,
        segs_in=raw.segs_in,
        segs_out=raw.segs_out,
        data_segs_in=raw.data_segs_in,
        data_segs_out=raw.data_segs_out,
        reord_seen=raw.reord_seen,
        fastopen_client_fail=FAILURES[raw.fastopen_client_fail],
        rcv_ooopack=raw.rcv_ooopack,
        rcv_ssthresh=raw.rcv_ssthresh,
        rcv_space=raw.rcv_space,
        busy_time=raw.busy_time * MICROSECOND,
        rwnd_limited=raw.rwnd_limited * MICROSECOND,
        sndbuf_limited=raw.sndbuf_limited * MICROSECOND,
        last_data_sent=max(0, now - raw.last_data_sent * MILLISECOND),
        last_segment_received=max(0, now - last * MILLISECOND),
        last_data_received=max(0, now - raw.last_data_recv * MILLISECOND),
        last_ack_sent=max(0, now - raw.last_ack_sent * MILLISECOND),
        last_ack_received=max(0, now - raw.last_ack_recv * MILLISECOND),
        iss=numbers[0],
        irs=numbers[1],
        snd_una=numbers[2],
        snd_nxt=numbers[3],
        rcv_nxt=numbers[4],
    )
