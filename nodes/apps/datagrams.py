"""UDP cross traffic: a source of datagrams at a constant rate, and a sink that counts them."""

from __future__ import annotations

from dataclasses import dataclass

from nodes.apps.base import App, check_range, setting
from nodes.apps.pattern import Pattern
from nodes.base.clock import NEVER, SECOND
from nodes.base.errors import SocketError
from nodes.ip.udp import MAX_PAYLOAD

_NUMBER = 8


@dataclass(frozen=True, kw_only=True)
class UdpSourceSettings:
    """What to send where, how fast and for how long."""

    to: str = setting(doc="Node or address.")
    port: int = setting(9, "The peer's port.")
    rate_bps: int = setting(1_000_000, "Of payload.")
    size_bytes: int = setting(1000, "Payload of a datagram.")
    start_ns: int = setting(0, "Wait this long before the first datagram.")
    duration_ns: int = setting(10 * SECOND, "From the first datagram to the end.")

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("rate", self.rate_bps, 1, NEVER)
        check_range("size", self.size_bytes, _NUMBER, MAX_PAYLOAD)
        check_range("duration", self.duration_ns, 1, NEVER)


class UdpSource(App[UdpSourceSettings]):
    """Results: sent_datagrams, sent_bytes, refused (ICMP said that nobody listens). Each starts with its number from 0,
    in 8 bytes; the k-th leaves at the exact instant the rate gives it."""

    kind = "udp_source"
    Settings = UdpSourceSettings

    async def run(self) -> None:
        settings = self.settings
        self.results.update(sent_datagrams=0, sent_bytes=0, refused=0)
        await self.sleep(settings.start_ns)
        socket = self.bind()
        socket.connect(self.resolve(settings.to), settings.port)
        filling = Pattern(settings.size_bytes).part(0, settings.size_bytes - _NUMBER)
        started = self.sockets.now()
        number = 0
        while (offset := number * settings.size_bytes * 8 * SECOND // settings.rate_bps) < settings.duration_ns:
            await self.sockets.runner.sleep_until(started + offset)
            try:
                socket.send_to(number.to_bytes(_NUMBER, "big") + filling)
                self.count("sent_datagrams")
                self.count("sent_bytes", settings.size_bytes)
            except SocketError as error:
                if error.errno_name != "ECONNREFUSED":
                    raise
                self.count("refused")
            number += 1


@dataclass(frozen=True, kw_only=True)
class UdpSinkSettings:
    """Where to listen and when to end."""

    port: int = setting(9, "Port to bind.")
    idle_ns: int = setting(5 * SECOND, "End when nothing has come for this long since the first datagram.")

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("idle", self.idle_ns, 1, NEVER)


class UdpSink(App[UdpSinkSettings]):
    """Results: received_datagrams, received_bytes, reordered (number lower than one seen before)."""

    kind = "udp_sink"
    Settings = UdpSinkSettings

    async def run(self) -> None:
        self.results.update(received_datagrams=0, received_bytes=0, reordered=0)
        socket = self.bind(self.settings.port)
        highest = -1
        timeout = NEVER
        while True:
            try:
                received = await socket.receive(timeout)
            except TimeoutError:
                return
            timeout = self.settings.idle_ns
            number = int.from_bytes(received.data[:_NUMBER], "big")
            self.count("received_datagrams")
            self.count("received_bytes", len(received.data))
            if number < highest:
                self.count("reordered")
            highest = max(highest, number)
