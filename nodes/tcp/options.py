"""Options of one connection or listener, by their socket names (socket(7), tcp(7)); units as there."""

from __future__ import annotations

from typing import Final

from nodes.base.errors import InvalidArgument, SocketError
from nodes.tcp.parameters import FAST_OPEN_CLIENT, Parameters, parse_int, parse_key
from nodes.tcp.sharing import ALONE

_INT: Final = 2**31 - 1
#: Linux: TCP_MIN_MSS.
_LEAST_MSS: Final = 88
#: What getsockopt says of TCP_MAXSEG that was not set, without a connection (TCP_MSS_DEFAULT).
_USUAL_MSS: Final = 536

#: Of the TOS byte or traffic class, what is not the ECN field (RFC 2474, 3168).
_DIFFSERV: Final = 0xFC

#: Lowest and highest value of each int option.
RANGES: Final[dict[str, tuple[int, int]]] = {
    "TCP_NODELAY": (0, 1),  # 1: no Nagle
    "TCP_CORK": (0, 1),  # 1: only full segments, until it is 0 again or an RTO has passed
    "TCP_QUICKACK": (0, 1),  # 1: ACKs at once, 0: delayed; not for ever
    "TCP_DEFER_ACCEPT": (0, 86_400),  # s; a listener waits so long for data before it has a connection
    "TCP_MAXSEG": (0, 65_495),  # our MSS, bytes, 88 and more, 0: the MTU's; without effect after the handshake
    "TCP_USER_TIMEOUT": (0, _INT),  # ms; 0: tcp_retries2 decides
    "TCP_KEEPIDLE": (1, 32767),  # s
    "TCP_KEEPINTVL": (1, 32767),  # s
    "TCP_KEEPCNT": (1, 127),
    "TCP_SYNCNT": (0, 127),
    "TCP_LINGER2": (-1, 86_400),  # s in FIN-WAIT-2; 0: tcp_fin_timeout; -1: none, CLOSE resets there
    "TCP_NOTSENT_LOWAT": (0, 2**32 - 1),  # bytes not sent yet under which one may write more; 0: tcp_notsent_lowat
    "TCP_WINDOW_CLAMP": (0, _INT),  # bytes; the largest window announced; 0: no limit
    "TCP_FASTOPEN": (0, _INT),  # listener: most connections that came with data and are not yet established; 0: none
    "TCP_FASTOPEN_CONNECT": (0, 1),  # 1: the SYN waits for the first SEND and carries its data
    "TCP_FASTOPEN_NO_COOKIE": (0, 1),  # 1: Fast Open without cookies
    "IP_TTL": (0, 255),  # of the packets sent, over IPv6 their hop limit; 0: ip_default_ttl, hop_limit
    "IP_TOS": (0, 255),  # the Diffserv field of the packets sent: the DSCP times 4; ECN's two bits are TCP's
    "IPV6_TCLASS": (-1, 255),  # the same; -1: 0
    "IPV6_UNICAST_HOPS": (-1, 255),  # as IP_TTL; -1: 0
    "SO_REUSEADDR": (0, 1),  # 1: others that have it, connections in TIME-WAIT too, may have the same port
    "SO_REUSEPORT": (0, 1),  # 1: others of the same owner that have it may have the same port, and listen there
    "SO_KEEPALIVE": (0, 1),
    "SO_OOBINLINE": (0, 1),  # 1: urgent data stays in the stream
    "SO_LINGER": (-1, 32767),  # s; -1: off; 0: CLOSE sends RST
    "SO_RCVLOWAT": (1, _INT),  # bytes that make a connection readable
    "SO_RCVBUF": (256, 2**30 - 1),  # bytes; more than rmem_max is that
    "SO_SNDBUF": (1, 2**30 - 1),  # bytes; more than wmem_max is that
}
#: What of IPv6 has another name in IPv4.
_OF_IPV6: Final = {"IPV6_TCLASS": "tos", "IPV6_UNICAST_HOPS": "ttl"}
#: Every option `set_option` knows.
NAMES: Final = (*RANGES, "TCP_CONGESTION", "TCP_FASTOPEN_KEY")


