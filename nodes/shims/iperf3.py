"""iperf3: bulk transfers by TCP, in the language of iperf3's 3.x releases, so either side may be the real one.

The client opens a control connection and sends a cookie; single bytes on it say what comes next; parameters and
results are JSON with their length before them; each data connection begins with the same cookie.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from nodes.shims import ends
from nodes.shims.ask import options, words, wrong
from nodes.shims.flags import Options, Wrong, fail
from nodes.shims.rates import FORMATS, rate, shown_bytes, shown_rate, size

_USAGE = (
    "-s | -c HOST [-p PORT] [-t SECONDS | -n BYTES] [-i SECONDS] [-P STREAMS] [-R] [-b RATE] [-l BYTES] [-f FORM] [-J]"
)
_KNOWN = {
    "-s": "server",
    "--server": "server",
    "-c": "client=",
    "--client": "client=",
    "-p": "port=",
    "--port": "port=",
    "-t": "time=",
    "--time": "time=",
    "-n": "amount=",
    "--bytes": "amount=",
    "-i": "interval=",
    "-1": "once",
    "--interval": "interval=",
    "-P": "parallel=",
    "--parallel": "parallel=",
    "-R": "reverse",
    "--reverse": "reverse",
    "-b": "rate=",
    "--bitrate": "rate=",
    "--bandwidth": "rate=",
    "-l": "length=",
    "--length": "length=",
    "-f": "form=",
    "--format": "form=",
    "-J": "json",
    "--json": "json",
    "-w": "window=",
    "--window": "window=",
    "-C": "congestion=",
    "--congestion": "congestion=",
    "-M": "mss=",
    "--set-mss": "mss=",
    "-N": "nodelay",
    "--no-delay": "nodelay",
    "-B": "bind=",
    "--bind": "bind=",
    "-O": "omit=",
    "--omit": "omit=",
    "-V": "verbose",
    "--one-off": "once",
    "--forceflush": "flush",
    "-4": "ipv4",
    "--connect-timeout": "connect_timeout=",
    "-u": "udp",
    "--udp": "udp",
    "-D": "daemon",
    "--daemon": "daemon",
    "-6": "ipv6",
    "--bidir": "bidir",
}
_UNSUPPORTED = {
    "udp": "UDP is what `iperf -u` does",
    "daemon": "run it in the background: &",
    "bidir": "run one with -R beside",
}
_TEST_START, _TEST_RUNNING, _TEST_END = 1, 2, 4
_PARAM_EXCHANGE, _CREATE_STREAMS, _EXCHANGE_RESULTS, _DISPLAY_RESULTS, _DONE = 9, 10, 13, 14, 16
_SERVER_TERMINATE, _CLIENT_TERMINATE, _ACCESS_DENIED, _SERVER_ERROR = 11, 12, 255, 254
_COOKIE = 37
_LENGTH = 131_072
_MOST_JSON = 1 << 24
_RULE = "- " * 25

Results = dict[str, Any]


class _Ended(Exception):
    """The other side has ended the test; the text says how."""


def run(name: str, argv: Sequence[str]) -> int:
    """0, or 1 when the test could not be done."""
    given = options(name, argv, _KNOWN, _USAGE)
    try:
        for unsupported, text in _UNSUPPORTED.items():
            if getattr(given, unsupported):
                raise Wrong(text)
        if bool(given.server) == (given.client is not None) or given.rest:
            raise Wrong("either -s or -c HOST is needed")
        if (given.form or "a") not in FORMATS:
            raise Wrong(f"format {given.form!r} is none; there are {', '.join(FORMATS)}")
        port = given.integer("port", 5201, 1, 65535)
        ends.use(given)
        if given.server:
            return _server(name, given, port)
        return _client(name, given, port)
    except Wrong as error:
        wrong(name, error, _USAGE)


class _Stream:
    """One data connection and what it has moved."""

    def __init__(self, one: socket.socket, number: int) -> None:
        self.socket = one
        self.number = number
        self.bytes = 0
        self.said = 0
        self.retransmits_said = 0
        self.resent = 0

    def info(self) -> bytes:
        """TCP_INFO."""
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104).ljust(104, b"\0")

    def retransmits(self) -> int:
        """Segments sent again so far."""
        return int.from_bytes(self.info()[100:104], sys.byteorder)

    def window(self) -> int:
        """The congestion window, bytes."""
        data = self.info()
        return int.from_bytes(data[80:84], sys.byteorder) * int.from_bytes(data[16:20], sys.byteorder)


class _Test:
    """The transfer, from when it runs to when it is over."""

    def __init__(
        self, given: Options, control: socket.socket, sends: bool, parameters: Results, interval: float
    ) -> None:
        self.control = control
        self.sends = sends
        self.streams: list[_Stream] = []
        self._given = given
        self._form = given.form or "a"
        self._interval = interval
        self._length = int(parameters.get("len") or _LENGTH)
        self._amount = int(parameters.get("num") or 0)
        self._limit = int(parameters.get("bandwidth") or 0)
        self._omit = float(parameters.get("omit") or 0)
        self._time = float(parameters.get("time") or 0)
        self.quiet = bool(given.json)
        self.intervals: list[Results] = []
        self.began = 0.0
        self.took = 0.0
        self._said = 0.0

    def head(self) -> None:
        """What the columns are."""
        retransmits = "  Retr  Cwnd" if self.sends else ""
        self.say(f"[ ID] Interval           Transfer     Bitrate       {retransmits}")

    def say(self, text: str) -> None:
        """A line, unless JSON is wanted."""
        if not self.quiet:
            sys.stdout.write(text.rstrip() + "\n")
            sys.stdout.flush()

    def run(self, ends: bool) -> None:
        """Send or receive. `ends`: it is ours to end it, by time or bytes; else until the other side says so. Raises
        _Ended."""
        self.began = time.monotonic()
        data = memoryview(os.urandom(1) * self._length)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        by_descriptor = {one.socket.fileno(): one for one in self.streams}
        for one in self.streams:
            one.socket.setblocking(False)
            poll.register(one.socket, select.POLLOUT if self.sends else select.POLLIN)
        omitted = not self._omit
        while True:
            elapsed = time.monotonic() - self.began
            if not omitted and elapsed >= self._omit:
                omitted, elapsed = True, 0.0
                self._restart()
            if ends and self._is_over(elapsed):
                break
            if self._tick(elapsed, poll.poll(self._patience(ends, elapsed)), by_descriptor, poll, data):
                break
        self.took = max(time.monotonic() - self.began, 1e-6)
        for one in self.streams:
            one.socket.setblocking(True)
            one.resent = one.retransmits() if self.sends else 0
        if self._interval and self.took - self._said > self._interval / 10:
            self._interval_over(self._said, self.took)

    def _restart(self) -> None:
        self.began = time.monotonic()
        self._said = 0.0
        for one in self.streams:
            one.bytes = one.said = 0

    def _is_over(self, elapsed: float) -> bool:
        if self._amount:
            return sum(one.bytes for one in self.streams) >= self._amount
        return elapsed >= self._time

    def _patience(self, ends: bool, elapsed: float) -> float:
        until = self._said + self._interval - elapsed if self._interval else 1.0
        if ends and not self._amount:
            until = min(until, self._time - elapsed)
        return max(min(until, 1.0), 0.0) * 1000

    def _tick(
        self,
        elapsed: float,
        ready: list[tuple[int, int]],
        by_descriptor: dict[int, _Stream],
        poll: Any,
        data: memoryview,
    ) -> bool:
        """Move what can be moved; whether the other side has ended the test."""
        moved = False
        due = self._limit * elapsed / 8 if self._limit else 0.0
        for descriptor, _ in ready:
            one = by_descriptor.get(descriptor)
            if one is None:
                if _word(self.control) == _TEST_END:
                    return True
                raise _Ended("the other side has ended the test")
            if self._limit and self.sends and one.bytes >= due:
                continue
            try:
                if self.sends:
                    one.bytes += one.socket.send(data)
                else:
                    piece = one.socket.recv(self._length)
                    one.bytes += len(piece)
                    if not piece:
                        poll.unregister(descriptor)
                moved = True
            except BlockingIOError:
                continue
        if self._limit and self.sends and not moved:
            time.sleep(0.001)
        if self._interval and elapsed >= self._said + self._interval:
            upto = self._said + self._interval * int((elapsed - self._said) / self._interval)
            self._interval_over(self._said, upto)
            self._said = upto
        return False

    def _interval_over(self, begin: float, end: float) -> None:
        total = 0
        rows = []
        for one in self.streams:
            count, one.said = one.bytes - one.said, one.bytes
            total += count
            more, row = "", {"socket": one.number, "start": begin, "end": end, "bytes": count}
            if self.sends:
                retransmits = one.retransmits()
                more = f"  {retransmits - one.retransmits_said:3}   {shown_bytes(one.window())}"
                row |= {"retransmits": retransmits - one.retransmits_said, "snd_cwnd": one.window()}
                one.retransmits_said = retransmits
            row["bits_per_second"] = count * 8 / max(end - begin, 1e-6)
            rows.append(row)
            self.line(f"{one.number:3}", begin, end, count, more)
        if len(self.streams) > 1:
            self.line("SUM", begin, end, total, "")
            self.say(_RULE)
        whole = {"start": begin, "end": end, "bytes": total, "bits_per_second": total * 8 / max(end - begin, 1e-6)}
        self.intervals.append({"streams": rows, "sum": whole})

    def line(self, label: str, begin: float, end: float, count: int, more: str) -> None:
        """A line of the report."""
        rates = f"{shown_bytes(count)}  {shown_rate(count * 8 / max(end - begin, 1e-6), self._form)}"
        self.say(f"[{label}] {begin:6.2f}-{end:<6.2f} sec  {rates}{more}")

    def results(self) -> Results:
        """What the other side is told."""
        congestion = "cubic"
        for one in self.streams:
            found = one.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            congestion = found.split(b"\0")[0].decode()
        return {
            "cpu_util_total": 0,
            "cpu_util_user": 0,
            "cpu_util_system": 0,
            "sender_has_retransmits": 1 if self.sends else -1,
            "congestion_used": congestion,
            "streams": [
                {
                    "id": one.number,
                    "bytes": one.bytes,
                    "retransmits": one.resent if self.sends else -1,
                    "jitter": 0,
                    "errors": 0,
                    "packets": 0,
                    "start_time": 0,
                    "end_time": self.took,
                }
                for one in self.streams
            ],
        }

    def close(self) -> None:
        """The data connections end. Idempotent."""
        for one in self.streams:
            one.socket.close()

    def summary(self, peer: Results) -> Results:
        """Say what both sides have counted; the same for JSON."""
        said = {one["id"]: one for one in peer.get("streams", ())}
        self.say(_RULE)
        self.say(f"[ ID] Interval           Transfer     Bitrate       {'  Retr' if self.sends else ''}")
        total: dict[str, Results] = {}
        for role in ("sender", "receiver"):
            bytes_, again = 0, 0
            seconds = self.took
            for one in self.streams:
                theirs = said.get(one.number, {})
                ours = (role == "sender") == self.sends
                count = one.bytes if ours else int(theirs.get("bytes", 0))
                seconds = self.took if ours else float(theirs.get("end_time") or self.took)
                retransmits = one.resent if self.sends else int(theirs.get("retransmits", 0))
                bytes_, again = bytes_ + count, again + retransmits
                more = f"  {retransmits:3}" if role == "sender" else "     "
                self.line(f"{one.number:3}", 0.0, seconds, count, f"{more}             {role}")
            if len(self.streams) > 1:
                more = f"  {again:3}" if role == "sender" else "     "
                self.line("SUM", 0.0, seconds, bytes_, f"{more}             {role}")
            total[f"sum_{'sent' if role == 'sender' else 'received'}"] = {
                "start": 0,
                "end": seconds,
                "seconds": seconds,
                "bytes": bytes_,
                "bits_per_second": bytes_ * 8 / max(seconds, 1e-6),
                **({"retransmits": again} if role == "sender" else {}),
            }
        return total


def _client(name: str, given: Options, port: int) -> int:
    parameters: Results = {
        "tcp": True,
        "omit": given.integer("omit", 0, 0, 60),
        "blockcount": 0,
        "time": 0 if given.amount else given.integer("time", 10, 1, 86400),
        "num": size(given.amount) if given.amount else 0,
        "parallel": given.integer("parallel", 1, 1, 128),
        "len": size(given.length) if given.length else _LENGTH,
        "pacing_timer": 1000,
        "client_version": "3.12",
    }
    if given.reverse:
        parameters["reverse"] = True
    if given.rate:
        parameters["bandwidth"] = rate(given.rate)
    for option, key in (("window", "window"), ("mss", "MSS")):
        if getattr(given, option):
            parameters[key] = size(getattr(given, option))
    if given.congestion:
        parameters["congestion"] = given.congestion
    cookie = os.urandom(18).hex().encode() + b"\0"
    test: _Test | None = None
    report: Results = {}

    def connect() -> socket.socket:
        family, address = ends.to(given.client, port)
        one = socket.socket(family)
        _prepare(one, given)
        if given.bind:
            one.bind((given.bind, 0))
        one.settimeout(given.seconds("connect_timeout", 0.0) / 1000 or None)
        one.connect(address)
        one.settimeout(None)
        one.sendall(cookie)
        return one

    try:
        control = connect()
    except OSError as error:
        text = f"unable to connect to server: {words(error)}"
        _error(name, given, text)
        return 1
    try:
        with control:
            while True:
                word = _word(control)
                if word == _PARAM_EXCHANGE:
                    _send_json(control, parameters)
                elif word == _CREATE_STREAMS:
                    test = _Test(given, control, not given.reverse, parameters, given.seconds("interval", 1.0))
                    test.say(f"Connecting to host {given.client}, port {port}")
                    if given.reverse:
                        test.say(f"Reverse mode, remote host {given.client} is sending")
                    _open(test, connect, int(parameters["parallel"]))
                elif word == _TEST_RUNNING and test is not None:
                    _run_client(test)
                elif word == _EXCHANGE_RESULTS and test is not None:
                    _send_json(control, test.results())
                    report = _receive_json(control)
                elif word == _DISPLAY_RESULTS and test is not None:
                    _finish(test, control, given, report, parameters)
                    return 0
                elif word != _TEST_START:
                    raise _Ended(_end_of(word))
    except KeyboardInterrupt:
        if test is not None and test.began:
            test.took = max(time.monotonic() - test.began, 1e-6)
            test.summary({})
        _error(name, given, "interrupt - the client has terminated")
        return 1
    except (OSError, _Ended, ValueError) as error:
        _error(name, given, words(error) if isinstance(error, OSError) else str(error))
        return 1


def _open(test: _Test, connect: Callable[[], socket.socket], count: int) -> None:
    for index in range(count):
        # iperf3 numbers its streams 1, 3, 4, ... on the wire, and shows descriptors.
        one = _Stream(connect(), index + 1 if not index else index + 2)
        test.streams.append(one)
        local, peer = one.socket.getsockname(), one.socket.getpeername()
        test.say(f"[{one.number:3}] {_ends(local, peer)}")


def _run_client(test: _Test) -> None:
    test.head()
    test.run(ends=True)
    test.control.sendall(bytes([_TEST_END]))
    _drain_until(test)


def _drain_until(test: _Test) -> None:
    """What was under way is read, so that a sender that is blocked comes to hear of the end."""
    if test.sends:
        return
    for one in test.streams:
        one.socket.setblocking(False)
    poll = select.poll()
    poll.register(test.control, select.POLLIN)
    by_descriptor = {one.socket.fileno(): one.socket for one in test.streams}
    for one in test.streams:
        poll.register(one.socket, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor not in by_descriptor:
                return
            try:
                if not by_descriptor[descriptor].recv(_LENGTH):
                    poll.unregister(descriptor)
            except OSError:
                poll.unregister(descriptor)


def _finish(test: _Test, control: socket.socket, given: Options, report: Results, parameters: Results) -> None:
    total = test.summary(report)
    control.sendall(bytes([_DONE]))
    test.close()
    test.say("\niperf Done.")
    if given.json:
        _print_json({"start": {"test_start": parameters}, "intervals": test.intervals, "end": total})


def _server(name: str, given: Options, port: int) -> int:
    try:
        listener = _listen(given, port)
    except OSError as error:
        fail(name, f"error - unable to start listener for connections: {words(error)}")
    code = 0
    with listener:
        try:
            while True:
                if not given.json:
                    rule = "-" * 59
                    sys.stdout.write(f"{rule}\nServer listening on {port}\n{rule}\n")
                    sys.stdout.flush()
                try:
                    _serve(listener, given)
                except (OSError, _Ended, ValueError, KeyError) as error:
                    code = 1
                    _error(name, given, words(error) if isinstance(error, OSError) else str(error))
                if given.once:
                    return code
        except KeyboardInterrupt:
            _error(name, given, "interrupt - the server has terminated")
            return 1


def _listen(given: Options, port: int) -> socket.socket:
    """As the real one: at any address of both families, unless -4, -6 or -B say otherwise."""
    if given.bind or given.ipv4:
        family, address = ends.here(given.bind or "", port)
        return socket.create_server(address, family=family)
    return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=not given.ipv6)


def _ends(local: Any, peer: Any) -> str:
    return f"local {ends.shown(local)} port {local[1]} connected to {ends.shown(peer)} port {peer[1]}"


def _serve(listener: socket.socket, given: Options) -> None:
    """One test."""
    control, peer = listener.accept()
    with control:
        cookie = _exactly(control, _COOKIE)
        if not given.json:
            sys.stdout.write(f"Accepted connection from {ends.shown(peer)}, port {peer[1]}\n")
        control.sendall(bytes([_PARAM_EXCHANGE]))
        parameters = _receive_json(control)
        if not parameters.get("tcp"):
            control.sendall(bytes([_SERVER_ERROR]) + bytes(8))
            raise _Ended("the client asks for UDP, which tcplab's iperf3 has not (iperf -u has)")
        test = _Test(given, control, bool(parameters.get("reverse")), parameters, given.seconds("interval", 1.0))
        control.sendall(bytes([_CREATE_STREAMS]))
        while len(test.streams) < int(parameters.get("parallel", 1)):
            one, peer = listener.accept()
            if _exactly(one, _COOKIE) != cookie:
                one.sendall(bytes([_ACCESS_DENIED]))
                one.close()
                continue
            index = len(test.streams)
            stream = _Stream(one, index + 1 if not index else index + 2)
            _prepare_served(one, parameters)
            test.streams.append(stream)
            local = one.getsockname()
            test.say(f"[{stream.number:3}] {_ends(local, peer)}")
        try:
            control.sendall(bytes([_TEST_START]))
            control.sendall(bytes([_TEST_RUNNING]))
            test.head()
            test.run(ends=False)
            results = test.results()
            test.close()  # only then: the real one reads whole blocks until the end of file
            control.sendall(bytes([_EXCHANGE_RESULTS]))
            report = _receive_json(control)
            _send_json(control, results)
            control.sendall(bytes([_DISPLAY_RESULTS]))
            total = test.summary(report)
            _exactly(control, 1)
        finally:
            test.close()
    if given.json:
        _print_json({"start": {"test_start": parameters}, "intervals": test.intervals, "end": total})


def _prepare(one: socket.socket, given: Options) -> None:
    try:
        if given.nodelay:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if given.congestion:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, given.congestion.encode())
        if given.mss:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, given.integer("mss", 0, 88, 65495))
        if given.window:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                one.setsockopt(socket.SOL_SOCKET, option, size(given.window))
    except OSError as error:
        raise Wrong(words(error)) from None


def _prepare_served(one: socket.socket, parameters: Results) -> None:
    if parameters.get("congestion"):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, str(parameters["congestion"]).encode())
    if parameters.get("window"):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            one.setsockopt(socket.SOL_SOCKET, option, int(parameters["window"]))


def _word(control: socket.socket) -> int:
    return _exactly(control, 1)[0]


def _exactly(one: socket.socket, count: int) -> bytes:
    data = one.recv(count, socket.MSG_WAITALL)
    if len(data) < count:
        raise _Ended("control socket has closed unexpectedly")
    return data


def _end_of(word: int) -> str:
    if word == _ACCESS_DENIED:
        return "the server is busy running a test. try again later"
    if word == _SERVER_TERMINATE:
        return "the server has terminated"
    return "the server has refused the test" if word == _SERVER_ERROR else f"unexpected word {word} of the server"


def _send_json(control: socket.socket, value: Results) -> None:
    import json

    text = json.dumps(value).encode()
    control.sendall(len(text).to_bytes(4, "big") + text)


def _receive_json(control: socket.socket) -> Results:
    import json

    length = int.from_bytes(_exactly(control, 4), "big")
    if length > _MOST_JSON:
        raise _Ended("the other side does not speak iperf3's language")
    value: Results = json.loads(_exactly(control, length))
    return value


def _print_json(value: Results) -> None:
    import json

    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def _error(name: str, given: Options, text: str) -> None:
    sys.stdout.flush()
    if given.json:
        _print_json({"error": text})
    else:
        sys.stderr.write(f"{name}: error - {text}\n")
