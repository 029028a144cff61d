"""telnet: a connection for lines, without telnet's negotiation: enough to speak to a server by hand, and for programs
that look whether a port answers."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence

from nodes.shims import ends
from nodes.shims.ask import options, words, wrong

_USAGE = "[-e CHARACTER] [-E] HOST [PORT]"
_KNOWN = {"-e": "escape=", "-E": "no_escape", "-4": "ipv4", "-6": "ipv6", "-8": "binary", "-K": "no_login"}


def run(name: str, argv: Sequence[str]) -> int:
    """0, or 1 when there is no connection."""
    given = options(name, argv, _KNOWN, _USAGE)
    if len(given.rest) not in (1, 2) or (len(given.rest) == 2 and not given.rest[1].isdigit()):
        wrong(name, "a host and the number of a port are needed", _USAGE)
    ends.use(given)
    import socket

    host, port = given.rest[0], int(given.rest[1]) if len(given.rest) == 2 else 23
    escape = b"" if given.no_escape else (given.escape or "\x1d").encode()[:1]
    try:
        address = ends.to(host, port)[1]
        _say(f"Trying {address[0]}...")
        one = socket.create_connection(address[:2])
    except socket.gaierror as error:
        _say(f"{name}: could not resolve {host}/{port}: {words(error)}")
        return 1
    except OSError as error:
        sys.stderr.write(f"{name}: Unable to connect to remote host: {words(error)}\n")
        return 1
    _say(f"Connected to {host}.")
    if escape:
        _say(f"Escape character is '{'^' + chr(escape[0] + 64) if escape < b' ' else escape.decode()}'.")
    with one:
        _converse(one, escape)
    return 1  # as telnet does, whoever has closed


def _converse(one: object, escape: bytes) -> None:
    """Until either side ends; the escape character ends ours."""
    import socket

    assert isinstance(one, socket.socket)
    poll = select.poll()
    poll.register(one, select.POLLIN)
    poll.register(0, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            try:
                data = os.read(0, 65536) if descriptor == 0 else one.recv(65536)
            except OSError:
                data = b""
            if not data or (descriptor == 0 and escape and escape in data):
                if descriptor != 0:
                    _say("Connection closed by foreign host.")
                else:
                    _say("\ntelnet> Connection closed." if data else "Connection closed.")
                return
            if descriptor == 0:
                one.sendall(data.replace(b"\n", b"\r\n"))
            else:
                sys.stdout.buffer.write(data)
                sys.stdout.flush()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
