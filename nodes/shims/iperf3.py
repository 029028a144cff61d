"""iperf3: bulk transfers by TCP, in the language of iperf3's 3.x releases, so either side may be the real one.

The client opens a control connection and sends a cookie; single bytes on it say what comes next; parameters and
results are JSON with their length before them; each data connection begins with the same cookie.
"""

from __future__ import annotations

import json
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
from nodes.shims.iperf3_control import (
    ACCESS_DENIED,
    COOKIE,
    CREATE_STREAMS,
    DISPLAY_RESULTS,
    DONE,
    EXCHANGE_RESULTS,
    PARAM_EXCHANGE,
    SERVER_ERROR,
    TEST_END,
    TEST_RUNNING,
    TEST_START,
    Ended,
    Results,
    end_of,
    exactly,
    receive_json,
    send_json,
    word_of,
)
from nodes.shims.iperf3_transfer import LENGTH, Stream, Transfer
from nodes.shims.iperf_options import prepare
from nodes.shims.rates import FORMATS, rate, size

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


def _client(name: str, given: Options, port: int) -> int:
    parameters: Results = {
        "tcp": True,
        "omit": given.integer("omit", 0, 0, 60),
        "blockcount": 0,
        "time": 0 if given.amount else given.integer("time", 10, 1, 86400),
        "num": size(given.amount) if given.amount else 0,
        "parallel": given.integer("parallel", 1, 1, 128),
        "len": size(given.length) if given.length else LENGTH,
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
    test: Transfer | None = None
    report: Results = {}

    def connect() -> socket.socket:
        family, address = ends.to(given.client, port)
        one = socket.socket(family)
        prepare(one, given)
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
                word = word_of(control)
                if word == PARAM_EXCHANGE:
                    send_json(control, parameters)
                elif word == CREATE_STREAMS:
                    test = Transfer(given, control, not given.reverse, parameters, given.seconds("interval", 1.0))
                    test.say(f"Connecting to host {given.client}, port {port}")
                    if given.reverse:
                        test.say(f"Reverse mode, remote host {given.client} is sending")
                    _open(test, connect, int(parameters["parallel"]))
                elif word == TEST_RUNNING and test is not None:
                    _run_client(test)
                elif word == EXCHANGE_RESULTS and test is not None:
                    send_json(control, test.results())
                    report = receive_json(control)
                elif word == DISPLAY_RESULTS and test is not None:
                    _finish(test, control, given, report, parameters)
                    return 0
                elif word != TEST_START:
                    raise Ended(end_of(word))
    except KeyboardInterrupt:
        if test is not None and test.began:
            test.took = max(time.monotonic() - test.began, 1e-6)
            test.summary({})
        _error(name, given, "interrupt - the client has terminated")
        return 1
    except (OSError, Ended, ValueError) as error:
        _error(name, given, words(error) if isinstance(error, OSError) else str(error))
        return 1


def _open(test: Transfer, connect: Callable[[], socket.socket], count: int) -> None:
    for index in range(count):
        # iperf3 numbers its streams 1, 3, 4, ... on the wire, and shows descriptors.
        one = Stream(connect(), index + 1 if not index else index + 2)
        test.streams.append(one)
        local, peer = one.socket.getsockname(), one.socket.getpeername()
        test.say(f"[{one.number:3}] {_ends(local, peer)}")


def _run_client(test: Transfer) -> None:
    test.head()
    test.run(ends=True)
    test.control.sendall(bytes([TEST_END]))
    _drain_until(test)


def _drain_until(test: Transfer) -> None:
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
                if not by_descriptor[descriptor].recv(LENGTH):
                    poll.unregister(descriptor)
            except OSError:
                poll.unregister(descriptor)


def _finish(test: Transfer, control: socket.socket, given: Options, report: Results, parameters: Results) -> None:
    total = test.summary(report)
    control.sendall(bytes([DONE]))
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
                except (OSError, Ended, ValueError, KeyError) as error:
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
        cookie = exactly(control, COOKIE)
        if not given.json:
            sys.stdout.write(f"Accepted connection from {ends.shown(peer)}, port {peer[1]}\n")
        control.sendall(bytes([PARAM_EXCHANGE]))
        parameters = receive_json(control)
        if not parameters.get("tcp"):
            control.sendall(bytes([SERVER_ERROR]) + bytes(8))
            raise Ended("the client asks for UDP, which tcplab's iperf3 has not (iperf -u has)")
        test = Transfer(given, control, bool(parameters.get("reverse")), parameters, given.seconds("interval", 1.0))
        control.sendall(bytes([CREATE_STREAMS]))
        while len(test.streams) < int(parameters.get("parallel", 1)):
            one, peer = listener.accept()
            if exactly(one, COOKIE) != cookie:
                one.sendall(bytes([ACCESS_DENIED]))
                one.close()
                continue
            index = len(test.streams)
            stream = Stream(one, index + 1 if not index else index + 2)
            _prepare_served(one, parameters)
            test.streams.append(stream)
            local = one.getsockname()
            test.say(f"[{stream.number:3}] {_ends(local, peer)}")
        try:
            control.sendall(bytes([TEST_START]))
            control.sendall(bytes([TEST_RUNNING]))
            test.head()
            test.run(ends=False)
            results = test.results()
            test.close()  # only then: the real one reads whole blocks until the end of file
            control.sendall(bytes([EXCHANGE_RESULTS]))
            report = receive_json(control)
            send_json(control, results)
            control.sendall(bytes([DISPLAY_RESULTS]))
            total = test.summary(report)
            exactly(control, 1)
        finally:
            test.close()
    if given.json:
        _print_json({"start": {"test_start": parameters}, "intervals": test.intervals, "end": total})


def _prepare_served(one: socket.socket, parameters: Results) -> None:
    if parameters.get("congestion"):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, str(parameters["congestion"]).encode())
    if parameters.get("window"):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            one.setsockopt(socket.SOL_SOCKET, option, int(parameters["window"]))


def _print_json(value: Results) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def _error(name: str, given: Options, text: str) -> None:
    sys.stdout.flush()
    if given.json:
        _print_json({"error": text})
    else:
        sys.stderr.write(f"{name}: error - {text}\n")