class Options:
    """The options, starting from the host's parameters. A listener's are copied into each of its connections."""

    __slots__ = (
        "congestion",
        "cork",
        "defer_accept",
        "fastopen",
        "fastopen_connect",
        "fastopen_key",
        "fastopen_no_cookie",
        "keepalive",
        "keepcnt",
        "keepidle",
        "keepintvl",
        "linger",
        "linger2",
        "maxseg",
        "nodelay",
        "notsent_lowat",
        "oobinline",
        "owner",
        "quickack",
        "rcvbuf",
        "rcvbuf_fixed",
        "rcvlowat",
        "reuseaddr",
        "reuseport",
        "sndbuf",
        "sndbuf_fixed",
        "syncnt",
        "tos",
        "ttl",
        "user_timeout",
        "window_clamp",
    )

    def __init__(self, parameters: Parameters) -> None:
        self.nodelay = 0
        self.cork = 0
        self.quickack = 1
        self.defer_accept = 0
        self.window_clamp = 0
        self.notsent_lowat = 0
        self.rcvlowat = 1
        self.reuseaddr = 0
        self.reuseport = 0
        #: The uid of whom the socket is.
        self.owner = 0
        self.maxseg = 0
        self.user_timeout = 0
        self.keepidle = parameters.tcp_keepalive_time
        self.keepintvl = parameters.tcp_keepalive_intvl
        self.keepcnt = parameters.tcp_keepalive_probes
        self.fastopen = 0
        #: A listener's own key for cookies, as tcp_fastopen_key; "": that.
        self.fastopen_key = ""
        self.fastopen_connect = 0
        self.fastopen_no_cookie = 0
        self.syncnt = parameters.tcp_syn_retries
        self.linger2 = 0
        self.ttl = 0
        self.tos = 0
        self.keepalive = 0
        self.oobinline = 0
        self.linger = -1
        #: Bytes; they grow with the connection (autotuning.py) unless the user has set them.
        self.rcvbuf = parameters.window_of(parameters.tcp_rmem[1])
        self.rcvbuf_fixed = False
        self.sndbuf = parameters.tcp_wmem[1]
        self.sndbuf_fixed = False
        self.congestion = parameters.tcp_congestion_control

    @property
    def share(self) -> int:
        """Who may have the same port: sockets of this uid, ALONE: none."""
        return self.owner if self.reuseport else ALONE

    def copy(self, parameters: Parameters) -> Options:
        """A copy that changes on its own."""
        other = Options(parameters)
        for name in NAMES:
            attribute = _attribute(name)
            setattr(other, attribute, getattr(self, attribute))
        other.owner = self.owner
        other.rcvbuf_fixed = self.rcvbuf_fixed
        other.sndbuf_fixed = self.sndbuf_fixed
        return other

    def set(self, parameters: Parameters, name: str, value: object) -> None:
        """Set one option. Raises InvalidArgument naming the option, the value and what is allowed; SocketError
        EOPNOTSUPP for one that a parameter has switched off."""
        if name == "TCP_CONGESTION":
            if value not in parameters.controls:
                allowed = ", ".join(parameters.controls)
                raise InvalidArgument(f"{name}: {value!r} is not allowed; one of {allowed} is", name)
            self.congestion = str(value)
            return
        if name == "TCP_FASTOPEN_KEY":
            self.fastopen_key = parse_key(name, value)
            return
        if name not in RANGES:
            raise InvalidArgument(f"{name}: no such option; there are {', '.join(NAMES)}", name)
        number = parse_int(name, value, *RANGES[name])
        if name == "TCP_MAXSEG" and 0 < number < _LEAST_MSS:
            raise InvalidArgument(f"{name}: {number} is not allowed; 0 and {_LEAST_MSS} to 65495 are", name)
        if name == "TCP_FASTOPEN_CONNECT" and number and not parameters.tcp_fastopen & FAST_OPEN_CLIENT:
            raise SocketError("EOPNOTSUPP", "Fast Open is off for clients: bit 1 of tcp_fastopen")
        if name in ("IP_TOS", "IPV6_TCLASS"):
            number = max(number, 0) & _DIFFSERV
        elif name == "IPV6_UNICAST_HOPS":
            number = max(number, 0)
        elif name == "SO_RCVBUF":
            number = min(number, parameters.rmem_max)
            self.rcvbuf_fixed = True
        elif name == "SO_SNDBUF":
            number = min(number, parameters.wmem_max)
            self.sndbuf_fixed = True
        setattr(self, _attribute(name), number)

    def get(self, name: str) -> int | str:
        """One option's value; of a buffer, as getsockopt(2) gives it: twice what was set, so that what the kernel needs
        itself fits too. Raises InvalidArgument for an unknown name."""
        if name not in NAMES:
            raise InvalidArgument(f"{name}: no such option; there are {', '.join(NAMES)}", name)
        if name == "TCP_MAXSEG" and not self.maxseg:
            return _USUAL_MSS
        if name == "SO_RCVBUF":
            return 2 * self.rcvbuf
        if name == "SO_SNDBUF" and self.sndbuf_fixed:
            return 2 * self.sndbuf
        value: int | str = getattr(self, _attribute(name))
        return value


def _attribute(name: str) -> str:
    return _OF_IPV6.get(name) or name.partition("_")[2].lower()
