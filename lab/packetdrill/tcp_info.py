"""TCP_INFO of a connection as a script sees it: Linux's fields, numbers and units."""

from __future__ import annotations

from typing import Final

from nodes.tcp import accecn, states
from nodes.tcp.congestion.base import UNLIMITED
from nodes.tcp.connection import Connection
from nodes.tcp.fastopen import FAILURES
from nodes.tcp.info import info

#: Linux's numbers of states (include/net/tcp_states.h) by ours.
_STATES: Final = {
    states.ESTABLISHED: 1,
    states.SYN_SENT: 2,
    states.SYN_RECEIVED: 3,
    states.FIN_WAIT_1: 4,
    states.FIN_WAIT_2: 5,
    states.TIME_WAIT: 6,
    states.CLOSED: 7,
    states.CLOSE_WAIT: 8,
    states.LAST_ACK: 9,
    states.LISTEN: 10,
    states.CLOSING: 11,
}
_CA_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")
_OPTIONS: Final = {"timestamps": 1, "sack": 2, "wscale": 4, "ecn": 8, "ecn_seen": 16, "syn_data": 32, "tfo_child": 128}
#: ssthresh that was never set (TCP_INFINITE_SSTHRESH).
_NO_SSTHRESH: Final = 0x7FFF_FFFF
#: Lowest round trip before there was one.
_NO_RTT: Final = 0xFFFF_FFFF

#: The names a script has for these numbers.
SYMBOLS: Final[dict[str, int]] = {
    "TCP_ESTABLISHED": 1,
    "TCP_SYN_SENT": 2,
    "TCP_SYN_RECV": 3,
    "TCP_FIN_WAIT1": 4,
    "TCP_FIN_WAIT2": 5,
    "TCP_TIME_WAIT": 6,
    "TCP_CLOSE": 7,
    "TCP_CLOSE_WAIT": 8,
    "TCP_LAST_ACK": 9,
    "TCP_LISTEN": 10,
    "TCP_CLOSING": 11,
    **{f"TCP_CA_{name}": number for number, name in enumerate(_CA_STATES)},
    "TCPI_ECN_MODE_DISABLED": 0,
    "TCPI_ECN_MODE_RFC3168": 1,
    "TCPI_ECN_MODE_ACCECN": 2,
    "TCP_ACCECN_OPT_NOT_SEEN": accecn.NOT_SEEN,
    "TCP_ACCECN_OPT_EMPTY_SEEN": accecn.EMPTY_SEEN,
    "TCP_ACCECN_OPT_COUNTER_SEEN": accecn.COUNTER_SEEN,
    "TCP_ACCECN_OPT_FAIL_SEEN": accecn.FAIL_SEEN,
    "TCP_ACCECN_ACE_FAIL_SEND": accecn.ACE_FAIL_SEND,
    "TCP_ACCECN_ACE_FAIL_RECV": accecn.ACE_FAIL_RECV,
    "TCP_ACCECN_OPT_FAIL_SEND": accecn.OPTION_FAIL_SEND,
    "TCP_ACCECN_OPT_FAIL_RECV": accecn.OPTION_FAIL_RECV,
    **{f"TCPI_OPT_{name.upper()}": bit for name, bit in _OPTIONS.items()},
}


