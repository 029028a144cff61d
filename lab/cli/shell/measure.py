"""Mininet's measurements over the API, in both worlds: pings between hosts, iperf's throughput."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Final

from lab.cli.shell.network import Network
from tcplab.client import App, Lab, Operation, errors
from tcplab.v1 import operation_pb2

#: As iperf of Mininet: its port and how long it sends; and how long after that we wait until all has arrived.
_PORT: Final = 5001
_SECONDS: Final = 5
_PATIENCE: Final = 60
_DATAGRAM: Final = 1470
#: In virtual time a link without a rate carries any amount in no time: there, this is enough. In real time nothing is.
_VIRTUAL_BYTES: Final = 16_000_000
_REAL_BYTES: Final = 1 << 42


def ping_all(network: Network, hosts: Sequence[str], timeout: str, full: bool) -> None:
    """Each host pings each other once and says who answered; then how many did, or (`full`) each round-trip time."""
    results: list[tuple[str, str, operation_pb2.PingResult | None]] = []
    problems: list[str] = []
    for source in hosts:
        _say(f"{source} -> ")
        targets = [host for host in hosts if host != source]
        # All at once: where nobody answers, the time-outs are waited for together.
        asked = [_start(network.lab, source, target, timeout, problems) for target in targets]
        for target, operation in zip(targets, asked, strict=True):
            answer = _answer(operation)
            results.append((source, target, answer))
            _say(f"{target} " if answer is not None and answer.received else "X ")
        _say("\n")
    sent = len(results)
    received = sum(1 for _, _, answer in results if answer is not None and answer.received)
    if full:
        _say("*** Results: \n")
        for source, target, answer in results:
            _say(f" {source}->{target}: {_full(answer)}\n")
    elif sent:
        _say(f"*** Results: {(sent - received) * 100 // sent}% dropped ({received}/{sent} received)\n")
    else:
        _say("*** Results: 0% dropped\n*** Warning: No packets sent\n")
    for problem in dict.fromkeys(problems):
        _say(f"*** {problem}\n")


def _start(lab: Lab, source: str, target: str, timeout: str, problems: list[str]) -> Operation | None:
    try:
        return lab.node(source).start_ping(target, timeout=timeout)
    except errors.SocketError:
        return None
    except errors.Error as error:
        problems.append(str(error))
        return None


def _answer(operation: Operation | None) -> operation_pb2.PingResult | None:
    if operation is None:
        return None
    try:
        return operation.wait().ping
    except errors.SocketError:  # no route, or somebody said that there is none
        return None


def _full(answer: operation_pb2.PingResult | None) -> str:
    times = [] if answer is None else [one.ToNanoseconds() for one in answer.round_trip_times]
    return f"1/{len(times)}, rtt min/avg/max/mdev {round_trips(times)} ms"


def round_trips(times: Sequence[int]) -> str:
    """min/avg/max/mdev as ping has them, in ms, of times in ns; zeros of none."""
    if not times:
        return "0.000/0.000/0.000/0.000"
    mean = sum(times) / len(times)
    deviation = math.sqrt(max(0.0, sum(one * one for one in times) / len(times) - mean * mean))
    return "/".join(f"{one / 1e6:.3f}" for one in (min(times), mean, max(times), deviation))


def iperf(lab: Lab, client: str, server: str) -> list[str]:
    """What the server got and what the client sent in five seconds of lab time, in iperf's words.

    In virtual time 16 MB are enough, and take as long as they take.
    """
    size = _REAL_BYTES if lab.real_time else _VIRTUAL_BYTES
    apps = [lab.app(server, "sink", port=_PORT)]
    try:
        apps.append(lab.app(client, "bulk", to=server, port=_PORT, bytes=size, stop_after=f"{_SECONDS}s"))
        return _rates(lab, apps)
    finally:
        _stop(apps)


def iperf_udp(lab: Lab, client: str, server: str, rate: int) -> list[str]:
    """The same with datagrams at `rate` bit/s."""
    apps = [lab.app(server, "udp_sink", port=_PORT)]
    try:
        duration = f"{_SECONDS}s"
        apps.append(
            lab.app(client, "udp_source", to=server, port=_PORT, rate=f"{rate}bit", size=_DATAGRAM, duration=duration)
        )
        return _rates(lab, apps)
    finally:
        _stop(apps)


def _rates(lab: Lab, apps: Sequence[App]) -> list[str]:
    """The server's rate is until all has arrived, the client's while it sends."""
    started = lab.now_ns()
    server, client = apps
    stopped = lab.advance(f"{_SECONDS + _PATIENCE}s", apps=[client.name])
    sent, received = client.results(), server.results()
    for app in (client, server):
        if app.message.error:
            raise errors.make("FAILED_PRECONDITION", f"{app.name} ended with {app.message.error}")
    elapsed = int(sent.get("duration_ns", stopped.time_ns - started))
    sending = min(elapsed, _SECONDS * 1_000_000_000)
    return [bandwidth(int(received["received_bytes"]), elapsed), bandwidth(int(sent["sent_bytes"]), sending)]


def _stop(apps: Sequence[App]) -> None:
    for app in reversed(apps):
        if not app.refresh().done:
            app.stop()


def bandwidth(size: int, elapsed_ns: int) -> str:
    """`9.57 Mbits/sec`: three digits, as iperf has it."""
    if elapsed_ns <= 0:
        return "any rate: neither link has a rate or a delay" if size else "0.00 bits/sec"
    rate = size * 8e9 / elapsed_ns
    for unit in ("", "K", "M", "G"):
        if rate < 999.5 or unit == "G":
            break
        rate /= 1000
    digits = 2 if rate < 9.995 else 1 if rate < 99.95 else 0
    return f"{rate:.{digits}f} {unit}bits/sec"


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
