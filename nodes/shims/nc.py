"""nc: bytes between a TCP connection, or UDP, and standard input and output, as OpenBSD's netcat."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nodes.shims import ends
from nodes.shims.ask import options, words, wrong
from nodes.shims.flags import Options, Wrong, fail

if TYPE_CHECKING:
    import socket

_USAGE = (
    "[-4] [-6] [-l] [-u] [-v] [-z] [-k] [-n] [-N] [-d] [-p PORT] [-s ADDRESS] [-w SECONDS] [-q SECONDS] [HOST] [PORT]"
)
_KNOWN = {
    "-l": "listen",
    "-u": "udp",
    "-v": "verbose",
    "-z": "scan",
    "-k": "keep",
    "-n": "numeric",
    "-N": "shutdown",
    "-d": "detached",
    "-4": "ipv4",
    "-6": "ipv6",
    "-p": "port=",
    "-s": "source=",
    "-w": "wait=",
    "-q": "quit=",
    "-i": "pause=",
}
_PIECE = 1 << 16


def run(name: str, argv: Sequence[str]) -> int:
    """0, or 1 when there is no connection."""
    given = options(name, argv, _KNOWN, _USAGE)
    ends.use(given)
    try:
        if given.listen:
            return _listen(name, given)
        if len(given.rest) != 2:
            raise Wrong("a host and a port are needed")
        return _connect(name, given, given.rest[0], _ports(given.rest[1]))
    except Wrong as error:
        wrong(name, error, _USAGE)


def _ports(text: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        import socket

        low = int(first) if first.isdigit() else socket.getservbyname(first)
        ports = list(range(low, int(last) + 1)) if dash else [low]
    except (ValueError, OSError):
        ports = []
    if not ports or not all(0 <= port < 65536 for port in ports):
        raise Wrong(f"port {text!r} is none")
    return ports


def _listen(name: str, given: Options) -> int:
    import socket

    words_left = list(given.rest)
    if given.port is not None:
        words_left.append(given.port)
    if len(words_left) not in (1, 2):
        raise Wrong("a port to listen on is needed")
    port = _ports(words_left[-1])[0]
    host = words_left[0] if len(words_left) == 2 else ""
    kind = socket.SOCK_DGRAM if given.udp else socket.SOCK_STREAM
    try:
        family, address = ends.here(host, port, kind)
    except socket.gaierror as error:
        fail(name, f"getaddrinfo: {words(error)}")
    with socket.socket(family, kind) as one:
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as OpenBSD's: several may listen at a port
            one.bind(address)
            if not given.udp:
                one.listen(128 if given.keep else 1)
        except OSError as error:
            fail(name, words(error))
        if given.verbose:
            what = "Bound" if given.udp else "Listening"
            _say(f"{what} on {one.getsockname()[0]} {port}")
        while True:
            if given.udp:
                _data, peer = one.recvfrom(_PIECE, socket.MSG_PEEK)
                one.connect(peer)
                connection = one
            else:
                connection, peer = one.accept()
            if given.verbose:
                _say(f"Connection received on {ends.shown(peer)} {peer[1]}")
            with connection:
                code = _shuttle(name, given, connection)
            if given.udp or not given.keep:
                return code


def _connect(name: str, given: Options, host: str, ports: list[int]) -> int:
    import socket

    code = 0
    for port in ports:
        kind = socket.SOCK_DGRAM if given.udp else socket.SOCK_STREAM
        try:
            family, address = ends.to(host, port, kind)
        except socket.gaierror as error:
            fail(name, f'getaddrinfo for host "{host}" port {port}: {words(error)}')
        with socket.socket(family, kind) as one:
            wait = given.seconds("wait", 0.0)
            one.settimeout(wait or None)
            try:
                if given.source or given.port:
                    one.bind((given.source or "", _ports(given.port)[0] if given.port else 0))
                one.connect(address)
            except OSError as error:
                text = "Operation timed out" if isinstance(error, TimeoutError) and not error.errno else words(error)
                if given.verbose or not given.scan:
                    _say(f"{name}: connect to {host} port {port} ({'udp' if given.udp else 'tcp'}) failed: {text}")
                code = 1
                continue
            if given.verbose:
                service = _service(port, "udp" if given.udp else "tcp")
                _say(f"Connection to {host} {port} port [{'udp' if given.udp else 'tcp'}/{service}] succeeded!")
            if not given.scan:
                code = _shuttle(name, given, one)
    return code


def _service(port: int, protocol: str) -> str:
    import socket

    try:
        return socket.getservbyport(port, protocol)
    except OSError:
        return "*"


def _shuttle(name: str, given: Options, one: socket.socket) -> int:
    """Until the peer has closed, or as the options say."""
    one.settimeout(None)
    idle = given.seconds("wait", 0.0) or None
    linger = given.seconds("quit", -1.0) if given.quit is not None else -1.0
    poll = select.poll()
    poll.register(one, select.POLLIN)
    reads = not given.detached
    if reads:
        poll.register(0, select.POLLIN)
    until = float("inf")
    try:
        while True:
            left = min(until - time.monotonic(), idle or float("inf"))
            ready = poll.poll(None if left == float("inf") else max(left, 0) * 1000)
            if not ready:
                return 0
            for descriptor, _ in ready:
                if descriptor == 0:
                    data = os.read(0, _PIECE if not given.udp else 16384)
                    if data:
                        one.sendall(data)
                        continue
                    poll.unregister(0)
                    if given.shutdown and not given.udp:
                        _shut(one)
                    if linger >= 0:
                        until = time.monotonic() + linger
                else:
                    data = one.recv(_PIECE)
                    if not data and not given.udp:
                        return 0
                    _write(data)
    except ConnectionError as error:
        if given.verbose:
            _say(f"{name}: {words(error)}")
        return 1


def _shut(one: Any) -> None:
    import socket

    try:
        one.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
