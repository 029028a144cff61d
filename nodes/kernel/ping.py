"""Echo requests by the kernel's IP, through a raw ICMP socket (icmp(7))."""

from __future__ import annotations

import socket
import struct
from typing import Final

from nodes.agent.host import PingResult
from nodes.base.errors import Unsupported
from nodes.kernel.context import Context
from nodes.kernel.descriptor import Descriptor
from nodes.kernel.failures import socket_error
from nodes.packet import icmp
from nodes.packet.address import address_text, parse_address
from nodes.packet.checksum import checksum

MAX_COUNT: Final = 10_000
MAX_SIZE: Final = 65_507
_HEADER: Final = struct.Struct("!BBHHH")
_WORDS: Final = {
    icmp.NET_UNREACHABLE: "network unreachable",
    icmp.HOST_UNREACHABLE: "host unreachable",
    icmp.PROTOCOL_UNREACHABLE: "protocol unreachable",
    icmp.PORT_UNREACHABLE: "port unreachable",
    icmp.FRAGMENTATION_NEEDED: "fragmentation needed",
}


class Pings:
    """The echo requests of one `ping` to `remote`. Raises Unsupported without CAP_NET_RAW."""

    def __init__(self, context: Context, remote: bytes, identifier: int, ttl: int) -> None:
        self.answers: dict[int, PingResult] = {}
        self._context = context
        self._remote = remote
        self._identifier = identifier
        self._sent_ns: dict[int, int] = {}
        self._socket = self._make_socket(ttl)
        self._descriptor = Descriptor(context, self._socket)

    def _make_socket(self, ttl: int) -> socket.socket:
        try:
            one = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        except PermissionError:
            raise Unsupported("ping needs CAP_NET_RAW in the node's namespace") from None
        if ttl:
            one.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        return one

    def send(self, sequence: int, size: int) -> None:
        """Raises SocketError when there is no way to it."""
        head = _HEADER.pack(icmp.ECHO_REQUEST, 0, 0, self._identifier, sequence)
        data = bytes(size)
        message = head[:2] + checksum(head + data).to_bytes(2, "big") + head[4:] + data
        self._sent_ns[sequence] = self._context.scheduler.real_now()
        try:
            self._socket.sendto(message, (address_text(self._remote), 0))
        except OSError as error:
            raise socket_error(error) from None

    async def wait(self, deadline: int) -> None:
        """Wait for something to come. Raises TimeoutError."""
        if not self._receive():
            await self._descriptor.readable(f"echo reply from {address_text(self._remote)}", deadline)
            self._receive()

    def close(self) -> None:
        """Listen no more."""
        self._descriptor.let_go()
        self._socket.close()

    def _receive(self) -> bool:
        came = False
        while True:
            try:
                packet, (address, _) = self._socket.recvfrom(65535)
            except BlockingIOError:
                return came
            except OSError:
                return came
            came = True
            self._on_packet(packet, parse_address(address))

    def _on_packet(self, packet: bytes, address: bytes) -> None:
        now = self._context.scheduler.real_now()
        start = (packet[0] & 15) << 2
        if len(packet) < start + _HEADER.size:
            return
        kind, code, _, identifier, sequence = _HEADER.unpack_from(packet, start)
        error = ""
        size = len(packet) - start - _HEADER.size
        if kind != icmp.ECHO_REPLY:
            inner = start + _HEADER.size
            if kind not in (icmp.DESTINATION_UNREACHABLE, icmp.TIME_EXCEEDED) or len(packet) < inner + 28:
                return
            inner += (packet[inner] & 15) << 2
            _, _, _, identifier, sequence = _HEADER.unpack_from(packet.ljust(inner + 8, b"\0"), inner)
            size = 0
            if kind == icmp.TIME_EXCEEDED:
                error = "time exceeded"
            else:
                error = _WORDS.get(code, f"destination unreachable, code {code}")
        if identifier == self._identifier and sequence in self._sent_ns:
            rtt = now - self._sent_ns[sequence]
            self.answers.setdefault(sequence, PingResult(sequence, address, rtt, packet[8], size, error))
