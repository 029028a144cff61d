"""TCP Fast Open (RFC 7413): data in the SYN, for a client that has been here before and has a cookie to prove it.

The client asks for a cookie with an empty option, keeps what the SYN-ACK brings, and the next time sends it together
with data. A server that finds its own cookie takes the data at once, and may answer before the handshake is done.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from nodes.base import causes
from nodes.base.clock import SECOND
from nodes.base.siphash import siphash
from nodes.packet.tcp import SYN, FastOpenOption, Segment
from nodes.packet.tcp_codec import MAX_OPTIONS_LEN
from nodes.tcp import handshake, retransmit, segments
from nodes.tcp.isn import IsnGenerator
from nodes.tcp.parameters import (
    FAST_OPEN_CLIENT,
    FAST_OPEN_CLIENT_NO_COOKIE,
    FAST_OPEN_EVERY_LISTENER,
    FAST_OPEN_SERVER,
    FAST_OPEN_SERVER_NO_COOKIE,
    Parameters,
)
from nodes.tcp.tcb import Tcb

if TYPE_CHECKING:
    from nodes.tcp.listener import Listener

#: Servers whose cookies a client keeps; the oldest go first.
SERVERS_KEPT: Final = 1024
#: How long a connection that a RST ended before it was established counts among those pending (RFC 7413 5.1), ns.
RESET_COUNTS: Final = 60 * SECOND
#: Why there was no data in the SYN, or it was in vain (tcp(7): tcpi_fastopen_client_fail, which counts from 0).
FAILURES: Final = ("", "cookie_unavailable", "data_not_acked", "syn_retransmitted")
#: A path is believed to swallow Fast Open after so many timeouts in a row.
_TIMEOUTS: Final = 2


class FastOpen:
    """What one connection has to do with it. `Tcb.fast` is None for all others."""

    __slots__ = ("deferred", "failure", "listener", "option", "sent", "taken")

    def __init__(self) -> None:
        #: Client: OPEN was called, but the SYN waits for the first SEND.
        self.deferred = False
        #: Client: the option of our SYN; None: there is none.
        self.option: FastOpenOption | None = None
        #: Client: bytes of data in our SYN.
        self.sent = 0
        #: Whether data in the SYN was taken (server: by us).
        self.taken = False
        #: Client: one of FAILURES.
        self.failure = ""
        #: Server: who counts us as pending.
        self.listener: Listener | None = None


class Known:
    """What a client knows of a server."""

    __slots__ = ("experimental", "mss", "option", "without")

    def __init__(self) -> None:
        self.mss = 0
        self.option: FastOpenOption | None = None
        #: How many kinds of the option it was asked with in vain: one, then the other.
        self.without = 0


class FastOpenClient:
    """A host's cookies, and whether Fast Open is switched off because of a black hole."""

    __slots__ = ("_disabled_at", "_known", "_times")

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], Known] = {}
        self._disabled_at = 0
        self._times = 0

    def known(self, c: Tcb) -> Known:
        """What is known of the server of `c`; to be changed by who asks."""
        key = (c.local, c.remote)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= SERVERS_KEPT:
                del self._known[next(iter(self._known))]
            known = self._known[key] = Known()
        return known

    def forget_all(self) -> None:
        """Forget every server (`ip tcp_metrics flush`)."""
        self._known.clear()

    def may_use(self, now: int, parameters: Parameters) -> bool:
        """Not while a black hole is believed in: longer each time, up to 64 times as long."""
        seconds = parameters.tcp_fastopen_blackhole_timeout_sec
        if not seconds or not self._times:
            return True
        return now >= self._disabled_at + (seconds << min(self._times - 1, 6)) * SECOND

    def disable(self, now: int) -> None:
        """A path has swallowed our SYNs."""
        self._disabled_at = now
        self._times += 1

    def works(self) -> None:
        """Data in a SYN was taken."""
        self._times = 0


# The client.


def prepare(c: Tcb, now: int) -> None:
    """OPEN with TCP_FASTOPEN_CONNECT: with a cookie the SYN waits for data, without one it asks for it now."""
    tcp = c.tcp
    parameters = tcp.parameters
    if not parameters.tcp_fastopen & FAST_OPEN_CLIENT or not tcp.fast_open.may_use(now, parameters):
        return
    c.fast = fast = FastOpen()
    if parameters.tcp_fastopen & FAST_OPEN_CLIENT_NO_COOKIE or c.options.fastopen_no_cookie:
        fast.deferred = True
        return
    known = tcp.fast_open.known(c)
    fast.deferred = known.option is not None
    fast.option = known.option or FastOpenOption(b"", known.without == 1)
    if known.option is None:
        fast.failure = "cookie_unavailable"


def send_syn(c: Tcb, now: int, data: bytes) -> int:
    """The first SEND of a connection whose SYN waited for it. Returns how much of `data` the SYN carries."""
    fast = c.fast
    assert fast is not None
    fast.deferred = False
    # What the server announced last time, less all options that there can be.
    mss = c.tcp.fast_open.known(c).mss or segments.announced_mss(c)
    space = min(mss, c.options.maxseg or mss, c.mtu - segments.header_length(c)) - MAX_OPTIONS_LEN
    data = data[: max(min(space, c.options.sndbuf), 0)]
    fast.sent = len(data)
    handshake.send_syn(c, now, SYN, data)
    return len(data)


