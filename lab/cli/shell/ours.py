"""Words of the shell that Mininet has not: links and what they do to packets, captures, the trace, lab time."""

from __future__ import annotations

from cmd import Cmd
from pathlib import Path
from typing import Any, Final

from lab.cli.shell.network import Network, Wire, impairments
from lab.cli.shell.sockets import sockets
from lab.server.convert_link import CHANCES
from nodes.base.errors import InvalidArgument, NotFound
from tcplab.client import Lab

#: Words of `link set`, as tc and topology files have them.
_TEXTS: Final = ("delay", "jitter", *CHANCES, "reorder_delay", "rate", "queue")
_NUMBERS: Final = ("limit", "reorder_gap", "limit_bytes", "ecn_threshold", "red_min", "red_max", "red_ecn")
_SET: Final = "link set LINK|h1->r1 delay 10ms loss 1% rate 5mbit limit 50 ..."
#: A wire that does nothing to packets.
_PERFECT: Final[dict[str, Any]] = {
    **dict.fromkeys(("delay", "jitter", "reorder_delay"), 0),
    **dict.fromkeys(CHANCES, 0.0),
    **dict.fromkeys(("gemodel_r", "gemodel_1h"), 1.0),
    **dict.fromkeys(("rate", "limit_bytes", "ecn_threshold", "reorder_gap"), 0),
    "limit": 1000,
    "queue": "droptail",
    "red_min": 30_000,
    "red_max": 90_000,
    "red_probability": 0.02,
    "red_ecn": False,
}
_EVENTS: Final = 20


class OurWords(Cmd):
    """Mixed into the shell, which has `lab` and `network`."""

    lab: Lab
    network: Network

    def link_show(self, names: list[str]) -> None:
        """`link show [LINK...]`."""
        wires = [self.network.link(name)[0] for name in names] or list(self.network.wires)
        for wire in wires:
            info = self.lab.link(wire.name).info()
            print(f"{wire.name}: {wire.a}<->{wire.b} {'up' if info.up else 'down'} mtu {info.mtu}")
            forward, backward = impairments(info.forward).words(), impairments(info.backward).words()
            if forward == backward:
                print(f"  {forward or 'no impairments'}")
            else:
                print(f"  {wire.a.node}->{wire.b.node}: {forward or 'no impairments'}")
                print(f"  {wire.b.node}->{wire.a.node}: {backward or 'no impairments'}")
            for rule in self.lab.link(wire.name).rules():
                which = f"{rule.direction or 'both ways'} {rule.match or 'every frame'}"
                times = f"{rule.matches} matched, {rule.acted} acted on"
                print(f"  rule {rule.name.rpartition('/')[2]}: {rule.WhichOneof('action')} {which}: {times}")

    def link_set(self, words: list[str]) -> None:
        """`link set LINK delay 10ms ...`. What is not named stays."""
        if len(words) < 2:
            raise InvalidArgument(f"usage: {_SET}", "link")
        wire, direction = self.network.link(words[0])
        self.lab.link(wire.name).update(direction, **_changes(words[1:]))

    def link_reset(self, names: list[str]) -> None:
        """`link reset [LINK...]`: a perfect wire, without rules, up."""
        wires: list[tuple[Wire, str]] = [self.network.link(name) for name in names]
        for wire, direction in wires or [(wire, "") for wire in self.network.wires]:
            link = self.lab.link(wire.name)
            for rule in link.rules():
                if not direction or rule.direction == direction:
                    link.remove_rule(rule.name.rpartition("/")[2])
            link.update(direction, up=None if direction else True, **_PERFECT)

    def do_capture(self, line: str) -> None:
        """Write what has passed an interface so far, for Wireshark.
        Usage: capture h1-eth0 [FILE]"""
        words = line.split()
        if len(words) not in (1, 2):
            raise InvalidArgument("usage: capture h1-eth0 [FILE]", "capture")
        port = self.network.port(words[0])
        path = Path(words[1] if len(words) == 2 else f"{self.lab.name}-{port}.pcapng")
        self.lab.save_capture(f"{port.node}:{port.name}", path)
        print(f"{path}: {path.stat().st_size} bytes")

    def do_events(self, line: str) -> None:
        """Print the latest events of the trace, all or of a node, of a kind (state, segment, cwnd, reset ...).
        Usage: events [NODE] [KIND] [HOW MANY]"""
        node, kind, count = "", "", _EVENTS
        for word in line.split():
            if word.isdigit():
                count = int(word)
            elif word in self.network.kinds:
                node = word
            else:
                kind = word
        kept: list[str] = []
        for event in self.lab.trace(kind or (), node=node):
            kept.append(repr(event)[1:-1])
            if len(kept) > 2 * count + 1000:
                del kept[:-count]
        for text in kept[-count:] if count else ():
            print(text)

    def do_ss(self, line: str) -> None:
        """List TCP sockets of all nodes, or of some.
        Usage: ss [NODE...]"""
        for name in line.split():
            if name not in self.network.infos:
                raise NotFound(f"node '{name}' not in network")
        sockets(self.network, line.split() or list(self.network.infos))

    def do_sleep(self, line: str) -> None:
        """Let lab time pass: seconds, or with a unit (10ms, 2h). In virtual time that takes no time.
        Usage: sleep TIME"""
        text = line.strip()
        if not text:
            raise InvalidArgument("usage: sleep TIME, such as 5 or 10ms", "sleep")
        self.lab.advance(seconds(text))


def seconds(text: str) -> str:
    """A time as people type it: `5` is seconds."""
    return f"{text}s" if text.replace(".", "", 1).isdigit() else text


def _changes(words: list[str]) -> dict[str, Any]:
    pairs = [part for word in words for part in word.split("=", 1)]
    if len(pairs) % 2:
        raise InvalidArgument(f"link set: {pairs[-1]} has no value, or follows one too many; usage: {_SET}", "link")
    changes: dict[str, Any] = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        if name not in (*_TEXTS, *_NUMBERS):
            raise InvalidArgument(f"link set: no such word {name}; there are {', '.join((*_TEXTS, *_NUMBERS))}", "link")
        if name in ("limit", "reorder_gap") and not value.isdigit():
            raise InvalidArgument(f"link set: {name}: {value} is not a number of packets", "link")
        if name == "red_ecn" and value not in ("true", "false"):
            raise InvalidArgument(f"link set: {name}: {value} is not true or false", "link")
        changes[name] = int(value) if name in ("limit", "reorder_gap") else value
        if name == "red_ecn":
            changes[name] = value == "true"
    return changes
