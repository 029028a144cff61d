"""What an iperf3 client and server say to each other over the control connection: single bytes, and JSON with its
length before it."""

from __future__ import annotations

import json
import socket
from typing import Any

TEST_START, TEST_RUNNING, TEST_END = 1, 2, 4
PARAM_EXCHANGE, CREATE_STREAMS, EXCHANGE_RESULTS, DISPLAY_RESULTS, DONE = 9, 10, 13, 14, 16
SERVER_TERMINATE, CLIENT_TERMINATE, ACCESS_DENIED, SERVER_ERROR = 11, 12, 255, 254
#: Bytes of the cookie that every connection of a test begins with.
COOKIE = 37
_MOST_JSON = 1 << 24

Results = dict[str, Any]


class Ended(Exception):
    """The other side has ended the test; the text says how."""


def word_of(control: socket.socket) -> int:
    """What the other side says next. Raises Ended."""
    return exactly(control, 1)[0]


def exactly(one: socket.socket, count: int) -> bytes:
    """So many bytes. Raises Ended when there are fewer before the end of file."""
    data = one.recv(count, socket.MSG_WAITALL)
    if len(data) < count:
        raise Ended("control socket has closed unexpectedly")
    return data


def end_of(word: int) -> str:
    """What an unexpected word means."""
    if word == ACCESS_DENIED:
        return "the server is busy running a test. try again later"
    if word == SERVER_TERMINATE:
        return "the server has terminated"
    return "the server has refused the test" if word == SERVER_ERROR else f"unexpected word {word} of the server"


def send_json(control: socket.socket, value: Results) -> None:
    """Parameters or results."""
    text = json.dumps(value).encode()
    control.sendall(len(text).to_bytes(4, "big") + text)


def receive_json(control: socket.socket) -> Results:
    """The other side's parameters or results. Raises Ended, ValueError."""
    length = int.from_bytes(exactly(control, 4), "big")
    if length > _MOST_JSON:
        raise Ended("the other side does not speak iperf3's language")
    value: Results = json.loads(exactly(control, length))
    return value