def on_syn_ack(c: Tcb, now: int, segment: Segment) -> None:
    """Our SYN is acknowledged, and so is all, some or none of its data: the rest goes again at once."""
    fast = c.fast
    assert fast is not None
    tcp = c.tcp
    counters = tcp.counters
    known = tcp.fast_open.known(c)
    known.mss = c.peer_mss
    answer = segment.fast_open
    if fast.option is not None:
        if answer is not None and answer.cookie:
            known.option = answer
        elif not fast.option.cookie and not c.total_retrans and known.option is None:
            # It did not answer this kind of option; the other kind next time, and then the first again for ever.
            known.without = max(known.without, 2 if fast.option.experimental else 1)
    if not fast.sent:
        return
    if not c.board:
        fast.taken = True
        # One segment has arrived, not two.
        c.board.arrived -= 1
        counters.TcpExtTCPDelivered -= 1
        tcp.fast_open.works()
        counters.TcpExtTCPFastOpenActive += 1
        return
    fast.failure = "syn_retransmitted" if c.total_retrans else "data_not_acked"
    counters.TcpExtTCPFastOpenActiveFail += 1
    board = c.board
    board.lose_all()
    while (record := board.next_lost()) is not None:
        if len(record.payload) > c.mss:
            board.split(record, c.mss)
        retransmit.resend(c, now, record, causes.RETRANSMIT_FAST_OPEN)


def on_timeout(c: Tcb, now: int) -> None:
    """A timeout of a connection that asked for Fast Open: the second in a row tells of a black hole (4.1.3.1)."""
    tcp = c.tcp
    if c.retransmits == _TIMEOUTS and tcp.parameters.tcp_fastopen_blackhole_timeout_sec:
        tcp.fast_open.disable(now)
        tcp.counters.TcpExtTCPFastOpenBlackhole += 1


# The server.


class FastOpenServer:
    """A listener's side: how many connections that came with data are pending, and how many may be."""

    __slots__ = ("_resets", "every", "pending")

    def __init__(self) -> None:
        #: Of those pending, when they cease to be, for the ones that a RST has ended.
        self._resets: deque[int] = deque()
        self.pending = 0
        #: The limit where TCP_FASTOPEN gives none.
        self.every = 0

    def listen(self, parameters: Parameters, backlog: int) -> None:
        """The listener begins."""
        if parameters.tcp_fastopen & FAST_OPEN_EVERY_LISTENER and parameters.tcp_fastopen & FAST_OPEN_SERVER:
            self.every = backlog

    def _has_room(self, now: int, listener: Listener) -> bool:
        parameters = listener.tcp.parameters
        limit = min(listener.options.fastopen, parameters.somaxconn) or self.every
        if not limit:
            return False
        if self.pending < limit:
            return True
        if not self._resets or self._resets[0] > now:
            listener.tcp.counters.TcpExtTCPFastOpenListenOverflow += 1
            return False
        self._resets.popleft()
        self.pending -= 1
        return True

    def examine(
        self, now: int, listener: Listener, src: bytes, dst: bytes, segment: Segment
    ) -> tuple[bool, FastOpenOption | None]:
        """Whether the SYN's data may be taken, and the option for the SYN-ACK."""
        tcp = listener.tcp
        parameters = tcp.parameters
        counters = tcp.counters
        asked = segment.fast_open
        if asked is not None and not asked.cookie:
            counters.TcpExtTCPFastOpenCookieReqd += 1
        if not parameters.tcp_fastopen & FAST_OPEN_SERVER or (asked is None and not segment.payload):
            return False, None
        if not self._has_room(now, listener):
            return False, None
        if parameters.tcp_fastopen & FAST_OPEN_SERVER_NO_COOKIE or listener.options.fastopen_no_cookie:
            return True, None
        if asked is None:
            return False, None
        valid = cookie(tcp.isn, listener.options.fastopen_key or parameters.tcp_fastopen_key, src, dst)
        if asked.cookie == valid:
            return True, None
        if asked.cookie:
            counters.TcpExtTCPFastOpenPassiveFail += 1
        return False, FastOpenOption(valid, asked.experimental)

    def adopt(self, c: Tcb, listener: Listener) -> None:
        """`c` came with a valid cookie."""
        c.fast = FastOpen()
        c.fast.listener = listener
        c.early = True
        self.pending += 1
        listener.tcp.counters.TcpExtTCPFastOpenPassive += 1

    def release(self, c: Tcb, now: int, cause: int) -> None:
        """`c` is established, or has ended before that."""
        assert c.fast is not None
        c.fast.listener = None
        if cause == causes.RST_RECEIVED:
            self._resets.append(now + RESET_COUNTS)
        else:
            self.pending -= 1


def cookie(isn: IsnGenerator, key: str, client: bytes, server: bytes) -> bytes:
    """The 8-byte cookie of a client at a server: as Linux's under the same key, else of this host's own secret."""
    if key:
        secret = b"".join(int(word, 16).to_bytes(4, "little") for word in key.split("-"))
    else:
        secret = b"".join(isn.keyed(b"fast open %d" % n, b"", 0, b"", 0).to_bytes(4, "little") for n in range(4))
    return siphash(secret, client + server).to_bytes(8, "little")
