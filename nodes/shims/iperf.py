"""iperf, as its version 2: bulk transfers by TCP, a stream of datagrams by UDP."""

from __future__ import annotations

import os
import select
import struct
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nodes.shims import ends
from nodes.shims.ask import options, words, wrong
from nodes.shims.flags import Options, Wrong, fail
from nodes.shims.rates import FORMATS, rate, shown_bytes, shown_rate, size

if TYPE_CHECKING:
    import socket

_USAGE = (
    "-s | -c HOST [-u] [-p PORT] [-t SECONDS] [-n BYTES] [-i SECONDS] [-P STREAMS] [-b RATE] [-l BYTES] [-f FORMAT]"
)
_KNOWN = {
    "-s": "server",
    "--server": "server",
    "-c": "client=",
    "--client": "client=",
    "-u": "udp",
    "--udp": "udp",
    "-p": "port=",
    "--port": "port=",
    "-t": "time=",
    "--time": "time=",
    "-n": "amount=",
    "--num": "amount=",
    "-i": "interval=",
    "--interval": "interval=",
    "-P": "parallel=",
    "--parallel": "parallel=",
    "-b": "rate=",
    "--bandwidth": "rate=",
    "-l": "length=",
    "--len": "length=",
    "-f": "form=",
    "--format": "form=",
    "-w": "window=",
    "--window": "window=",
    "-B": "bind=",
    "-N": "nodelay",
    "--nodelay": "nodelay",
    "-D": "daemon",
    "-Z": "congestion=",
    "--linux-congestion": "congestion=",
    "-M": "mss=",
    "--mss": "mss=",
    "-y": "report=",
    "-m": "print_mss",
    "-e": "enhanced",
    "-1": "once",
    "-V": "ipv6",
    "-6": "ipv6",
    "-4": "ipv4",
}
_LINE = "-" * 60
_TCP_LENGTH = 131_072
_UDP_LENGTH = 1470
#: A datagram's number, when it was sent, the high half of its number; the last one's number is negative.
_DATAGRAM = struct.Struct("!iIIi")
#: What the server answers the last one: flags, bytes (high, low), seconds, microseconds, lost, out of order,
#: datagrams, jitter (seconds, microseconds).
_REPORT = struct.Struct("!iiiiiiiiii")
_HAS_REPORT = -0x8000_0000
#: How often the last datagram is sent until it is answered, and how long that is waited for.
_LAST_TRIES, _LAST_WAIT = 10, 0.25
_MOST_PARALLEL = 128


def run(name: str, argv: Sequence[str]) -> int:
    """0, or 1 when there is no connection."""
    given = options(name, argv, _KNOWN, _USAGE)
    try:
        if given.daemon:
            raise Wrong("run it in the background: &")
        if bool(given.server) == (given.client is not None) or given.rest:
            raise Wrong("either -s or -c HOST is needed")
        if (given.form or "a") not in FORMATS:
            raise Wrong(f"format {given.form!r} is none; there are {', '.join(FORMATS)}")
        ends.use(given)
        if given.server:
            return _udp_server(name, given) if given.udp else _tcp_server(name, given)
        return _udp_client(name, given) if given.udp else _tcp_client(name, given)
    except Wrong as error:
        wrong(name, error, _USAGE)


