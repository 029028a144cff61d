"""A stack of ours for ordinary programs: it lives in a thread, on an interface that exists, in real time.

with LiveStack(interface="eth0", address="10.0.0.1/24", gateway="10.0.0.254") as net:
    s = net.socket()
    s.connect(("10.0.1.2", 80))
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from nodes.base.clock import SECOND
from nodes.base.errors import InvalidArgument
from nodes.base.event_sink import EventSink
from nodes.base.random import Randomness
from nodes.drivers.packet_socket import PacketSocket
from nodes.drivers.veth import Port
from nodes.drivers.wall_clock import WallClock
from nodes.live.bsd import Address, Socket
from nodes.live.interface import facts_for_stack
from nodes.live.loop import Loop
from nodes.live.stack_calls import StackCalls
from nodes.packet.address import parse_address
from nodes.sockets.driver import StackDriver
from nodes.sockets.family import Family
from nodes.sockets.stream import stream_of
from nodes.stack import Stack
from nodes.tcp import states
from nodes.tcp.info import TcpInfo, info
from nodes.tcp.parameters import Parameters

_DEFAULT: Final = object()
_INET: Final = int(socket.AF_INET)
#: A peer may send a whole receive window at once, while the program holds the interpreter.
_RING_FRAMES: Final = 4096


class LiveStack:
    """One host with one interface, from now until `close`.

    `address` is an IPv4 address with its prefix length, `ipv6` such an IPv6 address, where there is one; `hosts` is
    what names mean (an address, or several of both families), `parameters` the host's knobs by sysctl name.
    Randomness (ISNs, ports) comes from the machine unless there is a `seed`. Events go to `sink`, in the
    stack's thread. With `packets` no interface is opened, and `mac` and `mtu` say what it has.

    Raises InvalidArgument; NotFound and FailedPrecondition for the interface; Unsupported without CAP_NET_RAW.
    """

    def __init__(
        self,
        interface: str = "eth0",
        address: str = "",
        gateway: str = "",
        hosts: Mapping[str, str | Sequence[str]] | None = None,
        parameters: Mapping[str, object] | None = None,
        seed: int | None = None,
        sink: EventSink | None = None,
        packets: PacketSocket | None = None,
        mac: bytes = b"",
        mtu: int = 1500,
        ipv6: str = "",
        ipv6_gateway: str = "",
    ) -> None:
        own, prefix = _with_prefix(address, "address", "10.0.0.1/24")
        known = {
            name: [parse_address(text, "hosts") for text in ([given] if isinstance(given, str) else given)]
            for name, given in (hosts or {}).items()
        }
        knobs = Parameters()
        knobs.set_all(parameters or {})
        if seed is None:
            seed = int.from_bytes(os.urandom(16), "big")
        stack = Stack(socket.gethostname(), knobs, Randomness(seed), sink or EventSink())
        if packets is None:
            mac, mtu = facts_for_stack(interface)
        made = stack.add_interface(interface, mac, own, prefix, mtu)
        if ipv6:
            stack.add_ipv6(made, *_with_prefix(ipv6, "ipv6", "fd00::1/64"))
        if gateway:
            stack.add_route(bytes(4), 0, parse_address(gateway, "gateway"))
        if ipv6_gateway:
            stack.add_route(bytes(16), 0, parse_address(ipv6_gateway, "ipv6_gateway"))
        self._packets = packets or PacketSocket(interface, ring_frames=_RING_FRAMES)
        self._loop = loop = Loop(f"stack on {interface}")
        self._driver = StackDriver(stack, loop.scheduler, loop.runner, [self._packets.send])
        self._stack = stack
        self._calls = StackCalls(loop, self._driver, known)
        self._closed = False
        epoch_ns = loop.scheduler.epoch_ns
        take = partial(self._driver.receive_frame, 0)
        loop.scheduler.add_source(Port(self._packets, WallClock(epoch_ns), epoch_ns, take))
        loop.start()

    # What programs use.

    def socket(
        self, family: int = _INET, type: int = socket.SOCK_STREAM, proto: int = 0, fileno: None = None
    ) -> Socket:
        """A new socket, as `socket.socket()`. Raises OSError for what is not TCP."""
        if family not in (-1, socket.AF_INET, socket.AF_INET6):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        if type not in (-1, socket.SOCK_STREAM) or proto not in (-1, 0, socket.IPPROTO_TCP):
            raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))
        return Socket(self._calls, family=Family(_INET if family == -1 else family))

    def family_of(self, host: str) -> int:
        """AF_INET6 for a host with an IPv6 address only, else AF_INET."""
        return self._calls.family_of(host)

    def create_connection(
        self, address: Address, timeout: object = _DEFAULT, source_address: Address | None = None
    ) -> Socket:
        """As `socket.create_connection`; `timeout` is in seconds, None: no limit. http.client passes an object of its
        own for the default. A name that has an IPv4 address means that one."""
        one = self.socket(self.family_of(address[0]))
        try:
            if timeout is None or isinstance(timeout, int | float):
                one.settimeout(timeout)
            if source_address is not None:
                one.bind(source_address)
            one.connect(address)
        except BaseException:
            one.close()
            raise
        return one

    def create_server(
        self,
        address: Address,
        *,
        family: int = _INET,
        backlog: int = 128,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> Socket:
        """As `socket.create_server`."""
        one = self.socket(family)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dualstack_ipv6))
            one.bind(address)
            one.listen(backlog)
        except BaseException:
            one.close()
            raise
        return one

    def statuses(self) -> list[TcpInfo]:
        """STATUS of every connection, ended ones included, oldest first."""

        def all_of_now() -> list[TcpInfo]:
            now = self._driver.now()
            return [info(each, now) for each in self._stack.tcp.connections.values()]

        return self._loop.call(all_of_now)

    def counters(self) -> dict[str, int]:
        """The host's counters by their nstat names."""
        return self._loop.call(self._stack.counters.as_dict)

    def close(self, timeout: float = 5.0) -> None:
        """End the stack: what programs have closed is delivered, within `timeout` seconds; the rest is reset.
        Idempotent. Calls that still wait raise OSError ENETDOWN."""
        if self._closed:
            return
        self._closed = True

        def end() -> Coroutine[Any, None, None] | None:
            return self._end(round(timeout * SECOND))

        try:
            self._loop.wait(end)
        finally:
            self._loop.close()
            self._packets.close()

    def __enter__(self) -> LiveStack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _end(self, timeout_ns: int) -> None:
        driver = self._driver
        deadline = driver.deadline(timeout_ns)
        for listener in list(driver.listeners.values()):
            listener.close()
        for connection in list(self._stack.tcp.connections.values()):
            if connection.user_closed:
                with contextlib.suppress(TimeoutError):
                    await stream_of(driver, connection.number).delivered(max(deadline - driver.now(), 0))
            if connection.state not in (states.CLOSED, states.TIME_WAIT, states.FIN_WAIT_2):
                connection.abort(driver.now())
                driver.flush()


def _with_prefix(text: str, field: str, example: str) -> tuple[bytes, int]:
    """Address and prefix length. Raises InvalidArgument."""
    own, _, prefix = text.partition("/")
    if not prefix.isdecimal():
        raise InvalidArgument(f"{text!r} is not an address with its prefix; write it like {example}", field)
    return parse_address(own, field), int(prefix)
