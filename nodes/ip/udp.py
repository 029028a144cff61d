"""UDP of one host (RFC 768, RFC 1122 4.1, RFC 8200 8.1): sockets by port, with bounded receive buffers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from nodes.base.errors import SocketError
from nodes.base.random import RandomStream
from nodes.ip.counters import HostCounters
from nodes.ip.output import IpOutput
from nodes.packet import icmp, icmp6, ipv4, ipv6
from nodes.packet.address import address_text, is_any, overlap
from nodes.packet.malformed import MalformedPacket
from nodes.packet.udp import HEADER_LEN, Datagram, decode_udp, encode_udp
from nodes.tcp import sharing
from nodes.tcp.isn import IsnGenerator
from nodes.tcp.parameters import Parameters
from nodes.tcp.ports import local_ports

#: Largest payload of one datagram over IPv4 and over IPv6, bytes.
MAX_PAYLOAD: Final = ipv4.MAX_LEN - ipv4.HEADER_LEN - HEADER_LEN
MAX_PAYLOAD_IPV6: Final = ipv6.MAX_PAYLOAD - HEADER_LEN
#: Receive buffer of a socket at first, payload bytes (Linux: net.core.rmem_default).
RECEIVE_BUFFER: Final = 212_992
#: What a datagram takes of it at least: those of a few bytes, or none, must not fill memory.
LEAST_CHARGED: Final = 256


class Received(NamedTuple):
    """A datagram as a socket hands it out."""

    data: bytes
    address: bytes
    port: int


class UdpSocket:
    """A bound UDP socket. `local` is b"" for any address, zeros for any of a family; `remote` is b"" unless connected.

    `on_ready()` is called when something can be received; `error` is the pending asynchronous error ("": none),
    raised and cleared by the next receive or send.
    """

    def __init__(self, udp: Udp, local: bytes, port: int, reuse: bool, reuseport: bool, owner: int) -> None:
        self._udp = udp
        #: SO_REUSEADDR and SO_REUSEPORT, and the uid of whom it is.
        self.reuse = reuse
        self.reuseport = reuseport
        self._owner = owner
        self._queue: deque[Received] = deque()
        self._queued = 0
        self.local = local
        self.port = port
        self.remote = b""
        self.remote_port = 0
        self.error = ""
        #: SO_RCVBUF, as the kernel counts it; IP_TTL, 0: the host's; IP_TOS.
        self.rcvbuf = RECEIVE_BUFFER
        self.ttl = 0
        self.tos = 0
        self.closed = False
        self.on_ready: Callable[[], None] | None = None

    @property
    def readable(self) -> bool:
        return bool(self._queue) or self.error != "" or self.closed

    def may_share(self, other: UdpSocket) -> bool:
        """Whether both may have one port (udp_lib_lport_inuse)."""
        return (self.reuse and other.reuse) or self.shares_with(other)

    def shares_with(self, other: UdpSocket) -> bool:
        """Whether both take their part of what comes (SO_REUSEPORT)."""
        return self.reuseport and other.reuseport and self._owner == other._owner

    def connect(self, remote: bytes, port: int) -> None:
        """Fix the other end: only its datagrams arrive, its ICMP errors are reported, and `send` needs no address."""
        if is_any(self.local):
            self.local = self._udp.output.source_for(remote)
        self.remote = remote
        self.remote_port = port

    def send_to(self, now: int, data: bytes, remote: bytes = b"", port: int = 0) -> None:
        """Send one datagram. Raises SocketError EDESTADDRREQ, EMSGSIZE, ENETUNREACH or the pending error."""
        self._raise_pending()
        remote = remote or self.remote
        port = port or self.remote_port
        if not remote:
            raise SocketError("EDESTADDRREQ", "the socket is not connected and no destination was given")
        most = MAX_PAYLOAD if len(remote) == 4 else MAX_PAYLOAD_IPV6
        if len(data) > most:
            raise SocketError("EMSGSIZE", f"a datagram holds at most {most} bytes, not {len(data)}")
        if self.local and len(self.local) != len(remote):
            raise SocketError("EAFNOSUPPORT", f"the socket is bound to {address_text(self.local)}, of the other family")
        src = self._udp.output.source_for(remote) if is_any(self.local) else self.local
        if len(remote) == 4:
            self._udp.counters.UdpOutDatagrams += 1
        else:
            self._udp.counters.Udp6OutDatagrams += 1
        wire = encode_udp(Datagram(self.port, port, data), src, remote)
        self._udp.output.send_ip(now, src, remote, ipv4.UDP, wire, self.ttl, self.tos)

    def receive(self) -> Received | None:
        """The oldest datagram, None when there is none. Raises the pending error, or EBADF once closed."""
        if self._queue:
            received = self._queue.popleft()
            self._queued -= max(len(received.data), LEAST_CHARGED)
            return received
        self._raise_pending()
        return None

    def look(self) -> Received | None:
        """The oldest datagram, which stays; None when there is none."""
        return self._queue[0] if self._queue else None

    def close(self) -> None:
        """Unbind; what is queued is lost. Idempotent."""
        if not self.closed:
            self.closed = True
            self._queue.clear()
            self._udp.forget(self)
            self._notify()

    def _raise_pending(self) -> None:
        if self.closed:
            raise SocketError("EBADF", "the socket is closed")
        if self.error:
            name, self.error = self.error, ""
            raise SocketError(name, "reported by ICMP")

    def put(self, received: Received) -> bool:
        """Queue a datagram that arrived. False: no room."""
        size = max(len(received.data), LEAST_CHARGED)
        if self._queued + size > self.rcvbuf:
            return False
        self._queue.append(received)
        self._queued += size
        self._notify()
        return True

    def fail(self, errno_name: str) -> None:
        """Set the pending error."""
        self.error = errno_name
        self._notify()

    def _notify(self) -> None:
        if self.on_ready is not None:
            self.on_ready()


class Udp:
    """The sockets of one host."""

    def __init__(
        self,
        output: IpOutput,
        parameters: Parameters,
        randomness: RandomStream,
        isn: IsnGenerator,
        counters: HostCounters,
    ) -> None:
        """`isn` is the host's, for its keyed hash."""
        self.output = output
        self.counters = counters
        self._parameters = parameters
        self._randomness = randomness
        self._isn = isn
        self._sockets: dict[int, list[UdpSocket]] = {}

    def bind(
        self, local: bytes = b"", port: int = 0, reuse: bool = False, reuseport: bool = False, owner: int = 0
    ) -> UdpSocket:
        """A new socket, of uid `owner`; port 0: an ephemeral one. Several with SO_REUSEADDR (`reuse`) may have a port,
        and those of one owner with SO_REUSEPORT. Raises SocketError EADDRINUSE or EADDRNOTAVAIL."""
        if not is_any(local) and not self.output.is_local(local):
            raise SocketError("EADDRNOTAVAIL", "no interface has the local address")
        if port == 0:
            port = self._free_port()
        socket = UdpSocket(self, local, port, reuse, reuseport, owner)
        for other in self._sockets.get(port, ()):
            if overlap(local, other.local) and not socket.may_share(other):
                raise SocketError("EADDRINUSE", f"UDP port {port} is taken")
        self._sockets.setdefault(port, []).append(socket)
        return socket

    def _free_port(self) -> int:
        for port in local_ports(self._parameters, self._randomness):
            if port not in self._sockets:
                return port
        low, high = self._parameters.ip_local_port_range
        raise SocketError("EADDRINUSE", f"every UDP port from {low} to {high} is taken")

    def forget(self, socket: UdpSocket) -> None:
        rest = [other for other in self._sockets[socket.port] if other is not socket]
        if rest:
            self._sockets[socket.port] = rest
        else:
            del self._sockets[socket.port]

    def _find(self, local: bytes, port: int, remote: bytes, remote_port: int) -> UdpSocket | None:
        """The most specific socket: a connected one, then one bound to the address, then any. Of several the newest, as
        on Linux, and of those that share the port (SO_REUSEPORT) one by a hash of the 4-tuple."""
        best: UdpSocket | None = None
        best_score = -1
        for socket in self._sockets.get(port, ()):
            if not _takes(socket, local, remote, remote_port):
                continue
            score = (2 if socket.remote else 0) + (0 if is_any(socket.local) else 1)
            if score >= best_score:
                best, best_score = socket, score
        if best is None or not best.reuseport or best.remote:
            return best
        group = [
            socket
            for socket in self._sockets[port]
            if not socket.remote and socket.local == best.local and socket.shares_with(best)
        ]
        return group[sharing.index(self._isn, len(group), local, port, remote, remote_port)]

    def on_packet(self, src: bytes, dst: bytes, payload: bytes, broadcast: bool) -> bool:
        """A UDP packet for this host. False when no socket has its port."""
        six = len(src) == 16
        counters = self.counters
        try:
            datagram = decode_udp(payload, src, dst)
        except MalformedPacket:
            if six:
                counters.Udp6InErrors += 1
                counters.Udp6InCsumErrors += 1
            else:
                counters.UdpInErrors += 1
                counters.UdpInCsumErrors += 1
            return True
        port, remote_port = datagram.dst_port, datagram.src_port
        received = Received(datagram.payload, src, remote_port)
        if broadcast:
            # To everybody who takes it (__udp4_lib_mcast_deliver).
            wanted = bytes(len(dst))
            all_of_port = self._sockets.get(port, ())
            sockets = [one for one in all_of_port if _takes(one, wanted, src, remote_port)]
        else:
            socket = self._find(dst, port, src, remote_port)
            sockets = [] if socket is None else [socket]
        if not sockets:
            if six:
                counters.Udp6NoPorts += 1
            else:
                counters.UdpNoPorts += 1
            return False
        for socket in sockets:
            fits = socket.put(received)
            if six:
                counters.Udp6InDatagrams += fits
                counters.Udp6InErrors += not fits
                counters.Udp6RcvbufErrors += not fits
            else:
                counters.UdpInDatagrams += fits
                counters.UdpInErrors += not fits
                counters.UdpRcvbufErrors += not fits
        return True

    def on_icmp_error(self, local: bytes, remote: bytes, quoted: bytes, kind: int, code: int) -> bool:
        """An ICMP error about a datagram we sent; connected sockets learn of hard ones (RFC 1122 section 4.1.3.3, RFC
        4443 section 3.1). False: no socket can have sent it."""
        if len(quoted) < 4:
            return False
        port = int.from_bytes(quoted[0:2], "big")
        remote_port = int.from_bytes(quoted[2:4], "big")
        socket = self._find(local, port, remote, remote_port)
        if socket is None:
            return False
        errors = _HARD_ERRORS.get(kind) if len(remote) == 4 else _HARD_ERRORS6.get(kind)
        if socket.remote and errors and code in errors:
            socket.fail(errors[code])
        return True


def _takes(socket: UdpSocket, local: bytes, remote: bytes, remote_port: int) -> bool:
    """Whether it takes what comes from the remote end to an address of ours."""
    if socket.local not in (b"", local, bytes(len(local))):
        return False
    return not socket.remote or (socket.remote, socket.remote_port) == (remote, remote_port)


_HARD_ERRORS: Final = {
    icmp.DESTINATION_UNREACHABLE: {icmp.PORT_UNREACHABLE: "ECONNREFUSED", icmp.PROTOCOL_UNREACHABLE: "ENOPROTOOPT"}
}
_HARD_ERRORS6: Final = {
    icmp6.DESTINATION_UNREACHABLE: {
        icmp6.ADMINISTRATIVELY_PROHIBITED: "EACCES",
        icmp6.PORT_UNREACHABLE: "ECONNREFUSED",
    },
    icmp6.PARAMETER_PROBLEM: {icmp6.UNKNOWN_NEXT_HEADER: "EPROTO"},
}