class _Count:
    """What one stream has moved, said in intervals."""

    def __init__(self, number: int, given: Options, interval: float) -> None:
        self.number = number
        self.bytes = 0
        self.began = time.monotonic()
        self._form = given.form or "a"
        self._csv = given.report in ("C", "c")
        self._interval = interval
        self._said = 0.0
        self._said_bytes = 0

    def add(self, count: int) -> None:
        """So many bytes more."""
        self.bytes += count

    def tick(self) -> None:
        """Say the interval that is over."""
        elapsed = time.monotonic() - self.began
        if self._interval and elapsed >= self._said + self._interval:
            upto = self._said + self._interval * int((elapsed - self._said) / self._interval)
            self.say(self._said, upto, self.bytes - self._said_bytes)
            self._said, self._said_bytes = upto, self.bytes

    def end(self, more: str = "") -> float:
        """Say it all; how long it took."""
        elapsed = max(time.monotonic() - self.began, 1e-6)
        self.say(0.0, elapsed, self.bytes, more)
        return elapsed

    def say(self, begin: float, end: float, count: int, more: str = "", label: str = "") -> None:
        """A line of the report."""
        bits = count * 8 / max(end - begin, 1e-6)
        if self._csv:
            stamp = time.strftime("%Y%m%d%H%M%S")
            _say(f"{stamp},,,,,{self.number},{begin:.1f}-{end:.1f},{count},{round(bits)}")
            return
        label = label or f"{self.number:3}"
        rates = f"{shown_bytes(count)}  {shown_rate(bits, self._form)}"
        _say(f"[{label}] {begin:.4f}-{end:.4f} sec  {rates}{more}")


def _tcp_server(name: str, given: Options) -> int:
    import socket

    port = given.integer("port", 5001, 1, 65535)
    window = _window(given)
    try:
        family, address = ends.here(given.bind or "", port)
    except socket.gaierror as error:
        fail(name, f"bind failed: {words(error)}")
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _prepare(listener, given)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            fail(name, f"bind failed: {words(error)}")
        _say(_LINE)
        _say(f"Server listening on TCP port {port}")
        _say(f"TCP window size: {_shown_window(listener, window, 'SO_RCVBUF')}")
        _say(_LINE)
        _serve(listener, given)
    return 0


def _serve(listener: socket.socket, given: Options) -> None:
    """Take what comes on every connection, until the program is ended."""
    interval = given.seconds("interval", 0.0)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    streams: dict[int, tuple[socket.socket, _Count]] = {}
    length = size(given.length) if given.length else _TCP_LENGTH
    number = 0
    try:
        while True:
            for descriptor, _ in poll.poll(interval * 1000 if interval and streams else None):
                if descriptor == listener.fileno():
                    one, peer = listener.accept()
                    number += 1
                    count = _Count(number, given, interval)
                    streams[one.fileno()] = one, count
                    poll.register(one, select.POLLIN)
                    local = one.getsockname()
                    ends_are = (
                        f"local {ends.shown(local)} port {local[1]} connected with {ends.shown(peer)} port {peer[1]}"
                    )
                    _say(f"[{number:3}] {ends_are}")
                    if number == 1:
                        _say("[ ID] Interval       Transfer     Bandwidth")
                    continue
                one, count = streams[descriptor]
                try:
                    data = one.recv(length)
                except OSError:
                    data = b""
                count.add(len(data))
                if not data:
                    count.end()
                    poll.unregister(descriptor)
                    del streams[descriptor]
                    one.close()
                    if given.once and not streams:
                        return
            for _, count in streams.values():
                count.tick()
    except KeyboardInterrupt:
        for one, count in streams.values():
            count.end()
            one.close()


def _tcp_client(name: str, given: Options) -> int:
    import socket

    port = given.integer("port", 5001, 1, 65535)
    parallel = given.integer("parallel", 1, 1, _MOST_PARALLEL)
    length = size(given.length) if given.length else _TCP_LENGTH
    amount = size(given.amount) if given.amount else 0
    limit = rate(given.rate) if given.rate else 0
    interval = given.seconds("interval", 0.0)
    streams: list[tuple[socket.socket, _Count]] = []
    try:
        for number in range(1, parallel + 1):
            family, address = ends.to(given.client, port)
            one = socket.socket(family)
            _prepare(one, given)
            if given.bind:
                one.bind((given.bind, 0))
            one.connect(address)
            if number == 1:
                _say(_LINE)
                _say(f"Client connecting to {given.client}, TCP port {port}")
                _say(f"TCP window size: {_shown_window(one, _window(given), 'SO_SNDBUF')}")
                _say(_LINE)
            local, peer = one.getsockname(), one.getpeername()
            _say(f"[{number:3}] local {local[0]} port {local[1]} connected with {peer[0]} port {peer[1]}")
            streams.append((one, _Count(number, given, interval)))
    except OSError as error:
        fail(name, f"connect failed: {words(error)}")
    _say("[ ID] Interval       Transfer     Bandwidth")
    began = time.monotonic()
    for _, count in streams:
        count.began = began
    try:
        _send_all(streams, length, amount, limit, given.seconds("time", 10.0) if not amount else 0.0)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.stderr.write(f"{name}: write failed: {words(error)}\n")
    total = 0
    for one, count in streams:
        count.end()
        total += count.bytes
        one.close()
    if parallel > 1:
        streams[0][1].say(0.0, time.monotonic() - began, total, label="SUM")
    return 0


