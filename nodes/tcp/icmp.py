"""ICMP errors about a segment we sent, believed only as far as RFC 5927 and RFC 5461 say."""

from __future__ import annotations

from typing import Final

from nodes.base import causes
from nodes.tcp import closing, pathmtu, states
from nodes.tcp.seq import unwrap
from nodes.tcp.tcb import Tcb

#: errno and hardness by code of "destination unreachable": Linux's icmp_err_convert, RFC 1122 section 4.2.3.9.
_V4_UNREACHABLE: Final[dict[int, tuple[str, bool]]] = {
    0: ("ENETUNREACH", False),
    1: ("EHOSTUNREACH", False),
    2: ("ENOPROTOOPT", True),
    3: ("ECONNREFUSED", True),
    5: ("EOPNOTSUPP", False),
    6: ("ENETUNREACH", True),
    7: ("EHOSTDOWN", True),
    9: ("ENETUNREACH", True),
    10: ("EHOSTUNREACH", True),
    11: ("ENETUNREACH", False),
    12: ("EHOSTUNREACH", False),
    13: ("EHOSTUNREACH", True),
}
#: Linux's icmpv6_err_convert.
_V6_UNREACHABLE: Final[dict[int, tuple[str, bool]]] = {
    0: ("ENETUNREACH", False),
    1: ("EACCES", True),
    2: ("EHOSTUNREACH", False),
    3: ("EHOSTUNREACH", False),
    4: ("ECONNREFUSED", True),
    5: ("EACCES", True),
    6: ("EACCES", True),
}
#: Lowest path MTU believed (Linux: min_pmtu; RFC 8200 section 5).
LOWEST_MTU_V4: Final = 552
LOWEST_MTU_V6: Final = 1280


def on_error(c: Tcb, now: int, seq: int, icmp_type: int, icmp_code: int, mtu: int) -> bool:
    """An error that quotes a segment of `c` with raw number `seq`; `mtu` is the next hop's, or 0. False: forged."""
    if c.state == states.CLOSED:
        return False
    quoted = unwrap(seq, c.snd_una)
    if not c.snd_una <= quoted <= c.snd_nxt:
        # RFC 5927 section 4.1: it quotes nothing that is in flight.
        c.tcp.counters.TcpExtOutOfWindowIcmps += 1
        return False
    version_6 = len(c.remote) == 16
    if ((icmp_type, icmp_code) == (3, 4) and not version_6) or (icmp_type == 2 and version_6):
        lowest = LOWEST_MTU_V6 if version_6 else LOWEST_MTU_V4
        pathmtu.too_big(c, now, max(mtu, lowest))
        return True
    known = (
        _V6_UNREACHABLE.get(icmp_code)
        if version_6 and icmp_type == 1
        else _V4_UNREACHABLE.get(icmp_code)
        if not version_6 and icmp_type == 3
        else ("EHOSTUNREACH", False)
        if icmp_type == (3 if version_6 else 11)
        else ("EPROTO", version_6)
        if icmp_type == (4 if version_6 else 12)
        else None
    )
    if known is None:
        return True
    errno_name, hard = known
    # RFC 5927 section 5.2: nothing aborts a synchronized connection. Before that Linux gives up on soft errors too.
    if hard and c.state in (states.SYN_SENT, states.SYN_RECEIVED):
        words = causes.ERROR_REFUSED if errno_name == "ECONNREFUSED" else causes.ERROR_NO_ROUTE
        closing.fail(c, now, causes.ICMP_HARD_ERROR, errno_name, words)
    elif c.state in (states.SYN_SENT, states.SYN_RECEIVED) and c.tcp.parameters.profile == "linux" and not _held(c):
        closing.fail(c, now, causes.ICMP_SOFT_ERROR, errno_name, causes.ERROR_NO_ROUTE)
    else:
        c.soft_error = errno_name
    return True


def _held(c: Tcb) -> bool:
    """Whether a Fast Open connection, whose handshake is not done, has been accepted: it counts as a connected one."""
    if not c.early or c.fast is None:
        return False
    listener = c.fast.listener
    return listener is None or c not in listener.accept_queue
