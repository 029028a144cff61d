"""What stands for programs on nodes in virtual time: the API's ping, and views of addresses and sockets."""

from __future__ import annotations

import getopt
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Final

from lab.cli.shell.measure import round_trips
from lab.cli.shell.network import Network
from lab.cli.shell.sockets import sockets
from nodes.base.errors import InvalidArgument, Unsupported
from tcplab.client import Operation, errors

_SIZE: Final = 56
#: Nobody sits in front of virtual time and presses Ctrl-C.
_COUNT: Final = 4


class VirtualPrograms:
    """The commands that nodes without programs know."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: dict[str, Callable[[str, Sequence[str]], None]] = {
            "ping": self._ping,
            "ifconfig": self._ifconfig,
            "ss": lambda node, arguments: sockets(network, [node]),
        }

    def run(self, node: str, line: str) -> None:
        """Do it and print what the program would. Raises Unsupported, InvalidArgument, errors of the API."""
        try:
            argv = shlex.split(line)
        except ValueError as error:
            raise InvalidArgument(f"{line}: {error}", "command") from None
        program = self._known.get(argv[0])
        if program is None:
            raise Unsupported(
                f"{argv[0]}: in virtual time nodes run no programs. There are, on a node: {', '.join(self._known)}; "
                "for the lab: iperf, iperfudp, pingall, link, capture, events, ss; and in Python: py, px with the "
                f"lab's API (`py {node}.open('h2', 80)`). A lab on another backend (tcplab up --backend netns) runs any"
            )
        program(node, argv[1:])

    def _ping(self, node: str, arguments: Sequence[str]) -> None:
        try:
            given, rest = getopt.gnu_getopt(list(arguments), "c:i:W:nqv4")
            options = dict(given)
            count = int(options.get("-c", _COUNT))
            interval, timeout = float(options.get("-i", 1)), float(options.get("-W", 10))
        except (getopt.GetoptError, ValueError) as error:
            raise InvalidArgument(
                f"ping: {error}; in virtual time there are -c COUNT -i SECONDS -W SECONDS", "ping"
            ) from None
        if len(rest) != 1 or count < 1 or interval < 0 or timeout <= 0:
            raise InvalidArgument("ping: [-c COUNT] [-i SECONDS] [-W SECONDS] HOST", "ping")
        host = rest[0]
        lab, source = self._network.lab, self._network.lab.node(node)
        print(f"PING {host} ({host}) {_SIZE}({_SIZE + 28}) bytes of data.")
        begin = lab.now_ns()
        asked: list[Operation] = []
        times: list[int] = []
        for number in range(count):
            asked.append(source.start_ping(host, timeout=timeout))
            if number + 1 < count:
                lab.advance(interval)
        failed = ""
        for number, operation in enumerate(asked, 1):
            try:
                answer = operation.wait().ping
            except errors.SocketError as error:
                failed = str(error)
                continue
            for one in answer.round_trip_times:
                times.append(one.ToNanoseconds())
                if "-q" not in options:
                    print(f"{_SIZE + 8} bytes from {host}: icmp_seq={number} time={_short(times[-1])} ms")
        if failed:
            print(f"From {self._network.address(node)}: {failed}")
        lost = (count - len(times)) * 100 // count
        print(f"\n--- {host} ping statistics ---")
        print(
            f"{count} packets transmitted, {len(times)} received, {lost}% packet loss, "
            f"time {(lab.now_ns() - begin) // 1_000_000}ms"
        )
        if times:
            print(f"rtt min/avg/max/mdev = {round_trips(times)} ms")
        sys.stdout.flush()

    def _ifconfig(self, node: str, arguments: Sequence[str]) -> None:
        for one in self._network.infos[node].interfaces:
            if arguments and one.name not in arguments:
                continue
            print(f"{one.name}: flags=UP  mtu {one.mtu}")
            if one.address:
                print(f"        inet {one.address}/{one.prefix_length}")
            print(f"        ether {one.mac}\n")


def _short(ns: int) -> str:
    """Three digits, as ping has them."""
    ms = ns / 1e6
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"
