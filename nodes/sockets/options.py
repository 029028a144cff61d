"""Socket options as programs give them to setsockopt(2), and the names our TCP has for them."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Final

from nodes.base.clock import MICROSECOND, MILLISECOND
from nodes.base.errors import SocketError
from nodes.tcp import states
from nodes.tcp.fastopen import FAILURES
from nodes.tcp.info import info
from nodes.tcp.options import NAMES, RANGES, Options
from nodes.tcp.parameters import Parameters
from nodes.tcp.tcb import Tcb

_LINGER: Final = struct.Struct("ii")
#: The smallest buffers that Linux makes: half of SOCK_MIN_RCVBUF and SOCK_MIN_SNDBUF.
_LEAST: Final = {"SO_RCVBUF": 1152, "SO_SNDBUF": 2304}

#: The level of an option, by what its name begins with.
LEVELS: Final[dict[str, int]] = {
    "SO": socket.SOL_SOCKET,
    "TCP": socket.IPPROTO_TCP,
    "IP": socket.IPPROTO_IP,
    "IPV6": socket.IPPROTO_IPV6,
}

#: Of linux/tcp.h, what Python does not name.
UNNAMED: Final = {"TCP_FASTOPEN_CONNECT": 30, "TCP_FASTOPEN_KEY": 33, "TCP_FASTOPEN_NO_COOKIE": 34}
#: (level, option) -> name in `nodes.tcp.options`, for all this platform has a number for.
NAME_OF: Final[dict[tuple[int, int], str]] = {
    (LEVELS[name.partition("_")[0]], getattr(socket, name, UNNAMED.get(name, -1))): name
    for name in NAMES
    if hasattr(socket, name) or name in UNNAMED
}
#: Switches of which Linux takes 0 and 1 only; of others every number but 0 is on.
_STRICT: Final = ("TCP_FASTOPEN_CONNECT", "TCP_FASTOPEN_NO_COOKIE")
#: Those that may be given as one byte.
_BYTES: Final = ("IP_TTL", "IP_TOS")
#: Bytes of a key for Fast Open.
_KEY_SIZE: Final = 16


def check_level(level: int, six: bool, errno_name: str) -> None:
    """IPv6's options are of no socket of IPv4. Raises SocketError `errno_name`: Linux's setsockopt has ENOPROTOOPT,
    its getsockopt EOPNOTSUPP (ip_setsockopt, ip_getsockopt)."""
    if level == socket.IPPROTO_IPV6 and not six:
        raise SocketError(errno_name, "the socket is of IPv4")


def decode(name: str, value: int | bytes | bytearray | memoryview) -> object:
    """What setsockopt was given, as our option has it. Raises OSError EINVAL."""
    if name == "TCP_CONGESTION":
        return value if isinstance(value, int) else bytes(value).rstrip(b"\0").decode(errors="replace")
    if name == "TCP_FASTOPEN_KEY":
        if isinstance(value, int) or len(value) != _KEY_SIZE:
            raise _invalid()
        return "-".join(f"{word:08x}" for word in struct.unpack("<4I", value))
    if name == "SO_LINGER":
        if isinstance(value, int) or len(value) < _LINGER.size:
            raise _invalid()
        on, seconds = _LINGER.unpack_from(value)
        return seconds if on else -1
    if not isinstance(value, int) and len(value) < _INT_SIZE and (name not in _BYTES or not value):
        raise _invalid()
    number = value if isinstance(value, int) else int.from_bytes(bytes(value)[:_INT_SIZE], sys.byteorder, signed=True)
    if name == "IP_TOS":
        return number & 0xFF
    if name == "IP_TTL":
        if not number:
            raise _invalid()
        return 0 if number == -1 else number
    if RANGES[name] == (0, 1) and name not in _STRICT:
        return int(number != 0)
    if name == "TCP_NOTSENT_LOWAT":
        return number & _U32
    if name in _LEAST:  # socket(7): no error, but no less
        number = min(max(number, _LEAST[name]), RANGES[name][1])
    return number


def encode(name: str, value: int | str) -> int | bytes:
    """One of our options as getsockopt gives it: an int where it is one."""
    if name == "TCP_FASTOPEN_KEY":
        return b"".join(int(word, 16).to_bytes(4, "little") for word in str(value).split("-") if word)
    if name == "SO_LINGER":
        return _LINGER.pack(int(int(value) >= 0), max(int(value), 0))
    return value.encode() + b"\0" if isinstance(value, str) else value


def check(parameters: Parameters, name: str, value: object) -> None:
    """Raises InvalidArgument for a value that the option cannot have; SocketError ENOENT for a congestion control that
    there is not."""
    if name == "TCP_CONGESTION" and value not in parameters.controls:
        allowed = ", ".join(parameters.controls)
        raise SocketError("ENOENT", f"there is no congestion control {value!r}; there are {allowed}")
    Options(parameters).set(parameters, name, value)


def value_of(parameters: Parameters, chosen: Mapping[str, object], name: str) -> int | str:
    """What an option is on a socket without a connection, on which some were chosen."""
    one = Options(parameters)
    if name in chosen:
        one.set(parameters, name, chosen[name])
    return told(parameters, name, one.get(name))


def told(parameters: Parameters, name: str, value: int | str) -> int | str:
    """What getsockopt says: where 0 means the host's parameter, that."""
    if value == 0 and name == "TCP_LINGER2":
        return parameters.tcp_fin_timeout
    if value == 0 and name == "IP_TTL":
        return parameters.ip_default_ttl
    if value == 0 and name == "IPV6_UNICAST_HOPS":
        return parameters.hop_limit
    return value