def _send_all(
    streams: list[tuple[socket.socket, _Count]], length: int, amount: int, limit: int, seconds: float
) -> None:
    """On all of them at once, until each has sent `amount` bytes (0: no limit), or the time is over."""
    data = memoryview(os.urandom(1) * length)
    began = time.monotonic()
    poll = select.poll()
    left = {}
    for one, count in streams:
        one.setblocking(False)
        poll.register(one, select.POLLOUT)
        left[one.fileno()] = one, count
    while left:
        now = time.monotonic()
        if seconds and now - began >= seconds:
            return
        due = limit * (now - began) / 8 if limit else 0.0
        ready = poll.poll(min(100.0, max(seconds - (now - began), 0) * 1000) if seconds else 100)
        moved = False
        for descriptor, _ in ready:
            one, count = left[descriptor]
            count.tick()
            if limit and count.bytes >= due:
                continue
            piece = data[: min(length, amount - count.bytes)] if amount else data
            try:
                count.add(one.send(piece))
                moved = True
            except BlockingIOError:
                continue
            if amount and count.bytes >= amount:
                poll.unregister(descriptor)
                del left[descriptor]
        if limit and not moved:
            time.sleep(min(length * 8 / limit, 0.1))


def _prepare(one: socket.socket, given: Options) -> None:
    import socket

    try:
        if given.nodelay:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if given.congestion:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, given.congestion.encode())
        if given.mss:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, given.integer("mss", 0, 88, 65495))
        if window := _window(given):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    except OSError as error:
        raise Wrong(words(error)) from None


def _window(given: Options) -> int:
    return size(given.window) if given.window else 0


def _shown_window(one: socket.socket, window: int, option: str) -> str:
    import socket

    value = one.getsockopt(socket.SOL_SOCKET, getattr(socket, option))
    return f"{shown_bytes(value).replace('Bytes', 'Byte')} {'' if window else '(default)'}".rstrip()


def _udp_client(name: str, given: Options) -> int:
    import socket

    port = given.integer("port", 5001, 1, 65535)
    bits = rate(given.rate) if given.rate else 1_048_576
    length = size(given.length) if given.length else _UDP_LENGTH
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
        _say(_LINE)
        _say(f"Client connecting to {given.client}, UDP port {port}")
        _say(f"Sending {length} byte datagrams")
        _say(_LINE)
        local, peer = one.getsockname(), one.getpeername()
        _say(f"[  1] local {local[0]} port {local[1]} connected with {peer[0]} port {peer[1]}")
        _say("[ ID] Interval       Transfer     Bandwidth")
        count = _Count(1, given, given.seconds("interval", 0.0))
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
        _say(f"[  1] Sent {number} datagrams")
        report = _last_datagram(one, number, padding)
    if report is None:
        sys.stderr.write(f"[  1] WARNING: did not receive ack of last datagram after {_LAST_TRIES} tries.\n")
        return 0
    _say("[  1] Server Report:")
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


class _Received(_Count):
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


def _udp_server(name: str, given: Options) -> int:
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
        _say(_LINE)
        _say(f"Server listening on UDP port {port}")
        _say("Receiving up to 65507 byte datagrams")
        _say(_LINE)
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
                    _say(f"[{number:3}] local {local} port {port} connected with {peer[0]} port {peer[1]}")
                    _say("[ ID] Interval       Transfer     Bandwidth        Jitter   Lost/Total Datagrams")
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


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