def tcp_info(c: Connection, now: int) -> dict[str, int]:
    """The fields by name. Times are microseconds, ages milliseconds, windows in segments of the MSS."""
    told = info(c, now)
    mss = told.snd_mss

    def segments(size: int) -> int:
        return -(-size // mss)

    return {
        "tcpi_state": _STATES[told.state],
        "tcpi_ca_state": _CA_STATES.index(told.ca_state),
        "tcpi_retransmits": told.retransmits,
        "tcpi_probes": told.probes,
        "tcpi_backoff": told.backoff,
        "tcpi_options": sum(_OPTIONS[name] for name in told.options if name in _OPTIONS),
        "tcpi_snd_wscale": told.snd_wscale,
        "tcpi_rcv_wscale": told.rcv_wscale,
        "tcpi_rto": told.rto // 1000,
        "tcpi_ato": told.ato // 1000,
        "tcpi_snd_mss": mss,
        "tcpi_rcv_mss": told.rcv_mss,
        "tcpi_unacked": segments(told.unacked),
        "tcpi_sacked": segments(told.sacked),
        # Linux counts what was sent again among the lost until it is acknowledged.
        "tcpi_lost": segments(told.lost) + (told.retrans if told.ca_state in ("Recovery", "Loss") else 0),
        "tcpi_retrans": told.retrans,
        "tcpi_last_data_sent": (now - told.last_data_sent) // 1_000_000,
        "tcpi_last_ack_sent": (now - told.last_ack_sent) // 1_000_000,
        "tcpi_last_data_recv": (now - told.last_data_received) // 1_000_000,
        "tcpi_last_ack_recv": (now - told.last_ack_received) // 1_000_000,
        "tcpi_pmtu": told.pmtu,
        "tcpi_rtt": told.rtt // 1000,
        "tcpi_rttvar": told.rttvar // 1000,
        "tcpi_snd_ssthresh": _NO_SSTHRESH if told.snd_ssthresh >= UNLIMITED else told.snd_ssthresh // mss,
        "tcpi_snd_cwnd": told.snd_cwnd // mss,
        "tcpi_advmss": told.advmss,
        "tcpi_reordering": told.reordering,
        "tcpi_rcv_rtt": told.rcv_rtt // 1000,
        "tcpi_rcv_space": told.rcv_space,
        "tcpi_rcv_ssthresh": told.rcv_ssthresh,
        "tcpi_min_rtt": told.min_rtt // 1000 if told.min_rtt else _NO_RTT,
        "tcpi_busy_time": told.busy_time // 1000,
        "tcpi_rwnd_limited": told.rwnd_limited // 1000,
        "tcpi_sndbuf_limited": told.sndbuf_limited // 1000,
        "tcpi_delivery_rate": told.delivery_rate,
        "tcpi_delivered_ce": told.delivered_ce_segs,
        "tcpi_received_ce": told.received_ce,
        "tcpi_delivered_e1_bytes": told.delivered_e1_bytes,
        "tcpi_delivered_e0_bytes": told.delivered_e0_bytes,
        "tcpi_delivered_ce_bytes": told.delivered_ce_bytes,
        "tcpi_received_e1_bytes": told.received_e1_bytes,
        "tcpi_received_e0_bytes": told.received_e0_bytes,
        "tcpi_received_ce_bytes": told.received_ce_bytes,
        "tcpi_ecn_mode": 2 if "accecn" in told.options else int("ecn" in told.options),
        "tcpi_accecn_opt_seen": told.accecn_opt_seen,
        "tcpi_accecn_fail_mode": told.accecn_fail_mode,
        "tcpi_delivered": told.delivered_segs,
        "tcpi_data_segs_in": told.data_segs_in,
        "tcpi_data_segs_out": told.data_segs_out,
        "tcpi_bytes_sent": told.bytes_sent,
        "tcpi_bytes_retrans": told.bytes_retrans,
        "tcpi_dsack_dups": told.dsack_dups,
        "tcpi_reord_seen": told.reord_seen,
        "tcpi_fastopen_client_fail": FAILURES.index(told.fastopen_client_fail),
        "tcpi_rcv_ooopack": told.rcv_ooopack,
        "tcpi_total_rto": told.total_rto,
        "tcpi_total_rto_recoveries": told.total_rto_recoveries,
        "tcpi_total_rto_time": told.total_rto_time // 1_000_000,
        "tcpi_total_retrans": told.total_retrans,
        "tcpi_bytes_acked": told.bytes_acked,
        "tcpi_bytes_received": told.bytes_received,
        "tcpi_segs_out": told.segs_out,
        "tcpi_segs_in": told.segs_in,
        "tcpi_notsent_bytes": told.notsent_bytes,
        "tcpi_snd_wnd": told.snd_wnd,
        "tcpi_rcv_wnd": told.rcv_wnd,
    }
