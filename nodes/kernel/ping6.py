"""Echo requests by the kernel's IPv6, through a raw ICMPv6 socket (RFC 3542)."""

from __future__ import annotations

import socket
import struct
from typing import Final

from nodes.agent.host import PingResult
from nodes.base.errors import Unsupported
from nodes.kernel.failures import socket_error
from nodes.kernel.families import address_of
from nodes.kernel.ping import Pings
from nodes.packet import icmp6
from nodes.packet.address import address_text

_HEADER: Final = struct.Struct("!BBHHH")
_IPV6_HEADER: Final = 40
_WORDS: Final = {
    icmp6.NO_ROUTE: "network unreachable",
    icmp6.ADMINISTRATIVELY_PROHIBITED: "administratively prohibited",
    icmp6.BEYOND_SCOPE: "beyond the scope of the source address",
    icmp6.ADDRESS_UNREACHABLE: "host unreachable",
    icmp6.PORT_UNREACHABLE: "port unreachable",
}
_ERRORS: Final = {icmp6.PACKET_TOO_BIG: "packet too big", icmp6.TIME_EXCEEDED: "time exceeded"}


class Pings6(Pings):
    """As Pings, to an IPv6 address."""

    def _make_socket(self, ttl: int) -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        try:
            one = socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6)
        except PermissionError:
            raise Unsupported("ping needs CAP_NET_RAW in the node's namespace") from None
        except OSError as error:
            raise socket_error(error) from None
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        if ttl:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
        return one

    def send(self, sequence: int, size: int) -> None:
        message = _HEADER.pack(icmp6.ECHO_REQUEST, 0, 0, self._identifier, sequence) + bytes(size)
        self._sent_ns[sequence] = self._context.scheduler.real_now()
        try:
            self._socket.sendto(message, (address_text(self._remote), 0))  # the kernel puts in the checksum
        except OSError as error:
            raise socket_error(error) from None

    def _receive(self) -> bool:
        came = False
        while True:
            try:
                message, ancillary, _, given = self._socket.recvmsg(65535, socket.CMSG_SPACE(4))
            except OSError:
                return came
            came = True
            hop_limit = next((struct.unpack("=i", data)[0] for _, kind, data in ancillary), 0)
            self._on_message(message, address_of(given)[0], hop_limit)

    def _on_message(self, message: bytes, address: bytes, hop_limit: int) -> None:
        now = self._context.scheduler.real_now()
        if len(message) < _HEADER.size:
            return
        kind, code, _, identifier, sequence = _HEADER.unpack_from(message)
        error = ""
        size = len(message) - _HEADER.size
        if kind < icmp6.INFORMATIONAL:
            quoted = message[_HEADER.size :]
            if len(quoted) < _IPV6_HEADER + _HEADER.size or quoted[6] != socket.IPPROTO_ICMPV6:
                return
            asked, _, _, identifier, sequence = _HEADER.unpack_from(quoted, _IPV6_HEADER)
            if asked != icmp6.ECHO_REQUEST:
                return
            size = 0
            error = _ERRORS.get(kind, f"ICMPv6 type {kind}, code {code}")
            if kind == icmp6.DESTINATION_UNREACHABLE:
                error = _WORDS.get(code, f"destination unreachable, code {code}")
        elif kind != icmp6.ECHO_REPLY:
            return
        if identifier == self._identifier and sequence in self._sent_ns:
            rtt = now - self._sent_ns[sequence]
            self.answers.setdefault(sequence, PingResult(sequence, address, rtt, hop_limit, size, error))
