"""iperf over TCP: who sends, and who receives."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import TYPE_CHECKING

from nodes.shims import ends
from nodes.shims.ask import words
from nodes.shims.flags import Options, fail
from nodes.shims.iperf_count import LINE, Count, say
from nodes.shims.iperf_options import prepare
from nodes.shims.rates import rate, shown_bytes, size

if TYPE_CHECKING:
    import socket

_LENGTH = 131_072
_MOST_PARALLEL = 128


def serve(name: str, given: Options) -> int:
    """The server, until it is interrupted or has served once; its exit code."""
    import socket

    port = given.integer("port", 5001, 1, 65535)
    window = _window(given)
    try:
        family, address = ends.here(given.bind or "", port)
    except socket.gaierror as error:
        fail(name, f"bind failed: {words(error)}")
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        prepare(listener, given)
        try:
            listener.bind(address)
            listener.listen(128)
        except OSError as error:
            fail(name, f"bind failed: {words(error)}")
        say(LINE)
        say(f"Server listening on TCP port {port}")
        say(f"TCP window size: {_shown_window(listener, window, 'SO_RCVBUF')}")
        say(LINE)
        _serve(listener, given)
    return 0


def _serve(listener: socket.socket, given: Options) -> None:
    """Take what comes on every connection, until the program is ended."""
    interval = given.seconds("interval", 0.0)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    streams: dict[int, tuple[socket.socket, Count]] = {}
    length = size(given.length) if given.length else _LENGTH
    number = 0
    try:
        while True:
            for descriptor, _ in poll.poll(interval * 1000 if interval and streams else None):
                if descriptor == listener.fileno():
                    one, peer = listener.accept()
                    number += 1
                    count = Count(number, given, interval)
                    streams[one.fileno()] = one, count
                    poll.register(one, select.POLLIN)
                    local = one.getsockname()
                    ends_are = (
                        f"local {ends.shown(local)} port {local[1]} connected with {ends.shown(peer)} port {peer[1]}"
                    )
                    say(f"[{number:3}] {ends_are}")
                    if number == 1:
                        say("[ ID] Interval       Transfer     Bandwidth")
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


def send(name: str, given: Options) -> int:
    """The client; its exit code."""
    import socket

    port = given.integer("port", 5001, 1, 65535)
    parallel = given.integer("parallel", 1, 1, _MOST_PARALLEL)
    length = size(given.length) if given.length else _LENGTH
    amount = size(given.amount) if given.amount else 0
    limit = rate(given.rate) if given.rate else 0
    interval = given.seconds("interval", 0.0)
    streams: list[tuple[socket.socket, Count]] = []
    try:
        for number in range(1, parallel + 1):
            family, address = ends.to(given.client, port)
            one = socket.socket(family)
            prepare(one, given)
            if given.bind:
                one.bind((given.bind, 0))
            one.connect(address)
            if number == 1:
                say(LINE)
                say(f"Client connecting to {given.client}, TCP port {port}")
                say(f"TCP window size: {_shown_window(one, _window(given), 'SO_SNDBUF')}")
                say(LINE)
            local, peer = one.getsockname(), one.getpeername()
            say(f"[{number:3}] local {local[0]} port {local[1]} connected with {peer[0]} port {peer[1]}")
            streams.append((one, Count(number, given, interval)))
    except OSError as error:
        fail(name, f"connect failed: {words(error)}")
    say("[ ID] Interval       Transfer     Bandwidth")
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


def _send_all(streams: list[tuple[socket.socket, Count]], length: int, amount: int, limit: int, seconds: float) -> None:
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


def _window(given: Options) -> int:
    return size(given.window) if given.window else 0


def _shown_window(one: socket.socket, window: int, option: str) -> str:
    import socket

    value = one.getsockopt(socket.SOL_SOCKET, getattr(socket, option))
    return f"{shown_bytes(value).replace('Bytes', 'Byte')} {'' if window else '(default)'}".rstrip()
