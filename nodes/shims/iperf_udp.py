"""iperf over UDP: a stream of numbered datagrams, and what became of it."""

from __future__ import annotations

import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from nodes.shims import ends
from nodes.shims.ask import words
from nodes.shims.flags import Options, Wrong, fail
from nodes.shims.iperf_count import LINE, Count, say
from nodes.shims.rates import rate, size

if TYPE_CHECKING:
    import socket

_LENGTH = 1470
#: A datagram's number, when it was sent, the high half of its number; the last one's number is negative.
_DATAGRAM = struct.Struct("!iIIi")
#: What the server answers the last one: flags, bytes (high, low), seconds, microseconds, lost, out of order,
#: datagrams, jitter (seconds, microseconds).
_REPORT = struct.Struct("!iiiiiiiiii")
_HAS_REPORT = -0x8000_0000
#: How often the last datagram is sent until it is answered, and how long that is waited for.
_LAST_TRIES, _LAST_WAIT = 10, 0.25


def send(name: str, given: Options) -> int:
    """The client; its exit code."""
    import socket

    port = given.integer("port", 5001, 1, 65535)
    bits = rate(given.rate) if given.rate else 1_048_576
    length = size(given.length) if given.length else _LENGTH
    if not _DATAGRAM.size + _REPORT.size <= length <= 65507 or not bits:
        raise Wrong("datagrams have 56 to 65507 bytes, at a rate of more than 0")
    amount = size(given.amount) if given.amount else 0
    seconds = given.seconds("time", 10.0)
    try:
        family, address = ends.to(given.client, port, socket.SOCK_DGRAM)
    except socket.gaierror as error:
        fail(name, f"connect failed: {words(error)}")
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try:
            one.connect(address)
        except OSError as error:
            fail(name, f"connect failed: {words(error)}")
        say(LINE)
        say(f"Client connecting to {given.client}, UDP port {port}")
        say(f"Sending {length} byte datagrams")
        say(LINE)
        local, peer = one.getsockname(), one.getpeername()
        say(f"[  1] local {local[0]} port {local[1]} connected with {peer[0]} port {peer[1]}")
        say("[ ID] Interval       Transfer     Bandwidth")
        count = Count(1, given, given.seconds("interval", 0.0))
        padding = bytes(length - _DATAGRAM.size)
        number = 0
        try:
            while (amount and count.bytes < amount) or (not amount and time.monotonic() - count.began < seconds):
                late = count.began + number * length * 8 / bits - time.monotonic()
                if late > 0:
                    time.sleep(late)
                try:
                    one.send(_stamped(number) + padding)
                except ConnectionRefusedError:
                    continue
                number += 1
                count.add(length)
                count.tick()
        except KeyboardInterrupt:
            pass
        elapsed = count.end()
        say(f"[  1] Sent {number} datagrams")
        report = _last_datagram(one, number, padding)
    if report is None:
        sys.stderr.write(f"[  1] WARNING: did not receive ack of last datagram after {_LAST_TRIES} tries.\n")
        return 0
    say("[  1] Server Report:")
    received = (report[1] << 32) + (report[2] & 0xFFFF_FFFF)
    took = report[3] + report[4] / 1e6
    lost, datagrams, jitter = report[5], report[7], report[8] * 1e3 + report[9] / 1e3
    count.say(0.0, took or elapsed, received, _losses(jitter, lost, datagrams))
    return 0


def _losses(jitter_ms: float, lost: int, datagrams: int) -> str:
    share = 100 * lost / datagrams if datagrams else 0.0
    return f"  {jitter_ms:6.3f} ms {lost:4}/{datagrams:5} ({share:.2g}%)"


def _stamped(number: int) -> bytes:
    now = time.time()
    return _DATAGRAM.pack(number, int(now), int(now % 1 * 1e6), -1 if number < 0 else 0)