def errno_of(name: str) -> int:
    """The number of an errno name; 0 for ""."""
    return int(getattr(errno, name)) if name else 0


def info_without_connection(listens: bool) -> bytes:
    """TCP_INFO of a socket that listens, or is new."""
    return bytes([states.LISTEN if listens else states.CLOSED]) + bytes(_INFO.size - 1)


def info_bytes(now: int, c: Tcb) -> bytes:
    """TCP_INFO of a connection as Linux has it (struct tcp_info of include/uapi/linux/tcp.h, Linux 7.3):
    times in us or ms, windows in segments. What we do not count is 0."""
    one = info(c, now)
    mss = max(one.snd_mss, 1)

    def us(ns: int) -> int:
        return ns // MICROSECOND & _U32

    def ms_ago(instant: int) -> int:
        return (now - instant) // MILLISECOND & _U32

    return _INFO.pack(
        one.state,
        _CA_STATES.index(one.ca_state),
        one.retransmits & 0xFF,
        one.probes & 0xFF,
        one.backoff & 0xFF,
        sum(bit for word, bit in _OPTIONS if word in one.options),
        one.snd_wscale | one.rcv_wscale << 4,
        int(one.delivery_rate_app_limited) | FAILURES.index(one.fastopen_client_fail) << 1,
        us(one.rto),
        us(one.ato),
        one.snd_mss,
        one.rcv_mss,
        -(-one.unacked // mss),
        -(-one.sacked // mss),
        -(-one.lost // mss),
        one.retrans,
        0,
        ms_ago(one.last_data_sent),
        ms_ago(one.last_ack_sent),
        ms_ago(one.last_data_received),
        ms_ago(one.last_ack_received),
        one.pmtu,
        one.rcv_ssthresh,
        us(one.rtt),
        us(one.rttvar),
        _INFINITE if one.snd_ssthresh >= _INFINITE else one.snd_ssthresh // mss,
        one.snd_cwnd // mss,
        one.advmss,
        one.reordering,
        us(one.rcv_rtt),
        one.rcv_space,
        one.total_retrans,
        one.pacing_rate or _UNPACED,
        _UNPACED,
        one.bytes_acked,
        one.bytes_received,
        one.segs_out,
        one.segs_in,
        one.notsent_bytes,
        us(one.min_rtt) if one.min_rtt else _U32,
        one.data_segs_in,
        one.data_segs_out,
        one.delivery_rate,
        one.busy_time // MICROSECOND,
        one.rwnd_limited // MICROSECOND,
        one.sndbuf_limited // MICROSECOND,
        one.delivered_segs,
        one.delivered_ce_segs,
        one.bytes_sent,
        one.bytes_retrans,
        one.dsack_dups,
        one.reord_seen,
        one.rcv_ooopack,
        one.snd_wnd,
        one.rcv_wnd,
        0,
        one.total_rto & 0xFFFF,
        one.total_rto_recoveries & 0xFFFF,
        one.total_rto_time // MILLISECOND & _U32,
        one.received_ce & _U32,
        one.delivered_e1_bytes & _U32,
        one.delivered_e0_bytes & _U32,
        one.delivered_ce_bytes & _U32,
        one.received_e1_bytes & _U32,
        one.received_e0_bytes & _U32,
        one.received_ce_bytes & _U32,
        _ecn_mode(one.options) | one.accecn_opt_seen << 2 | one.accecn_fail_mode << 4,
    )


def _ecn_mode(agreed: tuple[str, ...]) -> int:
    """TCPI_ECN_MODE_ of include/uapi/linux/tcp.h: none, RFC 3168, AccECN."""
    return 2 if "accecn" in agreed else int("ecn" in agreed)


#: TCPI_OPT_ of include/uapi/linux/tcp.h.
_OPTIONS: Final = (
    *(("timestamps", 1), ("sack", 2), ("wscale", 4), ("ecn", 8), ("ecn_seen", 16), ("syn_data", 32)),
    ("tfo_child", 128),
)
_INFO: Final = struct.Struct("=8B24I4Q6I4Q2I2Q6I2H9I")
_CA_STATES: Final = ("Open", "Disorder", "CWR", "Recovery", "Loss")
_INFINITE: Final = 0x7FFF_FFFF
#: What Linux says of a rate that nothing bounds.
_UNPACED: Final = 2**64 - 1
_U32: Final = 0xFFFF_FFFF
_INT_SIZE: Final = 4


def _invalid() -> OSError:
    return OSError(errno.EINVAL, os.strerror(errno.EINVAL))
