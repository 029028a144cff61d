"""The control protocol of iperf3, both sides of it, for one TCP stream over sockets of ours.

As its 3.x releases speak it: the client opens a control connection and sends a cookie; single bytes on it say what
comes next (`_STATES`); parameters and results are JSON with their length before them; the data connection begins
with the same cookie. The tests of iperf3 against our stack need it; nothing else does.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from typing import Any

from nodes.live.bsd import Socket
from nodes.live.stack import LiveStack

TEST_START = 1
TEST_RUNNING = 2
TEST_END = 4
PARAM_EXCHANGE = 9
CREATE_STREAMS = 10
EXCHANGE_RESULTS = 13
DISPLAY_RESULTS = 14
IPERF_DONE = 16

_COOKIE_LEN = 37
BLOCK = 131_072


def _exactly(one: Socket, size: int) -> bytes:
    data = one.recv(size, socket.MSG_WAITALL)
    assert len(data) == size, "iperf3 has closed the control connection"
    return data


def _expect(control: Socket, state: int) -> None:
    assert _exactly(control, 1)[0] == state


def _say(control: Socket, state: int) -> None:
    control.sendall(bytes([state]))


def _send_json(control: Socket, value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    control.sendall(len(text).to_bytes(4, "big") + text)


def _receive_json(control: Socket) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(_exactly(control, int.from_bytes(_exactly(control, 4), "big")))
    return value


def _results(count: int, seconds: float, retransmits: int) -> dict[str, Any]:
    stream: dict[str, float] = {
        "id": 1,
        "bytes": count,
        "retransmits": retransmits,
        "jitter": 0,
        "errors": 0,
        "packets": 0,
    }
    stream |= {"start_time": 0, "end_time": seconds}
    return {
        "cpu_util_total": 0,
        "cpu_util_user": 0,
        "cpu_util_system": 0,
        "sender_has_retransmits": 1,
        "streams": [stream],
    }


def _receive(data: Socket, size: int) -> int:
    """Receive at least `size` bytes; how many it were. (The word of their end may be here before them.)"""
    count = 0
    while count < size:
        count += len(data.recv(BLOCK))
    return count


def _send(data: Socket, control: Socket, size: int) -> int:
    """Send `size` bytes, or until the other side says TEST_END; how many it were."""
    block = os.urandom(BLOCK)
    count = 0
    data.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(data, selectors.EVENT_WRITE)
        while count < size:
            ready = {key.fileobj for key, _ in selector.select()}
            if control in ready:
                break
            count += data.send(block[: size - count])
    return count


def client(net: LiveStack, address: tuple[str, int], size: int, reverse: bool) -> tuple[int, dict[str, Any]]:
    """Send `size` bytes to a server, or have them sent; what we counted, and what the server reports. It counts what it
    has read when it hears that we are done, so what was under way then is missing."""
    cookie = b"tcplab".ljust(_COOKIE_LEN - 1, b"x") + b"\0"
    with net.create_connection(address) as control:
        control.sendall(cookie)
        _expect(control, PARAM_EXCHANGE)
        parameters = {"tcp": True, "omit": 0, "time": 0, "num": size, "blockcount": 0, "parallel": 1, "len": BLOCK}
        _send_json(control, parameters | ({"reverse": True} if reverse else {}))
        _expect(control, CREATE_STREAMS)
        with net.create_connection(address) as data:
            data.sendall(cookie)
            _expect(control, TEST_START)
            _expect(control, TEST_RUNNING)
            began = time.monotonic()
            count = _receive(data, size) if reverse else _send(data, control, size)
            _say(control, TEST_END)
            _expect(control, EXCHANGE_RESULTS)
            _send_json(control, _results(count, time.monotonic() - began, data.info().total_retrans))
            report = _receive_json(control)
            _expect(control, DISPLAY_RESULTS)
            _say(control, IPERF_DONE)
    return count, report


def serve_one(listener: Socket) -> tuple[int, dict[str, Any]]:
    """Serve one test; the bytes we counted, and what the client reports."""
    control, _ = listener.accept()
    with control:
        cookie = _exactly(control, _COOKIE_LEN)
        _say(control, PARAM_EXCHANGE)
        parameters = _receive_json(control)
        reverse = bool(parameters.get("reverse"))
        size = int(parameters["num"])
        _say(control, CREATE_STREAMS)
        data, _ = listener.accept()
        with data:
            assert _exactly(data, _COOKIE_LEN) == cookie
            _say(control, TEST_START)
            _say(control, TEST_RUNNING)
            began = time.monotonic()
            count = _send(data, control, sys.maxsize) if reverse else _receive(data, size)
            _expect(control, TEST_END)
        # Only then: iperf3 reads on until it is closed.
        _say(control, EXCHANGE_RESULTS)
        report = _receive_json(control)
        _send_json(control, _results(count, time.monotonic() - began, data.info().total_retrans))
        _say(control, DISPLAY_RESULTS)
        _expect(control, IPERF_DONE)
    return count, report
