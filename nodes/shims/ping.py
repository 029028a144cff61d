"""ping: echo requests of the node's stack, told as iputils' ping tells them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from nodes.shims.ask import open_line, options, resolve, words, wrong
from nodes.shims.flags import Wrong, fail
from nodes.shims.line import Line, value_of

_USAGE = "[-c COUNT] [-i SECONDS] [-W SECONDS] [-w SECONDS] [-s BYTES] [-t TTL] [-nqvDO46] HOST"
_KNOWN = {
    "-c": "count=",
    "-i": "interval=",
    "-W": "wait=",
    "-w": "deadline=",
    "-s": "size=",
    "-t": "ttl=",
    "-n": "numeric",
    "-q": "quiet",
    "-v": "verbose",
    "-D": "stamp",
    "-O": "outstanding",
    "-4": "ipv4",
    "-6": "ipv6",
}
_UNREACHABLE = {
    0: "Destination Net Unreachable",
    1: "Destination Host Unreachable",
    2: "Destination Protocol Unreachable",
    3: "Destination Port Unreachable",
    4: "Frag needed and DF set",
    13: "Packet filtered",
}
_TIME_EXCEEDED = {0: "Time to live exceeded", 1: "Frag reassembly time exceeded"}
_UNREACHABLE6 = {
    0: "Destination unreachable: No route",
    1: "Destination unreachable: Administratively prohibited",
    2: "Destination unreachable: Beyond scope of source address",
    3: "Destination unreachable: Address unreachable",
    4: "Destination unreachable: Port unreachable",
}
_TIME_EXCEEDED6 = {0: "Time exceeded: Hop limit", 1: "Time exceeded: Defragmentation failure"}
#: What errors say, by ICMP type, then by code; and the type of an answer.
_ERRORS = {3: _UNREACHABLE, 11: _TIME_EXCEEDED}
_ERRORS6 = {1: _UNREACHABLE6, 2: {0: "Packet too big"}, 3: _TIME_EXCEEDED6}
_REPLY, _REPLY6 = 0, 129
#: Seconds to wait for the last answer when none has come so far.
_LAST = 10.0


def run(name: str, argv: Sequence[str]) -> int:
    """0 when something answered, 1 when nothing did, 2 when it could not be asked."""
    given = options(name, ["-6", *argv] if name == "ping6" else argv, _KNOWN, _USAGE)
    if len(given.rest) != 1:
        wrong(name, "one destination is needed", _USAGE)
    try:
        count = given.integer("count", 0, 1, 65535)
        size = given.integer("size", 56, 0, 65507)
        ttl = given.integer("ttl", 0, 1, 255)
        interval = given.seconds("interval", 1.0)
        wait = given.seconds("wait", 0.0)
        deadline = given.seconds("deadline", 0.0)
    except Wrong as error:
        wrong(name, error, _USAGE)
    line = open_line(name)
    host = given.rest[0]
    address = resolve(line, name, host, given)
    label = address
    if not given.numeric:
        known = line.call("name_of", host=address)
        label = f"{known} ({address})" if known else address
    try:
        series = line.call("echo_open", host=address)[0]
    except OSError as error:
        fail(name, f"connect: {words(error)}", 2)
    if ":" in address:
        sys.stdout.write(f"PING {host}({label}) {size} data bytes\n")
    else:
        sys.stdout.write(f"PING {host} ({address}) {size}({size + 28}) bytes of data.\n")
    sys.stdout.flush()
    told = _Told(host, address, label, size, bool(given.quiet), bool(given.stamp))
    try:
        _send(line, told, series, count, size, ttl, interval, wait, deadline, bool(given.outstanding))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        fail(name, words(error), 2)
    told.summary()
    complete = told.received >= count if deadline and count else told.received > 0
    return 0 if complete else 1


class _Told:
    """What has come, and what is said of it."""

    def __init__(self, host: str, address: str, label: str, size: int, quiet: bool, stamp: bool) -> None:
        self._host = host
        self._address = address
        self._label = label
        self._size = size
        self._quiet = quiet
        self._stamp = stamp
        self._began = time.monotonic()
        self._ended = self._began
        self._rtts: list[float] = []
        self.sent = 0
        self.received = 0
        self.errors = 0

    @property
    def longest(self) -> float:
        """The longest round trip, seconds."""
        return max(self._rtts, default=0.0) / 1000

    def say(self, text: str) -> None:
        """A line about one answer."""
        if not self._quiet:
            sys.stdout.write(f"[{time.time():.6f}] {text}\n" if self._stamp else f"{text}\n")
            sys.stdout.flush()

    def answer(self, sequence: int, answer: list[object] | None) -> None:
        """What has come for one request."""
        self._ended = time.monotonic()
        if answer is None:
            return
        address, kind, code, rtt_ns, ttl, size = answer
        six = ":" in self._address
        if kind == (_REPLY6 if six else _REPLY):
            self.received += 1
            rtt = float(rtt_ns) / 1e6  # type: ignore[arg-type]
            self._rtts.append(rtt)
            self.say(f"{int(str(size)) + 8} bytes from {self._label}: icmp_seq={sequence} ttl={ttl} time={_ms(rtt)} ms")
            return
        self.errors += 1
        texts = (_ERRORS6 if six else _ERRORS).get(int(str(kind)), {})
        text = texts.get(int(str(code)), f"ICMP type {kind}, code {code}")
        self.say(f"From {address} icmp_seq={sequence} {text}")

    def summary(self) -> None:
        """The statistics."""
        elapsed = round((self._ended - self._began) * 1000)
        lost = 100 * (self.sent - self.received) / self.sent if self.sent else 0.0
        errors = f", +{self.errors} errors" if self.errors else ""
        sys.stdout.write(
            f"\n--- {self._host} ping statistics ---\n{self.sent} packets transmitted, {self.received} received"
            f"{errors}, {lost:g}% packet loss, time {elapsed}ms\n"
        )
        if self._rtts:
            mean = sum(self._rtts) / len(self._rtts)
            deviation = max(sum(one * one for one in self._rtts) / len(self._rtts) - mean * mean, 0.0) ** 0.5
            sys.stdout.write(
                f"rtt min/avg/max/mdev = {min(self._rtts):.3f}/{mean:.3f}/{max(self._rtts):.3f}/{deviation:.3f} ms\n"
            )
        else:
            sys.stdout.write("\n")


def _send(
    line: Line,
    told: _Told,
    series: int,
    count: int,
    size: int,
    ttl: int,
    interval: float,
    wait: float,
    deadline: float,
    outstanding: bool,
) -> None:
    began = time.monotonic()
    end = began + deadline if deadline else float("inf")
    asked: dict[int, int] = {}
    at = began
    while not count or told.sent < count:
        told.sent += 1
        number = line.start(
            "echo", series=series, sequence=told.sent & 0xFFFF, size=size, ttl=ttl, timeout_ns=3600 * 10**9
        )
        asked[number] = told.sent
        at += interval
        last = bool(count) and told.sent == count
        limit = at
        if last:
            limit = time.monotonic() + (wait or (max(2 * told.longest, interval) if told.received else _LAST))
        _listen(line, told, asked, min(limit, end), last)
        if outstanding and told.sent in asked.values() and not last:
            told.say(f"no answer yet for icmp_seq={told.sent}")
        if time.monotonic() >= end:
            return


def _listen(line: Line, told: _Told, asked: dict[int, int], until: float, last: bool) -> None:
    """Hear answers until then; of the last request, until all are there."""
    while (left := until - time.monotonic()) > 0 and (asked or not last):
        if not asked:
            time.sleep(left)
            return
        answer = line.answer(left)
        if answer is not None:
            sequence = asked.pop(answer["id"])
            told.answer(sequence, value_of(answer))


def _ms(rtt: float) -> str:
    """With as many digits as ping shows."""
    if rtt >= 100:
        return f"{rtt:.0f}"
    return f"{rtt:.1f}" if rtt >= 10 else f"{rtt:.2f}" if rtt >= 1 else f"{rtt:.3f}"