def _last_datagram(one: socket.socket, number: int, padding: bytes) -> tuple[int, ...] | None:
    """Say that it is over until the server answers with what it has got; None when it does not."""
    one.settimeout(_LAST_WAIT)
    for _ in range(_LAST_TRIES):
        try:
            one.send(_stamped(-number) + padding)
            while True:
                data = one.recv(65536)
                if len(data) >= _DATAGRAM.size + _REPORT.size:
                    report = _REPORT.unpack_from(data, _DATAGRAM.size)
                    if report[0] < 0:
                        return report
        except (TimeoutError, ConnectionRefusedError):
            continue
    return None


class _Received(Count):
    """A stream of datagrams, as it comes."""

    def __init__(self, number: int, given: Options, interval: float) -> None:
        super().__init__(number, given, interval)
        self.first = -1
        self.expected = 0
        self.lost = 0
        self.disordered = 0
        self.jitter = 0.0
        self._transit: float | None = None
        self.report = b""

    def take(self, data: bytes) -> bool:
        """A datagram; whether it is the last."""
        number, seconds, microseconds, _ = _DATAGRAM.unpack_from(data)
        last = number < 0
        number = abs(number)
        if self.first < 0:
            self.first = self.expected = number
        if last:
            self.lost += max(number - self.expected, 0)
            self.expected = max(number, self.expected)
            return True
        self.add(len(data))
        transit = time.time() - seconds - microseconds / 1e6
        if self._transit is not None:
            self.jitter += (abs(transit - self._transit) - self.jitter) / 16  # RFC 1889 section 6.3.1
        self._transit = transit
        if number < self.expected:
            self.disordered += 1
            self.lost = max(self.lost - 1, 0)
        else:
            self.lost += number - self.expected
            self.expected = number + 1
        return False

    def finish(self) -> None:
        """Say what it was, and keep it for whoever asks."""
        elapsed = time.monotonic() - self.began
        total = self.expected - max(self.first, 0)
        self.say(0.0, elapsed, self.bytes, _losses(self.jitter * 1e3, self.lost, total))
        self.report = _REPORT.pack(
            _HAS_REPORT,
            self.bytes >> 32,
            self.bytes & 0x7FFF_FFFF,
            int(elapsed),
            int(elapsed % 1 * 1e6),
            self.lost,
            self.disordered,
            total,
            int(self.jitter),
            int(self.jitter % 1 * 1e6),
        )


def serve(name: str, given: Options) -> int:
    """The server, until it is interrupted or has served once; its exit code."""
    import socket

    port = given.integer("port", 5001, 1, 65535)
    interval = given.seconds("interval", 0.0)
    streams: dict[Any, _Received] = {}
    try:
        family, address = ends.here(given.bind or "", port, socket.SOCK_DGRAM)
    except socket.gaierror as error:
        fail(name, f"bind failed: {words(error)}")
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try:
            one.bind(address)
        except OSError as error:
            fail(name, f"bind failed: {words(error)}")
        say(LINE)
        say(f"Server listening on UDP port {port}")
        say("Receiving up to 65507 byte datagrams")
        say(LINE)
        number = 0
        try:
            while True:
                data, peer = one.recvfrom(65536)
                if len(data) < _DATAGRAM.size:
                    continue
                stream = streams.get(peer)
                if stream is None or (stream.report and not data.startswith(b"\xff")):
                    if data[0] & 0x80 and stream is None:
                        continue  # the end of one from before us
                    number += 1
                    stream = streams[peer] = _Received(number, given, interval)
                    local = one.getsockname()[0]
                    say(f"[{number:3}] local {local} port {port} connected with {peer[0]} port {peer[1]}")
                    say("[ ID] Interval       Transfer     Bandwidth        Jitter   Lost/Total Datagrams")
                if not stream.report:
                    if stream.take(data):
                        stream.finish()
                    stream.tick()
                if stream.report and data[0] & 0x80:
                    one.sendto(data[: _DATAGRAM.size] + stream.report, peer)
                    if given.once:
                        return 0
        except KeyboardInterrupt:
            for stream in streams.values():
                if not stream.report:
                    stream.finish()
    return 0
